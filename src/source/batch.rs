//! Records as they are gathered for one read.

use std::sync::Arc;

use super::lines::Cut;
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
    /// What was cut out, as a record, with the place in the source's own order that its line gives it.
    pub fn record(&self, cut: Cut) -> Record {
        let position = Position { partition: Arc::clone(&self.partition), offset: cut.end, ordinal: cut.line };
        let version = Version::from_nanos(version(self.base, cut.line).into());
        match cut.broken {
            None => Record::new(cut.bytes, position, version),
            Some(reason) => Record::broken(cut.bytes, position, version, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn no_record_has_a_version_that_is_not_behind_when_its_partition_is() {
        for base in [0, i64::MAX - 1] {
            let partition = Arc::new(Partition { name: "a".to_owned(), detail: String::new() });
            let cut = Cut { bytes: Bytes::new(), end: 9, line: 7, broken: None };
            let record = Place { partition, base }.record(cut);
            assert!(record.version.as_nanos() <= i128::from(behind(base, 7)), "{base}");
        }
    }
}
