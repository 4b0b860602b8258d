//! Equal texts in flight are embedded once, and a document goes on when its last chunk has landed.
//!
//! The first to ask for a text leads its *flight*: it looks the vector up, or carries the text to the provider; whoever asks for the
//! same text meanwhile joins. A flight that is dropped before it lands loses everyone who joined: their receipts say so, and they are
//! delivered again. A vector that landed stays at hand until it is written, so that no text is paid for twice however small the cache.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use prometheus::IntGauge;

use super::cache::VectorCache;
use super::claim::Claim;
use crate::delivery::{Receipt, Verdict};
use crate::document::{Fingerprint, Vector};
use crate::ledger::{ChunkWrite, DocumentWrite, Moot, TakenRecord, VectorSource};
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
    /// The vectors in the write that came from the provider.
    pub arrivals: Vec<Arc<Arrival>>,
    /// The right to work on the document; dropped after the receipts were told.
    pub claim: Claim,
}

impl Settlement {
    /// The index does not take the document: its changes are rejected.
    pub fn reject(&mut self, reason: &str) {
        self.verdict = Verdict::Rejected(reason.into());
        // What arrived for it is not kept, so it goes to the cache.
        self.arrivals.clear();
    }

    /// Tells everyone that it is done.
    pub fn settle(self) {
        self.arrivals.iter().for_each(|arrival| arrival.written.store(true, Ordering::Relaxed));
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
    /// [`DocumentWrite::record`].
    pub record: Option<TakenRecord>,
    /// [`DocumentWrite::clears`], when it gets into the index.
    pub clears: Moot,
    /// [`DocumentWrite::metadata`].
    pub metadata: Option<String>,
    /// The chunks in order; `None` where the vector is yet to come, or never will.
    pub chunks: Vec<(Fingerprint, Option<VectorSource>)>,
    /// How many chunks wait for their vector.
    pub awaited: usize,
    /// Why a chunk will never have one: the document is rejected when all others have theirs, which are paid for.
    pub rejected: Option<String>,
    /// See [`Settlement::receipts`].
    pub receipts: Vec<Receipt>,
    /// See [`Settlement::arrivals`].
    pub arrivals: Vec<Arc<Arrival>>,
}

impl Draft {
    /// The finished work of a draft that awaits nothing.
    pub fn finish(mut self) -> Work {
        debug_assert_eq!(self.awaited, 0, "a document must not be written without some of its chunks");
        if let Some(reason) = self.rejected.take() {
            return self.reject(&reason);
        }
        debug_assert!(self.chunks.iter().all(|(_, vector)| vector.is_some()), "what never comes is a reason to reject");
        let chunks = self
            .chunks
            .into_iter()
            .filter_map(|(fingerprint, vector)| vector.map(|vector| ChunkWrite { fingerprint, vector }));
        let write = DocumentWrite {
            id: self.claim.id().clone(),
            document: self.document,
            record: self.record,
            clears: Some(self.clears),
            metadata: self.metadata,
            chunks: chunks.collect(),
        };
        let Self { receipts, arrivals, claim, .. } = self;
        Work { write, settlement: Settlement { verdict: Verdict::Indexed, receipts, arrivals, claim } }
    }

    /// The document cannot be embedded: its state is kept, it leaves the index, and its changes are rejected. The vectors that it has got
    /// are kept with it.
    pub fn reject(self, reason: &str) -> Work {
        let here = |(fingerprint, vector)| match vector {
            Some(vector @ VectorSource::Here(_)) => Some(ChunkWrite { fingerprint, vector }),
            Some(VectorSource::Held(_)) | None => None,
        };
        let write = DocumentWrite {
            id: self.claim.id().clone(),
            document: self.document,
            record: None,
            clears: None,
            metadata: None,
            chunks: self.chunks.into_iter().filter_map(here).collect(),
        };
        let verdict = Verdict::Rejected(reason.into());
        let Self { receipts, arrivals, claim, .. } = self;
        Work { write, settlement: Settlement { verdict, receipts, arrivals, claim } }
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

    /// Puts a vector in its place; `arrival` when it came from the provider.
    fn fill(&self, chunk: usize, vector: &Vector, arrival: Option<&Arc<Arrival>>) -> Option<Work> {
        self.land(|draft| {
            draft.chunks[chunk].1 = Some(VectorSource::Here(vector.clone()));
            draft.arrivals.extend(arrival.cloned());
        })
    }

    /// One of its chunks will never have a vector.
    fn reject(&self, reason: &str) -> Option<Work> {
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
struct Seat {
    draft: SharedDraft,
    chunk: usize,
}

/// The texts that are on their way: to their vector, or with it to the ledger. Shared by all stages.
pub struct Flights {
    stages: Mutex<HashMap<Fingerprint, Stage, RandomState>>,
    /// Shows how many texts are on their way to their vector.
    gauge: IntGauge,
    cache: VectorCache,
    /// Whether the ledger has every vector that was written.
    persisted: bool,
}

/// Where a text is.
enum Stage {
    /// On its way to its vector, which these wait for.
    InFlight(Vec<Seat>),
    /// It has its vector, which is not written yet.
    Landed(Weak<Arrival>),
}

/// A vector on its way from the provider to the ledger. When nobody brings it there any more, it is forgotten if the ledger has it;
/// else it goes to the cache.
pub struct Arrival {
    fingerprint: Fingerprint,
    vector: Vector,
    flights: Arc<Flights>,
    written: AtomicBool,
}

/// What came of asking for a text.
pub enum Boarding {
    /// It is not on its way: the caller leads its flight.
    Lead(Flight),
    /// It is on its way already.
    Joined,
    /// It has its vector; the work that this finished, if any.
    Landed(Option<Box<Work>>),
}

impl Flights {
    /// None yet. `gauge` shows how many there are, those of an earlier generation that are still ending among them. Vectors that are
    /// not written go to the `cache`, and all of them unless the ledger keeps them: `persisted`.
    pub fn new(gauge: IntGauge, cache: VectorCache, persisted: bool) -> Self {
        Self { stages: Mutex::default(), gauge, cache, persisted }
    }

    /// Asks for the vector of a text for one chunk of a draft.
    ///
    /// Who leads looks into the cache and the ledger *after* this: a vector is there before its text is no longer on its way, so one that
    /// has just been written is found.
    pub fn board(self: &Arc<Self>, fingerprint: Fingerprint, draft: SharedDraft, chunk: usize) -> Boarding {
        let mut stages = self.stages.lock();
        let arrival = match stages.get_mut(&fingerprint) {
            Some(Stage::InFlight(seats)) => {
                seats.push(Seat { draft, chunk });
                return Boarding::Joined;
            }
            // Or nothing, when it is just about to be forgotten.
            Some(Stage::Landed(arrival)) => arrival.upgrade(),
            None => None,
        };
        let Some(arrival) = arrival else {
            stages.insert(fingerprint, Stage::InFlight(vec![Seat { draft, chunk }]));
            self.gauge.inc();
            return Boarding::Lead(Flight { fingerprint, flights: Some(self.clone()) });
        };
        // The end of the last arrival takes the lock.
        drop(stages);
        Boarding::Landed(draft.fill(chunk, &arrival.vector, Some(&arrival)).map(Box::new))
    }

    /// How many texts are on their way.
    pub fn len(&self) -> usize {
        self.stages.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // Into the cache first: only who boards between the end of its last holder and this line may miss it, and pay again.
        if !(self.written.load(Ordering::Relaxed) && self.flights.persisted) {
            self.flights.cache.insert(self.fingerprint, self.vector.clone());
        }
        let mut stages = self.flights.stages.lock();
        if let Entry::Occupied(stage) = stages.entry(self.fingerprint)
            && matches!(stage.get(), Stage::Landed(arrival) if std::ptr::eq(arrival.as_ptr(), self))
        {
            stage.remove();
        }
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

    /// The vector, if the cache has it.
    pub fn cached(&self) -> Option<Vector> {
        self.flights.as_ref()?.cache.get(&self.fingerprint)
    }

    /// The vector came from the provider: returns the work that it finished.
    pub fn land(mut self, vector: Vector) -> impl Iterator<Item = Work> {
        let flights = self.flights.clone().expect("a flight ends when it is dropped or lands");
        let (fingerprint, written) = (self.fingerprint, AtomicBool::new(false));
        let arrival = Arc::new(Arrival { fingerprint, vector, flights, written });
        let seats = self.end(Some(&arrival));
        seats.into_iter().filter_map(move |seat| seat.draft.fill(seat.chunk, &arrival.vector, Some(&arrival)))
    }

    /// The vector was in the ledger: keeps it in the cache and returns the work that it finished.
    pub fn land_stored(self, vector: &Vector) -> impl Iterator<Item = Work> {
        if let Some(flights) = &self.flights {
            flights.cache.insert(self.fingerprint, vector.clone());
        }
        self.land_cached(vector)
    }

    /// The vector was in the cache: returns the work that it finished.
    pub fn land_cached(mut self, vector: &Vector) -> impl Iterator<Item = Work> {
        self.end(None).into_iter().filter_map(|seat| seat.draft.fill(seat.chunk, vector, None))
    }

    /// There will never be a vector: returns the work of every document that needed it.
    pub fn reject(mut self, reason: &str) -> impl Iterator<Item = Work> {
        self.end(None).into_iter().filter_map(move |seat| seat.draft.reject(reason))
    }

    /// Ends it, and puts the vector that arrived in its place.
    fn end(&mut self, arrival: Option<&Arc<Arrival>>) -> Vec<Seat> {
        let Some(flights) = self.flights.take() else { return Vec::new() };
        flights.gauge.dec();
        let mut stages = flights.stages.lock();
        let stage = match arrival {
            Some(arrival) => stages.insert(self.fingerprint, Stage::Landed(Arc::downgrade(arrival))),
            None => stages.remove(&self.fingerprint),
        };
        // Outside the lock from here on: seats that are lost drop receipts and claims, which take locks of their own.
        drop(stages);
        match stage {
            Some(Stage::InFlight(seats)) => seats,
            Some(Stage::Landed(_)) | None => Vec::new(),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.end(None);
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
    /// How many texts its document waits for, this one among them.
    pub of: usize,
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
            Self {
                claim: group.claim,
                document: String::new(),
                record: None,
                clears: Moot::up_to(version),
                metadata: None,
                awaited: chunks.iter().filter(|(_, vector)| vector.is_none()).count(),
                rejected: None,
                chunks,
                receipts: group.receipts,
                arrivals: Vec::new(),
            }
        }
    }

    fn draft(
        id: &str,
        chunks: Vec<(Fingerprint, Option<VectorSource>)>,
        claims: &Arc<Claims>,
        verdicts: &Arc<Verdicts>,
    ) -> Draft {
        Draft::waiting(id, chunks, claims, Receipt::new(0, verdicts.clone()))
    }

    #[test]
    fn a_document_goes_on_with_its_last_chunk_and_a_late_drop_hurts_no_later_flight() {
        let (claims, verdicts) = (Arc::default(), Verdicts::new(|| {}));
        let gauge = IntGauge::new("queue", "texts on their way").unwrap();
        let cache = VectorCache::new(&DedupSettings::default(), 1);
        let flights = Arc::new(Flights::new(gauge.clone(), cache.clone(), true));
        let [one, two, three] = ["one", "two", "three"].map(|text| Fingerprinter::new("test").of(text));
        let shared = SharedDraft::new(draft("a", vec![(one, None), (two, None), (one, None)], &claims, &verdicts));
        let lead = |fingerprint, shared: &SharedDraft, chunk| match flights.board(fingerprint, shared.clone(), chunk) {
            Boarding::Lead(flight) => flight,
            _ => panic!("it is on its way, or has landed"),
        };
        let (first, second) = (lead(one, &shared, 0), lead(two, &shared, 1));
        assert!(matches!(flights.board(one, shared.clone(), 2), Boarding::Joined));
        assert_eq!(gauge.get(), 2);
        let vector: Vector = Arc::from([1.0]);
        assert_eq!(first.land(vector.clone()).count(), 0, "one chunk is still to come");
        let works: Vec<Work> = second.reject("refused").collect();
        assert_eq!(works.len(), 1);
        assert!(matches!(&works[0].settlement.verdict, Verdict::Rejected(reason) if &**reason == "refused"));
        drop(works);
        assert_eq!(cache.get(&one), Some(vector.clone()), "it was paid for, and not written");
        // A rejected text is not kept, so it may be on its way again; the flight before it is over and takes nobody along.
        let other = SharedDraft::new(draft("b", vec![(two, None)], &claims, &verdicts));
        let third = lead(two, &other, 0);
        assert_eq!((flights.len(), gauge.get()), (1, 1));
        let written: Vec<Work> = third.land(vector).collect();
        let late = SharedDraft::new(draft("c", vec![(two, None)], &claims, &verdicts));
        let Boarding::Landed(Some(late)) = flights.board(two, late, 0) else { panic!("it has landed") };
        written.into_iter().for_each(|work| work.settlement.settle());
        assert_eq!((flights.len(), gauge.get()), (1, 0), "one who needs it has not written it yet");
        late.settlement.settle();
        assert_eq!(cache.get(&two), None, "the ledger has it");

        let waiting = SharedDraft::new(draft("d", vec![(two, None), (three, None)], &claims, &verdicts));
        let (refused, paid) = (lead(two, &waiting, 0), lead(three, &waiting, 1));
        assert_eq!(refused.reject("refused").count(), 0, "what is paid for meanwhile is to be kept");
        let works: Vec<Work> = paid.land(Arc::from([2.0])).collect();
        let [Work { write, settlement }] = &works[..] else { panic!("{} works", works.len()) };
        assert!(matches!(&settlement.verdict, Verdict::Rejected(reason) if &**reason == "refused"));
        assert_eq!((&write.metadata, write.chunks.len(), write.chunks[0].fingerprint), (&None, 1, three));
        works.into_iter().for_each(|work| work.settlement.settle());
        assert_eq!((flights.len(), gauge.get(), claims.claimed()), (0, 0, 0));
    }
}
