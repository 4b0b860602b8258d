//! At most one plan in flight per document.
//!
//! Changes that arrive for a claimed document are parked and come back when the claim is dropped, all at once. So order per
//! document holds by construction, and a burst of updates to one document costs one embedding.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::budget::Share;
use super::incoming::Incoming;
use crate::delivery::Receipt;
use crate::document::{Document, DocumentId, Version};
use crate::ledger::TakenRecord;

/// The documents that are being worked on. Shared; outlives a restart of the deduplicator.
#[derive(Default)]
pub struct Claims {
    /// By claimed document, the changes that arrived since.
    parked: Mutex<HashMap<DocumentId, Vec<Incoming>, RandomState>>,
    /// Changes whose document was claimed when they arrived, and no longer is.
    freed: Mutex<Vec<Incoming>>,
    wake: Notify,
}

/// The sole right to plan one document. Dropped when its work is settled or lost, it lets the parked changes go on.
pub struct Claim {
    id: DocumentId,
    claims: Arc<Claims>,
    /// What the document takes in memory meanwhile, when that is much.
    pub share: Option<Share>,
}

/// All changes to one document that are planned together.
pub struct Group {
    /// The right to plan it.
    pub claim: Claim,
    /// The changes, joined.
    pub delta: Document,
    /// One receipt per change.
    pub receipts: Vec<Receipt>,
    /// The newest of the records that the changes were read from, where any is known, with the version of its change.
    pub record: Option<(Version, TakenRecord)>,
    /// The highest lane that any of the changes asks for.
    pub priority: u8,
    /// Whether any of the changes asks to be sent at once.
    pub immediate: bool,
    /// Whether to plan although nothing may have changed.
    pub refresh: bool,
}

impl Claims {
    /// Waits for changes whose document is no longer claimed, and takes all there are. For one caller.
    pub async fn freed(&self) -> Vec<Incoming> {
        loop {
            let freed = std::mem::take(&mut *self.freed.lock());
            if !freed.is_empty() {
                return freed;
            }
            self.wake.notified().await;
        }
    }

    /// Claims the documents of these changes. Changes to a document that is claimed already are parked; several to one
    /// document are joined.
    pub fn claim(self: &Arc<Self>, changes: Vec<Incoming>) -> Vec<Group> {
        let mut firsts = Vec::with_capacity(changes.len());
        let mut by_id: HashMap<DocumentId, usize, RandomState> =
            HashMap::with_capacity_and_hasher(changes.len(), RandomState::default());
        // Made into documents, and joined, when the lock is free again: that takes its time.
        let mut further = Vec::new();
        let mut parked = self.parked.lock();
        for incoming in changes {
            let id = incoming.change.id.clone();
            if let Some(index) = by_id.get(&id) {
                further.push((*index, incoming));
                continue;
            }
            match parked.entry(id.clone()) {
                Entry::Occupied(mut waiting) => waiting.get_mut().push(incoming),
                Entry::Vacant(vacant) => {
                    vacant.insert(Vec::new());
                    by_id.insert(id.clone(), firsts.len());
                    firsts.push((Claim { id, claims: self.clone(), share: None }, incoming));
                }
            }
        }
        drop(parked);
        let mut groups: Vec<Group> = firsts.into_iter().map(|(claim, first)| Group::new(claim, first)).collect();
        further.into_iter().for_each(|(index, incoming)| groups[index].add(incoming));
        groups
    }

    /// How many documents are claimed.
    #[cfg(test)]
    pub(crate) fn claimed(&self) -> usize {
        self.parked.lock().len()
    }
}

impl Claim {
    /// The document.
    pub fn id(&self) -> &DocumentId {
        &self.id
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let parked = self.claims.parked.lock().remove(&self.id).unwrap_or_default();
        if !parked.is_empty() {
            self.claims.freed.lock().extend(parked);
            self.claims.wake.notify_one();
        }
    }
}

impl Group {
    fn new(claim: Claim, first: Incoming) -> Self {
        let record = first.record();
        let (priority, immediate) = (first.change.priority, first.change.immediate);
        Self {
            claim,
            delta: first.change.into(),
            receipts: vec![first.receipt],
            record,
            priority,
            immediate,
            refresh: first.refresh,
        }
    }

    fn add(&mut self, incoming: Incoming) {
        self.priority = self.priority.max(incoming.change.priority);
        self.immediate |= incoming.change.immediate;
        self.refresh |= incoming.refresh;
        let record = incoming.record();
        if record.map(|(version, _)| version) > self.record.map(|(version, _)| version) {
            self.record = record;
        }
        self.delta.join(incoming.change.into());
        self.receipts.push(incoming.receipt);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::delivery::Verdicts;
    use crate::document::{Change, Operation};

    fn change(id: &str, version: i128, delivery: u64, verdicts: &Arc<Verdicts>) -> Incoming {
        Incoming {
            change: Change {
                id: DocumentId::new(id).unwrap(),
                operation: Operation::Patch,
                version: Version::from_nanos(version),
                fields: json!({ "n": version as i64 }).as_object().unwrap().clone(),
                priority: delivery as u8,
                immediate: delivery == 2,
            },
            receipt: Receipt::new(delivery, verdicts.clone()),
            digest: None,
            refresh: false,
        }
    }

    #[tokio::test]
    async fn changes_to_a_claimed_document_wait_until_its_claim_is_dropped() {
        let verdicts = Verdicts::new(|| {});
        let claims = Arc::new(Claims::default());
        let groups = claims.claim(vec![change("a", 1, 1, &verdicts), change("b", 1, 2, &verdicts)]);
        assert_eq!(groups.len(), 2);
        assert!(claims.claim(vec![change("a", 2, 3, &verdicts), change("a", 3, 4, &verdicts)]).is_empty());
        assert!(claims.freed().now_or_never().is_none());
        drop(groups);
        let waiting = claims.freed().await;
        assert_eq!(waiting.len(), 2);
        assert_eq!(claims.claimed(), 0);
        let groups = claims.claim(waiting);
        assert_eq!(groups.len(), 1, "both are planned together");
        assert_eq!(groups[0].receipts.len(), 2);
        assert_eq!(groups[0].delta.field("n"), Some(&json!(3)));
    }

    #[test]
    fn a_burst_takes_the_highest_lane_and_is_immediate_when_one_of_it_is() {
        let verdicts = Verdicts::new(|| {});
        let claims = Arc::new(Claims::default());
        let groups = claims.claim((1..=3).map(|n| change("a", i128::from(n), n, &verdicts)).collect());
        assert_eq!((groups[0].priority, groups[0].immediate), (3, true));
    }
}
