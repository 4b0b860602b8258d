//! Reading: one read after another while there is room, a call of [`Source::watch`] now and then while there is none, and a pause after a
//! failure.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::Ingestor;
use super::errand::{Errand, Found};
use super::feed::Feed;
use super::understanding::Said;
use crate::actor::backoff::Backoff;
use crate::source::{Position, Record, Room, Source, SourceError};

/// The most that is read at once, and sent as one message: enough to share the cost of a message, little enough to keep the stages busy
/// side by side. What is delivered again goes by the number of records alone.
pub(super) const READ: Room = Room { records: 1024, bytes: 1024 * 1024 };
/// How often a source that is not read is watched.
const WATCH_EVERY: Duration = Duration::from_secs(1);
const READ_RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// The source, and what its reads said.
pub(super) struct Reading {
    /// `None` while it is away: it does one thing at a time, and after a failure it is left alone for a while.
    pub(super) feed: Option<Feed>,
    /// Why it could not be read the last times.
    pub(super) failing: Option<Failing>,
    /// See [`Source::trouble`].
    pub(super) trouble: Option<String>,
    /// See [`Source::remaining_bytes`].
    pub(super) remaining: Option<u64>,
    pub(super) end: End,
    /// Read and not yet admitted.
    records: Vec<(Record, Said)>,
    /// Committed and not told to the source yet, or being told just now.
    pub(super) untold: Vec<Position>,
    /// Whether [`Source::watch`] is to be called, unless the source is being read then.
    is_watch_set: bool,
}

/// Reads that failed, one after the other.
pub(super) struct Failing {
    pub(super) times: u32,
    pub(super) reason: String,
}

/// What the last read said about what is left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Reading,
    Idle,
    Finished,
}

impl Reading {
    pub(super) fn of(source: Box<dyn Source>) -> Self {
        Self {
            feed: Some(Feed::of(source)),
            failing: None,
            trouble: None,
            remaining: None,
            end: End::Reading,
            records: Vec::new(),
            untold: Vec::new(),
            is_watch_set: false,
        }
    }

    /// Whether the source knows all that was committed.
    pub(super) fn is_told(&self) -> bool {
        self.untold.is_empty()
    }
}

impl Ingestor {
    /// Whether the source is here, open, and to be read again.
    fn reads_on(&self) -> bool {
        let state = &self.state;
        let is_open = state.reading.feed.as_ref().is_some_and(|feed| feed.opened);
        is_open && !state.stopping && !state.closed && state.reading.end != End::Finished
    }

    /// Has the source watched while it is not read.
    pub(super) fn watch(&mut self, ctx: &mut Context<Self>) {
        if self.state.reading.is_watch_set || !self.reads_on() {
            return;
        }
        self.state.reading.is_watch_set = true;
        ctx.run_later(WATCH_EVERY, |ingestor, ctx| {
            ingestor.state.reading.is_watch_set = false;
            if ingestor.reads_on() {
                ingestor.send_source(ctx, async |feed: &mut Feed| feed.source.watch().await, |_, ()| {});
            }
        });
    }

    /// Has the source read, while there is room for what it gives.
    pub(super) fn read(&mut self, ctx: &mut Context<Self>) {
        let state = &mut self.state;
        let is_over = state.stopping || state.closed || state.reading.end == End::Finished;
        // What was read is admitted first: a further read would overwrite it, and one that says `Revoked` would be acted on before the
        // records that it revokes.
        let is_held_up = state.isolation.has_suspects() || !state.reading.records.is_empty();
        if is_over || state.sending || is_held_up {
            return;
        }
        let Some(room) = state.window.room() else { return };
        let errand = Errand {
            room: Room { records: room.records.min(READ.records), bytes: room.bytes.min(READ.bytes) },
            name: self.wiring.name.clone(),
            ledger: self.wiring.ledger.clone(),
            mapper: self.wiring.mapper.clone(),
        };
        self.send_source(ctx, async move |feed: &mut Feed| errand.run(feed).await, Self::found);
    }

    /// Admits what was read, unless a suspect is on its way: a read that was out already when the suspicion arose would give it company.
    /// While suspects only wait it is let through: that it gets through may be what shows them guilty.
    pub(super) fn take_in(&mut self, ctx: &mut Context<Self>) {
        let state = &mut self.state;
        if state.stopping || state.isolation.keeps_others_back() {
            return;
        }
        let records = std::mem::take(&mut state.reading.records);
        self.admit(records, ctx);
    }

    /// Takes note of what a read gave; records are taken in by the next step.
    fn found(&mut self, found: Found) {
        let state = &mut self.state;
        // What was read is not admitted: it is not committed either, and will be read again.
        if state.stopping {
            return;
        }
        let reading = &mut state.reading;
        // It may be waiting for the very thing it failed for.
        if !matches!(found, Found::Waiting) {
            reading.failing = None;
        }
        reading.end = match found {
            Found::Records(_) | Found::Positions(_) | Found::Revoked(_) | Found::Waiting => End::Reading,
            Found::Idle => End::Idle,
            Found::Finished => End::Finished,
        };
        match found {
            Found::Records(records) => reading.records = records,
            Found::Positions(positions) => {
                let now = Instant::now();
                positions.into_iter().for_each(|position| state.window.note(position, now));
            }
            Found::Revoked(partitions) => self.let_go(&partitions),
            Found::Waiting | Found::Idle | Found::Finished => {}
        }
    }

    /// Sends the source on an errand, unless it is away. It always comes back: at once, when `back` is given what it found, or after a
    /// pause when the errand failed.
    pub(super) fn send_source<T: 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        errand: impl AsyncFnOnce(&mut Feed) -> Result<T, SourceError> + 'static,
        back: impl FnOnce(&mut Self, T) + 'static,
    ) {
        let reading = &mut self.state.reading;
        let Some(mut feed) = reading.feed.take() else { return };
        feed.untold.clone_from(&reading.untold);
        let away = async move {
            let found = errand(&mut feed).await;
            (feed, found)
        };
        ctx.spawn(away.into_actor(self).map(|(mut feed, found), ingestor, ctx| {
            ingestor.hear(&feed);
            let state = &mut ingestor.state;
            state.reading.untold.drain(..std::mem::take(&mut feed.told));
            match found {
                Ok(found) => {
                    state.reading.feed = Some(feed);
                    back(ingestor, found);
                }
                Err(_) if state.stopping => state.reading.feed = Some(feed),
                Err(error) => ingestor.pause_reading(feed, &error, ctx),
            }
            ingestor.drive(ctx);
        }));
    }

    /// Asks the source what it has to say, and shows it.
    fn hear(&mut self, feed: &Feed) {
        let trouble = feed.source.trouble();
        self.wiring.board.remark(trouble.clone().or_else(|| feed.source.remark()));
        self.state.reading.trouble = trouble;
        self.state.reading.remaining = feed.source.remaining_bytes().filter(|_| feed.opened);
    }

    /// Has the source read again after a while.
    fn pause_reading(&mut self, feed: Feed, error: &SourceError, ctx: &mut Context<Self>) {
        let reading = &mut self.state.reading;
        let times = reading.failing.as_ref().map_or(0, |failing| failing.times) + 1;
        if times == 1 {
            tracing::warn!(source = %self.wiring.name, %error, "source cannot be read; trying again");
        }
        reading.failing = Some(Failing { times, reason: format!("source {}: {error}", self.wiring.name) });
        self.wiring.board.failing(&error.to_string());
        ctx.run_later(READ_RETRY.delay(times, fastrand::f64()), move |ingestor, ctx| {
            ingestor.state.reading.feed = Some(feed);
            ingestor.drive(ctx);
        });
    }
}
