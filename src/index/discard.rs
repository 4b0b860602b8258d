//! An index that keeps nothing: for measurements and estimates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::ledger::patience::blocking;
use crate::ledger::{DocumentWrite, Ledger};

use super::{Hit, IndexError, Progress, Query, VectorIndex};

/// Writes the ledger and no index, so that a later run still knows what changed. Open the ledger without vectors and
/// points.
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
    fn write(&self, writes: Arc<[DocumentWrite]>) -> BoxFuture<'_, Result<Progress, IndexError>> {
        async move {
            // Counted by the ledger: a write for which nobody waited any more is in the next count.
            let write = move |ledger: &Ledger| ledger.write(&writes).and_then(|_| ledger.point_count());
            self.points.store(blocking(&self.ledger, write).await?, Ordering::Relaxed);
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

    fn points(&self) -> u64 {
        self.points.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), IndexError>> {
        async { Ok(()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use crate::document::{Document, DocumentId, Fingerprint, Version};
    use crate::ledger::{ChunkWrite, LedgerOptions, Moot, VectorSource, testing};

    use super::*;

    #[tokio::test]
    async fn points_are_counted_also_where_nobody_waited_for_the_write() {
        let folder = tempfile::tempdir().unwrap();
        let options = LedgerOptions { persist_vectors: false, store_points: false, ..testing::options() };
        let ledger = Arc::new(testing::open_with(&folder, options));
        let index = DiscardIndex::open(Arc::clone(&ledger)).unwrap();
        let write = |id, chunks| index.write([testing::write(id, chunks)].into());
        // Begun, and mostly not waited for: the thread that writes may be faster.
        drop(write("a", vec![testing::here("one")]).now_or_never());
        while ledger.point_count().unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        for (id, chunks, points) in [("b", vec![testing::here("two")], 2), ("a", vec![], 1), ("b", vec![], 0)] {
            write(id, chunks).await.unwrap();
            assert_eq!(index.points(), points);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn documents_are_kept_and_nothing_can_be_searched() {
        let folder = tempfile::tempdir().unwrap();
        let options = LedgerOptions { persist_vectors: false, store_points: false, ..testing::options() };
        let ledger = Arc::new(testing::open_with(&folder, options));
        let index = DiscardIndex::open(Arc::clone(&ledger)).unwrap();
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
        assert_eq!((index.points(), DiscardIndex::open(ledger).unwrap().points()), (1, 1));

        let query = Query { vector, k: 1, filter: None, except: None, with_vectors: false };
        let search = index.search(query).await;
        assert!(matches!(search, Err(IndexError::Fatal(text)) if text.contains("keeps nothing")));
        index.close().await.unwrap();
    }
}
