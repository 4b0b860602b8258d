//! Documents that leave the index because a change took from them what their text needs. Mostly nobody meant that: a field got another name
//! where the data come from.

use parking_lot::Mutex;

use crate::document::DocumentId;

/// How many left in this run, and one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departed {
    /// How often one left. One whose write was lost, and which was planned again, counts twice.
    pub documents: u64,
    /// The first of them.
    pub example: DocumentId,
    /// Why it has no text.
    pub reason: String,
}

/// Numbers at which it is told again, for a process that runs for months.
const TOLD_AGAIN: [u64; 3] = [100, 10_000, 1_000_000];

/// Tells of the first, and again when they have become many, and counts them. Outlives the actors: it is of the whole run.
#[derive(Debug, Default)]
pub struct Departures(Mutex<Option<Departed>>);

impl Departures {
    /// Notes that a document leaves. Of those that it tells of, it asks why.
    pub(super) fn note(&self, id: &DocumentId, why: impl FnOnce() -> String) {
        let mut departed = self.0.lock();
        if let Some(departed) = &mut *departed {
            departed.documents += 1;
            // The first may have been meant.
            if TOLD_AGAIN.contains(&departed.documents) {
                let (documents, reason) = (departed.documents, why());
                tracing::warn!(
                    documents,
                    document = %id,
                    reason,
                    "many documents leave the index, as changes took away what their text needs; this is the latest"
                );
            }
            return;
        }
        let reason = why();
        tracing::warn!(
            document = %id,
            reason,
            "documents leave the index, as changes took away what their text needs; this is the first, and the summary of the run counts \
             them"
        );
        *departed = Some(Departed { documents: 1, example: id.clone(), reason });
    }

    /// Those of this run, if there were any.
    pub fn of_this_run(&self) -> Option<Departed> {
        self.0.lock().clone()
    }
}
