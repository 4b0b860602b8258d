//! Settling: positions are committed behind all that is done, and the source is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::Ingestor;
use super::reading::End;
use super::whereabouts::{Out, Whereabouts};
use crate::ledger::patience::patiently;
use crate::source::Position;
use crate::telemetry::Outcome;

/// How often settled positions are committed while more is on its way.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

impl Ingestor {
    pub(super) fn settle(&mut self, number: u64, outcome: Outcome) {
        let Some(delivery) = self.state.window.get(number) else { return };
        let (change, since, losses) = (delivery.change, delivery.since, delivery.losses);
        self.wiring.metrics.events.of(change.map(|(operation, _)| operation), outcome).inc();
        if matches!(outcome, Outcome::Indexed | Outcome::Stored) {
            self.wiring.through.fetch_add(1, Ordering::Relaxed);
        }
        if outcome == Outcome::Indexed {
            let event = change.and_then(|(_, version)| version.time()).filter(|_| self.wiring.version_is_time);
            let age = event.map_or_else(|| since.elapsed(), |at| at.elapsed().unwrap_or_default());
            self.wiring.metrics.fresh_after(age);
        }
        self.state.window.settle(number);
        self.clear(losses);
    }

    pub(super) fn commit(&mut self, ctx: &mut Context<Self>) {
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
        fault_point!("before the commit");
        let positions: Arc<[Position]> = state.window.take_settled().into();
        let (ledger, name, written) = (self.wiring.ledger.clone(), self.wiring.name.clone(), positions.clone());
        let commit = async move { patiently(&ledger, move |ledger| ledger.commit_positions(&name, &written)).await };
        ctx.spawn(commit.into_actor(self).map(move |(), ingestor, ctx| {
            fault_point!("committed");
            ingestor.state.committing = false;
            ingestor.wiring.commits.fetch_add(1, Ordering::Relaxed);
            ingestor.state.committed_at = Some(Instant::now());
            if let Some(on_commit) = &ingestor.state.on_commit {
                on_commit(&positions);
            }
            ingestor.state.untold.extend(positions.iter().cloned());
            ingestor.drive(ctx);
        }));
    }

    /// Tells the source what was committed, once it is not to read any more: a read tells it by itself.
    pub(super) fn tell_source(&mut self, ctx: &mut Context<Self>) {
        let reads_on = !self.state.stopping && self.state.reading.end != End::Finished;
        if reads_on || self.state.untold.is_empty() {
            return;
        }
        let Some(mut source) = self.state.reading.source.send(Out::Telling) else { return };
        let untold = std::mem::take(&mut self.state.untold);
        let tell = async move {
            let told = source.committed(&untold).await;
            (source, untold, told)
        };
        ctx.spawn(tell.into_actor(self).map(|(source, untold, told), ingestor, ctx| match told {
            Err(error) if !ingestor.state.stopping => {
                ingestor.state.untold.splice(0..0, untold);
                ingestor.pause_reading(source, &error, ctx);
            }
            // One that stops finds out after the next start.
            _ => {
                ingestor.state.reading.source = Whereabouts::Here(source);
                ingestor.state.reading.failing = None;
                ingestor.drive(ctx);
            }
        }));
    }
}
