//! The ingestor: one for each source. It reads while its window has room, decodes and maps off the arbiter, sends, and keeps
//! every record until it is settled. What cannot be processed goes to the dead letters from here and nowhere else.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix::prelude::*;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{OnCommit, Position, Read, Record, Room, Source, SourceError};
use crate::actor::backoff::Backoff;
use crate::actor::offload::on_blocking_thread;
use crate::actor::{Closed, Outlet, guard};
use crate::dedup::{Changes, Incoming};
use crate::delivery::{Limits, Receipt, Verdict, Verdicts, Window};
use crate::document::Version;
use crate::document::mapping::{Mapped, Mapper, Refusal};
use crate::ledger::patience::patiently;
use crate::ledger::{Ledger, NewDeadLetter};
use crate::telemetry::metrics::WindowGauges;
use crate::telemetry::stats::SourceState;
use crate::telemetry::{Metrics, Outcome, SourceHandle};

/// The most that is read and sent as one message: enough to share the cost of a message, little enough to keep the stages busy
/// side by side.
const READ: Room = Room { records: 1024, bytes: 1024 * 1024 };
/// After so many losses a delivery travels alone, so that it cannot harm its neighbours.
pub const LOSSES_UNTIL_ALONE: u32 = 3;
/// After so many losses a delivery is dead-lettered: it crashes whatever touches it.
pub const LOSSES_UNTIL_DEAD: u32 = 5;
/// How often settled positions are committed while more is on its way.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// So many reads in a row must fail before a run that waits for the sources' end takes it for the source's end.
const FAILURES_UNTIL_FAILING: u32 = 4;
const READ_RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
const REDELIVERY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// Makes the source anew; called at the start and after a panic of the ingestor.
pub type MakeSource = Arc<dyn Fn() -> Box<dyn Source> + Send + Sync>;

/// What an ingestor is wired to.
pub struct Wiring {
    /// The source's name in the configuration.
    pub name: Arc<str>,
    /// Makes the source.
    pub make: MakeSource,
    /// Reads records.
    pub mapper: Arc<Mapper>,
    /// Whether the version of a record is the time of its event, so that freshness counts from there.
    pub version_is_time: bool,
    /// Positions and dead letters.
    pub ledger: Arc<Ledger>,
    /// Where changes go.
    pub deduplicator: Outlet<Changes>,
    /// The bound on what is delivered and not settled.
    pub limits: Limits,
    /// Counts what comes of each event.
    pub metrics: Arc<Metrics>,
    /// Shows what the source is doing.
    pub board: SourceHandle,
    /// Told whether there is anything left to do.
    pub rest: watch::Sender<Rest>,
    /// Counts commits of positions: the only progress that lasts.
    pub commits: Arc<AtomicU64>,
}

/// Whether an ingestor has anything left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// It has, or may have.
    Busy,
    /// Nothing to read now, and everything settled and committed.
    Quiet,
    /// Everything read is settled and committed, and the source cannot be read, for this reason, several times in a row.
    Failing(String),
}

/// See the module.
pub struct Ingestor {
    wiring: Wiring,
    gauges: WindowGauges,
    state: State,
}

/// What is lost and built anew when the ingestor panics: reading goes on from the committed positions.
struct State {
    /// Absent while a read is under way.
    source: Option<Box<dyn Source>>,
    on_commit: Option<OnCommit>,
    opened: bool,
    read_failures: u32,
    read_failure: String,
    /// See [`Source::remaining_bytes`].
    remaining: Option<u64>,
    end: End,
    stopping: bool,
    sending: bool,
    /// The deduplicator is gone: the generation ends, and what comes back is nobody's fault.
    closed: bool,
    window: Window,
    /// Replaced with the state, so that receipts of deliveries from before a restart speak to nobody.
    verdicts: Option<Arc<Verdicts>>,
    /// How many lost deliveries wait for their redelivery.
    pausing: usize,
    /// Deliveries that were lost too often to travel with others.
    suspects: VecDeque<u64>,
    /// The suspect that is on its way.
    alone: Option<u64>,
    condemned: Vec<(u64, Refusal)>,
    burying: bool,
    committing: bool,
    committed_at: Option<Instant>,
    commit_alarm: bool,
    /// Committed and not yet told to the source.
    untold: Vec<Position>,
    /// Whether the read that is under way tells the source what was committed.
    telling: bool,
}

/// What the last read said about what is left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Reading,
    Idle,
    Finished,
}

/// Reading shall stop; what is on its way shall be settled.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopReading;

/// Verdicts have arrived.
#[derive(Message)]
#[rtype(result = "()")]
struct VerdictsArrived;

/// A record and what it says.
type Decoded = (Record, Result<Mapped, Refusal>);

/// A source that comes back from a read, whether it is open now, what it could not be told, and what it gave.
struct ReadOutcome {
    source: Box<dyn Source>,
    opened: bool,
    untold: Vec<Position>,
    found: Result<Found, SourceError>,
}

enum Found {
    Records(Vec<Decoded>),
    Idle,
    Finished,
}

impl Ingestor {
    /// Reads what the wiring's source gives.
    pub fn new(wiring: Wiring) -> Self {
        let gauges = wiring.metrics.window(&wiring.name);
        gauges.limit_documents.set(wiring.limits.records as i64);
        let state = State::new(&wiring);
        Self { wiring, gauges, state }
    }

    fn drive(&mut self, ctx: &mut Context<Self>) {
        self.bury(ctx);
        self.commit(ctx);
        self.send_suspect(ctx);
        self.read(ctx);
        self.show();
    }

    fn read(&mut self, ctx: &mut Context<Self>) {
        let state = &mut self.state;
        if state.stopping || state.closed || state.end == End::Finished || state.sending || state.is_isolating() {
            return;
        }
        let Some(room) = state.window.room() else { return };
        let Some(source) = state.source.take() else { return };
        let room = Room { records: room.records.min(READ.records), bytes: room.bytes.min(READ.bytes) };
        state.telling = !state.untold.is_empty();
        let errand = Errand {
            opened: state.opened,
            untold: std::mem::take(&mut state.untold),
            room,
            name: self.wiring.name.clone(),
            ledger: self.wiring.ledger.clone(),
            mapper: self.wiring.mapper.clone(),
        };
        ctx.spawn(errand.run(source).into_actor(self).map(|outcome, ingestor, ctx| ingestor.found(outcome, ctx)));
    }

    fn found(&mut self, outcome: ReadOutcome, ctx: &mut Context<Self>) {
        let ReadOutcome { source, opened, untold, found } = outcome;
        let state = &mut self.state;
        let remaining = source.remaining_bytes();
        state.source = Some(source);
        state.opened = opened;
        state.telling = false;
        state.untold.splice(0..0, untold);
        if state.stopping {
            // What was read is not admitted: it is not committed either, and will be read again.
            return self.drive(ctx);
        }
        match found {
            Ok(found) => {
                state.read_failures = 0;
                state.remaining = remaining;
                match found {
                    Found::Records(decoded) => {
                        state.end = End::Reading;
                        self.admit(decoded, ctx);
                    }
                    Found::Idle => state.end = End::Idle,
                    Found::Finished => state.end = End::Finished,
                }
            }
            Err(error) => self.pause_reading(&error, ctx),
        }
        self.drive(ctx);
    }

    fn pause_reading(&mut self, error: &SourceError, ctx: &mut Context<Self>) {
        self.state.read_failures += 1;
        if self.state.read_failures == 1 {
            tracing::warn!(source = %self.wiring.name, %error, "source cannot be read; trying again");
        }
        self.state.read_failure = format!("source {}: {error}", self.wiring.name);
        self.wiring.board.failing(&error.to_string());
        // Without its source the ingestor does not read.
        let source = self.state.source.take();
        ctx.run_later(READ_RETRY.delay(self.state.read_failures, fastrand::f64()), move |ingestor, ctx| {
            ingestor.state.source = source;
            ingestor.drive(ctx);
        });
    }

    fn admit(&mut self, decoded: Vec<Decoded>, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let verdicts = self.verdicts(ctx);
        let mut changes = Vec::with_capacity(decoded.len());
        for (record, mapped) in decoded {
            let refresh = record.refresh;
            match mapped {
                Ok(Mapped::Change(change)) => {
                    let number = self.state.window.admit(record, Some((change.operation, change.version)), now);
                    changes.push(Incoming { change, receipt: Receipt::new(number, verdicts.clone()), refresh });
                }
                Ok(Mapped::Ignored) => {
                    let number = self.state.window.admit(record, None, now);
                    self.settle(number, Outcome::Filtered);
                }
                Err(refusal) => {
                    let number = self.state.window.admit(record, None, now);
                    self.state.condemned.push((number, refusal));
                }
            }
        }
        self.send(changes, ctx);
    }

    fn send(&mut self, changes: Vec<Incoming>, ctx: &mut Context<Self>) {
        if changes.is_empty() || self.state.closed {
            return;
        }
        self.state.sending = true;
        let deduplicator = self.wiring.deduplicator.clone();
        let send = async move { deduplicator.send(Changes(changes)).await };
        ctx.spawn(send.into_actor(self).map(|sent: Result<(), Closed>, ingestor, ctx| {
            ingestor.state.sending = false;
            ingestor.state.closed = sent.is_err();
            ingestor.drive(ctx);
        }));
    }

    fn verdicts(&mut self, ctx: &mut Context<Self>) -> Arc<Verdicts> {
        let address = ctx.address();
        // Bounded: one message until its verdicts are taken.
        self.state.verdicts.get_or_insert_with(|| Verdicts::new(move || address.do_send(VerdictsArrived))).clone()
    }

    fn judge(&mut self, ctx: &mut Context<Self>) {
        let Some(verdicts) = self.state.verdicts.clone() else { return };
        let mut lost = Vec::new();
        for (number, verdict) in verdicts.take() {
            if self.state.alone == Some(number) {
                self.state.alone = None;
            }
            match verdict {
                Verdict::Indexed => self.settle(number, Outcome::Indexed),
                Verdict::Unchanged => self.settle(number, Outcome::Unchanged),
                Verdict::Superseded => self.settle(number, Outcome::Superseded),
                Verdict::Rejected(reason) => self.condemn(number, &reason),
                Verdict::Lost => self.lose(number, &mut lost),
            }
        }
        self.redeliver_later(lost, ctx);
        self.drive(ctx);
    }

    fn settle(&mut self, number: u64, outcome: Outcome) {
        let Some(delivery) = self.state.window.get(number) else { return };
        let (change, since) = (delivery.change, delivery.since);
        self.wiring.metrics.events.of(change.map(|(operation, _)| operation), outcome).inc();
        if outcome == Outcome::Indexed {
            let event = change.and_then(|(_, version)| time_of(version)).filter(|_| self.wiring.version_is_time);
            let age = event.map_or_else(|| since.elapsed(), |at| at.elapsed().unwrap_or_default());
            self.wiring.metrics.fresh_after(age);
        }
        self.state.window.settle(number);
    }

    fn condemn(&mut self, number: u64, reason: &str) {
        if let Some(delivery) = self.state.window.get(number) {
            let refusal = match map(&self.wiring.mapper, &delivery.record) {
                Ok(Mapped::Change(change)) => {
                    Refusal { reason: reason.to_owned(), id: Some(change.id), version: Some(change.version) }
                }
                _ => Refusal { reason: reason.to_owned(), id: None, version: None },
            };
            self.state.condemned.push((number, refusal));
        }
    }

    fn lose(&mut self, number: u64, lost: &mut Vec<u64>) {
        if self.state.closed {
            return;
        }
        let Some(losses) = self.state.window.lose(number) else { return };
        let operation =
            self.state.window.get(number).and_then(|delivery| delivery.change).map(|(operation, _)| operation);
        self.wiring.metrics.events.of(operation, Outcome::Redelivered).inc();
        match losses {
            LOSSES_UNTIL_DEAD.. => self.condemn(
                number,
                &format!(
                    "processing it failed {losses} times, the last times alone: it crashes a stage of the pipeline"
                ),
            ),
            _ => lost.push(number),
        }
    }

    fn redeliver_later(&mut self, lost: Vec<u64>, ctx: &mut Context<Self>) {
        if lost.is_empty() {
            return;
        }
        self.state.pausing += lost.len();
        let losses =
            lost.iter().filter_map(|number| self.state.window.get(*number)).map(|delivery| delivery.losses).max();
        tracing::warn!(source = %self.wiring.name, events = lost.len(), "events were lost on their way; delivering them again");
        ctx.run_later(REDELIVERY.delay(losses.unwrap_or(1), fastrand::f64()), move |ingestor, ctx| {
            ingestor.state.pausing -= lost.len();
            let losses = |number: &u64| ingestor.state.window.get(*number).map_or(0, |delivery| delivery.losses);
            let (suspects, others): (Vec<_>, Vec<_>) =
                lost.iter().partition(|number| losses(number) >= LOSSES_UNTIL_ALONE);
            ingestor.state.suspects.extend(suspects);
            ingestor.redeliver(&others, ctx);
            ingestor.drive(ctx);
        });
    }

    fn redeliver(&mut self, numbers: &[u64], ctx: &mut Context<Self>) {
        let verdicts = self.verdicts(ctx);
        let mut changes = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(delivery) = self.state.window.get(*number) else { continue };
            let refresh = delivery.record.refresh;
            // It was mapped before, so it maps again.
            if let Ok(Mapped::Change(change)) = map(&self.wiring.mapper, &delivery.record) {
                changes.push(Incoming { change, receipt: Receipt::new(*number, verdicts.clone()), refresh });
            }
        }
        self.send(changes, ctx);
    }

    /// Sends the next suspect, once nothing else of this source is on its way.
    fn send_suspect(&mut self, ctx: &mut Context<Self>) {
        let state = &mut self.state;
        let elsewhere = state.suspects.len() + state.condemned.len();
        if state.alone.is_some()
            || state.closed
            || state.sending
            || state.pausing > 0
            || state.window.open() > elsewhere
        {
            return;
        }
        if let Some(suspect) = state.suspects.pop_front() {
            state.alone = Some(suspect);
            self.redeliver(&[suspect], ctx);
        }
    }

    /// Puts what was condemned into the dead letters, durably, and only then settles it.
    fn bury(&mut self, ctx: &mut Context<Self>) {
        if self.state.burying || self.state.condemned.is_empty() {
            return;
        }
        self.state.burying = true;
        let condemned = std::mem::take(&mut self.state.condemned);
        let letters: Arc<[NewDeadLetter]> =
            condemned.iter().filter_map(|(number, refusal)| self.letter(*number, refusal)).collect();
        let numbers: Vec<u64> = condemned.into_iter().map(|(number, _)| number).collect();
        let ledger = self.wiring.ledger.clone();
        let at = unix_ms(SystemTime::now());
        let bury = async move { patiently(&ledger, move |ledger| ledger.bury(&letters, at)).await };
        ctx.spawn(bury.into_actor(self).map(move |(), ingestor, ctx| {
            ingestor.state.burying = false;
            for number in numbers {
                ingestor.settle(number, Outcome::DeadLettered);
            }
            ingestor.drive(ctx);
        }));
    }

    fn letter(&self, number: u64, refusal: &Refusal) -> Option<NewDeadLetter> {
        let delivery = self.state.window.get(number)?;
        let record = &delivery.record;
        let (source, position) = match &record.origin {
            Some(origin) => (origin.source.clone(), origin.position.clone()),
            None => (self.wiring.name.to_string(), record.position.to_string()),
        };
        Some(NewDeadLetter {
            source,
            position,
            document: refusal.id.clone(),
            version: refusal.version,
            reason: refusal.reason.clone(),
            payload: record.payload.to_vec(),
            attempts: delivery.losses.max(1),
            order: record.version,
        })
    }

    fn commit(&mut self, ctx: &mut Context<Self>) {
        let state = &mut self.state;
        if state.committing || !state.window.has_settled() {
            return;
        }
        let since = state.committed_at.map_or(COMMIT_EVERY, |at| at.elapsed());
        if state.window.open() > 0 && since < COMMIT_EVERY {
            if !state.commit_alarm {
                state.commit_alarm = true;
                ctx.run_later(COMMIT_EVERY - since, |ingestor, ctx| {
                    ingestor.state.commit_alarm = false;
                    ingestor.drive(ctx);
                });
            }
            return;
        }
        state.committing = true;
        let positions: Arc<[Position]> = state.window.take_settled().into();
        let (ledger, name, written) = (self.wiring.ledger.clone(), self.wiring.name.clone(), positions.clone());
        let commit = async move { patiently(&ledger, move |ledger| ledger.commit_positions(&name, &written)).await };
        ctx.spawn(commit.into_actor(self).map(move |(), ingestor, ctx| {
            ingestor.state.committing = false;
            ingestor.wiring.commits.fetch_add(1, Ordering::Relaxed);
            ingestor.state.committed_at = Some(Instant::now());
            if let Some(on_commit) = &ingestor.state.on_commit {
                on_commit(&positions);
            }
            ingestor.state.untold.extend(positions.iter().cloned());
            ingestor.tell_source(ctx);
            ingestor.drive(ctx);
        }));
    }

    /// Tells the source what was committed, when it is not reading: a read tells it by itself.
    fn tell_source(&mut self, ctx: &mut Context<Self>) {
        let reads_on = !self.state.stopping && self.state.end != End::Finished;
        if reads_on || self.state.untold.is_empty() {
            return;
        }
        let Some(mut source) = self.state.source.take() else { return };
        let untold = std::mem::take(&mut self.state.untold);
        let tell = async move {
            let told = source.committed(&untold).await;
            (source, told)
        };
        ctx.spawn(tell.into_actor(self).map(|(source, told), ingestor, ctx| {
            if let Err(error) = told {
                tracing::warn!(source = %ingestor.wiring.name, %error, "source could not be told what is settled");
            }
            ingestor.state.source = Some(source);
            ingestor.drive(ctx);
        }));
    }

    fn show(&self) {
        let state = &self.state;
        let (open, bytes) = (state.window.open(), state.window.bytes());
        self.gauges.documents.set(open as i64);
        self.gauges.bytes.set(bytes as i64);
        self.wiring.board.set_window(open as u64, bytes as u64, state.remaining);
        if state.read_failures == 0 {
            self.wiring.board.set_state(match state.end {
                End::Finished if open == 0 => SourceState::Finished,
                End::Idle if open == 0 => SourceState::Idle,
                _ => SourceState::Reading,
            });
        }
        let rest = self.rest();
        self.wiring.rest.send_if_modified(|before| {
            let news = *before != rest;
            *before = rest;
            news
        });
    }

    fn rest(&self) -> Rest {
        let state = &self.state;
        if state.window.open() > 0 || state.committing || state.window.has_settled() {
            return Rest::Busy;
        }
        if state.read_failures >= FAILURES_UNTIL_FAILING {
            return Rest::Failing(state.read_failure.clone());
        }
        // A source that will not be asked again is away only while it is told what was committed.
        let told = state.untold.is_empty() && !state.telling && (state.end != End::Finished || state.source.is_some());
        let nothing_to_read = state.end != End::Reading && state.read_failures == 0;
        if state.stopping || (nothing_to_read && told) { Rest::Quiet } else { Rest::Busy }
    }
}

impl State {
    fn new(wiring: &Wiring) -> Self {
        let source = (wiring.make)();
        Self {
            on_commit: source.on_commit(),
            source: Some(source),
            opened: false,
            read_failures: 0,
            read_failure: String::new(),
            remaining: None,
            end: End::Reading,
            stopping: false,
            sending: false,
            closed: false,
            window: Window::new(wiring.limits),
            verdicts: None,
            pausing: 0,
            suspects: VecDeque::new(),
            alone: None,
            condemned: Vec::new(),
            burying: false,
            committing: false,
            committed_at: None,
            commit_alarm: false,
            untold: Vec::new(),
            telling: false,
        }
    }

    fn is_isolating(&self) -> bool {
        self.alone.is_some() || !self.suspects.is_empty()
    }
}

/// All that one read needs, so that it runs without the ingestor.
struct Errand {
    opened: bool,
    untold: Vec<Position>,
    room: Room,
    name: Arc<str>,
    ledger: Arc<Ledger>,
    mapper: Arc<Mapper>,
}

impl Errand {
    async fn run(mut self, mut source: Box<dyn Source>) -> ReadOutcome {
        let found = self.read(&mut *source).await;
        ReadOutcome { source, opened: self.opened, untold: self.untold, found }
    }

    async fn read(&mut self, source: &mut dyn Source) -> Result<Found, SourceError> {
        if !self.opened {
            let name = self.name.clone();
            let committed = patiently(&self.ledger, move |ledger| ledger.positions(&name)).await;
            source.open(committed).await?;
            self.opened = true;
        }
        if !self.untold.is_empty() {
            source.committed(&self.untold).await?;
            self.untold.clear();
        }
        match source.read(self.room).await? {
            Read::Idle => Ok(Found::Idle),
            Read::Finished => Ok(Found::Finished),
            Read::Records(records) => {
                let mapper = self.mapper.clone();
                let decode = move |record: Record| {
                    let mapped = map(&mapper, &record);
                    (record, mapped)
                };
                let decoded = on_blocking_thread(move || records.into_iter().map(decode).collect());
                Ok(Found::Records(decoded.await))
            }
        }
    }
}

fn map(mapper: &Mapper, record: &Record) -> Result<Mapped, Refusal> {
    if let Some(reason) = &record.broken {
        return Err(Refusal { reason: reason.clone(), id: None, version: None });
    }
    match &record.change {
        Some(change) => Ok(Mapped::Change(change.clone())),
        // One record that crashes the mapper must not keep its neighbours from being read.
        None => {
            catch_unwind(AssertUnwindSafe(|| mapper.map(&record.payload, record.version))).unwrap_or_else(|panic| {
                let reason = format!("reading the record crashed: {}", guard::message(&*panic));
                Err(Refusal { reason, id: None, version: None })
            })
        }
    }
}

/// The time that a version stands for; `None` for a small number, which is a counter or older than any event of interest.
fn time_of(version: Version) -> Option<SystemTime> {
    const YEAR_2001: u64 = 1_000_000_000_000_000_000;
    let nanos = u64::try_from(version.as_nanos()).ok().filter(|nanos| *nanos >= YEAR_2001)?;
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))
}

fn unix_ms(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Actor for Ingestor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.drive(ctx);
    }
}

impl Supervised for Ingestor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        let stopping = self.state.stopping;
        self.state = State { stopping, ..State::new(&self.wiring) };
    }
}

impl Handler<VerdictsArrived> for Ingestor {
    type Result = ();

    fn handle(&mut self, _: VerdictsArrived, ctx: &mut Context<Self>) {
        self.judge(ctx);
    }
}

impl Handler<StopReading> for Ingestor {
    type Result = ();

    fn handle(&mut self, _: StopReading, ctx: &mut Context<Self>) {
        self.state.stopping = true;
        self.drive(ctx);
    }
}
