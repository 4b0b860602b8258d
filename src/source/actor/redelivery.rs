//! What comes back lost is delivered again: together with others, then alone, until it is settled or found guilty of its losses.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;

use super::Ingestor;
use super::burial::Ground;
use super::trial::{Finding, LOSSES_UNTIL_ALONE};
use super::understanding::{Said, say};
use crate::actor::backoff::Backoff;
use crate::actor::offload::on_core;
use crate::dedup::Incoming;
use crate::telemetry::Outcome;
use crate::telemetry::health::Component;

const REDELIVERY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// What is to be delivered again, after a pause for so many losses.
#[derive(Default)]
pub(super) struct Lost {
    numbers: Vec<u64>,
    losses: u32,
}

impl Ingestor {
    /// Counts a loss. What is to be delivered again joins `lost`.
    pub(super) fn lose(&mut self, number: u64, lost: &mut Lost) {
        if self.state.closed {
            return;
        }
        let Some(losses) = self.state.window.lose(number) else { return };
        let operation =
            self.state.window.get(number).and_then(|delivery| delivery.change).map(|(operation, _)| operation);
        self.wiring.metrics.events.of(operation, Outcome::Redelivered).inc();
        let through = self.wiring.through.load(Ordering::Relaxed);
        let pause = match losses {
            ..LOSSES_UNTIL_ALONE => losses,
            LOSSES_UNTIL_ALONE => {
                self.state.trial.suspect(through);
                losses
            }
            _ => match self.state.trial.lost_alone(losses, through) {
                Finding::Again(pause) => pause,
                Finding::Degraded(pause) => {
                    self.degrade(number);
                    pause
                }
                Finding::Guilty => {
                    let reason = format!(
                        "processing it failed {losses} times, the last times alone while others got through: it crashes a stage of the \
                         pipeline"
                    );
                    return self.condemn(number, Ground::Rejected(reason));
                }
                Finding::Hopeless => return self.give_up(number),
            },
        };
        lost.numbers.push(number);
        lost.losses = lost.losses.max(pause);
    }

    fn degrade(&mut self, number: u64) {
        let reason = self.everything_is_lost(number);
        if self.wiring.health.degraded(Component::Pipeline, &reason) {
            tracing::error!(reason, "nothing gets through; trying again");
        }
        self.state.degraded = true;
    }

    /// Actors that are built anew may do better.
    fn give_up(&mut self, number: u64) {
        let reason = self.everything_is_lost(number);
        self.state.closed = true;
        (self.wiring.give_up)(reason);
    }

    fn everything_is_lost(&self, number: u64) -> String {
        let position = self.state.window.get(number).map(|delivery| delivery.record.position.to_string());
        format!(
            "whatever source {} delivers is lost on its way, at last {}, and nothing gets through that would show it to be the fault of \
             a record: the panics in the log say where a stage crashes",
            self.wiring.name,
            position.unwrap_or_default()
        )
    }

    /// To be called when a delivery with so many losses is settled or let go: if it was a suspect, it no longer is.
    pub(super) fn end_suspicion(&mut self, losses: u32) {
        if losses >= LOSSES_UNTIL_ALONE {
            self.state.trial.settled();
        }
        if self.state.trial.is_over() {
            self.recover();
        }
    }

    /// Takes back what was said of the pipeline's health.
    pub(super) fn recover(&mut self) {
        if std::mem::take(&mut self.state.degraded) {
            self.wiring.health.ok(Component::Pipeline);
            tracing::info!(source = %self.wiring.name, "deliveries get through again");
        }
    }

    /// Delivers again what was lost, after a pause; suspects, when their turn comes.
    pub(super) fn redeliver_later(&mut self, lost: Lost, ctx: &mut Context<Self>) {
        let Lost { numbers, losses } = lost;
        if numbers.is_empty() {
            return;
        }
        self.state.to_redeliver += numbers.len();
        tracing::warn!(source = %self.wiring.name, events = numbers.len(), "events were lost on their way; delivering them again");
        ctx.run_later(REDELIVERY.delay(losses, fastrand::f64()), move |ingestor, ctx| {
            let is_suspect = |number: u64| {
                ingestor.state.window.get(number).is_some_and(|delivery| delivery.losses >= LOSSES_UNTIL_ALONE)
            };
            let (suspects, others): (Vec<_>, Vec<_>) = numbers.iter().partition(|number| is_suspect(**number));
            ingestor.state.isolation.add(suspects);
            ingestor.redeliver(others, ctx);
            ingestor.state.to_redeliver -= numbers.len();
            ingestor.drive(ctx);
        });
    }

    /// Delivers again what is still open. Its records are mapped once more: to keep what they said would take memory.
    fn redeliver(&mut self, numbers: Vec<u64>, ctx: &mut Context<Self>) {
        let record = |number: u64| self.state.window.get(number).map(|delivery| (number, delivery.record.clone()));
        let records: Vec<_> = numbers.into_iter().filter_map(record).collect();
        let count = records.len();
        let mapper = self.wiring.mapper.clone();
        self.state.to_redeliver += count;
        let said_again = move || -> Vec<_> {
            records.into_iter().map(|(number, record)| (number, say(&mapper, &record, None), record.refresh)).collect()
        };
        ctx.spawn(on_core(said_again).into_actor(self).map(move |said, ingestor, ctx| {
            ingestor.state.to_redeliver -= count;
            let verdicts = ingestor.verdicts(ctx);
            let mut changes = Vec::with_capacity(count);
            for (number, said, refresh) in said {
                match said {
                    Said::Change(change, digest) => {
                        // Its partition may be someone else's by now.
                        let Some(receipt) = ingestor.state.window.receipt(number, verdicts.clone()) else {
                            ingestor.state.isolation.end_turn(number);
                            continue;
                        };
                        changes.push(Incoming { change, receipt, digest, refresh });
                    }
                    // It said a change before. To lose it from sight would hold back all behind it for ever.
                    _ => {
                        ingestor.state.isolation.end_turn(number);
                        let reason = "it was understood once, and is no longer when it is delivered again";
                        ingestor.condemn(number, Ground::Rejected(reason.to_owned()));
                    }
                }
            }
            ingestor.send(changes, ctx);
            ingestor.drive(ctx);
        }));
    }

    /// Sends the next suspect, once nothing else of this source is on its way and no other source has one on its way.
    pub(super) fn send_suspect(&mut self, ctx: &mut Context<Self>) {
        let state = &mut self.state;
        if state.closed || !state.isolation.wants_turn() || state.has_others_on_the_way() {
            return;
        }
        state.isolation.await_turn();
        let turn = self.wiring.turn.clone().acquire_owned();
        ctx.spawn(turn.into_actor(self).map(|turn, ingestor, ctx| {
            let turn = turn.expect("the semaphore is never closed");
            let state = &mut ingestor.state;
            if state.has_others_on_the_way() {
                state.isolation.forgo_turn();
            } else if let Some(number) = state.isolation.begin_turn(turn) {
                return ingestor.redeliver(vec![number], ctx);
            }
            ingestor.drive(ctx);
        }));
    }
}
