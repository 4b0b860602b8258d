//! What the client's thread hands to the source: bounded in records and bytes, in order, and never waited for by the group.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::source::batch::Batch;
use crate::source::{Partition, Read, Record, Room};

/// How much is handed over at once, and of bytes one record more.
pub(super) const AT_ONCE: Room = Room { records: 256, bytes: 1 << 20 };
/// How much may wait here until nothing more is to be handed over: with the last hand-over 4,096 records, and 8 MiB and one record.
const LIMIT: Room = Room { records: 4_096 - AT_ONCE.records, bytes: (8 << 20) - AT_ONCE.bytes };

/// See the module.
#[derive(Default)]
pub(super) struct Handover {
    waiting: Mutex<Waiting>,
    /// Something came, or the state of the source changed.
    pub(super) news: Notify,
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    records: usize,
    bytes: usize,
}

enum Item {
    Record(Record),
    Revoked(Vec<Arc<Partition>>),
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.records >= LIMIT.records || self.bytes >= LIMIT.bytes
    }
}

impl Handover {
    /// Hands records over. Whoever does it looks for [`Handover::has_room`] before.
    pub(super) fn push(&self, records: Vec<Record>) {
        let mut waiting = self.waiting.lock();
        waiting.records += records.len();
        waiting.bytes += records.iter().map(|record| record.payload.len()).sum::<usize>();
        waiting.items.extend(records.into_iter().map(Item::Record));
        drop(waiting);
        self.news.notify_one();
    }

    /// These partitions are read by others from now on: their records that still wait are let go.
    pub(super) fn revoke(&self, partitions: Vec<Arc<Partition>>) {
        let mut waiting = self.waiting.lock();
        let gone = |record: &Record| partitions.iter().any(|gone| Arc::ptr_eq(gone, &record.position.partition));
        waiting.items.retain(|item| !matches!(item, Item::Record(record) if gone(record)));
        let records = waiting.items.iter().filter_map(|item| match item {
            Item::Record(record) => Some(record.payload.len()),
            Item::Revoked(_) => None,
        });
        (waiting.records, waiting.bytes) = records.fold((0, 0), |(count, bytes), len| (count + 1, bytes + len));
        waiting.items.push_back(Item::Revoked(partitions));
        drop(waiting);
        self.news.notify_one();
        self.emptied.notify_one();
    }

    /// What comes next, as much as there is room for.
    pub(super) fn take(&self, room: Room) -> Option<Read> {
        let mut waiting = self.waiting.lock();
        let mut batch = Batch::new(room);
        while let Some(item) = waiting.items.pop_front_if(|item| match item {
            Item::Record(record) => batch.fits(record.payload.len()),
            Item::Revoked(_) => batch.len() == 0,
        }) {
            match item {
                Item::Record(record) => {
                    waiting.records -= 1;
                    waiting.bytes -= record.payload.len();
                    batch.push(record);
                }
                Item::Revoked(partitions) => return Some(Read::Revoked(partitions)),
            }
        }
        drop(waiting);
        self.emptied.notify_one();
        batch.records().map(Read::Records)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.lock().items.is_empty()
    }

    /// Whether a record may be handed over; waits so long for it.
    pub(super) fn has_room(&self, patience: Duration) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.is_full() {
            self.emptied.wait_for(&mut waiting, patience);
        }
        !waiting.is_full()
    }

    /// Ends a wait for room.
    pub(super) fn wake(&self) {
        self.emptied.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::document::Version;
    use crate::source::Position;

    const ALL: Room = Room { records: 100_000, bytes: 1 << 30 };

    fn partition(name: &str) -> Arc<Partition> {
        Arc::new(Partition { name: name.into(), detail: String::new() })
    }

    fn record(partition: &Arc<Partition>, offset: u64) -> Record {
        let position = Position { partition: partition.clone(), offset, ordinal: offset };
        Record::new(Bytes::from_static(b"0123456789"), position, Version::default())
    }

    fn places(read: Option<Read>) -> Vec<String> {
        let Some(Read::Records(records)) = read else { panic!("no records: {read:?}") };
        records.iter().map(|record| record.position.to_string()).collect()
    }

    #[test]
    fn gives_records_in_order_as_many_as_there_is_room_for() {
        let (handover, a) = (Handover::default(), partition("a"));
        handover.push((1..=5).map(|offset| record(&a, offset)).collect());
        assert_eq!(places(handover.take(Room { records: 2, bytes: 1000 })), ["a:1", "a:2"]);
        assert_eq!(places(handover.take(Room { records: 9, bytes: 20 })), ["a:3", "a:4"]);
        assert_eq!(places(handover.take(Room { records: 9, bytes: 1 })), ["a:5"], "one always fits");
        assert!(handover.take(ALL).is_none() && handover.is_empty());
    }

    #[test]
    fn is_full_by_records_and_has_room_again_when_some_are_taken() {
        let (handover, a) = (Handover::default(), partition("a"));
        for offset in 0..LIMIT.records as u64 {
            assert!(handover.has_room(Duration::ZERO));
            handover.push(vec![record(&a, offset)]);
        }
        assert!(!handover.has_room(Duration::ZERO));
        assert_eq!(places(handover.take(Room { records: 1, bytes: 100 })), ["a:0"]);
        assert!(handover.has_room(Duration::ZERO));
    }

    #[test]
    fn what_waits_of_a_revoked_partition_is_let_go_and_what_comes_of_it_later_is_not() {
        let (handover, a, b) = (Handover::default(), partition("a"), partition("b"));
        for offset in 1..=2 {
            handover.push(vec![record(&a, offset)]);
            handover.push(vec![record(&b, offset)]);
        }
        handover.revoke(vec![a]);
        let again = partition("a");
        handover.push(vec![record(&again, 1)]);
        assert_eq!(places(handover.take(ALL)), ["b:1", "b:2"]);
        let Some(Read::Revoked(gone)) = handover.take(ALL) else { panic!("nobody says that it is gone") };
        assert_eq!(gone[0].name, "a");
        assert_eq!(places(handover.take(ALL)), ["a:1"]);
    }
}
