//! What is asked of every index, wherever its points are: each by its name.
//!
//! An index that does not refuse what another one does must take it and answer rightly, which is asserted in the place of the refusal.
//!
//! What does not apply to the embedded one is asked of collections alone, in `collection`: it cannot be unreachable, slow, dropped or
//! refuse a key. Another metric or another number of dimensions makes its graph anew, or is refused by the ledger:
//! `src/index/embedded/tests/files.rs`, `src/index/space.rs`. Kills in the middle of its writes are in `tests/faults/crash.rs`, panics
//! between its commit and its graph in `src/index/embedded/tests/untold.rs`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::points::{DIMENSIONS, vector};
use super::sample::{
    awkward, filters_on_anything, filters_that_some_refuse, metadata_that_some_refuse, mixed, products,
};
use super::shop::{Shop, truth, write};
use super::{Subject, fresh, parsed};
use crate::document::{DocumentId, Fingerprint};
use crate::index::distance::Scorer;
use crate::index::external::collection::Point;
use crate::index::{Filter, IndexError, Query};
use crate::ledger::{ChunkWrite, DocumentWrite, VectorSource};
use crate::settings::index::Metric;

async fn shop(subject: &dyn Subject, what: &str) -> Shop {
    Shop::new(subject.place(&fresh(what), Metric::Cosine)).await
}

pub async fn a_document_grows_shrinks_and_goes(subject: &dyn Subject) {
    let shop = shop(subject, "grows").await;
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
        // A write that comes again changes nothing.
        for _ in 0..2 {
            assert_eq!(shop.write(vec![write("a", metadata, seeds)]).await.unwrap(), []);
            shop.assert_holds(&truth(&[("a", metadata.clone(), seeds)])).await;
            assert_eq!(shop.ledger.last_unwritten().unwrap(), None);
        }
    }
    let query = Query { vector: vector(8, DIMENSIONS), k: 3, filter: None, except: None, with_vectors: true };
    let hits = shop.index.search(query.clone()).await.unwrap();
    assert_eq!(hits.len(), 1, "one entry a document");
    assert_eq!((hits[0].id.as_str(), hits[0].chunk, &hits[0].metadata), ("a", 1, &one));
    assert_eq!(hits[0].vector, Some(vector(8, DIMENSIONS)));
    let except = Some(DocumentId::new("a").unwrap());
    assert_eq!(shop.index.search(Query { except, ..query }).await.unwrap(), []);
}

pub async fn writes_beside_each_other_all_arrive(subject: &dyn Subject) {
    let shop = shop(subject, "beside").await;
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

pub async fn ten_thousand_points_go_in_at_once(subject: &dyn Subject) {
    let shop = shop(subject, "many").await;
    let name = |number| format!("p{number}");
    let writes = (0..10_000).map(|seed| write(&name(seed), &json!({"number": seed}), &[seed]));
    assert_eq!(shop.write(writes.collect()).await.unwrap(), []);
    assert_eq!(shop.ledger.point_count().unwrap(), 10_000);
    shop.assert_there(&(0..10_000).map(name).collect::<Vec<_>>()).await;
    for seed in (0..10_000).step_by(97) {
        let filter = Filter::from_json(&json!({"number": seed})).unwrap();
        let hits =
            shop.near(vector(seed, DIMENSIONS), 1, Some(&filter).filter(|_| subject.any_metadata())).await.unwrap();
        assert_eq!(hits[0].id.as_str(), name(seed));
    }
}

pub async fn what_was_answered_is_there_after_a_crash(subject: &dyn Subject) {
    let name = fresh("answered");
    let place = || subject.place(&name, Metric::Cosine);
    let shop = Shop::new(place()).await;
    let (old, new) = (json!({"price": 1}), json!({"price": 2}));
    let first = [("a", &[1, 2][..]), ("b", &[3]), ("c", &[4]), ("d", &[5])];
    shop.write(first.map(|(name, seeds)| write(name, &old, seeds)).into()).await.unwrap();
    let second = [("a", &[1, 6][..]), ("b", &[3]), ("c", &[]), ("e", &[7])];
    shop.write(second.map(|(name, seeds)| write(name, &new, seeds)).into()).await.unwrap();
    // With a connector of its own: the one before may have more in its memory than the system has.
    let shop = shop.crash(place()).await;
    shop.index.prepare().await.unwrap();
    let mut expected = truth(&second.map(|(name, seeds)| (name, new.clone(), seeds)));
    expected.insert("d", (old.clone(), vec![5]));
    shop.assert_holds(&expected).await;
    shop.write(vec![write("f", &old, &[8])]).await.unwrap();
    expected.insert("f", (old, vec![8]));
    shop.assert_holds(&expected).await;
}

/// As documents of one chunk each.
fn documents(points: &[Point]) -> Vec<DocumentWrite> {
    let document = |point: &Point| {
        let name = point.vector.iter().flat_map(|number| number.to_le_bytes()).take(32).collect::<Vec<_>>();
        let fingerprint = Fingerprint::from_bytes(name.try_into().unwrap());
        let chunks = vec![ChunkWrite { fingerprint, vector: VectorSource::Here(point.vector.clone()) }];
        DocumentWrite { chunks, ..write(point.document.as_str(), &parsed(&point.metadata), &[0]) }
    };
    points.iter().map(document).collect()
}

pub async fn awkward_ids_and_metadata_come_back_as_they_were(subject: &dyn Subject) {
    let shop = shop(subject, "awkward").await;
    let points = awkward();
    let refused = shop.write(documents(&points)).await.unwrap();
    let taken = (0..).zip(&points).filter(|(at, _)| refused.iter().all(|refused| refused.write != *at));
    let taken: Vec<&Point> = taken.map(|(_, point)| point).collect();
    // Nested values, nulls, mixed lists and numbers beyond 53 bits are what some have no type for.
    assert!(taken.len() >= if subject.any_metadata() { 10 } else { 7 }, "too much is refused: {refused:?}");
    shop.assert_holds_points(&taken.into_iter().cloned().collect::<Vec<_>>()).await;
}

pub async fn filters_find_what_brute_force_finds(subject: &dyn Subject) {
    let shop = shop(subject, "filters").await;
    let products = products(120);
    assert_eq!(shop.write(documents(&products)).await.unwrap(), []);
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
        if subject.refused_filters().iter().any(|(refused, _)| *refused == json) {
            continue;
        }
        let filter = Filter::from_json(&json).unwrap();
        let expected = exact(&products, &vector, &filter);
        assert_eq!(found(&shop, &vector, &filter, 200).await, expected, "{json}");
    }
}

pub async fn filters_on_values_of_any_kind_find_what_brute_force_finds(subject: &dyn Subject) {
    let (exceptions, any) = (subject.exceptions(), subject.any_metadata());
    let shop = shop(subject, "mixed").await;
    let points = mixed(300);
    let refused = shop.write(documents(&points)).await.unwrap();
    // Where fields have types, documents that do not fit them are refused by name.
    assert_eq!(refused.is_empty(), any, "{refused:?}");
    for refused in &refused {
        assert!(["`price`", "`tags`"].iter().any(|field| refused.reason.contains(field)), "{}", refused.reason);
    }
    let taken = (0..).zip(points).filter(|(at, _)| refused.iter().all(|refused| refused.write != *at));
    let points: Vec<Point> = taken.map(|(_, point)| point).collect();
    let (mut none, mut some) = (0, 0);
    for (seed, json) in (9_000..).zip(filters_on_anything()) {
        let (vector, filter) = (vector(seed, DIMENSIONS), Filter::from_json(&json).unwrap());
        if !any && matches!(shop.near(vector.clone(), 10, Some(&filter)).await, Err(IndexError::BadQuery(_))) {
            continue;
        }
        let expected = exact(&points, &vector, &filter);
        if exceptions.contains(&json) {
            assert_ne!(found(&shop, &vector, &filter, 400).await, expected, "{json} is no exception");
            continue;
        }
        for k in [10, 400] {
            assert_eq!(found(&shop, &vector, &filter, k).await, expected[..k.min(expected.len())], "{json}");
        }
        *(if expected.is_empty() { &mut none } else { &mut some }) += 1;
    }
    assert!(none > 2 && some > if any { 30 } else { 10 }, "the filters tell something apart: {none} {some}");
}

async fn found(shop: &Shop, vector: &[f32], filter: &Filter, k: usize) -> Vec<String> {
    let hits = shop.near(vector.into(), k, Some(filter)).await;
    let hits = hits.unwrap_or_else(|error| panic!("{filter:?}: {error}"));
    hits.iter().map(|hit| hit.id.to_string()).collect()
}

/// The documents that a filter lets through, nearest first.
fn exact<'a>(points: &'a [Point], vector: &[f32], filter: &Filter) -> Vec<&'a str> {
    let scorer = Scorer::new(Metric::Cosine, vector);
    let mut expected: Vec<&Point> = points.iter().filter(|point| filter.matches(&parsed(&point.metadata))).collect();
    expected.sort_by(|a, b| scorer.score(&b.vector).total_cmp(&scorer.score(&a.vector)));
    expected.into_iter().map(|point| point.document.as_str()).collect()
}

pub async fn a_filter_that_it_cannot_be_told_is_a_wrong_question_and_no_failure(subject: &dyn Subject) {
    let shop = shop(subject, "refuses").await;
    let products = products(60);
    assert_eq!(shop.write(documents(&products)).await.unwrap(), []);
    let (vector, mut refused) = (vector(4711, DIMENSIONS), subject.refused_filters());
    for json in filters_that_some_refuse() {
        let filter = Filter::from_json(&json).unwrap();
        match refused.iter().position(|(refused, _)| *refused == json) {
            Some(at) => {
                let (_, named) = refused.remove(at);
                let told = shop.near(vector.clone(), 1, Some(&filter)).await;
                assert!(
                    matches!(&told, Err(IndexError::BadQuery(reason)) if reason.contains(named)),
                    "{json}: {told:?}"
                );
            }
            None => {
                assert_eq!(found(&shop, &vector, &filter, 200).await, exact(&products, &vector, &filter), "{json}");
            }
        }
    }
    assert_eq!(refused, [], "every filter that it says to refuse was tried");
}

pub async fn searches_find_what_an_exact_search_finds(subject: &dyn Subject) {
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let shop = Shop::new(subject.place(&fresh("search"), metric)).await;
        let points = products(600);
        assert_eq!(shop.write(documents(&points)).await.unwrap(), []);
        let mut right = 0;
        for seed in 0..20 {
            let vector = vector(1_000_000 + seed, DIMENSIONS);
            let scorer = Scorer::new(metric, &vector);
            let mut expected: Vec<(f32, &str)> =
                points.iter().map(|point| (scorer.score(&point.vector), point.document.as_str())).collect();
            expected.sort_by(|a, b| b.0.total_cmp(&a.0));
            let found = shop.near(vector.clone(), 10, None).await.unwrap();
            assert_eq!(found.len(), 10);
            for hit in &found {
                let exact = expected.iter().find(|(_, name)| *name == hit.id.as_str()).unwrap().0;
                assert!((hit.score - exact).abs() < 1e-3 && hit.chunk == 0, "{metric:?}: {} is not {exact}", hit.score);
            }
            assert!(found.is_sorted_by(|a, b| a.score >= b.score));
            let best: Vec<&str> = expected[..10].iter().map(|(_, name)| *name).collect();
            right += found.iter().filter(|hit| best.contains(&hit.id.as_str())).count();
        }
        assert!(right >= 196, "{metric:?}: recall@10 of {right} in 200");
    }
}

pub async fn a_refused_document_is_named_and_its_mates_go_in(subject: &dyn Subject) {
    match subject.poison() {
        Some((poison, said)) => is_refused_and_its_mates_go_in(subject, &poison, said).await,
        None => takes_what_others_refuse(subject).await,
    }
}

async fn takes_what_others_refuse(subject: &dyn Subject) {
    let shop = shop(subject, "taken").await;
    let metadata = metadata_that_some_refuse();
    let names: Vec<String> = (0..metadata.len()).map(|number| format!("p{number}")).collect();
    let expected: BTreeMap<&str, (Value, Vec<u64>)> = names
        .iter()
        .zip(metadata)
        .zip(0..)
        .map(|((name, metadata), seed)| (name.as_str(), (metadata, vec![seed])))
        .collect();
    let writes = expected.iter().map(|(name, (metadata, seeds))| write(name, metadata, seeds));
    assert_eq!(shop.write(writes.collect()).await.unwrap(), []);
    shop.assert_holds(&expected).await;
}

async fn is_refused_and_its_mates_go_in(subject: &dyn Subject, poison: &Value, said: &str) {
    let shop = shop(subject, "refused").await;
    let fine = json!({"price": 1});
    shop.write(vec![write("was fine", &fine, &[100, 101])]).await.unwrap();
    let names: Vec<String> = (0..30).map(|number| format!("p{number}")).collect();
    let mut writes: Vec<DocumentWrite> =
        names.iter().zip(0..).map(|(name, seed)| write(name, &fine, &[seed])).collect();
    writes.insert(13, write("bad", poison, &[200, 201]));
    // Only its metadata changes.
    writes.insert(5, write("was fine", poison, &[100, 101]));
    let refused = shop.write(writes).await.unwrap();
    assert_eq!(refused.iter().map(|refused| refused.write).collect::<Vec<_>>(), [5, 14]);
    for refused in &refused {
        assert!(refused.reason.contains(said), "{}", refused.reason);
    }
    let mut expected: BTreeMap<&str, (Value, Vec<u64>)> =
        names.iter().zip(0..).map(|(name, seed)| (name.as_str(), (fine.clone(), vec![seed]))).collect();
    expected.insert("bad", (fine.clone(), vec![]));
    expected.insert("was fine", (fine.clone(), vec![]));
    shop.assert_holds(&expected).await;
    let bad = DocumentId::new("bad").unwrap();
    assert_eq!(shop.ledger.documents(&[bad]).unwrap().remove(0).unwrap().metadata, None);
    assert_eq!(shop.ledger.last_unwritten().unwrap(), None);
}

pub async fn a_vector_of_another_length_is_refused(subject: &dyn Subject) {
    let shop = shop(subject, "longer").await;
    let fine = json!({"price": 1});
    shop.write(vec![write("a", &fine, &[1])]).await.unwrap();
    let mut longer = write("b", &fine, &[2]);
    longer.chunks[0].vector = VectorSource::Here(vector(2, DIMENSIONS + 1));
    let refused = shop.write(vec![write("a", &fine, &[3]), longer]).await;
    let named = |text: &str| {
        [&*DIMENSIONS.to_string(), &(DIMENSIONS + 1).to_string(), "`b`"].iter().all(|part| text.contains(part))
    };
    assert!(matches!(&refused, Err(IndexError::Fatal(text)) if named(text)), "{refused:?}");
    shop.assert_holds(&truth(&[("a", fine, &[1])])).await;
}
