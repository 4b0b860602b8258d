//! Answering a query: candidates from the graph and from what it has not got yet, then the ledger for whose they are
//! and how near exactly.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;

use serde_json::Value;

use crate::document::{DocumentId, Vector};
use crate::index::distance::Scorer;
use crate::index::target::{check_vector, parse_metadata};
use crate::index::{Filter, Hit, IndexError, Query};
use crate::ledger::{LedgerError, PointKey, PointOwner};

use super::top_k::{Scored, TopK};
use super::{Core, Tail};

/// Candidates of an ordinary search, at least: what recall is made of.
const WIDTH: usize = 128;
/// Candidates of a filtered search, at least: most will not count.
const FILTERED_WIDTH: usize = 512;
/// Candidates per document wanted: several chunks of one document may be near.
const PER_DOCUMENT: usize = 4;
/// Looking up a candidate costs about as much as testing this many documents against a filter. So from this part of all points on, it is
/// cheaper to look at every document.
const SCAN_PART: usize = 8;
/// Candidates that are always few enough.
const ALWAYS_FEW: usize = 2_048;
/// Points or vectors read from the ledger at once.
const PAGE: usize = 1_024;
/// Candidates looked up at once.
const LOOK_UP: usize = 64;
/// How often to begin anew when documents change under a search, before writes are held up for it.
const TRIES: usize = 3;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Miss {
    /// A point went while it was looked at, and its document may have a new one; or points came where it was looked already. Begin anew.
    Moved,
    Error(IndexError),
}

impl From<IndexError> for Miss {
    fn from(error: IndexError) -> Self {
        Self::Error(error)
    }
}

impl From<LedgerError> for Miss {
    fn from(error: LedgerError) -> Self {
        Self::Error(error.into())
    }
}

/// The nearest documents.
pub(super) fn search(core: &Core, query: &Query) -> Result<Vec<Hit>, IndexError> {
    check_vector(&query.vector, core.shape.dimensions, || "the query's vector".to_owned())?;
    if query.k == 0 {
        return Ok(Vec::new());
    }
    core.learn()?;
    let scorer = Scorer::new(core.shape.metric, &query.vector);
    let mut tries = 0;
    loop {
        // Nothing moves while nothing is published.
        let still = tries == TRIES;
        let _publishing = still.then(|| core.publishing.lock());
        match (Search { core, query, scorer: &scorer, still }).run() {
            Ok(hits) => return Ok(hits),
            Err(Miss::Error(error)) => return Err(error),
            Err(Miss::Moved) => tries += 1,
        }
    }
}

pub(super) struct Search<'a> {
    pub(super) core: &'a Core,
    pub(super) query: &'a Query,
    pub(super) scorer: &'a Scorer,
    /// No write of this process is under way. A process that only reads may still see points go, and then does without
    /// them.
    pub(super) still: bool,
}

/// A point that counts.
pub(super) struct Found {
    point: Scored,
    owner: PointOwner,
    metadata: Value,
    vector: Vector,
}

impl Search<'_> {
    fn run(&self) -> Result<Vec<Hit>, Miss> {
        match self.among_the_nearest()? {
            Some(hits) => Ok(hits),
            None => self.every_document(),
        }
    }

    /// The answer, if so many of the nearest points count that it is cheaper to look for more of those than at every document.
    pub(super) fn among_the_nearest(&self) -> Result<Option<Vec<Hit>>, Miss> {
        let k = self.query.k;
        let few = ALWAYS_FEW.max(self.core.points.load(Relaxed) as usize / SCAN_PART);
        let least = if self.query.filter.is_some() { FILTERED_WIDTH } else { WIDTH };
        let mut width = least.max(k.saturating_mul(PER_DOCUMENT));
        while width <= few {
            let (candidates, all) = self.candidates(width)?;
            let hits = self.hits(&candidates)?;
            if hits.len() >= k {
                return Ok(Some(self.best(hits)));
            }
            if all {
                break;
            }
            // Assumes that the next candidates match as often as these did, and asks for half as many again. No hit counts as half a hit.
            let enough = (width * k).saturating_mul(3) / (2 * hits.len()).max(1);
            width = enough.max(width * 2);
        }
        Ok(None)
    }

    /// The nearest points, nearest first, and whether there are no more.
    fn candidates(&self, width: usize) -> Result<(Vec<Scored>, bool), Miss> {
        let mut nearest = TopK::new(width);
        let tail = self.scan_tail(&mut nearest)?;
        self.look_into_memory(tail, &mut nearest)?;
        let all = !nearest.is_full();
        let mut points = nearest.into_sorted();
        // A point that got into the graph meanwhile was seen twice.
        let mut seen = HashSet::with_capacity(points.len());
        points.retain(|point| seen.insert(point.key));
        Ok((points, all))
    }

    /// Offers the points of the tail. Answers which tail that was.
    pub(super) fn scan_tail(&self, nearest: &mut TopK) -> Result<Option<Tail>, Miss> {
        let tail = self.core.waiting.lock().tail;
        if let Some(tail) = tail {
            let mut after = tail.after;
            while after < tail.end {
                let points = self.core.ledger.points_after(after, PAGE)?;
                let Some((last, _)) = points.last() else { break };
                after = *last;
                for (key, vector) in points.iter().filter(|(key, _)| *key <= tail.end) {
                    nearest.offer(Scored { score: self.scorer.score(vector), key: *key });
                }
            }
            // Before memory is looked at, it knows of whatever commit was seen there.
            if !self.still {
                drop(self.core.publishing.lock());
            }
        }
        Ok(tail)
    }

    /// Offers the points that wait and those of the graph. `scanned` is the tail that was looked at before.
    pub(super) fn look_into_memory(&self, scanned: Option<Tail>, nearest: &mut TopK) -> Result<(), Miss> {
        // What is dead first: a point that is gone for it has its successor among those that wait, or in the tail.
        let dead = self.core.dead.read();
        let segments: Vec<_> = {
            let waiting = self.core.waiting.lock();
            // What joined the tail since it was scanned is nowhere else.
            let end = |tail: Option<Tail>| tail.map(|tail| tail.end);
            if end(waiting.tail) > end(scanned) {
                return Err(Miss::Moved);
            }
            waiting.segments.iter().cloned().collect()
        };
        // What waited when the segments were taken is in them, or in the graph by now.
        let near = self.core.graph.read().nearest(&self.query.vector, nearest.width(), &dead);
        let near = near.map_err(|error| super::unusable(&error))?;
        near.into_iter().for_each(|point| nearest.offer(point));
        for (key, vector) in segments.iter().flat_map(|segment| &segment.points) {
            if !dead.contains(key) {
                nearest.offer(Scored { score: self.scorer.score(vector), key: *key });
            }
        }
        Ok(())
    }

    /// Those candidates that count, each document once, exactly scored: at least `k` documents if there are so many,
    /// in no order.
    pub(super) fn hits(&self, candidates: &[Scored]) -> Result<HashMap<DocumentId, Found>, Miss> {
        match &self.query.filter {
            Some(filter) => self.hits_that_match(filter, candidates, self.wanted()),
            None => self.hits_of_all(candidates, self.wanted()),
        }
    }

    /// How many documents to look up for the `k` nearest. A few more, because the scores of candidates are rounded, and what matched when
    /// it was found may not match by now.
    fn wanted(&self) -> usize {
        self.query.k + self.query.k / 2 + 8
    }

    /// Whose the candidates are, then how near those that match.
    fn hits_that_match(
        &self,
        filter: &Filter,
        candidates: &[Scored],
        wanted: usize,
    ) -> Result<HashMap<DocumentId, Found>, Miss> {
        let mut counted: Vec<(PointKey, PointOwner, Value)> = Vec::new();
        let mut documents = HashSet::new();
        for candidates in candidates.chunks(LOOK_UP) {
            let keys: Vec<PointKey> = candidates.iter().map(|point| point.key).collect();
            for (key, owner) in keys.iter().zip(self.core.ledger.resolve(&keys)?) {
                let Some(owner) = self.here(owner)? else { continue };
                if self.query.except.as_ref() == Some(&owner.document) {
                    continue;
                }
                let metadata = parse_metadata(&owner.metadata, owner.document.as_str())?;
                if filter.matches(&metadata) {
                    documents.insert(owner.document.clone());
                    counted.push((*key, owner, metadata));
                }
            }
            if documents.len() >= wanted {
                break;
            }
        }
        let keys: Vec<PointKey> = counted.iter().map(|(key, ..)| *key).collect();
        let mut hits: HashMap<DocumentId, Found> = HashMap::with_capacity(documents.len());
        for ((key, owner, metadata), vector) in counted.into_iter().zip(self.core.ledger.vectors_of(&keys)?) {
            let Some(vector) = self.here(vector)? else { continue };
            let point = Scored { score: self.scorer.score(&vector), key };
            if hits.get(&owner.document).is_none_or(|other| point > other.point) {
                hits.insert(owner.document.clone(), Found { point, owner, metadata, vector });
            }
        }
        Ok(hits)
    }

    /// How near the candidates are, then whose the nearest. All of an ordinary search are scored: it costs no more than to
    /// look up whose they are, and the graph's numbers hardly tell vectors apart that are nearly equal.
    fn hits_of_all(&self, candidates: &[Scored], wanted: usize) -> Result<HashMap<DocumentId, Found>, Miss> {
        let mut hits: HashMap<DocumentId, Found> = HashMap::new();
        for candidates in candidates.chunks(WIDTH) {
            let mut scored = self.scored(candidates)?;
            while !scored.is_empty() {
                let rest = scored.split_off(scored.len().min(wanted));
                let keys: Vec<PointKey> = scored.iter().map(|(point, _)| point.key).collect();
                for ((point, vector), owner) in scored.into_iter().zip(self.core.ledger.resolve(&keys)?) {
                    let Some(owner) = self.here(owner)? else { continue };
                    let is_known = hits.get(&owner.document).is_some_and(|other| other.point > point);
                    if !is_known && self.query.except.as_ref() != Some(&owner.document) {
                        let metadata = parse_metadata(&owner.metadata, owner.document.as_str())?;
                        hits.insert(owner.document.clone(), Found { point, owner, metadata, vector });
                    }
                }
                if hits.len() >= wanted {
                    return Ok(hits);
                }
                scored = rest;
            }
        }
        Ok(hits)
    }

    /// Candidates with their exact scores and their vectors, nearest first.
    fn scored(&self, candidates: &[Scored]) -> Result<Vec<(Scored, Vector)>, Miss> {
        let keys: Vec<PointKey> = candidates.iter().map(|point| point.key).collect();
        let mut scored = Vec::with_capacity(keys.len());
        for (key, vector) in keys.iter().zip(self.core.ledger.vectors_of(&keys)?) {
            let Some(vector) = self.here(vector)? else { continue };
            scored.push((Scored { score: self.scorer.score(&vector), key: *key }, vector));
        }
        scored.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        Ok(scored)
    }

    /// Looks at every document: for filters that few documents pass, and for more documents than the graph can tell.
    fn every_document(&self) -> Result<Vec<Hit>, Miss> {
        let hits = self.hits(&self.nearest_of_all()?)?;
        Ok(self.best(hits))
    }

    /// The nearest points of the documents that count, one of each, nearest first.
    pub(super) fn nearest_of_all(&self) -> Result<Vec<Scored>, Miss> {
        // The points of the documents that count, each with the number of its document.
        let mut points: Vec<(PointKey, u32)> = Vec::new();
        let mut broken = None;
        let mut number = 0;
        self.core.ledger.for_each_document(|id, metadata, keys| {
            if broken.is_some() || self.query.except.as_ref().is_some_and(|except| except.as_str() == id) {
                return;
            }
            if let Some(filter) = &self.query.filter {
                match parse_metadata(metadata, id) {
                    Ok(metadata) if filter.matches(&metadata) => {}
                    Ok(_) => return,
                    Err(error) => return broken = Some(error),
                }
            }
            points.extend(keys.iter().map(|key| (*key, number)));
            number += 1;
        })?;
        if let Some(error) = broken {
            return Err(error.into());
        }
        let mut nearest = TopK::new(self.wanted());
        let mut current: Option<(u32, Scored)> = None;
        for page in points.chunks(PAGE) {
            let keys: Vec<PointKey> = page.iter().map(|(key, _)| *key).collect();
            for ((key, number), vector) in page.iter().zip(self.core.ledger.vectors_of(&keys)?) {
                let Some(vector) = self.here(vector)? else { continue };
                let point = Scored { score: self.scorer.score(&vector), key: *key };
                // The points of a document follow each other, and only the nearest stands for it.
                current = match current {
                    Some((of, best)) if of == *number => Some((of, best.max(point))),
                    other => {
                        other.into_iter().for_each(|(_, best)| nearest.offer(best));
                        Some((*number, point))
                    }
                };
            }
        }
        current.into_iter().for_each(|(_, best)| nearest.offer(best));
        Ok(nearest.into_sorted())
    }

    /// What the ledger said of a point, if it still has it.
    fn here<T>(&self, found: Option<T>) -> Result<Option<T>, Miss> {
        match found {
            None if !self.still => Err(Miss::Moved),
            found => Ok(found),
        }
    }

    fn best(&self, hits: HashMap<DocumentId, Found>) -> Vec<Hit> {
        let mut hits: Vec<Found> = hits.into_values().collect();
        hits.sort_unstable_by_key(|found| Reverse(found.point));
        hits.truncate(self.query.k);
        let hit = |found: Found| Hit {
            id: found.owner.document,
            score: found.point.score,
            metadata: found.metadata,
            chunk: found.owner.chunk,
            vector: self.query.with_vectors.then_some(found.vector),
        };
        hits.into_iter().map(hit).collect()
    }
}
