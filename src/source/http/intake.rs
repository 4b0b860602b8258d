//! Takes events in: durable before it answers, bounded, and many requests to a transaction.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::journal::Journal;
use crate::actor::backoff::Backoff;
use crate::ledger::Ledger;

/// How long a caller is asked to stay away when there is no room. Room comes back as fast as events are settled, so longer
/// would leave the pipeline idle.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Between tries whether something can be written again, where nothing could. While it cannot, callers may have been sent elsewhere, so
/// that nobody else would find out.
const PROBE: Backoff =
    Backoff::new(Duration::from_secs(1), Duration::from_secs(10)).at_least(Duration::from_millis(500));

/// Why events were not accepted. None of the request's events was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// Too many events are accepted and not yet settled.
    #[error("{pending} events are accepted and not yet in the index, and at most {limit} may be; try again later")]
    Full {
        /// Events accepted and not yet settled.
        pending: usize,
        /// `max_pending` of the source.
        limit: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// More events at once than could ever be accepted.
    #[error(
        "the request has {events} events, and at most {limit} can be accepted at once; send fewer, or raise `max_pending`"
    )]
    TooMany {
        /// Events in the request.
        events: usize,
        /// `max_pending` of the source.
        limit: usize,
    },
    /// The process is ending.
    #[error("Vectide is shutting down; send the events again when it is back")]
    Closed,
    /// They could not be written down.
    #[error("{0}")]
    Journal(String),
}

/// Where events are handed in. Clones share one window.
#[derive(Clone)]
pub struct Intake {
    journal: Journal,
    max_pending: usize,
    backlog: Arc<Backlog>,
    waiting: mpsc::UnboundedSender<Waiting>,
}

/// One request that waits for its transaction. Their number is bounded by `max_pending`.
struct Waiting {
    events: Vec<Bytes>,
    /// Dropped when they are written: what their caller took of a memory that is bounded. The caller itself may be gone by then.
    _held: Box<dyn Any + Send>,
    answer: oneshot::Sender<Result<Range<u64>, IntakeError>>,
}

impl Intake {
    /// Opens the journal of a source: what lies in it from an earlier run counts as accepted. Must be called on a tokio runtime;
    /// the task that writes ends when the last clone is dropped.
    pub async fn open(ledger: Arc<Ledger>, source: &str, max_pending: usize) -> Result<Self, String> {
        let journal = Journal::new(ledger, source);
        let backlog = Arc::new(Backlog::with(journal.unsettled().await?));
        let (waiting, requests) = mpsc::unbounded_channel();
        let writer = Writer { journal: journal.clone(), backlog: backlog.clone() };
        tokio::spawn(writer.run(requests));
        Ok(Self { journal, max_pending, backlog, waiting })
    }

    /// Writes events down and answers their numbers once they are on the disk. Requests that come at the same time share a
    /// transaction. When the caller goes away meanwhile, they may have been accepted or not.
    pub async fn accept(&self, events: Vec<Bytes>) -> Result<Range<u64>, IntakeError> {
        self.accept_holding(events, ()).await
    }

    /// As [`Intake::accept`], and keeps what their memory was taken from until they are written, also when the caller goes away.
    pub async fn accept_holding(
        &self,
        events: Vec<Bytes>,
        held: impl Send + 'static,
    ) -> Result<Range<u64>, IntakeError> {
        self.backlog.reserve(events.len(), self.max_pending)?;
        let (answer, answered) = oneshot::channel();
        let count = events.len();
        if self.waiting.send(Waiting { events, _held: Box::new(held), answer }).is_err() {
            self.backlog.release(count);
            return Err(IntakeError::Closed);
        }
        answered.await.unwrap_or(Err(IntakeError::Closed))
    }

    /// What to wait for until everything is settled that was accepted so far.
    pub fn accepted(&self) -> Result<u64, IntakeError> {
        if self.backlog.closed.load(Ordering::Acquire) {
            Err(IntakeError::Closed)
        } else {
            let unsettled = &self.backlog.tally.lock().unsettled;
            Ok(if unsettled.is_empty() { 0 } else { unsettled.end })
        }
    }

    /// Waits until every event before this number is settled, and that is written down.
    pub async fn settled(&self, before: u64) {
        // The sender lives in `self.backlog`, so this cannot end early.
        let _ = self.backlog.settled.subscribe().wait_for(|settled| *settled >= before).await;
    }

    /// The most events that can be accepted at once: `max_pending` of the source.
    pub fn max_pending(&self) -> usize {
        self.max_pending
    }

    /// Events accepted, or about to be, and not yet settled.
    pub fn pending(&self) -> usize {
        self.backlog.tally.lock().pending()
    }

    /// Takes nothing more in. What was accepted stays accepted.
    pub fn close(&self) {
        self.backlog.closed.store(true, Ordering::Release);
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }
}

/// What was accepted and is not settled yet. Shared by the intake and the source behind it.
#[derive(Debug)]
pub(super) struct Backlog {
    tally: Mutex<Tally>,
    /// Every entry before this number is in the journal, or was.
    written: watch::Sender<u64>,
    /// Every entry before this number is settled.
    settled: watch::Sender<u64>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Tally {
    /// Events about to be written.
    arriving: usize,
    /// The numbers of the entries that are written and not settled. (Entries of another source may have numbers among those that an
    /// earlier run left: they count until they are passed.)
    unsettled: Range<u64>,
}

impl Tally {
    /// Events that take up room.
    fn pending(&self) -> usize {
        let unsettled = usize::try_from(self.unsettled.end - self.unsettled.start).unwrap_or(usize::MAX);
        self.arriving.saturating_add(unsettled)
    }
}

impl Backlog {
    fn with(left: Range<u64>) -> Self {
        Self {
            written: watch::Sender::new(left.end),
            settled: watch::Sender::new(0),
            closed: AtomicBool::new(false),
            tally: Mutex::new(Tally { arriving: 0, unsettled: left }),
        }
    }

    /// Told when entries are written.
    pub(super) fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Takes note that every entry before this number is settled.
    pub(super) fn settle(&self, before: u64) {
        let mut tally = self.tally.lock();
        let Range { start, end } = tally.unsettled;
        tally.unsettled.start = before.clamp(start, end);
        // Before the tally is free: what is written by now and not noted yet is settled all the same.
        self.settled.send_if_modified(|settled| std::mem::replace(settled, before.max(*settled)) < before);
    }

    fn reserve(&self, events: usize, limit: usize) -> Result<(), IntakeError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(IntakeError::Closed);
        }
        if events > limit {
            return Err(IntakeError::TooMany { events, limit });
        }
        let mut tally = self.tally.lock();
        let pending = tally.pending();
        if pending.saturating_add(events) > limit {
            return Err(IntakeError::Full { pending, limit, retry_after: RETRY_AFTER });
        }
        tally.arriving += events;
        Ok(())
    }

    /// These events are not written after all.
    fn release(&self, events: usize) {
        self.tally.lock().arriving -= events;
    }

    /// These events are written, with these numbers.
    fn wrote(&self, events: usize, numbers: Range<u64>) {
        let mut tally = self.tally.lock();
        tally.arriving -= events;
        if tally.unsettled.is_empty() {
            // The source reads the journal, and may have settled entries before they are noted here.
            tally.unsettled.start = numbers.start.max(*self.settled.borrow()).min(numbers.end);
        }
        tally.unsettled.end = numbers.end;
        drop(tally);
        self.written.send_replace(numbers.end);
    }
}

/// Writes what waits, one transaction at a time. While one is on its way to the disk, the next collects.
struct Writer {
    journal: Journal,
    backlog: Arc<Backlog>,
}

impl Writer {
    async fn run(self, mut requests: mpsc::UnboundedReceiver<Waiting>) {
        let mut group = Vec::new();
        // Failures in a row: what little a probe writes may find room where events do not, and then the next pause is no shorter.
        let (mut fails, mut failures) = (false, 0);
        loop {
            tokio::select! {
                biased;
                received = requests.recv_many(&mut group, usize::MAX) => {
                    if received == 0 {
                        return;
                    }
                    fails = !self.write(std::mem::take(&mut group)).await;
                    failures = if fails { failures + 1 } else { 0 };
                }
                () = sleep(PROBE.delay(failures, fastrand::f64())), if fails => {
                    fails = self.journal.append(Vec::new()).await.is_err();
                    failures += u32::from(fails);
                }
            }
        }
    }

    /// Whether it was written.
    async fn write(&self, mut group: Vec<Waiting>) -> bool {
        let events: Vec<Vec<Bytes>> = group.iter_mut().map(|waiting| std::mem::take(&mut waiting.events)).collect();
        let counts: Vec<usize> = events.iter().map(Vec::len).collect();
        let total: usize = counts.iter().sum();
        match self.journal.append(events).await {
            Ok(numbers) => {
                let mut start = numbers.start;
                self.backlog.wrote(total, numbers);
                for (waiting, count) in group.into_iter().zip(counts) {
                    let end = start + count as u64;
                    // A caller that went away does not want the answer; its events are accepted all the same.
                    let _ = waiting.answer.send(Ok(start..end));
                    start = end;
                }
                true
            }
            Err(reason) => {
                self.backlog.release(total);
                for waiting in group {
                    let _ = waiting.answer.send(Err(IntakeError::Journal(reason.clone())));
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::ledger::testing;
    use crate::testkit::faults::{Strike, arm, disarm};

    /// Where a transaction of the ledger may fail.
    const COMMITS: &str = "before the ledger commits";

    /// The ledger is in a folder that goes when it is dropped.
    async fn intake(max_pending: usize) -> (Intake, Arc<Ledger>, TempDir) {
        let (folder, ledger) = testing::open();
        let ledger = Arc::new(ledger);
        (Intake::open(ledger.clone(), "api", max_pending).await.unwrap(), ledger, folder)
    }

    fn events<const N: usize>(events: [&'static str; N]) -> Vec<Bytes> {
        events.map(|event| Bytes::from_static(event.as_bytes())).to_vec()
    }

    #[tokio::test]
    async fn what_is_answered_is_written_down_in_order() {
        let (intake, ledger, _folder) = intake(10).await;
        assert_eq!(intake.accept(events(["a", "b"])).await, Ok(1..3));
        assert_eq!(intake.accept(events(["c"])).await, Ok(3..4));
        assert_eq!(ledger.journal_of("api"), ["a", "b", "c"]);
        assert_eq!(intake.pending(), 3);
    }

    #[tokio::test]
    async fn requests_that_come_while_one_is_written_share_the_next_transaction() {
        let (intake, ledger, _folder) = intake(1_000).await;
        let held = ledger.hold();
        arm(COMMITS, Strike::Fail, 2, usize::MAX);
        let requests: Vec<_> = (0..200)
            .map(|_| {
                let intake = intake.clone();
                tokio::spawn(async move { intake.accept(events(["a", "b"])).await })
            })
            .collect();
        while intake.pending() < 400 {
            tokio::task::yield_now().await;
        }
        drop(held);
        let mut ranges = Vec::new();
        for request in requests {
            ranges.push(request.await.unwrap().unwrap());
        }
        ranges.sort_by_key(|range| range.start);
        let expected: Vec<_> = (0..200).map(|number| 1 + 2 * number..3 + 2 * number).collect();
        assert_eq!(ranges, expected, "every request has numbers of its own");
        assert_eq!(ledger.journal_of("api").len(), 400);
        assert_eq!(disarm(), 0, "two transactions are enough");
    }

    #[tokio::test]
    async fn there_is_room_again_once_events_are_settled() {
        let (intake, _ledger, _folder) = intake(3).await;
        let too_many = intake.accept(events(["a", "b", "c", "d"])).await;
        assert_eq!(too_many, Err(IntakeError::TooMany { events: 4, limit: 3 }));
        intake.accept(events(["a", "b"])).await.unwrap();
        let full = IntakeError::Full { pending: 2, limit: 3, retry_after: RETRY_AFTER };
        assert_eq!(intake.accept(events(["c", "d"])).await, Err(full));
        intake.backlog().settle(2);
        assert_eq!(intake.pending(), 1);
        assert_eq!(intake.accept(events(["c", "d"])).await, Ok(3..5));
        intake.backlog().settle(5);
        intake.backlog().settle(4);
        assert_eq!(intake.pending(), 0, "settling again what is settled changes nothing");
    }

    #[tokio::test]
    async fn what_is_settled_before_it_is_noted_as_written_takes_no_room() {
        let (intake, _ledger, _folder) = intake(10).await;
        let backlog = intake.backlog();
        backlog.reserve(5, 10).unwrap();
        backlog.settle(3);
        backlog.wrote(5, 1..6);
        assert_eq!(intake.pending(), 3);
        backlog.settle(6);
        assert_eq!(intake.pending(), 0);
        backlog.reserve(2, 10).unwrap();
        backlog.settle(8);
        backlog.wrote(2, 6..8);
        assert_eq!(intake.pending(), 0);
        backlog.reserve(1, 10).unwrap();
        backlog.wrote(1, 8..9);
        assert_eq!(intake.pending(), 1);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_takes_no_room() {
        let (intake, _ledger, _folder) = intake(1).await;
        arm(COMMITS, Strike::Fail, 0, 1);
        let told = intake.accept(events(["a"])).await;
        assert!(matches!(&told, Err(IntakeError::Journal(reason)) if reason.contains("disk is full")), "{told:?}");
        assert_eq!(intake.accept(events(["a"])).await, Ok(1..2));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_it_is_tried_until_something_can_be_written_though_nobody_sends_anything() {
        let (intake, ledger, _folder) = intake(1).await;
        arm(COMMITS, Strike::Fail, 0, 4);
        intake.accept(events(["a"])).await.unwrap_err();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(disarm(), 4);
        arm(COMMITS, Strike::Fail, 0, usize::MAX);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(disarm(), 0, "once something can be written, that is known");
        assert!(ledger.journal_of("api").is_empty());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_its_events_accepted_and_no_room_lost() {
        let (intake, ledger, _folder) = intake(2).await;
        let held = ledger.hold();
        let gone = tokio::spawn({
            let intake = intake.clone();
            async move { intake.accept(events(["a"])).await }
        });
        while intake.pending() < 1 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        drop(held);
        assert_eq!(intake.accept(events(["b"])).await, Ok(2..3));
        assert_eq!(ledger.journal_of("api"), ["a", "b"]);
        intake.backlog().settle(3);
        assert_eq!(intake.pending(), 0);
    }

    #[tokio::test]
    async fn what_an_earlier_run_left_takes_room_until_it_is_settled() {
        let (before, ledger, _folder) = intake(5).await;
        before.accept(events(["a", "b", "c"])).await.unwrap();
        ledger.trim_journal("api", 2).unwrap();
        let intake = Intake::open(ledger, "api", 3).await.unwrap();
        assert_eq!(intake.pending(), 2);
        assert_eq!(intake.accept(events(["d"])).await, Ok(4..5));
        intake.backlog().settle(4);
        assert_eq!(intake.pending(), 1);
    }

    #[tokio::test]
    async fn waiting_ends_when_every_event_of_the_request_is_settled() {
        let (intake, _ledger, _folder) = intake(5).await;
        let range = intake.accept(events(["a", "b"])).await.unwrap();
        let mut waiting = polled(intake.settled(range.end));
        assert!(!waiting());
        intake.backlog().settle(2);
        assert!(!waiting());
        intake.backlog().settle(3);
        assert!(waiting());
    }

    #[tokio::test]
    async fn a_closed_intake_takes_nothing_more() {
        let (intake, ledger, _folder) = intake(5).await;
        intake.close();
        assert_eq!(intake.clone().accept(events(["a"])).await, Err(IntakeError::Closed));
        assert!(ledger.journal_of("api").is_empty());
    }

    /// Polls a future when called and tells whether it is done.
    fn polled<'a>(future: impl Future<Output = ()> + 'a) -> impl FnMut() -> bool + 'a {
        let mut future = Box::pin(future);
        move || {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            future.as_mut().poll(&mut context).is_ready()
        }
    }
}
