//! Any history of writes, searches and restarts.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8, Vec<[i8; 2]>),
    /// Other metadata, and so many chunks.
    Keep(u8, u8, usize),
    Remove(u8),
    Search([i8; 2], usize, u8),
    /// Until the graph has every point.
    Settle,
    /// With a graceful end, or without.
    Restart(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let point = || proptest::array::uniform2(-9_i8..9);
    prop_oneof![
        3 => (0..12_u8, 0..3_u8, proptest::collection::vec(point(), 1..4)).prop_map(|(id, m, v)| Act::Put(id, m, v)),
        1 => (0..12_u8, 0..3_u8, 1..4_usize).prop_map(|(id, m, chunks)| Act::Keep(id, m, chunks)),
        1 => (0..12_u8).prop_map(Act::Remove),
        4 => (point(), 1..6_usize, 0..4_u8).prop_map(|(at, k, m)| Act::Search(at, k, m)),
        1 => Just(Act::Settle),
        1 => any::<bool>().prop_map(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_history_is_answered_like_brute_force(
        acts in proptest::collection::vec(act(), 1..25),
        metric in prop_oneof![Just(Metric::Cosine), Just(Metric::Dot), Just(Metric::L2)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(metric, 2);
            let vector = |at: &[i8; 2]| -> Vector { at.iter().map(|x| f32::from(*x)).collect() };
            for act in &acts {
                match act {
                    Act::Put(id, kind, at) => {
                        // Two chunks with one text are one text: keep them apart.
                        let mut at = at.clone();
                        at.dedup();
                        let vectors = at.iter().map(vector).collect();
                        world.put(vec![(id.to_string(), json!({"kind": kind}), vectors)]).await;
                    }
                    Act::Keep(id, kind, chunks) => world.keep(&id.to_string(), json!({"kind": kind}), *chunks).await,
                    Act::Remove(id) => world.remove(&id.to_string()).await,
                    Act::Settle => world.settle().await,
                    Act::Restart(close) => world = world.restart(*close, |_| {}).await,
                    Act::Search(at, k, kind) => {
                        let filter = (*kind < 3).then(|| filter(json!({"kind": kind})).unwrap());
                        let query = Query { filter, ..query(&vector(at), *k) };
                        let scores = |found: Vec<(String, f32, usize)>| -> Vec<f32> {
                            found.into_iter().map(|hit| hit.1).collect()
                        };
                        // Equal scores may be answered by either document.
                        assert_eq!(scores(world.found(&query).await), scores(world.exact(&query)));
                    }
                }
            }
        });
    }
}
