//! The index: where vectors are kept and searched.
//!
//! To add one: implement [`VectorIndex`] in a file beside these, add a variant to `settings::index` and an arm to
//! [`build`].

pub mod actor;
pub mod collection;
pub mod discard;
pub mod distance;
pub mod embedded;
pub mod filter;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod pinecone;
pub mod space;
pub mod target;
mod typed;
#[cfg(feature = "weaviate")]
pub mod weaviate;

use std::path::Path;
use std::sync::Arc;

use crate::ledger::{Ledger, LedgerError, LedgerErrorKind};
use crate::settings::IndexSettings;

pub use discard::DiscardIndex;
pub use embedded::EmbeddedIndex;
pub use filter::Filter;
pub use target::{Hit, IndexError, IndexStatus, Query, VectorIndex};

/// The index that the configuration asks for, to write to and to search. `folder` is where it may keep what it derives
/// from the ledger; vectors have `dimensions` numbers. Blocks; to be called inside a Tokio runtime, where the index
/// runs its own work.
pub fn build(
    settings: &IndexSettings,
    ledger: Arc<Ledger>,
    folder: &Path,
    dimensions: usize,
) -> Result<Arc<dyn VectorIndex>, IndexError> {
    Ok(match settings {
        IndexSettings::Embedded(embedded) => {
            Arc::new(EmbeddedIndex::open(ledger, folder, embedded.metric, dimensions)?)
        }
        IndexSettings::Discard(_) => Arc::new(DiscardIndex::open(ledger)?),
        IndexSettings::Pinecone(_) | IndexSettings::Weaviate(_) => {
            return Err(IndexError::Fatal("index.type: this build cannot use it yet".to_owned()));
        }
    })
}

/// The index that the configuration asks for, to search only: beside a process that writes, or without one. Blocks.
pub fn build_to_read(
    settings: &IndexSettings,
    ledger: Arc<Ledger>,
    folder: &Path,
    dimensions: usize,
) -> Result<Arc<dyn VectorIndex>, IndexError> {
    Ok(match settings {
        IndexSettings::Embedded(embedded) => {
            Arc::new(EmbeddedIndex::open_to_read(ledger, folder, embedded.metric, dimensions)?)
        }
        IndexSettings::Discard(_) => Arc::new(DiscardIndex::open(ledger)?),
        IndexSettings::Pinecone(_) | IndexSettings::Weaviate(_) => {
            return Err(IndexError::Fatal("index.type: this build cannot use it yet".to_owned()));
        }
    })
}

impl From<LedgerError> for IndexError {
    fn from(error: LedgerError) -> Self {
        match error.kind() {
            LedgerErrorKind::Stale => Self::Stale(error.to_string()),
            _ if error.is_temporary() => Self::Unavailable(error.to_string()),
            _ => Self::Fatal(error.to_string()),
        }
    }
}
