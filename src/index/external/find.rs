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
            let (k, except, with_vectors) = (query.k, query.except.clone(), query.with_vectors);
            let hits = self.ledger(move |ledger| hits(ledger, found, k, except, with_vectors)).await?;
            if hits.len() == query.k || all {
                return Ok(hits);
            }
            limit = limit.saturating_mul(WIDER).min(most);
        }
    }
}

/// The documents of the points, each by its nearest one. A point that the ledger does not have (any more) is passed by.
fn hits(
    ledger: &Ledger,
    found: Vec<Neighbour>,
    k: usize,
    except: Option<DocumentId>,
    with_vectors: bool,
) -> Result<Vec<Hit>, LedgerError> {
    let mut seen: HashSet<DocumentId> = except.into_iter().collect();
    let nearest: Vec<Neighbour> = found.into_iter().filter(|point| seen.insert(point.document.clone())).collect();
    let ids: Vec<DocumentId> = nearest.iter().map(|point| point.document.clone()).collect();
    let mut hits = Vec::new();
    for (point, held) in nearest.into_iter().zip(ledger.documents(&ids)?) {
        let Some((metadata, chunk)) = held.and_then(|held| Some((held.metadata?, *held.chunks.get(point.chunk)?)))
        else {
            continue;
        };
        let vector = if with_vectors { ledger.vectors_of(&[chunk.key])?.pop().flatten() } else { None };
        let metadata = serde_json::from_str(&metadata).unwrap_or_default();
        hits.push(Hit { id: point.document, score: point.score, metadata, chunk: point.chunk, vector });
        if hits.len() == k {
            break;
        }
    }
    Ok(hits)
}
