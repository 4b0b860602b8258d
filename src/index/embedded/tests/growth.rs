//! The graph grows, catches up and is replaced.

use std::fs;

use futures_util::future::FutureExt;
use rusqlite::Connection;

use super::*;

#[tokio::test(start_paused = true)]
async fn what_dies_after_the_graph_was_given_up_is_not_remembered() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..50)).await;
    world.settle().await;
    world.index.core.give_up("it is told to");
    world.put(clusters.documents(50..100)).await;
    for number in 0..100 {
        world.remove(&format!("d{number}")).await;
    }
    assert_eq!(world.index.core.dead.read().len(), 50, "those in the graph");
    world.put(clusters.documents(100..150)).await;
    assert_eq!(world.index.core.points.load(Relaxed), 50);
    world.assert_found_alone().await;
}

#[tokio::test(start_paused = true)]
async fn a_graph_with_many_dead_points_is_replaced() {
    let mut clusters = Clusters::new(20, 8);
    let mut world = World::new(Metric::Cosine, 8);
    for _ in 0..4 {
        world.put(clusters.documents(0..1_500)).await;
        world.settle().await;
    }
    assert_eq!(world.index.core.points.load(Relaxed), 1_500);
    let in_graph = world.index.core.graph.read().points().len();
    assert!(in_graph <= 3_000, "{in_graph} points in the graph, 1500 of them alive");
    assert!(world.recall(&clusters.queries(20, 10)).await >= 0.98);
    // What was dead when it was saved is known as dead by the next start.
    world = world.restart(true, |_| {}).await;
    assert_eq!(world.index.core.dead.read().len(), world.index.core.graph.read().points().len() - 1_500);
    assert!(world.recall(&clusters.queries(20, 10)).await >= 0.98);
}

#[tokio::test(start_paused = true)]
async fn writes_without_a_pause_leave_the_graph_near_the_size_of_what_is_alive() {
    const ALIVE: usize = 2_000;
    let mut random = Rng::with_seed(7);
    let mut clusters = Clusters::new(20, 8);
    let mut world = World::new(Metric::Cosine, 8);
    world.put(clusters.documents(0..ALIVE)).await;
    world.settle().await;
    // From here on it grows step by step, and whenever it could take a breath, there is more.
    let core = Arc::clone(&world.index.core);
    core.growing.send_replace(true);
    let mut growth = grow::Growth::default();
    let (mut written, mut before, mut replaced) = (0, 0, 0);
    while written < 5 * ALIVE {
        if core.waiting.lock().segments.is_empty() {
            let first = random.usize(..ALIVE - 100);
            world.put(clusters.documents(first..first + 100)).await;
            written += 100;
        }
        assert!(core.advance(&mut growth).unwrap());
        let points = core.graph.read().points().len();
        assert!(points < 2 * ALIVE, "{points} points in the graph, {ALIVE} of them alive, after {written} writes");
        if points < before {
            replaced += 1;
            assert!(!core.are_too_many(&core.dead.read()), "the one that was put in place has to be replaced at once");
        }
        before = points;
    }
    assert!(replaced >= 2, "{replaced}");
    while core.advance(&mut growth).unwrap() {}
    world.settle().await;
    assert!(world.recall(&clusters.queries(20, 10)).await >= 0.98);
}

#[tokio::test(start_paused = true)]
async fn new_points_wait_for_a_page_of_what_a_start_left_behind_and_no_more() {
    let mut clusters = Clusters::new(20, 8);
    let mut world = World::new(Metric::Cosine, 8);
    world.put(clusters.documents(0..3_000)).await;
    world.settle().await;
    let core = Arc::clone(&world.index.core);
    core.growing.send_replace(true);
    let end = core.graph.read().covered;
    core.waiting.lock().tail = Some(Tail { after: 0, end });
    for first in (1_500..3_000).step_by(100) {
        world.put(clusters.documents(first..first + 100)).await;
    }
    // However many are gone: what is behind comes before a new graph.
    assert!(core.are_too_many(&core.dead.read()));
    let mut growth = grow::Growth::default();
    for turn in 1..=15 {
        assert!(core.advance(&mut growth).unwrap());
        assert!(core.advance(&mut growth).unwrap());
        let waiting = core.waiting.lock();
        assert_eq!(waiting.segments.len(), 15 - turn);
        assert_eq!(waiting.tail, Some(Tail { after: 64 * turn as PointKey, end }));
    }
    while core.advance(&mut growth).unwrap() {}
    world.settle().await;
    assert!(world.recall(&clusters.queries(20, 10)).await >= 0.98);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_waits_for_the_graph_gets_it_between_two_points() {
    let mut clusters = Clusters::new(5, 16);
    let world = World::new(Metric::Cosine, 16);
    let points: Vec<_> = (1..=10_000).map(|key| (key, clusters.next())).collect();
    let core = &world.index.core;
    std::thread::scope(|scope| {
        let searching = core.graph.read();
        let growing = scope.spawn(|| core.add(&points));
        // Nobody else may read once a writer waits.
        while core.graph.try_read().is_some() {
            std::thread::yield_now();
        }
        drop(searching);
        let added = core.graph.read().points().len();
        assert!((1..points.len()).contains(&added), "{added}");
        growing.join().unwrap().unwrap();
    });
}

/// What the ledger no longer had may be gone by a write that memory has not been told of: a search that finds it nowhere would not know
/// that its document has another point.
#[tokio::test(start_paused = true)]
async fn what_the_ledger_lacked_goes_out_of_sight_only_while_no_write_is_half_told() {
    for replaced in [true, false] {
        let mut clusters = Clusters::new(5, 16);
        let mut world = World::new(Metric::Cosine, 16);
        world.put(clusters.documents(0..2_000)).await;
        world.settle().await;
        let core = Arc::clone(&world.index.core);
        core.growing.send_replace(true);
        let end = core.graph.read().covered;
        let mut growth = grow::Growth::default();
        if replaced {
            for number in 0..1_990 {
                world.remove(&format!("d{number}")).await;
            }
            // All that is left.
            assert!(core.advance(&mut growth).unwrap());
        } else {
            world.remove("d1999").await;
            core.waiting.lock().tail = Some(Tail { after: end - 1, end });
        }
        std::thread::scope(|scope| {
            let searching = core.graph.read();
            let growing = scope.spawn(|| core.advance(&mut growth));
            // Nobody else may read once the graph is to change.
            while core.graph.try_read().is_some() {
                std::thread::yield_now();
            }
            assert!(core.publishing.try_lock().is_none(), "replaced: {replaced}");
            drop(searching);
            assert!(growing.join().unwrap().unwrap());
        });
        assert_eq!(
            (core.graph.read().points().len(), core.waiting.lock().tail),
            (if replaced { 10 } else { 2_000 }, None)
        );
        while core.advance(&mut growth).unwrap() {}
        world.settle().await;
        assert!(world.recall(&clusters.queries(20, 10)).await >= 0.98);
    }
}

#[test]
fn writes_wait_while_too_much_waits_for_the_graph() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    Arc::get_mut(&mut world.index.core).unwrap().max_waiting = 1_000;
    let [first, second] = [0..50, 50..100].map(|numbers| {
        let documents = clusters.documents(numbers);
        documents.iter().map(|(id, metadata, vectors)| write_of(id, Some(metadata), vectors)).collect()
    });

    let core = Arc::clone(&world.index.core);
    let searching = core.graph.read();
    runtime.block_on(world.index.write(first)).unwrap();
    assert!(*core.waiting_bytes.borrow() > 1_000);
    let mut second = async {
        world.index.room().await;
        world.index.write(second).await
    }
    .boxed();
    for _ in 0..5 {
        assert!((&mut second).now_or_never().is_none());
        let ledger = Arc::clone(&core.ledger);
        let last = runtime.block_on(on_blocking_thread(move || ledger.last_point_key())).unwrap();
        assert_eq!(last, 50, "nothing of the second write was begun");
    }
    drop(searching);
    runtime.block_on(second).unwrap();
    assert_eq!(world.index.core.points.load(Relaxed), 100);
    runtime.block_on(world.settle());
}

/// A database without tables stands for whatever may pass: too few open files, a network disk that hangs.
#[tokio::test(start_paused = true)]
async fn growing_goes_on_when_the_ledger_can_be_read_again_unless_it_is_damaged() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..200)).await;
    world.settle().await;
    let core = Arc::clone(&world.index.core);
    core.growing.send_replace(true);
    let tail = Some(Tail { after: 0, end: 200 });
    *core.graph.write() = Graph::new(core.shape).unwrap();
    core.waiting.lock().tail = tail;
    let mut growth = grow::Growth::default();
    core.ledger.read_from(Connection::open_in_memory().unwrap());
    assert_eq!(core.advance(&mut growth), Ok(true));
    assert_eq!(core.waiting.lock().tail, tail);
    let noise = world.folder.path().join("noise");
    fs::write(&noise, "noise".repeat(1_000)).unwrap();
    core.ledger.read_from(Connection::open(noise).unwrap());
    assert!(core.advance(&mut growth).unwrap_err().contains("damaged"));
    core.ledger.drop_readers();
    while core.advance(&mut growth).unwrap() {}
    world.settle().await;
    assert_eq!(core.graph.read().points().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_graph_grows_though_the_runtime_of_the_writes_has_ended() {
    let mut clusters = Clusters::new(5, 16);
    let world = World::new(Metric::Cosine, 16);
    let writing = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let handle = writing.handle().clone();
    writing.shutdown_background();
    let core = Arc::clone(&world.index.core);
    let writes = [write_of("a", Some(&json!({})), &[clusters.next(), clusters.next()])];
    let write = move || {
        // A write that was on its way when its generation ended.
        let _inside = handle.enter();
        core.write(&writes).unwrap();
        core.grow_in_background();
    };
    std::thread::spawn(write).join().unwrap();
    tokio::time::timeout(Duration::from_secs(60), world.settle()).await.expect("it never grows");
    assert_eq!(world.index.core.graph.read().points().len(), 2);
}
