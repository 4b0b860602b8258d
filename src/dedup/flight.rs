//! Equal texts in flight are embedded once, and a document goes on when its last chunk has landed.
//!
//! The first to ask for a text leads its *flight*: it looks the vector up, or carries the text to the provider; whoever asks for the
//! same text meanwhile joins. A flight that is dropped before it lands loses everyone who joined: their receipts say so, and they are
//! delivered again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use prometheus::IntGauge;

use super::cache::VectorCache;
use super::claim::Claim;
use crate::delivery::{Receipt, Verdict};
use crate::document::{Fingerprint, Vector, Version};
use crate::ledger::{ChunkWrite, DocumentWrite, VectorSource};
use crate::telemetry::Reason;

/// What is to be written for one document, and who waits for it.
pub struct Work {
    /// What the index and the ledger shall hold.
    pub write: DocumentWrite,
    /// Who is told when they do.
    pub settlement: Settlement,
}

/// Who is told what when a write is done.
pub struct Settlement {
    /// What the receipts are told.
    pub verdict: Verdict,
    /// One for every change in the write.
    pub receipts: Vec<Receipt>,
    /// The right to work on the document; dropped after the receipts were told.
    pub claim: Claim,
}

impl Settlement {
    /// Tells everyone that it is done.
    pub fn settle(self) {
        for receipt in self.receipts {
            receipt.settle(self.verdict.clone());
        }
    }
}

/// A message of finished work to the index writer.
pub struct Works(pub Vec<Work>);

/// Work that lacks some vectors.
pub struct Draft {
    /// The claim and, at its end, the document.
    pub claim: Claim,
    /// [`DocumentWrite::document`].
    pub document: String,
    /// [`DocumentWrite::newest`].
    pub newest: Version,
    /// [`DocumentWrite::metadata`].
    pub metadata: Option<String>,
    /// The chunks in order; `None` where the vector is yet to come.
    pub chunks: Vec<(Fingerprint, Option<VectorSource>)>,
    /// See [`Settlement::receipts`].
    pub receipts: Vec<Receipt>,
}

impl Draft {
    /// Whether no vector is missing.
    pub fn is_complete(&self) -> bool {
        self.chunks.iter().all(|(_, vector)| vector.is_some())
    }

    /// The finished work of a complete draft.
    pub fn finish(self) -> Work {
        debug_assert!(self.is_complete(), "a document must not be written without some of its chunks");
        let chunks = self
            .chunks
            .into_iter()
            .filter_map(|(fingerprint, vector)| vector.map(|vector| ChunkWrite { fingerprint, vector }));
        let write = DocumentWrite {
            id: self.claim.id().clone(),
            document: self.document,
            newest: self.newest,
            metadata: self.metadata,
            chunks: chunks.collect(),
        };
        let settlement = Settlement { verdict: Verdict::Indexed, receipts: self.receipts, claim: self.claim };
        Work { write, settlement }
    }

    /// The document cannot be embedded: its state is kept, it leaves the index, and its changes are rejected.
    pub fn reject(self, reason: &str) -> Work {
        let write = DocumentWrite {
            id: self.claim.id().clone(),
            document: self.document,
            newest: self.newest,
            metadata: None,
            chunks: Vec::new(),
        };
        let verdict = Verdict::Rejected(reason.into());
        Work { write, settlement: Settlement { verdict, receipts: self.receipts, claim: self.claim } }
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

    fn fill(&self, chunk: usize, vector: &Vector) -> Option<Work> {
        let mut shared = self.0.lock();
        let draft = shared.as_mut()?;
        draft.chunks[chunk].1 = Some(VectorSource::Here(vector.clone()));
        if draft.is_complete() { shared.take().map(Draft::finish) } else { None }
    }

    fn reject(&self, reason: &str) -> Option<Work> {
        self.0.lock().take().map(|draft| draft.reject(reason))
    }
}

/// One chunk of one document that waits for a vector.
struct Seat {
    draft: SharedDraft,
    chunk: usize,
}

/// The texts that are on their way to the provider. Shared by all stages.
pub struct Flights {
    seats: Mutex<HashMap<Fingerprint, Vec<Seat>, RandomState>>,
    /// Shows how many there are.
    gauge: IntGauge,
}

impl Flights {
    /// None yet. `gauge` shows how many there are, those of an earlier generation that are still ending among them.
    pub fn new(gauge: IntGauge) -> Self {
        Self { seats: Mutex::default(), gauge }
    }

    /// Asks for the vector of a text for one chunk of a draft. Answers the flight when the caller leads it, nothing when the text is
    /// on its way already.
    ///
    /// Who leads looks into the cache *after* this: a vector is put there before its flight ends, so a text that has just landed is found.
    pub fn board(self: &Arc<Self>, fingerprint: Fingerprint, draft: SharedDraft, chunk: usize) -> Option<Flight> {
        let mut flights = self.seats.lock();
        match flights.entry(fingerprint) {
            Entry::Occupied(mut seats) => {
                seats.get_mut().push(Seat { draft, chunk });
                None
            }
            Entry::Vacant(vacant) => {
                vacant.insert(vec![Seat { draft, chunk }]);
                self.gauge.inc();
                Some(Flight { fingerprint, flights: Some(self.clone()) })
            }
        }
    }

    /// How many texts are on their way.
    pub fn len(&self) -> usize {
        self.seats.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The duty to find the vector of one text: where it is kept, or by bringing the text to the provider.
pub struct Flight {
    fingerprint: Fingerprint,
    /// Taken when it ends: the same text may be on its way again before this one is dropped.
    flights: Option<Arc<Flights>>,
}

impl Flight {
    /// The name of the text.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The vector came from elsewhere: keeps it in the cache and returns the work that it finished.
    pub fn land(self, vector: &Vector, cache: &VectorCache) -> impl Iterator<Item = Work> {
        cache.insert(self.fingerprint, vector.clone());
        self.land_cached(vector)
    }

    /// The vector was in the cache: returns the work that it finished.
    pub fn land_cached(mut self, vector: &Vector) -> impl Iterator<Item = Work> {
        self.end().into_iter().filter_map(|seat| seat.draft.fill(seat.chunk, vector))
    }

    /// There will never be a vector: returns the work of every document that needed it.
    pub fn reject(mut self, reason: &str) -> impl Iterator<Item = Work> {
        self.end().into_iter().filter_map(move |seat| seat.draft.reject(reason))
    }

    fn end(&mut self) -> Vec<Seat> {
        let Some(flights) = self.flights.take() else { return Vec::new() };
        flights.gauge.dec();
        // Outside the lock from here on: seats that are lost drop receipts and claims, which take locks of their own.
        flights.seats.lock().remove(&self.fingerprint).unwrap_or_default()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.end();
    }
}

/// A text on its way to the provider.
pub struct PendingText {
    /// What is embedded.
    pub text: Arc<str>,
    /// Its tokens, estimated.
    pub tokens: u64,
    /// See `Change::priority`.
    pub priority: u8,
    /// See `Change::immediate`.
    pub immediate: bool,
    /// Why it must be paid for.
    pub reason: Reason,
    /// Who waits for it.
    pub flight: Flight,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::{Claims, Incoming};
    use crate::delivery::Verdicts;
    use crate::document::fingerprint::Fingerprinter;
    use crate::document::{Change, DocumentId, Fields, Operation};
    use crate::settings::DedupSettings;

    fn draft(
        id: &str,
        chunks: Vec<(Fingerprint, Option<VectorSource>)>,
        claims: &Arc<Claims>,
        verdicts: &Arc<Verdicts>,
    ) -> Draft {
        let (id, version) = (DocumentId::new(id).unwrap(), Version::default());
        let (operation, fields) = (Operation::Upsert, Fields::new());
        let change = Change { id, operation, version, fields, priority: 0, immediate: false };
        let receipt = Receipt::new(0, verdicts.clone());
        let group = claims.claim(vec![Incoming { change, receipt, refresh: false }]).remove(0);
        let (claim, receipts) = (group.claim, group.receipts);
        Draft { claim, document: String::new(), newest: version, metadata: None, chunks, receipts }
    }

    #[test]
    fn a_document_goes_on_with_its_last_chunk_and_a_late_drop_hurts_no_later_flight() {
        let (claims, verdicts) = (Arc::default(), Verdicts::new(|| {}));
        let gauge = IntGauge::new("queue", "texts on their way").unwrap();
        let (flights, cache) = (Arc::new(Flights::new(gauge.clone())), VectorCache::new(&DedupSettings::default(), 1));
        let [one, two] = ["one", "two"].map(|text| Fingerprinter::new("test").of(text));
        let shared = SharedDraft::new(draft("a", vec![(one, None), (two, None), (one, None)], &claims, &verdicts));
        let lead = |fingerprint, shared: &SharedDraft, chunk| {
            flights.board(fingerprint, shared.clone(), chunk).expect("it is not on its way")
        };
        let (first, second) = (lead(one, &shared, 0), lead(two, &shared, 1));
        assert!(flights.board(one, shared.clone(), 2).is_none(), "who asks for a text on its way joins");
        assert_eq!(gauge.get(), 2);
        let vector: Vector = Arc::from([1.0]);
        assert_eq!(first.land(&vector, &cache).count(), 0, "one chunk is still to come");
        let works: Vec<Work> = second.reject("refused").collect();
        assert_eq!(works.len(), 1);
        assert!(matches!(&works[0].settlement.verdict, Verdict::Rejected(reason) if &**reason == "refused"));
        drop(works);
        // A rejected text is not kept, so it may be on its way again; the flight before it is over and takes nobody along.
        let other = SharedDraft::new(draft("b", vec![(two, None)], &claims, &verdicts));
        let third = lead(two, &other, 0);
        assert_eq!((flights.len(), gauge.get()), (1, 1));
        assert_eq!(third.land(&vector, &cache).count(), 1);
        assert_eq!(cache.get(&two), Some(vector), "whoever leads the next flight finds it");
        assert_eq!((flights.len(), gauge.get(), claims.claimed()), (0, 0, 0));
    }
}
