//! What is done about the [difference](super::diff) between what the index should hold and what it holds: those whose documents lack
//! nothing are told so, and what lacks a vector is looked for.
//!
//! Order of questions for each chunk: does the index hold this text for this document? is the text in flight? is its vector in memory,
//! then in the ledger? Else it is sent. To ask for flights first spares all but one of those who want a text the other questions, and
//! leaves no moment in which two of them could find nothing and both send it.

use std::sync::Arc;

use super::budget::Budget;
use super::claim::Group;
use super::diff::{Diff, Need, Renderer, Wanting, diff};
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
    pub fn plan(&self, groups: Vec<Group>, held: Vec<Option<HeldDocument>>) -> Planned {
        let mut planned = Planned::default();
        for (group, held) in groups.into_iter().zip(held) {
            let Diff { need, kept } = diff(&self.renderer, group, held);
            self.metrics.cache_hits.of(CacheTier::Index).inc_by(kept as u64);
            match need {
                Need::Nothing(settlement) => settlement.settle(),
                Need::Write(mut work) => {
                    work.settlement.claim.share = self.budget.take(work.write.document.len());
                    planned.ready.push(work);
                }
                Need::Vectors(mut wanting) => {
                    let texts: usize = wanting.texts.iter().map(|(_, _, text)| text.len()).sum();
                    let work = &mut wanting.draft.work;
                    work.settlement.claim.share = self.budget.take(work.write.document.len() + texts);
                    self.board(wanting, &mut planned);
                }
            }
        }
        planned
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
