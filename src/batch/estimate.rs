//! How many tokens a text has, guessed from its bytes. Counting exactly costs more CPU than all else that a text meets, so
//! batches and quotas run on this guess, which the provider's own `usage` corrects with every answer.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens per byte until the first answer: English has about a token for every four bytes, and a guess that is a little too high
/// stays within a quota.
const FIRST_RATIO: f64 = 0.3;

/// How much of the newest answer goes into the ratio, when it was for enough text.
const WEIGHT: f64 = 0.1;

/// Bytes of text that are enough. An answer for less counts for less: in a short text the tokens that the model adds outweigh its own.
const ENOUGH: f64 = 4096.0;

/// Turns bytes into tokens. Shared by everyone who needs the guess; a read is one atomic load.
#[derive(Debug)]
pub struct Estimator {
    ratio: AtomicU64,
}

impl Default for Estimator {
    fn default() -> Self {
        Self { ratio: AtomicU64::new(FIRST_RATIO.to_bits()) }
    }
}

impl Estimator {
    /// The tokens of a text with so many bytes, at least 1.
    pub fn tokens(&self, bytes: usize) -> u64 {
        estimate(f64::from_bits(self.ratio.load(Ordering::Relaxed)), bytes)
    }

    /// Learns from an answer: so many bytes of text were charged as so many tokens.
    pub fn learn(&self, bytes: usize, tokens: u64) {
        // An update that another thread overtakes is repeated on its result, so that no answer is forgotten.
        let _ = self.ratio.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ratio| {
            Some(corrected(f64::from_bits(ratio), bytes, tokens).to_bits())
        });
    }
}

/// What to believe of the tokens that a provider says it charged for texts of so many bytes in all: no more than two a byte, and what a
/// model may put around each. More is a slip, which must not hold back all calls for days, nor be in the books.
pub fn believed(charged: u64, bytes: usize, texts: usize) -> u64 {
    charged.min((2 * bytes + 256 * texts) as u64)
}

fn estimate(ratio: f64, bytes: usize) -> u64 {
    ((bytes as f64 * ratio).ceil() as u64).max(1)
}

/// The ratio after an answer: an exponentially weighted mean. What no tokenizer does (a token of more than 100 bytes, more than two
/// tokens a byte) is a provider's slip and moves the ratio to the bound at most.
fn corrected(ratio: f64, bytes: usize, tokens: u64) -> f64 {
    if bytes == 0 || tokens == 0 {
        return ratio;
    }
    let seen = (tokens as f64 / bytes as f64).clamp(0.01, 2.0);
    let weight = WEIGHT * (bytes as f64 / ENOUGH).min(1.0);
    ratio + weight * (seen - ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_what_the_provider_charges() {
        let estimator = Estimator::default();
        assert_eq!(estimator.tokens(1000), 300);
        (0..100).for_each(|_| estimator.learn(10_000, 2_000));
        assert_eq!(estimator.tokens(1000), 201, "0.2 tokens a byte, rounded up");
        (0..100).for_each(|_| estimator.learn(10_000, 10_000));
        assert!((999..=1000).contains(&estimator.tokens(1000)), "a change of language is followed");
    }

    #[test]
    fn an_answer_counts_by_how_much_text_it_was_for() {
        let moved = |bytes: usize| corrected(0.3, bytes, bytes as u64) - 0.3;
        assert!((moved(1024) - moved(4096) / 4.0).abs() < 1e-9);
        assert_eq!(moved(4096), moved(1 << 20), "more than enough is enough");
        let estimator = Estimator::default();
        // Texts of three words, each in a frame of two tokens.
        (0..10).for_each(|_| estimator.learn(15, 5));
        assert!(estimator.tokens(100_000) < 30_050, "they hardly move the guess for a page");
        (0..100_000).for_each(|_| estimator.learn(15, 5));
        assert!(estimator.tokens(1000) > 330, "all that comes is followed in the end");
    }

    #[test]
    fn nonsense_does_not_spoil_it() {
        for (bytes, tokens) in [(0, 5), (5, 0), (0, 0)] {
            assert_eq!(corrected(0.3, bytes, tokens), 0.3);
        }
        assert!(corrected(0.3, 1, u64::MAX) <= 0.5);
        assert!(corrected(0.3, usize::MAX, 1) > 0.0);
        assert_eq!(estimate(0.3, 0), 1, "no text is free");
    }
}
