//! Burial: dead letters are written before their delivery counts as settled.

use std::sync::Arc;

use actix::prelude::*;

use super::Ingestor;
use super::understanding::map;
use crate::actor::offload::on_core;
use crate::document::mapping::{Mapped, Mapper, Refusal};
use crate::ledger::patience::patiently;
use crate::ledger::{Letter, now_ms};
use crate::source::{OnBury, Record};
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

/// What goes to the dead letters, one write after the other.
pub(super) struct Burial {
    /// Waits for the next write.
    condemned: Vec<(u64, Ground)>,
    is_under_way: bool,
    on_bury: Option<OnBury>,
}

impl Burial {
    pub(super) fn new(on_bury: Option<OnBury>) -> Self {
        Self { condemned: Vec::new(), is_under_way: false, on_bury }
    }

    /// Puts a delivery into the next write.
    pub(super) fn condemn(&mut self, number: u64, ground: Ground) {
        self.condemned.push((number, ground));
    }

    /// Forgets what is no longer to be settled here.
    pub(super) fn retain(&mut self, is_open: impl Fn(u64) -> bool) {
        self.condemned.retain(|(number, _)| is_open(*number));
    }

    /// What is to be written now.
    fn begin(&mut self) -> Option<Vec<(u64, Ground)>> {
        if self.is_under_way || self.condemned.is_empty() {
            return None;
        }
        self.is_under_way = true;
        Some(std::mem::take(&mut self.condemned))
    }
}

impl Ingestor {
    /// Has a delivery buried, if it is still open.
    pub(super) fn condemn(&mut self, number: u64, ground: Ground) {
        if self.state.window.get(number).is_some() {
            self.state.burial.condemn(number, ground);
        }
    }

    /// Puts what was condemned into the dead letters, durably, and only then settles it.
    pub(super) fn bury(&mut self, ctx: &mut Context<Self>) {
        let Some(condemned) = self.state.burial.begin() else { return };
        let numbers: Vec<u64> = condemned.iter().map(|(number, _)| *number).collect();
        let record = |(number, ground): (u64, Ground)| {
            let delivery = self.state.window.get(number)?;
            Some((delivery.record.clone(), delivery.losses.max(1), ground))
        };
        let records: Vec<_> = condemned.into_iter().filter_map(record).collect();
        let (name, mapper) = (self.wiring.name.clone(), self.wiring.mapper.clone());
        // A wrong setting condemns whole windows.
        let write = move || -> Arc<[Letter]> {
            let letters = records.into_iter();
            letters.map(|(record, attempts, ground)| letter(&name, &mapper, record, attempts, ground)).collect()
        };
        let ledger = self.wiring.ledger.clone();
        let at = now_ms();
        let on_bury = self.state.burial.on_bury.clone();
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
            ingestor.state.burial.is_under_way = false;
            for number in numbers {
                ingestor.settle(number, Outcome::DeadLettered);
            }
            ingestor.drive(ctx);
        }));
    }
}

fn letter(name: &str, mapper: &Mapper, record: Record, attempts: u32, ground: Ground) -> Letter {
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
    Letter { source, position, document, version, reason, payload, attempts, order, taken_in }
}
