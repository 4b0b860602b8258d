//! An index that keeps nothing: for dry runs and measurements.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use crate::ledger::{DocumentWrite, Ledger};

use super::{Hit, IndexError, Query, VectorIndex, blocking};

/// Writes the ledger and no index, so that a later run still knows what changed. Open the ledger without vectors and points.
pub struct DiscardIndex {
    ledger: Arc<Ledger>,
    points: AtomicU64,
}

impl DiscardIndex {
    /// For this ledger. Reads one row.
    pub fn open(ledger: Arc<Ledger>) -> Result<Self, IndexError> {
        let points = AtomicU64::new(ledger.point_count()?);
        Ok(Self { ledger, points })
    }
}

impl VectorIndex for DiscardIndex {
    fn write(&self, writes: Vec<DocumentWrite>) -> BoxFuture<'_, Result<(), IndexError>> {
        let ledger = Arc::clone(&self.ledger);
        Box::pin(async move {
            let written = blocking(move || Ok(ledger.write(&writes)?)).await?;
            self.points.fetch_add(written.added.len() as u64, Ordering::Relaxed);
            self.points.fetch_sub(written.removed.len() as u64, Ordering::Relaxed);
            Ok(())
        })
    }

    fn search(&self, _: Query) -> BoxFuture<'_, Result<Vec<Hit>, IndexError>> {
        let text = "the index keeps nothing: set `index.type: embedded` in the configuration and run again to search";
        Box::pin(async move { Err(IndexError::Fatal(text.to_owned())) })
    }

    fn points(&self) -> u64 {
        self.points.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), IndexError>> {
        Box::pin(async { Ok(()) })
    }
}
