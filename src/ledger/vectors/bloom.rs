//! In which segments a text may have its vector, told without asking the database: most texts that are asked for are new, and to find
//! nothing in an index of random keys costs as much as to find something.
//!
//! A Bloom filter for each segment, 64 of them side by side: one word of a row tells for 64 segments at once whether they have the bit
//! of that row, and the words of a text's rows, put together by "and", leave the segments to look into ("bit-sliced signatures"). It takes
//! two bytes per text. One segment in 400 is looked into in vain: with a million texts one for every seven that are asked for, and more of
//! them the more texts there are.
//!
//! Nothing can be taken out of it. What was dropped goes when it is filled anew, in the transaction that finds it worn: with a million
//! texts that takes a quarter of a second, once in more than a million new ones. Only where vectors go with their last document
//! (`dedup.persist: false`) does it ever come to that.

use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::segment::{self, Segment};
use super::slots::Slot;

/// Rows of a plane: 16 for each slot of a segment.
const ROWS: usize = 16 << segment::SLOTS_LOG2;
/// How many rows have a bit for one text.
const BITS: u64 = 4;
/// Segments of a plane.
const SEGMENTS: u64 = u64::BITS as u64;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::ledger) struct BloomFilter {
    planes: RwLock<Vec<Plane>>,
    /// Texts taken in since it was filled anew.
    added: AtomicU64,
}

/// Sixty-four segments: the words of all rows.
#[derive(Debug)]
struct Plane(Box<[AtomicU64]>);

impl BloomFilter {
    /// Notes that the text with this prefix has a vector in the segment, or will have when a transaction commits.
    pub(super) fn add(&self, prefix: u64, segment: Segment) {
        self.added.fetch_add(1, Ordering::Relaxed);
        let plane = (segment / SEGMENTS) as usize;
        let bit = 1 << (segment % SEGMENTS);
        let planes = self.planes.read();
        match planes.get(plane) {
            Some(plane) => plane.add(prefix, bit),
            None => {
                drop(planes);
                let mut planes = self.planes.write();
                while planes.len() <= plane {
                    planes.push(Plane::empty());
                }
                planes[plane].add(prefix, bit);
            }
        }
    }

    /// Whether it is to be filled anew: it has taken in twice as many texts as there are slots, so half of them are gone at least.
    pub(super) fn is_worn(&self, slots: Slot) -> bool {
        self.added.load(Ordering::Relaxed) > 2 * slots.max(1 << segment::SLOTS_LOG2)
    }

    /// Puts another in its place for all later questions.
    pub(super) fn replace(&self, other: Self) {
        let planes = other.planes.into_inner();
        *self.planes.write() = planes;
        self.added.store(other.added.into_inner(), Ordering::Relaxed);
    }

    /// The segments that may have the vector of the text with this prefix, ascending.
    pub(super) fn segments(&self, prefix: u64) -> Vec<Segment> {
        let planes = self.planes.read();
        let of_plane = |(number, plane): (usize, &Plane)| {
            let mut left = plane.segments(prefix);
            iter::from_fn(move || {
                let segment = (left != 0).then(|| number as u64 * SEGMENTS + u64::from(left.trailing_zeros()));
                left &= left.wrapping_sub(1);
                segment
            })
        };
        planes.iter().enumerate().flat_map(of_plane).collect()
    }
}

impl Plane {
    fn empty() -> Self {
        Self((0..ROWS).map(|_| AtomicU64::new(0)).collect())
    }

    fn add(&self, prefix: u64, bit: u64) {
        // Whoever may ask for the text learns of it from another thread in an orderly way, and so sees this.
        for row in self.rows(prefix) {
            row.fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn segments(&self, prefix: u64) -> u64 {
        self.rows(prefix).fold(u64::MAX, |segments, row| segments & row.load(Ordering::Relaxed))
    }

    /// Double hashing (Kirsch, Mitzenmacher: "Less Hashing, Same Performance", 2006), by two parts of a prefix, which is random already.
    fn rows(&self, prefix: u64) -> impl Iterator<Item = &AtomicU64> {
        let (first, step) = (prefix, (prefix >> ROWS.trailing_zeros()) | 1);
        (0..BITS).map(move |number| &self.0[first.wrapping_add(number * step) as usize % ROWS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it_is_never_missed_and_few_other_segments_pass() {
        const FULL: u64 = 1 << segment::SLOTS_LOG2;
        let mut random = fastrand::Rng::with_seed(7);
        let mut prefix = || random.u64(..) >> 24;
        let bloom = BloomFilter::default();
        let segments = [0, 1, SEGMENTS - 1, SEGMENTS, 2 * SEGMENTS + 5];
        let texts: Vec<_> = segments.iter().flat_map(|segment| (0..FULL).map(move |_| *segment)).collect();
        let texts: Vec<_> = texts.into_iter().map(|segment| (prefix(), segment)).collect();
        texts.iter().for_each(|(text, segment)| bloom.add(*text, *segment));
        assert!(texts.iter().all(|(text, segment)| bloom.segments(*text).contains(segment)));
        let passed: Vec<_> = (0..20_000).flat_map(|_| bloom.segments(prefix())).collect();
        assert!(passed.iter().all(|segment| segments.contains(segment)));
        assert!((50..500).contains(&passed.len()), "{} of 100,000 pass, and one in 400 should", passed.len());
    }
}
