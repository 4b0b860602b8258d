//! Equal texts in flight are embedded once.
//!
//! The first to ask for a text leads its *flight*: it looks the vector up, or carries the text to the provider; whoever asks for the
//! same text meanwhile joins. A flight that is dropped before it lands loses everyone who joined: their receipts say so, and they are
//! delivered again. A vector that landed stays at hand until it is written, so that no text is paid for twice however small the cache.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use prometheus::IntGauge;

use super::cache::VectorCache;
use super::draft::{Seat, SharedDraft};
use super::work::Work;
use crate::document::{Fingerprint, Vector};

/// The texts that are on their way: to their vector, or with it to the ledger. Shared by all stages.
pub struct Flights {
    texts: Mutex<HashMap<Fingerprint, Place, RandomState>>,
    /// Shows how many texts are on their way to their vector.
    gauge: IntGauge,
    cache: VectorCache,
    /// Whether the ledger has every vector that was written.
    persisted: bool,
}

/// Where a text is.
enum Place {
    /// On its way to its vector, which these wait for.
    InFlight(Vec<Seat>),
    /// It has its vector, which so many [arrivals](Arrival) bring to the ledger.
    Landed { vector: Vector, arrivals: usize, settled: bool },
}

/// A work's part in bringing a vector to the ledger, wherever the vector came from. When the last of those that share in it ends and none
/// was settled, the vector is lost, and the cache keeps it for those that are delivered again.
pub struct Arrival {
    fingerprint: Fingerprint,
    pub(super) vector: Vector,
    flights: Arc<Flights>,
    /// Whether its work came to its end; dropped before, it is lost.
    settled: bool,
}

/// What came of asking for a text.
pub enum Boarding {
    /// It is not on its way: the caller leads its flight.
    Lead(Flight),
    /// It is on its way already, or has its vector: the work that this finished, if any.
    Shared(Option<Box<Work>>),
}

impl Flights {
    /// None yet. `gauge` shows how many there are, those of an earlier generation that are still ending among them. Vectors that are
    /// not written go to the `cache`, and all of them unless the ledger keeps them: `persisted`.
    pub fn new(gauge: IntGauge, cache: VectorCache, persisted: bool) -> Self {
        Self { texts: Mutex::default(), gauge, cache, persisted }
    }

    /// Asks for the vector of a text for one chunk of a draft.
    ///
    /// Whoever leads looks into the cache and the ledger *after* this: a vector is there before its text is no longer on its way, so one
    /// that has just been written is found.
    pub fn board(self: &Arc<Self>, fingerprint: Fingerprint, draft: SharedDraft, chunk: usize) -> Boarding {
        let mut texts = self.texts.lock();
        let vector = match texts.get_mut(&fingerprint) {
            Some(Place::InFlight(seats)) => {
                seats.push(Seat { draft, chunk });
                return Boarding::Shared(None);
            }
            Some(Place::Landed { vector, arrivals, .. }) => {
                *arrivals += 1;
                vector.clone()
            }
            None => {
                texts.insert(fingerprint, Place::InFlight(vec![Seat { draft, chunk }]));
                self.gauge.inc();
                return Boarding::Lead(Flight { fingerprint, flights: self.clone(), ended: false });
            }
        };
        // Drafts have a lock of their own.
        drop(texts);
        let arrival = Arrival::new(fingerprint, vector, self);
        Boarding::Shared(draft.fill(chunk, arrival).map(Box::new))
    }

    /// How many texts are on their way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.texts.lock().len()
    }
}

impl Arrival {
    /// One that is counted in its text's place.
    fn new(fingerprint: Fingerprint, vector: Vector, flights: &Arc<Flights>) -> Self {
        Self { fingerprint, vector, flights: flights.clone(), settled: false }
    }

    /// What it was for is written.
    pub(super) fn written(mut self) {
        if !self.flights.persisted {
            self.cache();
        }
        self.settled = true;
    }

    /// What it was for is refused. Its vector is kept like any other: many may be refused, so they get no room of their own.
    pub(super) fn refused(mut self) {
        self.cache();
        self.settled = true;
    }

    fn cache(&self) {
        self.flights.cache.insert(self.fingerprint, self.vector.clone());
    }
}

impl Drop for Arrival {
    /// The last one takes the text from its place. Whoever no longer finds it there looks into the cache, where by then it is unless it is
    /// in the ledger.
    fn drop(&mut self) {
        let mut texts = self.flights.texts.lock();
        let Some(Place::Landed { arrivals, settled, .. }) = texts.get_mut(&self.fingerprint) else { return };
        *arrivals -= 1;
        *settled |= self.settled;
        if *arrivals > 0 {
            return;
        }
        if !*settled {
            self.flights.cache.insert_lost(self.fingerprint, self.vector.clone());
        }
        texts.remove(&self.fingerprint);
    }
}

/// The duty to find the vector of one text: where it is kept, or by bringing the text to the provider.
pub struct Flight {
    fingerprint: Fingerprint,
    flights: Arc<Flights>,
    /// Set by `end`; the drop that follows must not touch the places, where the same text may be on its way again.
    ended: bool,
}

impl Flight {
    /// The name of the text.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The vector, if the cache has it.
    pub fn cached(&self) -> Option<Vector> {
        self.flights.cache.get(&self.fingerprint)
    }

    /// The vector was found: returns the work that it finished.
    pub fn land(mut self, vector: Vector) -> impl Iterator<Item = Work> {
        let seats = self.end(Some(&vector));
        let arrive = |seat| (seat, Arrival::new(self.fingerprint, vector.clone(), &self.flights));
        // All of them now, as they are counted: one whose work is not asked for ends too.
        let arrived: Vec<(Seat, Arrival)> = seats.into_iter().map(arrive).collect();
        arrived.into_iter().filter_map(|(seat, arrival)| seat.draft.fill(seat.chunk, arrival))
    }

    /// The vector was in the ledger: keeps it in the cache and returns the work that it finished.
    pub fn land_stored(self, vector: Vector) -> impl Iterator<Item = Work> {
        self.flights.cache.insert(self.fingerprint, vector.clone());
        self.land(vector)
    }

    /// There will never be a vector: returns the work of every document that needed it.
    pub fn reject(mut self, reason: &str) -> impl Iterator<Item = Work> {
        self.end(None).into_iter().filter_map(move |seat| seat.draft.reject(reason))
    }

    /// Ends it, and puts the vector that was found in its place, with an arrival for everyone who waited.
    fn end(&mut self, found: Option<&Vector>) -> Vec<Seat> {
        self.ended = true;
        self.flights.gauge.dec();
        // What is given back is dropped outside the lock: seats that are lost drop receipts and claims, which take locks of their own.
        let mut texts = self.flights.texts.lock();
        let Some(Place::InFlight(seats)) = texts.get_mut(&self.fingerprint) else { return Vec::new() };
        let seats = std::mem::take(seats);
        match found {
            Some(vector) => {
                let landed = Place::Landed { vector: vector.clone(), arrivals: seats.len(), settled: false };
                texts.insert(self.fingerprint, landed);
            }
            None => drop(texts.remove(&self.fingerprint)),
        }
        seats
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.ended {
            self.end(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::Claims;
    use crate::dedup::draft::Draft;
    use crate::delivery::Receipt;
    use crate::delivery::{Verdict, Verdicts};
    use crate::document::fingerprint::Fingerprinter;

    /// Flights, and a text.
    struct Setup {
        claims: Arc<Claims>,
        verdicts: Arc<Verdicts>,
        cache: VectorCache,
        flights: Arc<Flights>,
        name: Fingerprint,
    }

    impl Setup {
        fn new() -> Self {
            let cache = VectorCache::ample();
            let gauge = IntGauge::new("queue", "texts on their way").unwrap();
            Self {
                claims: Arc::default(),
                verdicts: Verdicts::new(|| {}),
                flights: Arc::new(Flights::new(gauge, cache.clone(), true)),
                cache,
                name: Fingerprinter::new("test").of("text"),
            }
        }

        /// A document of this text.
        fn draft(&self, id: &str) -> SharedDraft {
            let receipt = Receipt::new(0, self.verdicts.clone());
            SharedDraft::new(Draft::waiting(id, vec![(self.name, None)], &self.claims, receipt))
        }
    }

    #[test]
    fn a_document_goes_on_with_its_last_chunk_and_a_late_drop_hurts_no_later_flight() {
        let (claims, verdicts) = (Arc::default(), Verdicts::new(|| {}));
        let draft =
            |id, chunks| SharedDraft::new(Draft::waiting(id, chunks, &claims, Receipt::new(0, verdicts.clone())));
        let gauge = IntGauge::new("queue", "texts on their way").unwrap();
        let cache = VectorCache::ample();
        let flights = Arc::new(Flights::new(gauge.clone(), cache.clone(), true));
        let [one, two, three] = ["one", "two", "three"].map(|text| Fingerprinter::new("test").of(text));
        let shared = draft("a", vec![(one, None), (two, None), (one, None)]);
        let lead = |fingerprint, shared: &SharedDraft, chunk| match flights.board(fingerprint, shared.clone(), chunk) {
            Boarding::Lead(flight) => flight,
            _ => panic!("it is on its way, or has landed"),
        };
        let (first, second) = (lead(one, &shared, 0), lead(two, &shared, 1));
        assert!(matches!(flights.board(one, shared.clone(), 2), Boarding::Shared(None)));
        assert_eq!(gauge.get(), 2);
        let vector: Vector = Arc::from([1.0]);
        assert_eq!(first.land(vector.clone()).count(), 0, "one chunk is still to come");
        let works: Vec<Work> = second.reject("refused").collect();
        assert_eq!(works.len(), 1);
        assert!(matches!(&works[0].settlement.verdict, Verdict::Rejected(reason) if &**reason == "refused"));
        drop(works);
        assert_eq!(cache.get(&one), Some(vector.clone()), "it was paid for, and not written");
        // A rejected text is not kept, so it may be on its way again; the flight before it is over and takes nobody along.
        let other = draft("b", vec![(two, None)]);
        let third = lead(two, &other, 0);
        assert_eq!((flights.len(), gauge.get()), (1, 1));
        let written: Vec<Work> = third.land(vector).collect();
        let late = draft("c", vec![(two, None)]);
        let Boarding::Shared(Some(late)) = flights.board(two, late, 0) else { panic!("it has landed") };
        written.into_iter().for_each(|work| work.settlement.settle());
        assert_eq!((flights.len(), gauge.get()), (1, 0), "one who needs it has not written it yet");
        late.settlement.settle();
        assert_eq!(cache.get(&two), None, "the ledger has it");

        let waiting = draft("d", vec![(two, None), (three, None)]);
        let (refused, paid) = (lead(two, &waiting, 0), lead(three, &waiting, 1));
        assert_eq!(refused.reject("refused").count(), 0, "what is paid for meanwhile is to be kept");
        let works: Vec<Work> = paid.land(Arc::from([2.0])).collect();
        let [Work { write, settlement }] = &works[..] else { panic!("{} works", works.len()) };
        assert!(matches!(&settlement.verdict, Verdict::Rejected(reason) if &**reason == "refused"));
        assert_eq!((&write.metadata, write.chunks.len(), write.chunks[0].fingerprint), (&None, 1, three));
        works.into_iter().for_each(|work| work.settlement.settle());
        assert_eq!((flights.len(), gauge.get(), claims.claimed()), (0, 0, 0));
    }

    #[test]
    fn a_vector_that_was_found_stays_at_hand_until_it_is_written_whatever_the_cache_forgets() {
        let setup = Setup::new();
        let lead = |id| match setup.flights.board(setup.name, setup.draft(id), 0) {
            Boarding::Lead(flight) => flight,
            Boarding::Shared(_) => panic!("`{id}` does not lead"),
        };
        let shares = |id| match setup.flights.board(setup.name, setup.draft(id), 0) {
            Boarding::Shared(Some(work)) => *work,
            Boarding::Shared(None) | Boarding::Lead(_) => panic!("`{id}` does not find it at hand"),
        };
        let vector: Vector = Arc::from([1.0]);
        let lands: [fn(Flight, Vector) -> Vec<Work>; 2] =
            [|flight, vector| flight.land_stored(vector).collect(), |flight, vector| flight.land(vector).collect()];
        for land in lands {
            let works = land(lead("a"), vector.clone());
            setup.cache.drop_one(&setup.name);
            let late = shares("b");
            drop(works);
            drop(shares("c"));
            assert_eq!(setup.cache.get(&setup.name), None, "one of them still brings it to the ledger");
            drop(late);
            assert_eq!(setup.flights.len(), 0, "all of them were lost");
            setup.cache.drop_one(&setup.name);
            assert_eq!(setup.cache.get(&setup.name), Some(vector.clone()), "it needs no room");
            assert_eq!(setup.cache.get(&setup.name), None, "whoever took it brings it to the ledger");
        }
    }

    #[test]
    fn a_vector_that_is_refused_has_no_more_room_than_others_have() {
        let setup = Setup::new();
        for dropped in [false, true] {
            let Boarding::Lead(flight) = setup.flights.board(setup.name, setup.draft("a"), 0) else {
                panic!("it does not lead")
            };
            for mut work in flight.land(Arc::from([1.0])) {
                work.settlement.reject("too large");
                work.settlement.settle();
            }
            if dropped {
                setup.cache.drop_one(&setup.name);
            }
            assert_eq!(setup.cache.get(&setup.name).is_none(), dropped);
        }
    }
}
