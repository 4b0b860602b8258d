//! Texts that certainly have no vector in the ledger, told without asking the database: most texts that are asked for are new, and to
//! find nothing in an index of random keys costs as much as to find something.
//!
//! A Bloom filter of fixed size whose bits for one text lie in one cache line (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient
//! Bloom Filters", 2007). A fingerprint is random already, so its own bits choose. With a million texts one in 300 unknown ones is asked
//! for in vain, with ten millions one in five.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::document::Fingerprint;

/// 4 MiB in lines of 64 bytes.
const LINES: usize = 1 << 16;
const LINE_WORDS: usize = 8;
const LINE_BITS: u64 = 512;
/// How many bits a text sets in its line.
const BITS: u32 = 2;

/// See the module. A text that was dropped stays in it until the ledger is opened again.
#[derive(Debug)]
pub(super) struct Sieve {
    words: Box<[AtomicU64]>,
}

impl Sieve {
    pub(super) fn empty() -> Self {
        Self { words: (0..LINES * LINE_WORDS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Notes that the text has a vector, or will have when a transaction commits. `prefix`: see [`prefix`].
    pub(super) fn add(&self, prefix: u64) {
        for (word, bit) in self.bits(prefix) {
            // Whoever may ask for the text learns of it from another thread in an orderly way, and so sees this.
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether the text may have a vector.
    pub(super) fn may_have(&self, prefix: u64) -> bool {
        self.bits(prefix).all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn bits(&self, prefix: u64) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let line = (prefix as usize % LINES) * LINE_WORDS;
        let places = (0..BITS).map(move |number| (prefix >> (32 + 9 * number)) % LINE_BITS);
        places.map(move |place| (&self.words[line + place as usize / 64], 1 << (place % 64)))
    }
}

/// The first 8 bytes of a fingerprint, little-endian.
pub(super) fn prefix(text: &Fingerprint) -> u64 {
    let (first, _) = text.as_bytes().split_first_chunk().expect("a fingerprint has more than 8 bytes");
    u64::from_le_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it_is_never_missed_and_what_is_not_seldom_passes() {
        let mut random = fastrand::Rng::with_seed(7);
        let sieve = Sieve::empty();
        let texts: Vec<u64> = (0..1_000_000).map(|_| random.u64(..)).collect();
        texts.iter().for_each(|text| sieve.add(*text));
        assert!(texts.iter().all(|text| sieve.may_have(*text)));
        let passed = (0..100_000).filter(|_| sieve.may_have(random.u64(..))).count();
        assert!((100..700).contains(&passed), "{passed} of 100,000 pass, and one in 300 should");
    }
}
