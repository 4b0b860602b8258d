//! Every known document, once, after a change of template, chunking or metadata: an internal source named [`NAME`].
//!
//! Each is given as a patch that says nothing, to be compared with the index all the same. Only texts that changed are embedded; and
//! not while the files are read, which may bring the next text of a document whose present one would be paid for in vain.

use std::collections::VecDeque;
use std::slice;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{IDLE_WAIT, Partition, Position, Read, Record, Room, Source, SourceError};
use crate::document::DocumentId;
use crate::ledger::key_value::PLAN;
use crate::ledger::patience::blocking;
use crate::ledger::{HeldPoints, Ledger, LedgerError};

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
    given: u64,
    settled: u64,
    /// Those that were in the index when they were given and are not settled, with their offsets.
    indexed: VecDeque<(u64, DocumentId)>,
    /// How many of them left the index and were not deleted.
    lost: u64,
    finished: bool,
    /// Whether something is read that is to go first.
    waits: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl ReplanSource {
    /// Gives every document of this ledger, then notes that all are planned with `plan`.
    pub fn new(ledger: Arc<Ledger>, plan: Arc<str>) -> Self {
        let partition = Arc::new(Partition { name: NAME.to_owned(), detail: plan.to_string() });
        Self {
            ledger,
            plan,
            partition,
            last: None,
            given: 0,
            settled: 0,
            indexed: VecDeque::new(),
            lost: 0,
            finished: false,
            waits: Arc::new(|| false),
        }
    }

    /// Gives nothing while this holds.
    pub fn waiting_while(self, waits: Arc<dyn Fn() -> bool + Send + Sync>) -> Self {
        Self { waits, ..self }
    }

    fn record(&mut self, id: DocumentId, bytes: usize, is_indexed: bool) -> Record {
        self.given += 1;
        if is_indexed {
            self.indexed.push_back((self.given, id.clone()));
        }
        let position = Position { partition: self.partition.clone(), offset: self.given, ordinal: self.given };
        Record::look_again(id, bytes, position)
    }

    /// Looks at what became of those that are settled. They stay until that succeeds: after an error it is asked again.
    async fn count_lost(&mut self) -> Result<(), SourceError> {
        let settled = self.indexed.partition_point(|(offset, _)| *offset <= self.settled);
        let ids: Vec<DocumentId> = self.indexed.iter().take(settled).map(|(_, id)| id.clone()).collect();
        self.lost += blocking(&self.ledger, move |ledger| lost(ledger, ids)).await?;
        self.indexed.drain(..settled);
        Ok(())
    }

    async fn note_when_done(&self) -> Result<(), SourceError> {
        if self.finished && self.settled == self.given {
            let plan = self.plan.clone();
            blocking(&self.ledger, move |ledger| ledger.set_setting(PLAN, &plan)).await?;
            tracing::info!(documents = self.given, "every document was compared with the changed configuration");
            // A slip in the template empties the index, and nothing else is wrong then.
            if self.lost > 0 {
                tracing::warn!(
                    documents = self.lost,
                    "not all documents are in the index that were before; `vectide get ID` says why one of them is not"
                );
            }
        }
        Ok(())
    }
}

/// How many of these the index does not hold, though they have fields: the others were deleted meanwhile.
fn lost(ledger: &Ledger, mut ids: Vec<DocumentId>) -> Result<u64, LedgerError> {
    let mut are_in = are_indexed(ledger, &ids)?.into_iter();
    ids.retain(|_| are_in.next() == Some(false));
    let mut lost = 0;
    // One by one: together they may be large.
    for id in &ids {
        lost +=
            ledger.documents(slice::from_ref(id))?.iter().flatten().filter(|held| held.document.has_fields()).count()
                as u64;
    }
    Ok(lost)
}

fn are_indexed(ledger: &Ledger, ids: &[DocumentId]) -> Result<Vec<bool>, LedgerError> {
    let is_indexed = |held: Option<HeldPoints>| held.is_some_and(|held| held.metadata.is_some());
    Ok(ledger.points_of(ids)?.into_iter().map(is_indexed).collect())
}

impl Source for ReplanSource {
    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        async move {
            if (self.waits)() {
                tokio::time::sleep(IDLE_WAIT).await;
                return Ok(Read::Waiting);
            }
            let after = self.last.clone();
            let list = move |ledger: &Ledger| {
                let listed = ledger.list_documents(after.as_ref(), room.records, room.bytes)?;
                let ids: Vec<DocumentId> = listed.iter().map(|(id, _)| id.clone()).collect();
                let are_indexed = are_indexed(ledger, &ids)?;
                Ok::<_, LedgerError>(listed.into_iter().zip(are_indexed).collect::<Vec<_>>())
            };
            let found = blocking(&self.ledger, list).await?;
            if found.is_empty() {
                self.finished = true;
                self.note_when_done().await?;
                return Ok(Read::Finished);
            }
            self.last = found.last().map(|((id, _), _)| id.clone());
            let record = |((id, bytes), is_indexed)| self.record(id, bytes, is_indexed);
            Ok(Read::Records(found.into_iter().map(record).collect()))
        }
        .boxed()
    }

    fn committed(&mut self, positions: &[Position]) -> BoxFuture<'_, Result<(), SourceError>> {
        self.settled = positions.iter().map(|position| position.offset).max().unwrap_or(self.settled);
        async move {
            self.count_lost().await?;
            self.note_when_done().await
        }
        .boxed()
    }

    fn remark(&self) -> Option<String> {
        (self.waits)().then(|| "waits until the files are read, for they may bring other texts".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

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

    #[tokio::test(start_paused = true)]
    async fn nothing_is_given_while_something_is_read_that_is_to_go_first() {
        let (_folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        let reads = Arc::new(AtomicBool::new(true));
        let waits = reads.clone();
        let waits = Arc::new(move || waits.load(Ordering::Relaxed));
        let mut source = ReplanSource::new(Arc::new(ledger), "plan".into()).waiting_while(waits);
        let room = Room { records: 10, bytes: 1 << 20 };
        for _ in 0..3 {
            assert!(matches!(source.read(room).await, Ok(Read::Waiting)));
            assert!(source.remark().is_some());
        }
        reads.store(false, Ordering::Relaxed);
        assert!(matches!(source.read(room).await, Ok(Read::Records(records)) if records.len() == 1));
        assert_eq!(source.remark(), None);
    }
}
