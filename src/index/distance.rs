//! How near two vectors are, as a score: larger is nearer.

use crate::document::vector;
use crate::settings::index::Metric;

/// Independent sums: enough for the compiler to keep a vector register busy for each, in any order it likes.
const LANES: usize = 16;

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

    /// The score of a vector of as many dimensions: cosine from -1 to 1 (0 when one of the two has no length), the inner product, or the
    /// negative Euclidean distance. Finite when both are [usable](vector::is_usable), as whatever a provider gives.
    pub fn score(&self, vector: &[f32]) -> f32 {
        match self.metric {
            Metric::Cosine => {
                let [product, square] = sum(&self.query, vector, |q, v| [q * v, v * v]);
                if square.is_normal() { (product / square.sqrt()).clamp(-1.0, 1.0) } else { 0.0 }
            }
            Metric::Dot => sum(&self.query, vector, |q, v| [q * v])[0],
            Metric::L2 => -sum(&self.query, vector, |q, v| [(q - v) * (q - v)])[0].sqrt(),
        }
    }
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
            // The mean of two opposite vectors, more or less.
            (Metric::Cosine, [1e-42, 0.0], [2.0, 0.0], 1.0),
            (Metric::Dot, [3.0, 1.0], [2.0, -1.0], 5.0),
            (Metric::L2, [1.0, 1.0], [4.0, 5.0], -5.0),
        ] {
            assert_eq!(Scorer::new(metric, &a).score(&b), expected, "{metric:?} {a:?} {b:?}");
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
