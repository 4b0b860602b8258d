//! Points to write.

use serde_json::Value;

use crate::document::{DocumentId, Vector};
use crate::index::external::PointIds;
use crate::index::external::collection::{Point, PointMetadata};

/// Numbers in a vector.
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

/// One of [`PIPELINE`], with the vector of a seed.
pub fn point(document: &str, chunk: usize, metadata: &Value, seed: u64) -> Point {
    let document = DocumentId::new(document).unwrap();
    let id = PointIds::new(PIPELINE).of(&document, chunk);
    Point { id, document, chunk, metadata: metadata.to_string().into(), vector: vector(seed, DIMENSIONS) }
}

/// All of a point but its vector.
pub fn metadata_of(point: &Point) -> PointMetadata {
    let Point { id, document, chunk, metadata, .. } = point.clone();
    PointMetadata { id, document, chunk, metadata }
}
