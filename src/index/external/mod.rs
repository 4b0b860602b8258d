//! An index in another system: the ledger says what shall be there, and a [`Collection`] brings it there.
//!
//! The ledger is always ahead. It first takes what is to be written, and notes that the collection may lack it; then the collection is
//! written to; then the note goes. So a crash leaves work to be done again, and never a point that nobody remembers. Vectors are kept in
//! the ledger too: whatever the collection lacks is written again without embedding anything.
//!
//! What is where:
//!
//! 1. [`collection`]: what a system must be able to do. Whatever implements it is a client, in a folder beside this one.
//! 2. What [`ExternalIndex`] does with any of them: `send` writes to it, in calls that `bulk` cuts and `concurrent` makes at once; `proof`
//!    doubts what it refuses; `count` says whether it was emptied; `find` searches it.
//! 3. What clients share: `http` and [`grpc`] to call a system, which trust [`authorities`]; `typed` for filters over declared fields, and
//!    `sift` for filters that the system cannot be told.
//! 4. What only tests ask of a client: [`inspect`].

pub mod collection;

mod bulk;
pub(super) mod concurrent;
mod count;
mod find;
mod proof;
mod send;

pub mod authorities;
#[cfg(feature = "grpc")]
pub mod grpc;
pub(super) mod http;
#[cfg(any(feature = "milvus", feature = "qdrant"))]
pub(super) mod sift;
pub(super) mod typed;

#[cfg(feature = "testkit")]
pub mod inspect;

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::actor::pulse;
use crate::document::DocumentId;
use crate::ledger::patience::blocking;
use crate::ledger::{DocumentWrite, Ledger, LedgerError, Outstanding};

use collection::{Collection, CollectionError, Established};
use count::has_most;

use super::{Hit, IndexError, Progress, Query, RefusedWrite, VectorIndex};

/// For so many points of a call [`pulse::CALL_MAY_TAKE`] is enough, even if each must be found refused on its own, which takes two calls a
/// point.
const POINTS_IN_TIME: usize = 100;
/// The longest pause that a system is given when it asks for one; then it is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// See the module.
pub struct ExternalIndex {
    ledger: Arc<Ledger>,
    collection: Arc<dyn Collection>,
    ids: PointIds,
    dimensions: usize,
    adopt: bool,
    /// The last count that was too small to be believed, and since when it was.
    counted: parking_lot::Mutex<Option<(u64, tokio::time::Instant)>>,
    /// One write at a time: what is noted and what is sent must not be of two.
    turn: Mutex<Turn>,
}

/// How far a write came in the attempts so far.
struct Turn {
    writes: Weak<[DocumentWrite]>,
    /// What the collection lacked at first.
    outstanding: Vec<Outstanding>,
    /// So many of these it has.
    done: usize,
    /// Of the writes.
    refused: Vec<RefusedWrite>,
}

impl Default for Turn {
    fn default() -> Self {
        let writes = Weak::<[DocumentWrite; 0]>::new();
        Self { writes, outstanding: Vec::new(), done: 0, refused: Vec::new() }
    }
}

/// Gives each chunk of each document of a pipeline its point.
#[derive(Debug, Clone, Copy)]
pub struct PointIds(Uuid);

impl PointIds {
    /// Those of this pipeline.
    pub fn new(pipeline: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("vectide:{pipeline}").as_bytes()))
    }

    /// The point of a chunk: UUIDv5 of the chunk's number, a colon and the document's id, in the pipeline's own namespace.
    pub fn of(&self, document: &DocumentId, chunk: usize) -> Uuid {
        Uuid::new_v5(&self.0, format!("{chunk}:{document}").as_bytes())
    }

    /// A point that is of no chunk: each of those has a number before the colon.
    fn harmless(&self) -> Uuid {
        Uuid::new_v5(&self.0, b"harmless")
    }
}

impl ExternalIndex {
    /// What this ledger holds, in this collection. Vectors have `dimensions` numbers. With `adopt` it may be a collection that has
    /// points already, which are kept unless they are of the same pipeline. The ledger must be
    /// opened with [`Points::Elsewhere`](crate::ledger::Points::Elsewhere). Asks nobody: see [`VectorIndex::prepare`].
    pub fn new(
        ledger: Arc<Ledger>,
        collection: Arc<dyn Collection>,
        pipeline: &str,
        dimensions: usize,
        adopt: bool,
    ) -> Self {
        Self {
            ledger,
            collection,
            ids: PointIds::new(pipeline),
            dimensions,
            adopt,
            counted: parking_lot::Mutex::default(),
            turn: Mutex::default(),
        }
    }

    /// Runs a call to the ledger on a blocking thread.
    async fn ledger<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, IndexError> {
        Ok(blocking(&self.ledger, call).await?)
    }

    async fn try_prepare(&self) -> Result<(), IndexError> {
        let _turn = self.turn.lock().await;
        let place = self.collection.place().to_owned();
        if !self.ledger.notes_unwritten() {
            return Err(IndexError::Unfit(unnoted(&place)));
        }
        let written = self.ledger(Ledger::written_points).await?;
        let found = self.failing(self.collection.establish()).await?;
        let points = found.points();
        let mark = self.failing(self.collection.mark()).await?;
        let (its_place, its_mark) = (place.clone(), mark.clone());
        let ours = self.ledger(move |ledger| ledger.is_collection(&its_place, its_mark.as_deref())).await?;
        if ours {
            self.counted(&found, written)?;
        }
        // One that lacks most was emptied by somebody, and written to since.
        let is_whole = matches!(found, Established::Uncounted { .. }) || has_most(points, written);
        if points > 0 && ours && is_whole {
            return Ok(());
        }
        if points > 0 && !ours && !self.adopt {
            return Err(IndexError::Unfit(foreign(&place, found, self.ledger.folder())));
        }
        // One that is ours and was given nothing yet was told of when it became so.
        if self.ledger(Ledger::point_count).await? > 0 && !(ours && written == 0) {
            let why = if ours { "lacks most of what it was given" } else { "is new to this ledger" };
            tracing::warn!(place, points, "the collection {why}: writing every document to it, without embedding");
        }
        self.ledger(move |ledger| ledger.set_collection(&place, mark.as_deref())).await
    }

    async fn try_write(&self, writes: &Arc<[DocumentWrite]>) -> Result<Progress, IndexError> {
        let mut turn = self.turn.lock().await;
        if !std::ptr::addr_eq(turn.writes.as_ptr(), Arc::as_ptr(writes)) {
            let outstanding = self.note(writes.clone()).await?;
            *turn = Turn { writes: Arc::downgrade(writes), outstanding, ..Turn::default() };
        }
        if let Some(part) = next_part(&turn.outstanding, turn.done, self.part()) {
            let refused = self.send(writes, &turn.outstanding[part.clone()]).await?;
            // A withdrawal changes what the ledger holds: should it not come to its end, the next attempt notes everything anew.
            let mut sent = std::mem::take(&mut *turn);
            self.withdraw(writes, &refused).await?;
            let done: Vec<_> = sent.outstanding[part.clone()].iter().map(|of| writes[of.write].id.clone()).collect();
            self.ledger(move |ledger| ledger.finish_writes(&done)).await?;
            sent.refused.extend(refused);
            sent.done = part.end;
            *turn = sent;
        }
        Ok(if turn.done < turn.outstanding.len() {
            Progress::More
        } else {
            Progress::Done(std::mem::take(&mut *turn).refused)
        })
    }

    /// How many points are sent before it is noted that they were: about as many as there may be on their way at once, so that a part takes
    /// as long as one call.
    fn part(&self) -> usize {
        self.points_a_call() * self.collection.bulk().concurrency
    }

    fn points_a_call(&self) -> usize {
        let bulk = self.collection.bulk();
        let fitting = bulk.bytes / (self.dimensions * bulk.bytes_per_number).max(1);
        bulk.points.min(fitting).max(1)
    }

    /// Makes a call that can wait, and a pause where the collection asks for one.
    async fn failing<T>(&self, call: impl Future<Output = Result<T, CollectionError>>) -> Result<T, IndexError> {
        let done = call.await;
        if let Err(CollectionError::Unavailable { after: Some(after), .. }) = &done {
            tokio::time::sleep((*after).min(LONGEST_PAUSE)).await;
        }
        done.map_err(|error| self.known(error))
    }

    /// Brings an error of the collection to what the pipeline knows.
    fn known(&self, error: CollectionError) -> IndexError {
        let place = self.collection.place();
        match error {
            CollectionError::Unavailable { reason, .. } => IndexError::Unavailable(format!("{place}: {reason}")),
            CollectionError::Missing(reason) => IndexError::Lost(format!("{place}: {reason}")),
            CollectionError::Unfit(reason) => IndexError::Unfit(format!("{place}: {reason}")),
            CollectionError::Fatal(_) | CollectionError::Refused(_) | CollectionError::OneRefused(_) => {
                IndexError::Fatal(format!("{place}: {error}"))
            }
        }
    }
}

/// Why a collection is not written to that holds points of which the ledger in this folder knows nothing.
pub fn foreign(place: &str, found: Established, folder: &Path) -> String {
    format!(
        "{place} holds {}, and none of them is known to be of this pipeline's ledger in {}: name another collection, empty \
         this one, or set `index.adopt: true` to write into it beside what is there",
        found.shown(),
        folder.display()
    )
}

/// Why nothing would ever come to a collection: the ledger says of every write that nothing is lacking.
fn unnoted(place: &str) -> String {
    format!(
        "the ledger does not note what {place} lacks: open it with `Points::Elsewhere`, as `Resources` do when `index.type` names \
         an index in another system"
    )
}

/// What is sent next of what is outstanding: documents with so many points, those that go among them. A system that lets in only so much
/// at a time gets further with each attempt.
fn next_part(outstanding: &[Outstanding], from: usize, most: usize) -> Option<Range<usize>> {
    let mut points = 0;
    let full = outstanding[from..].iter().position(|outstanding| {
        points += outstanding.points.max(outstanding.has.len()).max(1);
        points >= most
    });
    let to = full.map_or(outstanding.len(), |last| from + last + 1);
    (from < to).then_some(from..to)
}

impl VectorIndex for ExternalIndex {
    fn prepare(&self) -> BoxFuture<'_, Result<(), IndexError>> {
        self.try_prepare().boxed()
    }

    fn write(&self, writes: Arc<[DocumentWrite]>) -> BoxFuture<'_, Result<Progress, IndexError>> {
        async move { self.try_write(&writes).await }.boxed()
    }

    fn may_take(&self) -> Duration {
        // Metadata alone fills a call with more points.
        let points = self.collection.bulk().points.min(self.part());
        self.collection.timeout() + pulse::CALL_MAY_TAKE * points.div_ceil(POINTS_IN_TIME) as u32
    }

    fn search(&self, query: Query) -> BoxFuture<'_, Result<Vec<Hit>, IndexError>> {
        self.find(query).boxed()
    }
}
