//! An embedding.

use std::sync::Arc;

/// The numbers of one embedding, shared and never changed: as many `f32` as the space has dimensions.
pub type Vector = Arc<[f32]>;

/// Scales a vector to length 1 in place. Returns false, and leaves it alone, when it has no length.
pub fn normalise(vector: &mut [f32]) -> bool {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length == 0.0 || !length.is_finite() {
        return false;
    }
    let scale = (1.0 / length) as f32;
    vector.iter_mut().for_each(|x| *x *= scale);
    true
}

/// The vector as little-endian bytes, four a number: how the ledger keeps it.
pub fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The vector from little-endian bytes; `None` when their number is no multiple of four.
pub fn from_bytes(bytes: &[u8]) -> Option<Vector> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|b| f32::from_le_bytes(*b)).collect())
}
