//! Every known document, once, after a change of template, chunking or metadata: an internal source named [`NAME`].
//!
//! Each is given as a patch that says nothing, to be compared with the index all the same. Only texts that changed are embedded.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Committed, Partition, Position, Read, Record, Room, Source, SourceError};
use crate::document::DocumentId;
use crate::ledger::Ledger;
use crate::ledger::patience::blocking;

/// What it is called on pages and in metrics.
pub const NAME: &str = "replan";

/// Where the ledger keeps what its documents were planned with.
pub const PLAN_SETTING: &str = "plan";

/// See the module. A crash in the middle starts it over: what was planned before costs a look, and no embedding.
pub struct ReplanSource {
    ledger: Arc<Ledger>,
    /// What the documents are planned with from now on; kept in the ledger when all are done.
    plan: Arc<str>,
    partition: Arc<Partition>,
    last: Option<DocumentId>,
    given: u64,
    settled: u64,
    finished: bool,
}

impl ReplanSource {
    /// Gives every document of this ledger, then notes that all are planned with `plan`.
    pub fn new(ledger: Arc<Ledger>, plan: Arc<str>) -> Self {
        let partition = Arc::new(Partition { name: NAME.to_owned(), detail: plan.to_string() });
        Self { ledger, plan, partition, last: None, given: 0, settled: 0, finished: false }
    }

    fn record(&mut self, (id, bytes): (DocumentId, usize)) -> Record {
        self.given += 1;
        let position = Position { partition: self.partition.clone(), offset: self.given, ordinal: self.given };
        Record::look_again(id, bytes, position)
    }

    async fn note_when_done(&self) -> Result<(), SourceError> {
        if self.finished && self.settled == self.given {
            let plan = self.plan.clone();
            let note = move |ledger: &Ledger| ledger.set_setting(PLAN_SETTING, &plan);
            blocking(&self.ledger, note).await.map_err(|error| SourceError(error.to_string()))?;
            tracing::info!(documents = self.given, "every document was compared with the changed configuration");
        }
        Ok(())
    }
}

impl Source for ReplanSource {
    fn open(&mut self, _: Vec<Committed>) -> BoxFuture<'_, Result<(), SourceError>> {
        async { Ok(()) }.boxed()
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        async move {
            let after = self.last.clone();
            let list = move |ledger: &Ledger| ledger.list_documents(after.as_ref(), room.records, room.bytes);
            let found = blocking(&self.ledger, list).await.map_err(|error| SourceError(error.to_string()))?;
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
