//! What is found of what is near.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_graph_finds_what_brute_force_finds() {
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let mut clusters = Clusters::new(100, 64);
        let mut world = World::new(metric, 64);
        for start in (0..6_000).step_by(500) {
            world.put(clusters.documents(start..start + 500)).await;
        }
        world.settle().await;
        assert_eq!(world.index.core.waiting.lock().segments.len(), 0);
        let queries = clusters.queries(60, 10);
        let recall = world.recall(&queries).await;
        assert!(recall >= 0.98, "{metric:?}: recall {recall}");
        for query in &queries[..5] {
            for (id, score, _) in world.found(query).await {
                let scorer = Scorer::new(metric, &query.vector);
                assert_eq!(score, scorer.score(&world.truth[&id].1[0]), "scores are those of the whole vectors");
            }
        }
    }
}

/// The worst case for a graph: nothing leads towards what is near.
#[tokio::test(start_paused = true)]
async fn points_that_fill_their_space_evenly_are_found() {
    let mut space = Clusters::new(1, 96);
    let mut world = World::new(Metric::Cosine, 96);
    world.put(space.documents(0..4_000)).await;
    world.settle().await;
    let recall = world.recall(&space.queries(60, 10)).await;
    assert!(recall >= 0.99, "recall {recall}");
}

/// The graph's numbers are too coarse for these: what counts is how many candidates are scored exactly.
#[tokio::test(start_paused = true)]
async fn vectors_that_are_nearly_equal_are_told_apart() {
    let mut random = Rng::with_seed(7);
    let mut vector = || -> Vector { (0..64).map(|_| 10.0 + random.f32() * 2.0 - 1.0).collect() };
    let mut world = World::new(Metric::Cosine, 64);
    world.put((0..2_000).map(|number| (format!("d{number}"), json!({}), vec![vector()])).collect()).await;
    world.settle().await;
    let queries: Vec<Query> = (0..40).map(|_| query(&vector(), 10)).collect();
    let recall = world.recall(&queries).await;
    assert!(recall >= 0.92, "recall {recall}");
}

/// Documents of which one in `every` is so many times as long as the others, and says so.
fn with_odd_ones(clusters: &mut Clusters, count: usize, every: usize, scale: f32) -> Vec<(String, Value, Vec<Vector>)> {
    let mut documents = clusters.documents(0..count);
    for (number, (_, metadata, vectors)) in documents.iter_mut().enumerate() {
        let odd = number % every == 0;
        *metadata = json!({"odd": odd});
        if odd {
            vectors[0] = vectors[0].iter().map(|x| x * scale).collect();
        }
    }
    documents
}

/// With links by the inner product, the long ones would be in the links of all others, and hide these.
#[tokio::test(start_paused = true)]
async fn with_the_inner_product_long_vectors_are_found_and_hide_no_others() {
    for (centres, dimensions, every, scale) in [(60, 32, 60, 20.0), (5, 64, 10, 2.5)] {
        let mut clusters = Clusters::new(centres, dimensions);
        let mut world = World::new(Metric::Dot, dimensions);
        for documents in with_odd_ones(&mut clusters, 3_000, every, scale).chunks(250) {
            world.put(documents.to_vec()).await;
        }
        world.settle().await;
        for again in [false, true] {
            if again {
                world = world.restart(true, |_| {}).await;
                assert_eq!(world.index.graph_lag(), 0, "the graph was kept");
            }
            for k in [1, 100] {
                let all = clusters.queries(8, k);
                let others = |query| Query { filter: filter(json!({"odd": false})), ..query };
                let filtered: Vec<Query> = all.iter().cloned().map(others).collect();
                for queries in [all, filtered] {
                    let recall = world.recall(&queries).await;
                    assert!(recall >= 0.98, "scale {scale}, k {k}: recall {recall}");
                }
            }
        }
    }
}

/// What is long is compared one by one, and by the graph's own numbers: the ledger, which may know better by now, is asked only for
/// the nearest.
#[tokio::test(start_paused = true)]
async fn a_long_vector_that_just_went_keeps_neither_searches_nor_writes_waiting() {
    let mut clusters = Clusters::new(20, 32);
    let mut world = World::new(Metric::Dot, 32);
    world.put(with_odd_ones(&mut clusters, 1_000, 2, 20.0)).await;
    world.settle().await;
    let query = clusters.queries(1, 10).remove(0);
    let scorer = Scorer::new(Metric::Dot, &query.vector);
    let score = |id: &String| scorer.score(&world.truth[id].1[0]);
    let farthest = world.truth.keys().min_by(|a, b| score(a).total_cmp(&score(b))).unwrap().clone();
    let core = Arc::clone(&world.index.core);
    {
        // A write that is committed and has not told memory yet.
        let _publishing = core.publishing.lock();
        core.ledger.write(&[write_of(&farthest, None, &[])]).unwrap();
        let (answer, answered) = std::sync::mpsc::channel();
        let (core, asked) = (Arc::clone(&core), query.clone());
        std::thread::spawn(move || answer.send(search::search(&core, &asked)));
        let hits = answered.recv_timeout(Duration::from_secs(20)).expect("the search waits for the write").unwrap();
        let found: Vec<_> = hits.iter().map(|hit| (hit.id.as_str().to_owned(), hit.score, hit.chunk)).collect();
        assert_eq!(found, world.exact(&query));
    }
    let near = core.graph.read().nearest(&query.vector, 100, &HashSet::new()).unwrap();
    assert_eq!(near.len(), 100, "no more than are wanted");
}

/// With a node for each of them, the points of the text that many share would cut the graph apart: none of the others would be found.
#[tokio::test(start_paused = true)]
async fn documents_are_found_beside_many_with_one_vector() {
    const SHARED: usize = 2_500;
    let mut clusters = Clusters::new(20, 32);
    let mut world = World::new(Metric::Cosine, 32);
    let shared = clusters.next();
    let mut documents = clusters.documents(0..SHARED);
    documents.extend((0..SHARED).map(|number| (format!("same {number}"), json!({}), vec![shared.clone()])));
    Rng::with_seed(7).shuffle(&mut documents);
    for documents in documents.chunks(250) {
        world.put(documents.to_vec()).await;
    }
    world.settle().await;
    let assert_found = async |world: &World| {
        for (id, (_, vectors)) in world.truth.iter().filter(|(id, _)| !id.starts_with("same")).step_by(10) {
            assert_eq!(world.found(&query(&vectors[0], 1)).await[0].0, *id);
        }
        let same = world.found(&query(&shared, 600)).await;
        assert_eq!(same.len(), 600);
        assert!(same.iter().all(|(id, ..)| id.starts_with("same") && world.truth.contains_key(id)));
    };
    assert_found(&world).await;
    // Some of them, and the one that was there first, whose node it is.
    let first = documents.iter().find(|(id, ..)| id.starts_with("same")).unwrap();
    world.remove(&first.0).await;
    for number in 0..100 {
        world.remove(&format!("same {number}")).await;
    }
    assert_found(&world).await;
    let world = world.restart(true, |_| {}).await;
    assert_eq!(world.index.graph_lag(), 0, "the graph was kept");
    assert_found(&world).await;
}
