//! What every collection promises, whatever system it lives in.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use uuid::Uuid;
use vectide::document::DocumentId;
use vectide::index::Filter;
use vectide::index::collection::{Bulk, Collection, CollectionError, Established, Nearest, Neighbour, Point};
use vectide::index::distance::Scorer;
use vectide::settings::index::Metric;

pub const DIMENSIONS: usize = 8;

/// The same numbers for the same seed, between -1 and 1, none so small that it matters how a system rounds.
pub fn vector(seed: u64, dimensions: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut vector: Vec<f32> = (0..dimensions).map(|_| random.f32() * 2.0 - 1.0).collect();
    vectide::document::vector::normalise(&mut vector);
    vector
}

/// A point whose vector follows from its number.
pub fn point(number: usize, metadata: &Value) -> Point {
    let document = format!("doc-{number}");
    Point {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, document.as_bytes()),
        document: DocumentId::new(&document).unwrap(),
        chunk: number % 3,
        metadata: metadata.to_string().into(),
        vector: vector(number as u64, DIMENSIONS).into(),
    }
}

/// What is there, in the order of the ids.
pub async fn fetched(collection: &dyn Collection, ids: &[Uuid]) -> Vec<Point> {
    let mut points = collection.fetch(ids).await.unwrap();
    points.sort_by_key(|point| point.id);
    points
}

/// Vectors come back as they were written, but for the last bit of a float in systems that scale them.
pub fn assert_same(found: &[Point], expected: &[Point]) {
    let mut expected = expected.to_vec();
    expected.sort_by_key(|point| point.id);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((found.id, &found.document, found.chunk), (expected.id, &expected.document, expected.chunk));
        assert_eq!(found.metadata, expected.metadata, "{}", found.document);
        assert_near(&found.vector, &expected.vector);
    }
}

pub fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
}

/// The nearest by comparing with every point.
pub fn exact(points: &[Point], metric: Metric, query: &[f32], filter: Option<&Filter>, limit: usize) -> Vec<Neighbour> {
    let scorer = Scorer::new(metric, query);
    let passes = |point: &&Point| filter.is_none_or(|f| f.matches(&serde_json::from_str(&point.metadata).unwrap()));
    let mut all: Vec<_> = points
        .iter()
        .filter(passes)
        .map(|point| Neighbour {
            document: point.document.clone(),
            chunk: point.chunk,
            score: scorer.score(&point.vector),
        })
        .collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    all.truncate(limit);
    all
}

pub fn assert_neighbours(found: &[Neighbour], expected: &[Neighbour], what: &dyn std::fmt::Display) {
    let names = |all: &[Neighbour]| all.iter().map(|n| (n.document.to_string(), n.chunk)).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found.score - expected.score).abs() < 1e-4, "{what}: {found:?} {expected:?}");
    }
}

/// `make` gives a collection that is not there yet, or the same one with another metric or dimension.
pub async fn it_is_made_once_and_checked_ever_after(
    make: impl Fn(Metric, usize) -> Box<dyn Collection>,
    metrics: [&str; 2],
) {
    let collection = make(Metric::Cosine, DIMENSIONS);
    assert_eq!(collection.look().await, Ok(None));
    assert_eq!(collection.establish().await, Ok(Established::Created));
    assert_eq!(collection.establish().await, Ok(Established::Existing { points: 0 }));
    collection.upsert(&[point(1, &json!({}))]).await.unwrap();
    assert_eq!(collection.look().await, Ok(Some(Established::Existing { points: 1 })));

    for (other, names) in [(make(Metric::Cosine, 5), ["8 ", "5"]), (make(Metric::L2, DIMENSIONS), metrics)] {
        for result in [other.establish().await.map(drop), other.look().await.map(drop)] {
            let Err(CollectionError::Unfit(told)) = result else { panic!("{result:?}") };
            assert!(names.iter().all(|name| told.contains(name)), "{told} should name {names:?}");
            assert!(told.contains(collection.place()), "{told}");
        }
    }
    assert_eq!(collection.establish().await, Ok(Established::Existing { points: 1 }), "it is as it was");
}

pub async fn points_are_written_replaced_and_deleted(collection: Box<dyn Collection>) {
    collection.establish().await.unwrap();
    let first: Vec<_> = (0..20).map(|number| point(number, &json!({ "n": number, "old": true }))).collect();
    let ids: Vec<_> = first.iter().map(|point| point.id).collect();
    for _ in 0..2 {
        collection.upsert(&first).await.unwrap();
        assert_same(&fetched(&*collection, &ids).await, &first);
        assert_eq!(collection.look().await, Ok(Some(Established::Existing { points: 20 })));
    }
    // A point is replaced whole: its old keys and its old vector are gone.
    let mut second = first.clone();
    for point in &mut second[..7] {
        point.metadata = json!({ "new": [1, "a"] }).to_string().into();
        point.vector = vector(1_000 + point.chunk as u64, DIMENSIONS).into();
        point.chunk += 1;
    }
    collection.upsert(&second[..7]).await.unwrap();
    assert_same(&fetched(&*collection, &ids).await, &second);

    collection.delete(&[ids[0], Uuid::nil(), ids[19]]).await.unwrap();
    collection.delete(&[ids[0], Uuid::nil()]).await.unwrap();
    assert_same(&fetched(&*collection, &ids).await, &second[1..19]);
    collection.upsert(&[]).await.unwrap();
    collection.delete(&[]).await.unwrap();
    assert_eq!(collection.fetch(&[]).await, Ok(Vec::new()));
    assert_eq!(collection.look().await, Ok(Some(Established::Existing { points: 18 })));
}

pub async fn awkward_ids_and_metadata_come_back_as_they_went(collection: Box<dyn Collection>, not: &[&str]) {
    collection.establish().await.unwrap();
    let ids =
        ["'", "\"", "\\", "a/b?c#d%20", " ", "é😀\u{200b}", "line\nline\t\u{1}", "$meta", "{}", &"x".repeat(1024)];
    let mut metadata = vec![
        ("empty", json!({})),
        ("long", json!({ "text": "lorem ipsum ".repeat(2_000) })),
        ("quotes", json!({ "it's": "say \"hi\" \\ `now` $1 %s {{x}}", "a\"b": "'; drop table x; --" })),
        ("unicode", json!({ "ключ": "значение", "emoji😀": "👩‍👩‍👧", "line\n": "a\r\n\tb" })),
        ("nulls", json!({ "null": null, "list": [null, 1], "deep": { "null": null } })),
        ("nested", json!({ "a": { "b": { "c": [1, { "d": [[], {}, [[2]]] }] } } })),
        ("lists", json!({ "empty": [], "mixed": [1, "1", true, 1.5, null], "texts": ["a", "b"] })),
        ("numbers", json!({ "zero": 0, "one": 1.0, "tiny": 5e-324, "long": 0.1234567890123456, "minus": -0.5 })),
        ("dates", json!({ "at": "2026-03-01T10:00:00.123456789+01:00", "day": "2026-02-29" })),
        (
            "names",
            json!({ "id": 1, "vector": [1], "document": "d", "chunk": 7, "metadata": {}, "$x": 1, "a.b": 2, "a[0]": 3 }),
        ),
    ];
    metadata.push(("edges", json!({ "max": i64::MAX, "min": i64::MIN, "exact": 9_007_199_254_740_993_i64 })));
    metadata.push(("unsigned", json!({ "max": u64::MAX, "big": 1e300 })));
    metadata.retain(|(name, _)| !not.contains(name));
    let points: Vec<_> = ids
        .iter()
        .cycle()
        .zip(&metadata)
        .enumerate()
        .map(|(number, (id, (_, metadata)))| Point {
            document: DocumentId::new(id).unwrap(),
            ..point(number, metadata)
        })
        .collect();
    collection.upsert(&points).await.unwrap();
    let ids: Vec<_> = points.iter().map(|point| point.id).collect();
    assert_same(&fetched(&*collection, &ids).await, &points);
}

/// Documents with fields of all kinds, missing ones among them.
fn catalogue(count: usize) -> Vec<Point> {
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
            point(number, &Value::Object(fields))
        })
        .collect()
}

/// Filters with every operator, on every kind of value.
fn filters() -> Vec<Value> {
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

pub async fn filters_mean_what_they_say(collection: Box<dyn Collection>) {
    collection.establish().await.unwrap();
    let points = catalogue(300);
    for points in points.chunks(100) {
        collection.upsert(points).await.unwrap();
    }
    let (mut none, mut some) = (0, 0);
    for (seed, json) in filters().into_iter().enumerate() {
        let (query, filter) = (vector(9_000 + seed as u64, DIMENSIONS), Filter::from_json(&json).unwrap());
        for limit in [10, 400] {
            let nearest = Nearest { vector: &query, filter: Some(&filter), limit };
            let found = collection.nearest(nearest).await.unwrap_or_else(|error| panic!("{json}: {error}"));
            let expected = exact(&points, Metric::Cosine, &query, Some(&filter), limit);
            assert_neighbours(&found, &expected, &json);
            if expected.is_empty() { none += 1 } else { some += 1 }
        }
    }
    assert!(none > 5 && some > 60, "the filters tell something apart: {none} {some}");
}

pub async fn the_nearest_are_those_of_an_exact_search(collection: Box<dyn Collection>, metric: Metric) {
    collection.establish().await.unwrap();
    let points: Vec<_> = (0..500)
        .map(|number| {
            let point = point(number, &json!({ "n": number }));
            // Of different lengths, which only cosine does not see.
            let scale = 0.5 + number as f32 / 100.0;
            Point { vector: point.vector.iter().map(|x| x * scale).collect(), ..point }
        })
        .collect();
    for points in points.chunks(100) {
        collection.upsert(points).await.unwrap();
    }
    for seed in 0..10 {
        let query: Vec<_> = vector(5_000 + seed, DIMENSIONS).iter().map(|x| x * 3.0).collect();
        for limit in [1, 17, 600] {
            let found = collection.nearest(Nearest { vector: &query, filter: None, limit }).await.unwrap();
            assert_neighbours(&found, &exact(&points, metric, &query, None, limit), &format!("{metric:?} {limit}"));
        }
    }
}

/// Ten thousand points in full bulks, as many at once as the collection allows.
pub async fn many_points_go_in(collection: Box<dyn Collection>) {
    collection.establish().await.unwrap();
    let points: Vec<_> = (0..10_000).map(|number| point(number, &json!({ "n": number }))).collect();
    let Bulk { points: size, concurrency, .. } = collection.bulk();
    let bulks: Vec<_> = points.chunks(size).collect();
    for at_once in bulks.chunks(concurrency) {
        futures_util::future::try_join_all(at_once.iter().map(|bulk| collection.upsert(bulk))).await.unwrap();
    }
    assert_eq!(collection.look().await, Ok(Some(Established::Existing { points: 10_000 })));
    let ids: Vec<_> = points.iter().map(|point| point.id).collect();
    assert_same(&fetched(&*collection, &ids[..2_500]).await, &points[..2_500]);
    for ids in ids.chunks(size) {
        collection.delete(ids).await.unwrap();
    }
    assert_eq!(collection.look().await, Ok(Some(Established::Existing { points: 0 })));
}

/// The collection was dropped behind the connector's back: every call says so, and it can be made anew.
pub async fn a_dropped_collection_is_missed(collection: Box<dyn Collection>, drop_it: impl AsyncFn()) {
    collection.establish().await.unwrap();
    let points = [point(1, &json!({}))];
    collection.upsert(&points).await.unwrap();
    drop_it().await;
    let ids = [points[0].id];
    let nearest = Nearest { vector: &points[0].vector, filter: None, limit: 1 };
    for (call, result) in [
        ("upsert", collection.upsert(&points).await.map(drop)),
        ("delete", collection.delete(&ids).await.map(drop)),
        ("nearest", collection.nearest(nearest).await.map(drop)),
        ("fetch", collection.fetch(&ids).await.map(drop)),
    ] {
        assert!(matches!(result, Err(CollectionError::Missing(_))), "{call}: {result:?}");
    }
    assert_eq!(collection.look().await, Ok(None));
    assert_eq!(collection.establish().await, Ok(Established::Created));
    assert_eq!(collection.fetch(&ids).await, Ok(Vec::new()));
}

/// New metadata replaces all of the old and leaves the vector; points that are not there are named.
pub async fn metadata_is_replaced_and_vectors_stay(collection: Box<dyn Collection>) {
    use vectide::index::collection::PointMetadata;

    collection.establish().await.unwrap();
    let mut points: Vec<_> = (0..6).map(|number| point(number, &json!({ "a": number, "b": { "c": 1 } }))).collect();
    collection.upsert(&points[..4]).await.unwrap();
    let new = [json!({ "a": 7 }), json!({}), json!({ "d": [null, "x"], "vectide": 1 }), json!({ "a": null })];
    let changes: Vec<_> = [4, 0, 1, 5, 2, 3]
        .iter()
        .zip(new.iter().cycle())
        .map(|(at, metadata): (&usize, _)| PointMetadata {
            id: points[*at].id,
            document: points[*at].document.clone(),
            chunk: points[*at].chunk,
            metadata: metadata.to_string().into(),
        })
        .collect();
    assert_eq!(collection.set_metadata(&changes).await, Ok(vec![0, 3]), "those that are not there, by their place");
    let by_id: HashMap<_, _> = changes.iter().map(|change| (change.id, change.metadata.clone())).collect();
    points.truncate(4);
    points.iter_mut().for_each(|point| point.metadata = by_id[&point.id].clone());
    let ids: Vec<_> = by_id.keys().copied().collect();
    assert_same(&fetched(&*collection, &ids).await, &points);
    assert_eq!(collection.set_metadata(&[]).await, Ok(Vec::new()));
}

/// A point that the system refuses keeps none of its mates out for good: it is named, or the call is refused whole.
pub async fn a_refused_point_is_told(collection: Box<dyn Collection>, refused: Point) {
    collection.establish().await.unwrap();
    let good = [point(1, &json!({})), point(2, &json!({}))];
    let call = [good[0].clone(), refused.clone(), good[1].clone()];
    let ids: HashSet<_> = call.iter().map(|point| point.id).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    match collection.upsert(&call).await {
        Err(CollectionError::Refused(points)) => {
            assert_eq!(points.iter().map(|point| point.index).collect::<Vec<_>>(), [1]);
            assert_same(&fetched(&*collection, &ids).await, &good);
        }
        Err(CollectionError::OneRefused(_)) => {
            assert_eq!(collection.fetch(&ids).await, Ok(Vec::new()), "nothing of it was done");
            assert!(matches!(collection.upsert(&[refused]).await, Err(CollectionError::OneRefused(_))));
            collection.upsert(&good).await.unwrap();
            assert_same(&fetched(&*collection, &ids).await, &good);
        }
        other => panic!("{other:?}"),
    }
}
