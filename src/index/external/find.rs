//! Searching: the collection knows which points are near, and the ledger what they are.

use std::collections::HashSet;

use crate::document::DocumentId;
use crate::index::collection::{CollectionError, Nearest, Neighbour};
use crate::index::{Hit, IndexError, Query};
use crate::ledger::{Ledger, LedgerError};

use super::ExternalIndex;

/// By how much more points are asked for, when too few documents were among them.
const WIDER: usize = 4;

impl ExternalIndex {
    pub(super) async fn find(&self, query: Query) -> Result<Vec<Hit>, IndexError> {
        let most = self.collection.most_neighbours();
        // One more for the document that shall not be there.
        let mut limit = (query.k + usize::from(query.except.is_some())).clamp(1, most);
        loop {
            let nearest = Nearest { vector: &query.vector, filter: query.filter.as_ref(), limit };
            let found = match self.collection.nearest(nearest).await {
                Err(CollectionError::OneRefused(reason)) => return Err(IndexError::BadQuery(reason)),
                // Whoever searches is told at once that the collection wants a pause.
                found => found.map_err(|error| self.known(error))?,
            };
            let all = found.len() < limit || limit == most;
            let asked = query.clone();
            let hits = self.ledger(move |ledger| hits(ledger, found, &asked)).await?;
            if hits.len() == query.k || all {
                return Ok(hits);
            }
            limit = limit.saturating_mul(WIDER).min(most);
        }
    }
}

/// The documents of the points, each by its nearest one. A point that the ledger does not have (any more) is passed by, and so is one whose
/// document is in the ledger already as the filter does not let it through: the collection is a step behind.
fn hits(ledger: &Ledger, found: Vec<Neighbour>, query: &Query) -> Result<Vec<Hit>, LedgerError> {
    let mut seen: HashSet<DocumentId> = query.except.iter().cloned().collect();
    let nearest: Vec<Neighbour> = found.into_iter().filter(|point| seen.insert(point.document.clone())).collect();
    let ids: Vec<DocumentId> = nearest.iter().map(|point| point.document.clone()).collect();
    let mut hits = Vec::new();
    for (point, held) in nearest.into_iter().zip(ledger.documents(&ids)?) {
        let Some((metadata, chunk)) = held.and_then(|held| Some((held.metadata?, *held.chunks.get(point.chunk)?)))
        else {
            continue;
        };
        let metadata = serde_json::from_str(&metadata).unwrap_or_default();
        if query.filter.as_ref().is_some_and(|filter| !filter.matches(&metadata)) {
            continue;
        }
        let vector = if query.with_vectors { ledger.vectors_of(&[chunk.key])?.pop().flatten() } else { None };
        hits.push(Hit { id: point.document, score: point.score, metadata, chunk: point.chunk, vector });
        if hits.len() == query.k {
            break;
        }
    }
    Ok(hits)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use crate::index::{ExternalIndex, Filter, Query, VectorIndex};
    use crate::ledger::testing::{DIMENSIONS, here, open_with, options, write};
    use crate::ledger::{DocumentWrite, LedgerOptions, VectorSource};
    use crate::testkit::fakes::{FakeCollection, Fault};

    #[tokio::test(start_paused = true)]
    async fn a_hit_that_the_ledger_has_otherwise_than_the_filter_wants_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(open_with(&folder, LedgerOptions { external: true, ..options() }));
        let collection = Arc::new(FakeCollection::default());
        let index = ExternalIndex::open(ledger, collection.clone(), "test", DIMENSIONS, false).unwrap();
        index.prepare().await.unwrap();
        let priced = |name: &str, price: u32| {
            let metadata = Some(json!({ "price": price }).to_string());
            DocumentWrite { metadata, ..write(name, vec![here(name)]) }
        };
        index.write([priced("a", 1), priced("b", 1)].into()).await.unwrap();
        let VectorSource::Here(vector) = here("a").vector else { panic!() };
        let found = async |price: u32| {
            let filter = Some(Filter::from_json(&json!({ "price": price })).unwrap());
            let query = Query { vector: vector.clone(), k: 2, filter, except: None, with_vectors: false };
            let hits = index.search(query).await.unwrap();
            hits.iter().map(|hit| hit.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found(1).await.len(), 2);
        // The ledger has it, and the collection does not.
        collection.faults.order([Fault::Unavailable]);
        index.write([priced("a", 2)].into()).await.unwrap_err();
        assert_eq!((found(1).await, found(2).await), (vec!["b".to_owned()], vec![]));
    }
}
