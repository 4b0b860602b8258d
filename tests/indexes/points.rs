//! What is there of points that were written.

use serde_json::{Value, json};
use vectide::index::Filter;
use vectide::index::distance::Scorer;
use vectide::index::external::collection::{CollectionError, Nearest, Neighbour, Point};
use vectide::index::external::inspect::Inspect;
use vectide::settings::index::Metric;
use vectide::testkit::index_contract::points::point;

/// What is there of these points.
pub async fn fetched(index: &dyn Inspect, points: &[Point]) -> Vec<Point> {
    index.fetch(&points.iter().map(|point| point.id).collect::<Vec<_>>()).await.unwrap()
}

/// The nearest points of a collection that has none of others.
pub async fn near(index: &dyn Inspect, nearest: Nearest<'_>) -> Result<Vec<Neighbour>, CollectionError> {
    Ok(index.nearest(nearest).await?.into_iter().map(|found| found.expect("it is a point of ours")).collect())
}

/// Of these points, which are all that the collection has, by cosine those come that the filter matches; says how many.
pub async fn assert_filtered(index: &dyn Inspect, points: &[Point], vector: &[f32], json: &Value) -> usize {
    let filter = Filter::from_json(json).unwrap();
    let found = near(index, Nearest { vector, filter: Some(&filter), limit: 200 }).await;
    let found = found.unwrap_or_else(|error| panic!("{json}: {error}"));
    let scorer = Scorer::new(Metric::Cosine, vector);
    let matches = |point: &&Point| filter.matches(&serde_json::from_str(&point.metadata).unwrap());
    let mut expected: Vec<&Point> = points.iter().filter(matches).collect();
    expected.sort_by(|a, b| scorer.score(&b.vector).total_cmp(&scorer.score(&a.vector)));
    let expected: Vec<&str> = expected.iter().map(|point| point.document.as_str()).collect();
    assert_eq!(found.iter().map(|found| found.document.as_str()).collect::<Vec<_>>(), expected, "{json}");
    expected.len()
}

/// Products as a shop has them, some with fields missing.
pub fn products(count: u64) -> Vec<Point> {
    let mut random = fastrand::Rng::with_seed(11);
    let product = |number: u64| {
        let (category, tags) =
            (["shoes", "hats", "socks"][random.usize(..3)], &["new", "wool", "rain"][..random.usize(..4)]);
        let mut metadata = json!({
            "category": category, "price": f64::from(random.u32(..200)) / 2.0, "stock": random.u32(..5), "sale": random.bool(),
            "tags": tags, "brand": "Fjäll \"x\"",
        });
        for field in ["brand", "price", "sale", "tags"] {
            if random.u32(..4) == 0 {
                metadata.as_object_mut().unwrap().remove(field);
            }
        }
        point(&format!("p{number}"), 0, &metadata, number)
    };
    (0..count).map(product).collect()
}
