//! Writes that were committed and could not tell memory.

use std::panic::AssertUnwindSafe;

use futures_util::future::FutureExt;

use crate::index::embedded::publish::dead_among;
use crate::testkit::faults::{self, Strike};

use super::*;

#[tokio::test(start_paused = true)]
async fn what_a_search_learned_gets_into_the_graph_when_a_write_waits_for_room() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    Arc::get_mut(&mut world.index.core).unwrap().max_waiting = 1_000;
    let documents = clusters.documents(0..50);
    let writes = documents.iter().map(|(id, metadata, vectors)| write_of(id, Some(metadata), vectors)).collect();
    faults::arm("points committed", Strike::Panic, 0, 1);
    assert!(AssertUnwindSafe(world.index.write(writes)).catch_unwind().await.is_err());
    assert_eq!(faults::disarm(), 1);
    world.found(&query(&clusters.next(), 1)).await;
    assert!(*world.index.core.waiting_bytes.borrow() > 1_000 && !*world.index.core.growing.borrow());
    let room = tokio::time::timeout(Duration::from_secs(60), world.index.room());
    room.await.expect("it waits for ever");
    world.settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_write_committed_and_could_not_tell_is_searched_all_the_same() {
    for (point, strike) in [
        ("points committed", Strike::Panic),
        ("the ledger committed", Strike::Panic),
        ("the ledger committed", Strike::Fail),
    ] {
        for settled in [true, false] {
            let mut clusters = Clusters::new(3, 4);
            let mut world = World::new(Metric::Cosine, 4);
            let mut document = |id: &str| (id.to_owned(), json!({}), vec![clusters.next()]);
            world.put(["same", "changed", "gone"].map(&mut document).into()).await;
            if settled {
                world.settle().await;
            }
            let new = ["changed", "new"].map(&mut document);
            let written = new.iter().map(|(id, metadata, vectors)| write_of(id, Some(metadata), vectors));
            let writes = written.chain([write_of("gone", None, &[])]).collect();
            faults::arm(point, strike, 0, 1);
            let ended = AssertUnwindSafe(world.index.write(writes)).catch_unwind().await;
            assert!(!matches!(ended, Ok(Ok(_))));
            assert_eq!(faults::disarm(), 1);
            world.truth.extend(new.map(|(id, metadata, vectors)| (id, (metadata, vectors))));
            world.truth.remove("gone");
            // Nothing is written after it: what its documents are delivered for again is found to be there.
            world.assert_found_alone().await;
            assert_eq!(world.index.core.points.load(Relaxed), 3);
            world.put(vec![document("later")]).await;
            world.settle().await;
            world.assert_found_alone().await;
            let mut keys: Vec<PointKey> = world.index.core.graph.read().keys().collect();
            keys.sort_unstable();
            assert!(keys.is_sorted_by(|a, b| a < b), "a point is in the graph twice: {keys:?}");
        }
    }
}

#[tokio::test]
async fn a_point_that_waits_and_is_in_the_graph_already_is_alive() {
    let mut world = World::new(Metric::L2, 2);
    world
        .put((0..3).map(|number| (format!("d{number}"), json!({}), vec![Arc::from([number as f32, 1.0])])).collect())
        .await;
    let ledger = &world.index.core.ledger;
    let held = ledger.point_keys_after(0, 10).unwrap();
    let gone = held.last().unwrap() + 1;
    assert_eq!(dead_among([&held[..], &[gone], &held[1..]].concat(), ledger).unwrap(), HashSet::from([gone]));
}
