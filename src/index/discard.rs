//! An index that keeps nothing: for measurements and estimates.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::ledger::patience::blocking;
use crate::ledger::{DocumentWrite, Ledger};

use super::{Hit, IndexError, Progress, Query, VectorIndex};

/// Writes the ledger and no index, so that a later run still knows what changed. The ledger must be opened with
/// [`Points::Nowhere`](crate::ledger::Points::Nowhere).
pub struct DiscardIndex {
    ledger: Arc<Ledger>,
}

impl DiscardIndex {
    /// For this ledger.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }
}

impl VectorIndex for DiscardIndex {
    fn write(&self, writes: Arc<[DocumentWrite]>) -> BoxFuture<'_, Result<Progress, IndexError>> {
        async move {
            blocking(&self.ledger, move |ledger| ledger.write(&writes)).await?;
            Ok(Progress::Done(Vec::new()))
        }
        .boxed()
    }

    fn can_search(&self) -> Result<(), IndexError> {
        let text = "the index keeps nothing: set `index.type: embedded` in the configuration and run again to search";
        Err(IndexError::Fatal(text.to_owned()))
    }

    fn search(&self, _: Query) -> BoxFuture<'_, Result<Vec<Hit>, IndexError>> {
        async { self.can_search().map(|()| Vec::new()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use crate::document::{Document, DocumentId, Fingerprint, Version};
    use crate::ledger::{ChunkWrite, LedgerOptions, Moot, Points, VectorSource, testing};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn documents_are_kept_and_nothing_can_be_searched() {
        let folder = tempfile::tempdir().unwrap();
        let options = LedgerOptions { persist_vectors: false, points: Points::Nowhere, ..testing::options() };
        let ledger = Arc::new(testing::open_with(&folder, options));
        let index = DiscardIndex::new(Arc::clone(&ledger));
        let vector = Arc::from([1.0_f32, 2.0]);
        let id = DocumentId::new("a").unwrap();
        let fingerprint = Fingerprint::from_bytes([7; Fingerprint::BYTES]);
        let write = DocumentWrite {
            id: id.clone(),
            document: Document::default().to_json(),
            record: None,
            clears: Some(Moot::up_to(Version::default())),
            metadata: Some("{}".to_owned()),
            chunks: vec![ChunkWrite { fingerprint, vector: VectorSource::Here(Arc::clone(&vector)) }],
        };
        index.write([write].into()).await.unwrap();
        let held = ledger.documents(&[id]).unwrap().remove(0).unwrap();
        assert_eq!(held.chunks[0].fingerprint, fingerprint);
        assert_eq!(ledger.vectors(&[fingerprint]).unwrap(), [None]);
        assert_eq!(ledger.point_count().unwrap(), 1);

        let query = Query { vector, k: 1, filter: None, except: None, with_vectors: false };
        let search = index.search(query).await;
        assert!(matches!(search, Err(IndexError::Fatal(text)) if text.contains("keeps nothing")));
        index.close().await.unwrap();
    }
}
