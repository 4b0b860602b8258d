//! Writing: the ledger commits, then memory learns of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tracing::warn;

use crate::document::Vector;
use crate::index::IndexError;
use crate::index::target::check_vectors;
use crate::ledger::{DocumentWrite, Ledger, NewPoint, PointKey, VectorSource};

use super::graph::Graph;
use super::{Core, Segment, Tail};

/// What a waiting point takes beside its numbers.
const POINT_OVERHEAD: usize = 48;
/// Keys read at once to compare the graph with the ledger.
const KEY_PAGE: usize = 65_536;

/// A write of which memory was not told yet. Dropped by an error or a panic, it says that memory may have been left behind.
struct Untold<'a>(&'a AtomicBool);

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Core {
    /// Commits the writes and tells memory.
    pub(super) fn write(&self, writes: &[DocumentWrite]) -> Result<(), IndexError> {
        check_vectors(writes, self.shape.dimensions)?;
        let mut newest = self.publishing.lock();
        self.learn_untold(&mut newest)?;
        let untold = Untold(&self.untold);
        let written = self.ledger.write(writes)?;
        fault_point!("points committed");
        let vector = |new: &NewPoint| match &writes[new.write].chunks[new.chunk].vector {
            VectorSource::Here(vector) => Some((new.key, Arc::clone(vector))),
            VectorSource::Held(_) => None,
        };
        let points = written.added.iter().filter_map(vector).collect();
        self.publish(&mut newest, points, written.removed);
        std::mem::forget(untold);
        Ok(())
    }

    /// Learns from the ledger what a write left untold that ended between its commit and memory, if there may be such a one.
    pub(super) fn learn(&self) -> Result<(), IndexError> {
        if self.untold.load(Relaxed) { self.learn_untold(&mut self.publishing.lock()) } else { Ok(()) }
    }

    fn learn_untold(&self, newest: &mut PointKey) -> Result<(), IndexError> {
        if !self.untold.load(Relaxed) {
            return Ok(());
        }
        let (last, points) = (self.ledger.last_point_key()?, self.ledger.point_count()?);
        if (*newest, self.points.load(Relaxed)) != (last, points) {
            warn!("learning from the ledger what a write that failed had committed");
            let new = self.ledger.points_after(*newest, usize::MAX)?;
            // What waited when the segments were taken is in them, or in the graph by now, or in both.
            let segments: Vec<_> = self.waiting.lock().segments.iter().map(Arc::clone).collect();
            let mut keys: Vec<PointKey> = self.graph.read().keys().collect();
            keys.extend(segments.iter().flat_map(|segment| &segment.points).map(|(key, _)| *key));
            let gone = dead_among(keys, &self.ledger)?.difference(&self.dead.read()).copied().collect();
            self.publish(newest, new, gone);
            // Of points in the tail that are gone nobody had to be told.
            *newest = last;
            self.points.store(points, Relaxed);
        }
        self.untold.store(false, Relaxed);
        Ok(())
    }

    /// The new points before the dead ones: a search that no longer sees the old point of a document sees its new one. The newest key is
    /// noted last, so that after a panic on the way it is still known that memory lacks something.
    fn publish(&self, newest: &mut PointKey, added: Vec<(PointKey, Vector)>, mut removed: Vec<PointKey>) {
        let (new, gone) = (added.len() as u64, removed.len() as u64);
        let last = added.last().map(|(last, _)| *last);
        self.waiting_points.fetch_add(new, Relaxed);
        {
            let mut waiting = self.waiting.lock();
            if waiting.broken {
                let graph = self.graph.read();
                if let Some(last) = last {
                    waiting.tail.get_or_insert(Tail { after: graph.covered, end: 0 }).end = last;
                }
                // Nothing else gets into the graph, and nobody would forget them.
                removed.retain(|key| graph.contains(*key));
            } else if last.is_some() {
                let bytes = added.len() * (self.shape.dimensions * size_of::<f32>() + POINT_OVERHEAD);
                waiting.segments.push_back(Arc::new(Segment { points: added, bytes }));
                self.waiting_bytes.send_modify(|waiting| *waiting += bytes);
            }
        }
        if !removed.is_empty() {
            self.dead.write().extend(&removed);
        }
        *newest = last.unwrap_or(*newest);
        self.points.fetch_add(new, Relaxed);
        self.points.fetch_sub(gone, Relaxed);
    }
}

/// The points of the graph that the ledger no longer has.
pub(super) fn dead_in(graph: &Graph, ledger: &Ledger) -> Result<HashSet<PointKey>, IndexError> {
    dead_among(graph.keys().collect(), ledger)
}

/// Those of these keys, of which any may be there twice, that the ledger no longer has.
pub(super) fn dead_among(mut keys: Vec<PointKey>, ledger: &Ledger) -> Result<HashSet<PointKey>, IndexError> {
    keys.sort_unstable();
    keys.dedup();
    let mut dead = HashSet::new();
    let mut unseen = keys.as_slice();
    let mut after = 0;
    while !unseen.is_empty() {
        let page = ledger.point_keys_after(after, KEY_PAGE)?;
        for alive in &page {
            let before = unseen.partition_point(|key| key < alive);
            dead.extend(&unseen[..before]);
            unseen = &unseen[before..];
            unseen = unseen.strip_prefix(&[*alive]).unwrap_or(unseen);
        }
        match page.last() {
            Some(last) => after = *last,
            None => {
                dead.extend(unseen);
                break;
            }
        }
    }
    Ok(dead)
}
