//! Work that is not finished: a document goes on when its last chunk has landed.

use std::sync::Arc;

use parking_lot::Mutex;

use super::flight::Arrival;
use super::work::Work;
use crate::document::Fingerprint;
use crate::ledger::{ChunkWrite, VectorSource};

/// Work that lacks some vectors.
pub struct Draft {
    /// All of it but the chunks.
    pub work: Work,
    /// The chunks in order; `None` where the vector is yet to come, or never will.
    pub chunks: Vec<(Fingerprint, Option<VectorSource>)>,
    /// How many chunks wait for their vector.
    pub awaited: usize,
    /// Why a chunk will never have one: the document is rejected when all others have theirs, which are paid for.
    pub rejected: Option<String>,
}

impl Draft {
    /// The finished work of a draft that awaits nothing.
    pub fn finish(self) -> Work {
        let Self { mut work, chunks, rejected, .. } = self;
        let Some(reason) = rejected else {
            let chunk = |(fingerprint, vector): (_, Option<_>)| {
                let vector = vector.expect("a chunk whose vector neither waits nor came has the document rejected");
                ChunkWrite { fingerprint, vector }
            };
            work.write.chunks = chunks.into_iter().map(chunk).collect();
            return work;
        };
        // The vectors that it has got are kept with it.
        let here = |(fingerprint, vector)| match vector {
            Some(vector @ VectorSource::Here(_)) => Some(ChunkWrite { fingerprint, vector }),
            Some(VectorSource::Held(_)) | None => None,
        };
        work.write.chunks = chunks.into_iter().filter_map(here).collect();
        work.rejected(&reason)
    }
}

/// A draft that several flights fill. The flight that lands last takes the work out.
#[derive(Clone)]
pub struct SharedDraft(Arc<Mutex<Option<Draft>>>);

impl SharedDraft {
    /// Shares a draft.
    pub fn new(draft: Draft) -> Self {
        Self(Arc::new(Mutex::new(Some(draft))))
    }

    /// Puts a vector in its place.
    pub(super) fn fill(&self, chunk: usize, arrival: Arrival) -> Option<Work> {
        self.land(|draft| {
            draft.chunks[chunk].1 = Some(VectorSource::Here(arrival.vector.clone()));
            draft.work.settlement.arrivals.push(arrival);
        })
    }

    /// One of its chunks will never have a vector.
    pub(super) fn reject(&self, reason: &str) -> Option<Work> {
        self.land(|draft| {
            draft.rejected.get_or_insert_with(|| reason.to_owned());
        })
    }

    /// A chunk waits no more: the work that this finishes.
    fn land(&self, chunk: impl FnOnce(&mut Draft)) -> Option<Work> {
        let mut shared = self.0.lock();
        let draft = shared.as_mut()?;
        chunk(draft);
        draft.awaited -= 1;
        if draft.awaited == 0 { shared.take().map(Draft::finish) } else { None }
    }
}

/// One chunk of one document that waits for a vector.
pub(super) struct Seat {
    pub draft: SharedDraft,
    pub chunk: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::{Claims, Incoming, Settlement};
    use crate::delivery::{Receipt, Verdict};
    use crate::document::{Change, DocumentId, Fields, Operation};
    use crate::ledger::{DocumentWrite, Moot};

    impl Draft {
        /// A new document of these chunks.
        pub(crate) fn waiting(
            id: &str,
            chunks: Vec<(Fingerprint, Option<VectorSource>)>,
            claims: &Arc<Claims>,
            receipt: Receipt,
        ) -> Self {
            let (id, version) = (DocumentId::new(id).unwrap(), crate::document::Version::default());
            let (operation, fields) = (Operation::Upsert, Fields::new());
            let change = Change { id, operation, version, fields, priority: 0, immediate: false };
            let group = claims.claim(vec![Incoming { change, receipt, digest: None, refresh: false }]).remove(0);
            let write = DocumentWrite {
                id: group.claim.id().clone(),
                document: String::new(),
                record: None,
                clears: Some(Moot::up_to(version)),
                metadata: None,
                chunks: Vec::new(),
            };
            let (verdict, receipts, arrivals) = (Verdict::Indexed, group.receipts, Vec::new());
            let settlement = Settlement { verdict, receipts, arrivals, claim: group.claim };
            let awaited = chunks.iter().filter(|(_, vector)| vector.is_none()).count();
            Self { work: Work { write, settlement }, chunks, awaited, rejected: None }
        }
    }
}
