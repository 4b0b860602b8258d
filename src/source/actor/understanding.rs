//! What records say: what their documents have taken in already, or else the change that each maps to. It is found out off the arbiter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::repeats::Repeats;
use crate::actor::offload::on_core;
use crate::actor::panic::message;
use crate::document::mapping::{Mapped, Mapper, Refusal};
use crate::document::{Change, Operation, RecordDigest};
use crate::ledger::Ledger;
use crate::ledger::patience::patiently;
use crate::source::{Form, Record};

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

/// What a look at a record told before it is mapped.
#[derive(Default)]
struct Looked {
    digest: Option<RecordDigest>,
    /// See [`Said::Known`].
    known: Option<Operation>,
}

/// Finds out what records say. Where repeats are frequent, those that are known are looked for first, and not mapped.
pub(super) async fn understand(
    records: Vec<Record>,
    repeats: &mut Repeats,
    ledger: &Arc<Ledger>,
    mapper: &Arc<Mapper>,
) -> Vec<(Record, Said)> {
    let looked = if repeats.look() {
        look(records, repeats, ledger, mapper).await
    } else {
        records.into_iter().map(|record| (record, Looked::default())).collect()
    };
    let mapper = mapper.clone();
    let understood = move |(record, Looked { digest, known }): (Record, Looked)| {
        let said = known.map_or_else(|| say(&mapper, &record, digest), Said::Known);
        (record, said)
    };
    on_core(move || looked.into_iter().map(understood).collect()).await
}

/// Looks for records that are known.
async fn look(
    records: Vec<Record>,
    repeats: &mut Repeats,
    ledger: &Arc<Ledger>,
    mapper: &Arc<Mapper>,
) -> Vec<(Record, Looked)> {
    let mapper = mapper.clone();
    // What is not to be mapped, or to be looked at again, is never known.
    let name = move |record: &Record| Some((mapper.glance(&record.payload)?, digest(&mapper, record)?));
    let glance = move || {
        let names: Arc<[_]> = records.iter().map(name).collect();
        (records, names)
    };
    let (records, names) = on_core(glance).await;
    let asked = names.clone();
    let known = patiently(ledger, move |ledger| ledger.taken(&asked)).await;
    repeats.found(known.iter().flatten().count(), known.len());
    let digests = names.iter().map(|name| name.as_ref().map(|(_, digest)| *digest));
    let looked = digests.zip(known).map(|(digest, known)| Looked { digest, known });
    records.into_iter().zip(looked).collect()
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
    let mapper = match &record.form {
        Form::Broken(reason) => return refused(reason.clone()),
        Form::Change(change) => return Ok(Mapped::Change(change.clone())),
        Form::Json => mapper,
        Form::JsonOfOther(mapper) => mapper,
    };
    // One record that crashes the mapper must not keep its neighbours from being read.
    catch_unwind(AssertUnwindSafe(|| mapper.map(&record.payload, record.version)))
        .unwrap_or_else(|panic| refused(format!("reading the record crashed: {}", message(&*panic))))
}
