//! Points to write, and what is there of them afterwards.

use serde_json::{Value, json};
use uuid::Uuid;
use vectide::document::{DocumentId, Vector};
use vectide::index::collection::{Collection, Point, PointMetadata};
use vectide::index::external::PointIds;

pub const DIMENSIONS: usize = 16;
/// Whose points they are.
pub const PIPELINE: &str = "contract";

/// Always the same for the same seed, of length 1.
pub fn vector(seed: u64, dimensions: usize) -> Vector {
    let mut random = fastrand::Rng::with_seed(seed);
    let numbers: Vec<f32> = (0..dimensions).map(|_| random.f32() * 2.0 - 1.0).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
    numbers.into_iter().map(|number| number / length).collect()
}

pub fn point(document: &str, chunk: usize, metadata: &Value, seed: u64) -> Point {
    let document = DocumentId::new(document).unwrap();
    let id = PointIds::new(PIPELINE).of(&document, chunk);
    Point { id, document, chunk, metadata: metadata.to_string().into(), vector: vector(seed, DIMENSIONS) }
}

pub fn metadata_of(point: &Point) -> PointMetadata {
    let Point { id, document, chunk, metadata, .. } = point.clone();
    PointMetadata { id, document, chunk, metadata }
}

/// Of the points that are asked for, these are there, as they were written but for the last digit of a vector.
pub async fn assert_holds(index: &dyn Collection, asked: &[Point], expected: &[&Point]) {
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
