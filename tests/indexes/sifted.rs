//! Systems that are not told all of a filter, where what matches is further away than they look.

use serde_json::json;
use vectide::document::Vector;
use vectide::index::Filter;
use vectide::index::collection::{CollectionError, Nearest, Point};
use vectide::settings::index::Metric;

use crate::contract::{Backend, block_on, fresh};
use crate::points::{DIMENSIONS, point, vector};

/// So many are looked at.
const MOST: u64 = 16_384;

pub fn a_search_that_could_be_answered_wrongly_is_refused(backend: &dyn Backend) {
    block_on(async {
        let collection = backend.collection(&fresh("sifted"), DIMENSIONS, Metric::Cosine);
        collection.establish().await.unwrap();
        let query = vector(0, DIMENSIONS);
        let opposite: Vector = query.iter().map(|number| -number).collect();
        let furthest = Point { vector: opposite, ..point("furthest", 0, &json!({"kind": "rare"}), 0) };
        let old = (1..=MOST).map(|seed| point(&format!("p{seed}"), 0, &json!({"old": true}), seed));
        let points: Vec<Point> = old.chain([furthest]).collect();
        for points in points.chunks(1_000) {
            collection.upsert(points).await.unwrap();
        }
        let ask = async |json| {
            let filter = Filter::from_json(&json).unwrap();
            collection.nearest(Nearest { vector: &query, filter: Some(&filter), limit: 1 }).await
        };
        let told = ask(json!({"not": {"old": {"exists": true}}})).await;
        assert!(matches!(&told, Err(CollectionError::OneRefused(text)) if text.contains("16384")), "{told:?}");
        let found = ask(json!({"not": {"old": {"exists": true}}, "kind": "rare"})).await.unwrap();
        assert_eq!(found.iter().map(|found| found.document.as_str()).collect::<Vec<_>>(), ["furthest"]);
    });
}
