//! An embedding.

use std::ops::RangeInclusive;
use std::sync::Arc;

/// The numbers of one embedding, shared and never changed: as many `f32` as the space has dimensions.
pub type Vector = Arc<[f32]>;

/// Squares of lengths with which every index can reckon: products of two such lengths, and their squares, are numbers that an `f32` holds.
const USABLE_SQUARES: RangeInclusive<f32> = 1e-30..=1e30;

/// Whether its numbers are finite and not all zero, and its length is from 1e-15 to 1e15. No model gives any other.
pub fn is_usable(vector: &[f32]) -> bool {
    // Sums of their own, so that the compiler can add several at a time.
    let mut sums = [0.0_f32; 16];
    let (chunks, rest) = vector.as_chunks::<16>();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x * x);
    }
    let square = sums.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>();
    USABLE_SQUARES.contains(&square)
}

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

/// The vector as little-endian bytes, four per number.
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
    fn a_vector_is_usable_when_it_is_neither_absurdly_short_nor_long_nor_without_numbers() {
        for (number, usable) in [
            (0.0, false),
            (1e-17, false),
            (1e-14, true),
            (-1.0, true),
            (1e14, true),
            (1e16, false),
            (f32::INFINITY, false),
            (f32::NAN, false),
        ] {
            for dimensions in [1, 16, 50] {
                for place in [0, dimensions - 1] {
                    let mut vector = vec![0.0; dimensions];
                    vector[place] = number;
                    assert_eq!(is_usable(&vector), usable, "{number} at {place} of {dimensions}");
                }
            }
        }
    }

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
