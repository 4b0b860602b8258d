//! The ingestor: one for each source. It reads while its window has room, decodes and maps off the arbiter, sends, and keeps
//! every record until it is settled. What cannot be processed goes to the dead letters from here and nowhere else.

mod burial;
mod errand;
mod feed;
mod isolation;
mod reading;
mod redelivery;
mod repeats;
mod settling;
mod trial;
mod understanding;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use actix::prelude::*;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::{Partition, Record, Source};
use crate::actor::{Closed, GiveUp, Outlet};
use crate::dedup::{Changes, Incoming};
use crate::delivery::{Room, Verdict, Verdicts, Window};
use crate::document::mapping::Mapper;
use crate::ledger::Ledger;
use crate::telemetry::sources::SourceState;
use crate::telemetry::{Health, Metrics, Outcome, SourceHandle};

use burial::{Burial, Ground};
use isolation::Isolation;
use reading::{End, READ, Reading};
use redelivery::Lost;
use settling::Commits;
use trial::Trial;
pub use trial::{LOSSES_UNTIL_ALONE, LOSSES_UNTIL_DEAD};
use understanding::Said;

/// After so many failed reads in a row, a run that waits for its sources to end takes this one to have ended.
pub(super) const FAILURES_UNTIL_END: u32 = 4;

/// Makes the source anew; called at the start and after a panic of the ingestor.
pub type MakeSource = Arc<dyn Fn() -> Box<dyn Source> + Send + Sync>;

/// What an ingestor is wired to: first what is its own, then what is of all of them.
pub struct Wiring {
    /// The source's name in the configuration.
    pub name: Arc<str>,
    /// Makes the source.
    pub make: MakeSource,
    /// Shows what the source is doing.
    pub board: SourceHandle,
    /// Told whether there is anything left to do.
    pub rest: watch::Sender<Rest>,

    /// The bound on what each delivers and has not yet seen settled.
    pub limits: Room,
    /// Reads records.
    pub mapper: Arc<Mapper>,
    /// Whether the version of a record is the time of its event, so that freshness counts from there.
    pub version_is_time: bool,
    /// Positions and dead letters.
    pub ledger: Arc<Ledger>,
    /// Where changes go.
    pub deduplicator: Outlet<Changes>,
    /// Counts what comes of each event.
    pub metrics: Arc<Metrics>,
    /// Counts commits of positions: the only progress that lasts.
    pub commits: Arc<AtomicU64>,
    /// Counts what got through to the index.
    pub through: Arc<AtomicU64>,
    /// One permit: the turn of a suspect to travel alone.
    pub turn: Arc<Semaphore>,
    /// Told when nothing gets through.
    pub health: Arc<Health>,
    /// Told why the actors must be built anew.
    pub give_up: GiveUp,
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

/// See the module. Whatever comes to it, or back to it, ends in `drive`, which takes every step that can be taken now:
///
/// | step | where | what it waits for |
/// |---|---|---|
/// | `take_in` what was read | `reading.rs` | a suspect that is on its way |
/// | `bury` what is condemned | `burial.rs` | the burial before it |
/// | `commit` what is settled | `settling.rs` | the commit before it; for a fifth of a second, to take more along |
/// | `tell_source` what is committed, when it is no longer read | `settling.rs` | the source |
/// | `send_suspect` | `redelivery.rs`, `isolation.rs` | all others of this source, and its turn among all sources |
/// | `read` | `reading.rs`, `errand.rs` | the source, room in the window, what was read before, all suspects |
/// | `watch` the source while it is not read | `reading.rs` | the source; for a second |
/// | `show` how it stands | here | nothing |
///
/// What is read is understood (`understanding.rs`), admitted and sent. A verdict settles it, condemns it, or has it delivered again
/// (`redelivery.rs`).
pub struct Ingestor {
    wiring: Wiring,
    state: State,
}

/// What is lost and built anew when the ingestor panics: reading goes on from the committed positions.
struct State {
    reading: Reading,
    stopping: bool,
    sending: bool,
    /// The deduplicator is gone: the generation ends, and what comes back is nobody's fault.
    closed: bool,
    window: Window,
    /// Replaced with the state, so that receipts of deliveries from before a restart speak to nobody.
    verdicts: Option<Arc<Verdicts>>,
    /// How many lost deliveries wait for their redelivery.
    to_redeliver: usize,
    isolation: Isolation,
    trial: Trial,
    /// Whether it said of the pipeline that nothing gets through.
    degraded: bool,
    burial: Burial,
    commits: Commits,
}

/// Reading shall stop; what is on its way shall be settled.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopReading;

/// Verdicts have arrived.
#[derive(Message)]
#[rtype(result = "()")]
struct VerdictsArrived;

impl Ingestor {
    /// Reads what the wiring's source gives.
    pub fn new(wiring: Wiring) -> Self {
        let state = State::new(&wiring);
        Self { wiring, state }
    }

    /// Does whatever can be done now. No step relies on another to keep things safe: each looks at the state for itself, and in any
    /// order nothing counts as settled before it is written, or is committed before everything ahead of it is settled. This order lets one
    /// pass do it all, as the next may not come until the source answers:
    ///
    /// - What was read is taken in first. Part of it may be refused or settled on the spot, which is then buried and committed. The rest is
    ///   on its way before a suspect asks to travel alone, so that it may get through and show whose fault the losses are. And until it is
    ///   taken in, nothing more is read.
    /// - A source is watched if it was not read, so that comes after reading.
    /// - What is shown is how all of this left it.
    fn drive(&mut self, ctx: &mut Context<Self>) {
        self.take_in(ctx);
        self.bury(ctx);
        self.commit(ctx);
        self.tell_source(ctx);
        self.send_suspect(ctx);
        self.read(ctx);
        self.watch(ctx);
        self.show();
    }

    /// Forgets what is no longer to be settled here.
    fn let_go(&mut self, partitions: &[Arc<Partition>]) {
        let losses = self.state.window.let_go(partitions);
        let state = &mut self.state;
        let is_open = |number: u64| state.window.get(number).is_some();
        state.isolation.retain(is_open);
        state.burial.retain(is_open);
        losses.into_iter().for_each(|losses| self.end_suspicion(losses));
    }

    /// Numbers records and sends their changes. What changes nothing is settled at once; what cannot be understood is condemned.
    fn admit(&mut self, records: Vec<(Record, Said)>, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let verdicts = self.verdicts(ctx);
        let mut changes = Vec::with_capacity(records.len());
        for (record, said) in records {
            let (refresh, version) = (record.refresh, record.version);
            match said {
                Said::Change(change, digest) => {
                    let number = self.state.window.admit(record, Some((change.operation, change.version)), now);
                    let receipt =
                        self.state.window.receipt(number, verdicts.clone()).expect("it was admitted just now");
                    changes.push(Incoming { change, receipt, digest, refresh });
                }
                Said::Known(operation) => {
                    let number = self.state.window.admit(record, Some((operation, version)), now);
                    self.settle(number, Outcome::Unchanged);
                }
                Said::Ignored => {
                    let number = self.state.window.admit(record, None, now);
                    self.settle(number, Outcome::Filtered);
                }
                Said::Refused(refusal) => {
                    let number = self.state.window.admit(record, None, now);
                    self.state.burial.condemn(number, Ground::Refused(refusal));
                }
            }
        }
        self.send(changes, ctx);
    }

    /// Sends changes as the deduplicator has room for them.
    fn send(&mut self, mut changes: Vec<Incoming>, ctx: &mut Context<Self>) {
        if changes.is_empty() || self.state.closed {
            return;
        }
        self.state.sending = true;
        let deduplicator = self.wiring.deduplicator.clone();
        let send = async move {
            // What comes back lost may be more than one read gave.
            while !changes.is_empty() {
                let rest = changes.split_off(changes.len().min(READ.records));
                deduplicator.send(Changes(std::mem::replace(&mut changes, rest))).await?;
            }
            Ok(())
        };
        ctx.spawn(send.into_actor(self).map(|sent: Result<(), Closed>, ingestor, ctx| {
            ingestor.state.sending = false;
            ingestor.state.closed |= sent.is_err();
            ingestor.drive(ctx);
        }));
    }

    fn verdicts(&mut self, ctx: &mut Context<Self>) -> Arc<Verdicts> {
        let address = ctx.address();
        // Bounded: one message until its verdicts are taken.
        self.state.verdicts.get_or_insert_with(|| Verdicts::new(move || address.do_send(VerdictsArrived))).clone()
    }

    /// Takes in the verdicts that arrived.
    fn judge(&mut self, ctx: &mut Context<Self>) {
        let Some(verdicts) = self.state.verdicts.clone() else { return };
        let mut lost = Lost::default();
        for (number, verdict) in verdicts.take() {
            self.state.window.returned(number);
            self.state.isolation.end_turn(number);
            match verdict {
                Verdict::Indexed => self.settle(number, Outcome::Indexed),
                Verdict::Stored => self.settle(number, Outcome::Stored),
                Verdict::Unchanged => self.settle(number, Outcome::Unchanged),
                Verdict::Superseded => self.settle(number, Outcome::Superseded),
                Verdict::Rejected(reason) => self.condemn(number, Ground::TakenIn(reason.to_string())),
                Verdict::Lost => self.lose(number, &mut lost),
            }
        }
        self.redeliver_later(lost, ctx);
        self.drive(ctx);
    }

    fn show(&self) {
        let state = &self.state;
        let (open, records, bytes) = (state.window.open(), state.window.records(), state.window.bytes());
        self.wiring.board.set_window(records as u64, bytes as u64, state.reading.remaining);
        if state.reading.failing.is_none() {
            self.wiring.board.set_state(match state.reading.end {
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
        if state.window.open() > 0 || state.commits.is_under_way() || state.window.has_settled() {
            return Rest::Busy;
        }
        let reading = &state.reading;
        if let Some(failing) = reading.failing.as_ref().filter(|failing| failing.times >= FAILURES_UNTIL_END) {
            return Rest::Failing(failing.reason.clone());
        }
        if state.stopping {
            return Rest::Quiet;
        }
        if reading.end == End::Reading || reading.failing.is_some() || !reading.is_told() {
            return Rest::Busy;
        }
        let failing = |trouble| Rest::Failing(format!("source {}: {trouble}", self.wiring.name));
        reading.trouble.as_ref().map_or(Rest::Quiet, failing)
    }
}

impl State {
    fn new(wiring: &Wiring) -> Self {
        let source = (wiring.make)();
        Self {
            stopping: false,
            sending: false,
            closed: false,
            window: Window::new(wiring.limits),
            verdicts: None,
            to_redeliver: 0,
            isolation: Isolation::default(),
            trial: Trial::default(),
            degraded: false,
            burial: Burial::new(source.on_bury()),
            commits: Commits::new(source.on_commit()),
            reading: Reading::of(source),
        }
    }

    /// Whether anything of this source is on its way, or about to be: a suspect would not be alone.
    fn has_others_on_the_way(&self) -> bool {
        self.to_redeliver > 0 || self.window.travelling() > 0
    }
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
        // It reads no more, so that what was open and is forgotten now is left to the next start.
        if stopping && self.rest() == Rest::Busy {
            (self.wiring.give_up)(format!(
                "source {} crashed before all that it had read was settled and committed",
                self.wiring.name
            ));
        }
        self.recover();
        // A suspect that is on its way loses its turn, so that one of another source may meet it in a write and be lost with it. One such
        // loss condemns nobody.
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
