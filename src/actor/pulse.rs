//! Signs of life, and what is to be thought when there are none.
//!
//! An actor that panics is noticed by its [`guard`](super::guard). One that hangs says nothing: so its arbiter beats, and every call that
//! must end says when it begins and when it has ended. What is waited for on purpose, such as the pause before the next try, is no
//! call and hangs nothing.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// How often somebody looks, and how often an arbiter beats. Each look [counts](Monitor) as just so much time.
pub const EVERY: Duration = Duration::from_secs(1);
/// An arbiter that does not beat for so long runs no more: its handlers take less than a millisecond.
pub const SILENCE: Duration = Duration::from_secs(30);
/// How long one call, a read or a write, may take. The slowest disk needs seconds for it.
pub const CALL_MAY_TAKE: Duration = Duration::from_secs(300);

/// A call that must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Who is called: `the index`.
    pub callee: &'static str,
    /// What for: `write documents`.
    pub purpose: &'static str,
    /// Whether, ending late, it could undo what was written since it was given up.
    pub writes: bool,
    /// After so long it hangs.
    pub may_take: Duration,
}

/// The calls that have begun and have not ended. Share it as `Arc<Underway>`.
#[derive(Debug, Default)]
pub struct Underway(Mutex<Begun>);

#[derive(Debug, Default)]
struct Begun {
    closed: bool,
    calls: BTreeMap<u64, Call>,
}

/// Numbers calls for the whole process, so that those of several lists can be looked at as one.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// A call that has begun; dropped when it has ended.
#[derive(Debug)]
pub struct Ongoing {
    number: u64,
    underway: Arc<Underway>,
}

impl Underway {
    /// Notes that a call begins. `None`: whoever calls was given up, and must not begin anything.
    pub fn begin(self: &Arc<Self>, call: Call) -> Option<Ongoing> {
        let mut begun = self.0.lock();
        if begun.closed {
            return None;
        }
        let number = CALLS.fetch_add(1, Ordering::Relaxed);
        begun.calls.insert(number, call);
        Some(Ongoing { number, underway: self.clone() })
    }

    /// From now on nothing begins. What is under way goes on.
    pub fn close(&self) {
        self.0.lock().closed = true;
    }

    /// Waits until none of these is under way. It looks now and then, for it is asked once, at the end.
    pub async fn ended(&self, of: impl Fn(&(u64, Call)) -> bool) {
        while self.calls().iter().any(&of) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What is under way, with its number.
    pub fn calls(&self) -> Vec<(u64, Call)> {
        self.0.lock().calls.iter().map(|(number, call)| (*number, *call)).collect()
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.underway.0.lock().calls.remove(&self.number);
    }
}

/// The signs of life of one arbiter and of what runs on it. Share it as `Arc<Pulse>`.
#[derive(Debug, Default)]
pub struct Pulse {
    beats: AtomicU64,
    /// The calls of its actors.
    pub underway: Arc<Underway>,
}

impl Pulse {
    /// Beats for as long as it is polled: to be spawned on the arbiter.
    pub async fn beat(self: Arc<Self>, every: Duration) {
        loop {
            self.beats.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(every).await;
        }
    }

    /// How often it has beaten.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}

/// What hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// The thread of the actors: a handler loops or blocks.
    Arbiter,
    /// A call, with its number.
    Call(u64, Call),
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arbiter => write!(
                f,
                "the thread of the actors hangs: for {} s none of them ran, so one of them loops or blocks",
                SILENCE.as_secs()
            ),
            Self::Call(_, Call { callee, purpose, may_take, .. }) => {
                write!(f, "{callee} hangs: a call to {purpose} has not ended within {} s", may_take.as_secs())
            }
        }
    }
}

/// Tells what hangs from one look to the next. It has no clock: a look counts as [`EVERY`], however late it comes, so that a process that
/// was halted, or had no core to run on, is not taken for one that hangs.
#[derive(Debug, Default)]
pub struct Monitor {
    beats: u64,
    silent: Duration,
    calls: HashMap<u64, Duration>,
}

impl Monitor {
    /// Looks at the number of beats and at what is under way.
    pub fn look(&mut self, beats: u64, underway: &[(u64, Call)]) -> Option<Stall> {
        self.silent = if beats == self.beats { self.silent + EVERY } else { Duration::ZERO };
        self.beats = beats;
        let before = std::mem::take(&mut self.calls);
        let age = |number: &u64| before.get(number).map_or(Duration::ZERO, |age| *age + EVERY);
        self.calls = underway.iter().map(|(number, _)| (*number, age(number))).collect();
        if self.silent >= SILENCE {
            return Some(Stall::Arbiter);
        }
        let hangs = underway.iter().find(|(number, call)| self.calls[number] >= call.may_take);
        hangs.map(|(number, call)| Stall::Call(*number, *call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Call =
        Call { callee: "the index", purpose: "write documents", writes: true, may_take: Duration::from_secs(3) };
    const ASK: Call =
        Call { callee: "the provider", purpose: "embed texts", writes: false, may_take: Duration::from_secs(5) };

    /// The look, counted from 1, at which something is found to hang, when a look sees these beats and calls.
    fn first(looks: u64, beats: fn(u64) -> u64, calls: fn(u64) -> Vec<(u64, Call)>) -> Option<(u64, Stall)> {
        let mut monitor = Monitor::default();
        (1..=looks).find_map(|look| monitor.look(beats(look), &calls(look)).map(|stall| (look, stall)))
    }

    #[test]
    fn what_hangs_is_told_at_its_time_and_nothing_else_is() {
        let silence = SILENCE.as_secs();
        type Case = (&'static str, fn(u64) -> u64, fn(u64) -> Vec<(u64, Call)>, Option<(u64, Stall)>);
        let cases: [Case; 8] = [
            ("at work", |look| look, |look| vec![(look, WRITE)], None),
            ("idle", |look| look, |_| vec![], None),
            ("a slow arbiter", |look| look / 29, |_| vec![], None),
            ("an arbiter that never began", |_| 0, |_| vec![], Some((silence, Stall::Arbiter))),
            ("an arbiter that stopped at 10", |look| look.min(10), |_| vec![], Some((silence + 10, Stall::Arbiter))),
            ("one call for ever", |look| look, |look| vec![(look, ASK), (0, WRITE)], Some((4, Stall::Call(0, WRITE)))),
            ("its time is its own", |look| look, |_| vec![(0, ASK)], Some((6, Stall::Call(0, ASK)))),
            ("tries with pauses between", |look| look, |look| vec![(look / 3, WRITE); usize::from(look % 3 > 0)], None),
        ];
        for (what, beats, calls, expected) in cases {
            assert_eq!(first(100, beats, calls), expected, "{what}");
        }
    }

    #[test]
    fn a_call_is_under_way_until_it_is_dropped_and_none_begins_after_the_close() {
        let underway = Arc::<Underway>::default();
        let (write, ask) = (underway.begin(WRITE), underway.begin(ASK));
        let calls: Vec<Call> = underway.calls().into_iter().map(|(_, call)| call).collect();
        assert_eq!(calls, [WRITE, ASK]);
        drop(write);
        underway.close();
        assert!(underway.begin(WRITE).is_none());
        assert_eq!(underway.calls().len(), 1, "what was under way still is");
        drop(ask);
        assert!(underway.calls().is_empty());
    }

    #[test]
    fn what_hangs_is_named() {
        assert_eq!(
            Stall::Call(0, WRITE).to_string(),
            "the index hangs: a call to write documents has not ended within 3 s"
        );
        assert!(Stall::Arbiter.to_string().contains("the thread of the actors hangs: for 30 s"));
    }
}
