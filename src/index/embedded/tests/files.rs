//! The saved graph, and what becomes of it between two processes.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use super::*;

#[tokio::test(start_paused = true)]
async fn every_start_finds_every_point_whatever_became_of_the_graph() {
    type Meanwhile = fn(&Path);
    let cases: [(&str, bool, Meanwhile); 8] = [
        ("closed", true, |path| assert!(path.exists())),
        ("not closed", false, |path| assert!(!path.exists())),
        ("removed", true, |path| fs::remove_file(path).unwrap()),
        ("empty", true, |path| fs::write(path, []).unwrap()),
        ("cut off", true, |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("one bit wrong", true, |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 16;
            fs::write(path, bytes).unwrap();
        }),
        ("noise", true, |path| fs::write(path, Rng::with_seed(1).u64(..).to_le_bytes().repeat(5_000)).unwrap()),
        ("the head of another", true, |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[..64].fill(0xff);
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (name, close, meanwhile) in cases {
        let mut clusters = Clusters::new(20, 16);
        let mut world = World::new(Metric::Cosine, 16);
        world.put(clusters.documents(0..700)).await;
        world.settle().await;
        world = world.restart(close, meanwhile).await;
        let query = clusters.queries(1, 5).remove(0);
        assert_eq!(world.found(&query).await, world.exact(&query), "{name}: while it catches up");
        world.put(clusters.documents(700..800)).await;
        world.remove("d3").await;
        world.settle().await;
        assert!(world.recall(&clusters.queries(10, 10)).await >= 0.98, "{name}");
        assert_eq!(world.index.core.points.load(Relaxed), 799, "{name}");
    }
}

/// A save puts another file in the place of the old one.
#[tokio::test(start_paused = true)]
async fn the_graph_is_saved_when_it_is_not_as_its_file_has_it_and_only_then() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    // What is open keeps its number from being given to another file.
    let same = |a: &File, b: &File| a.metadata().unwrap().ino() == b.metadata().unwrap().ino();
    let file = |world: &World| File::open(world.graph_file()).unwrap();
    world.put(clusters.documents(0..50)).await;
    world = world.restart(true, |_| {}).await;
    let first = file(&world);
    world.remove("d3").await;
    world = world.restart(true, |_| {}).await;
    assert!(same(&first, &file(&world)), "what is gone is only left out");
    world.put(clusters.documents(50..51)).await;
    world.settle().await;
    assert!(world.index.unsaved_bytes() > 50 * 16 * 2, "the whole graph is written");
    world.index.close().await.unwrap();
    assert_eq!(world.index.unsaved_bytes(), 0);
    let second = file(&world);
    assert!(!same(&first, &second), "a point is new");
    world.index.core.graph.write().cover(60);
    world.index.close().await.unwrap();
    let third = file(&world);
    assert!(!same(&second, &third), "it covers more");
    world.index.close().await.unwrap();
    assert!(same(&third, &file(&world)), "it was just saved");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_used_is_written_over_though_nothing_is_new() {
    let world = World::new(Metric::Cosine, 16);
    let world = world.restart(false, |path| fs::write(path, "noise").unwrap()).await;
    let (shape, (path, mark)) = (world.index.core.shape, world.index.core.home.clone().unwrap());
    let load = || file::load(&path, shape, mark, Access::Search).map(|graph| graph.is_some());
    load().unwrap_err();
    world.index.close().await.unwrap();
    assert_eq!(load(), Ok(true));
}

#[tokio::test(start_paused = true)]
async fn a_disk_without_room_for_the_graph_is_told_and_what_was_saved_before_stays() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    let (shape, (path, mark)) = (world.index.core.shape, world.index.core.home.clone().unwrap());
    // The first is so small that it is written when the file is closed.
    for (numbers, said) in [(0..5, "is the disk full?"), (5..200, "No space left on device")] {
        world.put(clusters.documents(numbers)).await;
        world.settle().await;
        let graph = world.index.core.graph.read();
        file::save(&graph, mark, &path).unwrap();
        let before = fs::read(&path).unwrap();
        std::os::unix::fs::symlink("/dev/full", path.with_extension("saving")).unwrap();
        let error = file::save(&graph, mark, &path).unwrap_err();
        assert!(error.starts_with("cannot save the search graph as ") && error.contains(said), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(file::load(&path, shape, mark, Access::Search).unwrap().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_graph_whose_place_another_took_since_it_was_opened_is_read_as_it_was() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    let (shape, (path, mark)) = (world.index.core.shape, world.index.core.home.clone().unwrap());
    let mut opened = Vec::new();
    for numbers in [0..50, 50..80] {
        world.put(clusters.documents(numbers)).await;
        world.settle().await;
        world.index.core.save().unwrap();
        opened.push(File::open(&path).unwrap());
    }
    for access in [Access::Change, Access::Search] {
        let points = opened.iter_mut().map(|file| file::read(file, shape, mark, access).unwrap().points().len());
        assert_eq!(points.collect::<Vec<_>>(), [50, 80]);
    }
}

/// Keys are given again after a ledger was put back from a copy: a newer graph that was left beside it names other points by them.
#[tokio::test(start_paused = true)]
async fn a_graph_that_is_newer_than_a_restored_ledger_is_never_believed() {
    for catches_up in [false, true] {
        let mut clusters = Clusters::new(20, 16);
        let mut world = World::new(Metric::Cosine, 16);
        world.put(clusters.documents(0..100)).await;
        let (backup, truth) = (tempfile::tempdir().unwrap(), world.truth.clone());
        let copy = |from: &Path, to: &Path| {
            for file in ["ledger.sqlite", "vectors.bin"] {
                fs::copy(from.join(file), to.join(file)).unwrap();
            }
        };
        world = world.restart(true, |graph| copy(graph.parent().unwrap(), backup.path())).await;
        world.settle().await;
        if catches_up {
            // As after a graph was lost: it gets new points before it has all old ones.
            let core = Arc::clone(&world.index.core);
            core.growing.send_replace(true);
            *core.graph.write() = Graph::new(core.shape).unwrap();
            core.waiting.lock().tail = Some(Tail { after: 0, end: 100 });
            world.put(clusters.documents(100..300)).await;
            assert!(core.advance(&mut grow::Growth::default()).unwrap());
            assert_eq!((core.graph.read().covered, core.graph.read().points().len()), (0, 200));
            core.growing.send_replace(false);
        } else {
            world.put(clusters.documents(100..300)).await;
            world.settle().await;
        }
        let aside = tempfile::tempdir().unwrap();
        let restore = |graph: &Path| {
            copy(backup.path(), graph.parent().unwrap());
            copy(backup.path(), aside.path());
            fs::copy(graph, aside.path().join(FILE)).unwrap();
        };
        world = world.restart(true, restore).await;
        world.truth = truth;
        let ledger = Arc::new(Ledger::open_to_read(aside.path()).unwrap());
        let reader = EmbeddedIndex::open(ledger, aside.path(), Metric::Cosine, 16).unwrap();
        assert_eq!(reader.core.graph.read().newest(), 0, "a process that only reads does not use it either");
        for query in clusters.queries(5, 10) {
            let hits = reader.search(query.clone()).await.unwrap();
            let found: Vec<_> = hits.iter().map(|hit| (hit.id.as_str().to_owned(), hit.score, hit.chunk)).collect();
            assert_eq!(found, world.exact(&query));
        }
        world.put(clusters.documents(300..600)).await;
        world.settle().await;
        world = world.restart(false, |graph| assert!(!graph.exists())).await;
        world.settle().await;
        world.assert_found_alone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_graph_of_another_ledger_metric_or_dimension_is_not_used() {
    let mut clusters = Clusters::new(5, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..300)).await;
    world.index.close().await.unwrap();
    let (shape, path) = (world.index.core.shape, world.graph_file());
    let (_, mark) = world.index.core.home.clone().unwrap();
    let load =
        |shape, mark| file::load(&path, shape, mark, Access::Search).map(|graph| graph.map(|g| g.points().len()));
    assert_eq!(load(shape, mark), Ok(Some(300)));
    assert!(load(shape, mark + 1).unwrap_err().contains("another ledger"));
    assert!(load(Shape { metric: Metric::L2, ..shape }, mark).unwrap_err().contains("another metric"));
    assert!(load(Shape { dimensions: 8, ..shape }, mark).unwrap_err().contains("another metric"));

    // A ledger from a backup that is older than the graph.
    let old = World::new(Metric::Cosine, 16);
    fs::copy(&path, old.graph_file()).unwrap();
    old.index.core.ledger.set_setting(MARK, &format!("{mark:032x}")).unwrap();
    let mut old = old.restart(false, |_| {}).await;
    assert_eq!(old.index.core.graph.read().covered, 0);
    old.put(clusters.documents(0..10)).await;
    assert_eq!(old.found(&query(&clusters.next(), 20)).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_reader_beside_the_writer_finds_what_is_committed() {
    let mut clusters = Clusters::new(20, 16);
    let mut world = World::new(Metric::Cosine, 16);
    world.put(clusters.documents(0..500)).await;
    world.index.close().await.unwrap();
    let open = |world: &World| {
        let ledger = Arc::new(Ledger::open_to_read(world.folder.path()).unwrap());
        EmbeddedIndex::open(ledger, world.folder.path(), Metric::Cosine, 16).unwrap()
    };
    let reader = open(&world);
    assert_eq!(reader.core.graph.read().covered, 500);
    let again = "d7".to_owned();
    world.index.write([write_of("d3", None, &[])].into()).await.unwrap();
    world.truth.remove("d3");
    world.put(vec![(again, json!({"number": 7}), vec![clusters.next()])]).await;
    for reader in [reader, open(&world)] {
        for query in clusters.queries(5, 10) {
            let hits = reader.search(query.clone()).await.unwrap();
            let found: Vec<_> = hits.iter().map(|hit| (hit.id.as_str().to_owned(), hit.score, hit.chunk)).collect();
            assert_eq!(found, world.exact(&query));
        }
        let write = reader.write([write_of("x", Some(&json!({})), &[clusters.next()])].into()).await;
        assert!(matches!(write, Err(IndexError::Fatal(text)) if text.contains("read only")));
        reader.close().await.unwrap();
    }
}
