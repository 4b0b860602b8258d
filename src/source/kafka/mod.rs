//! Topics of Apache Kafka.
//!
//! A thread of its own polls the client, so that the group never puts it out, whatever the pipeline waits for. It hands over at most
//! what `handover` holds. Each partition is read from its position in the ledger; the group's offsets follow the ledger, for
//! other programs to see.

mod client;
mod commit;
pub mod connect;
mod context;
mod dead_letters;
mod handover;
mod offsets;
mod record;
pub mod settings;
mod start;
mod state;
mod subscription;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::actor::FAILURES_UNTIL_END;
use super::clients::Clients;
use super::{IDLE_WAIT, OnBury, OnCommit, Position, Read, Room, Source, SourceError};
use crate::settings::source::KafkaSettings;
use crate::telemetry::Metrics;

pub use record::Attributes;

use dead_letters::DeadLetterTopic;
use handover::Handover;
use state::{Shared, State};
use subscription::Subscription;

/// How long something must be wrong before a read fails: a broker that restarts is no end of a source.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long part of the source may stay unreadable, with nothing coming from the rest, before a read reports its end: as long as a source
/// of which every read fails.
const PATIENCE_WITH_A_PART: Duration = PATIENCE.saturating_mul(FAILURES_UNTIL_END);

/// What a source of Kafka needs beside its settings.
#[derive(Clone)]
pub struct Desk {
    /// The source's name in the configuration.
    pub name: Arc<str>,
    /// Which names with `$` the configuration uses.
    pub attributes: Attributes,
    /// Shows the lag of each partition.
    pub metrics: Arc<Metrics>,
    /// Where the threads of its clients are counted.
    pub clients: Clients,
}

/// Reads topics; see the module.
pub struct KafkaSource {
    settings: KafkaSettings,
    desk: Desk,
    shared: Arc<Shared>,
    running: bool,
    dead_letters: Option<Arc<DeadLetterTopic>>,
    /// Since when something is wrong and nothing comes.
    wrong_since: Option<Instant>,
    /// What was wrong, and what was worth knowing, at the last read or watch.
    trouble: Option<String>,
    remark: Option<String>,
}

impl KafkaSource {
    /// A source with these settings.
    pub fn new(settings: &KafkaSettings, desk: &Desk) -> Self {
        let dead_letters = settings.dead_letter_topic.as_ref().map(|topic| {
            let (source, clients) = (desk.name.clone(), desk.clients.clone());
            Arc::new(DeadLetterTopic::new(settings.clone(), topic.clone(), source, clients))
        });
        let shared = Shared {
            name: desk.name.clone(),
            start: settings.start,
            subscription: Subscription::new(&settings.topics),
            handover: Handover::default(),
            state: Mutex::new(State::default()),
            rebalances: AtomicU64::default(),
            metrics: desk.metrics.clone(),
        };
        Self {
            settings: settings.clone(),
            desk: desk.clone(),
            shared: Arc::new(shared),
            running: false,
            dead_letters,
            wrong_since: None,
            trouble: None,
            remark: None,
        }
    }

    fn run(&mut self) -> Result<(), SourceError> {
        self.shared.state().begin();
        let (settings, attributes) = (self.settings.clone(), self.desk.attributes.clone());
        client::start(settings, attributes, self.shared.clone(), self.desk.clients.enter())
            .map_err(|error| SourceError(format!("no thread could be started: {error}")))?;
        self.running = true;
        Ok(())
    }

    async fn next(&mut self, room: Room) -> Result<Read, SourceError> {
        if !self.running {
            self.run()?;
        }
        let until = Instant::now() + IDLE_WAIT;
        let read = loop {
            let read = self.shared.handover.take(room);
            // Whether news came in time is seen by the next turn.
            if read.is_some() || timeout_at(until, self.shared.handover.news.notified()).await.is_err() {
                break read;
            }
        };
        let shared = self.shared.clone();
        let state = shared.state();
        self.listen(&state);
        let wrong_since = self.wrong_since.take();
        if let Some(read) = read {
            return Ok(read);
        }
        if let Some(reason) = &state.ended {
            self.running = false;
            return Err(SourceError(reason.clone()));
        }
        let Some(reason) = state.trouble() else {
            return Ok(if state.is_done() { Read::Idle } else { Read::Waiting });
        };
        let since = wrong_since.unwrap_or_else(Instant::now);
        if !state.reads_on() && since.elapsed() >= PATIENCE {
            return Err(SourceError(reason.clone()));
        }
        self.wrong_since = Some(since);
        let is_end = state.reads_on() && since.elapsed() >= PATIENCE_WITH_A_PART;
        Ok(if is_end { Read::Idle } else { Read::Waiting })
    }

    fn listen(&mut self, state: &State) {
        (self.trouble, self.remark) = (state.trouble().cloned(), state.remark.clone());
    }
}

impl Source for KafkaSource {
    fn open(&mut self, committed: Vec<Position>) -> BoxFuture<'_, Result<(), SourceError>> {
        let mut state = self.shared.state();
        for position in committed {
            state.offsets.settle(&position.partition.name, position.offset.cast_signed());
        }
        drop(state);
        async { self.run() }.boxed()
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        self.next(room).boxed()
    }

    /// What the client says meanwhile is to be shown.
    fn watch(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        let shared = self.shared.clone();
        self.listen(&shared.state());
        async { Ok(()) }.boxed()
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn remark(&self) -> Option<String> {
        self.remark.clone()
    }

    fn on_commit(&self) -> Option<OnCommit> {
        let shared = self.shared.clone();
        Some(Arc::new(move |positions: &[Position]| {
            let mut state = shared.state();
            for position in positions {
                state.offsets.settle(&position.partition.name, position.offset.cast_signed());
            }
        }))
    }

    fn on_bury(&self) -> Option<OnBury> {
        let topic = self.dead_letters.clone()?;
        Some(Arc::new(move |letters| {
            let topic = topic.clone();
            async move { topic.copy(letters).await }.boxed()
        }))
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.handover.wake();
    }
}
