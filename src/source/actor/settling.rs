//! Settling: positions are committed behind all that is done, and the source is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::Ingestor;
use super::feed::Feed;
use super::reading::End;
use crate::ledger::patience::patiently;
use crate::source::{OnCommit, Position};
use crate::telemetry::Outcome;

/// How often settled positions are committed while more is on its way.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

/// The commits of positions, one after the other.
pub(super) struct Commits {
    is_under_way: bool,
    last: Option<Instant>,
    /// Whether the next one is due at a time that is set.
    is_alarm_set: bool,
    on_commit: Option<OnCommit>,
}

impl Commits {
    pub(super) fn new(on_commit: Option<OnCommit>) -> Self {
        Self { is_under_way: false, last: None, is_alarm_set: false, on_commit }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// How long the next one is to wait while more is on its way.
    fn wait(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |at| COMMIT_EVERY.saturating_sub(at.elapsed()))
    }
}

impl Ingestor {
    /// Settles a delivery, and counts what came of it.
    pub(super) fn settle(&mut self, number: u64, outcome: Outcome) {
        let Some(delivery) = self.state.window.get(number) else { return };
        let (change, since, losses) = (delivery.change, delivery.since, delivery.losses);
        self.wiring.metrics.events.of(change.map(|(operation, _)| operation), outcome).inc();
        if matches!(outcome, Outcome::Indexed | Outcome::Stored) {
            self.wiring.through.fetch_add(1, Ordering::Relaxed);
        }
        if outcome == Outcome::Indexed {
            let event = change.and_then(|(_, version)| version.time()).filter(|_| self.wiring.version_is_time);
            // An event whose clock is ahead of this one is no older than nothing.
            let age = event.map_or_else(|| since.elapsed(), |at| at.elapsed().unwrap_or_default());
            self.wiring.metrics.freshness.observe(age.as_secs_f64());
        }
        self.state.window.settle(number);
        self.end_suspicion(losses);
    }

    /// Commits what is settled without a gap.
    pub(super) fn commit(&mut self, ctx: &mut Context<Self>) {
        let (window, commits) = (&mut self.state.window, &mut self.state.commits);
        if commits.is_under_way || !window.has_settled() {
            return;
        }
        let wait = commits.wait();
        if window.open() > 0 && !wait.is_zero() {
            if !commits.is_alarm_set {
                commits.is_alarm_set = true;
                ctx.run_later(wait, |ingestor, ctx| {
                    ingestor.state.commits.is_alarm_set = false;
                    ingestor.drive(ctx);
                });
            }
            return;
        }
        commits.is_under_way = true;
        fault_point!("before the commit");
        let positions: Arc<[Position]> = window.take_settled().into();
        let written = positions.clone();
        let (ledger, name) = (self.wiring.ledger.clone(), self.wiring.name.clone());
        let commit = async move { patiently(&ledger, move |ledger| ledger.commit_positions(&name, &written)).await };
        ctx.spawn(commit.into_actor(self).map(move |(), ingestor, ctx| {
            fault_point!("committed");
            ingestor.wiring.commits.fetch_add(1, Ordering::Relaxed);
            let commits = &mut ingestor.state.commits;
            (commits.is_under_way, commits.last) = (false, Some(Instant::now()));
            if let Some(on_commit) = &commits.on_commit {
                on_commit(&positions);
            }
            ingestor.state.reading.untold.extend(positions.iter().cloned());
            ingestor.drive(ctx);
        }));
    }

    /// Tells a source that is no longer read what was committed; one that is read is told with its next read.
    pub(super) fn tell_source(&mut self, ctx: &mut Context<Self>) {
        let (reading, stopping) = (&self.state.reading, self.state.stopping);
        let reads_on = !stopping && reading.end != End::Finished;
        if reads_on || reading.is_told() {
            return;
        }
        let tell = async move |feed: &mut Feed| match feed.tell().await {
            // One that stops finds out after the next start.
            Err(_) if stopping => {
                feed.told = feed.untold.len();
                Ok(())
            }
            told => told,
        };
        self.send_source(ctx, tell, |ingestor, ()| ingestor.state.reading.failing = None);
    }
}
