//! One set of actors on an arbiter of its own, so that it can be dropped as a whole: its state, its tasks, its mailboxes.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};

use super::Resources;
use super::build::{NamedSource, build};
use crate::source::actor::{Rest, StopReading};

/// See the module.
pub struct Generation {
    arbiter: Arbiter,
    stop: Vec<Recipient<StopReading>>,
    rests: Vec<watch::Receiver<Rest>>,
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
        Ok(Self { arbiter, stop: sources.stop, rests: sources.rests, failures })
    }

    /// Waits until no source has anything left to do: nothing to read, and everything settled and committed. Answers what is
    /// wrong with the sources that could not be read to their end.
    pub fn rest(&self) -> impl Future<Output = Vec<String>> + use<> {
        let mut sources = self.rests.clone();
        async move {
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
    }

    /// Waits until an actor is given up, and says why.
    pub async fn failure(&mut self) -> String {
        match self.failures.recv().await {
            Some(reason) => reason,
            None => "the actors ended by themselves".to_owned(),
        }
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
}
