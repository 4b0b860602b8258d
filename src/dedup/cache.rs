//! Vectors in memory by fingerprint, in front of those in the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::document::{Fingerprint, Vector};
use crate::settings::ByteSize;

/// What an entry costs beside its numbers: key, pointers, moka's own books. Measured on moka 0.12 as about 200 bytes.
const ENTRY_OVERHEAD: usize = 200;

/// The most entries that room is made for ahead, 16 bytes each.
const MOST_PLACES: usize = 1 << 18;

/// Recently used vectors, and those that were lost on their way to the ledger.
#[derive(Clone)]
pub struct VectorCache {
    /// Weighed in bytes.
    recent: Cache<Fingerprint, Vector, RandomState>,
    /// Not weighed: what is lost is delivered again and takes them along, so what bounded them on their way does so here.
    lost: Cache<Fingerprint, Vector, RandomState>,
    /// Whether any vector ever was lost: moka notes each question, even one for what is not there.
    any_lost: Arc<AtomicBool>,
}

impl VectorCache {
    /// A cache of `max_memory` for vectors of `dimensions` numbers each, which leave when they were not used for `ttl`.
    pub fn new(max_memory: ByteSize, ttl: Duration, dimensions: usize) -> Self {
        let entries = max_memory.as_usize() / (dimensions * size_of::<f32>() + ENTRY_OVERHEAD);
        let recent = Cache::builder()
            .max_capacity(max_memory.as_u64())
            // moka moves all entries of its table whenever it grows, and whenever a tenth of its places were left: a table of twice the
            // size moves them half as often.
            .initial_capacity((2 * entries).min(MOST_PLACES))
            .weigher(|_: &Fingerprint, vector: &Vector| {
                u32::try_from(size_of_val::<[f32]>(vector) + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
            })
            // A text that comes again mostly comes soon: how often it came before tells little, and counting costs.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(ttl)
            .build_with_hasher(RandomState::default());
        // Those of documents that changed before they were delivered again leave by time.
        let lost = Cache::builder().time_to_live(ttl).build_with_hasher(RandomState::default());
        Self { recent, lost, any_lost: Arc::default() }
    }

    /// A cache that keeps what a test puts in: vectors of one number.
    #[cfg(test)]
    pub fn ample() -> Self {
        Self::new(ByteSize::mebibytes(1), Duration::from_secs(3_600), 1)
    }

    /// The vector of this text, if it is there. One that was lost is taken out: it is on its way to the ledger again.
    pub fn get(&self, fingerprint: &Fingerprint) -> Option<Vector> {
        self.recent.get(fingerprint).or_else(|| {
            if !self.any_lost.load(Ordering::Acquire) {
                return None;
            }
            // Asked first: a removal that finds nothing would never drop what has had its time.
            let vector = self.lost.get(fingerprint)?;
            self.lost.invalidate(fingerprint);
            Some(vector)
        })
    }

    /// Keeps a vector for as long as there is room for it.
    pub fn insert(&self, fingerprint: Fingerprint, vector: Vector) {
        self.recent.insert(fingerprint, vector);
    }

    /// Keeps a vector that was lost on its way to the ledger.
    pub(super) fn insert_lost(&self, fingerprint: Fingerprint, vector: Vector) {
        self.lost.insert(fingerprint, vector);
        self.any_lost.store(true, Ordering::Release);
    }
}

#[cfg(test)]
impl VectorCache {
    /// Drops a vector, as for lack of room.
    pub(super) fn drop_one(&self, fingerprint: &Fingerprint) {
        self.recent.invalidate(fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::document::fingerprint::Fingerprinter;

    #[test]
    fn is_bounded_in_bytes() {
        let cache = VectorCache::new(ByteSize::bytes(100_000), Duration::from_secs(60), 128);
        let fingerprints = Fingerprinter::new("space");
        for number in 0..1000 {
            cache.insert(fingerprints.of(&number.to_string()), vec![0.0; 128].into());
        }
        cache.recent.run_pending_tasks();
        assert!(cache.recent.weighted_size() <= 100_000);
        assert!(cache.recent.entry_count() >= 100, "and holds what fits: {}", cache.recent.entry_count());
    }

    #[test]
    fn what_was_lost_and_is_never_asked_for_again_leaves_by_time() {
        let cache = VectorCache::new(ByteSize::mebibytes(1), Duration::from_nanos(1), 1);
        let [lost, other] = ["lost", "other"].map(|text| Fingerprinter::new("space").of(text));
        let vector: Vector = Arc::from([1.0]);
        cache.insert_lost(lost, vector.clone());
        let asked = Instant::now();
        while Arc::strong_count(&vector) > 1 {
            assert!(asked.elapsed() < Duration::from_secs(60), "it stays for good");
            assert_eq!(cache.get(&other), None);
            thread::sleep(Duration::from_millis(10));
        }
    }
}
