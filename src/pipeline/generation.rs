//! One set of actors on an arbiter of its own, so that it can be dropped as a whole: its state, its tasks, its mailboxes.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};

use super::Resources;
use super::build::{NamedSource, build};
use crate::source::actor::StopReading;

/// See the module.
pub struct Generation {
    arbiter: Arbiter,
    stop: Vec<Recipient<StopReading>>,
    quiet: Vec<watch::Receiver<bool>>,
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
        Ok(Self { arbiter, stop: sources.stop, quiet: sources.quiet, failures })
    }

    /// Waits until no source has anything left to do: nothing to read, and everything settled and committed.
    pub fn quiet(&self) -> impl Future<Output = ()> + use<> {
        let mut sources = self.quiet.clone();
        async move {
            loop {
                for quiet in &mut sources {
                    if quiet.wait_for(|quiet| *quiet).await.is_err() {
                        // Its ingestor is gone for good: only a failure can end the generation now.
                        return std::future::pending().await;
                    }
                }
                if sources.iter().all(|quiet| *quiet.borrow()) {
                    return;
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
