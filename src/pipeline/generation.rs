//! One set of actors on an arbiter of its own, so that it can be dropped as a whole: its state, its tasks, its mailboxes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};

use super::Resources;
use super::build::{NamedSource, build};
use crate::source::actor::{Rest, StopReading};

/// How long the end of a generation waits for its blocking work. A thread that waits for standard input never ends.
const ENDING: Duration = Duration::from_secs(10);

/// See the module.
pub struct Generation {
    arbiter: Arbiter,
    stop: Vec<Recipient<StopReading>>,
    rests: Vec<watch::Receiver<Rest>>,
    commits: Arc<AtomicU64>,
    failures: mpsc::UnboundedReceiver<String>,
}

impl Generation {
    /// Starts the actors, on a thread of their own.
    pub async fn start(resources: &Arc<Resources>, sources: Vec<NamedSource>) -> Result<Self, String> {
        let arbiter = Arbiter::new();
        let (failed, failures) = mpsc::unbounded_channel();
        let (started, start) = oneshot::channel();
        let resources = resources.clone();
        arbiter.spawn_fn(move || {
            // The receiver waits below for as long as this runs.
            let _ = started.send(build(&resources, sources, failed));
        });
        let sources = start.await.map_err(|_| "the actors could not be started".to_owned())?;
        Ok(Self { arbiter, stop: sources.stop, rests: sources.rests, commits: sources.commits, failures })
    }

    /// Waits until no source has anything left to do: nothing to read, and everything settled and committed. Answers what is
    /// wrong with the sources that could not be read to their end.
    pub fn rest(&self) -> impl Future<Output = Vec<String>> + use<> {
        at_rest(self.rests.clone())
    }

    /// Waits until an actor is given up, and says why.
    pub async fn failure(&mut self) -> String {
        match self.failures.recv().await {
            Some(reason) => reason,
            None => "the actors ended by themselves".to_owned(),
        }
    }

    /// Whether it committed any position.
    pub fn was_fruitful(&self) -> bool {
        self.commits.load(Ordering::Relaxed) > 0
    }

    /// Tells every source to stop reading. What was read goes on.
    pub fn stop_reading(&self) {
        // One message each: bounded.
        self.stop.iter().for_each(|stop| stop.do_send(StopReading));
    }

    /// Ends every actor at once. What was not settled will be delivered again by the next generation or the next start.
    pub fn end(self) {
        self.arbiter.stop();
    }

    /// Ends every actor and waits until nothing of the generation runs any more: a write that is still under way would else take
    /// back what the next generation writes.
    pub async fn end_wholly(self) {
        self.arbiter.stop();
        let arbiter = self.arbiter;
        let ended = tokio::task::spawn_blocking(move || arbiter.join());
        if tokio::time::timeout(ENDING, ended).await.is_err() {
            tracing::warn!(
                waited_seconds = ENDING.as_secs(),
                "the actors that failed have not ended; going on without waiting"
            );
        }
    }
}

/// See [`Generation::rest`].
pub(super) async fn at_rest(mut sources: Vec<watch::Receiver<Rest>>) -> Vec<String> {
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
