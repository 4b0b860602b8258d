//! The difference between what the index should hold for a document and what it holds.
//!
//! Order of questions for each chunk: does the index hold this text for this document? is the text in flight? is its vector in memory,
//! then in the ledger? Else it is sent. To ask for flights first spares all but one of those who want a text the other questions, and
//! leaves no moment in which two of them could find nothing and both send it.

use std::sync::Arc;

use super::budget::Budget;
use super::claim::Group;
use super::flight::{Boarding, Draft, Flights, PendingText, SharedDraft, Work};
use crate::delivery::{Receipt, Verdict};
use crate::document::chunk::{Chunker, MAX_TEXT_BYTES};
use crate::document::fingerprint::Fingerprinter;
use crate::document::template::Template;
use crate::document::{Document, Fingerprint, Vector};
use crate::embed::estimate::Estimator;
use crate::ledger::{Held, HeldChunk, Moot, PointKey, VectorSource};
use crate::telemetry::{CacheTier, Metrics, Reason};

/// What turns documents into chunks, and where vectors are found. One per generation, shared by its planning tasks.
pub struct Planner {
    /// Renders texts and metadata.
    pub template: Arc<Template>,
    /// Cuts long texts.
    pub chunker: Arc<Chunker>,
    /// Names texts in the provider's space.
    pub fingerprints: Fingerprinter,
    /// Texts on their way.
    pub flights: Arc<Flights>,
    /// Where planned documents take their share of memory.
    pub budget: Arc<Budget>,
    /// Counts cache hits.
    pub metrics: Arc<Metrics>,
}

/// What is to be done for some documents.
#[derive(Default)]
pub struct Planned {
    /// Ready to be written.
    pub ready: Vec<Work>,
    /// To be embedded, unless the ledger has their vectors.
    pub texts: Vec<PendingText>,
}

impl Planner {
    /// Compares each group with what the ledger holds of its document, and looks for what is lacking among flights and in memory. Groups
    /// that change nothing are settled here.
    pub fn plan(&self, groups: Vec<Group>, held: Vec<Held>, estimator: &Estimator) -> Planned {
        let mut planned = Planned::default();
        for (group, held) in groups.into_iter().zip(held) {
            match self.diff(group, held) {
                Need::Nothing => {}
                Need::Write(mut work) => {
                    work.settlement.claim.share = self.budget.take(work.write.document.len());
                    planned.ready.push(work);
                }
                Need::Vectors(mut wanting) => {
                    let texts: usize = wanting.texts.iter().map(|(_, text)| text.len()).sum();
                    wanting.draft.claim.share = self.budget.take(wanting.draft.document.len() + texts);
                    self.board(wanting, estimator, &mut planned);
                }
            }
        }
        planned
    }

    fn diff(&self, group: Group, held: Held) -> Need {
        let (mut document, metadata, chunks, unwritten) = match held {
            Held::Same => return Need::nothing(group.receipts, &Verdict::Unchanged),
            Held::Other(held) => (held.document, held.metadata, held.chunks, held.unwritten),
            Held::Nothing => (Document::default(), None, Vec::new(), false),
        };
        let Group { claim, delta, receipts, record, priority, immediate, refresh } = group;
        let newest = delta.newest();
        let changed = document.join(delta);
        let superseded = newest < document.newest();
        // The newest state of a document that is not in the index is planned again: it may have been rejected, and the process ended
        // before the dead letter was written.
        if !changed && !refresh && !unwritten && (superseded || metadata.is_some()) {
            let verdict = if superseded { Verdict::Superseded } else { Verdict::Unchanged };
            return Need::nothing(receipts, &verdict);
        }
        let mut draft = Draft {
            claim,
            document: document.to_json(),
            record: record.filter(|_| !superseded).map(|(_, record)| record),
            clears: Moot::by(&document),
            metadata: None,
            chunks: Vec::new(),
            awaited: 0,
            rejected: None,
            receipts,
            arrivals: Vec::new(),
        };
        let text = match self.template.render(&document) {
            Ok(Some(text)) => text,
            Ok(None) if !changed && !unwritten && metadata.is_none() => {
                return Need::nothing(draft.receipts, &Verdict::Unchanged);
            }
            Ok(None) => return Need::Write(draft.finish()),
            Err(reason) => return Need::Write(draft.reject(&reason)),
        };
        if text.len() > MAX_TEXT_BYTES {
            let reason =
                format!("the document's text has {} bytes, and at most {MAX_TEXT_BYTES} are taken", text.len());
            return Need::Write(draft.reject(&reason));
        }
        let cut = self.chunker.cut(&text);
        if cut.is_empty() {
            return Need::Write(draft.reject("the document's text is empty"));
        }
        draft.metadata = Some(self.template.metadata(&document));
        let fingerprints: Vec<Fingerprint> = cut.iter().map(|text| self.fingerprints.of(text)).collect();
        let kept = kept(&chunks, &fingerprints);
        let lacking = cut.iter().enumerate().filter(|(number, _)| kept[*number].is_none());
        let texts: Vec<(usize, Arc<str>)> = lacking.map(|(number, text)| (number, Arc::from(*text))).collect();
        let as_held = chunks.iter().map(|chunk| chunk.fingerprint).eq(fingerprints.iter().copied());
        draft.chunks = fingerprints.into_iter().zip(kept.into_iter().map(|key| key.map(VectorSource::Held))).collect();
        self.metrics.cache_hits.of(CacheTier::Index).inc_by((draft.chunks.len() - texts.len()) as u64);
        if !changed && !unwritten && as_held && metadata == draft.metadata {
            return Need::nothing(draft.receipts, &Verdict::Unchanged);
        }
        draft.awaited = texts.len();
        if texts.is_empty() {
            return Need::Write(draft.finish());
        }
        let reason = match changed {
            _ if chunks.is_empty() => Reason::New,
            true => Reason::Changed,
            // Nobody said anything new: the configuration did.
            false => Reason::Migrated,
        };
        Need::Vectors(Wanting { draft, texts, priority, immediate, reason })
    }

    /// Joins flights for what a document lacks. For those that it leads it looks into memory.
    fn board(&self, wanting: Wanting, estimator: &Estimator, planned: &mut Planned) {
        let Wanting { draft, texts, priority, immediate, reason } = wanting;
        let of = texts.len();
        let names: Vec<Fingerprint> = texts.iter().map(|(chunk, _)| draft.chunks[*chunk].0).collect();
        let shared = SharedDraft::new(draft);
        for ((chunk, text), name) in texts.into_iter().zip(names) {
            let flight = match self.flights.board(name, shared.clone(), chunk) {
                Boarding::Lead(flight) => flight,
                boarded => {
                    self.metrics.cache_hits.of(CacheTier::Flight).inc();
                    if let Boarding::Landed(work) = boarded {
                        planned.ready.extend(work.map(|work| *work));
                    }
                    continue;
                }
            };
            if let Some(vector) = flight.cached() {
                self.metrics.cache_hits.of(CacheTier::Memory).inc();
                planned.ready.extend(flight.land_cached(&vector));
                continue;
            }
            let tokens = estimator.tokens(text.len());
            planned.texts.push(PendingText { text, tokens, priority, immediate, reason, of, flight });
        }
    }

    /// Lands the texts whose vectors the ledger has. `stored`: what it has for each text, in their order.
    pub fn land_stored(&self, planned: Planned, stored: Vec<Option<Vector>>) -> Planned {
        let Planned { mut ready, texts } = planned;
        let mut unknown = Vec::with_capacity(texts.len());
        for (pending, vector) in texts.into_iter().zip(stored) {
            match vector {
                Some(vector) => {
                    self.metrics.cache_hits.of(CacheTier::Ledger).inc();
                    ready.extend(pending.flight.land_stored(&vector));
                }
                None => unknown.push(pending),
            }
        }
        Planned { ready, texts: unknown }
    }
}

/// What is to be done for one document.
enum Need {
    /// Nothing: its receipts are settled.
    Nothing,
    Write(Work),
    Vectors(Wanting),
}

/// A document that lacks vectors.
struct Wanting {
    draft: Draft,
    /// (chunk, text) where the draft has no vector.
    texts: Vec<(usize, Arc<str>)>,
    priority: u8,
    immediate: bool,
    reason: Reason,
}

impl Need {
    fn nothing(receipts: Vec<Receipt>, verdict: &Verdict) -> Self {
        receipts.into_iter().for_each(|receipt| receipt.settle(verdict.clone()));
        Self::Nothing
    }
}

/// For each chunk the held point with its text: the one at the same place, else one that no other chunk keeps. A text that the
/// document has twice needs two points.
fn kept(held: &[HeldChunk], wanted: &[Fingerprint]) -> Vec<Option<PointKey>> {
    let stays = |place: usize| held.get(place).is_some_and(|chunk| wanted.get(place) == Some(&chunk.fingerprint));
    let mut free: Vec<&HeldChunk> =
        held.iter().enumerate().filter(|(place, _)| !stays(*place)).map(|(_, chunk)| chunk).collect();
    let mut keep = |(place, fingerprint): (usize, &Fingerprint)| {
        if stays(place) {
            return Some(held[place].key);
        }
        let moved = free.iter().position(|chunk| chunk.fingerprint == *fingerprint)?;
        Some(free.swap_remove(moved).key)
    };
    wanted.iter().enumerate().map(&mut keep).collect()
}
