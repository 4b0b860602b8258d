//! Searches beside what brute force finds: filters, ties, and writes beside them.

use super::*;

#[tokio::test(start_paused = true)]
async fn filters_are_kept_and_nothing_that_matches_is_missed() {
    let mut clusters = Clusters::new(50, 16);
    let mut world = World::new(Metric::Cosine, 16);
    for start in (0..10_000).step_by(1_000) {
        world.put(clusters.documents(start..start + 1_000)).await;
    }
    world.settle().await;
    let query = clusters.queries(1, 10).remove(0);
    for (json, matches) in [
        (json!({"number": 4_321}), 1),
        (json!({"number": {"in": [1, 2, 9_999]}}), 3),
        (json!({"number": {"gte": 9_000, "lt": 9_100}}), 100),
        (json!({"number": -1}), 0),
    ] {
        let query = Query { filter: filter(json.clone()), k: 10, ..query.clone() };
        let (found, exact) = (world.found(&query).await, world.exact(&query));
        assert_eq!(found, exact, "{json}");
        assert_eq!(found.len(), matches.min(10), "{json}");
    }
    let tenth = |query| Query { filter: filter(json!({"tenth": 3})), ..query };
    let tenths: Vec<Query> = clusters.queries(20, 10).into_iter().map(tenth).collect();
    let recall = world.recall(&tenths).await;
    assert!(recall >= 0.98, "recall {recall}");
    let all = Query { k: 20_000, ..query };
    assert_eq!(world.found(&all).await.len(), 10_000);
}

/// To look at all of a million documents costs a hundred times as much as to look up some more of the nearest points.
#[tokio::test(start_paused = true)]
async fn a_search_looks_up_more_of_the_nearest_points_before_it_looks_at_every_document() {
    let mut clusters = Clusters::new(50, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..10_000)).await;
    world.settle().await;
    let core = &world.index.core;
    let found = |query: Query| {
        let scorer = Scorer::new(world.metric, &query.vector);
        let hits = search::Search { core, query: &query, scorer: &scorer, still: false }.among_the_nearest();
        hits.unwrap().map(|hits| hits.len())
    };
    let one_in = |every: usize| filter(json!({"number": {"in": (0..10_000).step_by(every).collect::<Vec<_>>()}}));
    for query in clusters.queries(5, 40) {
        assert_eq!(found(Query { filter: one_in(20), ..query.clone() }), Some(40), "some 26 are among the first 512");
        assert_eq!(found(Query { filter: one_in(2_000), ..query }), None, "there are only five");
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_that_no_longer_matches_once_it_is_looked_up_takes_no_place_of_another() {
    let mut world = World::new(Metric::L2, 2);
    let document = |number: u8| (format!("d{number}"), json!({"n": 0}), vec![Vector::from([f32::from(number), 0.0])]);
    world.put((0..3).map(document).collect()).await;
    let core = Arc::clone(&world.index.core);
    let query = Query { filter: filter(json!({"n": 0})), ..query(&[0.0, 0.0], 2) };
    let scorer = Scorer::new(Metric::L2, &query.vector);
    let search = search::Search { core: &core, query: &query, scorer: &scorer, still: false };
    let nearest = search.nearest_of_all().unwrap();
    world.keep("d0", json!({"n": 1}), 1).await;
    let mut found: Vec<String> = search.hits(&nearest).unwrap().into_keys().map(|id| id.to_string()).collect();
    found.sort();
    assert_eq!(found, ["d1", "d2"]);
}

#[tokio::test(start_paused = true)]
async fn of_equally_near_documents_those_that_came_first_are_first_however_many_are_asked_for() {
    let mut world = World::new(Metric::Cosine, 4);
    let vector: Vector = Arc::from([1.0, 2.0, 3.0, 4.0]);
    let mut ids: Vec<String> = (0..300).map(|number| format!("e{number:03}")).collect();
    Rng::with_seed(7).shuffle(&mut ids);
    world.put(ids.iter().map(|id| (id.clone(), json!({"n": 0}), vec![vector.clone()])).collect()).await;
    for settled in [false, true] {
        if settled {
            world.settle().await;
        }
        for k in [1, 5, 20, 300] {
            for filter in [None, filter(json!({"n": 0}))] {
                let found = world.found(&Query { filter, ..query(&vector, k) }).await;
                let found: Vec<&String> = found.iter().map(|(id, ..)| id).collect();
                assert_eq!(found, ids[..k].iter().collect::<Vec<_>>());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_while_writing_sees_every_write_that_was_answered() {
    let mut clusters = Clusters::new(20, 16);
    let world = World::new(Metric::Cosine, 16);
    let documents: Vec<Vec<_>> = (0..60).map(|at| clusters.documents(at * 20..at * 20 + 20)).collect();
    // Another writer replaces one document again and again: it must never be missing.
    let pinned = [clusters.next(), clusters.next()];
    world.index.write([write_of("pinned", Some(&json!({"pinned": true})), &pinned[..1])].into()).await.unwrap();
    let index = &world.index;
    let replace = async {
        for round in 0..150 {
            let vector = std::slice::from_ref(&pinned[round % 2]);
            index.write([write_of("pinned", Some(&json!({"pinned": true})), vector)].into()).await.unwrap();
        }
    };
    let watch = async {
        for _ in 0..150 {
            let near = Query { filter: filter(json!({"pinned": true})), ..query(&pinned[0], 1) };
            assert_eq!(index.search(near).await.unwrap().len(), 1);
        }
    };
    let write = async {
        for batch in &documents {
            index.write(batch.iter().map(|(id, metadata, v)| write_of(id, Some(metadata), v)).collect()).await.unwrap();
            for (id, _, vectors) in batch {
                let hits = index.search(query(&vectors[0], 1)).await.unwrap();
                assert_eq!(hits[0].id.as_str(), id);
            }
        }
    };
    futures_util::future::join3(replace, watch, write).await;
    assert_eq!(index.core.points.load(Relaxed), 1_201);
}

#[tokio::test(start_paused = true)]
async fn deletes_metadata_and_chunks() {
    let mut world = World::new(Metric::L2, 2);
    let at = |x: f32, y: f32| -> Vector { Arc::from([x, y]) };
    world
        .put(vec![
            ("a".to_owned(), json!({"colour": "red"}), vec![at(0.0, 0.0), at(10.0, 0.0)]),
            ("b".to_owned(), json!({"colour": "red"}), vec![at(9.0, 0.0), at(9.5, 0.0), at(9.6, 0.0)]),
            ("c".to_owned(), json!({}), vec![at(5.0, 5.0)]),
        ])
        .await;
    world.settle().await;
    let near = Query { with_vectors: true, ..query(&[10.0, 0.0], 3) };
    let hits = world.index.search(near.clone()).await.unwrap();
    let names: Vec<_> = hits.iter().map(|hit| (hit.id.as_str(), hit.chunk)).collect();
    assert_eq!(names, [("a", 1), ("b", 2), ("c", 0)], "a document once, by its nearest chunk");
    assert_eq!(hits[0].vector, Some(at(10.0, 0.0)));
    assert_eq!(hits[0].score, 0.0);

    // Metadata alone, then a chunk less, then the document.
    let colour = json!({"colour": "blue"});
    world.keep("a", colour.clone(), 2).await;
    let blue = Query { filter: filter(colour.clone()), ..near.clone() };
    assert_eq!(world.found(&blue).await, [("a".to_owned(), 0.0, 1)]);
    world.keep("a", colour, 1).await;
    assert_eq!(world.found(&blue).await, [("a".to_owned(), -10.0, 0)]);
    world.remove("a").await;
    assert_eq!(world.found(&blue).await, []);
    assert_eq!(world.index.core.points.load(Relaxed), 4);

    let like_b = Query { except: Some(DocumentId::new("b").unwrap()), ..near };
    assert_eq!(world.found(&like_b).await.iter().map(|hit| hit.0.as_str()).collect::<Vec<_>>(), ["c"]);
}

/// Between the two looks that make up a search.
#[tokio::test(start_paused = true)]
async fn a_search_begins_anew_when_points_join_the_tail_that_it_has_scanned() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..50)).await;
    world.settle().await;
    let core = Arc::clone(&world.index.core);
    core.growing.send_replace(true);
    world.put(clusters.documents(50..100)).await;
    let (query, scored) = (clusters.queries(1, 10).remove(0), || top_k::TopK::new(200));
    let scorer = Scorer::new(Metric::Cosine, &query.vector);
    let search = search::Search { core: &core, query: &query, scorer: &scorer, still: false };
    let moved = |tail, nearest: &mut top_k::TopK| match search.look_into_memory(tail, nearest) {
        Ok(()) => false,
        Err(search::Miss::Moved) => true,
        Err(search::Miss::Error(error)) => panic!("{error}"),
    };

    let mut nearest = scored();
    let none = search.scan_tail(&mut nearest).unwrap();
    assert_eq!(none, None);
    core.give_up("it is told to");
    assert!(moved(none, &mut nearest), "what waited is in the tail now");

    let mut nearest = scored();
    let tail = search.scan_tail(&mut nearest).unwrap();
    // Its old point is in the graph, and dead.
    world.put(clusters.documents(7..8)).await;
    assert!(moved(tail, &mut nearest), "the new point of a document that is changed is in the tail");

    let mut nearest = scored();
    let tail = search.scan_tail(&mut nearest).unwrap();
    core.waiting.lock().tail = None;
    assert!(!moved(tail, &mut nearest), "what has left the tail is in the graph");
    assert_eq!(nearest.into_sorted().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn vectors_of_another_length_are_refused() {
    let world = World::new(Metric::Cosine, 4);
    let endless: Vector = Arc::from([f32::INFINITY; 4]);
    let write = world.index.write([write_of("a", Some(&json!({})), &[endless])].into()).await;
    assert!(matches!(write, Err(IndexError::Fatal(text)) if text.contains("is not finite")));
    let short: Vector = Arc::from([1.0_f32; 3]);
    let write = world.index.write([write_of("a", Some(&json!({})), std::slice::from_ref(&short))].into()).await;
    assert!(
        matches!(write, Err(IndexError::Fatal(text)) if text.contains("`a` has 3 dimensions, and the index has 4"))
    );
    let search = world.index.search(query(&short, 1)).await;
    assert!(matches!(search, Err(IndexError::Fatal(text)) if text.contains("the query's vector has 3 dimensions")));
    assert_eq!(world.index.core.points.load(Relaxed), 0);
}
