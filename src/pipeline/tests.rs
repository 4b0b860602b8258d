//! The whole graph on virtual time, over a real ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::Resources;
use super::build::{NamedSource, Sources, WINDOW, build};
use super::generation::{Failure, at_rest};
use super::supervisor::{Ending, RunOptions, supervise_sources};
use crate::actor::pulse::{self, Pulse};
use crate::document::mapping::Mapped;
use crate::document::{Document, DocumentId, Vector, Version};
use crate::testkit::World;
use crate::testkit::fakes::{self, FakeIndex, FakeProvider, Fault, Indexed, Script};

/// Seeds to try; more by `VECTIDE_SEEDS`.
fn seeds() -> std::ops::Range<u64> {
    let more = std::env::var("VECTIDE_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..more.unwrap_or(20)
}

struct Pipeline {
    resources: Arc<Resources>,
    index: Arc<FakeIndex>,
    provider: Arc<FakeProvider>,
    /// Kept until the ledger in it is closed.
    folder: Option<TempDir>,
}

impl Pipeline {
    async fn new(world: &World, provider: FakeProvider) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut pipeline = Self::within(&folder, provider).await;
        pipeline.folder = Some(folder);
        let queue = pipeline.resources.metrics.embedding_queue.clone();
        world.must(move || (queue.get() != 0).then(|| format!("the queue shows {} texts", queue.get())));
        world.must_go("the resources", &pipeline.resources);
        pipeline
    }

    /// With the ledger in a folder that outlives it.
    async fn within(folder: &TempDir, provider: FakeProvider) -> Self {
        let provider = Arc::new(provider);
        let (resources, index) = fakes::resources(folder.path(), provider.clone()).await;
        Self { resources, index, provider, folder: None }
    }

    /// Runs generation after generation of actors, each on an arbiter with a clock of its own.
    async fn supervise(&self, script: &Script, until_idle: bool, stop: impl Future<Output = ()>) -> Ending {
        let sources = || Ok(vec![NamedSource { name: "script".into(), make: script.make() }]);
        let options = RunOptions { until_idle, grace: Duration::from_secs(30), look_every: pulse::EVERY };
        supervise_sources(&self.resources, sources, options, stop).await
    }

    /// Starts a generation of actors that reads these scripts.
    fn start(&self, scripts: &[&Script]) -> (Sources, mpsc::UnboundedReceiver<Failure>) {
        let (failed, failures) = mpsc::unbounded_channel();
        let named = |(number, script): (usize, &&Script)| NamedSource {
            name: format!("script-{number}").into(),
            make: script.make(),
        };
        (build(&self.resources, scripts.iter().enumerate().map(named).collect(), &Pulse::default(), failed), failures)
    }

    /// Reads the scripts to their end.
    async fn run(&self, scripts: &[&Script]) {
        let (sources, mut failures) = self.start(scripts);
        // A source that fails for a while is no end here: a script that is told to fail is read in the end.
        let rest = async {
            while !at_rest(sources.rests.clone()).await.is_empty() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            rest = tokio::time::timeout(Duration::from_secs(100_000), rest) => rest.expect("the pipeline comes to rest"),
            Some(failure) = failures.recv() => panic!("{failure}"),
        }
    }

    fn panics(&self) -> u64 {
        self.resources.actors.snapshot().values().map(|actor| actor.restarts).sum()
    }

    /// What the index must hold after these events, whatever their order.
    fn truth(&self, events: &[Value]) -> BTreeMap<String, Indexed> {
        let mut documents: BTreeMap<DocumentId, Document> = BTreeMap::new();
        for event in events {
            let mapped = self.resources.mapper.map(event.to_string().as_bytes(), Version::default());
            let Ok(Mapped::Change(change)) = mapped else { panic!("{event} is no change") };
            documents.entry(change.id.clone()).or_default().join(change.into());
        }
        let template = &self.resources.template;
        let indexed = |(id, document): (DocumentId, Document)| {
            let text = template.render(&document).unwrap()?;
            let vectors: Vec<Vector> =
                self.resources.chunker.cut(&text).iter().map(|chunk| FakeProvider::vector(chunk)).collect();
            Some((id.to_string(), (template.metadata(&document), vectors)))
        };
        documents.into_iter().filter_map(indexed).collect()
    }

    fn assert_in_step(&self, events: &[Value]) {
        let ids: BTreeSet<_> =
            events.iter().map(|event| DocumentId::new(event["id"].as_str().unwrap()).unwrap()).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        assert_eq!(self.index.holds(&ids), self.truth(events));
        assert_eq!(self.resources.ledger.dead_letter_count().unwrap(), 0);
    }

    fn paid_again(&self) -> usize {
        self.provider.paid().values().map(|times| times - 1).sum()
    }
}

/// Creates, updates, patches and deletes of a few documents that share a few texts, some given twice, in any order.
fn stream(random: &mut fastrand::Rng) -> Vec<Value> {
    let mut events = Vec::new();
    for _ in 0..random.usize(1..120) {
        let op = ["put", "put", "patch", "now", "delete"][random.usize(0..5)];
        let mut event = json!({ "op": op, "id": format!("d{}", random.u32(0..6)), "v": random.u32(1..60) });
        if op != "delete" {
            if random.u8(0..4) > 0 {
                // Some are long enough to be cut.
                event["text"] = format!("text {} ", random.u32(0..9)).repeat(random.usize(1..90)).into();
            }
            if random.bool() {
                event["tag"] = random.u32(0..5).into();
            }
            if random.u8(0..10) == 0 {
                event["text"] = Value::Null;
            }
        }
        events.push(event);
    }
    for _ in 0..events.len() / 4 {
        let again = events[random.usize(0..events.len())].clone();
        events.push(again);
    }
    random.shuffle(&mut events);
    events
}

fn script(events: &[Value], at_once: usize) -> Script {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    Script::with(lines.iter().map(String::as_str), at_once, true)
}

#[test]
fn any_order_and_batching_of_a_stream_gives_the_same_index_and_pays_for_a_text_once() {
    for seed in seeds() {
        World::run(seed, async |world| {
            let mut random = fastrand::Rng::with_seed(seed);
            let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
            let events = stream(&mut random);
            let (one, other) = events.split_at(random.usize(0..events.len()));
            let scripts = [script(one, random.usize(1..40)), script(other, random.usize(1..40))];
            pipeline.run(&[&scripts[0], &scripts[1]]).await;
            pipeline.assert_in_step(&events);
            assert_eq!(pipeline.paid_again(), 0);
            // The same again from other sources: nothing is new, so nothing is embedded and nothing is written.
            let (calls, writes) = (pipeline.provider.calls().len(), pipeline.index.writes().len());
            let again = script(&events, 50);
            let rerun = pipeline.resources.ledger.forget_positions("script-0");
            rerun.unwrap();
            pipeline.run(&[&again]).await;
            assert_eq!(pipeline.provider.calls().len(), calls);
            assert_eq!(pipeline.index.writes().len(), writes);
        });
    }
}

#[test]
fn panics_and_outages_anywhere_change_nothing_but_the_cost_of_what_was_in_flight() {
    for seed in seeds() {
        World::run(seed, async |world| {
            let mut random = fastrand::Rng::with_seed(seed);
            let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
            let events = stream(&mut random);
            let outside = [Fault::Unavailable, Fault::TooMany, Fault::PanicBefore, Fault::PanicAfter];
            pipeline.provider.faults.draw(random.u64(..), 0.1, &outside);
            pipeline.index.faults.draw(random.u64(..), 0.1, &outside);
            let script = script(&events, random.usize(1..40));
            // Fewer than make the source count as failing, and than the budget of restarts.
            let reads = (0..3)
                .map(|_| random.choice([Fault::None, Fault::Unavailable, Fault::PanicBefore]).unwrap_or(Fault::None));
            script.faults().order(reads.collect::<Vec<_>>());
            pipeline.run(&[&script]).await;
            pipeline.assert_in_step(&events);
            let (again, wasted) = (pipeline.paid_again(), pipeline.provider.wasted());
            assert!(again <= wasted, "{again} texts were paid for again, and {wasted} were lost in flight");
        });
    }
}

#[test]
fn a_generation_that_is_killed_at_any_moment_is_followed_by_one_that_ends_in_the_same_index() {
    for seed in seeds() {
        let mut random = fastrand::Rng::with_seed(seed);
        let events = stream(&mut random);
        let (at_once, lived) = (random.usize(1..20), Duration::from_millis(random.u64(0..300)));
        let folder = tempfile::tempdir().unwrap();
        World::run(seed, async |_| {
            let pipeline = Pipeline::within(&folder, FakeProvider::default()).await;
            let (sources, _failures) = pipeline.start(&[&script(&events, at_once)]);
            let _ = tokio::time::timeout(lived, at_rest(sources.rests)).await;
        });
        World::run(seed, async |_| {
            let pipeline = Pipeline::within(&folder, FakeProvider::default()).await;
            pipeline.index.recall();
            pipeline.run(&[&script(&events, at_once)]).await;
            pipeline.assert_in_step(&events);
        });
    }
}

#[test]
fn a_document_that_crashes_the_index_is_dead_lettered_alone() {
    World::run(1, async |world| {
        let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
        let events = puts(40);
        pipeline.index.crash_on("d7");
        pipeline.index.crash_on("d20");
        pipeline.run(&[&script(&events, 40)]).await;
        let ids: Vec<_> = (0..40).map(|n| DocumentId::new(&format!("d{n}")).unwrap()).collect();
        assert_eq!(pipeline.index.holds(&ids).len(), 38);
        let letters = pipeline.resources.ledger.dead_letters(0, 10).unwrap();
        let dead: Vec<_> = letters.iter().map(|letter| letter.letter.position.as_str()).collect();
        assert_eq!(dead, ["script:8", "script:21"]);
        assert_eq!((pipeline.panics(), pipeline.paid_again()), (0, 0));
    });
}

/// Admitted = the window of the source. All of it waits in: the batcher (window - the terms below), the calls (concurrency x batch) and
/// the writer (the write under way and its credits); no term depends on the length of the source.
#[test]
fn with_a_blocked_index_a_source_admits_exactly_its_window_and_nothing_grows() {
    World::run(1, async |world| {
        let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
        let events = puts(WINDOW.records + 500);
        let script = script(&events, 1024);
        pipeline.index.block();
        let (sources, _failures) = pipeline.start(&[&script]);
        world.rest().await;
        let calls = pipeline.provider.calls().len();
        assert_eq!(script.given().len(), WINDOW.records);
        world.rest().await;
        assert_eq!((script.given().len(), pipeline.provider.calls().len()), (WINDOW.records, calls));
        assert!(pipeline.index.writes().is_empty());
        pipeline.index.unblock();
        assert!(at_rest(sources.rests).await.is_empty());
        assert_eq!(pipeline.index.writes().concat().len(), events.len());
        assert_eq!(pipeline.paid_again(), 0);
    });
}

fn puts(number: usize) -> Vec<Value> {
    (0..number).map(|n| json!({ "op": "put", "id": format!("d{n}"), "v": 1, "text": format!("text {n}") })).collect()
}

#[test]
fn a_spent_budget_of_restarts_rebuilds_the_generation_from_committed_positions() {
    World::run(1, async |world| {
        let (pipeline, events) = (Pipeline::new(&world, FakeProvider::default()).await, puts(10));
        let script = script(&events, 3);
        let crashes = [Fault::PanicBefore; crate::actor::guard::BUDGET + 1];
        script.faults().order([Fault::None].into_iter().chain(crashes));
        assert_eq!(pipeline.supervise(&script, true, std::future::pending()).await, Ending::Done);
        assert_eq!(pipeline.panics(), crashes.len() as u64);
        pipeline.assert_in_step(&events);
        assert_eq!(pipeline.paid_again(), 0);
    });
}

#[test]
fn generations_that_commit_nothing_end_the_run_with_the_reason() {
    World::run(1, async |world| {
        let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
        let script = script(&puts(10), 3);
        script.faults().draw(1, 1.0, &[Fault::PanicBefore]);
        let ending = pipeline.supervise(&script, true, std::future::pending()).await;
        let Ending::Failed(reason) = ending else { panic!("{ending:?}") };
        assert!(reason.contains("got nowhere") && reason.contains("told to panic"), "{reason}");
    });
}

#[test]
fn a_stop_that_cannot_finish_what_was_read_says_that_work_is_left() {
    World::run(1, async |world| {
        let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
        pipeline.index.block();
        let script = script(&puts(10), 3);
        let read = async {
            while script.given().len() < 10 {
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(pipeline.supervise(&script, false, read).await, Ending::WorkLeft);
        pipeline.index.unblock();
        // The arbiter drops what was on its way on a thread of its own.
        while Arc::strong_count(&pipeline.resources.metrics) > 1 {
            tokio::task::yield_now().await;
        }
    });
}
