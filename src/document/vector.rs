//! An embedding.

use std::sync::Arc;

/// The numbers of one embedding, shared and never changed: as many `f32` as the space has dimensions.
pub type Vector = Arc<[f32]>;

/// The Euclidean length, however small or large the numbers are.
pub fn length(vector: &[f32]) -> f64 {
    vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}

/// Scales a vector to length 1 in place. Returns false, and leaves it alone, when it has no length.
pub fn normalise(vector: &mut [f32]) -> bool {
    let length = length(vector);
    if length == 0.0 || !length.is_finite() {
        return false;
    }
    // Not by a factor: one for a very short vector would be no `f32`.
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_with_a_length_is_brought_to_length_1() {
        for scale in [1e-44_f32, 1e-41, 1e-20, 1.0, 1e20, 5e37] {
            let mut vector = [3.0 * scale, -4.0 * scale];
            let exact = [f64::from(vector[0]), f64::from(vector[1])].map(|x| x / length(&vector));
            assert!(normalise(&mut vector), "{scale}");
            assert_eq!(vector, exact.map(|x| x as f32), "{scale}");
        }
        let mut none = [0.0, 0.0];
        assert!(!normalise(&mut none));
        assert_eq!(none, [0.0, 0.0]);
    }
}
