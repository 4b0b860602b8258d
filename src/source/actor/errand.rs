//! One read: opening the source if need be, telling it what was committed, reading, and mapping what came, all off the arbiter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::actor::guard;
use crate::actor::offload::on_core;
use crate::document::mapping::{Mapped, Mapper, Refusal};
use crate::ledger::Ledger;
use crate::ledger::patience::patiently;
use crate::source::{Partition, Position, Read, Record, Room, Source, SourceError};

/// A record and what it says.
pub(super) type Decoded = (Record, Result<Mapped, Refusal>);

/// A source that comes back from a read, whether it is open now, what it could not be told, and what it gave.
pub(super) struct ReadOutcome {
    pub(super) source: Box<dyn Source>,
    pub(super) opened: bool,
    pub(super) untold: Vec<Position>,
    pub(super) found: Result<Found, SourceError>,
}

pub(super) enum Found {
    Records(Vec<Decoded>),
    Revoked(Vec<Arc<Partition>>),
    Idle,
    Finished,
}

/// All that one read needs, so that it runs without the ingestor.
pub(super) struct Errand {
    pub(super) opened: bool,
    pub(super) untold: Vec<Position>,
    pub(super) room: Room,
    pub(super) name: Arc<str>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) mapper: Arc<Mapper>,
}

impl Errand {
    pub(super) async fn run(mut self, mut source: Box<dyn Source>) -> ReadOutcome {
        let found = self.read(&mut *source).await;
        ReadOutcome { source, opened: self.opened, untold: self.untold, found }
    }

    async fn read(&mut self, source: &mut dyn Source) -> Result<Found, SourceError> {
        if !self.opened {
            let name = self.name.clone();
            let committed = patiently(&self.ledger, move |ledger| ledger.positions(&name)).await;
            source.open(committed).await?;
            self.opened = true;
        }
        if !self.untold.is_empty() {
            source.committed(&self.untold).await?;
            self.untold.clear();
        }
        match source.read(self.room).await? {
            Read::Idle => Ok(Found::Idle),
            Read::Finished => Ok(Found::Finished),
            Read::Revoked(partitions) => Ok(Found::Revoked(partitions)),
            Read::Records(records) => {
                let mapper = self.mapper.clone();
                let decode = move |record: Record| {
                    let mapped = map(&mapper, &record);
                    (record, mapped)
                };
                let decoded = on_core(move || records.into_iter().map(decode).collect());
                Ok(Found::Records(decoded.await))
            }
        }
    }
}

pub(super) fn map(mapper: &Mapper, record: &Record) -> Result<Mapped, Refusal> {
    if let Some(reason) = &record.broken {
        return Err(Refusal { reason: reason.clone(), id: None, version: None });
    }
    match &record.change {
        Some(change) => Ok(Mapped::Change(change.clone())),
        // One record that crashes the mapper must not keep its neighbours from being read.
        None => {
            catch_unwind(AssertUnwindSafe(|| mapper.map(&record.payload, record.version))).unwrap_or_else(|panic| {
                let reason = format!("reading the record crashed: {}", guard::message(&*panic));
                Err(Refusal { reason, id: None, version: None })
            })
        }
    }
}
