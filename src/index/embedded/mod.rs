//! The embedded index: points and vectors in the ledger, and a graph over them for fast search.
//!
//! The ledger is the truth. The graph is derived from it, grows behind the writes and is saved now and then; a
//! point is in one of three places, and a search looks into all of them:
//!
//! - in the graph;
//! - in memory, *waiting* for the graph, where it is scanned;
//! - in the *tail*: in the ledger, not read since the index was opened. It is scanned from there until the graph has
//!   it.
//!
//! Keys of points grow and are never used again, so nothing in the graph is ever wrong, only dead. Dead points are
//! left out of searches, and a graph with too many of them is replaced. Points with one vector share a node of the graph.

mod file;
mod graph;
mod grow;
mod long;
mod publish;
mod search;
#[cfg(test)]
mod tests;
mod top_k;
mod twins;

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use crate::actor::offload::on_blocking_thread;
use crate::document::Vector;
use crate::ledger::{DocumentWrite, Ledger, PointKey};
use crate::settings::index::Metric;

use super::{Hit, IndexError, Progress, Query, VectorIndex};

use file::{Access, LedgerMark};
use graph::{Graph, Shape};
use publish::dead_in;

/// The graph's file in the index's folder.
const FILE: &str = "graph.usearch";
/// The setting of the ledger that holds its mark.
const MARK: &str = "index.mark";
/// Bytes of vectors that may wait for the graph: scanning them all costs a search a few milliseconds.
const MAX_WAITING: usize = 16 * 1024 * 1024;
/// How long a graceful end waits for the points in memory to get into the graph. Those that do not are taken from the
/// ledger at the next start.
const CLOSING: Duration = Duration::from_secs(5);

/// Vectors in the ledger, with a graph for fast search.
pub struct EmbeddedIndex {
    core: Arc<Core>,
    /// One permit for each thread that the graph has room for.
    searches: Arc<Semaphore>,
}

/// What writing, searching and growing share. A thread that holds one of the locks takes only later ones of
/// `publishing`, `dead`, `waiting`, `graph`.
struct Core {
    ledger: Arc<Ledger>,
    /// What the index was opened in, where the graph grows.
    runtime: Handle,
    shape: Shape,
    /// Where the graph is saved, and the mark of its ledger. Absent when the index only reads.
    home: Option<(PathBuf, LedgerMark)>,
    /// The newest key that memory knows of. Held from before a commit until memory knows of it, and while the graph is
    /// given up or replaced, or has the whole tail.
    publishing: Mutex<PointKey>,
    /// Whether a write ended without saying so: it may be committed, and memory not know of it.
    untold: AtomicBool,
    /// Whether growing waits for a ledger that cannot be read for now, which was logged.
    awaits_ledger: AtomicBool,
    /// Points that are gone, and may still be in the graph or waiting for it.
    dead: RwLock<HashSet<PointKey>>,
    waiting: Mutex<Waiting>,
    graph: RwLock<Graph>,
    /// [`MAX_WAITING`].
    max_waiting: usize,
    /// Bytes of vectors that wait in memory.
    waiting_bytes: watch::Sender<usize>,
    /// Whether the graph grows at this moment.
    growing: watch::Sender<bool>,
    /// How many points there are, readable without a lock.
    points: AtomicU64,
    /// About how many of them are not in the graph.
    waiting_points: AtomicU64,
}

/// What the graph has not got yet.
#[derive(Default)]
struct Waiting {
    /// What each write added, oldest first.
    segments: VecDeque<Arc<Segment>>,
    tail: Option<Tail>,
    /// Nothing more goes into the graph: the index is closed.
    closed: bool,
    /// The graph cannot grow: new points join the tail.
    broken: bool,
}

/// The points that one write added.
struct Segment {
    points: Vec<(PointKey, Vector)>,
    bytes: usize,
}

/// Points in the ledger with keys above `after`, up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tail {
    after: PointKey,
    end: PointKey,
}

impl EmbeddedIndex {
    /// Opens the index of this ledger, to write and to search it, or only to search it where the ledger was opened to be
    /// read: beside a process that writes or without one, and what that process writes later is found too. The graph is
    /// kept in `folder`, which exists.
    ///
    /// Blocks while it reads the whole file of the graph: to load it, or, when opened to search, to check it before it is mapped. To be
    /// called inside a Tokio runtime that outlives the index, on whose blocking threads the graph catches up with the ledger.
    ///
    /// # Errors
    /// The ledger cannot be read, or there is a graph that must not be believed and cannot be removed.
    pub fn open(ledger: Arc<Ledger>, folder: &Path, metric: Metric, dimensions: usize) -> Result<Self, IndexError> {
        let (shape, path) = (shape(metric, dimensions), folder.join(FILE));
        if ledger.is_open_to_write() {
            Self::open_to_write(ledger, shape, path)
        } else {
            Self::open_to_search(ledger, shape, &path)
        }
    }

    fn open_to_write(ledger: Arc<Ledger>, shape: Shape, path: PathBuf) -> Result<Self, IndexError> {
        let mark = match mark_of(&ledger)? {
            Some(mark) => mark,
            None => {
                let mark = fastrand::u128(..);
                ledger.set_setting(MARK, &format!("{mark:032x}"))?;
                mark
            }
        };
        let core = Core::open(ledger, shape, &path, Some(mark), Access::Change)?;
        let index = Self::around(Core { home: Some((path, mark)), ..core });
        index.core.grow_in_background();
        Ok(index)
    }

    fn open_to_search(ledger: Arc<Ledger>, shape: Shape, path: &Path) -> Result<Self, IndexError> {
        let mark = mark_of(&ledger)?;
        let core = Core::open(ledger, shape, path, mark, Access::Search)?;
        {
            let after = core.graph.read().covered;
            let mut waiting = core.waiting.lock();
            waiting.tail = Some(Tail { after, end: PointKey::MAX });
            waiting.closed = true;
        }
        Ok(Self::around(core))
    }

    fn around(core: Core) -> Self {
        let searches = Arc::new(Semaphore::new(core.shape.searches));
        Self { core: Arc::new(core), searches }
    }
}

fn shape(metric: Metric, dimensions: usize) -> Shape {
    let cores = available_parallelism().map_or(1, |cores| cores.get());
    Shape { metric, dimensions, searches: cores.max(4) }
}

fn mark_of(ledger: &Ledger) -> Result<Option<LedgerMark>, IndexError> {
    Ok(ledger.setting(MARK)?.and_then(|text| LedgerMark::from_str_radix(&text, 16).ok()))
}

impl Core {
    fn open(
        ledger: Arc<Ledger>,
        shape: Shape,
        path: &Path,
        mark: Option<LedgerMark>,
        access: Access,
    ) -> Result<Self, IndexError> {
        // The points before the graph: what is committed between the two is in the tail.
        let last = ledger.last_point_key()?;
        let without = |why: &str| {
            let instead = match access {
                Access::Change => "making the search graph anew, without",
                Access::Search => "searching without the graph",
            };
            warn!("{instead} {}: {why}", path.display());
            None
        };
        let loaded = match mark.map(|mark| file::load(path, shape, mark, access)) {
            None | Some(Ok(None)) => None,
            // What is in a graph was committed before. The ledger is asked again, because a process that only reads may
            // find a graph that is newer than its first answer.
            Some(Ok(Some(graph))) if graph.newest() > last && graph.newest() > ledger.last_point_key()? => {
                if access == Access::Change {
                    // Once the ledger has as many, nobody could tell that they are others.
                    file::remove(path).map_err(|error| unusable(&error))?;
                }
                without("it knows more points than the ledger")
            }
            Some(Ok(graph)) => graph,
            Some(Err(why)) => without(&why),
        };
        let graph = match loaded {
            Some(graph) => graph,
            None => Graph::new(shape).map_err(|error| unusable(&error))?,
        };
        let points = ledger.point_count()?;
        let dead = if graph.points().is_empty() { HashSet::new() } else { dead_in(&graph, &ledger)? };
        let alive = (graph.points().len() - dead.len()) as u64;
        let tail = (graph.covered < last).then_some(Tail { after: graph.covered, end: last });
        Ok(Self {
            ledger,
            runtime: Handle::current(),
            shape,
            home: None,
            publishing: Mutex::new(last),
            untold: AtomicBool::new(false),
            awaits_ledger: AtomicBool::new(false),
            dead: RwLock::new(dead),
            waiting: Mutex::new(Waiting { tail, ..Waiting::default() }),
            graph: RwLock::new(graph),
            max_waiting: MAX_WAITING,
            waiting_bytes: watch::Sender::new(0),
            growing: watch::Sender::new(false),
            points: AtomicU64::new(points),
            waiting_points: AtomicU64::new(points.saturating_sub(alive)),
        })
    }
}

fn unusable(error: &str) -> IndexError {
    IndexError::Fatal(format!("the search graph cannot be used: {error}"))
}

impl VectorIndex for EmbeddedIndex {
    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let mut room = self.core.waiting_bytes.subscribe();
            if *room.borrow() > self.core.max_waiting {
                // What a search learned of a write that failed nobody grows yet, and there is no write before there is room.
                let core = Arc::clone(&self.core);
                on_blocking_thread(move || core.grow_in_background()).await;
            }
            // The sender lives as long as the index.
            let _ = room.wait_for(|waiting| *waiting <= self.core.max_waiting).await;
        })
    }

    fn write(&self, writes: Arc<[DocumentWrite]>) -> BoxFuture<'_, Result<Progress, IndexError>> {
        Box::pin(async move {
            let core = Arc::clone(&self.core);
            on_blocking_thread(move || {
                core.write(&writes)?;
                core.grow_in_background();
                Ok(Progress::Done(Vec::new()))
            })
            .await
        })
    }

    fn search(&self, query: Query) -> BoxFuture<'_, Result<Vec<Hit>, IndexError>> {
        Box::pin(async move {
            let permit = Arc::clone(&self.searches).acquire_owned().await;
            let core = Arc::clone(&self.core);
            on_blocking_thread(move || {
                // Held by the thread and not by the caller, who may stop waiting.
                let _permit = permit;
                search::search(&core, &query)
            })
            .await
        })
    }

    fn graph_lag(&self) -> u64 {
        self.core.waiting_points.load(Relaxed)
    }

    fn unsaved_bytes(&self) -> u64 {
        let graph = self.core.graph.read();
        if graph.changed && self.core.home.is_some() { graph.index().serialized_length() as u64 } else { 0 }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), IndexError>> {
        Box::pin(async move {
            let mut growing = self.core.growing.subscribe();
            let caught_up = tokio::time::timeout(CLOSING, growing.wait_for(|growing| !growing)).await.is_ok();
            self.core.waiting.lock().closed = true;
            if !caught_up {
                let _ = growing.wait_for(|growing| !growing).await;
            }
            let core = Arc::clone(&self.core);
            on_blocking_thread(move || core.save().map_err(IndexError::Unavailable)).await
        })
    }
}

impl Drop for EmbeddedIndex {
    fn drop(&mut self) {
        self.core.waiting.lock().closed = true;
    }
}
