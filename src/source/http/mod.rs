//! The source that is fed by `POST /v1/events` and `DELETE /v1/documents/{id}`.
//!
//! What is accepted lies in the ledger's journal before the answer is sent. The source reads the journal in order and drops
//! what was settled, so a crash between the answer and the index costs nothing but time.

mod intake;
mod journal;
mod removal;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::ledger::journal::PARTITION;

use super::{IDLE_WAIT, OnCommit, Partition, Position, Read, Record, Room, Source, SourceError};

pub use intake::{Intake, IntakeError};
pub use removal::{Reach, Removal};

use intake::Backlog;
use journal::Journal;

/// How many settled entries may lie in the journal before they are dropped: dropping is a transaction of its own.
const TRIM_EVERY: u64 = 1_000;

/// How many bytes of entries may be read before what is settled of them is dropped.
const TRIM_BYTES: usize = 16 << 20;

/// Reads what an [`Intake`] accepted.
pub struct HttpSource {
    journal: Journal,
    backlog: Arc<Backlog>,
    written: watch::Receiver<u64>,
    partition: Arc<Partition>,
    /// The number of the entry to read next.
    next: u64,
    /// Entries before this one are no longer in the journal.
    trimmed: u64,
    /// Bytes of entries that were read since then.
    untrimmed: usize,
    /// Whether everything that lay in the journal at the start was read: from then on, nothing is there that was not announced.
    caught_up: bool,
}

impl HttpSource {
    /// The source behind an intake. One at a time: the next generation of the pipeline makes a new one.
    pub fn new(intake: &Intake) -> Self {
        let backlog = intake.backlog().clone();
        Self {
            journal: intake.journal().clone(),
            written: backlog.written(),
            backlog,
            partition: Arc::new(Partition { name: PARTITION.to_owned(), detail: String::new() }),
            next: 0,
            trimmed: 0,
            untrimmed: 0,
            caught_up: false,
        }
    }

    async fn trim(&mut self, before: u64) -> Result<(), SourceError> {
        self.journal.trim(before).await.map_err(SourceError)?;
        (self.trimmed, self.untrimmed) = (before, 0);
        Ok(())
    }

    async fn open_at(&mut self, committed: Vec<Position>) -> Result<(), SourceError> {
        // A source of another type may have had the name before: its positions say nothing about the journal.
        let of_journal = committed.iter().filter(|position| position.partition == self.partition);
        let settled = of_journal.map(|position| position.offset).max().unwrap_or(0);
        self.next = settled;
        self.caught_up = false;
        self.backlog.settle(settled);
        self.trim(settled).await
    }

    async fn read_up_to(&mut self, room: Room) -> Result<Read, SourceError> {
        if self.caught_up && self.next >= *self.written.borrow_and_update() {
            let next = self.next;
            if timeout(IDLE_WAIT, self.written.wait_for(|written| *written > next)).await.is_err() {
                return Ok(Read::Idle);
            }
        }
        let entries = self.journal.read(self.next, room).await.map_err(SourceError)?;
        let Some(last) = entries.last() else {
            self.caught_up = true;
            return Ok(Read::Idle);
        };
        self.next = last.seq + 1;
        self.untrimmed += entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
        let records = entries.into_iter().map(|entry| {
            let payload = Bytes::from(entry.payload);
            let removal = Removal::from_payload(&payload).map(|removal| removal.into_change(entry.order));
            let position = Position { partition: self.partition.clone(), offset: entry.seq + 1, ordinal: entry.seq };
            match removal {
                Some(change) => Record::of_change(change, payload, position, entry.order),
                None => Record::new(payload, position, entry.order),
            }
        });
        Ok(Read::Records(records.collect()))
    }
}

impl Source for HttpSource {
    fn open(&mut self, committed: Vec<Position>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(self.open_at(committed))
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        Box::pin(self.read_up_to(room))
    }

    fn on_commit(&self) -> Option<OnCommit> {
        let backlog = self.backlog.clone();
        Some(Arc::new(move |positions| positions.iter().for_each(|position| backlog.settle(position.offset))))
    }

    fn committed(&mut self, positions: &[Position]) -> BoxFuture<'_, Result<(), SourceError>> {
        let settled = positions.iter().map(|position| position.offset).max().unwrap_or(0);
        let due = settled >= self.trimmed + TRIM_EVERY || (settled > self.trimmed && self.untrimmed >= TRIM_BYTES);
        Box::pin(async move { if due { self.trim(settled).await } else { Ok(()) } })
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::document::{DocumentId, Operation};
    use crate::ledger::Ledger;
    use crate::ledger::testing::{open, open_with, options};
    use crate::source::Form;

    const ROOM: Room = Room { records: 100, bytes: 1 << 20 };

    fn ledger() -> (TempDir, Arc<Ledger>) {
        let (folder, ledger) = open();
        (folder, Arc::new(ledger))
    }

    async fn accept(intake: &Intake, events: &[&str]) {
        intake.accept(events.iter().map(|event| Bytes::from((*event).to_owned())).collect()).await.unwrap();
    }

    async fn records(source: &mut HttpSource, room: Room) -> Vec<Record> {
        match source.read(room).await.unwrap() {
            Read::Records(records) => records,
            other => panic!("no records: {other:?}"),
        }
    }

    fn payloads(records: &[Record]) -> Vec<&[u8]> {
        records.iter().map(|record| &record.payload[..]).collect()
    }

    /// What the ingestor does once a record's position is in the ledger.
    async fn commit(source: &mut HttpSource, record: &Record) {
        let positions = [record.position.clone()];
        source.on_commit().expect("whoever waits for a commit must be told at once")(&positions);
        source.committed(&positions).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn gives_what_was_accepted_in_order_and_as_much_as_there_is_room_for() {
        let (_folder, ledger) = ledger();
        let intake = Intake::open(ledger.clone(), "api", 10).await.unwrap();
        let mut source = HttpSource::new(&intake);
        source.open(Vec::new()).await.unwrap();
        assert!(matches!(source.read(ROOM).await, Ok(Read::Idle)));
        accept(&intake, &["{\"a\":1}", "{\"b\":1}", "{\"c\":1}"]).await;
        let first = records(&mut source, Room { records: 2, bytes: 1 << 20 }).await;
        assert_eq!(payloads(&first), [b"{\"a\":1}", b"{\"b\":1}"]);
        assert!(first[0].version < first[1].version, "events of one request keep their order");
        assert_eq!(first[1].position.to_string(), "journal:2");
        let rest = records(&mut source, ROOM).await;
        assert_eq!(payloads(&rest), [b"{\"c\":1}"]);
        assert!(matches!(source.read(ROOM).await, Ok(Read::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_waits_wakes_when_something_is_accepted() {
        let (_folder, ledger) = ledger();
        let intake = Intake::open(ledger, "api", 10).await.unwrap();
        let mut source = HttpSource::new(&intake);
        source.open(Vec::new()).await.unwrap();
        assert!(matches!(source.read(ROOM).await, Ok(Read::Idle)));
        let (records, ()) = tokio::join!(records(&mut source, ROOM), accept(&intake, &["{}"]));
        assert_eq!(payloads(&records), [b"{}"]);
    }

    #[tokio::test(start_paused = true)]
    async fn large_entries_that_are_settled_do_not_lie_there_for_long() {
        let (_folder, ledger) = ledger();
        let intake = Intake::open(ledger.clone(), "api", 10).await.unwrap();
        let mut source = HttpSource::new(&intake);
        source.open(Vec::new()).await.unwrap();
        let large = "x".repeat(TRIM_BYTES / 4);
        for number in 1..=9 {
            accept(&intake, &[&large]).await;
            let records = records(&mut source, Room { records: 1, bytes: 1 }).await;
            commit(&mut source, &records[0]).await;
            assert_eq!(ledger.journal_of("api").len(), number % 4);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn positions_of_another_source_that_had_the_name_are_not_its_own() {
        let (_folder, ledger) = ledger();
        let intake = Intake::open(ledger, "events", 10).await.unwrap();
        accept(&intake, &["1"]).await;
        let mut source = HttpSource::new(&intake);
        let of_file = |name: &str| {
            let partition = Arc::new(Partition { name: name.to_owned(), detail: "of a file".to_owned() });
            Position { partition, offset: 150_000, ordinal: 9 }
        };
        source.open(["events.jsonl", PARTITION].map(of_file).to_vec()).await.unwrap();
        assert_eq!(payloads(&records(&mut source, ROOM).await), [b"1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_crash_it_goes_on_behind_what_was_committed_and_drops_that() {
        let (_folder, ledger) = ledger();
        let intake = Intake::open(ledger.clone(), "api", 10).await.unwrap();
        let mut source = HttpSource::new(&intake);
        source.open(Vec::new()).await.unwrap();
        accept(&intake, &["1", "2", "3"]).await;
        let before = records(&mut source, ROOM).await;
        let positions = vec![before[0].position.clone()];
        drop((source, intake));

        let intake = Intake::open(ledger.clone(), "api", 10).await.unwrap();
        assert_eq!(intake.pending(), 3);
        let mut source = HttpSource::new(&intake);
        source.open(positions).await.unwrap();
        assert_eq!(intake.pending(), 2, "the committed one takes no room");
        assert_eq!(ledger.journal_of("api"), ["2", "3"]);
        let again = records(&mut source, ROOM).await;
        assert_eq!(payloads(&again), [b"2", b"3"]);
        assert_eq!(again[0].version, before[1].version, "a redelivery is no newer than the first delivery");
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_makes_room_ends_waiting_and_now_and_then_shortens_the_journal() {
        let (_folder, ledger) = ledger();
        let intake = Intake::open(ledger.clone(), "api", 2_000).await.unwrap();
        let mut source = HttpSource::new(&intake);
        source.open(Vec::new()).await.unwrap();
        accept(&intake, &["{}"; 1_500]).await;
        let all = records(&mut source, Room { records: 2_000, ..ROOM }).await;
        commit(&mut source, &all[9]).await;
        intake.settled(11).await;
        assert_eq!((intake.pending(), ledger.journal_of("api").len()), (1_490, 1_500));
        commit(&mut source, &all[1_499]).await;
        intake.settled(1_501).await;
        assert_eq!((intake.pending(), ledger.journal_of("api").len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_removal_is_a_change_that_needs_no_mapping() {
        let (_folder, ledger) = ledger();
        let intake = Intake::open(ledger, "api", 10).await.unwrap();
        let mut source = HttpSource::new(&intake);
        source.open(Vec::new()).await.unwrap();
        let removal = Removal { id: DocumentId::new("p1").unwrap(), reach: Reach::Before(None) };
        intake.accept(vec![removal.to_payload()]).await.unwrap();
        let records = records(&mut source, ROOM).await;
        let Form::Change(change) = &records[0].form else { panic!("a removal is a change: {:?}", records[0]) };
        assert_eq!((change.id.as_str(), change.operation), ("p1", Operation::Delete));
        assert_eq!(change.version, records[0].version);
    }

    #[tokio::test]
    async fn what_was_accepted_into_a_ledger_is_there_when_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Arc::new(open_with(&folder, options()));
        let ledger = open();
        let intake = Intake::open(ledger.clone(), "api", 10).await.unwrap();
        accept(&intake, &["1", "2", "3"]).await;
        let mut source = HttpSource::new(&intake);
        source.open(Vec::new()).await.unwrap();
        let first = records(&mut source, Room { records: 1, ..ROOM }).await;
        ledger.commit_positions("api", &[first[0].position.clone()]).unwrap();
        drop((source, intake));
        // The task that writes ends by itself, and it holds the ledger until then.
        while Arc::strong_count(&ledger) > 1 {
            tokio::task::yield_now().await;
        }
        drop(ledger);

        let ledger = open();
        let intake = Intake::open(ledger.clone(), "api", 10).await.unwrap();
        let mut source = HttpSource::new(&intake);
        source.open(ledger.positions("api").unwrap()).await.unwrap();
        assert_eq!(payloads(&records(&mut source, ROOM).await), [b"2", b"3"]);
        source.committed(&[]).await.unwrap();
        assert_eq!(intake.accept(vec![Bytes::from_static(b"4")]).await, Ok(4..5), "a number is never used again");
        assert_eq!(payloads(&records(&mut source, ROOM).await), [b"4"]);
    }
}
