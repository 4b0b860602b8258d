//! What the ingestors send.

use crate::delivery::Receipt;
use crate::document::{Change, RecordDigest, Version};
use crate::ledger::TakenRecord;

/// One change on its way.
pub struct Incoming {
    /// What it says.
    pub change: Change,
    /// The obligation to settle it.
    pub receipt: Receipt,
    /// The name of the record that it was read from; `None` where it was not read from one.
    pub digest: Option<RecordDigest>,
    /// Whether to compare the document with the index although the change may say nothing new: after a change of the
    /// configuration, and for a replayed dead letter.
    pub refresh: bool,
}

impl Incoming {
    /// The record that it was read from, with the version of the change.
    pub(super) fn record(&self) -> Option<(Version, TakenRecord)> {
        let Change { version, operation, .. } = self.change;
        self.digest.map(|digest| (version, TakenRecord { digest, operation }))
    }
}

/// A message of changes from an ingestor.
pub struct Changes(pub Vec<Incoming>);
