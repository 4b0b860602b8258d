//! A pipeline's end: a ledger, and an index that is written to and asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::points::{DIMENSIONS, PIPELINE, point, vector};
use super::{assert_same, parsed};
use crate::document::{Document, DocumentId, Fingerprint, Vector, Version};
use crate::index::external::PointIds;
use crate::index::external::collection::Point;
use crate::index::external::inspect::Inspect;
use crate::index::{ExternalIndex, Filter, Hit, IndexError, Progress, Query, RefusedWrite, VectorIndex};
use crate::ledger::{ChunkWrite, DocumentWrite, Ledger, LedgerErrorKind, LedgerOptions, Moot, Points, VectorSource};

/// How long a ledger may stay locked.
const LOCKED: Duration = Duration::from_secs(60);

/// Makes an index over a ledger; the folder is that of the ledger.
pub type Open = dyn Fn(Arc<Ledger>, &Path) -> Arc<dyn VectorIndex> + Send + Sync;

/// Where the points of an index are.
#[derive(Clone)]
pub enum Place {
    /// In the ledger, or in its folder.
    Ledger(Arc<Open>),
    /// In another system.
    Collection(Arc<dyn Inspect>),
}

/// See the module.
pub struct Shop {
    folder: TempDir,
    /// The truth.
    pub ledger: Arc<Ledger>,
    place: Place,
    /// What is tested.
    pub index: Arc<dyn VectorIndex>,
}

impl Shop {
    /// A new one, ready to be written to.
    pub async fn new(place: Place) -> Self {
        let shop = Self::open(tempfile::tempdir().unwrap(), place, false);
        shop.index.prepare().await.unwrap();
        shop
    }

    /// Not prepared. `adopt` as in `index.adopt`.
    pub fn open(folder: TempDir, place: Place, adopt: bool) -> Self {
        let options = LedgerOptions {
            pipeline: PIPELINE.to_owned(),
            persist_vectors: true,
            points: if matches!(place, Place::Collection(_)) { Points::Elsewhere } else { Points::Here },
        };
        let give_up = Instant::now() + LOCKED;
        let opened = loop {
            match Ledger::open(folder.path(), options.clone()) {
                // A process that another test starts has the lock of the ledger that was closed, from its fork to its exec.
                Err(error) if error.kind() == LedgerErrorKind::Locked && Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => break opened.unwrap(),
            }
        };
        let ledger = Arc::new(opened);
        let index: Arc<dyn VectorIndex> = match &place {
            Place::Ledger(open) => open(ledger.clone(), folder.path()),
            Place::Collection(collection) => {
                Arc::new(ExternalIndex::new(ledger.clone(), collection.clone(), PIPELINE, DIMENSIONS, adopt))
            }
        };
        Self { folder, ledger, place, index }
    }

    /// The process dies and starts again, with its points at this place.
    pub async fn crash(self, place: Place) -> Self {
        let Self { folder, ledger, index, .. } = self;
        drop(index);
        // What was under way on another thread ends as it would have before the crash.
        while Arc::strong_count(&ledger) > 1 {
            tokio::task::yield_now().await;
        }
        drop(ledger);
        Self::open(folder, place, false)
    }

    /// Until all is written; says what was refused.
    pub async fn write(&self, writes: Vec<DocumentWrite>) -> Result<Vec<RefusedWrite>, IndexError> {
        let writes: Arc<[DocumentWrite]> = writes.into();
        loop {
            if let Progress::Done(refused) = self.index.write(writes.clone()).await? {
                return Ok(refused);
            }
        }
    }

    /// As the pipeline does at its start: every document that the collection may lack, as the ledger has it.
    pub async fn rewrite(&self) {
        let unwritten = self.ledger.unwritten_after(0, usize::MAX, usize::MAX).unwrap();
        let ids: Vec<DocumentId> = unwritten.into_iter().map(|(_, id, _)| id).collect();
        let held = self.ledger.documents(&ids).unwrap();
        let writes = ids.into_iter().zip(held).map(|(id, held)| {
            let held = held.unwrap();
            let chunk = |chunk: &crate::ledger::HeldChunk| ChunkWrite {
                fingerprint: chunk.fingerprint,
                vector: VectorSource::Held(chunk.key),
            };
            DocumentWrite {
                id,
                document: held.document.to_json(),
                record: None,
                clears: Some(Moot::up_to(Version::from_nanos(1))),
                metadata: held.metadata.clone(),
                chunks: held.chunks.iter().map(chunk).collect(),
            }
        });
        assert_eq!(self.write(writes.collect()).await.unwrap(), []);
        assert_eq!(self.ledger.last_unwritten().unwrap(), None);
    }

    /// The `k` documents nearest to a vector.
    pub async fn near(&self, vector: Vector, k: usize, filter: Option<&Filter>) -> Result<Vec<Hit>, IndexError> {
        self.index.search(Query { vector, k, filter: filter.cloned(), except: None, with_vectors: false }).await
    }

    /// The index has exactly these documents, which are found by each of their chunks, and another system exactly their points. The
    /// chunks are named by their seeds, none of which is in two places.
    pub async fn assert_holds(&self, documents: &BTreeMap<&str, (Value, Vec<u64>)>) {
        let points: Vec<Point> = documents
            .iter()
            .flat_map(|(name, (metadata, seeds))| {
                seeds.iter().enumerate().map(move |(chunk, seed)| point(name, chunk, metadata, *seed))
            })
            .collect();
        self.assert_holds_points(&points).await;
        if let Place::Collection(collection) = &self.place {
            // More than any document ever had.
            let chunks = documents.keys().flat_map(|name| (0..12).map(move |chunk| (*name, chunk)));
            assert_same(fetched(&**collection, chunks).await, &points.iter().collect::<Vec<_>>());
        }
    }

    /// As [`Shop::assert_holds`], but that another system may hold more chunks of these documents.
    pub async fn assert_holds_points(&self, points: &[Point]) {
        assert_eq!(self.ledger.point_count().unwrap(), points.len() as u64);
        for point in points {
            let hits = self.near(point.vector.clone(), 1, None).await.unwrap();
            assert_eq!((&hits[0].id, hits[0].chunk), (&point.document, point.chunk));
            assert_eq!(hits[0].metadata, parsed(&point.metadata));
        }
        let found = self.near(vector(0, DIMENSIONS), 1_000, None).await.unwrap();
        let ids: BTreeSet<&str> = found.iter().map(|hit| hit.id.as_str()).collect();
        assert_eq!(ids.len(), found.len(), "one entry a document");
        assert_eq!(ids, points.iter().map(|point| point.document.as_str()).collect());
        if let Place::Collection(collection) = &self.place {
            let chunks = points.iter().map(|point| (point.document.as_str(), point.chunk));
            assert_same(fetched(&**collection, chunks).await, &points.iter().collect::<Vec<_>>());
        }
    }

    /// Another system has a point of each of these documents.
    pub async fn assert_there(&self, documents: &[String]) {
        let Place::Collection(collection) = &self.place else { return };
        let found = fetched(&**collection, documents.iter().map(|name| (name.as_str(), 0))).await;
        assert_eq!(found.len(), documents.len());
    }
}

/// What the collection holds of these chunks.
async fn fetched<'a>(collection: &dyn Inspect, chunks: impl Iterator<Item = (&'a str, usize)>) -> Vec<Point> {
    let ids = PointIds::new(PIPELINE);
    let asked: Vec<Uuid> = chunks.map(|(name, chunk)| ids.of(&DocumentId::new(name).unwrap(), chunk)).collect();
    let mut found = Vec::new();
    for asked in asked.chunks(100) {
        found.extend(collection.fetch(asked).await.unwrap());
    }
    found
}

/// The chunks are new texts, one for each seed; none takes the document out of the index.
pub fn write(name: &str, metadata: &Value, seeds: &[u64]) -> DocumentWrite {
    let chunk = |seed: &u64| {
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&seed.to_le_bytes());
        ChunkWrite {
            fingerprint: Fingerprint::from_bytes(fingerprint),
            vector: VectorSource::Here(vector(*seed, DIMENSIONS)),
        }
    };
    DocumentWrite {
        id: DocumentId::new(name).unwrap(),
        document: Document::default().to_json(),
        record: None,
        clears: Some(Moot::up_to(Version::from_nanos(1))),
        metadata: (!seeds.is_empty()).then(|| metadata.to_string()),
        chunks: seeds.iter().map(chunk).collect(),
    }
}

/// What [`Shop::assert_holds`] compares with.
pub fn truth<'a>(documents: &[(&'a str, Value, &[u64])]) -> BTreeMap<&'a str, (Value, Vec<u64>)> {
    documents.iter().map(|(name, metadata, seeds)| (*name, (metadata.clone(), seeds.to_vec()))).collect()
}
