//! The index as a whole, against brute force.

mod files;
mod growth;
mod histories;
mod recall;
mod searches;
mod untold;

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::document::fingerprint::Fingerprinter;
use crate::document::{DocumentId, Version};
use crate::index::Filter;
use crate::index::distance::Scorer;
use crate::ledger::testing::options;
use crate::ledger::{ChunkWrite, Moot, VectorSource};

use super::*;

/// An index in a folder of its own, and what it should hold: metadata and the vectors of the chunks, by document.
struct World {
    folder: TempDir,
    metric: Metric,
    dimensions: usize,
    index: EmbeddedIndex,
    truth: BTreeMap<String, (Value, Vec<Vector>)>,
}

fn open_ledger(folder: &Path) -> Arc<Ledger> {
    Arc::new(Ledger::open(folder, options()).unwrap())
}

impl World {
    fn new(metric: Metric, dimensions: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let index = EmbeddedIndex::open(open_ledger(folder.path()), folder.path(), metric, dimensions).unwrap();
        Self { folder, metric, dimensions, index, truth: BTreeMap::new() }
    }

    fn graph_file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// Ends the process in thought, with or without `close`, does something to its folder, and starts the next.
    async fn restart(self, close: bool, meanwhile: impl FnOnce(&Path)) -> Self {
        let Self { folder, metric, dimensions, index, truth } = self;
        if close {
            index.close().await.unwrap();
        }
        let ledger = Arc::clone(&index.core.ledger);
        drop(index);
        while Arc::strong_count(&ledger) > 1 {
            tokio::task::yield_now().await;
        }
        drop(ledger);
        meanwhile(&folder.path().join(FILE));
        let index = EmbeddedIndex::open(open_ledger(folder.path()), folder.path(), metric, dimensions).unwrap();
        Self { folder, metric, dimensions, index, truth }
    }

    async fn put(&mut self, documents: Vec<(String, Value, Vec<Vector>)>) {
        let writes = documents.iter().map(|(id, metadata, vectors)| write_of(id, Some(metadata), vectors)).collect();
        self.index.write(writes).await.unwrap();
        self.truth.extend(documents.into_iter().map(|(id, metadata, vectors)| (id, (metadata, vectors))));
    }

    /// Gives a document other metadata, and leaves it so many of its chunks.
    async fn keep(&mut self, id: &str, metadata: Value, chunks: usize) {
        let Some(document) = self.truth.get_mut(id) else { return };
        document.0 = metadata.clone();
        document.1.truncate(chunks);
        let ledger = &self.index.core.ledger;
        let held = ledger.documents(&[DocumentId::new(id).unwrap()]).unwrap().remove(0).unwrap().chunks;
        let kept = held.into_iter().take(chunks);
        let kept = kept.map(|held| ChunkWrite { fingerprint: held.fingerprint, vector: VectorSource::Held(held.key) });
        let write = DocumentWrite { chunks: kept.collect(), ..write_of(id, Some(&metadata), &[]) };
        self.index.write([write].into()).await.unwrap();
    }

    async fn remove(&mut self, id: &str) {
        self.index.write([write_of(id, None, &[])].into()).await.unwrap();
        self.truth.remove(id);
    }

    /// Until the graph has every point.
    async fn settle(&self) {
        self.index.core.growing.subscribe().wait_for(|growing| !growing).await.unwrap();
        let core = &self.index.core;
        assert_eq!((*core.waiting_bytes.borrow(), core.waiting.lock().tail), (0, None));
    }

    fn exact(&self, query: &Query) -> Vec<(String, f32, usize)> {
        let scorer = Scorer::new(self.metric, &query.vector);
        let mut all: Vec<(String, f32, usize)> = self
            .truth
            .iter()
            .filter(|(_, (metadata, _))| query.filter.as_ref().is_none_or(|filter| filter.matches(metadata)))
            .filter(|(id, _)| query.except.as_ref().is_none_or(|except| except.as_str() != *id))
            .map(|(id, (_, vectors))| {
                let chunks = vectors.iter().map(|vector| scorer.score(vector)).enumerate();
                let (chunk, score) = chunks.reduce(|best, other| if other.1 > best.1 { other } else { best }).unwrap();
                (id.clone(), score, chunk)
            })
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(query.k);
        all
    }

    async fn found(&self, query: &Query) -> Vec<(String, f32, usize)> {
        let hits = self.index.search(query.clone()).await.unwrap();
        hits.iter().map(|hit| (hit.id.as_str().to_owned(), hit.score, hit.chunk)).collect()
    }

    /// Each document is the nearest to its own vectors: what the graph lacks is not found by looking at all.
    async fn assert_found_alone(&self) {
        for (_, vectors) in self.truth.values() {
            let query = query(&vectors[0], 1);
            assert_eq!(self.found(&query).await, self.exact(&query));
        }
    }

    /// Of what brute force finds, the part that the index finds.
    async fn recall(&self, queries: &[Query]) -> f64 {
        let (mut wanted, mut hit) = (0, 0);
        for query in queries {
            let (exact, found) = (self.exact(query), self.found(query).await);
            assert_eq!(found.len(), exact.len());
            wanted += exact.len();
            hit += exact.iter().filter(|(id, ..)| found.iter().any(|(other, ..)| other == id)).count();
        }
        hit as f64 / wanted as f64
    }
}

fn write_of(id: &str, metadata: Option<&Value>, vectors: &[Vector]) -> DocumentWrite {
    let name = |vector: &Vector| Fingerprinter::new("test").of(&format!("{vector:?}"));
    let chunk = |vector: &Vector| ChunkWrite { fingerprint: name(vector), vector: VectorSource::Here(vector.clone()) };
    DocumentWrite {
        id: DocumentId::new(id).unwrap(),
        document: r#"{"fields":[]}"#.to_owned(),
        record: None,
        clears: Some(Moot::up_to(Version::default())),
        metadata: metadata.map(Value::to_string),
        chunks: vectors.iter().map(chunk).collect(),
    }
}

fn query(vector: &[f32], k: usize) -> Query {
    Query { vector: Arc::from(vector), k, filter: None, except: None, with_vectors: false }
}

fn filter(json: Value) -> Option<Filter> {
    Some(Filter::from_json(&json).unwrap())
}

/// Vectors as embeddings lie: around centres, and not of one length.
struct Clusters {
    random: Rng,
    centres: Vec<Vec<f32>>,
}

impl Clusters {
    fn new(centres: usize, dimensions: usize) -> Self {
        let mut random = Rng::with_seed(7);
        let mut centre = || (0..dimensions).map(|_| random.f32() * 2.0 - 1.0).collect();
        let centres = (0..centres).map(|_| centre()).collect();
        Self { random, centres }
    }

    fn next(&mut self) -> Vector {
        let centre = &self.centres[self.random.usize(..self.centres.len())];
        let length = 0.9 + self.random.f32() * 0.2;
        centre.iter().map(|x| (x + (self.random.f32() * 2.0 - 1.0) * 0.6) * length).collect()
    }

    fn documents(&mut self, numbers: std::ops::Range<usize>) -> Vec<(String, Value, Vec<Vector>)> {
        let document =
            |number: usize| (format!("d{number}"), json!({"number": number, "tenth": number % 10}), vec![self.next()]);
        numbers.map(document).collect()
    }

    fn queries(&mut self, count: usize, k: usize) -> Vec<Query> {
        (0..count).map(|_| query(&self.next(), k)).collect()
    }
}
