//! The index as a whole, against brute force.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::panic::AssertUnwindSafe;

use fastrand::Rng;
use futures_util::future::FutureExt;
use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::document::fingerprint::Fingerprinter;
use crate::document::{DocumentId, Version};
use crate::index::Filter;
use crate::index::distance::Scorer;
use crate::ledger::testing::options;
use crate::ledger::{ChunkWrite, Moot, VectorSource};

use crate::testkit::faults::{self, Strike};

use super::publish::dead_among;
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

#[tokio::test(start_paused = true)]
async fn the_graph_finds_what_brute_force_finds() {
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let mut clusters = Clusters::new(100, 64);
        let mut world = World::new(metric, 64);
        for start in (0..6_000).step_by(500) {
            world.put(clusters.documents(start..start + 500)).await;
        }
        world.settle().await;
        assert_eq!(world.index.core.waiting.lock().segments.len(), 0);
        let queries = clusters.queries(60, 10);
        let recall = world.recall(&queries).await;
        assert!(recall >= 0.98, "{metric:?}: recall {recall}");
        for query in &queries[..5] {
            for (id, score, _) in world.found(query).await {
                let scorer = Scorer::new(metric, &query.vector);
                assert_eq!(score, scorer.score(&world.truth[&id].1[0]), "scores are those of the whole vectors");
            }
        }
    }
}

/// The worst case for a graph: nothing leads towards what is near.
#[tokio::test(start_paused = true)]
async fn points_that_fill_their_space_evenly_are_found() {
    let mut space = Clusters::new(1, 96);
    let mut world = World::new(Metric::Cosine, 96);
    world.put(space.documents(0..4_000)).await;
    world.settle().await;
    let recall = world.recall(&space.queries(60, 10)).await;
    assert!(recall >= 0.99, "recall {recall}");
}

/// The graph's numbers are too coarse for these: what counts is how many candidates are scored exactly.
#[tokio::test(start_paused = true)]
async fn vectors_that_are_nearly_equal_are_told_apart() {
    let mut random = Rng::with_seed(7);
    let mut vector = || -> Vector { (0..64).map(|_| 10.0 + random.f32() * 2.0 - 1.0).collect() };
    let mut world = World::new(Metric::Cosine, 64);
    world.put((0..2_000).map(|number| (format!("d{number}"), json!({}), vec![vector()])).collect()).await;
    world.settle().await;
    let queries: Vec<Query> = (0..40).map(|_| query(&vector(), 10)).collect();
    let recall = world.recall(&queries).await;
    assert!(recall >= 0.92, "recall {recall}");
}

/// Documents of which one in `every` is so many times as long as the others, and says so.
fn with_odd_ones(clusters: &mut Clusters, count: usize, every: usize, scale: f32) -> Vec<(String, Value, Vec<Vector>)> {
    let mut documents = clusters.documents(0..count);
    for (number, (_, metadata, vectors)) in documents.iter_mut().enumerate() {
        let odd = number % every == 0;
        *metadata = json!({"odd": odd});
        if odd {
            vectors[0] = vectors[0].iter().map(|x| x * scale).collect();
        }
    }
    documents
}

/// With links by the inner product, the long ones would be in the links of all others, and hide these.
#[tokio::test(start_paused = true)]
async fn with_the_inner_product_long_vectors_are_found_and_hide_no_others() {
    for (centres, dimensions, every, scale) in [(60, 32, 60, 20.0), (5, 64, 10, 2.5)] {
        let mut clusters = Clusters::new(centres, dimensions);
        let mut world = World::new(Metric::Dot, dimensions);
        for documents in with_odd_ones(&mut clusters, 3_000, every, scale).chunks(250) {
            world.put(documents.to_vec()).await;
        }
        world.settle().await;
        for again in [false, true] {
            if again {
                world = world.restart(true, |_| {}).await;
                assert_eq!(world.index.graph_lag(), 0, "the graph was kept");
            }
            for k in [1, 100] {
                let all = clusters.queries(8, k);
                let others = |query| Query { filter: filter(json!({"odd": false})), ..query };
                let filtered: Vec<Query> = all.iter().cloned().map(others).collect();
                for queries in [all, filtered] {
                    let recall = world.recall(&queries).await;
                    assert!(recall >= 0.98, "scale {scale}, k {k}: recall {recall}");
                }
            }
        }
    }
}

/// What is long is compared one by one, and by the graph's own numbers: the ledger, which may know better by now, is asked only for
/// the nearest.
#[tokio::test(start_paused = true)]
async fn a_long_vector_that_just_went_keeps_neither_searches_nor_writes_waiting() {
    let mut clusters = Clusters::new(20, 32);
    let mut world = World::new(Metric::Dot, 32);
    world.put(with_odd_ones(&mut clusters, 1_000, 2, 20.0)).await;
    world.settle().await;
    let query = clusters.queries(1, 10).remove(0);
    let scorer = Scorer::new(Metric::Dot, &query.vector);
    let score = |id: &String| scorer.score(&world.truth[id].1[0]);
    let farthest = world.truth.keys().min_by(|a, b| score(a).total_cmp(&score(b))).unwrap().clone();
    let core = Arc::clone(&world.index.core);
    {
        // A write that is committed and has not told memory yet.
        let _publishing = core.publishing.lock();
        core.ledger.write(&[write_of(&farthest, None, &[])]).unwrap();
        let (answer, answered) = std::sync::mpsc::channel();
        let (core, asked) = (Arc::clone(&core), query.clone());
        std::thread::spawn(move || answer.send(search::search(&core, &asked)));
        let hits = answered.recv_timeout(Duration::from_secs(20)).expect("the search waits for the write").unwrap();
        let found: Vec<_> = hits.iter().map(|hit| (hit.id.as_str().to_owned(), hit.score, hit.chunk)).collect();
        assert_eq!(found, world.exact(&query));
    }
    let near = core.graph.read().nearest(&query.vector, 100, &HashSet::new()).unwrap();
    assert_eq!(near.len(), 100, "no more than are wanted");
}

/// With a node for each of them, the points of the text that many share would cut the graph apart: none of the others would be found.
#[tokio::test(start_paused = true)]
async fn documents_are_found_beside_many_with_one_vector() {
    const SHARED: usize = 2_500;
    let mut clusters = Clusters::new(20, 32);
    let mut world = World::new(Metric::Cosine, 32);
    let shared = clusters.next();
    let mut documents = clusters.documents(0..SHARED);
    documents.extend((0..SHARED).map(|number| (format!("same {number}"), json!({}), vec![shared.clone()])));
    Rng::with_seed(7).shuffle(&mut documents);
    for documents in documents.chunks(250) {
        world.put(documents.to_vec()).await;
    }
    world.settle().await;
    let assert_found = async |world: &World| {
        for (id, (_, vectors)) in world.truth.iter().filter(|(id, _)| !id.starts_with("same")).step_by(10) {
            assert_eq!(world.found(&query(&vectors[0], 1)).await[0].0, *id);
        }
        let same = world.found(&query(&shared, 600)).await;
        assert_eq!(same.len(), 600);
        assert!(same.iter().all(|(id, ..)| id.starts_with("same") && world.truth.contains_key(id)));
    };
    assert_found(&world).await;
    // Some of them, and the one that was there first, whose node it is.
    let first = documents.iter().find(|(id, ..)| id.starts_with("same")).unwrap();
    world.remove(&first.0).await;
    for number in 0..100 {
        world.remove(&format!("same {number}")).await;
    }
    assert_found(&world).await;
    let world = world.restart(true, |_| {}).await;
    assert_eq!(world.index.graph_lag(), 0, "the graph was kept");
    assert_found(&world).await;
}

#[tokio::test(start_paused = true)]
async fn filters_are_kept_and_nothing_that_matches_is_missed() {
    let mut clusters = Clusters::new(50, 16);
    let mut world = World::new(Metric::Cosine, 16);
    for start in (0..10_000).step_by(1_000) {
        world.put(clusters.documents(start..start + 1_000)).await;
    }
    world.settle().await;
    let query = clusters.queries(1, 10).remove(0);
    for (json, matches) in [
        (json!({"number": 4_321}), 1),
        (json!({"number": {"in": [1, 2, 9_999]}}), 3),
        (json!({"number": {"gte": 9_000, "lt": 9_100}}), 100),
        (json!({"number": -1}), 0),
    ] {
        let query = Query { filter: filter(json.clone()), k: 10, ..query.clone() };
        let (found, exact) = (world.found(&query).await, world.exact(&query));
        assert_eq!(found, exact, "{json}");
        assert_eq!(found.len(), matches.min(10), "{json}");
    }
    let tenth = |query| Query { filter: filter(json!({"tenth": 3})), ..query };
    let tenths: Vec<Query> = clusters.queries(20, 10).into_iter().map(tenth).collect();
    let recall = world.recall(&tenths).await;
    assert!(recall >= 0.98, "recall {recall}");
    let all = Query { k: 20_000, ..query };
    assert_eq!(world.found(&all).await.len(), 10_000);
}

/// To look at all of a million documents costs a hundred times as much as to look up some more of the nearest points.
#[tokio::test(start_paused = true)]
async fn a_search_looks_up_more_of_the_nearest_points_before_it_looks_at_every_document() {
    let mut clusters = Clusters::new(50, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..10_000)).await;
    world.settle().await;
    let core = &world.index.core;
    let found = |query: Query| {
        let scorer = Scorer::new(world.metric, &query.vector);
        let hits = search::Search { core, query: &query, scorer: &scorer, still: false }.among_the_nearest();
        hits.unwrap().map(|hits| hits.len())
    };
    let one_in = |every: usize| filter(json!({"number": {"in": (0..10_000).step_by(every).collect::<Vec<_>>()}}));
    for query in clusters.queries(5, 10) {
        assert_eq!(found(Query { filter: one_in(100), ..query.clone() }), Some(10), "some five among the first 512");
        assert_eq!(found(Query { filter: one_in(2_000), ..query }), None, "there are only five");
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_that_no_longer_matches_once_it_is_looked_up_takes_no_place_of_another() {
    let mut world = World::new(Metric::L2, 2);
    let document = |number: u8| (format!("d{number}"), json!({"n": 0}), vec![Vector::from([f32::from(number), 0.0])]);
    world.put((0..3).map(document).collect()).await;
    let core = Arc::clone(&world.index.core);
    let query = Query { filter: filter(json!({"n": 0})), ..query(&[0.0, 0.0], 2) };
    let scorer = Scorer::new(Metric::L2, &query.vector);
    let search = search::Search { core: &core, query: &query, scorer: &scorer, still: false };
    let nearest = search.nearest_of_all().unwrap();
    world.keep("d0", json!({"n": 1}), 1).await;
    let mut found: Vec<String> = search.hits(&nearest).unwrap().into_keys().map(|id| id.to_string()).collect();
    found.sort();
    assert_eq!(found, ["d1", "d2"]);
}

#[tokio::test(start_paused = true)]
async fn of_equally_near_documents_those_that_came_first_are_first_however_many_are_asked_for() {
    let mut world = World::new(Metric::Cosine, 4);
    let vector: Vector = Arc::from([1.0, 2.0, 3.0, 4.0]);
    let mut ids: Vec<String> = (0..300).map(|number| format!("e{number:03}")).collect();
    Rng::with_seed(7).shuffle(&mut ids);
    world.put(ids.iter().map(|id| (id.clone(), json!({"n": 0}), vec![vector.clone()])).collect()).await;
    for settled in [false, true] {
        if settled {
            world.settle().await;
        }
        for k in [1, 5, 20, 300] {
            for filter in [None, filter(json!({"n": 0}))] {
                let found = world.found(&Query { filter, ..query(&vector, k) }).await;
                let found: Vec<&String> = found.iter().map(|(id, ..)| id).collect();
                assert_eq!(found, ids[..k].iter().collect::<Vec<_>>());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_while_writing_sees_every_write_that_was_answered() {
    let mut clusters = Clusters::new(20, 16);
    let world = World::new(Metric::Cosine, 16);
    let documents: Vec<Vec<_>> = (0..60).map(|at| clusters.documents(at * 20..at * 20 + 20)).collect();
    // Another writer replaces one document again and again: it must never be missing.
    let pinned = [clusters.next(), clusters.next()];
    world.index.write([write_of("pinned", Some(&json!({"pinned": true})), &pinned[..1])].into()).await.unwrap();
    let index = &world.index;
    let replace = async {
        for round in 0..150 {
            let vector = std::slice::from_ref(&pinned[round % 2]);
            index.write([write_of("pinned", Some(&json!({"pinned": true})), vector)].into()).await.unwrap();
        }
    };
    let watch = async {
        for _ in 0..150 {
            let near = Query { filter: filter(json!({"pinned": true})), ..query(&pinned[0], 1) };
            assert_eq!(index.search(near).await.unwrap().len(), 1);
        }
    };
    let write = async {
        for batch in &documents {
            index.write(batch.iter().map(|(id, metadata, v)| write_of(id, Some(metadata), v)).collect()).await.unwrap();
            for (id, _, vectors) in batch {
                let hits = index.search(query(&vectors[0], 1)).await.unwrap();
                assert_eq!(hits[0].id.as_str(), id);
            }
        }
    };
    futures_util::future::join3(replace, watch, write).await;
    assert_eq!(index.core.points.load(Relaxed), 1_201);
}

#[tokio::test(start_paused = true)]
async fn deletes_metadata_and_chunks() {
    let mut world = World::new(Metric::L2, 2);
    let at = |x: f32, y: f32| -> Vector { Arc::from([x, y]) };
    world
        .put(vec![
            ("a".to_owned(), json!({"colour": "red"}), vec![at(0.0, 0.0), at(10.0, 0.0)]),
            ("b".to_owned(), json!({"colour": "red"}), vec![at(9.0, 0.0), at(9.5, 0.0), at(9.6, 0.0)]),
            ("c".to_owned(), json!({}), vec![at(5.0, 5.0)]),
        ])
        .await;
    world.settle().await;
    let near = Query { with_vectors: true, ..query(&[10.0, 0.0], 3) };
    let hits = world.index.search(near.clone()).await.unwrap();
    let names: Vec<_> = hits.iter().map(|hit| (hit.id.as_str(), hit.chunk)).collect();
    assert_eq!(names, [("a", 1), ("b", 2), ("c", 0)], "a document once, by its nearest chunk");
    assert_eq!(hits[0].vector, Some(at(10.0, 0.0)));
    assert_eq!(hits[0].score, 0.0);

    // Metadata alone, then a chunk less, then the document.
    let colour = json!({"colour": "blue"});
    world.keep("a", colour.clone(), 2).await;
    let blue = Query { filter: filter(colour.clone()), ..near.clone() };
    assert_eq!(world.found(&blue).await, [("a".to_owned(), 0.0, 1)]);
    world.keep("a", colour, 1).await;
    assert_eq!(world.found(&blue).await, [("a".to_owned(), -10.0, 0)]);
    world.remove("a").await;
    assert_eq!(world.found(&blue).await, []);
    assert_eq!(world.index.core.points.load(Relaxed), 4);

    let like_b = Query { except: Some(DocumentId::new("b").unwrap()), ..near };
    assert_eq!(world.found(&like_b).await.iter().map(|hit| hit.0.as_str()).collect::<Vec<_>>(), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn every_start_finds_every_point_whatever_became_of_the_graph() {
    type Meanwhile = fn(&Path);
    let cases: [(&str, bool, Meanwhile); 8] = [
        ("closed", true, |path| assert!(path.exists())),
        ("not closed", false, |path| assert!(!path.exists())),
        ("removed", true, |path| fs::remove_file(path).unwrap()),
        ("empty", true, |path| fs::write(path, []).unwrap()),
        ("cut off", true, |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("one bit wrong", true, |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 16;
            fs::write(path, bytes).unwrap();
        }),
        ("noise", true, |path| fs::write(path, Rng::with_seed(1).u64(..).to_le_bytes().repeat(5_000)).unwrap()),
        ("the head of another", true, |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[..64].fill(0xff);
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (name, close, meanwhile) in cases {
        let mut clusters = Clusters::new(20, 16);
        let mut world = World::new(Metric::Cosine, 16);
        world.put(clusters.documents(0..700)).await;
        world.settle().await;
        world = world.restart(close, meanwhile).await;
        let query = clusters.queries(1, 5).remove(0);
        assert_eq!(world.found(&query).await, world.exact(&query), "{name}: while it catches up");
        world.put(clusters.documents(700..800)).await;
        world.remove("d3").await;
        world.settle().await;
        assert!(world.recall(&clusters.queries(10, 10)).await >= 0.98, "{name}");
        assert_eq!(world.index.core.points.load(Relaxed), 799, "{name}");
    }
}

/// A save puts another file in the place of the old one.
#[tokio::test(start_paused = true)]
async fn the_graph_is_saved_when_it_is_not_as_its_file_has_it_and_only_then() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    // What is open keeps its number from being given to another file.
    let same = |a: &File, b: &File| a.metadata().unwrap().ino() == b.metadata().unwrap().ino();
    let file = |world: &World| File::open(world.graph_file()).unwrap();
    world.put(clusters.documents(0..50)).await;
    world = world.restart(true, |_| {}).await;
    let first = file(&world);
    world.remove("d3").await;
    world = world.restart(true, |_| {}).await;
    assert!(same(&first, &file(&world)), "what is gone is only left out");
    world.put(clusters.documents(50..51)).await;
    world.settle().await;
    world.index.close().await.unwrap();
    let second = file(&world);
    assert!(!same(&first, &second), "a point is new");
    world.index.core.graph.write().cover(60);
    world.index.close().await.unwrap();
    let third = file(&world);
    assert!(!same(&second, &third), "it covers more");
    world.index.close().await.unwrap();
    assert!(same(&third, &file(&world)), "it was just saved");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_used_is_written_over_though_nothing_is_new() {
    let world = World::new(Metric::Cosine, 16);
    let world = world.restart(false, |path| fs::write(path, "noise").unwrap()).await;
    let (shape, (path, mark)) = (world.index.core.shape, world.index.core.home.clone().unwrap());
    let load = || file::load(&path, shape, mark, Access::Search).map(|graph| graph.is_some());
    load().unwrap_err();
    world.index.close().await.unwrap();
    assert_eq!(load(), Ok(true));
}

#[tokio::test(start_paused = true)]
async fn a_disk_without_room_for_the_graph_is_told_and_what_was_saved_before_stays() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    let (shape, (path, mark)) = (world.index.core.shape, world.index.core.home.clone().unwrap());
    // The first is so small that it is written when the file is closed.
    for (numbers, said) in [(0..5, "is the disk full?"), (5..200, "No space left on device")] {
        world.put(clusters.documents(numbers)).await;
        world.settle().await;
        let graph = world.index.core.graph.read();
        file::save(&graph, mark, &path).unwrap();
        let before = fs::read(&path).unwrap();
        std::os::unix::fs::symlink("/dev/full", path.with_extension("saving")).unwrap();
        let error = file::save(&graph, mark, &path).unwrap_err();
        assert!(error.starts_with("cannot save the search graph as ") && error.contains(said), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(file::load(&path, shape, mark, Access::Search).unwrap().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_graph_whose_place_another_took_since_it_was_opened_is_read_as_it_was() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    let (shape, (path, mark)) = (world.index.core.shape, world.index.core.home.clone().unwrap());
    let mut opened = Vec::new();
    for numbers in [0..50, 50..80] {
        world.put(clusters.documents(numbers)).await;
        world.settle().await;
        world.index.core.save().unwrap();
        opened.push(File::open(&path).unwrap());
    }
    for access in [Access::Change, Access::Search] {
        let points = opened.iter_mut().map(|file| file::read(file, shape, mark, access).unwrap().points().len());
        assert_eq!(points.collect::<Vec<_>>(), [50, 80]);
    }
}

/// Keys are given again after a ledger was put back from a copy: a newer graph that was left beside it names other points by them.
#[tokio::test(start_paused = true)]
async fn a_graph_that_is_newer_than_a_restored_ledger_is_never_believed() {
    for catches_up in [false, true] {
        let mut clusters = Clusters::new(20, 16);
        let mut world = World::new(Metric::Cosine, 16);
        world.put(clusters.documents(0..100)).await;
        let (backup, truth) = (tempfile::tempdir().unwrap(), world.truth.clone());
        let copy = |from: &Path, to: &Path| {
            for file in ["ledger.sqlite", "vectors.bin"] {
                fs::copy(from.join(file), to.join(file)).unwrap();
            }
        };
        world = world.restart(true, |graph| copy(graph.parent().unwrap(), backup.path())).await;
        world.settle().await;
        if catches_up {
            // As after a graph was lost: it gets new points before it has all old ones.
            let core = Arc::clone(&world.index.core);
            core.growing.send_replace(true);
            *core.graph.write() = Graph::new(core.shape).unwrap();
            core.waiting.lock().tail = Some(Tail { after: 0, end: 100 });
            world.put(clusters.documents(100..300)).await;
            assert!(core.advance(&mut grow::Growth::default()).unwrap());
            assert_eq!((core.graph.read().covered, core.graph.read().points().len()), (0, 200));
            core.growing.send_replace(false);
        } else {
            world.put(clusters.documents(100..300)).await;
            world.settle().await;
        }
        let aside = tempfile::tempdir().unwrap();
        let restore = |graph: &Path| {
            copy(backup.path(), graph.parent().unwrap());
            copy(backup.path(), aside.path());
            fs::copy(graph, aside.path().join(FILE)).unwrap();
        };
        world = world.restart(true, restore).await;
        world.truth = truth;
        let ledger = Arc::new(Ledger::open_to_read(aside.path()).unwrap());
        let reader = EmbeddedIndex::open(ledger, aside.path(), Metric::Cosine, 16).unwrap();
        assert_eq!(reader.core.graph.read().newest(), 0, "a process that only reads does not use it either");
        for query in clusters.queries(5, 10) {
            let hits = reader.search(query.clone()).await.unwrap();
            let found: Vec<_> = hits.iter().map(|hit| (hit.id.as_str().to_owned(), hit.score, hit.chunk)).collect();
            assert_eq!(found, world.exact(&query));
        }
        world.put(clusters.documents(300..600)).await;
        world.settle().await;
        world = world.restart(false, |graph| assert!(!graph.exists())).await;
        world.settle().await;
        world.assert_found_alone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_dies_after_the_graph_was_given_up_is_not_remembered() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..50)).await;
    world.settle().await;
    world.index.core.give_up("it is told to");
    world.put(clusters.documents(50..100)).await;
    for number in 0..100 {
        world.remove(&format!("d{number}")).await;
    }
    assert_eq!(world.index.core.dead.read().len(), 50, "those in the graph");
    world.put(clusters.documents(100..150)).await;
    assert_eq!(world.index.core.points.load(Relaxed), 50);
    world.assert_found_alone().await;
}

/// Between the two looks that make up a search.
#[tokio::test(start_paused = true)]
async fn a_search_begins_anew_when_points_join_the_tail_that_it_has_scanned() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..50)).await;
    world.settle().await;
    let core = Arc::clone(&world.index.core);
    core.growing.send_replace(true);
    world.put(clusters.documents(50..100)).await;
    let (query, scored) = (clusters.queries(1, 10).remove(0), || top_k::TopK::new(200));
    let scorer = Scorer::new(Metric::Cosine, &query.vector);
    let search = search::Search { core: &core, query: &query, scorer: &scorer, still: false };
    let moved = |tail, nearest: &mut top_k::TopK| match search.look_into_memory(tail, nearest) {
        Ok(()) => false,
        Err(search::Miss::Moved) => true,
        Err(search::Miss::Error(error)) => panic!("{error}"),
    };

    let mut nearest = scored();
    let none = search.scan_tail(&mut nearest).unwrap();
    assert_eq!(none, None);
    core.give_up("it is told to");
    assert!(moved(none, &mut nearest), "what waited is in the tail now");

    let mut nearest = scored();
    let tail = search.scan_tail(&mut nearest).unwrap();
    // Its old point is in the graph, and dead.
    world.put(clusters.documents(7..8)).await;
    assert!(moved(tail, &mut nearest), "the new point of a document that is changed is in the tail");

    let mut nearest = scored();
    let tail = search.scan_tail(&mut nearest).unwrap();
    core.waiting.lock().tail = None;
    assert!(!moved(tail, &mut nearest), "what has left the tail is in the graph");
    assert_eq!(nearest.into_sorted().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_graph_of_another_ledger_metric_or_dimension_is_not_used() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..300)).await;
    world.index.close().await.unwrap();
    let (shape, path) = (world.index.core.shape, world.graph_file());
    let (_, mark) = world.index.core.home.clone().unwrap();
    let load =
        |shape, mark| file::load(&path, shape, mark, Access::Search).map(|graph| graph.map(|g| g.points().len()));
    assert_eq!(load(shape, mark), Ok(Some(300)));
    assert!(load(shape, mark + 1).unwrap_err().contains("another ledger"));
    assert!(load(Shape { metric: Metric::L2, ..shape }, mark).unwrap_err().contains("another metric"));
    assert!(load(Shape { dimensions: 8, ..shape }, mark).unwrap_err().contains("another metric"));

    // A ledger from a backup that is older than the graph.
    let old = World::new(Metric::Cosine, 16);
    fs::copy(&path, old.graph_file()).unwrap();
    old.index.core.ledger.set_setting(MARK, &format!("{mark:032x}")).unwrap();
    let mut old = old.restart(false, |_| {}).await;
    assert_eq!(old.index.core.graph.read().covered, 0);
    old.put(clusters.documents(0..10)).await;
    assert_eq!(old.found(&query(&clusters.next(), 20)).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_reader_beside_the_writer_finds_what_is_committed() {
    let mut clusters = Clusters::new(20, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..500)).await;
    world.index.close().await.unwrap();
    let open = |world: &World| {
        let ledger = Arc::new(Ledger::open_to_read(world.folder.path()).unwrap());
        EmbeddedIndex::open(ledger, world.folder.path(), Metric::Cosine, 16).unwrap()
    };
    let reader = open(&world);
    assert_eq!(reader.core.graph.read().covered, 500);
    let again = "d7".to_owned();
    world.index.write([write_of("d3", None, &[])].into()).await.unwrap();
    world.truth.remove("d3");
    world.put(vec![(again, json!({"number": 7}), vec![clusters.next()])]).await;
    for reader in [reader, open(&world)] {
        for query in clusters.queries(5, 10) {
            let hits = reader.search(query.clone()).await.unwrap();
            let found: Vec<_> = hits.iter().map(|hit| (hit.id.as_str().to_owned(), hit.score, hit.chunk)).collect();
            assert_eq!(found, world.exact(&query));
        }
        let write = reader.write([write_of("x", Some(&json!({})), &[clusters.next()])].into()).await;
        assert!(matches!(write, Err(IndexError::Fatal(text)) if text.contains("read only")));
        reader.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_graph_with_many_dead_points_is_replaced() {
    let mut clusters = Clusters::new(20, 8);
    let mut world = World::new(Metric::Cosine, 8);
    for _ in 0..4 {
        world.put(clusters.documents(0..1_500)).await;
        world.settle().await;
    }
    assert_eq!(world.index.core.points.load(Relaxed), 1_500);
    let in_graph = world.index.core.graph.read().points().len();
    assert!(in_graph <= 3_000, "{in_graph} points in the graph, 1500 of them alive");
    assert!(world.recall(&clusters.queries(20, 10)).await >= 0.98);
    // What was dead when it was saved is known as dead by the next start.
    world = world.restart(true, |_| {}).await;
    assert_eq!(world.index.core.dead.read().len(), world.index.core.graph.read().points().len() - 1_500);
    assert!(world.recall(&clusters.queries(20, 10)).await >= 0.98);
}

#[tokio::test(start_paused = true)]
async fn writes_without_a_pause_leave_the_graph_near_the_size_of_what_is_alive() {
    const ALIVE: usize = 2_000;
    let mut random = Rng::with_seed(7);
    let mut clusters = Clusters::new(20, 8);
    let mut world = World::new(Metric::Cosine, 8);
    world.put(clusters.documents(0..ALIVE)).await;
    world.settle().await;
    // From here on it grows step by step, and whenever it could take a breath, there is more.
    let core = Arc::clone(&world.index.core);
    core.growing.send_replace(true);
    let mut growth = grow::Growth::default();
    let (mut written, mut before, mut replaced) = (0, 0, 0);
    while written < 5 * ALIVE {
        if core.waiting.lock().segments.is_empty() {
            let first = random.usize(..ALIVE - 100);
            world.put(clusters.documents(first..first + 100)).await;
            written += 100;
        }
        assert!(core.advance(&mut growth).unwrap());
        let points = core.graph.read().points().len();
        assert!(points < 2 * ALIVE, "{points} points in the graph, {ALIVE} of them alive, after {written} writes");
        if points < before {
            replaced += 1;
            assert!(!core.are_too_many(&core.dead.read()), "the one that was put in place has to be replaced at once");
        }
        before = points;
    }
    assert!(replaced >= 2, "{replaced}");
    while core.advance(&mut growth).unwrap() {}
    world.settle().await;
    assert!(world.recall(&clusters.queries(20, 10)).await >= 0.98);
}

#[tokio::test(start_paused = true)]
async fn new_points_wait_for_a_page_of_what_a_start_left_behind_and_no_more() {
    let mut clusters = Clusters::new(20, 8);
    let mut world = World::new(Metric::Cosine, 8);
    world.put(clusters.documents(0..3_000)).await;
    world.settle().await;
    let core = Arc::clone(&world.index.core);
    core.growing.send_replace(true);
    let end = core.graph.read().covered;
    core.waiting.lock().tail = Some(Tail { after: 0, end });
    for first in (1_500..3_000).step_by(100) {
        world.put(clusters.documents(first..first + 100)).await;
    }
    // However many are gone: what is behind comes before a new graph.
    assert!(core.are_too_many(&core.dead.read()));
    let mut growth = grow::Growth::default();
    for turn in 1..=15 {
        assert!(core.advance(&mut growth).unwrap());
        assert!(core.advance(&mut growth).unwrap());
        let waiting = core.waiting.lock();
        assert_eq!(waiting.segments.len(), 15 - turn);
        assert_eq!(waiting.tail, Some(Tail { after: 64 * turn as PointKey, end }));
    }
    while core.advance(&mut growth).unwrap() {}
    world.settle().await;
    assert!(world.recall(&clusters.queries(20, 10)).await >= 0.98);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_waits_for_the_graph_gets_it_between_two_points() {
    let mut clusters = Clusters::new(5, 16);
    let world = World::new(Metric::Cosine, 16);
    let points: Vec<_> = (1..=3_000).map(|key| (key, clusters.next())).collect();
    let core = &world.index.core;
    std::thread::scope(|scope| {
        let searching = core.graph.read();
        let growing = scope.spawn(|| core.add(&points));
        // Nobody else may read once a writer waits.
        while core.graph.try_read().is_some() {
            std::thread::yield_now();
        }
        drop(searching);
        let added = core.graph.read().points().len();
        assert!((1..points.len()).contains(&added), "{added}");
        growing.join().unwrap().unwrap();
    });
}

/// What the ledger no longer had may be gone by a write that memory has not been told of: a search that finds it nowhere would not know
/// that its document has another point.
#[tokio::test(start_paused = true)]
async fn what_the_ledger_lacked_goes_out_of_sight_only_while_no_write_is_half_told() {
    for replaced in [true, false] {
        let mut clusters = Clusters::new(5, 16);
        let mut world = World::new(Metric::Cosine, 16);
        world.put(clusters.documents(0..2_000)).await;
        world.settle().await;
        let core = Arc::clone(&world.index.core);
        core.growing.send_replace(true);
        let end = core.graph.read().covered;
        let mut growth = grow::Growth::default();
        if replaced {
            for number in 0..1_990 {
                world.remove(&format!("d{number}")).await;
            }
            // All that is left.
            assert!(core.advance(&mut growth).unwrap());
        } else {
            world.remove("d1999").await;
            core.waiting.lock().tail = Some(Tail { after: end - 1, end });
        }
        std::thread::scope(|scope| {
            let searching = core.graph.read();
            let growing = scope.spawn(|| core.advance(&mut growth));
            // Nobody else may read once the graph is to change.
            while core.graph.try_read().is_some() {
                std::thread::yield_now();
            }
            assert!(core.publishing.try_lock().is_none(), "replaced: {replaced}");
            drop(searching);
            assert!(growing.join().unwrap().unwrap());
        });
        assert_eq!(
            (core.graph.read().points().len(), core.waiting.lock().tail),
            (if replaced { 10 } else { 2_000 }, None)
        );
        while core.advance(&mut growth).unwrap() {}
        world.settle().await;
        assert!(world.recall(&clusters.queries(20, 10)).await >= 0.98);
    }
}

#[test]
fn writes_wait_while_too_much_waits_for_the_graph() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    Arc::get_mut(&mut world.index.core).unwrap().max_waiting = 1_000;
    let [first, second] = [0..50, 50..100].map(|numbers| {
        let documents = clusters.documents(numbers);
        documents.iter().map(|(id, metadata, vectors)| write_of(id, Some(metadata), vectors)).collect()
    });

    let core = Arc::clone(&world.index.core);
    let searching = core.graph.read();
    runtime.block_on(world.index.write(first)).unwrap();
    assert!(*core.waiting_bytes.borrow() > 1_000);
    let mut second = async {
        world.index.room().await;
        world.index.write(second).await
    }
    .boxed();
    for _ in 0..5 {
        assert!((&mut second).now_or_never().is_none());
        let ledger = Arc::clone(&core.ledger);
        let last = runtime.block_on(on_blocking_thread(move || ledger.last_point_key())).unwrap();
        assert_eq!(last, 50, "nothing of the second write was begun");
    }
    drop(searching);
    runtime.block_on(second).unwrap();
    assert_eq!(world.index.core.points.load(Relaxed), 100);
    runtime.block_on(world.settle());
}

/// A database without tables stands for whatever may pass: too few open files, a network disk that hangs.
#[tokio::test(start_paused = true)]
async fn growing_goes_on_when_the_ledger_can_be_read_again_unless_it_is_damaged() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..200)).await;
    world.settle().await;
    let core = Arc::clone(&world.index.core);
    core.growing.send_replace(true);
    let tail = Some(Tail { after: 0, end: 200 });
    *core.graph.write() = Graph::new(core.shape).unwrap();
    core.waiting.lock().tail = tail;
    let mut growth = grow::Growth::default();
    core.ledger.read_from(Connection::open_in_memory().unwrap());
    assert_eq!(core.advance(&mut growth), Ok(true));
    assert_eq!(core.waiting.lock().tail, tail);
    let noise = world.folder.path().join("noise");
    fs::write(&noise, "noise".repeat(1_000)).unwrap();
    core.ledger.read_from(Connection::open(noise).unwrap());
    assert!(core.advance(&mut growth).unwrap_err().contains("damaged"));
    core.ledger.drop_readers();
    while core.advance(&mut growth).unwrap() {}
    world.settle().await;
    assert_eq!(core.graph.read().points().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_graph_grows_though_the_runtime_of_the_writes_has_ended() {
    let mut clusters = Clusters::new(5, 16);
    let world = World::new(Metric::Cosine, 16);
    let writing = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let handle = writing.handle().clone();
    writing.shutdown_background();
    let core = Arc::clone(&world.index.core);
    let writes = [write_of("a", Some(&json!({})), &[clusters.next(), clusters.next()])];
    let write = move || {
        // A write that was on its way when its generation ended.
        let _inside = handle.enter();
        core.write(&writes).unwrap();
        core.grow_in_background();
    };
    std::thread::spawn(write).join().unwrap();
    tokio::time::timeout(Duration::from_secs(60), world.settle()).await.expect("it never grows");
    assert_eq!(world.index.core.graph.read().points().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_search_learned_gets_into_the_graph_when_a_write_waits_for_room() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    Arc::get_mut(&mut world.index.core).unwrap().max_waiting = 1_000;
    let documents = clusters.documents(0..50);
    let writes = documents.iter().map(|(id, metadata, vectors)| write_of(id, Some(metadata), vectors)).collect();
    faults::arm("points committed", Strike::Panic, 0, 1);
    assert!(AssertUnwindSafe(world.index.write(writes)).catch_unwind().await.is_err());
    assert_eq!(faults::disarm(), 1);
    world.found(&query(&clusters.next(), 1)).await;
    assert!(*world.index.core.waiting_bytes.borrow() > 1_000 && !*world.index.core.growing.borrow());
    let room = tokio::time::timeout(Duration::from_secs(60), world.index.room());
    room.await.expect("it waits for ever");
    world.settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_write_committed_and_could_not_tell_is_searched_all_the_same() {
    for (point, strike) in [
        ("points committed", Strike::Panic),
        ("the ledger committed", Strike::Panic),
        ("the ledger committed", Strike::Fail),
    ] {
        for settled in [true, false] {
            let mut clusters = Clusters::new(3, 4);
            let mut world = World::new(Metric::Cosine, 4);
            let mut document = |id: &str| (id.to_owned(), json!({}), vec![clusters.next()]);
            world.put(["same", "changed", "gone"].map(&mut document).into()).await;
            if settled {
                world.settle().await;
            }
            let new = ["changed", "new"].map(&mut document);
            let written = new.iter().map(|(id, metadata, vectors)| write_of(id, Some(metadata), vectors));
            let writes = written.chain([write_of("gone", None, &[])]).collect();
            faults::arm(point, strike, 0, 1);
            let ended = AssertUnwindSafe(world.index.write(writes)).catch_unwind().await;
            assert!(!matches!(ended, Ok(Ok(_))));
            assert_eq!(faults::disarm(), 1);
            world.truth.extend(new.map(|(id, metadata, vectors)| (id, (metadata, vectors))));
            world.truth.remove("gone");
            // Nothing is written after it: what its documents are delivered for again is found to be there.
            world.assert_found_alone().await;
            assert_eq!(world.index.core.points.load(Relaxed), 3);
            world.put(vec![document("later")]).await;
            world.settle().await;
            world.assert_found_alone().await;
            let mut keys: Vec<PointKey> = world.index.core.graph.read().keys().collect();
            keys.sort_unstable();
            assert!(keys.is_sorted_by(|a, b| a < b), "a point is in the graph twice: {keys:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn vectors_of_another_length_are_refused() {
    let world = World::new(Metric::Cosine, 4);
    let endless: Vector = Arc::from([f32::INFINITY; 4]);
    let write = world.index.write([write_of("a", Some(&json!({})), &[endless])].into()).await;
    assert!(matches!(write, Err(IndexError::Fatal(text)) if text.contains("is not finite")));
    let short: Vector = Arc::from([1.0_f32; 3]);
    let write = world.index.write([write_of("a", Some(&json!({})), std::slice::from_ref(&short))].into()).await;
    assert!(
        matches!(write, Err(IndexError::Fatal(text)) if text.contains("`a` has 3 dimensions, and the index has 4"))
    );
    let search = world.index.search(query(&short, 1)).await;
    assert!(matches!(search, Err(IndexError::Fatal(text)) if text.contains("the query's vector has 3 dimensions")));
    assert_eq!(world.index.core.points.load(Relaxed), 0);
}

#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8, Vec<[i8; 2]>),
    /// Other metadata, and so many chunks.
    Keep(u8, u8, usize),
    Remove(u8),
    Search([i8; 2], usize, u8),
    /// Until the graph has every point.
    Settle,
    /// With a graceful end, or without.
    Restart(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let point = || proptest::array::uniform2(-9_i8..9);
    prop_oneof![
        3 => (0..12_u8, 0..3_u8, proptest::collection::vec(point(), 1..4)).prop_map(|(id, m, v)| Act::Put(id, m, v)),
        1 => (0..12_u8, 0..3_u8, 1..4_usize).prop_map(|(id, m, chunks)| Act::Keep(id, m, chunks)),
        1 => (0..12_u8).prop_map(Act::Remove),
        4 => (point(), 1..6_usize, 0..4_u8).prop_map(|(at, k, m)| Act::Search(at, k, m)),
        1 => Just(Act::Settle),
        1 => any::<bool>().prop_map(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_history_is_answered_like_brute_force(
        acts in proptest::collection::vec(act(), 1..25),
        metric in prop_oneof![Just(Metric::Cosine), Just(Metric::Dot), Just(Metric::L2)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(metric, 2);
            let vector = |at: &[i8; 2]| -> Vector { at.iter().map(|x| f32::from(*x)).collect() };
            for act in &acts {
                match act {
                    Act::Put(id, kind, at) => {
                        // Two chunks with one text are one text: keep them apart.
                        let mut at = at.clone();
                        at.dedup();
                        let vectors = at.iter().map(vector).collect();
                        world.put(vec![(id.to_string(), json!({"kind": kind}), vectors)]).await;
                    }
                    Act::Keep(id, kind, chunks) => world.keep(&id.to_string(), json!({"kind": kind}), *chunks).await,
                    Act::Remove(id) => world.remove(&id.to_string()).await,
                    Act::Settle => world.settle().await,
                    Act::Restart(close) => world = world.restart(*close, |_| {}).await,
                    Act::Search(at, k, kind) => {
                        let filter = (*kind < 3).then(|| filter(json!({"kind": kind})).unwrap());
                        let query = Query { filter, ..query(&vector(at), *k) };
                        let scores = |found: Vec<(String, f32, usize)>| -> Vec<f32> {
                            found.into_iter().map(|hit| hit.1).collect()
                        };
                        // Equal scores may be answered by either document.
                        assert_eq!(scores(world.found(&query).await), scores(world.exact(&query)));
                    }
                }
            }
        });
    }
}

#[tokio::test]
async fn a_point_that_waits_and_is_in_the_graph_already_is_alive() {
    let mut world = World::new(Metric::L2, 2);
    world
        .put((0..3).map(|number| (format!("d{number}"), json!({}), vec![Arc::from([number as f32, 1.0])])).collect())
        .await;
    let ledger = &world.index.core.ledger;
    let held = ledger.point_keys_after(0, 10).unwrap();
    let gone = held.last().unwrap() + 1;
    assert_eq!(dead_among([&held[..], &[gone], &held[1..]].concat(), ledger).unwrap(), HashSet::from([gone]));
}
