//! Records as they are gathered for one read.

use std::sync::Arc;

use super::place::Place;
use super::{Record, Room};

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

    /// Whether no further record can be added.
    pub fn is_full(&self) -> bool {
        !self.fits(1)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Moves the records from this one on to another place.
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
