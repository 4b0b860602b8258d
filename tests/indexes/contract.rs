//! What every index in another system must do, as tests over a [`Backend`]. `contract!` makes them the tests of one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;
use vectide::document::{Document, DocumentId, Fingerprint, Version};
use vectide::index::collection::{
    Bulk, Collection, CollectionError, Established, Nearest, Neighbour, Point, PointMetadata,
};
use vectide::index::distance::Scorer;
use vectide::index::external::PointIds;
use vectide::index::{ExternalIndex, Filter, IndexError, Query, RefusedWrite, VectorIndex};
use vectide::ledger::{ChunkWrite, DocumentWrite, Ledger, LedgerErrorKind, LedgerOptions, VectorSource};
use vectide::settings::index::Metric;

use crate::points::{DIMENSIONS, PIPELINE, metadata_of, point, vector};
use crate::shop::in_time;

/// A system that is tested.
pub trait Backend: Sync {
    /// A collection of this name. Two of one name are the same.
    fn collection(&self, name: &str, dimensions: usize, metric: Metric) -> Arc<dyn Collection>;
    /// The `index` section that names this collection, in one line.
    fn yaml(&self, name: &str) -> String;
    /// Removes a collection behind Vectide's back.
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()>;
    /// Whether it holds any JSON as metadata, such as fields of different types in different documents.
    fn any_metadata(&self) -> bool {
        true
    }
    /// Filters that it takes in another sense than the embedded index, as its documentation says.
    fn exceptions(&self) -> Vec<Value> {
        Vec::new()
    }
    /// Filters that it refuses, as its documentation says, each with a part of what it says about it; none, when it takes every filter.
    fn refused_filters(&self) -> Vec<(Value, &'static str)> {
        Vec::new()
    }
    /// Metadata that it can never take, and a part of what it says about it; none, when it takes every metadata.
    fn poison(&self) -> Option<(Value, &'static str)>;
}

/// Makes the contract the tests of a backend: `backend()` answers it, or `None` where it cannot be had.
macro_rules! contract {
    ($backend:path) => {
        $crate::contract::contract!(
            $backend:
            it_is_made_once_and_what_does_not_fit_is_refused,
            a_point_is_replaced_whole_and_a_repeated_write_changes_nothing,
            metadata_changes_without_the_vector_and_what_is_absent_is_named,
            what_is_deleted_is_gone_and_what_is_absent_is_no_error,
            awkward_ids_and_metadata_come_back_as_they_were,
            filters_find_what_they_find_in_the_embedded_index,
            filters_on_values_of_any_kind_find_what_they_find_in_the_embedded_index,
            a_filter_that_it_cannot_be_told_is_a_wrong_question_and_no_failure,
            searches_find_what_an_exact_search_finds,
            a_document_grows_shrinks_and_goes,
            writes_beside_each_other_all_arrive,
            ten_thousand_points_go_in_at_once,
            a_crash_between_any_two_steps_leaves_no_orphan_and_loses_nothing,
            a_refused_document_is_named_and_its_mates_go_in,
            a_collection_that_was_dropped_is_filled_again_without_embedding,
            points_of_others_are_not_written_over,
        );
    };
    ($backend:path: $($test:ident,)*) => {
        $(#[test]
        fn $test() {
            let Some(backend) = $backend() else { return };
            $crate::contract::block_on($crate::contract::$test(backend));
        })*
    };
}
pub(crate) use contract;

pub fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// A name that no other test uses.
pub fn fresh(what: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{what}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn id(name: &str) -> DocumentId {
    DocumentId::new(name).unwrap()
}

fn parsed(metadata: &str) -> Value {
    serde_json::from_str(metadata).unwrap()
}

/// As they were put in, but for the order of keys and the last digit of a vector.
#[track_caller]
pub fn assert_same(mut found: Vec<Point>, expected: &[&Point]) {
    found.sort_unstable_by_key(|point| point.id);
    let mut expected = expected.to_vec();
    expected.sort_unstable_by_key(|point| point.id);
    let names = |points: &[&Point]| {
        points.iter().map(|point| format!("{}/{}", point.document, point.chunk)).collect::<Vec<_>>()
    };
    assert_eq!(names(&found.iter().collect::<Vec<_>>()), names(&expected));
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(parsed(&found.metadata), parsed(&expected.metadata), "{}", found.document);
        let near = found.vector.iter().zip(&*expected.vector).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near && found.vector.len() == expected.vector.len(), "{}: another vector", found.document);
    }
}

async fn established(backend: &dyn Backend, what: &str) -> Arc<dyn Collection> {
    let collection = backend.collection(&fresh(what), DIMENSIONS, Metric::Cosine);
    assert_eq!(collection.establish().await, Ok(Established::Created));
    collection
}

pub async fn it_is_made_once_and_what_does_not_fit_is_refused(backend: &dyn Backend) {
    let name = fresh("made");
    let collection = backend.collection(&name, DIMENSIONS, Metric::Cosine);
    assert_eq!(collection.look().await, Ok(None), "looking makes nothing");
    assert_eq!(collection.establish().await, Ok(Established::Created));
    assert_eq!(collection.establish().await, Ok(Established::Existing { points: 0 }));
    collection.upsert(&[point("a", 0, &json!({}), 1)]).await.unwrap();
    assert!(matches!(collection.establish().await, Ok(Established::Existing { points: 1.. })));
    assert!(matches!(collection.look().await, Ok(Some(Established::Existing { points: 1.. }))));
    for (other, named) in [
        (
            backend.collection(&name, DIMENSIONS + 1, Metric::Cosine),
            [DIMENSIONS.to_string(), (DIMENSIONS + 1).to_string()],
        ),
        (backend.collection(&name, DIMENSIONS, Metric::L2), ["cosine".to_owned(), "l2".to_owned()]),
    ] {
        for refused in [other.establish().await.map(Some), other.look().await] {
            let Err(CollectionError::Unfit(text)) = refused else { panic!("{refused:?}") };
            // Some call the Euclidean distance so.
            let text = text.to_lowercase().replace("euclid", "l2");
            assert!(named.iter().all(|part| text.contains(part)), "names both: {text}");
        }
    }
}

pub async fn a_point_is_replaced_whole_and_a_repeated_write_changes_nothing(backend: &dyn Backend) {
    let collection = established(backend, "replaced").await;
    let (old, new) = (point("a", 0, &json!({"price": 1, "sale": true}), 1), point("a", 0, &json!({"price": 2}), 2));
    let other = point("b", 3, &json!({"price": 3}), 3);
    collection.upsert(&[old, other.clone()]).await.unwrap();
    for _ in 0..2 {
        collection.upsert(std::slice::from_ref(&new)).await.unwrap();
        assert_same(collection.fetch(&[new.id, other.id, Uuid::nil()]).await.unwrap(), &[&new, &other]);
    }
}

pub async fn metadata_changes_without_the_vector_and_what_is_absent_is_named(backend: &dyn Backend) {
    let collection = established(backend, "metadata").await;
    let before = ["a", "b", "c"].map(|document| point(document, 0, &json!({"price": 1, "note": "old"}), 7));
    collection.upsert(&before).await.unwrap();
    let after = ["a", "b", "c"].map(|document| point(document, 0, &json!({"price": 2.5}), 7));
    let changes =
        [metadata_of(&after[0]), metadata_of(&point("absent", 0, &json!({"price": 9}), 0)), metadata_of(&after[1])];
    let lacking = collection.set_metadata(&changes).await.unwrap();
    match lacking.as_slice() {
        [1] => assert_same(
            collection.fetch(&after.each_ref().map(|point| point.id)).await.unwrap(),
            &[&after[0], &after[1], &before[2]],
        ),
        // Those that cannot change metadata alone say so of all.
        all => assert_eq!(all, [0, 1, 2]),
    }
    let absent = collection.fetch(&[changes[1].id]).await.unwrap();
    assert_same(absent, &[]);
}

pub async fn what_is_deleted_is_gone_and_what_is_absent_is_no_error(backend: &dyn Backend) {
    let collection = established(backend, "deleted").await;
    let points = [point("a", 0, &json!({}), 1), point("a", 1, &json!({}), 2), point("b", 0, &json!({}), 3)];
    collection.upsert(&points).await.unwrap();
    let ids = points.each_ref().map(|point| point.id);
    for _ in 0..2 {
        collection.delete(&[ids[0], Uuid::nil(), ids[2]]).await.unwrap();
        assert_same(collection.fetch(&ids).await.unwrap(), &[&points[1]]);
    }
}

/// Documents whose ids and metadata are as odd as they get. Those that a backend cannot hold are refused by themselves.
fn awkward() -> Vec<Point> {
    let ids = ["'; DROP TABLE x; --", "a\"b\\c", "\u{1F45F} shoe", "with space", "ü/é?#%", "\u{202E}right"];
    let long = "l".repeat(400);
    let metadata = [
        json!({}),
        json!({"text": "it's \"quoted\" \\ back\nline\ttab", "empty": "", "emoji": "\u{1F9E6}\u{200D}", "long": "x".repeat(10_000)}),
        json!({"whole": 9_007_199_254_740_993_i64, "negative": -3, "fraction": 0.1, "small": 1e-7, "zero": 0}),
        json!({"yes": true, "no": false, "date": "2026-11-25T10:00:00Z", "digits": "007"}),
        json!({"tags": ["a", "b'c", "\u{1F45F}"]}),
        json!({"key with space": 1, "schlüssel": "ß"}),
        json!({"nested": {"deep": [1, {"x": null}]}, "null": null, "mixed": [1, "a", true, null], "sizes": [38, 39.5]}),
        json!({"max": u64::MAX, "min": i64::MIN}),
    ];
    let ids = ids.into_iter().chain([long.as_str(), "plain"]);
    ids.zip(&metadata).zip(1..).map(|((id, metadata), seed)| point(id, 0, metadata, seed)).collect()
}

pub async fn awkward_ids_and_metadata_come_back_as_they_were(backend: &dyn Backend) {
    let collection = established(backend, "awkward").await;
    let mut refused = Vec::new();
    let mut taken = Vec::new();
    for point in awkward() {
        match collection.upsert(std::slice::from_ref(&point)).await {
            Ok(()) => taken.push(point),
            Err(CollectionError::OneRefused(reason)) => refused.push(reason),
            Err(CollectionError::Refused(points)) => refused.extend(points.into_iter().map(|point| point.reason)),
            Err(error) => panic!("{}: {error}", point.document),
        }
    }
    let ids: Vec<Uuid> = awkward().iter().map(|point| point.id).collect();
    assert_same(collection.fetch(&ids).await.unwrap(), &taken.iter().collect::<Vec<_>>());
    // Nested values, nulls, mixed lists and numbers beyond 53 bits are what some have no type for.
    assert!(taken.len() >= 4, "too much is refused: {refused:?}");
}

/// Products as a shop has them, some with fields missing.
fn products(count: u64) -> Vec<Point> {
    let mut random = fastrand::Rng::with_seed(11);
    let product = |number: u64| {
        let category = ["shoes", "hats", "socks"][random.usize(..3)];
        let tags = &["new", "wool", "rain"][..random.usize(..4)];
        let (price, added) = (f64::from(random.u32(..200)) / 2.0, format!("2026-{:02}-01", random.u32(1..13)));
        let mut metadata = json!({
            "category": category, "price": price, "stock": random.u32(..5), "sale": random.bool(), "tags": tags, "added": added,
            "brand": "Fjäll \"x\"",
        });
        if random.bool() {
            metadata.as_object_mut().unwrap().remove("brand");
        }
        point(&format!("p{number}"), 0, &metadata, number)
    };
    (0..count).map(product).collect()
}

pub async fn filters_find_what_they_find_in_the_embedded_index(backend: &dyn Backend) {
    let collection = established(backend, "filters").await;
    let products = products(120);
    for points in products.chunks(60) {
        collection.upsert(points).await.unwrap();
    }
    let vector = vector(4711, DIMENSIONS);
    for json in [
        json!({}),
        json!({"category": "shoes"}),
        json!({"category": "nothing"}),
        json!({"category": "shoes", "sale": true}),
        json!({"sale": false}),
        json!({"stock": 3}),
        json!({"stock": 3.0}),
        json!({"price": {"gte": 20, "lt": 50.5}}),
        json!({"price": {"gt": 99}}),
        json!({"stock": {"lte": 1}}),
        json!({"added": {"gte": "2026-03-01", "lt": "2026-07-01"}}),
        json!({"category": {"in": ["hats", "socks", "x"]}}),
        json!({"stock": {"in": [0, 4]}}),
        json!({"category": {"in": []}}),
        json!({"tags": "wool"}),
        json!({"tags": {"in": ["wool", "rain"]}}),
        json!({"brand": {"exists": true}}),
        json!({"brand": {"exists": false}}),
        json!({"brand": "Fjäll \"x\""}),
        json!({"nowhere": {"exists": false}}),
        json!({"not": {"category": "shoes"}}),
        json!({"not": {"price": {"lt": 50}}}),
        json!({"not": {"brand": {"exists": true}}}),
        json!({"or": [{"stock": 0}, {"price": {"lt": 10}}]}),
        json!({"and": [{"or": [{"stock": 0}, {"stock": 1}]}, {"not": {"sale": true}}]}),
        json!({"or": []}),
        json!({"not": {"or": [{"category": "hats"}, {"and": [{"category": "socks"}, {"tags": "rain"}]}]}}),
    ] {
        if backend.refused_filters().iter().any(|(refused, _)| *refused == json) {
            continue;
        }
        let filter = Filter::from_json(&json).unwrap();
        let found = collection.nearest(Nearest { vector: &vector, filter: Some(&filter), limit: 200 }).await;
        let found = found.unwrap_or_else(|error| panic!("{json}: {error}"));
        let expected = exact(&products, &vector, &filter);
        let found: Vec<&str> = found.iter().map(|found| found.document.as_str()).collect();
        assert_eq!(found, expected, "{json}");
    }
}

pub async fn a_filter_that_it_cannot_be_told_is_a_wrong_question_and_no_failure(backend: &dyn Backend) {
    let shop = Shop::new(backend.collection(&fresh("refuses"), DIMENSIONS, Metric::Cosine));
    shop.index.prepare().await.unwrap();
    for (json, named) in backend.refused_filters() {
        let filter = Some(Filter::from_json(&json).unwrap());
        let query = Query { vector: vector(1, DIMENSIONS), k: 1, filter, except: None, with_vectors: false };
        let refused = shop.index.search(query).await;
        assert!(matches!(&refused, Err(IndexError::BadQuery(reason)) if reason.contains(named)), "{json}: {refused:?}");
    }
}

/// Documents with fields of all kinds, missing ones among them.
fn mixed(count: usize) -> Vec<Point> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..count)
        .map(|number| {
            let mut fields = serde_json::Map::new();
            let mut put = |name: &str, value: Value| fields.insert(name.into(), value);
            put("n", json!(number));
            if random.u8(..4) > 0 {
                put("category", json!(random.choice(["shoes", "boots", "Shoes", "it's \"q\" \\ é😀"])));
            }
            match random.u8(..6) {
                0 => put("price", json!(random.i32(-50..50))),
                1 => put("price", json!(f64::from(random.i32(-100..100)) / 4.0)),
                2 => put("price", json!(f64::from(random.i32(-5..5)))),
                3 => put("price", json!(random.choice(["cheap", "12", ""]))),
                4 => put("price", json!([random.i32(0..9), random.i32(20..40), "x"])),
                _ => None,
            };
            if random.bool() {
                put("sale", json!(random.bool()));
            }
            match random.u8(..4) {
                0 => put("tags", json!([])),
                1 => put("tags", json!(["a", "b", random.u8(..5).to_string(), 3, 4.0, true])),
                2 => put("tags", json!("a")),
                _ => None,
            };
            put("added", json!(format!("2026-{:02}-{:02}T10:00:00Z", random.u8(1..13), random.u8(1..29))));
            if random.bool() {
                put("maker", json!({ "country": random.choice(["SE", "DE"]), "a/b": random.u8(..3), "sizes": [38, random.u8(39..42)] }));
            }
            put("big", json!(9_007_199_254_740_990_i64 + random.i64(..6)));
            put("and", json!(random.u8(..3)));
            point(&format!("p{number}"), 0, &Value::Object(fields), number as u64)
        })
        .collect()
}

/// Filters with every operator, on every kind of value.
fn filters_on_anything() -> Vec<Value> {
    vec![
        json!({}),
        json!({"category": "shoes"}),
        json!({"category": "it's \"q\" \\ é😀"}),
        json!({"category": {"in": ["shoes", "boots"]}}),
        json!({"category": {"in": []}}),
        json!({"category": {"gt": "boots"}}),
        json!({"category": {"gte": "Shoes", "lt": "boots"}}),
        json!({"category": {"exists": true}}),
        json!({"category": {"exists": false}}),
        json!({"category": 1}),
        json!({"price": 3}),
        json!({"price": 3.0}),
        json!({"price": 2.25}),
        json!({"price": "12"}),
        json!({"price": ""}),
        json!({"price": {"in": [1, 2.25, "cheap", 25, -3.0]}}),
        json!({"price": {"gte": -2.5, "lt": 20}}),
        json!({"price": {"gt": 3}}),
        json!({"price": {"lte": 3}}),
        json!({"price": {"gt": 8, "lt": 20}}),
        json!({"price": {"gt": 1e300}}),
        json!({"price": {"gte": "1", "lte": "d"}}),
        json!({"sale": true}),
        json!({"sale": false}),
        json!({"sale": {"in": [true, "x"]}}),
        json!({"sale": {"exists": true}}),
        json!({"tags": "a"}),
        json!({"tags": "2"}),
        json!({"tags": 3.0}),
        json!({"tags": 4}),
        json!({"tags": true}),
        json!({"tags": {"exists": true}}),
        json!({"tags": {"gte": "b"}}),
        json!({"added": {"gte": "2026-03", "lt": "2026-07-15"}}),
        json!({"/maker/country": "SE"}),
        json!({"/maker/a~1b": {"gte": 1}}),
        json!({"/maker/sizes": 40}),
        json!({"/maker/sizes/0": 38}),
        json!({"/maker/sizes": {"gt": 40}}),
        json!({"maker": "SE"}),
        json!({"maker": {"exists": true}}),
        json!({"/and": 1}),
        json!({"big": 9_007_199_254_740_993_i64}),
        json!({"big": 9_007_199_254_740_992.0}),
        json!({"big": {"gt": 9_007_199_254_740_993_i64}}),
        json!({"n": {"in": (0..200).collect::<Vec<_>>()}}),
        json!({"missing": 1}),
        json!({"missing": {"exists": false}}),
        json!({"not": {"category": "shoes"}}),
        json!({"not": {"category": {"in": ["shoes", "boots"]}}}),
        json!({"not": {"price": {"gte": 3}}}),
        json!({"not": {"price": 3}}),
        json!({"not": {"missing": 1}}),
        json!({"not": {"tags": {"exists": true}}}),
        json!({"not": {"tags": {"exists": false}}}),
        json!({"not": {"not": {"sale": true}}}),
        json!({"not": {"and": [{"sale": true}, {"category": "shoes"}]}}),
        json!({"not": {"or": [{"sale": true}, {"category": "shoes"}]}}),
        json!({"not": {}}),
        json!({"and": []}),
        json!({"or": []}),
        json!({"and": [{"sale": true}, {"or": [{"category": "boots"}, {"price": {"lt": 0}}]}]}),
        json!({"or": [{"category": {"exists": false}}, {"not": {"sale": true}}, {"tags": "b"}]}),
        json!({"category": "shoes", "sale": true, "price": {"exists": true}}),
    ]
}

pub async fn filters_on_values_of_any_kind_find_what_they_find_in_the_embedded_index(backend: &dyn Backend) {
    if !backend.any_metadata() {
        return;
    }
    let exceptions = backend.exceptions();
    let collection = established(backend, "mixed").await;
    let points = mixed(300);
    for points in points.chunks(100) {
        collection.upsert(points).await.unwrap();
    }
    let (mut none, mut some) = (0, 0);
    for (seed, json) in (9_000..).zip(filters_on_anything()).filter(|(_, json)| !exceptions.contains(json)) {
        let (vector, filter) = (vector(seed, DIMENSIONS), Filter::from_json(&json).unwrap());
        let expected = exact(&points, &vector, &filter);
        for limit in [10, 400] {
            let found = collection.nearest(Nearest { vector: &vector, filter: Some(&filter), limit }).await;
            let found = found.unwrap_or_else(|error| panic!("{json}: {error}"));
            let found: Vec<&str> = found.iter().map(|found| found.document.as_str()).collect();
            assert_eq!(found, expected[..limit.min(expected.len())], "{json}");
        }
        *(if expected.is_empty() { &mut none } else { &mut some }) += 1;
    }
    assert!(none > 2 && some > 30, "the filters tell something apart: {none} {some}");
}

/// The documents that a filter lets through, nearest first.
fn exact<'a>(points: &'a [Point], vector: &[f32], filter: &Filter) -> Vec<&'a str> {
    let scorer = Scorer::new(Metric::Cosine, vector);
    let mut expected: Vec<&Point> = points.iter().filter(|point| filter.matches(&parsed(&point.metadata))).collect();
    expected.sort_by(|a, b| scorer.score(&b.vector).total_cmp(&scorer.score(&a.vector)));
    expected.into_iter().map(|point| point.document.as_str()).collect()
}

pub async fn searches_find_what_an_exact_search_finds(backend: &dyn Backend) {
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let collection = backend.collection(&fresh("search"), DIMENSIONS, metric);
        collection.establish().await.unwrap();
        let points = products(600);
        for points in points.chunks(100) {
            collection.upsert(points).await.unwrap();
        }
        let mut right = 0;
        for seed in 0..20 {
            let vector = vector(1_000_000 + seed, DIMENSIONS);
            let scorer = Scorer::new(metric, &vector);
            let mut expected: Vec<(f32, &str)> =
                points.iter().map(|point| (scorer.score(&point.vector), point.document.as_str())).collect();
            expected.sort_by(|a, b| b.0.total_cmp(&a.0));
            let found = collection.nearest(Nearest { vector: &vector, filter: None, limit: 10 }).await.unwrap();
            assert_eq!(found.len(), 10);
            for Neighbour { document, score, chunk } in &found {
                let exact = expected.iter().find(|(_, name)| *name == document.as_str()).unwrap().0;
                assert!((score - exact).abs() < 1e-3 && *chunk == 0, "{metric:?}: {score} is not {exact}");
            }
            assert!(found.is_sorted_by(|a, b| a.score >= b.score));
            let best: Vec<&str> = expected[..10].iter().map(|(_, name)| *name).collect();
            right += found.iter().filter(|found| best.contains(&found.document.as_str())).count();
        }
        assert!(right >= 196, "{metric:?}: recall@10 of {right} in 200");
    }
}

/// A pipeline's end: a ledger, and an index over a collection.
struct Shop {
    folder: TempDir,
    ledger: Arc<Ledger>,
    collection: Arc<dyn Collection>,
    index: ExternalIndex,
}

impl Shop {
    fn new(collection: Arc<dyn Collection>) -> Self {
        Self::open(tempfile::tempdir().unwrap(), collection, false)
    }

    fn open(folder: TempDir, collection: Arc<dyn Collection>, adopt: bool) -> Self {
        let options = LedgerOptions {
            pipeline: PIPELINE.to_owned(),
            store_vectors: true,
            persist_vectors: true,
            store_points: true,
            external: true,
        };
        // A process that another test starts has the lock of the ledger that was closed, from its fork to its exec.
        let opened = in_time("the ledger can be opened", || match Ledger::open(folder.path(), options.clone()) {
            Err(error) if error.kind() == LedgerErrorKind::Locked => None,
            opened => Some(opened.unwrap()),
        });
        let ledger = Arc::new(opened);
        let index = ExternalIndex::open(ledger.clone(), collection.clone(), PIPELINE, DIMENSIONS, adopt).unwrap();
        Self { folder, ledger, collection, index }
    }

    /// The process dies and starts again, with this collection.
    fn crash(self, collection: Arc<dyn Collection>) -> Self {
        let Self { folder, ledger, index, .. } = self;
        drop(index);
        // What was under way on another thread ends as it would have before the crash.
        while Arc::strong_count(&ledger) > 1 {
            std::thread::yield_now();
        }
        drop(ledger);
        Self::open(folder, collection, false)
    }

    async fn write(&self, writes: Vec<DocumentWrite>) -> Result<Vec<RefusedWrite>, IndexError> {
        self.index.write(writes.into()).await
    }

    /// As the pipeline does at its start: every document that the collection may lack, as the ledger has it.
    async fn rewrite(&self) {
        let unwritten = self.ledger.unwritten_after(0, usize::MAX).unwrap();
        let ids: Vec<DocumentId> = unwritten.into_iter().map(|(_, id)| id).collect();
        let held = self.ledger.documents(&ids).unwrap();
        let writes = ids.into_iter().zip(held).map(|(id, held)| {
            let held = held.unwrap();
            let chunk = |chunk: &vectide::ledger::HeldChunk| ChunkWrite {
                fingerprint: chunk.fingerprint,
                vector: VectorSource::Held(chunk.key),
            };
            DocumentWrite {
                id,
                document: held.document.to_json(),
                newest: Version::from_nanos(1),
                metadata: held.metadata.clone(),
                chunks: held.chunks.iter().map(chunk).collect(),
            }
        });
        assert_eq!(self.write(writes.collect()).await.unwrap(), []);
        assert!(!self.ledger.any_unwritten().unwrap());
    }

    /// The collection has exactly the points of these documents: their chunks by seed.
    async fn assert_holds(&self, documents: &BTreeMap<&str, (Value, Vec<u64>)>) {
        let ids = PointIds::new(PIPELINE);
        // More than any document ever had.
        let asked: Vec<Uuid> =
            documents.keys().flat_map(|name| (0..12).map(move |chunk| ids.of(&id(name), chunk))).collect();
        let expected: Vec<Point> = documents
            .iter()
            .flat_map(|(name, (metadata, seeds))| {
                seeds.iter().enumerate().map(move |(chunk, seed)| point(name, chunk, metadata, *seed))
            })
            .collect();
        let mut found = Vec::new();
        for asked in asked.chunks(100) {
            found.extend(self.collection.fetch(asked).await.unwrap());
        }
        assert_same(found, &expected.iter().collect::<Vec<_>>());
    }
}

/// The chunks are new texts, one for each seed; none takes the document out of the index.
fn write(name: &str, metadata: &Value, seeds: &[u64]) -> DocumentWrite {
    let chunk = |seed: &u64| {
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&seed.to_le_bytes());
        ChunkWrite {
            fingerprint: Fingerprint::from_bytes(fingerprint),
            vector: VectorSource::Here(vector(*seed, DIMENSIONS)),
        }
    };
    DocumentWrite {
        id: id(name),
        document: Document::default().to_json(),
        newest: Version::from_nanos(1),
        metadata: (!seeds.is_empty()).then(|| metadata.to_string()),
        chunks: seeds.iter().map(chunk).collect(),
    }
}

fn truth<'a>(documents: &[(&'a str, Value, &[u64])]) -> BTreeMap<&'a str, (Value, Vec<u64>)> {
    documents.iter().map(|(name, metadata, seeds)| (*name, (metadata.clone(), seeds.to_vec()))).collect()
}

pub async fn a_document_grows_shrinks_and_goes(backend: &dyn Backend) {
    let shop = Shop::new(backend.collection(&fresh("grows"), DIMENSIONS, Metric::Cosine));
    shop.index.prepare().await.unwrap();
    let (one, two) = (json!({"price": 1}), json!({"price": 2}));
    for (metadata, seeds) in [
        (&one, &[1, 2][..]),
        (&one, &[1, 2, 3, 4, 5]),
        (&two, &[1, 2, 3, 4, 5]),
        (&two, &[9, 2]),
        (&two, &[2]),
        (&one, &[]),
        (&one, &[7, 8]),
    ] {
        assert_eq!(shop.write(vec![write("a", metadata, seeds)]).await.unwrap(), []);
        shop.assert_holds(&truth(&[("a", metadata.clone(), seeds)])).await;
        assert_eq!(shop.index.points(), seeds.len() as u64);
        assert!(!shop.ledger.any_unwritten().unwrap());
    }
    let query = Query { vector: vector(8, DIMENSIONS), k: 3, filter: None, except: None, with_vectors: true };
    let hits = shop.index.search(query.clone()).await.unwrap();
    assert_eq!(hits.len(), 1, "one entry a document");
    assert_eq!((hits[0].id.as_str(), hits[0].chunk, &hits[0].metadata), ("a", 1, &one));
    assert_eq!(hits[0].vector, Some(vector(8, DIMENSIONS)));
    assert_eq!(shop.index.search(Query { except: Some(id("a")), ..query }).await.unwrap(), []);
}

pub async fn writes_beside_each_other_all_arrive(backend: &dyn Backend) {
    let shop = Shop::new(backend.collection(&fresh("beside"), DIMENSIONS, Metric::Cosine));
    shop.index.prepare().await.unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
    let metadata = json!({"price": 1});
    let writes = names.chunks(10).zip(0_u64..).map(|(names, group)| {
        shop.write(names.iter().zip(group * 10..).map(|(name, seed)| write(name, &metadata, &[seed])).collect())
    });
    for done in futures_util::future::join_all(writes).await {
        assert_eq!(done.unwrap(), []);
    }
    let expected = names.iter().zip(0..).map(|(name, seed)| (name.as_str(), (metadata.clone(), vec![seed]))).collect();
    shop.assert_holds(&expected).await;
}

pub async fn ten_thousand_points_go_in_at_once(backend: &dyn Backend) {
    let shop = Shop::new(backend.collection(&fresh("many"), DIMENSIONS, Metric::Cosine));
    shop.index.prepare().await.unwrap();
    let names: Vec<String> = (0..10_000).map(|number| format!("p{number}")).collect();
    let writes = names.iter().zip(0..).map(|(name, seed)| write(name, &json!({"number": seed}), &[seed]));
    assert_eq!(shop.write(writes.collect()).await.unwrap(), []);
    let ids = PointIds::new(PIPELINE);
    let mut found = 0;
    for names in names.chunks(500) {
        let asked: Vec<Uuid> = names.iter().map(|name| ids.of(&id(name), 0)).collect();
        found += shop.collection.fetch(&asked).await.unwrap().len();
    }
    assert_eq!(found, 10_000);
}

/// A collection whose process dies at one of its writing calls: before it is done, or after.
struct Dying {
    inner: Arc<dyn Collection>,
    left: AtomicUsize,
    after: bool,
}

impl Dying {
    async fn pass<T>(&self, call: impl Future<Output = Result<T, CollectionError>>) -> Result<T, CollectionError> {
        let dies = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Err(0);
        let dead = || CollectionError::Unavailable { reason: "the process died".to_owned(), after: None };
        if dies && !self.after {
            return Err(dead());
        }
        let done = call.await?;
        if dies { Err(dead()) } else { Ok(done) }
    }
}

impl Collection for Dying {
    fn place(&self) -> &str {
        self.inner.place()
    }

    fn bulk(&self) -> Bulk {
        // One point a call: a step for each.
        Bulk { points: 1, concurrency: 1, ..self.inner.bulk() }
    }

    fn establish(&self) -> BoxFuture<'_, Result<Established, CollectionError>> {
        self.inner.establish()
    }

    fn look(&self) -> BoxFuture<'_, Result<Option<Established>, CollectionError>> {
        self.inner.look()
    }

    fn upsert<'a>(&'a self, points: &'a [Point]) -> BoxFuture<'a, Result<(), CollectionError>> {
        self.pass(self.inner.upsert(points)).boxed()
    }

    fn set_metadata<'a>(&'a self, points: &'a [PointMetadata]) -> BoxFuture<'a, Result<Vec<usize>, CollectionError>> {
        self.pass(self.inner.set_metadata(points)).boxed()
    }

    fn delete<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), CollectionError>> {
        self.pass(self.inner.delete(ids)).boxed()
    }

    fn nearest<'a>(&'a self, nearest: Nearest<'a>) -> BoxFuture<'a, Result<Vec<Neighbour>, CollectionError>> {
        self.inner.nearest(nearest)
    }

    fn fetch<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<Point>, CollectionError>> {
        self.inner.fetch(ids)
    }
}

/// What comes after the crash is not what was under way: a newer event may have arrived meanwhile, with other chunks.
pub async fn a_crash_between_any_two_steps_leaves_no_orphan_and_loses_nothing(backend: &dyn Backend) {
    let (old, new) = (json!({"price": 1}), json!({"price": 2}));
    let mut survived = 0;
    for step in 0.. {
        for after in [false, true] {
            let collection = backend.collection(&fresh("crash"), DIMENSIONS, Metric::Cosine);
            let shop = Shop::new(collection.clone());
            shop.index.prepare().await.unwrap();
            let first = [("a", &[1, 2][..]), ("b", &[3]), ("c", &[4, 5, 6]), ("d", &[7])];
            shop.write(first.map(|(name, seeds)| write(name, &old, seeds)).into()).await.unwrap();

            // `a` grows, `b` gets a price, `c` shrinks, `d` goes, `e` comes.
            let dying = Dying { inner: collection.clone(), left: AtomicUsize::new(step), after };
            let shop = shop.crash(Arc::new(dying));
            let second = [("a", &[1, 2, 10, 11][..]), ("b", &[3]), ("c", &[4]), ("d", &[]), ("e", &[12, 13])];
            let done = shop.write(second.map(|(name, seeds)| write(name, &new, seeds)).into()).await;

            let shop = shop.crash(collection);
            shop.index.prepare().await.unwrap();
            if done.is_ok() {
                survived += 1;
                assert!(!shop.ledger.any_unwritten().unwrap());
            }
            // A newer event of `a` comes before what was under way is taken up.
            shop.write(vec![write("a", &old, &[20])]).await.unwrap();
            shop.rewrite().await;
            let expected = [
                ("a", old.clone(), &[20][..]),
                ("b", new.clone(), &[3]),
                ("c", new.clone(), &[4]),
                ("d", new.clone(), &[]),
                ("e", new.clone(), &[12, 13]),
            ];
            shop.assert_holds(&truth(&expected)).await;
        }
        if survived > 0 {
            assert!(step >= 6, "the write has as many steps as points change: {step}");
            return;
        }
    }
}

pub async fn a_refused_document_is_named_and_its_mates_go_in(backend: &dyn Backend) {
    let Some((poison, said)) = backend.poison() else { return };
    let shop = Shop::new(backend.collection(&fresh("refused"), DIMENSIONS, Metric::Cosine));
    shop.index.prepare().await.unwrap();
    let fine = json!({"price": 1});
    shop.write(vec![write("was fine", &fine, &[100, 101])]).await.unwrap();
    let names: Vec<String> = (0..30).map(|number| format!("p{number}")).collect();
    let mut writes: Vec<DocumentWrite> =
        names.iter().zip(0..).map(|(name, seed)| write(name, &fine, &[seed])).collect();
    writes.insert(13, write("bad", &poison, &[200, 201]));
    // Only its metadata changes.
    writes.insert(5, write("was fine", &poison, &[100, 101]));
    let refused = shop.write(writes).await.unwrap();
    assert_eq!(refused.iter().map(|refused| refused.write).collect::<Vec<_>>(), [5, 14]);
    for refused in &refused {
        assert!(refused.reason.contains(said), "{}", refused.reason);
    }
    let mut expected: BTreeMap<_, _> =
        names.iter().zip(0..).map(|(name, seed)| (name.as_str(), (fine.clone(), vec![seed]))).collect();
    expected.insert("bad", (fine.clone(), vec![]));
    expected.insert("was fine", (fine.clone(), vec![]));
    shop.assert_holds(&expected).await;
    assert_eq!(shop.ledger.documents(&[id("bad")]).unwrap().remove(0).unwrap().metadata, None);
    assert!(!shop.ledger.any_unwritten().unwrap());
    assert_eq!(shop.index.points(), 30);
}

pub async fn a_collection_that_was_dropped_is_filled_again_without_embedding(backend: &dyn Backend) {
    let name = fresh("dropped");
    let shop = Shop::new(backend.collection(&name, DIMENSIONS, Metric::Cosine));
    shop.index.prepare().await.unwrap();
    let metadata = json!({"price": 1});
    shop.write(vec![write("a", &metadata, &[1, 2]), write("b", &metadata, &[3])]).await.unwrap();
    backend.remove(&name).await;
    let lost = shop.write(vec![write("c", &metadata, &[4])]).await;
    assert!(matches!(lost, Err(IndexError::Lost(_))), "{lost:?}");
    shop.index.prepare().await.unwrap();
    shop.rewrite().await;
    let expected = [("a", metadata.clone(), &[1, 2][..]), ("b", metadata.clone(), &[3]), ("c", metadata.clone(), &[4])];
    shop.assert_holds(&truth(&expected)).await;
}

pub async fn points_of_others_are_not_written_over(backend: &dyn Backend) {
    let name = fresh("others");
    let collection = backend.collection(&name, DIMENSIONS, Metric::Cosine);
    collection.establish().await.unwrap();
    let theirs = point("theirs", 0, &json!({"price": 5}), 50);
    collection.upsert(std::slice::from_ref(&theirs)).await.unwrap();
    let shop = Shop::new(collection.clone());
    let refused = shop.index.prepare().await;
    assert!(matches!(&refused, Err(IndexError::Unfit(text)) if text.contains("index.adopt")), "{refused:?}");
    assert_same(collection.fetch(&[theirs.id]).await.unwrap(), &[&theirs]);

    let shop = Shop::open(tempfile::tempdir().unwrap(), collection.clone(), true);
    shop.index.prepare().await.unwrap();
    shop.write(vec![write("ours", &json!({"price": 1}), &[1])]).await.unwrap();
    let ours = point("ours", 0, &json!({"price": 1}), 1);
    assert_same(collection.fetch(&[theirs.id, ours.id]).await.unwrap(), &[&theirs, &ours]);
    let query = Query { vector: vector(50, DIMENSIONS), k: 1, filter: None, except: None, with_vectors: false };
    let hits = shop.index.search(query).await.unwrap();
    assert_eq!(hits.iter().map(|hit| hit.id.as_str()).collect::<Vec<_>>(), ["ours"], "theirs is not ours to show");
    shop.index.prepare().await.unwrap();
}
