//! Finished work on one document, and whom to tell when it is written.

use super::claim::Claim;
use super::flight::Arrival;
use crate::delivery::{Receipt, Verdict};
use crate::ledger::DocumentWrite;

/// What is to be written for one document, and whom to tell then.
pub struct Work {
    /// What the index and the ledger shall hold.
    pub write: DocumentWrite,
    /// Whom to tell when they do.
    pub settlement: Settlement,
}

/// What is told to whom when a write is done.
pub struct Settlement {
    /// What the receipts are told.
    pub verdict: Verdict,
    /// One for each change in the write.
    pub receipts: Vec<Receipt>,
    /// The vectors in the write that the index does not hold yet.
    pub arrivals: Vec<Arrival>,
    /// The right to work on the document; dropped after the receipts were told.
    pub claim: Claim,
}

impl Work {
    /// The document cannot be embedded: its state is kept, it leaves the index, and its changes are rejected.
    pub(super) fn rejected(mut self, reason: &str) -> Self {
        let DocumentWrite { id, document, chunks, .. } = self.write;
        self.write = DocumentWrite::out_of_index(id, document, chunks);
        self.settlement.verdict = Verdict::Rejected(reason.into());
        self
    }
}

impl Settlement {
    /// The index does not take the document: its changes are rejected.
    pub fn reject(&mut self, reason: &str) {
        self.verdict = Verdict::Rejected(reason.into());
        self.arrivals.drain(..).for_each(Arrival::refused);
    }

    /// Tells everyone that it is done.
    pub fn settle(self) {
        self.arrivals.into_iter().for_each(Arrival::written);
        for receipt in self.receipts {
            receipt.settle(self.verdict.clone());
        }
    }
}

/// A message of finished work to the index writer.
pub struct Works(pub Vec<Work>);
