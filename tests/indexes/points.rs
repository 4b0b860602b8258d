//! What is there of points that were written.

use serde_json::{Value, json};
use uuid::Uuid;
use vectide::index::Filter;
use vectide::index::collection::{CollectionError, Nearest, Neighbour, Point};
use vectide::index::distance::Scorer;
use vectide::index::inspect::Inspect;
use vectide::settings::index::Metric;
use vectide::testkit::index_contract::points::{DIMENSIONS, point, vector};

/// Of the points that are asked for, these are there, as they were written but for the last digit of a vector.
pub async fn assert_holds(index: &dyn Inspect, asked: &[Point], expected: &[&Point]) {
    let ids: Vec<Uuid> = asked.iter().map(|point| point.id).collect();
    let mut found = index.fetch(&ids).await.unwrap();
    found.sort_unstable_by_key(|point| point.id);
    let mut expected: Vec<Point> = expected.iter().map(|point| (*point).clone()).collect();
    expected.sort_unstable_by_key(|point| point.id);
    let near = |a: &Point, b: &Point| a.vector.iter().zip(&*b.vector).all(|(a, b)| (a - b).abs() < 1e-5);
    let same = |a: &Point, b: &Point| near(a, b) && Point { vector: b.vector.clone(), ..a.clone() } == *b;
    let all =
        found.len() == expected.len() && found.iter().zip(&expected).all(|(found, expected)| same(found, expected));
    assert!(all, "{found:?}\n{expected:?}");
}

/// The nearest points of a collection that has none of others.
pub async fn near(index: &dyn Inspect, nearest: Nearest<'_>) -> Result<Vec<Neighbour>, CollectionError> {
    Ok(index.nearest(nearest).await?.into_iter().map(|found| found.expect("it is a point of ours")).collect())
}

/// The nearest of these points, which are all that the collection has, are those of an exact search, with its scores.
pub async fn assert_scores(index: &dyn Inspect, metric: Metric, points: &[Point]) {
    let vector = vector(1_000_000, DIMENSIONS);
    let scorer = Scorer::new(metric, &vector);
    let mut expected: Vec<(f32, &str)> =
        points.iter().map(|point| (scorer.score(&point.vector), point.document.as_str())).collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0));
    let found = near(index, Nearest { vector: &vector, filter: None, limit: 10 }).await.unwrap();
    assert_eq!(found.len(), 10);
    for (found, (score, document)) in found.iter().zip(expected) {
        assert_eq!(found.document.as_str(), document, "{metric:?}");
        assert!((found.score - score).abs() < 1e-4, "{metric:?}: {} {score}", found.score);
    }
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
