//! Every known document, once, after a change of template, chunking or metadata: an internal source named [`NAME`].
//!
//! Each is given as a patch that says nothing, to be compared with the index all the same. Only texts that changed are embedded.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Committed, Partition, Position, Read, Record, Room, Source, SourceError};
use crate::document::DocumentId;
use crate::ledger::patience::blocking;
use crate::ledger::settings::PLAN;
use crate::ledger::{Ledger, LedgerError};

/// What it is called on pages and in metrics.
pub const NAME: &str = "replan";

/// Whether the documents in the ledger were planned with anything but `plan`. A new ledger notes it. From the moment that this is found
/// until all are planned with it, some are and some are not: nothing is noted then, so that going back to the configuration of before
/// looks at all of them too.
pub fn is_due(ledger: &Ledger, plan: &str) -> Result<bool, LedgerError> {
    let planned = ledger.setting(PLAN)?;
    if planned.as_deref() == Some(plan) {
        return Ok(false);
    }
    if planned.is_none() && ledger.counts()?.documents == 0 {
        ledger.set_setting(PLAN, plan)?;
        return Ok(false);
    }
    ledger.forget_setting(PLAN)?;
    Ok(true)
}

/// See the module. A crash in the middle starts it over: what was planned before costs a look, and no embedding.
pub struct ReplanSource {
    ledger: Arc<Ledger>,
    /// What the documents are planned with from now on; kept in the ledger when all are done.
    plan: Arc<str>,
    partition: Arc<Partition>,
    last: Option<DocumentId>,
    /// How many documents were in the index before.
    indexed: u64,
    given: u64,
    settled: u64,
    finished: bool,
}

impl ReplanSource {
    /// Gives every document of this ledger, then notes that all are planned with `plan`.
    pub fn new(ledger: Arc<Ledger>, plan: Arc<str>) -> Self {
        let partition = Arc::new(Partition { name: NAME.to_owned(), detail: plan.to_string() });
        Self { ledger, plan, partition, last: None, indexed: 0, given: 0, settled: 0, finished: false }
    }

    fn record(&mut self, (id, bytes): (DocumentId, usize)) -> Record {
        self.given += 1;
        let position = Position { partition: self.partition.clone(), offset: self.given, ordinal: self.given };
        Record::look_again(id, bytes, position)
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, SourceError> {
        blocking(&self.ledger, ask).await.map_err(|error| SourceError(error.to_string()))
    }

    async fn note_when_done(&self) -> Result<(), SourceError> {
        if self.finished && self.settled == self.given {
            let plan = self.plan.clone();
            let note = move |ledger: &Ledger| ledger.set_setting(PLAN, &plan).and_then(|()| ledger.counts());
            let counts = self.ask(note).await?;
            tracing::info!(documents = self.given, "every document was compared with the changed configuration");
            // A slip in the template empties the index, and nothing else is wrong then.
            if let fewer @ 1.. = self.indexed.saturating_sub(counts.indexed) {
                tracing::warn!(
                    documents = fewer,
                    "not all documents are in the index that were before; `vectide get ID` says what one of them lacks"
                );
            }
        }
        Ok(())
    }
}

impl Source for ReplanSource {
    fn open(&mut self, _: Vec<Committed>) -> BoxFuture<'_, Result<(), SourceError>> {
        async {
            self.indexed = self.ask(Ledger::counts).await?.indexed;
            Ok(())
        }
        .boxed()
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        async move {
            let after = self.last.clone();
            let list = move |ledger: &Ledger| ledger.list_documents(after.as_ref(), room.records, room.bytes);
            let found = self.ask(list).await?;
            if found.is_empty() {
                self.finished = true;
                self.note_when_done().await?;
                return Ok(Read::Finished);
            }
            self.last = found.last().map(|(id, _)| id.clone());
            Ok(Read::Records(found.into_iter().map(|listed| self.record(listed)).collect()))
        }
        .boxed()
    }

    fn committed(&mut self, positions: &[Position]) -> BoxFuture<'_, Result<(), SourceError>> {
        self.settled = positions.iter().map(|position| position.offset).max().unwrap_or(self.settled);
        async move { self.note_when_done().await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::{here, open, write};

    #[test]
    fn what_is_broken_off_and_taken_back_is_due_as_well() {
        let (_folder, ledger) = open();
        let due = |plan| is_due(&ledger, plan).unwrap();
        assert!(!due("first"), "there is nothing to plan");
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        assert!(!due("first"));
        assert!(due("second"));
        assert!(due("first"), "some documents may be planned with the second");
        ledger.set_setting(PLAN, "first").unwrap();
        assert!(!due("first"), "all were planned");
    }
}
