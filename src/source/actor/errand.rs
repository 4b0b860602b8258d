//! One read: opening the source if need be, telling it what was committed, reading, and finding out what the records say, all off the
//! arbiter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::feed::Feed;
use super::repeats::Repeats;
use crate::actor::offload::on_core;
use crate::actor::panic::message;
use crate::document::mapping::{Mapped, Mapper, Refusal};
use crate::document::{Change, Operation, RecordDigest};
use crate::ledger::Ledger;
use crate::ledger::patience::patiently;
use crate::source::{Form, Partition, Position, Read, Record, Room, SourceError};

/// What a record says.
pub(super) enum Said {
    /// What its document has taken in already, by this operation.
    Known(Operation),
    /// This, under this name.
    Change(Change, Option<RecordDigest>),
    /// Nothing of interest.
    Ignored,
    /// Nothing that can be understood.
    Refused(Refusal),
}

/// What a read gave, with what its records say.
pub(super) enum Found {
    Records(Vec<(Record, Said)>),
    Positions(Vec<Position>),
    Revoked(Vec<Arc<Partition>>),
    Waiting,
    Idle,
    Finished,
}

/// What a look at a record told before it is mapped.
#[derive(Default)]
struct Looked {
    digest: Option<RecordDigest>,
    /// See [`Said::Known`].
    known: Option<Operation>,
}

/// All that one read needs beside the source, so that it runs without the ingestor.
pub(super) struct Errand {
    pub(super) room: Room,
    pub(super) name: Arc<str>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) mapper: Arc<Mapper>,
}

impl Errand {
    /// Opens the source if need be, tells it what was committed, and reads.
    pub(super) async fn run(self, feed: &mut Feed) -> Result<Found, SourceError> {
        if !feed.opened {
            self.open(feed).await?;
        }
        feed.tell().await?;
        self.read(feed).await
    }

    async fn open(&self, feed: &mut Feed) -> Result<(), SourceError> {
        let name = self.name.clone();
        let committed = patiently(&self.ledger, move |ledger| ledger.positions(&name)).await;
        feed.source.open(committed).await?;
        feed.opened = true;
        Ok(())
    }

    async fn read(&self, feed: &mut Feed) -> Result<Found, SourceError> {
        loop {
            return Ok(match feed.source.read(self.room).await? {
                // Before anything more is read: it may come from a partition with one of these names.
                Read::Forgotten(partitions) => {
                    let name = self.name.clone();
                    patiently(&self.ledger, move |ledger| ledger.forget_partitions(&name, &partitions)).await;
                    continue;
                }
                Read::Waiting => Found::Waiting,
                Read::Idle => Found::Idle,
                Read::Finished => Found::Finished,
                Read::Positions(positions) => Found::Positions(positions),
                Read::Revoked(partitions) => Found::Revoked(partitions),
                Read::Records(records) => Found::Records(self.understand(records, &mut feed.repeats).await),
            });
        }
    }

    async fn understand(&self, records: Vec<Record>, repeats: &mut Repeats) -> Vec<(Record, Said)> {
        let (records, looked) = if repeats.look() { self.look(records, repeats).await } else { (records, Vec::new()) };
        let mapper = self.mapper.clone();
        let understand = move || {
            let looked = looked.into_iter().chain(std::iter::repeat_with(Looked::default));
            let said = |(record, Looked { digest, known }): (Record, Looked)| {
                let said = known.map_or_else(|| say(&mapper, &record, digest), Said::Known);
                (record, said)
            };
            records.into_iter().zip(looked).map(said).collect()
        };
        on_core(understand).await
    }

    /// Looks for records that are known.
    async fn look(&self, records: Vec<Record>, repeats: &mut Repeats) -> (Vec<Record>, Vec<Looked>) {
        let mapper = self.mapper.clone();
        // What is not to be mapped, or to be looked at again, is never known.
        let name = move |record: &Record| Some((mapper.glance(&record.payload)?, digest(&mapper, record)?));
        let glance = move || {
            let names: Arc<[_]> = records.iter().map(name).collect();
            (records, names)
        };
        let (records, names) = on_core(glance).await;
        let asked = names.clone();
        let known = patiently(&self.ledger, move |ledger| ledger.taken(&asked)).await;
        repeats.found(known.iter().flatten().count(), known.len());
        let looked = |(name, known): (&Option<(String, RecordDigest)>, Option<Operation>)| Looked {
            digest: name.as_ref().map(|(_, digest)| *digest),
            known,
        };
        (records, names.iter().zip(known).map(looked).collect())
    }
}

/// The name of a record that is to be mapped.
fn digest(mapper: &Mapper, record: &Record) -> Option<RecordDigest> {
    let is_mapped = matches!(record.form, Form::Json);
    (is_mapped && !record.refresh).then(|| mapper.digest(&record.payload, record.version))
}

/// What a record says. Its digest is needed then; it may have been found before.
pub(super) fn say(mapper: &Mapper, record: &Record, found: Option<RecordDigest>) -> Said {
    match map(mapper, record) {
        Ok(Mapped::Change(change)) => Said::Change(change, found.or_else(|| digest(mapper, record))),
        Ok(Mapped::Ignored) => Said::Ignored,
        Err(refusal) => Said::Refused(refusal),
    }
}

pub(super) fn map(mapper: &Mapper, record: &Record) -> Result<Mapped, Refusal> {
    let refused = |reason| Err(Refusal { reason, id: None, version: None });
    match &record.form {
        Form::Broken(reason) => refused(reason.clone()),
        Form::Change(change) => Ok(Mapped::Change(change.clone())),
        // One record that crashes the mapper must not keep its neighbours from being read.
        Form::Json => catch_unwind(AssertUnwindSafe(|| mapper.map(&record.payload, record.version)))
            .unwrap_or_else(|panic| refused(format!("reading the record crashed: {}", message(&*panic)))),
    }
}
