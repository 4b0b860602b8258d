//! Growing the graph behind the writes, on a blocking thread: at most one at a time.
//!
//! Two threads grow it nearly twice as fast, but to usearch (2.26) a point on an upper level leads the way before it has links on the
//! lowest. What another thread adds through it meanwhile may lose the only links that lead to it, and no search finds it.

use std::collections::HashSet;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::RwLockWriteGuard;
use tracing::{debug, error, info, warn};

use crate::document::Vector;
use crate::ledger::{LedgerErrorKind, PointKey};
use crate::telemetry::figures::counted;

use super::graph::Graph;
use super::{Core, Segment, Tail, file};

/// Points read from the ledger at once: small enough that neither an end nor few new points are kept waiting.
const PAGE: usize = 64;
/// Points taken into a replacement for each new one, so that it ends however much is written. A replacement has at most
/// a third more points than are alive, when it is put in place: too few dead ones for the next to begin at once.
const BEHIND_PER_NEW: usize = 4;
/// A graph is saved when this part of it is new, so that saving costs little per point and a crash leaves little to
/// catch up.
const SAVE_PART: usize = 4;
/// But not for fewer new points.
const SAVE_POINTS: usize = 20_000;
/// A graph is replaced when more than three of ten points in it are dead,
const DEAD_OF_TEN: usize = 3;
/// but not for fewer dead ones.
const DEAD_POINTS: usize = 1_000;

/// How soon a ledger that could not be read is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What to do next for the graph.
enum Step {
    Add(Arc<Segment>),
    CatchUp(Tail),
    Replace,
    Rest,
}

/// A graph without dead points, on its way to replace the one in use.
struct Replacement {
    graph: Graph,
    after: PointKey,
    /// Whether it is worth a line in the log. A small one is replaced in no time, and maybe several times a second.
    takes_long: bool,
}

/// How far growing is.
#[derive(Default)]
pub(super) struct Growth {
    replacement: Option<Replacement>,
    /// Points to be taken of what is behind, before new ones have their turn.
    owed: usize,
    /// Points that got into the graph since it was saved.
    unsaved: usize,
}

impl Growth {
    /// Counts what was taken of what is behind. When there was nothing, nothing is owed.
    fn pay(&mut self, points: usize) {
        self.owed = if points == 0 { 0 } else { self.owed.saturating_sub(points) };
    }
}

impl Core {
    /// Starts growing, unless it goes on or there is nothing to do.
    pub(super) fn grow_in_background(self: &Arc<Self>) {
        let start = {
            let dead = self.dead.read();
            // Whoever stops growing decides so while it holds this.
            let waiting = self.waiting.lock();
            let work = !waiting.segments.is_empty() || waiting.tail.is_some() || self.are_too_many(&dead);
            work && !waiting.closed && !waiting.broken && !self.growing.send_replace(true)
        };
        if start {
            let core = Arc::clone(self);
            // Not on the runtime of whoever writes: its end would wait for the growth.
            self.runtime.spawn_blocking(move || {
                // Else every write would wait for a thread that is gone.
                if catch_unwind(AssertUnwindSafe(|| core.grow())).is_err() {
                    core.give_up("it panicked");
                }
            });
        }
    }

    fn grow(&self) {
        let has_tail = || self.waiting.lock().tail.is_some();
        let catches_up = has_tail();
        if catches_up {
            let points = counted(self.waiting_points.load(Relaxed), "point");
            info!("catching up the search graph with {points} of the ledger");
        }
        let mut growth = Growth::default();
        loop {
            match self.advance(&mut growth) {
                Ok(true) => {}
                Ok(false) => break,
                Err(why) => return self.give_up(&why),
            }
        }
        if catches_up && !has_tail() {
            info!("the search graph has every point");
        }
    }

    /// Does the next step. False when growing has ended.
    pub(super) fn advance(&self, growth: &mut Growth) -> Result<bool, String> {
        match self.next_step(growth) {
            Step::Add(segment) => {
                let points = self.add_segment(&segment)?;
                growth.unsaved += points;
                // A tail ends by itself, because new points do not join it: a page is enough.
                let caught_up = self.waiting.lock().tail.is_none();
                growth.owed = if caught_up { points * BEHIND_PER_NEW } else { PAGE };
            }
            Step::CatchUp(tail) => {
                let points = self.catch_up(tail)?;
                growth.unsaved += points;
                growth.pay(points);
            }
            Step::Replace => {
                let points = self.replace(&mut growth.replacement)?;
                growth.pay(points);
            }
            Step::Rest => return Ok(false),
        }
        if growth.unsaved >= SAVE_POINTS.max(self.graph.read().points().len() / SAVE_PART) {
            growth.unsaved = 0;
            if let Err(why) = self.save() {
                warn!("{why}; the graph goes on in memory");
            }
        }
        Ok(true)
    }

    /// Decides, and ends growing when there is nothing left: both under the lock, so that a write sees one or the
    /// other. New points and what is behind them take turns.
    fn next_step(&self, growth: &Growth) -> Step {
        let dead = self.dead.read();
        let waiting = self.waiting.lock();
        if !waiting.closed {
            let segment = waiting.segments.front().map(Arc::clone);
            if let Some(segment) = segment.clone().filter(|_| growth.owed == 0) {
                return Step::Add(segment);
            }
            if let Some(tail) = waiting.tail {
                return Step::CatchUp(tail);
            }
            if growth.replacement.is_some() || self.are_too_many(&dead) {
                return Step::Replace;
            }
            if let Some(segment) = segment {
                return Step::Add(segment);
            }
            self.waiting_points.store(0, Relaxed);
        }
        self.growing.send_replace(false);
        Step::Rest
    }

    fn add_segment(&self, segment: &Segment) -> Result<usize, String> {
        let left_out = self.add(&segment.points)?;
        {
            let mut waiting = self.waiting.lock();
            waiting.segments.pop_front();
            if waiting.tail.is_none()
                && let Some((last, _)) = segment.points.last()
            {
                self.graph.write().cover(*last);
            }
        }
        self.waiting_bytes.send_modify(|bytes| *bytes -= segment.bytes);
        if !left_out.is_empty() {
            let mut dead = self.dead.write();
            for key in &left_out {
                dead.remove(key);
            }
        }
        Ok(segment.points.len())
    }

    /// Takes a page of the tail into the graph. Answers how many points.
    ///
    /// A point that the ledger no longer had may be gone by a write that memory has not been told of. Its successor is not
    /// in memory yet either, so the tail, whose scan awaits such a write, ends only when there is none.
    fn catch_up(&self, tail: Tail) -> Result<usize, String> {
        let Some(mut points) = self.page(tail.after)? else { return Ok(0) };
        points.retain(|(key, _)| *key <= tail.end);
        self.add(&points)?;
        let after = points.last().map_or(tail.end, |(last, _)| *last);
        let _publishing = (after >= tail.end).then(|| self.publishing.lock());
        let mut waiting = self.waiting.lock();
        self.graph.write().cover(after);
        waiting.tail = (after < tail.end).then_some(Tail { after, ..tail });
        let done = waiting.tail.is_none();
        if done {
            // What was written meanwhile went into the graph in the order of its keys, up to the first that still
            // waits.
            let last = self.graph.read().keys().max().unwrap_or(after);
            let first_waiting = waiting.segments.front().and_then(|segment| segment.points.first());
            let covered = first_waiting.map_or(last, |(key, _)| last.min(key - 1));
            self.graph.write().cover(covered.max(after));
        }
        drop(waiting);
        if done {
            self.forget_dead_outside_graph();
        }
        Ok(points.len())
    }

    /// The next points of the ledger; nothing when it cannot be read for now, and is to be asked again. Whatever it meets may pass, such as
    /// a lack of open files, but damage, which ends the process.
    fn page(&self, after: PointKey) -> Result<Option<Vec<(PointKey, Vector)>>, String> {
        match self.ledger.points_after(after, PAGE) {
            Err(error) if error.kind() != LedgerErrorKind::Corrupt => {
                if !error.is_temporary() && !self.awaits_ledger.swap(true, Relaxed) {
                    warn!(%error, "the search graph waits until the ledger can be read; searches get slower meanwhile");
                }
                std::thread::sleep(ASK_AGAIN);
                Ok(None)
            }
            answer => {
                self.awaits_ledger.store(false, Relaxed);
                answer.map(Some).map_err(|error| error.to_string())
            }
        }
    }

    /// Adds points, locking out searches for one point at a time. Answers which were left out because they died
    /// waiting.
    pub(super) fn add(&self, points: &[(PointKey, Vector)]) -> Result<Vec<PointKey>, String> {
        let mut left_out = Vec::new();
        for (key, vector) in points {
            if self.dead.read().contains(key) {
                left_out.push(*key);
            } else {
                let mut graph = self.graph.write();
                let added = graph.add(*key, vector);
                // To the searches that wait: who adds point after point would take it again before one of them is awake.
                RwLockWriteGuard::unlock_fair(graph);
                added?;
            }
            let _ = self.waiting_points.fetch_update(Relaxed, Relaxed, |waiting| waiting.checked_sub(1));
        }
        Ok(left_out)
    }

    /// Nothing that is neither in the graph nor on its way there has to be known as dead.
    fn forget_dead_outside_graph(&self) {
        let mut dead = self.dead.write();
        let graph = self.graph.read();
        dead.retain(|key| *key > graph.covered || graph.contains(*key));
    }

    pub(super) fn are_too_many(&self, dead: &HashSet<PointKey>) -> bool {
        dead.len() >= DEAD_POINTS && dead.len() * 10 > self.graph.read().points().len() * DEAD_OF_TEN
    }

    /// Takes the next page of living points into the replacement, and puts it in place once it has all that the graph
    /// in use has. Answers how many points.
    ///
    /// It lacks what is gone by a write that memory has not been told of. The graph in use has it, and a search that finds
    /// it there begins anew, so it stays until there is no such write.
    fn replace(&self, replacement: &mut Option<Replacement>) -> Result<usize, String> {
        let Replacement { mut graph, after, takes_long } = match replacement.take() {
            Some(begun) => begun,
            None => {
                let gone = counted(self.dead.read().len() as u64, "point");
                let takes_long = self.graph.read().points().len() >= SAVE_POINTS;
                if takes_long {
                    info!("replacing the search graph: {gone} in it are gone");
                } else {
                    debug!("replacing the search graph: {gone} in it are gone");
                }
                Replacement { graph: Graph::new(self.shape)?, after: 0, takes_long }
            }
        };
        let covered = self.graph.read().covered;
        let Some(mut points) = self.page(after)? else {
            *replacement = Some(Replacement { graph, after, takes_long });
            return Ok(0);
        };
        points.retain(|(key, _)| *key <= covered);
        for (key, vector) in &points {
            graph.add(*key, vector)?;
        }
        if let Some((last, _)) = points.last() {
            *replacement = Some(Replacement { graph, after: *last, takes_long });
            return Ok(points.len());
        }
        graph.cover(covered);
        // Dropped at the end: nobody waits until gigabytes are given back.
        let _old = {
            let _publishing = self.publishing.lock();
            mem::replace(&mut *self.graph.write(), graph)
        };
        self.forget_dead_outside_graph();
        if takes_long {
            info!("the search graph was replaced");
        }
        Ok(0)
    }

    /// Goes on without growing: every point is found from the ledger, only slower.
    pub(super) fn give_up(&self, why: &str) {
        error!("the search graph cannot grow, and searches get slower until the next start: {why}");
        // A search that holds up writes, so as not to begin anew once more, is let finish.
        let _publishing = self.publishing.lock();
        let mut waiting = self.waiting.lock();
        let newest = waiting.segments.iter().filter_map(|segment| segment.points.last()).map(|(key, _)| *key).max();
        let after = self.graph.read().covered;
        if let Some(end) = newest {
            waiting.tail = Some(Tail { after, end });
        }
        waiting.segments.clear();
        waiting.broken = true;
        self.waiting_bytes.send_replace(0);
        self.growing.send_replace(false);
    }

    /// Saves the graph, if this process may write and the file is not as the graph is. Nothing grows meanwhile, because only
    /// the thread that grows it, or the end, saves.
    pub(super) fn save(&self) -> Result<(), String> {
        let Some((path, mark)) = self.home.as_ref().filter(|_| self.graph.read().changed) else { return Ok(()) };
        file::save(&self.graph.read(), *mark, path)?;
        self.graph.write().changed = false;
        Ok(())
    }
}
