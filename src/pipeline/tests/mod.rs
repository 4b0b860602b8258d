//! The whole graph on virtual time, over a real ledger.

mod backpressure;
mod endings;
mod external;
mod fault_points;
mod simulation;
mod stalls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::build::{Controls, WINDOW, build};
use super::generation::at_rest;
use super::supervisor::{Ending, RunOptions, supervise_sources};
use super::{NamedSource, Resources};
use crate::actor::pulse::{self, Pulse};
use crate::delivery::Room;
use crate::document::mapping::Mapped;
use crate::document::{Change, Document, DocumentId, Vector, Version};
use crate::ledger::key_value::PLAN;
use crate::ledger::testing::write;
use crate::ledger::{DocumentWrite, Letter};
use crate::source::Source;
use crate::source::actor::MakeSource;
use crate::source::replan::{self, ReplanSource};
use crate::source::replay::{self, ReplaySource};
use crate::source::rewrite;
use crate::telemetry::health::{Component, HealthState};
use crate::telemetry::sources::{SourceState, SourceStatus};
use crate::testkit::World;
use crate::testkit::fakes::{self, FakeIndex, FakeProvider, Fault, Indexed, Script};

/// Calls at once, and the most texts in one, as [`fakes::resources`] sets them.
const CALLS: usize = 4;
const ITEMS: usize = 10;

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
        let mut pipeline = Self::within(&folder, Arc::new(provider)).await;
        pipeline.folder = Some(folder);
        let queue = pipeline.resources.metrics.embedding_queue.clone();
        world.must(move || (queue.get() != 0).then(|| format!("the queue shows {} texts", queue.get())));
        world.must_go("the resources", &pipeline.resources);
        pipeline
    }

    /// With the ledger in a folder that outlives it.
    async fn within(folder: &TempDir, provider: Arc<FakeProvider>) -> Self {
        let (resources, index) = fakes::resources(folder.path(), provider.clone()).await;
        Self { resources, index, provider, folder: None }
    }

    /// Runs generation after generation of actors, each on an arbiter with a clock of its own.
    async fn supervise(&self, script: &Script, until_idle: bool, stop: impl Future<Output = ()>) -> Ending {
        let sources = async || Ok(vec![NamedSource { name: "script".into(), make: script.make() }]);
        let options = RunOptions { until_idle, grace: Duration::from_secs(30), look_every: pulse::EVERY };
        supervise_sources(&self.resources, sources, options, stop).await
    }

    /// Starts a generation of actors that reads these scripts, with this window for each.
    fn start(&self, window: Room, scripts: &[&Script]) -> (Controls, mpsc::UnboundedReceiver<String>) {
        let named = |(number, script): (usize, &&Script)| NamedSource {
            name: format!("script-{number}").into(),
            make: script.make(),
        };
        self.start_reading(window, scripts.iter().enumerate().map(named).collect())
    }

    fn start_reading(&self, window: Room, sources: Vec<NamedSource>) -> (Controls, mpsc::UnboundedReceiver<String>) {
        let (failed, failures) = mpsc::unbounded_channel();
        let give_up = Arc::new(move |reason| drop(failed.send(reason)));
        (build(window, &self.resources, sources, &Pulse::default(), give_up), failures)
    }

    /// Reads the scripts to their end.
    async fn run(&self, scripts: &[&Script]) {
        self.finish(self.start(WINDOW, scripts)).await;
    }

    /// Reads one source to its end.
    async fn read<S: Source + 'static>(&self, name: &str, make: impl Fn() -> S + Send + Sync + 'static) {
        let make: MakeSource = Arc::new(move || Box::new(make()));
        self.finish(self.start_reading(WINDOW, vec![NamedSource { name: name.into(), make }])).await;
    }

    async fn finish(&self, (controls, mut failures): (Controls, mpsc::UnboundedReceiver<String>)) {
        tokio::select! {
            () = rest(&controls) => {}
            Some(reason) = failures.recv() => panic!("{reason}"),
        }
    }

    fn shown(&self, source: &str) -> SourceStatus {
        self.resources.sources.snapshot().remove(source).unwrap()
    }

    fn panics(&self) -> u64 {
        self.resources.actors.snapshot().values().map(|actor| actor.restarts).sum()
    }

    /// What this event says.
    fn change(&self, event: &Value) -> Change {
        match self.resources.mappers.of("").map(event.to_string().as_bytes(), Version::default()) {
            Ok(Mapped::Change(change)) => change,
            _ => panic!("{event} is no change"),
        }
    }

    /// The document of this event as the ledger may hold it while nothing of it is in the index.
    fn not_indexed(&self, event: &Value) -> DocumentWrite {
        let change = self.change(event);
        let id = change.id.clone();
        DocumentWrite { document: Document::from(change).to_json(), ..write(id.as_str(), vec![]) }
    }

    /// What the index must hold after these events, whatever their order.
    fn truth(&self, events: &[Value]) -> BTreeMap<String, Indexed> {
        let mut documents: BTreeMap<DocumentId, Document> = BTreeMap::new();
        for event in events {
            let change = self.change(event);
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
        self.assert_holds_the_truth(events);
        assert_eq!(self.resources.ledger.dead_letter_count().unwrap(), 0);
    }

    fn assert_holds_the_truth(&self, events: &[Value]) {
        let ids: BTreeSet<_> =
            events.iter().map(|event| DocumentId::new(event["id"].as_str().unwrap()).unwrap()).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        assert_eq!(self.index.holds(&ids), self.truth(events));
    }

    fn paid_again(&self) -> usize {
        self.provider.paid().values().map(|times| times - 1).sum()
    }
}

/// Waits until everything is read and settled. A source that fails for a while is no end here: a script that is told to fail is
/// read in the end.
async fn rest(controls: &Controls) {
    let rest = async {
        while !at_rest(controls.rests.clone()).await.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(100_000), rest).await.expect("the pipeline comes to rest");
}

fn script(events: &[Value], at_once: usize) -> Script {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    Script::with(lines.iter().map(String::as_str), at_once, true)
}

#[test]
fn told_to_stop_reading_no_text_waits_for_others() {
    World::run(1, async |_| {
        let folder = tempfile::tempdir().unwrap();
        let mut pipeline = Pipeline::within(&folder, Arc::new(FakeProvider::default())).await;
        let settings = &mut Arc::get_mut(&mut pipeline.resources).unwrap().settings;
        settings.batching = serde_yaml::from_str("{ max_wait: 1d }").unwrap();
        let events = puts(3);
        let lines: Vec<String> = events.iter().map(Value::to_string).collect();
        let script = Script::with(lines.iter().map(String::as_str), 3, false);
        let (began, (sources, _failures)) = (Instant::now(), pipeline.start(WINDOW, &[&script]));
        while pipeline.resources.metrics.embedding_queue.get() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sources.stop_reading();
        rest(&sources).await;
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        pipeline.assert_in_step(&events);
    });
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
        let dead: Vec<_> = letters.iter().map(|dead| dead.letter.position.as_str()).collect();
        assert_eq!(dead, ["script:8", "script:21"]);
        assert_eq!((pipeline.panics(), pipeline.paid_again()), (0, 0));
    });
}

#[test]
fn a_document_that_is_refused_again_keeps_its_dead_letter_until_it_gets_through() {
    World::run(1, async |world| {
        let pipeline = Pipeline::new(&world, FakeProvider::refusing(["text 1", "text 2"])).await;
        let (ledger, events) = (pipeline.resources.ledger.clone(), puts(3));
        let letters = || -> Vec<(String, String, u32, usize)> {
            let of = |Letter { source, position, attempts, payload, .. }| (source, position, attempts, payload.len());
            ledger.dead_letters(0, 9).unwrap().into_iter().map(|dead| of(dead.letter)).collect()
        };
        let its_own = |position: &str, attempts| {
            ("script-0".to_owned(), position.to_owned(), attempts, events[1].to_string().len())
        };
        let replanned = |attempts| ("replan".to_owned(), "d2".to_owned(), attempts, 0);

        pipeline.run(&[&script(&events, 3)]).await;
        assert_eq!(letters(), [its_own("script:2", 1), its_own("script:3", 1)]);
        ledger.drop_dead_letters(&[2]).unwrap();
        for plan in ["another", "a third"] {
            let from = ledger.clone();
            pipeline.read(replan::NAME, move || ReplanSource::new(from.clone(), plan.into())).await;
        }
        assert_eq!(letters(), [its_own("script:2", 3), replanned(2)], "one for each");

        assert_eq!(ledger.request_replay(None).unwrap(), 2);
        let (from, mappers) = (ledger.clone(), pipeline.resources.mappers.clone());
        pipeline.read(replay::NAME, move || ReplaySource::new(from.clone(), mappers.clone())).await;
        assert_eq!(letters(), [its_own("script:2", 4), replanned(3)], "each was tried again, and is what it was");

        let better = ["d1", "d2"].map(|id| json!({ "op": "put", "id": id, "v": 2, "text": "better" }));
        let events = [&events[..], &better].concat();
        pipeline.run(&[&script(&events, 5)]).await;
        pipeline.assert_in_step(&events);
    });
}

#[test]
fn documents_are_looked_at_again_although_a_text_of_a_file_can_never_be_paid_for() {
    World::live(1, async |world| {
        let folder = tempfile::tempdir().unwrap();
        let mut pipeline = Pipeline::within(&folder, Arc::new(FakeProvider::default())).await;
        let file = folder.path().join("a.jsonl");
        std::fs::write(&file, json!({ "op": "put", "id": "other", "v": 1, "text": "too dear" }).to_string()).unwrap();
        let configured = serde_json::from_value(json!({ "type": "file", "path": file.to_str().unwrap() })).unwrap();
        Arc::get_mut(&mut pipeline.resources).unwrap().settings.sources.insert("file".into(), configured);
        pipeline.run(&[&script(&puts(3), 3)]).await;
        pipeline.provider.faults.draw(1, 1.0, &[Fault::Answers(fakes::Answer::Status(402))]);

        let sources = super::sources(&pipeline.resources).await.unwrap();
        let (_sources, _failures) = pipeline.start_reading(WINDOW, sources);
        let state = |name: &str| pipeline.resources.sources.snapshot()[name].state;
        let replanned = async {
            while state(replan::NAME) != SourceState::Finished {
                world.rest().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(3600), replanned).await.expect("it does not wait for ever");
        assert_eq!(state("file"), SourceState::Reading);
        assert_eq!(pipeline.resources.ledger.setting(PLAN).unwrap().as_deref(), Some(&*pipeline.resources.plan));
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
        for (actor, status) in pipeline.resources.actors.snapshot() {
            assert_eq!(pipeline.resources.metrics.restarts(&actor).get(), status.restarts, "of {actor}");
        }
        pipeline.assert_in_step(&events);
        assert_eq!(pipeline.paid_again(), 0);
    });
}

#[test]
fn while_a_generation_is_rebuilt_no_source_shows_that_may_be_done() {
    World::run(1, async |_| {
        let folder = tempfile::tempdir().unwrap();
        let mut pipeline = Pipeline::within(&folder, Arc::new(FakeProvider::default())).await;
        let configured = serde_json::from_value(json!({ "type": "stdin" })).unwrap();
        let resources = Arc::get_mut(&mut pipeline.resources).unwrap();
        resources.settings.sources.insert("script".into(), configured);
        // Beside it one that only an outside crate knows, and all of Vectide's own.
        let names = ["script", "outside", replay::NAME, replan::NAME, rewrite::NAME];
        let script = script(&puts(10), 3);
        script.faults().draw(1, 1.0, &[Fault::PanicBefore]);
        let sources = async || Ok(names.map(|name| NamedSource { name: name.into(), make: script.make() }).into());
        let options = RunOptions { until_idle: true, grace: Duration::ZERO, look_every: pulse::EVERY };
        let rebuilding = async {
            while pipeline.resources.metrics.rebuilds.get() == 0 {
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(supervise_sources(&pipeline.resources, sources, options, rebuilding).await, Ending::WorkLeft);
        let shown: Vec<String> = pipeline.resources.sources.snapshot().into_keys().collect();
        assert_eq!(shown, [replay::NAME, "outside", "script"]);
    });
}

#[test]
fn a_stop_while_a_generation_that_failed_is_ended_leaves_nothing_of_it() {
    World::run(1, async |world| {
        let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
        pipeline.index.block();
        let script = script(&puts(3), 3);
        let crashes = [Fault::PanicBefore; crate::actor::guard::BUDGET + 1];
        script.faults().order([Fault::None].into_iter().chain(crashes));
        let resources = &pipeline.resources;
        let ending = async {
            let is_ended = || resources.health.of(Component::Pipeline).state == HealthState::Starting;
            while pipeline.panics() < crashes.len() as u64 || pipeline.index.at_once().most() == 0 || !is_ended() {
                tokio::task::yield_now().await;
            }
        };
        let sources = async || Ok(vec![NamedSource { name: "script".into(), make: script.make() }]);
        let options = RunOptions { until_idle: false, grace: Duration::ZERO, look_every: pulse::EVERY };
        assert_eq!(supervise_sources(resources, sources, options, ending).await, Ending::WorkLeft);
        while Arc::strong_count(&resources.metrics) > 1 {
            tokio::task::yield_now().await;
        }
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
