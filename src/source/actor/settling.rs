//! Settling: dead letters are written before their delivery counts as done, and positions are committed behind all that is done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::Ingestor;
use super::errand::map;
use super::reading::End;
use super::whereabouts::{Out, Whereabouts};
use crate::actor::offload::on_core;
use crate::document::mapping::{Mapped, Mapper, Refusal};
use crate::ledger::patience::patiently;
use crate::ledger::{NewDeadLetter, now_ms};
use crate::source::{Position, Record};
use crate::telemetry::Outcome;

/// Why a record goes to the dead letters.
pub(super) enum Ground {
    /// It cannot be understood.
    Refused(Refusal),
    /// It was understood, and is rejected for this reason.
    Rejected(String),
    /// It is part of its document, which is rejected for this reason.
    TakenIn(String),
}

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

    pub(super) fn condemn(&mut self, number: u64, ground: Ground) {
        if self.state.window.get(number).is_some() {
            self.state.condemned.push((number, ground));
        }
    }

    /// Puts what was condemned into the dead letters, durably, and only then settles it.
    pub(super) fn bury(&mut self, ctx: &mut Context<Self>) {
        if self.state.burying || self.state.condemned.is_empty() {
            return;
        }
        self.state.burying = true;
        let condemned = std::mem::take(&mut self.state.condemned);
        let numbers: Vec<u64> = condemned.iter().map(|(number, _)| *number).collect();
        let record = |(number, ground): (u64, Ground)| {
            let delivery = self.state.window.get(number)?;
            Some((delivery.record.clone(), delivery.losses.max(1), ground))
        };
        let records: Vec<_> = condemned.into_iter().filter_map(record).collect();
        let (name, mapper) = (self.wiring.name.clone(), self.wiring.mapper.clone());
        // A wrong setting condemns whole windows.
        let write = move || -> Arc<[NewDeadLetter]> {
            let letter = |(record, attempts, ground)| letter(&name, &mapper, record, attempts, ground);
            records.into_iter().map(letter).collect()
        };
        let ledger = self.wiring.ledger.clone();
        let at = now_ms();
        let on_bury = self.state.on_bury.clone();
        let bury = async move {
            let letters = on_core(write).await;
            let buried = letters.clone();
            patiently(&ledger, move |ledger| ledger.bury(&buried, at)).await;
            if let Some(on_bury) = on_bury {
                on_bury(letters).await;
            }
        };
        ctx.spawn(bury.into_actor(self).map(move |(), ingestor, ctx| {
            fault_point!("buried");
            ingestor.state.burying = false;
            for number in numbers {
                ingestor.settle(number, Outcome::DeadLettered);
            }
            ingestor.drive(ctx);
        }));
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

fn letter(name: &str, mapper: &Mapper, record: Record, attempts: u32, ground: Ground) -> NewDeadLetter {
    let taken_in = matches!(ground, Ground::TakenIn(_));
    let Refusal { reason, id, version } = match ground {
        Ground::Refused(refusal) => refusal,
        Ground::Rejected(reason) | Ground::TakenIn(reason) => match map(mapper, &record) {
            Ok(Mapped::Change(change)) => Refusal { reason, id: Some(change.id), version: Some(change.version) },
            _ => Refusal { reason, id: None, version: None },
        },
    };
    let (source, position) = match record.origin {
        Some(origin) => (origin.source, origin.position),
        None => (name.to_owned(), record.position.to_string()),
    };
    let (document, payload, order) = (id, record.payload.to_vec(), record.version);
    NewDeadLetter { source, position, document, version, reason, payload, attempts, order, taken_in }
}
