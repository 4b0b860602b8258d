//! A collection in memory, or one that fails as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Fault, Faults, SLOW};
use crate::index::distance::Scorer;
use crate::index::external::collection::{
    Bulk, Collection, CollectionError, Established, Nearest, Neighbour, Point, PointMetadata, RefusedPoint, done_but,
};
use crate::settings::index::Metric;

/// Points in memory. Clones of its `Arc` are one collection; it outlives the processes that write to it.
pub struct FakeCollection {
    /// What writing calls meet: one fault each.
    pub faults: Faults,
    /// How nearness is measured.
    pub metric: Metric,
    /// What its arithmetic adds to each score.
    pub rounding: f32,
    /// How much one call may carry.
    pub bulk: Bulk,
    /// What it has that others at its place have not.
    pub mark: Mutex<Option<&'static str>>,
    /// What it has counted each time that it is established, before it counts what it holds.
    pub counts: Mutex<VecDeque<u64>>,
    /// Which points it refuses.
    pub rule: Mutex<fn(&Point) -> bool>,
    /// Whether it names those, and takes the others of the call.
    pub names_refused: bool,
    /// Whether it is no longer what the configuration says.
    pub unfit: AtomicBool,
    unreachable: AtomicBool,
    /// The number of the writing call at which it is taken away; 0 for never.
    removed_at: AtomicUsize,
    /// How long it wants to be left alone by whoever writes to it.
    overloaded: Mutex<Option<Duration>>,
    quota: Mutex<Option<Quota>>,
    turned_away: AtomicUsize,
    points: Mutex<Option<BTreeMap<Uuid, Point>>>,
    calls: Mutex<Vec<String>>,
}

/// So many calls are let in until time is up, and then so many again.
struct Quota {
    calls: usize,
    each: Duration,
    left: usize,
    until: Instant,
}

impl Default for FakeCollection {
    fn default() -> Self {
        Self {
            faults: Faults::default(),
            metric: Metric::default(),
            rounding: 0.0,
            bulk: Bulk { points: 4, bytes: 1 << 20, bytes_per_number: 4, concurrency: 2 },
            mark: Mutex::default(),
            counts: Mutex::default(),
            rule: Mutex::new(|_| false),
            names_refused: false,
            unfit: AtomicBool::default(),
            unreachable: AtomicBool::default(),
            removed_at: AtomicUsize::default(),
            overloaded: Mutex::default(),
            quota: Mutex::default(),
            turned_away: AtomicUsize::default(),
            points: Mutex::default(),
            calls: Mutex::default(),
        }
    }
}

impl FakeCollection {
    /// The points that it holds.
    pub fn points(&self) -> Vec<Point> {
        self.points.lock().iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Takes it away, as somebody else might.
    pub fn remove(&self) {
        *self.points.lock() = None;
    }

    /// Takes it away when the writing call of this number comes, counted from 1.
    pub fn remove_at(&self, call: usize) {
        self.removed_at.store(call, Ordering::SeqCst);
    }

    /// Whether it cannot be established from now on.
    pub fn block(&self, blocked: bool) {
        self.unreachable.store(blocked, Ordering::SeqCst);
    }

    /// From now on calls that write or search are told to come again after this pause; `None`: no more.
    pub fn overload(&self, pause: Option<Duration>) {
        *self.overloaded.lock() = pause;
    }

    /// From now on no more calls than these write in each span of so long.
    pub fn limit(&self, calls: usize, each: Duration) {
        *self.quota.lock() = Some(Quota { calls, each, left: calls, until: Instant::now() + each });
    }

    /// The calls so far that were told to come again.
    pub fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::SeqCst)
    }

    /// The writing calls so far: what was called, and of what.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().clone()
    }

    fn turn_away(&self) -> Result<(), CollectionError> {
        let after = *self.overloaded.lock();
        if after.is_none() {
            return Ok(());
        }
        self.send_away(after)
    }

    fn count(&self) -> Result<(), CollectionError> {
        let mut quota = self.quota.lock();
        let Some(quota) = quota.as_mut() else { return Ok(()) };
        if Instant::now() >= quota.until {
            (quota.left, quota.until) = (quota.calls, Instant::now() + quota.each);
        }
        if quota.left == 0 {
            return self.send_away(Some(quota.until - Instant::now()));
        }
        quota.left -= 1;
        Ok(())
    }

    fn send_away(&self, after: Option<Duration>) -> Result<(), CollectionError> {
        self.turned_away.fetch_add(1, Ordering::SeqCst);
        Err(CollectionError::Unavailable { reason: "the fake is overloaded".to_owned(), after })
    }

    async fn write<T>(
        &self,
        call: String,
        work: impl FnOnce(&mut BTreeMap<Uuid, Point>) -> T,
    ) -> Result<T, CollectionError> {
        let failed = || CollectionError::Unavailable { reason: "the fake is told to fail".to_owned(), after: None };
        let fault = self.faults.next();
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.turn_away()?;
        self.count()?;
        match fault {
            Fault::Unavailable | Fault::TooMany | Fault::Answers(_) | Fault::TimesOut => return Err(failed()),
            Fault::PanicBefore => panic!("the fake collection is told to panic"),
            Fault::Hang => std::future::pending().await,
            Fault::Slow => tokio::time::sleep(SLOW).await,
            Fault::None | Fault::PanicAfter => {}
        }
        let number = {
            let mut calls = self.calls.lock();
            calls.push(call);
            calls.len()
        };
        if number == self.removed_at.load(Ordering::SeqCst) {
            self.remove();
        }
        let mut points = self.points.lock();
        let Some(points) = points.as_mut() else {
            return Err(CollectionError::Missing("the fake was removed".to_owned()));
        };
        let done = work(points);
        assert!(fault != Fault::PanicAfter, "the fake collection is told to panic after it wrote");
        Ok(done)
    }
}

fn established(points: &BTreeMap<Uuid, Point>) -> Established {
    Established::Existing { points: points.len() as u64 }
}

fn named<'a>(what: &str, points: impl Iterator<Item = (&'a str, usize)>) -> String {
    points.fold(what.to_owned(), |call, (document, chunk)| format!("{call} {document}/{chunk}"))
}

impl Collection for FakeCollection {
    fn place(&self) -> &str {
        "the fake collection"
    }

    fn mark(&self) -> BoxFuture<'_, Result<Option<String>, CollectionError>> {
        async { Ok(self.mark.lock().map(str::to_owned)) }.boxed()
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn bulk(&self) -> Bulk {
        self.bulk
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn establish(&self) -> BoxFuture<'_, Result<Established, CollectionError>> {
        async {
            if self.unreachable.load(Ordering::SeqCst) {
                return Err(CollectionError::Unavailable { reason: "the fake is unreachable".to_owned(), after: None });
            }
            if let Some(points) = self.counts.lock().pop_front() {
                return Ok(Established::Delayed { points });
            }
            let mut points = self.points.lock();
            let created = points.is_none();
            let points = points.get_or_insert_default();
            Ok(if created { Established::Created } else { established(points) })
        }
        .boxed()
    }

    fn look(&self) -> BoxFuture<'_, Result<Option<Established>, CollectionError>> {
        async {
            if self.unfit.load(Ordering::SeqCst) {
                return Err(CollectionError::Unfit("its vectors have 7 numbers".to_owned()));
            }
            Ok(self.points.lock().as_ref().map(established))
        }
        .boxed()
    }

    fn upsert<'a>(&'a self, points: &'a [Point]) -> BoxFuture<'a, Result<(), CollectionError>> {
        let call = named("upsert", points.iter().map(|point| (point.document.as_str(), point.chunk)));
        async move {
            let rule = *self.rule.lock();
            let reason = || "a column must be set".to_owned();
            let (refused, fine): (Vec<_>, Vec<_>) = points.iter().enumerate().partition(|(_, point)| rule(point));
            if !refused.is_empty() && !self.names_refused {
                self.calls.lock().push(call);
                return Err(CollectionError::OneRefused(reason()));
            }
            self.write(call, |held| held.extend(fine.into_iter().map(|(_, point)| (point.id, point.clone())))).await?;
            let named = |(index, _)| RefusedPoint { index, reason: reason(), by_system: true };
            let refused: Vec<RefusedPoint> = refused.into_iter().map(named).collect();
            done_but(refused)
        }
        .boxed()
    }

    fn set_metadata<'a>(&'a self, points: &'a [PointMetadata]) -> BoxFuture<'a, Result<Vec<usize>, CollectionError>> {
        let call = named("set_metadata", points.iter().map(|point| (point.document.as_str(), point.chunk)));
        let work = |held: &mut BTreeMap<Uuid, Point>| {
            let lacks = |(index, point): (usize, &PointMetadata)| match held.get_mut(&point.id) {
                Some(held) => {
                    held.metadata = point.metadata.clone();
                    None
                }
                None => Some(index),
            };
            points.iter().enumerate().filter_map(lacks).collect()
        };
        self.write(call, work).boxed()
    }

    fn delete<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), CollectionError>> {
        let work = |held: &mut BTreeMap<Uuid, Point>| ids.iter().for_each(|id| drop(held.remove(id)));
        self.write(format!("delete {}", ids.len()), work).boxed()
    }

    fn nearest<'a>(&'a self, nearest: Nearest<'a>) -> BoxFuture<'a, Result<Vec<Option<Neighbour>>, CollectionError>> {
        async move {
            self.turn_away()?;
            let scorer = Scorer::new(self.metric, nearest.vector);
            let counts = |point: &Point| {
                let metadata = serde_json::from_str(&point.metadata).unwrap_or_default();
                nearest.filter.is_none_or(|filter| filter.matches(&metadata))
            };
            let neighbour = |point: Point| Neighbour {
                id: point.id,
                score: scorer.score(&point.vector) + self.rounding,
                document: point.document,
                chunk: point.chunk,
            };
            let mut found: Vec<Neighbour> = self.points().into_iter().filter(counts).map(neighbour).collect();
            found.sort_by(|a, b| b.score.total_cmp(&a.score));
            found.truncate(nearest.limit);
            Ok(found.into_iter().map(Some).collect())
        }
        .boxed()
    }
}
