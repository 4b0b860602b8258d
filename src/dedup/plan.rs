//! What is done about the [difference](super::diff) between what the index should hold and what it holds: changes to documents that lack
//! nothing are settled, and the vectors that are lacking are looked for.
//!
//! Order of questions for each chunk: does the index hold this text for this document? is the text in flight? is its vector in memory,
//! then in the ledger? Else it is sent. Asking for flights first means that only one of several documents with the same text asks the
//! other questions, and leaves no moment in which two of them could find nothing and both send it.

use std::sync::Arc;

use super::budget::Budget;
use super::claim::Group;
use super::departures::Departures;
use super::diff::{Need, Renderer, Wanting, diff};
use super::draft::SharedDraft;
use super::flight::{Boarding, Flights};
use super::pending::PendingText;
use super::work::Work;
use crate::document::Vector;
use crate::ledger::HeldDocument;
use crate::telemetry::{CacheTier, Metrics};

/// How documents are compared, and where vectors are found. One per generation, shared by its planning tasks.
pub struct Planner {
    /// Says what the index should hold.
    pub renderer: Renderer,
    /// Texts on their way.
    pub flights: Arc<Flights>,
    /// Where planned documents take their share of memory.
    pub budget: Arc<Budget>,
    /// Bytes of one vector.
    pub vector_bytes: usize,
    /// Counts cache hits.
    pub metrics: Arc<Metrics>,
    /// Told of documents that leave the index for want of a text.
    pub departures: Arc<Departures>,
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
    /// that change nothing are settled here. Ends with the document that exceeds the [step](Budget::step) of the budget, and gives the
    /// groups behind it back.
    pub fn plan(&self, groups: Vec<Group>, held: Vec<Option<HeldDocument>>) -> (Planned, Vec<Group>) {
        let mut planned = Planned::default();
        let mut bytes = 0;
        let mut groups = groups.into_iter().zip(held);
        while bytes <= self.budget.step()
            && let Some((group, held)) = groups.next()
        {
            let (need, kept) = diff(&self.renderer, group, held);
            self.metrics.cache_hits.of(CacheTier::Index).inc_by(kept as u64);
            match need {
                Need::Nothing(settlement) => settlement.settle(),
                Need::Leave(work, document) => {
                    let why = || self.renderer.template.why_no_text(&document).unwrap_or_default();
                    self.departures.note(&work.write.id, why);
                    bytes += self.ready(work, &mut planned);
                }
                Need::Write(work) => bytes += self.ready(work, &mut planned),
                Need::Vectors(mut wanting) => {
                    let lacking: usize = wanting.texts.iter().map(|(_, _, text)| text.len() + self.vector_bytes).sum();
                    let work = &mut wanting.draft.work;
                    let all = work.write.document.len() + lacking;
                    // But for one vector, which is bounded by the number of documents: short ones that wait for a slow provider must not
                    // keep others from being planned, which may go first or lack no text.
                    work.settlement.claim.share = self.budget.take(all - self.vector_bytes);
                    bytes += all;
                    self.board(wanting, &mut planned);
                }
            }
        }
        (planned, groups.map(|(group, _)| group).collect())
    }

    /// Takes a document that lacks nothing, which is of so many bytes.
    fn ready(&self, mut work: Work, planned: &mut Planned) -> usize {
        let all = work.write.document.len();
        work.settlement.claim.share = self.budget.take(all);
        planned.ready.push(work);
        all
    }

    /// Joins flights for what a document lacks. For those that it leads it looks into memory.
    fn board(&self, wanting: Wanting, planned: &mut Planned) {
        let Wanting { draft, texts, priority, immediate, reason } = wanting;
        let texts_of_document = texts.len();
        let shared = SharedDraft::new(draft);
        for (chunk, name, text) in texts {
            let flight = match self.flights.board(name, shared.clone(), chunk) {
                Boarding::Lead(flight) => flight,
                Boarding::Shared(work) => {
                    self.metrics.cache_hits.of(CacheTier::Flight).inc();
                    planned.ready.extend(work.map(|work| *work));
                    continue;
                }
            };
            if let Some(vector) = flight.cached() {
                self.metrics.cache_hits.of(CacheTier::Memory).inc();
                planned.ready.extend(flight.land(vector));
                continue;
            }
            planned.texts.push(PendingText { text, priority, immediate, reason, texts_of_document, flight });
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
                    ready.extend(pending.flight.land_stored(vector));
                }
                None => unknown.push(pending),
            }
        }
        Planned { ready, texts: unknown }
    }
}
