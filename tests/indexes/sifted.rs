//! A filter that a system cannot be told is decided on what comes back, and only so many points come back.

use serde_json::{Value, json};
use vectide::index::collection::Point;
use vectide::index::{Filter, IndexError};
use vectide::settings::index::Metric;
use vectide::testkit::index_contract::points::{DIMENSIONS, point, vector};
use vectide::testkit::index_contract::shop::{Place, Shop, write};
use vectide::testkit::index_contract::{Backend, Subject, block_on, fresh};

/// The most that one search looks at.
const MOST: u64 = 16_384;

/// The filter must be one that the system cannot be told, and that matches none of the points.
pub fn a_filter_that_matches_too_few_of_too_many_is_refused_and_not_answered_wrongly(subject: &dyn Subject) {
    block_on(async {
        let shop = Shop::new(subject.place(&fresh("sifted"), Metric::Cosine)).await;
        let points = (0..MOST).map(|seed| write(&format!("p{seed}"), &json!({"n": seed}), &[seed]));
        assert_eq!(shop.write(points.collect()).await.unwrap(), []);
        let filter = Filter::from_json(&json!({"not": {"n": {"exists": true}}})).unwrap();
        let search = || shop.near(vector(1_000_000, DIMENSIONS), 3, Some(&filter));
        let refused = search().await;
        assert!(
            matches!(&refused, Err(IndexError::BadQuery(reason)) if reason.contains("0 match the filter and 3 are wanted")),
            "{refused:?}"
        );
        // With one fewer it has seen them all, and knows that none matches.
        shop.write(vec![write("p0", &json!({}), &[])]).await.unwrap();
        assert_eq!(search().await.unwrap(), []);
    });
}

/// They are no document's, nearer than all that is ours, and have the same metadata, which the filter lets through.
pub fn more_points_of_others_than_one_search_looks_at_hide_none_of_ours(backend: &dyn Backend, filter: &Value) {
    block_on(async {
        let name = fresh("crowded");
        let collection = backend.collection(&name, DIMENSIONS, Metric::Cosine);
        collection.establish().await.unwrap();
        let query = vector(50, DIMENSIONS);
        let priced = json!({"price": 1});
        let theirs: Vec<Point> = (0..=MOST).map(|number| point(&format!("theirs{number}"), 0, &priced, 50)).collect();
        backend.write_foreign(&name, &theirs).await;
        let shop = Shop::open(tempfile::tempdir().unwrap(), Place::Collection(collection), true);
        shop.index.prepare().await.unwrap();
        shop.write(vec![write("a", &priced, &[1]), write("b", &priced, &[2])]).await.unwrap();
        let filter = Filter::from_json(filter).unwrap();
        for filter in [None, Some(&filter)] {
            for (k, found) in [(1, 1), (2, 2), (3, 2)] {
                let hits = shop.near(query.clone(), k, filter).await.unwrap();
                assert_eq!(hits.len(), found, "{filter:?}: {k}");
            }
        }
    });
}
