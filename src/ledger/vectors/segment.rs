//! The index of texts, cut into segments of slots.
//!
//! Fingerprints are random, so new texts go to all pages of an index of fingerprints: each transaction would write that index as a
//! whole, and with a million texts it is larger than all else there is to write. A key that begins with the number of a segment lets
//! them go to the pages of the segment that is being filled. A text is then looked for in one segment after the other; the
//! [Bloom filter](super::bloom) tells in which ones there is a reason to.

use crate::document::Fingerprint;

use super::slots::Slot;

/// The number of a segment, from 0.
pub(super) type Segment = u64;

/// Slots in a segment, as a power of two. Small: few pages are written again and again. Large: few segments to look into.
pub(super) const SLOTS_LOG2: u32 = 14;

/// Bits of a fingerprint in a key: enough that two texts of a segment hardly ever have the same ones.
const PREFIX_BITS: u32 = 40;

/// The segment of a slot.
pub(super) fn of(slot: Slot) -> Segment {
    slot >> SLOTS_LOG2
}

/// The first bits of a fingerprint.
pub(super) fn prefix(text: &Fingerprint) -> u64 {
    let (first, _) = text.as_bytes().split_first_chunk().expect("a fingerprint has more than 8 bytes");
    u64::from_le_bytes(*first) % (1 << PREFIX_BITS)
}

/// What `vectors.key` holds: the segment, and below it the prefix.
pub(super) fn key(segment: Segment, prefix: u64) -> i64 {
    ((segment << PREFIX_BITS) | prefix).cast_signed()
}

/// The segment and the prefix of a key.
pub(super) fn parts(key: i64) -> (Segment, u64) {
    let key = key.cast_unsigned();
    (key >> PREFIX_BITS, key % (1 << PREFIX_BITS))
}
