//! A filter that a system cannot be told is decided on what comes back, and only so many points come back.

use serde_json::json;
use vectide::index::{Filter, IndexError};
use vectide::settings::index::Metric;
use vectide::testkit::index_contract::points::{DIMENSIONS, vector};
use vectide::testkit::index_contract::shop::{Shop, write};
use vectide::testkit::index_contract::{Subject, block_on, fresh};

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
