//! How near two vectors are, as a score: larger is nearer.

use crate::document::vector;
use crate::settings::index::Metric;

/// Independent sums: enough for the compiler to keep a vector register busy for each, in any order it likes.
const LANES: usize = 16;
/// Sums of squares in which nothing that matters was lost to the range of `f32`.
const SAFE: std::ops::Range<f32> = 1e-30..1e30;

/// Scores vectors against one query.
#[derive(Debug, Clone)]
pub struct Scorer {
    metric: Metric,
    /// With cosine: of length 1, so that only the other vector's length is left to divide by.
    query: Vec<f32>,
}

impl Scorer {
    /// For this query.
    pub fn new(metric: Metric, query: &[f32]) -> Self {
        let mut query = query.to_vec();
        if metric == Metric::Cosine {
            vector::normalise(&mut query);
        }
        Self { metric, query }
    }

    /// The score of a vector of as many dimensions, always finite: cosine from -1 to 1 (0 when one of the two has no
    /// length), the inner product, or the negative Euclidean distance.
    pub fn score(&self, vector: &[f32]) -> f32 {
        match self.metric {
            Metric::Cosine => {
                let [product, square] = sum(&self.query, vector, |q, v| [q * v, v * v]);
                if SAFE.contains(&square) {
                    return (product / square.sqrt()).clamp(-1.0, 1.0);
                }
                let length = vector::length(vector);
                if length > 0.0 { (self.wide(vector, |q, v| q * v) / length).clamp(-1.0, 1.0) as f32 } else { 0.0 }
            }
            Metric::Dot => {
                let [product] = sum(&self.query, vector, |q, v| [q * v]);
                if product.is_finite() { product } else { narrow(self.wide(vector, |q, v| q * v)) }
            }
            Metric::L2 => {
                let [square] = sum(&self.query, vector, |q, v| [(q - v) * (q - v)]);
                let far = || narrow(self.wide(vector, |q, v| (q - v) * (q - v)).sqrt());
                if SAFE.contains(&square) { -square.sqrt() } else { -far() }
            }
        }
    }

    /// The sum of a term for each pair of numbers, where `f32` has not the range for it.
    #[cold]
    fn wide(&self, vector: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
        self.query.iter().zip(vector).map(|(q, v)| term(f64::from(*q), f64::from(*v))).sum()
    }
}

/// The nearest finite `f32`.
fn narrow(wide: f64) -> f32 {
    (wide as f32).clamp(f32::MIN, f32::MAX)
}

/// Sums what `term` makes of each pair of numbers.
#[inline(always)]
fn sum<const N: usize>(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> [f32; N]) -> [f32; N] {
    let mut sums = [[0.0_f32; LANES]; N];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            let terms = term(a[lane], b[lane]);
            for (sum, term) in sums.iter_mut().zip(terms) {
                sum[lane] += term;
            }
        }
    }
    let mut total = sums.map(|lanes| lanes.iter().sum::<f32>());
    for (a, b) in a_rest.iter().zip(b_rest) {
        for (total, term) in total.iter_mut().zip(term(*a, *b)) {
            *total += term;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scores_are_what_the_metric_says() {
        for (metric, a, b, expected) in [
            (Metric::Cosine, [3.0, 0.0], [0.5, 0.0], 1.0),
            (Metric::Cosine, [3.0, 0.0], [-7.0, 0.0], -1.0),
            (Metric::Cosine, [3.0, 0.0], [0.0, 2.0], 0.0),
            (Metric::Cosine, [3.0, 0.0], [0.0, 0.0], 0.0),
            (Metric::Cosine, [0.0, 0.0], [1.0, 0.0], 0.0),
            (Metric::Dot, [3.0, 1.0], [2.0, -1.0], 5.0),
            (Metric::L2, [1.0, 1.0], [4.0, 5.0], -5.0),
        ] {
            assert_eq!(Scorer::new(metric, &a).score(&b), expected, "{metric:?} {a:?} {b:?}");
        }
    }

    #[test]
    fn what_no_square_can_hold_is_scored_all_the_same() {
        for (metric, a, b, expected) in [
            (Metric::Cosine, [1.0, 0.05], [1e20, 1e19], 0.998_764_7),
            (Metric::Cosine, [1.0, 0.05], [1e-25, 1e-26], 0.998_764_7),
            (Metric::Cosine, [1.0, 1.0], [3e38, 3e38], 1.0),
            (Metric::Cosine, [1e-42, 0.0], [2.0, 0.0], 1.0),
            (Metric::Cosine, [3e38, -3e38], [-1e-45, 1e-45], -1.0),
            (Metric::Dot, [3e38, 1.0], [2.0, 0.0], f32::MAX),
            (Metric::Dot, [3e38, 1.0], [-2.0, 0.0], f32::MIN),
            (Metric::Dot, [3e38, 3e38], [2.0, -2.0], 0.0),
            (Metric::L2, [3e20, 0.0], [0.0, 4e20], -5e20),
            (Metric::L2, [3e-25, 0.0], [0.0, 4e-25], -5e-25),
            (Metric::L2, [3e38, 0.0], [-3e38, 0.0], f32::MIN),
        ] {
            let found = Scorer::new(metric, &a).score(&b);
            assert!((found - expected).abs() <= expected.abs() * 1e-6, "{metric:?} {a:?} {b:?}: {found}");
        }
    }

    proptest! {
        #[test]
        fn every_length_is_summed_whole(pairs in proptest::collection::vec((-10.0_f32..10.0, -10.0_f32..10.0), 1..70)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let plain: f64 = pairs.iter().map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            prop_assert!((f64::from(Scorer::new(Metric::Dot, &a).score(&b)) - plain).abs() < 1e-2);
            let far: f64 = pairs.iter().map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            prop_assert!((f64::from(Scorer::new(Metric::L2, &a).score(&b)) + far.sqrt()).abs() < 1e-2);
        }
    }
}
