//! A panic at any place of the product, and a stage that fails with everything: the index ends the same, and only what was on its way is
//! paid for again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use crate::actor::pulse::Pulse;
use crate::document::DocumentId;
use crate::pipeline::NamedSource;
use crate::pipeline::build::{WINDOW, build};
use crate::pipeline::generation::at_rest;
use crate::telemetry::actors::ActorState;
use crate::telemetry::health::{Component, HealthState};
use crate::testkit::World;
use crate::testkit::fakes::{self, FakeIndex, FakeProvider, Fault, Indexed, Script};
use crate::testkit::faults::{self, Strike};

/// Events of a few documents, some twice and one of them broken, in any order. Texts are shared, and change.
fn events(random: &mut fastrand::Rng) -> Vec<String> {
    let mut events: Vec<String> = (0..60)
        .map(|_| {
            let op = ["put", "put", "now", "delete"][random.usize(0..4)];
            let (id, version, text) = (random.u32(0..20), random.u32(1..60), random.u32(0..30));
            json!({ "op": op, "id": format!("d{id}"), "v": version, "text": format!("text {text}") }).to_string()
        })
        .collect();
    events.insert(random.usize(0..events.len()), "{ broken".to_owned());
    events
}

fn put(id: usize) -> String {
    json!({ "op": "put", "id": format!("d{id}"), "v": 1, "text": format!("text {id}") }).to_string()
}

/// What came of a run.
struct Outcome {
    index: BTreeMap<String, Indexed>,
    dead_letters: Vec<String>,
    /// How many texts were paid for more than once.
    paid_again: usize,
}

/// Reads the events to their end; `meanwhile` is told of provider and index when the actors have started.
async fn run(events: &[String], at_once: usize, meanwhile: impl AsyncFnOnce(&FakeProvider, &FakeIndex)) -> Outcome {
    run_script(&Script::with(events.iter().map(String::as_str), at_once, true), meanwhile).await
}

async fn run_script(script: &Script, meanwhile: impl AsyncFnOnce(&FakeProvider, &FakeIndex)) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let provider = Arc::new(FakeProvider::default());
    let (resources, index) = fakes::resources(folder.path(), provider.clone()).await;
    let (failed, mut failures) = mpsc::unbounded_channel();
    let sources = vec![NamedSource { name: "script".into(), make: script.make() }];
    resources.health.ok(Component::Pipeline);
    let give_up = Arc::new(move |reason| drop(failed.send(reason)));
    let sources = build(WINDOW, &resources, sources, &Pulse::default(), give_up);
    meanwhile(&provider, &index).await;
    tokio::select! {
        failing = tokio::time::timeout(Duration::from_secs(100_000), at_rest(sources.rests)) => {
            assert!(failing.expect("it comes to rest").is_empty());
        }
        Some(reason) = failures.recv() => panic!("{reason}"),
    }
    assert_eq!(resources.health.of(Component::Pipeline).state, HealthState::Ok);
    assert!(resources.actors.snapshot().values().all(|actor| actor.state == ActorState::Running));
    let ids: Vec<_> = (0..20).map(|id| DocumentId::new(&format!("d{id}")).unwrap()).collect();
    let letters = resources.ledger.dead_letters(0, 100).unwrap();
    Outcome {
        index: index.holds(&ids),
        dead_letters: letters.into_iter().map(|dead| dead.letter.position).collect(),
        paid_again: provider.paid().values().map(|times| times - 1).sum(),
    }
}

#[test]
fn a_panic_at_any_place_changes_nothing_but_the_cost_of_what_was_in_flight() {
    for (number, point) in faults::POINTS.into_iter().enumerate() {
        for seed in 0..4 {
            World::run(seed, async |_| {
                let mut random = fastrand::Rng::with_seed(seed * 100 + number as u64);
                let (events, at_once) = (events(&mut random), random.usize(1..40));
                let expected = run(&events, at_once, async |_, _| {}).await;
                assert_eq!((expected.dead_letters.len(), expected.paid_again), (1, 0));
                let once = point == "buried";
                let (pass, times) = if once { (0, 1) } else { (random.usize(0..2), random.usize(1..4)) };
                let armed = async |_: &_, _: &_| faults::arm(point, Strike::Panic, pass, times);
                let found = run(&events, at_once, armed).await;
                let struck = faults::disarm();
                assert!(struck > 0, "`{point}` was never reached");
                assert_eq!(found.index, expected.index, "a panic at `{point}`");
                assert_eq!(found.dead_letters, expected.dead_letters, "a panic at `{point}`");
                // A batch has ten texts; whatever has landed is remembered.
                let in_flight = if point == "embedded" { struck * 10 } else { 0 };
                assert!(found.paid_again <= in_flight, "`{point}`: {} texts were paid for again", found.paid_again);
            });
        }
    }
}

#[test]
fn a_ledger_that_fails_at_any_place_changes_nothing_and_costs_nothing() {
    for (number, point) in faults::IN_THE_LEDGER.into_iter().enumerate() {
        for seed in 0..4 {
            World::run(seed, async |_| {
                let mut random = fastrand::Rng::with_seed(seed * 100 + number as u64);
                let (events, at_once) = (events(&mut random), random.usize(1..40));
                let expected = run(&events, at_once, async |_, _| {}).await;
                let (pass, times) = (random.usize(0..2), random.usize(1..20));
                let armed = async |_: &_, _: &_| faults::arm(point, Strike::Fail, pass, times);
                let found = run(&events, at_once, armed).await;
                assert!(faults::disarm() > 0, "`{point}` was never reached");
                assert_eq!(found.index, expected.index, "a failure at `{point}`");
                assert_eq!(found.dead_letters, expected.dead_letters, "a failure at `{point}`");
                assert_eq!(found.paid_again, 0, "a failure at `{point}`");
            });
        }
    }
}

#[test]
fn a_stage_that_crashes_on_everything_condemns_nothing_and_when_it_heals_all_is_indexed() {
    for seed in 0..4 {
        World::run(seed, async |_| {
            // Few, so that each is lost more often than five times before it heals.
            let events: Vec<String> = (0..3 + seed as usize % 2).map(put).chain(["{ broken".to_owned()]).collect();
            let expected = run(&events, 20, async |_, _| {}).await;
            for stage in ["provider", "index"] {
                let found = run(&events, 20, async |provider, index| {
                    let faults = if stage == "provider" { &provider.faults } else { &index.faults };
                    faults.draw(seed, 1.0, &[Fault::PanicBefore]);
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    faults.stop();
                })
                .await;
                assert_eq!(found.index, expected.index, "{stage}");
                assert_eq!(found.dead_letters, expected.dead_letters, "{stage}");
                assert_eq!(found.paid_again, 0, "{stage}");
            }
        });
    }
}

#[test]
fn a_poisonous_record_is_dead_lettered_alone_wherever_it_stands() {
    for poison in [0, 7, 19] {
        World::run(poison, async |_| {
            let events: Vec<String> = (0..20).map(put).collect();
            let found = run(&events, 20, async |_, index| index.crash_on(&format!("d{poison}"))).await;
            assert_eq!(found.index.len(), 19);
            assert_eq!(found.dead_letters, [format!("script:{}", poison + 1)]);
            assert_eq!(found.paid_again, 0);
        });
    }
}

/// It has no company until somebody sends another event.
#[test]
fn a_poisonous_record_without_company_is_dead_lettered_once_another_gets_through() {
    World::run(1, async |_| {
        let script = Script::with([put(0).as_str()], 20, false);
        let found = run_script(&script, async |_, index| {
            index.crash_on("d0");
            tokio::time::sleep(Duration::from_secs(20)).await;
            script.push(&put(1));
        })
        .await;
        assert_eq!((found.index.len(), found.dead_letters), (1, vec!["script:1".to_owned()]));
    });
}
