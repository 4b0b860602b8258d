//! One set of actors on an arbiter of its own, so that it ends as a whole: its state, its tasks, its mailboxes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc as blocking_mpsc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};

use super::build::{Controls, WINDOW, build};
use super::monitor::{Monitoring, monitor};
use super::{NamedSource, Resources};
use crate::actor::GiveUp;
use crate::actor::pulse::{Call, Pulse, Stall, Underway};
use crate::source::actor::Rest;

/// How long the end of a generation waits for its threads. One that is blocked reading standard input never ends.
const ENDING: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// See the module. Dropped, it ends every actor at once: what was not settled will be delivered again by the next generation or the next
/// start.
pub struct Generation {
    arbiter: Arbiter,
    _stops: Stops,
    controls: Controls,
    failures: mpsc::UnboundedReceiver<Failure>,
    pulse: Arc<Pulse>,
    ledger: Arc<Underway>,
    _monitoring: Monitoring,
}

/// Why a generation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// An actor was given up, for this reason.
    GaveUp(String),
    /// Something hangs.
    Stalled(Stall),
}

impl Failure {
    /// The number of the call that hangs, if one does.
    fn hung_call(&self) -> Option<u64> {
        match self {
            Self::Stalled(Stall::Call(number, _)) => Some(*number),
            Self::Stalled(Stall::Arbiter) | Self::GaveUp(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GaveUp(reason) => f.write_str(reason),
            Self::Stalled(stall) => stall.fmt(f),
        }
    }
}

/// Ends the arbiter when it is dropped, which an [`Arbiter`] itself does not, and lets no call begin meanwhile.
struct Stops(ArbiterHandle, Arc<Underway>);

impl Drop for Stops {
    fn drop(&mut self) {
        self.1.close();
        // False when it has ended before.
        self.0.stop();
    }
}

impl Generation {
    /// Starts the actors, on a thread of their own, and looks after them every so often from another.
    pub async fn start(
        resources: &Arc<Resources>,
        sources: Vec<NamedSource>,
        look_every: Duration,
    ) -> Result<Self, String> {
        let (pulse, ledger) = (Arc::<Pulse>::default(), resources.ledger.underway().clone());
        let (failed, failures) = mpsc::unbounded_channel();
        // Nobody listens when the generation is ending anyway.
        let fail = move |failure| drop(failed.send(failure));
        let give_up: GiveUp = {
            let fail = fail.clone();
            Arc::new(move |reason| fail(Failure::GaveUp(reason)))
        };
        let stalled = move |stall| fail(Failure::Stalled(stall));
        // First: actors that nobody looks after must not begin.
        let monitoring = monitor(pulse.clone(), ledger.clone(), look_every, stalled);
        let _monitoring = monitoring.map_err(|error| format!("no thread could be started: {error}"))?;
        let arbiter = Arbiter::new();
        let _stops = Stops(arbiter.handle(), pulse.underway.clone());
        let (started, start) = oneshot::channel();
        let (resources, beating) = (resources.clone(), pulse.clone());
        arbiter.spawn_fn(move || {
            actix::spawn(beating.clone().beat(look_every));
            // The receiver waits below for as long as this runs.
            let _ = started.send(build(WINDOW, &resources, sources, &beating, give_up));
        });
        let controls =
            start.await.map_err(|_| "the actors could not be started: the panic before this says why".to_owned())?;
        Ok(Self { arbiter, _stops, controls, failures, pulse, ledger, _monitoring })
    }

    /// Waits until no source has anything left to do: nothing to read, and everything settled and committed. Answers what is
    /// wrong with the sources that could not be read to their end.
    pub fn rest(&self) -> impl Future<Output = Vec<String>> + use<> {
        at_rest(self.controls.rests.clone())
    }

    /// Waits until an actor is given up or something hangs.
    pub async fn failure(&mut self) -> Failure {
        let gone = || Failure::GaveUp("the actors ended by themselves".to_owned());
        self.failures.recv().await.unwrap_or_else(gone)
    }

    /// Whether it committed any position.
    pub fn was_fruitful(&self) -> bool {
        self.controls.commits.load(Ordering::Relaxed) > 0
    }

    /// See [`Controls::stop_reading`].
    pub fn stop_reading(&self) {
        self.controls.stop_reading();
    }

    /// Ends every actor and waits until nothing of the generation runs any more: a write that is still under way would else take
    /// back what the next generation writes. A thread that hangs cannot be ended: it is left behind, unless it holds such a write.
    ///
    /// # Errors
    /// That write, which may yet change what the next generation writes.
    pub async fn end_wholly(self, failure: &Failure) -> Result<(), Call> {
        self.pulse.underway.close();
        // On a thread that hangs no call ends, however long it is waited for.
        if *failure != Failure::Stalled(Stall::Arbiter) {
            let_calls_end(&self.pulse.underway, failure.hung_call()).await;
        }
        // What is dropped with its actor may go on all the same: it counts as begun.
        let (of_actors, of_ledger) = (self.pulse.underway.calls(), self.ledger.calls());
        self.arbiter.stop();
        if ends(self.arbiter).await {
            return Ok(());
        }
        // Of the ledger, what it has not ended in all that time.
        let still = self.ledger.calls();
        let of_ledger = of_ledger.into_iter().filter(|call| still.contains(call));
        match of_actors.into_iter().chain(of_ledger).find(|(_, call)| call.writes) {
            Some((_, call)) => Err(call),
            None => {
                tracing::warn!(
                    waited_seconds = ENDING.as_secs(),
                    "a thread of the actors that failed does not end and cannot be ended; it is left behind"
                );
                Ok(())
            }
        }
    }
}

/// Waits for the calls under way, but for one that `hung`, as long as the slowest of them may take. Dropped on its way, a write to another
/// system may be done there after those of the next generation, and a call to the provider is paid for without its vectors.
async fn let_calls_end(underway: &Underway, hung: Option<u64>) {
    let awaited = |(number, _): &(u64, Call)| Some(*number) != hung;
    let longest = underway.calls().into_iter().filter(awaited).map(|(_, call)| call.may_take).max();
    let _ = tokio::time::timeout(longest.unwrap_or_default(), underway.ended(awaited)).await;
}

/// Whether the thread of an arbiter that was told to stop ends in time.
async fn ends(arbiter: Arbiter) -> bool {
    // Measured on a thread, by the real clock: under a virtual one no time passes while only a thread is waited for, and a timeout would
    // be over at once.
    let ended = tokio::task::spawn_blocking(move || {
        let (joined, ended) = blocking_mpsc::channel();
        // Joined on another, which belongs to no runtime: a thread that never ends would keep the runtime from ending.
        std::thread::spawn(move || {
            // A thread that panicked has ended as well; and nobody listens when it took too long.
            let _ = arbiter.join();
            let _ = joined.send(());
        });
        ended.recv_timeout(ENDING).is_ok()
    });
    ended.await.unwrap_or(false)
}

/// As [`Generation::rest`], for what [`Controls::rests`] of actors on this thread tell.
pub async fn at_rest(mut sources: Vec<watch::Receiver<Rest>>) -> Vec<String> {
    loop {
        for rest in &mut sources {
            if rest.wait_for(|rest| *rest != Rest::Busy).await.is_err() {
                // Its ingestor is gone for good: only a failure can end the generation now.
                return std::future::pending().await;
            }
        }
        let rests: Vec<Rest> = sources.iter().map(|rest| rest.borrow().clone()).collect();
        if !rests.contains(&Rest::Busy) {
            let failing = rests.into_iter().filter_map(|rest| match rest {
                Rest::Failing(reason) => Some(reason),
                Rest::Busy | Rest::Quiet => None,
            });
            return failing.collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::actor::pulse;
    use crate::document::fingerprint::Fingerprinter;
    use crate::embed::Provider;
    use crate::testkit::fakes::{self, FakeProvider, Script};

    /// After each of these the arbiter still runs.
    fn failures() -> [Failure; 2] {
        let hangs = Call { callee: "the test", purpose: "hang", writes: false, may_take: pulse::CALL_MAY_TAKE };
        [Failure::GaveUp("the test wants it".to_owned()), Failure::Stalled(Stall::Call(u64::MAX, hangs))]
    }

    /// Starts a generation and waits until one of these calls has begun.
    async fn with_begun(resources: &Arc<Resources>, call: fn(&Call) -> bool) -> Generation {
        let script = Script::new([r#"{"op":"put","id":"a","v":1,"text":"text a"}"#]);
        let sources = vec![NamedSource { name: "script".into(), make: script.make() }];
        let generation = Generation::start(resources, sources, pulse::EVERY).await.unwrap();
        while !generation.pulse.underway.calls().iter().any(|(_, begun)| call(begun)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        generation
    }

    #[test]
    fn a_source_that_turned_busy_while_another_was_waited_for_is_waited_for_too() {
        let ((one, first), (other, second)) = (watch::channel(Rest::Quiet), watch::channel(Rest::Busy));
        let mut rest = Box::pin(at_rest(vec![first, second]));
        assert_eq!(rest.as_mut().now_or_never(), None);
        one.send_replace(Rest::Busy);
        other.send_replace(Rest::Quiet);
        assert_eq!(rest.as_mut().now_or_never(), None, "it waits for the second, and then for the first again");
        one.send_replace(Rest::Failing("it is broken".to_owned()));
        assert_eq!(rest.now_or_never(), Some(vec!["it is broken".to_owned()]));
    }

    #[actix::test]
    async fn a_call_that_was_begun_is_not_paid_for_again_by_the_next_generation() {
        for failure in failures() {
            let folder = tempfile::tempdir().unwrap();
            let provider = Arc::new(FakeProvider::default());
            let (resources, _index) = fakes::resources(folder.path(), provider.clone()).await;
            provider.block();
            let generation = with_begun(&resources, |call| !call.writes).await;
            let (ended, ()) = tokio::join!(generation.end_wholly(&failure), async { provider.unblock() });
            assert_eq!(ended, Ok(()));
            let fingerprint = Fingerprinter::new(&provider.space().key()).of("text a");
            assert!(resources.cache.get(&fingerprint).is_some(), "{failure}");
        }
    }

    #[actix::test]
    async fn a_write_that_was_begun_ends_before_its_generation_does() {
        for failure in failures() {
            let folder = tempfile::tempdir().unwrap();
            let (resources, index) = fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
            index.block();
            let generation = with_begun(&resources, |call| call.writes).await;
            // It may take longer than threads are waited for.
            let late = async {
                tokio::time::sleep(2 * ENDING).await;
                index.unblock();
            };
            let (ended, ()) = tokio::join!(generation.end_wholly(&failure), late);
            assert_eq!((ended, index.writes()), (Ok(()), vec![vec!["a".to_owned()]]), "{failure}");
        }
    }
}
