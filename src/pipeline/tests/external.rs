//! The whole graph with an index in another system: streams, faults and kills that follow from a seed.

use super::*;
use crate::index::external::PointIds;
use crate::index::external::collection::Collection;
use crate::index::{IndexError, Query};
use crate::report::Report;
use crate::report::progress::Progress;
use crate::source::rewrite::{self, RewriteSource};
use crate::telemetry::health::HealthState;
use crate::testkit::fakes::FakeCollection;

use super::simulation::{for_each_seed, stream};

/// One folder, one provider and one collection, and the processes that work with them one after the other.
struct Shop {
    folder: TempDir,
    provider: Arc<FakeProvider>,
    collection: Arc<FakeCollection>,
}

impl Shop {
    fn new() -> Self {
        let (folder, provider) = (tempfile::tempdir().unwrap(), Arc::default());
        Self { folder, provider, collection: Arc::default() }
    }

    async fn pipeline(&self) -> Pipeline {
        let resources = fakes::resources_over(self.folder.path(), self.provider.clone(), self.collection.clone()).await;
        let index = Arc::new(FakeIndex::new(resources.ledger.clone()));
        Pipeline { resources, index, provider: self.provider.clone(), folder: None }
    }

    /// The collection holds exactly what it must after these events, and nothing is left to be written.
    fn assert_in_step(&self, pipeline: &Pipeline, events: &[Value]) {
        let ids = PointIds::new("test");
        let mut expected = BTreeMap::new();
        for (document, (metadata, vectors)) in pipeline.truth(events) {
            for (chunk, vector) in vectors.into_iter().enumerate() {
                expected.insert(ids.of(&DocumentId::new(&document).unwrap(), chunk), (metadata.clone(), vector));
            }
        }
        let points = self.collection.points();
        let held: BTreeMap<_, _> =
            points.into_iter().map(|point| (point.id, (point.metadata.to_string(), point.vector))).collect();
        assert_eq!(held, expected);
        assert_eq!(pipeline.resources.ledger.last_unwritten().unwrap(), None);
        assert_eq!(pipeline.resources.ledger.dead_letter_count().unwrap(), 0);
    }
}

fn sources(pipeline: &Pipeline, scripts: &[&Script]) -> Vec<NamedSource> {
    let mut sources: Vec<NamedSource> =
        scripts.iter().map(|script| NamedSource { name: "script".into(), make: script.make() }).collect();
    let ledger = pipeline.resources.ledger.clone();
    if let Some(end) = ledger.last_unwritten().unwrap() {
        let make = move || -> Box<dyn crate::source::Source> { Box::new(RewriteSource::new(ledger.clone(), end)) };
        sources.push(NamedSource { name: rewrite::NAME.into(), make: Arc::new(make) });
    }
    sources
}

#[test]
fn whatever_happens_to_an_index_in_another_system_it_ends_in_step_and_no_text_is_paid_for_again() {
    for_each_seed("whatever_happens_to_an_index", |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let (shop, events) = (Shop::new(), stream(&mut random));
        let script = script(&events, random.usize(1..40));
        let kills = random.usize(0..5);
        for life in 0..=kills {
            let lives = (life < kills).then(|| Duration::from_millis(random.u64(0..400)));
            let faults = (0..60).map(|_| match random.u8(0..40) {
                0..4 => Fault::Unavailable,
                4..6 => Fault::Slow,
                6 => random.choice([Fault::PanicBefore, Fault::PanicAfter]).unwrap(),
                _ => Fault::None,
            });
            shop.collection.faults.stop();
            shop.collection.faults.order(faults.collect::<Vec<_>>());
            if life > 0 && random.u8(0..6) == 0 {
                shop.collection.remove();
            }
            World::live(seed, async |_| {
                let pipeline = shop.pipeline().await;
                let (running, mut failures) = pipeline.start_reading(WINDOW, sources(&pipeline, &[&script]));
                let killed = async {
                    match lives {
                        Some(lives) => tokio::time::sleep(lives).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = rest(&running) => shop.assert_in_step(&pipeline, &events),
                    () = killed => {}
                    Some(reason) = failures.recv(), if life < kills => tracing::info!(reason, "the next life goes on"),
                }
            });
        }
        let in_vain: usize = shop.provider.paid_in_vain().values().sum();
        let again: usize = shop.provider.paid().values().map(|times| times - 1).sum();
        // What was on its way at a kill.
        assert!(again <= in_vain + kills * CALLS * ITEMS, "{again} texts were paid for again");
    });
}

#[test]
fn a_price_change_sends_no_vector_and_a_repeated_event_nothing() {
    World::run(1, async |world| {
        let shop = Shop::new();
        let pipeline = shop.pipeline().await;
        world.must_go("the resources", &pipeline.resources);
        let put = json!({ "op": "put", "id": "a", "v": 1, "text": "boots", "tag": 1 });
        let tag = json!({ "op": "patch", "id": "a", "v": 2, "tag": 2 });
        for (events, call) in [(vec![put.clone()], "upsert a/0"), (vec![tag.clone()], "set_metadata a/0")] {
            pipeline.run(&[&script(&events, 1)]).await;
            pipeline.resources.ledger.forget_positions("script-0").unwrap();
            assert_eq!(shop.collection.calls().last().unwrap(), call);
        }
        pipeline.run(&[&script(&[put.clone(), tag.clone()], 2)]).await;
        assert_eq!(shop.collection.calls().len(), 2);
        shop.assert_in_step(&pipeline, &[put, tag]);
    });
}

#[test]
fn a_collection_that_is_dropped_is_made_and_filled_again_by_itself() {
    World::run(1, async |_| {
        let (shop, events) = (Shop::new(), puts(30));
        let pipeline = shop.pipeline().await;
        let script = script(&events, 1);
        shop.collection.remove_at(3);
        let make = async || Ok(sources(&pipeline, &[&script]));
        let options = RunOptions { until_idle: true, grace: Duration::from_secs(30), look_every: pulse::EVERY };
        assert_eq!(supervise_sources(&pipeline.resources, make, options, std::future::pending()).await, Ending::Done);
        shop.assert_in_step(&pipeline, &events);
        assert_eq!(pipeline.paid_again(), 0);
        assert_eq!(pipeline.resources.metrics.rebuilds.get(), 1);
        // The arbiters drop what they held on threads of their own.
        while Arc::strong_count(&pipeline.resources.metrics) > 1 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn an_unreachable_collection_is_waited_for_before_anything_is_read() {
    World::run(1, async |_| {
        let shop = Shop::new();
        let pipeline = shop.pipeline().await;
        let script = script(&puts(3), 3);
        shop.collection.block(true);
        let make = async || Ok(sources(&pipeline, &[&script]));
        let options = RunOptions { until_idle: true, grace: Duration::from_secs(30), look_every: pulse::EVERY };
        let back = async {
            tokio::time::sleep(Duration::from_secs(300)).await;
            assert_eq!(script.given().len(), 0);
            let index = Report::of(&pipeline.resources).stats().unwrap().index.unwrap();
            let (state, reason) = (index.health.state, index.health.reason.unwrap());
            assert_eq!((state, index.health.since.is_some()), (HealthState::Degraded, true));
            assert!(reason.contains("the fake is unreachable"), "{reason}");
            assert_eq!(Progress::of(&pipeline.resources).snapshot().awaited, [("the index", reason)]);
            shop.collection.block(false);
            std::future::pending().await
        };
        assert_eq!(supervise_sources(&pipeline.resources, make, options, back).await, Ending::Done);
        shop.assert_in_step(&pipeline, &puts(3));
        while Arc::strong_count(&pipeline.resources.metrics) > 1 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_collection_that_is_overloaded_for_an_hour_is_asked_as_seldom_as_it_wants_and_nothing_is_lost_or_paid_for_again() {
    const PAUSE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);
    World::run(1, async |world| {
        let (shop, events) = (Shop::new(), puts(WINDOW.records + 1_000));
        let pipeline = shop.pipeline().await;
        world.must_go("the resources", &pipeline.resources);
        let script = script(&events, 1024);
        shop.collection.overload(Some(PAUSE));
        let (running, _failures) = pipeline.start_reading(WINDOW, sources(&pipeline, &[&script]));
        tokio::time::sleep(2 * PAUSE).await;
        let held = || {
            let window = pipeline.shown("script").window_documents;
            (
                window,
                pipeline.resources.metrics.embedding_queue.get(),
                script.given().len(),
                shop.provider.calls().len(),
            )
        };
        let full = held();
        assert_eq!(full.0, WINDOW.records as u64);
        let before = shop.collection.turned_away();
        tokio::time::sleep(HOUR).await;
        assert_eq!(held(), full, "nothing grows");
        let health = format!("{:?}", pipeline.resources.health.snapshot());
        assert!(health.contains("the fake is overloaded"), "{health}");
        let asked = shop.collection.turned_away() - before;
        let since = tokio::time::Instant::now();
        let query =
            Query { vector: FakeProvider::vector("text 1"), k: 1, filter: None, except: None, with_vectors: false };
        assert!(matches!(pipeline.resources.index.search(query).await, Err(IndexError::Unavailable(_))));
        assert_eq!(since.elapsed(), Duration::ZERO, "whoever searches does not wait");
        let most = shop.collection.bulk.concurrency * (HOUR.as_secs() / PAUSE.as_secs()) as usize;
        assert!((1..=most).contains(&asked), "{asked} calls, at most {most} expected");
        assert!(shop.collection.points().is_empty());

        shop.collection.overload(None);
        rest(&running).await;
        shop.assert_in_step(&pipeline, &events);
        assert_eq!(pipeline.paid_again(), 0);
    });
}

#[test]
fn a_collection_that_lets_in_less_than_one_write_at_a_time_gets_everything_in_the_end() {
    World::run(1, async |world| {
        let (shop, events) = (Shop::new(), puts(300));
        let pipeline = shop.pipeline().await;
        world.must_go("the resources", &pipeline.resources);
        // Two rounds of calls a minute; all of the documents are one write, and take nine times as many.
        let bulk = shop.collection.bulk;
        shop.collection.limit(2 * bulk.concurrency, Duration::from_secs(60));
        pipeline.run(&[&script(&events, 1024)]).await;
        shop.assert_in_step(&pipeline, &events);
        let needed = events.len().div_ceil(bulk.points);
        let calls = shop.collection.calls().len();
        assert!(calls <= 2 * needed, "{calls} calls, and {needed} were needed: what was done was done again");
        assert_eq!(pipeline.paid_again(), 0);
    });
}

#[test]
fn a_collection_that_was_emptied_and_written_to_since_is_filled_at_the_next_start() {
    World::run(1, async |world| {
        let (shop, mut events) = (Shop::new(), puts(30));
        let pipeline = shop.pipeline().await;
        world.must_go("the resources", &pipeline.resources);
        pipeline.run(&[&script(&events, 10)]).await;
        for part in [0..30, 0..14] {
            let ids: Vec<_> = shop.collection.points().iter().map(|point| point.id).collect();
            shop.collection.delete(&ids[part]).await.unwrap();
            events.push(json!({ "op": "put", "id": format!("new {}", events.len()), "v": 1, "text": "new" }));
            pipeline.resources.ledger.forget_positions("script-0").unwrap();
            pipeline.run(&[&script(&events[events.len() - 1..], 1)]).await;
            let held = shop.collection.points().len();
            pipeline.resources.index.prepare().await.unwrap();
            let is_due = pipeline.resources.ledger.last_unwritten().unwrap().is_some();
            assert_eq!(is_due, held < 15, "{held} points are left");
            pipeline.finish(pipeline.start_reading(WINDOW, sources(&pipeline, &[]))).await;
            assert_eq!(shop.collection.points().len(), if is_due { events.len() } else { held });
        }
        assert_eq!(pipeline.paid_again(), 0);
    });
}
