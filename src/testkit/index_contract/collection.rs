//! What only an index in another system must do, each by its name: it is told point by point, and is there without Vectide.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use uuid::Uuid;

use super::points::{DIMENSIONS, metadata_of, point, vector};
use super::relay::Relay;
use super::shop::{Place, Shop, truth, write};
use super::{Backend, WRONG_KEY, WrongKey, assert_same, fresh};
use crate::index::distance::Scorer;
use crate::index::external::PointIds;
use crate::index::external::collection::{
    Bulk, Collection, CollectionError, Established, Nearest, Neighbour, Point, PointMetadata,
};
use crate::index::external::inspect::Inspect;
use crate::index::{Filter, IndexError};
use crate::settings::index::Metric;

async fn established(backend: &dyn Backend, what: &str) -> Arc<dyn Inspect> {
    let collection = backend.collection(&fresh(what), DIMENSIONS, Metric::Cosine);
    assert_eq!(collection.establish().await, Ok(Established::Created));
    collection
}

pub async fn it_is_made_once_and_what_does_not_fit_is_refused(backend: &dyn Backend) {
    let name = fresh("made");
    let collection = backend.collection(&name, DIMENSIONS, Metric::Cosine);
    assert_eq!(collection.look().await, Ok(None), "looking makes nothing");
    assert_eq!(collection.establish().await, Ok(Established::Created));
    let found = collection.establish().await;
    assert!(matches!(found, Ok(Established::Existing { points: 0 } | Established::Delayed { points: 0 })), "{found:?}");
    collection.upsert(&[point("a", 0, &json!({}), 1)]).await.unwrap();
    let holds_some = |found| {
        matches!(
            found,
            Established::Existing { points: 1.. }
                | Established::Delayed { points: 1.. }
                | Established::Uncounted { .. }
        )
    };
    assert!(collection.establish().await.is_ok_and(holds_some));
    assert!(collection.look().await.is_ok_and(|found| found.is_some_and(holds_some)));
    for (other, named) in [
        (
            backend.collection(&name, DIMENSIONS + 1, Metric::Cosine),
            [DIMENSIONS.to_string(), (DIMENSIONS + 1).to_string()],
        ),
        (backend.collection(&name, DIMENSIONS, Metric::L2), ["cosine".to_owned(), "l2".to_owned()]),
    ] {
        for refused in [other.establish().await.map(Some), other.look().await] {
            let Err(CollectionError::Unfit(text)) = refused else { panic!("{refused:?}") };
            // Some call the Euclidean distance so.
            let text = text.to_lowercase().replace("euclid", "l2");
            assert!(named.iter().all(|part| text.contains(part)), "names both: {text}");
        }
    }
}

pub async fn a_point_is_replaced_whole_and_a_repeated_write_changes_nothing(backend: &dyn Backend) {
    let collection = established(backend, "replaced").await;
    let (old, new) = (point("a", 0, &json!({"price": 1, "sale": true}), 1), point("a", 0, &json!({"price": 2}), 2));
    let other = point("b", 3, &json!({"price": 3}), 3);
    collection.upsert(&[old, other.clone()]).await.unwrap();
    for _ in 0..2 {
        collection.upsert(std::slice::from_ref(&new)).await.unwrap();
        assert_same(collection.fetch(&[new.id, other.id, Uuid::nil()]).await.unwrap(), &[&new, &other]);
    }
}

pub async fn metadata_changes_without_the_vector_and_what_is_absent_is_named(backend: &dyn Backend) {
    let collection = established(backend, "metadata").await;
    let before = ["a", "b", "c"].map(|document| point(document, 0, &json!({"price": 1, "note": "old"}), 7));
    collection.upsert(&before).await.unwrap();
    let after = ["a", "b", "c"].map(|document| point(document, 0, &json!({"price": 2.5}), 7));
    let changes =
        [metadata_of(&after[0]), metadata_of(&point("absent", 0, &json!({"price": 9}), 0)), metadata_of(&after[1])];
    let lacking = collection.set_metadata(&changes).await.unwrap();
    let ids = after.each_ref().map(|point| point.id);
    let held = collection.fetch(&ids).await.unwrap();
    if backend.changes_metadata_alone() {
        assert_eq!(lacking, [1]);
        assert_same(held, &[&after[0], &after[1], &before[2]]);
    } else {
        assert_eq!(lacking, [0, 1, 2]);
        assert_same(held, &before.each_ref());
    }
    let absent = collection.fetch(&[changes[1].id]).await.unwrap();
    assert_same(absent, &[]);
}

pub async fn what_is_deleted_is_gone_and_what_is_absent_is_no_error(backend: &dyn Backend) {
    let collection = established(backend, "deleted").await;
    let points = [point("a", 0, &json!({}), 1), point("a", 1, &json!({}), 2), point("b", 0, &json!({}), 3)];
    collection.upsert(&points).await.unwrap();
    let ids = points.each_ref().map(|point| point.id);
    for _ in 0..2 {
        collection.delete(&[ids[0], Uuid::nil(), ids[2]]).await.unwrap();
        assert_same(collection.fetch(&ids).await.unwrap(), &[&points[1]]);
    }
}

/// A collection whose process dies at one of its writing calls: before it is done, or after.
struct Dying {
    inner: Arc<dyn Inspect>,
    left: AtomicUsize,
    after: bool,
}

impl Dying {
    async fn pass<T>(&self, call: impl Future<Output = Result<T, CollectionError>>) -> Result<T, CollectionError> {
        let dies = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Err(0);
        let dead = || CollectionError::Unavailable { reason: "the process died".to_owned(), after: None };
        if dies && !self.after {
            return Err(dead());
        }
        let done = call.await?;
        if dies { Err(dead()) } else { Ok(done) }
    }
}

impl Collection for Dying {
    fn place(&self) -> &str {
        self.inner.place()
    }

    fn mark(&self) -> BoxFuture<'_, Result<Option<String>, CollectionError>> {
        self.inner.mark()
    }

    fn timeout(&self) -> Duration {
        self.inner.timeout()
    }

    fn metric(&self) -> Metric {
        self.inner.metric()
    }

    fn bulk(&self) -> Bulk {
        // One point a call: a step for each.
        Bulk { points: 1, concurrency: 1, ..self.inner.bulk() }
    }

    fn establish(&self) -> BoxFuture<'_, Result<Established, CollectionError>> {
        self.inner.establish()
    }

    fn look(&self) -> BoxFuture<'_, Result<Option<Established>, CollectionError>> {
        self.inner.look()
    }

    fn upsert<'a>(&'a self, points: &'a [Point]) -> BoxFuture<'a, Result<(), CollectionError>> {
        self.pass(self.inner.upsert(points)).boxed()
    }

    fn set_metadata<'a>(&'a self, points: &'a [PointMetadata]) -> BoxFuture<'a, Result<Vec<usize>, CollectionError>> {
        self.pass(self.inner.set_metadata(points)).boxed()
    }

    fn delete<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), CollectionError>> {
        self.pass(self.inner.delete(ids)).boxed()
    }

    fn nearest<'a>(&'a self, nearest: Nearest<'a>) -> BoxFuture<'a, Result<Vec<Option<Neighbour>>, CollectionError>> {
        self.inner.nearest(nearest)
    }

    fn most_neighbours(&self) -> usize {
        self.inner.most_neighbours()
    }
}

impl Inspect for Dying {
    fn fetch<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<Point>, CollectionError>> {
        self.inner.fetch(ids)
    }
}

/// What comes after the crash is not what was under way: a newer event may have arrived meanwhile, with other chunks.
pub async fn a_crash_between_any_two_steps_leaves_no_orphan_and_loses_nothing(backend: &dyn Backend) {
    let (old, new) = (json!({"price": 1}), json!({"price": 2}));
    let mut survived = 0;
    for step in 0.. {
        for after in [false, true] {
            let collection = backend.collection(&fresh("crash"), DIMENSIONS, Metric::Cosine);
            let shop = Shop::new(Place::Collection(collection.clone())).await;
            let first = [("a", &[1, 2][..]), ("b", &[3]), ("c", &[4, 5, 6]), ("d", &[7])];
            shop.write(first.map(|(name, seeds)| write(name, &old, seeds)).into()).await.unwrap();

            // `a` grows, `b` gets a price, `c` shrinks, `d` goes, `e` comes.
            let dying = Dying { inner: collection.clone(), left: AtomicUsize::new(step), after };
            let shop = shop.crash(Place::Collection(Arc::new(dying))).await;
            let second = [("a", &[1, 2, 10, 11][..]), ("b", &[3]), ("c", &[4]), ("d", &[]), ("e", &[12, 13])];
            let done = shop.write(second.map(|(name, seeds)| write(name, &new, seeds)).into()).await;

            let shop = shop.crash(Place::Collection(collection)).await;
            shop.index.prepare().await.unwrap();
            if done.is_ok() {
                survived += 1;
                assert_eq!(shop.ledger.last_unwritten().unwrap(), None);
            }
            // A newer event of `a` comes before what was under way is taken up.
            shop.write(vec![write("a", &old, &[20])]).await.unwrap();
            shop.rewrite().await;
            let expected = [
                ("a", old.clone(), &[20][..]),
                ("b", new.clone(), &[3]),
                ("c", new.clone(), &[4]),
                ("d", new.clone(), &[]),
                ("e", new.clone(), &[12, 13]),
            ];
            shop.assert_holds(&truth(&expected)).await;
        }
        if survived > 0 {
            assert!(step >= 6, "the write has as many steps as points change: {step}");
            return;
        }
    }
}

pub async fn a_collection_that_was_dropped_is_filled_again_without_embedding(backend: &dyn Backend) {
    let name = fresh("dropped");
    let shop = Shop::new(backend.place(&name, Metric::Cosine)).await;
    let metadata = json!({"price": 1});
    shop.write(vec![write("a", &metadata, &[1, 2]), write("b", &metadata, &[3])]).await.unwrap();
    backend.remove(&name).await;
    let lost = shop.write(vec![write("c", &metadata, &[4])]).await;
    assert!(matches!(lost, Err(IndexError::Lost(_))), "{lost:?}");
    shop.index.prepare().await.unwrap();
    shop.rewrite().await;
    let expected = [("a", metadata.clone(), &[1, 2][..]), ("b", metadata.clone(), &[3]), ("c", metadata.clone(), &[4])];
    shop.assert_holds(&truth(&expected)).await;
}

pub async fn points_of_others_are_not_written_over(backend: &dyn Backend) {
    let name = fresh("others");
    let collection = backend.collection(&name, DIMENSIONS, Metric::Cosine);
    collection.establish().await.unwrap();
    let theirs = point("theirs", 0, &json!({"price": 5}), 50);
    collection.upsert(std::slice::from_ref(&theirs)).await.unwrap();
    let shop = Shop::open(tempfile::tempdir().unwrap(), Place::Collection(collection.clone()), false);
    let refused = shop.index.prepare().await;
    assert!(matches!(&refused, Err(IndexError::Unfit(text)) if text.contains("index.adopt")), "{refused:?}");
    assert_same(collection.fetch(&[theirs.id]).await.unwrap(), &[&theirs]);

    let shop = Shop::open(tempfile::tempdir().unwrap(), Place::Collection(collection.clone()), true);
    shop.index.prepare().await.unwrap();
    shop.write(vec![write("ours", &json!({"price": 1}), &[1])]).await.unwrap();
    let ours = point("ours", 0, &json!({"price": 1}), 1);
    assert_same(collection.fetch(&[theirs.id, ours.id]).await.unwrap(), &[&theirs, &ours]);
    let hits = shop.near(vector(50, DIMENSIONS), 1, None).await.unwrap();
    assert_eq!(hits.iter().map(|hit| hit.id.as_str()).collect::<Vec<_>>(), ["ours"], "theirs is not ours to show");
    shop.index.prepare().await.unwrap();
}

/// They are no document's, and nearer than all that is ours.
pub async fn points_of_others_hide_none_of_ours(backend: &dyn Backend) {
    let name = fresh("among");
    let collection = backend.collection(&name, DIMENSIONS, Metric::Cosine);
    collection.establish().await.unwrap();
    let (priced, query) = (json!({"price": 1}), vector(50, DIMENSIONS));
    let theirs: Vec<Point> = (0..30).map(|number| point(&format!("theirs{number}"), 0, &priced, 50)).collect();
    backend.write_foreign(&name, &theirs).await;
    let nearest = Nearest { vector: &query, filter: None, limit: 10 };
    assert_eq!(collection.nearest(nearest).await, Ok(vec![None; 10]));

    let shop = Shop::open(tempfile::tempdir().unwrap(), Place::Collection(collection), true);
    shop.index.prepare().await.unwrap();
    shop.write(vec![write("a", &priced, &[1]), write("b", &priced, &[2])]).await.unwrap();
    let filter = Filter::from_json(&priced).unwrap();
    for filter in [None, Some(&filter)] {
        for (k, found) in [(1, 1), (2, 2), (3, 2)] {
            let hits = shop.near(query.clone(), k, filter).await.unwrap();
            assert_eq!(hits.len(), found, "{filter:?}: {k}");
        }
    }
}

/// Though it is of a document of the same name.
pub async fn a_point_of_another_pipeline_is_not_taken_for_one_of_ours(backend: &dyn Backend) {
    let collection = established(backend, "shared").await;
    let ours = point("a", 0, &json!({"price": 1}), 1);
    let theirs =
        Point { id: PointIds::new("another").of(&ours.document, 0), vector: vector(50, DIMENSIONS), ..ours.clone() };
    collection.upsert(std::slice::from_ref(&theirs)).await.unwrap();
    let shop = Shop::open(tempfile::tempdir().unwrap(), Place::Collection(collection), true);
    shop.index.prepare().await.unwrap();
    shop.write(vec![write("a", &json!({"price": 1}), &[1])]).await.unwrap();
    let hits = shop.near(theirs.vector.clone(), 1, None).await.unwrap();
    let score = Scorer::new(Metric::Cosine, &theirs.vector).score(&ours.vector);
    assert!(hits.len() == 1 && (hits[0].score - score).abs() < 1e-3, "{hits:?} should be as near as {score}");
}

/// What the calls of a collection are made with.
struct Asked {
    points: [Point; 1],
    changes: [PointMetadata; 1],
    ids: [Uuid; 1],
}

/// A call that is made when it is awaited.
type Call<'a> = BoxFuture<'a, Result<(), CollectionError>>;

impl Asked {
    fn new() -> Self {
        let point = point("a", 0, &json!({}), 1);
        Self { changes: [metadata_of(&point)], ids: [point.id], points: [point] }
    }

    /// Every call that asks the server, with its name; in an order in which all of them can be done.
    fn calls<'a>(&'a self, backend: &dyn Backend, collection: &'a dyn Inspect) -> Vec<(&'static str, Call<'a>)> {
        let Self { points, changes, ids } = self;
        let nearest = Nearest { vector: &points[0].vector, filter: None, limit: 1 };
        let mut calls: Vec<(_, Call<'a>)> = vec![
            ("look", collection.look().map_ok(drop).boxed()),
            ("establish", collection.establish().map_ok(drop).boxed()),
            ("upsert", collection.upsert(points)),
            ("nearest", collection.nearest(nearest).map_ok(drop).boxed()),
            ("fetch", collection.fetch(ids).map_ok(drop).boxed()),
            ("delete", collection.delete(ids)),
        ];
        if backend.changes_metadata_alone() {
            calls.insert(3, ("set_metadata", collection.set_metadata(changes).map_ok(drop).boxed()));
        }
        calls
    }
}

pub async fn nobody_there_is_waited_for(backend: &dyn Backend) {
    // Bound and never listened at, so that nobody else can be there either.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = bound.local_addr().unwrap().as_socket().unwrap().port();
    let nobody = backend.through(&fresh("nobody"), &|_| port, Duration::from_secs(60));
    assert!(nobody.place().contains("127.0.0.1"), "what is told beside every reason: {}", nobody.place());
    let asked = Asked::new();
    for (call, done) in asked.calls(backend, &*nobody) {
        let done = done.await;
        assert!(matches!(done, Err(CollectionError::Unavailable { .. })), "{call}: {done:?}");
    }
    if !backend.changes_metadata_alone() {
        assert_eq!(nobody.set_metadata(&asked.changes).await, Ok(vec![0]), "nobody is asked");
    }
}

#[track_caller]
fn assert_too_late(call: &str, done: &Result<(), CollectionError>) {
    assert!(
        matches!(done, Err(CollectionError::Unavailable { reason, .. }) if reason.contains("`index.timeout`")),
        "{call}: {done:?}"
    );
}

/// It takes connections, and nothing ever comes back on them.
pub async fn a_server_that_never_answers_is_waited_for(backend: &dyn Backend) {
    let relay = Relay::default();
    relay.hold(true);
    let silent = backend.through(&fresh("silent"), &|port| relay.to(port), Duration::from_millis(200));
    let asked = Asked::new();
    for (call, done) in asked.calls(backend, &*silent) {
        assert_too_late(call, &done.await);
    }
    let shop = Shop::open(tempfile::tempdir().unwrap(), Place::Collection(silent.clone()), false);
    let told = shop.index.prepare().await;
    assert!(
        matches!(&told, Err(IndexError::Unavailable(text)) if text.contains(silent.place()) && text.contains("`index.timeout`")),
        "{told:?}"
    );
}

/// On a connection that has worked.
pub async fn a_server_that_answers_too_late_is_waited_for(backend: &dyn Backend) {
    let relay = Relay::default();
    let collection = backend.through(&fresh("slow"), &|port| relay.to(port), Duration::from_secs(2));
    let asked = Asked::new();
    for (call, done) in asked.calls(backend, &*collection) {
        establish_in_the_end(&*collection).await;
        relay.hold(true);
        assert_too_late(call, &done.await);
        relay.hold(false);
    }
    establish_in_the_end(&*collection).await;
}

/// A busy machine may not make it within the time that is given at once.
async fn establish_in_the_end(collection: &dyn Inspect) {
    for _ in 0..60 {
        let done = collection.establish().await;
        if !matches!(done, Err(CollectionError::Unavailable { .. })) {
            done.unwrap();
            return;
        }
    }
    panic!("it never answers in time");
}

pub async fn a_wrong_key_is_for_a_person_to_mend_and_not_shown(backend: &dyn Backend) {
    let asked = Asked::new();
    match backend.with_wrong_key() {
        WrongKey::Refused(collection, setting) => {
            assert!(!collection.place().contains(WRONG_KEY));
            for (call, done) in asked.calls(backend, &*collection) {
                let done = done.await;
                let Err(CollectionError::Fatal(text)) = &done else { panic!("{call}: {done:?}") };
                assert!(text.contains(setting) && !text.contains(WRONG_KEY), "{call}: {text}");
            }
        }
        WrongKey::NotAsked(collection) => {
            assert!(!collection.place().contains(WRONG_KEY));
            for (call, done) in asked.calls(backend, &*collection) {
                assert_eq!(done.await, Ok(()), "{call}");
            }
            collection.upsert(&asked.points).await.unwrap();
            assert_same(collection.fetch(&asked.ids).await.unwrap(), &asked.points.each_ref());
        }
    }
}
