//! The difference between what the index should hold for a document and what it holds.
//!
//! [`Planner::diff`] is pure. The steps around it look things up: what the ledger holds of the documents, then which missing
//! vectors are at hand. Order of questions for each chunk: does the index hold this text for this document? is its vector in
//! memory, then in the ledger? is the text in flight? Else it is sent.

use std::collections::HashMap;
use std::sync::Arc;

use super::cache::VectorCache;
use super::claim::Group;
use super::flight::{Boarding, Draft, Flights, PendingText, SharedDraft, Work};
use crate::delivery::Verdict;
use crate::document::chunk::{Chunker, MAX_TEXT_BYTES};
use crate::document::fingerprint::Fingerprinter;
use crate::document::template::Template;
use crate::document::{Document, Fingerprint, Vector};
use crate::embed::estimate::Estimator;
use crate::ledger::{HeldChunk, HeldDocument, PointKey, VectorSource};
use crate::telemetry::{CacheTier, Metrics, Reason};

/// What turns documents into chunks, and where vectors are found. One per generation, shared by its planning tasks.
pub struct Planner {
    /// Renders texts and metadata.
    pub template: Arc<Template>,
    /// Cuts long texts.
    pub chunker: Arc<Chunker>,
    /// Names texts in the provider's space.
    pub fingerprints: Fingerprinter,
    /// Vectors in memory.
    pub cache: VectorCache,
    /// Texts on their way.
    pub flights: Arc<Flights>,
    /// Counts cache hits.
    pub metrics: Arc<Metrics>,
}

/// A document that needs vectors, with the texts of those that the index does not hold.
pub struct Wanting {
    draft: Draft,
    /// (chunk, text) where the draft has no vector.
    texts: Vec<(usize, Arc<str>)>,
    priority: u8,
    immediate: bool,
    reason: Reason,
}

impl Wanting {
    fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        self.texts.iter().map(|(chunk, _)| self.draft.chunks[*chunk].0)
    }
}

/// What is to be done for some documents, before vectors were looked up.
#[derive(Default)]
pub struct Diffed {
    /// Ready to be written.
    pub ready: Vec<Work>,
    /// Waiting for vectors.
    pub wanting: Vec<Wanting>,
}

/// What is to be done for some documents.
#[derive(Default)]
pub struct Planned {
    /// Ready to be written.
    pub ready: Vec<Work>,
    /// To be embedded.
    pub texts: Vec<PendingText>,
}

impl Planner {
    /// Compares each group with what the ledger holds of its document. Groups that change nothing are settled here.
    pub fn diff(&self, groups: Vec<Group>, held: Vec<Option<HeldDocument>>) -> Diffed {
        let mut diffed = Diffed::default();
        for (group, held) in groups.into_iter().zip(held) {
            self.diff_one(group, held, &mut diffed);
        }
        diffed
    }

    fn diff_one(&self, group: Group, held: Option<HeldDocument>, diffed: &mut Diffed) {
        let (mut document, metadata, chunks) = match held {
            Some(held) => (held.document, held.metadata, held.chunks),
            None => (Document::default(), None, Vec::new()),
        };
        let Group { claim, delta, receipts, priority, immediate, refresh } = group;
        let newest = delta.newest();
        let changed = document.join(delta);
        let superseded = newest < document.newest();
        // The newest state of a document that is not in the index is planned again: it may have been rejected, and the process ended
        // before the dead letter was written.
        if !changed && !refresh && (superseded || metadata.is_some()) {
            let verdict = if superseded { Verdict::Superseded } else { Verdict::Unchanged };
            return receipts.into_iter().for_each(|receipt| receipt.settle(verdict.clone()));
        }
        let mut draft = Draft {
            claim,
            document: document.to_json(),
            newest: document.newest(),
            metadata: None,
            chunks: Vec::new(),
            receipts,
        };
        let text = match self.template.render(&document) {
            Ok(Some(text)) => text,
            Ok(None) if !changed && metadata.is_none() => {
                return draft.receipts.into_iter().for_each(|receipt| receipt.settle(Verdict::Unchanged));
            }
            Ok(None) => return diffed.ready.push(draft.finish()),
            Err(reason) => return diffed.ready.push(draft.reject(&reason)),
        };
        if text.len() > MAX_TEXT_BYTES {
            let reason =
                format!("the document's text has {} bytes, and at most {MAX_TEXT_BYTES} are taken", text.len());
            return diffed.ready.push(draft.reject(&reason));
        }
        let cut = self.chunker.cut(&text);
        if cut.is_empty() {
            return diffed.ready.push(draft.reject("the document's text is empty"));
        }
        draft.metadata = Some(self.template.metadata(&document));
        let fingerprints: Vec<Fingerprint> = cut.iter().map(|text| self.fingerprints.of(text)).collect();
        let kept = kept(&chunks, &fingerprints);
        let lacking = cut.iter().enumerate().filter(|(number, _)| kept[*number].is_none());
        let texts: Vec<(usize, Arc<str>)> = lacking.map(|(number, text)| (number, Arc::from(*text))).collect();
        let as_held = chunks.iter().map(|chunk| chunk.fingerprint).eq(fingerprints.iter().copied());
        draft.chunks = fingerprints.into_iter().zip(kept.into_iter().map(|key| key.map(VectorSource::Held))).collect();
        self.metrics.cache_hits.of(CacheTier::Index).inc_by((draft.chunks.len() - texts.len()) as u64);
        if !changed && as_held && metadata == draft.metadata {
            return draft.receipts.into_iter().for_each(|receipt| receipt.settle(Verdict::Unchanged));
        }
        if draft.is_complete() {
            return diffed.ready.push(draft.finish());
        }
        let reason = match changed {
            _ if chunks.is_empty() => Reason::New,
            true => Reason::Changed,
            // Nobody said anything new: the configuration did.
            false => Reason::Migrated,
        };
        diffed.wanting.push(Wanting { draft, texts, priority, immediate, reason });
    }

    /// The texts whose vectors are not in memory: the ledger may hold them.
    pub fn not_in_memory(&self, wanting: &[Wanting]) -> Vec<Fingerprint> {
        let mut missing: Vec<Fingerprint> = wanting.iter().flat_map(Wanting::fingerprints).collect();
        missing.retain(|fingerprint| self.cache.get(fingerprint).is_none());
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Gives each document the vectors that are at hand; the others are joined to flights or become texts to send. `stored`: what
    /// the ledger answered to [`Planner::not_in_memory`].
    pub fn place(&self, diffed: Diffed, stored: HashMap<Fingerprint, Vector>, estimator: &Estimator) -> Planned {
        let mut planned = Planned { ready: diffed.ready, texts: Vec::new() };
        for (fingerprint, vector) in &stored {
            self.cache.insert(*fingerprint, vector.clone());
        }
        for wanting in diffed.wanting {
            self.place_one(wanting, &stored, estimator, &mut planned);
        }
        planned
    }

    fn place_one(
        &self,
        wanting: Wanting,
        stored: &HashMap<Fingerprint, Vector>,
        estimator: &Estimator,
        planned: &mut Planned,
    ) {
        let Wanting { mut draft, mut texts, priority, immediate, reason } = wanting;
        texts.retain(|(chunk, _)| {
            let (fingerprint, source) = &mut draft.chunks[*chunk];
            let (tier, vector) = match self.cache.get(fingerprint) {
                Some(vector) if stored.contains_key(fingerprint) => (CacheTier::Ledger, vector),
                Some(vector) => (CacheTier::Memory, vector),
                None => match stored.get(fingerprint) {
                    Some(vector) => (CacheTier::Ledger, vector.clone()),
                    None => return true,
                },
            };
            self.metrics.cache_hits.of(tier).inc();
            *source = Some(VectorSource::Here(vector));
            false
        });
        if draft.is_complete() {
            return planned.ready.push(draft.finish());
        }
        let asked: Vec<(usize, Fingerprint, Arc<str>)> =
            texts.into_iter().map(|(chunk, text)| (chunk, draft.chunks[chunk].0, text)).collect();
        let shared = SharedDraft::new(draft);
        for (chunk, fingerprint, text) in asked {
            match self.flights.board(fingerprint, shared.clone(), chunk, &self.cache) {
                Boarding::Lead(flight) => {
                    let tokens = estimator.tokens(text.len());
                    planned.texts.push(PendingText { text, tokens, priority, immediate, reason, flight });
                }
                Boarding::Joined => self.metrics.cache_hits.of(CacheTier::Flight).inc(),
                Boarding::Landed(work) => {
                    self.metrics.cache_hits.of(CacheTier::Memory).inc();
                    planned.ready.extend(work);
                }
            }
        }
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
