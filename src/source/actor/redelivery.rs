//! What comes back lost is delivered again: together with others, then alone, and at last not at all.

use std::time::Duration;

use actix::prelude::*;

use super::Ingestor;
use super::errand::map;
use crate::actor::backoff::Backoff;
use crate::dedup::Incoming;
use crate::delivery::Receipt;
use crate::document::mapping::Mapped;
use crate::telemetry::Outcome;

/// After so many losses a delivery travels alone, so that it cannot harm its neighbours.
pub const LOSSES_UNTIL_ALONE: u32 = 3;
/// After so many losses a delivery is dead-lettered: it crashes whatever touches it.
pub const LOSSES_UNTIL_DEAD: u32 = 5;
const REDELIVERY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

impl Ingestor {
    pub(super) fn lose(&mut self, number: u64, lost: &mut Vec<u64>) {
        if self.state.closed {
            return;
        }
        let Some(losses) = self.state.window.lose(number) else { return };
        let operation =
            self.state.window.get(number).and_then(|delivery| delivery.change).map(|(operation, _)| operation);
        self.wiring.metrics.events.of(operation, Outcome::Redelivered).inc();
        match losses {
            LOSSES_UNTIL_DEAD.. => self.condemn(
                number,
                &format!(
                    "processing it failed {losses} times, the last times alone: it crashes a stage of the pipeline"
                ),
            ),
            _ => lost.push(number),
        }
    }

    pub(super) fn redeliver_later(&mut self, lost: Vec<u64>, ctx: &mut Context<Self>) {
        if lost.is_empty() {
            return;
        }
        self.state.pausing += lost.len();
        let losses =
            lost.iter().filter_map(|number| self.state.window.get(*number)).map(|delivery| delivery.losses).max();
        tracing::warn!(source = %self.wiring.name, events = lost.len(), "events were lost on their way; delivering them again");
        ctx.run_later(REDELIVERY.delay(losses.unwrap_or(1), fastrand::f64()), move |ingestor, ctx| {
            ingestor.state.pausing -= lost.len();
            let losses = |number: &u64| ingestor.state.window.get(*number).map_or(0, |delivery| delivery.losses);
            let (suspects, others): (Vec<_>, Vec<_>) =
                lost.iter().partition(|number| losses(number) >= LOSSES_UNTIL_ALONE);
            ingestor.state.suspects.extend(suspects);
            ingestor.redeliver(&others, ctx);
            ingestor.drive(ctx);
        });
    }

    pub(super) fn redeliver(&mut self, numbers: &[u64], ctx: &mut Context<Self>) {
        let verdicts = self.verdicts(ctx);
        let mut changes = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(delivery) = self.state.window.get(*number) else { continue };
            let refresh = delivery.record.refresh;
            // It was mapped before, so it maps again.
            if let Ok(Mapped::Change(change)) = map(&self.wiring.mapper, &delivery.record) {
                changes.push(Incoming { change, receipt: Receipt::new(*number, verdicts.clone()), refresh });
            }
        }
        self.send(changes, ctx);
    }

    /// Sends the next suspect, once nothing else of this source is on its way.
    pub(super) fn send_suspect(&mut self, ctx: &mut Context<Self>) {
        let state = &mut self.state;
        let elsewhere = state.suspects.len() + state.condemned.len();
        if state.alone.is_some()
            || state.closed
            || state.sending
            || state.pausing > 0
            || state.window.open() > elsewhere
        {
            return;
        }
        if let Some(suspect) = state.suspects.pop_front() {
            state.alone = Some(suspect);
            self.redeliver(&[suspect], ctx);
        }
    }
}
