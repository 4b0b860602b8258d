//! Records as they are gathered for one read.

use std::sync::Arc;

use bytes::Bytes;

use super::{Partition, Position, Record, Room};
use crate::document::Version;

/// The records of one read, as many as there is room for.
pub(super) struct Batch {
    records: Vec<Record>,
    bytes: usize,
    room: Room,
}

impl Batch {
    /// An empty batch for this room.
    pub fn new(room: Room) -> Self {
        Self { records: Vec::new(), bytes: 0, room }
    }

    /// Whether a record of so many bytes may be added: one always may.
    pub fn fits(&self, length: usize) -> bool {
        self.records.is_empty()
            || (self.records.len() < self.room.records && self.bytes.saturating_add(length) <= self.room.bytes)
    }

    /// Whether no record more can be added.
    pub fn is_full(&self) -> bool {
        !self.fits(1)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Says anew what the records from this one on are parts of.
    pub fn move_to(&mut self, first: usize, place: &Place) {
        for record in self.records.iter_mut().skip(first) {
            record.position.partition = Arc::clone(&place.partition);
        }
    }

    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        self.bytes += record.payload.len();
        self.records.push(record);
    }

    /// The records, if there are any.
    pub fn records(self) -> Option<Vec<Record>> {
        (!self.records.is_empty()).then_some(self.records)
    }
}

/// More records than may be on their way, and less than a millisecond as a version.
const ON_THE_WAY: i64 = 500_000;

/// The version of this record of a partition whose first one comes after `base`.
pub(super) fn version(base: i64, ordinal: u64) -> i64 {
    base.saturating_add(i64::try_from(ordinal).unwrap_or(i64::MAX))
}

/// A version behind all of a partition that was ever read, of which some may have been on its way and written when the process was killed.
/// `ordinal`: of the last record of it that was committed.
pub(super) fn behind(base: i64, ordinal: u64) -> i64 {
    version(base, ordinal).saturating_add(ON_THE_WAY)
}

/// What the records of one partition have in common.
pub(super) struct Place {
    /// The partition.
    pub partition: Arc<Partition>,
    /// The version before the first record, in nanoseconds.
    pub base: i64,
}

impl Place {
    /// The record that ends at `offset`, with the place in the source's own order that `ordinal` gives it.
    pub fn record(&self, payload: Bytes, offset: u64, ordinal: u64, broken: Option<String>) -> Record {
        let position = Position { partition: Arc::clone(&self.partition), offset, ordinal };
        let version = Version::from_nanos(i128::from(self.base) + i128::from(ordinal));
        Record { broken, ..Record::new(payload, position, version) }
    }
}
