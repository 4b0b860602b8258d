//! The ingestor between a scripted source and a probe.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actix::prelude::*;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::actor::{Ingestor, LOSSES_UNTIL_ALONE, LOSSES_UNTIL_DEAD, Rest, StopReading, Wiring};
use super::{IDLE_WAIT, Partition, Position};
use crate::dedup::{Changes, Incoming};
use crate::delivery::{Room, Verdict};
use crate::document::{Operation, Version};
use crate::ledger::testing::{here, write};
use crate::ledger::{DeadLetter, DocumentWrite, Ledger, TakenRecord};
use crate::pipeline::Resources;
use crate::telemetry::Outcome;
use crate::telemetry::health::{Component, ComponentHealth, HealthState};
use crate::telemetry::sources::{SourceState, SourceStatus};
use crate::testkit::fakes::{self, FakeProvider, Fault, SLOW, Script};
use crate::testkit::{Probe, World};

const LIMITS: Room = Room { records: 10, bytes: 1 << 20 };

struct Stage {
    resources: Arc<Resources>,
    deduplicator: Probe<Changes>,
    ingestor: Addr<Ingestor>,
    rest: watch::Receiver<Rest>,
    turn: Arc<Semaphore>,
    /// Why it gave up.
    hopeless: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Stage {
    async fn new(world: &World, script: &Script) -> Self {
        Self::within(world, script, LIMITS).await
    }

    async fn within(world: &World, script: &Script, limits: Room) -> Self {
        Self::with(world, script, limits, |_| {}).await
    }

    /// With something in the ledger before the first read.
    async fn prepared(world: &World, script: &Script, prepare: impl FnOnce(&Resources)) -> Self {
        Self::with(world, script, LIMITS, prepare).await
    }

    async fn with(world: &World, script: &Script, limits: Room, prepare: impl FnOnce(&Resources)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (resources, _) = fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
        prepare(&resources);
        let (deduplicator, outlet) = world.probe("deduplicator", 64);
        let (rest, resting) = watch::channel(Rest::Busy);
        let turn = Arc::new(Semaphore::new(1));
        let hopeless = Arc::<Mutex<Vec<String>>>::default();
        let given_up = hopeless.clone();
        let ingestor = Ingestor::new(Wiring {
            name: "script".into(),
            make: script.make(),
            mapper: resources.mappers.of(""),
            version_is_time: false,
            ledger: resources.ledger.clone(),
            deduplicator: outlet,
            limits,
            metrics: resources.metrics.clone(),
            board: resources.sources.register("script"),
            rest,
            commits: Arc::<AtomicU64>::default(),
            through: Arc::default(),
            turn: turn.clone(),
            health: resources.health.clone(),
            give_up: Arc::new(move |reason| given_up.lock().push(reason)),
        });
        let ingestor = world.spawn("ingestor", 1, ingestor);
        Self { resources, deduplicator, ingestor, rest: resting, turn, hopeless, _folder: folder }
    }

    fn ledger(&self) -> &Ledger {
        &self.resources.ledger
    }

    /// Up to where everything is committed.
    fn committed(&self) -> u64 {
        self.ledger().positions("script").unwrap().iter().map(|position| position.offset).max().unwrap_or(0)
    }

    /// The partitions of which a position is kept.
    fn names(&self) -> Vec<String> {
        let kept = self.ledger().positions("script").unwrap();
        kept.iter().map(|position| position.partition.name.clone()).collect()
    }

    /// The changes that lie at the deduplicator, of any number of messages.
    async fn arrived(&self, world: &World) -> Vec<Incoming> {
        world.rest().await;
        let messages = self.deduplicator.settled(self.deduplicator.len()).await;
        messages.into_iter().flat_map(|changes| changes.0).collect()
    }

    async fn waits_for(&mut self, rest: impl FnMut(&Rest) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(3600), self.rest.wait_for(rest)).await;
        waited.expect("it comes to that within an hour").expect("the ingestor lives");
    }

    fn shown(&self) -> SourceStatus {
        self.resources.sources.snapshot().remove("script").unwrap()
    }

    fn rests(&self) -> bool {
        *self.rest.borrow() == Rest::Quiet
    }
}

fn events(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!(r#"{{"op":"put","id":"d{n}","v":1,"text":"text {n}"}}"#)).collect()
}

fn script(events: &[String]) -> Script {
    Script::with(events.iter().map(String::as_str), 4, true)
}

fn partition(name: &str) -> Partition {
    Partition { name: name.to_owned(), detail: String::new() }
}

fn settle(changes: impl IntoIterator<Item = Incoming>) {
    changes.into_iter().for_each(|incoming| incoming.receipt.settle(Verdict::Indexed));
}

fn ids(changes: &[Incoming]) -> Vec<&str> {
    changes.iter().map(|incoming| incoming.change.id.as_str()).collect()
}

#[test]
fn no_more_is_admitted_than_the_window_holds_and_no_commit_passes_an_open_delivery() {
    World::run(1, async |world| {
        let script = script(&events(0..25));
        let stage = Stage::new(&world, &script).await;
        let mut open = stage.arrived(&world).await;
        assert_eq!((open.len(), script.given().len()), (LIMITS.records, LIMITS.records));
        let oldest = open.remove(0);
        settle(open);
        assert!(stage.arrived(&world).await.is_empty(), "what is settled behind an open delivery still takes room");
        assert_eq!((stage.committed(), stage.rests()), (0, false));
        settle([oldest]);
        settle(stage.arrived(&world).await);
        settle(stage.arrived(&world).await);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests()), (25, true));
        assert_eq!(script.told().last(), Some(&25));
        assert_eq!(script.given().len(), 25, "nothing was read twice");
    });
}

#[test]
fn a_window_full_of_what_is_settled_behind_an_open_delivery_is_full_on_both_pages() {
    World::run(1, async |world| {
        let script = script(&events(0..25));
        let stage = Stage::new(&world, &script).await;
        let mut open = stage.arrived(&world).await;
        let oldest = open.remove(0);
        settle(open);
        world.rest().await;
        let status = stage.shown();
        assert_eq!(status.window_documents, LIMITS.records as u64);
        let Resources { metrics, actors, sources, .. } = &*stage.resources;
        let page = metrics.render(actors, sources);
        for (of, is) in [("documents", status.window_documents), ("bytes", status.window_bytes)] {
            let line = format!("vectide_window_{of}{{source=\"script\"}} {is}\n");
            assert!(page.contains(&line), "{line}");
        }
        settle([oldest]);
        for _ in 0..2 {
            settle(stage.arrived(&world).await);
        }
    });
}

#[test]
fn what_a_document_has_taken_in_is_settled_without_another_look_and_nothing_else_is() {
    World::run(1, async |world| {
        let read = events(0..4);
        let script = Script::with(read.iter().map(String::as_str), 4, true);
        let stage = Stage::prepared(&world, &script, |resources| {
            // The document of event 2 was made what it is by something else since, that of event 3 is not in the index.
            let taken = |event: &str| resources.mappers.of("").digest(event.as_bytes(), Version::default());
            let record = |event: &str| Some(TakenRecord { digest: taken(event), operation: Operation::Upsert });
            let held = |id, event: &str| DocumentWrite { record: record(event), ..write(id, vec![here(id)]) };
            let gone = DocumentWrite { record: record(&read[3]), ..write("d3", vec![]) };
            resources.ledger.write(&[held("d0", &read[0]), held("d1", &read[1]), held("d2", "else"), gone]).unwrap();
        })
        .await;
        let arrived = stage.arrived(&world).await;
        assert_eq!(ids(&arrived), ["d2", "d3"]);
        let named = |n: usize| Some(stage.resources.mappers.of("").digest(read[n].as_bytes(), Version::default()));
        assert!(arrived.iter().map(|incoming| incoming.digest).eq([named(2), named(3)]));
        let unchanged = stage.resources.metrics.events.of(Some(Operation::Upsert), Outcome::Unchanged);
        assert_eq!((unchanged.get(), stage.committed()), (2, 2));
        settle(arrived);
        world.rest().await;
        assert_eq!(stage.committed(), 4);
    });
}

#[test]
fn what_is_stored_outside_the_index_is_not_counted_as_fresh_in_it() {
    World::run(1, async |world| {
        let stage = Stage::new(&world, &script(&events(0..2))).await;
        let verdicts = [Verdict::Indexed, Verdict::Stored];
        stage
            .arrived(&world)
            .await
            .into_iter()
            .zip(verdicts)
            .for_each(|(event, verdict)| event.receipt.settle(verdict));
        world.rest().await;
        let metrics = &stage.resources.metrics;
        let stored = metrics.events.of(Some(Operation::Upsert), Outcome::Stored);
        assert_eq!((stored.get(), metrics.freshness.get_sample_count(), stage.committed()), (1, 1, 2));
    });
}

#[test]
fn the_window_is_bounded_in_bytes_too() {
    World::run(1, async |world| {
        let events = events(0..10);
        let limits = Room { records: 100, bytes: events[0].len() * 3 };
        let stage = Stage::within(&world, &script(&events), limits).await;
        let mut settled = 0;
        while settled < 10 {
            let open = stage.arrived(&world).await;
            assert_eq!(open.len(), 3.min(10 - settled));
            settled += open.len();
            settle(open);
        }
    });
}

#[test]
fn what_is_lost_comes_again_then_alone_and_then_goes_to_the_dead_letters() {
    World::run(1, async |world| {
        let stage = Stage::new(&world, &script(&events(0..3))).await;
        for loss in 1..=LOSSES_UNTIL_DEAD {
            let mut open = stage.arrived(&world).await;
            match loss {
                1 => assert_eq!(ids(&open), ["d0", "d1", "d2"]),
                _ if loss <= LOSSES_UNTIL_ALONE => assert_eq!(ids(&open), ["d0", "d1"], "loss {loss}"),
                _ => assert_eq!(ids(&open), ["d0"], "alone"),
            }
            drop(open.remove(0));
            match loss {
                1 => {
                    drop(open.remove(0));
                    settle(open);
                }
                _ if loss < LOSSES_UNTIL_ALONE => drop(open),
                _ => settle(open),
            }
        }
        world.rest().await;
        let letters = stage.ledger().dead_letters(0, 10).unwrap();
        assert_eq!(letters.len(), 1);
        let letter = &letters[0].letter;
        assert_eq!((letter.position.as_str(), letter.attempts), ("script:1", LOSSES_UNTIL_DEAD));
        assert_eq!(letter.payload, events(0..1)[0].as_bytes());
        assert!(letter.reason.contains("crashes a stage"), "{}", letter.reason);
        assert_eq!((stage.committed(), stage.rests()), (3, true));
    });
}

#[test]
fn a_source_that_is_not_read_for_want_of_room_looks_after_itself_and_goes_on() {
    World::run(1, async |world| {
        let script = Script::with(events(0..8).iter().map(String::as_str), 4, false);
        let stage = Stage::within(&world, &script, Room { records: 4, ..LIMITS }).await;
        let open = stage.arrived(&world).await;
        let before = script.watched();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!((50..=60).contains(&(script.watched() - before)), "{}", script.watched() - before);
        assert_eq!(script.given().len(), 4);
        settle(open);
        settle(stage.arrived(&world).await);
        world.rest().await;
        assert_eq!(stage.committed(), 8);
        stage.ingestor.send(StopReading).await.unwrap();
        world.rest().await;
        let stopped = script.watched();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(script.watched(), stopped);
    });
}

#[test]
fn what_many_reads_gave_and_is_lost_together_comes_again_in_messages_of_one_read() {
    World::run(1, async |world| {
        let events = events(0..2500);
        let script = Script::with(events.iter().map(String::as_str), 1000, true);
        let stage = Stage::within(&world, &script, Room { records: 3000, bytes: 1 << 20 }).await;
        let lost = stage.arrived(&world).await;
        assert_eq!(lost.len(), 2500);
        drop(lost);
        world.rest().await;
        let messages = stage.deduplicator.settled(stage.deduplicator.len()).await;
        assert_eq!(messages.iter().map(|changes| changes.0.len()).collect::<Vec<_>>(), [1024, 1024, 452]);
        let again: Vec<_> = messages.into_iter().flat_map(|changes| changes.0).collect();
        assert!(ids(&again).into_iter().eq((0..2500).map(|number| format!("d{number}"))));
        settle(again);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests()), (2500, true));
    });
}

#[test]
fn suspects_travel_one_by_one_and_nothing_is_read_meanwhile() {
    World::run(1, async |world| {
        let script = script(&events(0..8));
        let stage = Stage::within(&world, &script, Room { records: 4, ..LIMITS }).await;
        for _ in 0..LOSSES_UNTIL_ALONE {
            let open = stage.arrived(&world).await;
            assert_eq!(open.len(), 4);
        }
        for suspect in 0..4 {
            let open = stage.arrived(&world).await;
            assert_eq!(ids(&open), [format!("d{suspect}")]);
            assert_eq!(script.given().len(), 4);
            settle(open);
        }
        settle(stage.arrived(&world).await);
        world.rest().await;
        assert_eq!(stage.committed(), 8);
    });
}

#[test]
fn what_a_read_gives_that_was_out_before_the_suspicion_does_not_join_the_suspect() {
    World::run(1, async |world| {
        let script = Script::with(events(0..2).iter().map(String::as_str), 1, true);
        script.faults().order([Fault::None, Fault::Slow]);
        let stage = Stage::new(&world, &script).await;
        for _ in 0..LOSSES_UNTIL_ALONE {
            assert_eq!(ids(&stage.deduplicator.settled(1).await[0].0), ["d0"]);
        }
        let alone = stage.deduplicator.settled(1).await.remove(0).0;
        assert_eq!((ids(&alone), script.given()), (vec!["d0"], vec![0]), "the read is out");
        tokio::time::sleep(SLOW).await;
        assert!(stage.arrived(&world).await.is_empty());
        assert_eq!(script.given(), [0, 1], "what it gave is held");
        settle(alone);
        let next = stage.arrived(&world).await;
        assert_eq!(ids(&next), ["d1"]);
        settle(next);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests()), (2, true));
    });
}

#[test]
fn what_was_read_gets_through_between_the_turns_of_suspects() {
    World::run(1, async |world| {
        let script = Script::with(events(0..3).iter().map(String::as_str), 2, true);
        script.faults().order([Fault::None, Fault::Slow]);
        let stage = Stage::new(&world, &script).await;
        for _ in 0..LOSSES_UNTIL_ALONE {
            assert_eq!(ids(&stage.deduplicator.settled(1).await[0].0), ["d0", "d1"]);
        }
        // Both crash whenever they travel.
        let mut turns = 0;
        loop {
            let open = stage.deduplicator.settled(1).await.remove(0).0;
            if ids(&open) == ["d2"] {
                break settle(open);
            }
            turns += 1;
            assert!(turns < 20, "d2 is held for ever");
        }
        settle(stage.arrived(&world).await);
        settle(stage.arrived(&world).await);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests()), (3, true));
    });
}

#[test]
fn a_suspect_waits_for_its_turn_among_the_sources() {
    World::run(1, async |world| {
        let stage = Stage::new(&world, &script(&events(0..2))).await;
        let elsewhere = stage.turn.clone().try_acquire_owned().unwrap();
        for _ in 0..LOSSES_UNTIL_ALONE {
            assert_eq!(ids(&stage.arrived(&world).await), ["d0", "d1"]);
        }
        assert!(stage.arrived(&world).await.is_empty(), "a suspect of another source is on its way");
        drop(elsewhere);
        let open = stage.arrived(&world).await;
        assert_eq!(ids(&open), ["d0"]);
        assert_eq!(stage.turn.available_permits(), 0);
        settle(open);
        settle(stage.arrived(&world).await);
        assert!(stage.arrived(&world).await.is_empty());
        assert_eq!((stage.turn.available_permits(), stage.committed()), (1, 2));
    });
}

#[test]
fn what_is_read_after_the_last_suspect_was_revoked_waits_for_no_turn_and_none_of_it_is_lost() {
    World::run(1, async |world| {
        let script = Script::with(events(0..3).iter().map(String::as_str), 1, false);
        script.faults().order([Fault::None, Fault::Slow]);
        let stage = Stage::new(&world, &script).await;
        let elsewhere = stage.turn.clone().try_acquire_owned().unwrap();
        for _ in 0..LOSSES_UNTIL_ALONE {
            assert_eq!(ids(&stage.deduplicator.settled(1).await[0].0), ["d0"]);
        }
        // The read that is out learns of it, while the suspect waits for the other source's.
        script.revoke(0);
        tokio::time::sleep(SLOW).await;
        let again = stage.arrived(&world).await;
        assert_eq!(ids(&again), ["d0", "d1", "d2"]);
        settle(again);
        drop(elsewhere);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests(), stage.turn.available_permits()), (3, true, 1));
    });
}

#[test]
fn when_nothing_gets_through_nothing_is_condemned_and_all_is_delivered_when_it_heals() {
    World::run(1, async |world| {
        let stage = Stage::new(&world, &script(&events(0..4))).await;
        let health = stage.resources.health.clone();
        health.ok(Component::Pipeline);
        stage.deduplicator.lose();
        while health.of(Component::Pipeline).state == HealthState::Ok {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Until each of them was lost more often than a delivery may be that has company.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let ComponentHealth { state: HealthState::Degraded, reason: Some(reason), .. } = health.of(Component::Pipeline)
        else {
            panic!("{:?}", health.of(Component::Pipeline))
        };
        assert!(reason.contains("whatever source script delivers is lost"), "{reason}");
        assert!(stage.hopeless.lock().is_empty(), "not yet");
        stage.deduplicator.settle();
        while stage.committed() < 4 {
            settle(stage.arrived(&world).await);
        }
        assert_eq!(health.of(Component::Pipeline).state, HealthState::Ok);
        assert_eq!(stage.ledger().dead_letter_count().unwrap(), 0);
    });
}

#[test]
fn when_nothing_ever_gets_through_the_actors_are_given_up_and_nothing_is_condemned() {
    World::run(1, async |world| {
        let stage = Stage::new(&world, &script(&events(0..4))).await;
        stage.deduplicator.lose();
        world.rest().await;
        let reasons = stage.hopeless.lock().clone();
        assert!(matches!(&reasons[..], [reason] if reason.contains("whatever source script delivers")), "{reasons:?}");
        assert_eq!(stage.ledger().dead_letter_count().unwrap(), 0);
    });
}

#[test]
fn what_cannot_be_read_or_is_rejected_is_buried_before_it_is_settled() {
    World::run(1, async |world| {
        let mut events = events(0..2);
        events.insert(1, "{ broken".into());
        let stage = Stage::new(&world, &script(&events)).await;
        let mut open = stage.arrived(&world).await;
        assert_eq!(ids(&open), ["d0", "d1"]);
        assert_eq!(stage.ledger().dead_letter_count().unwrap(), 1);
        open.remove(0).receipt.settle(Verdict::Rejected("no such word".into()));
        settle(open);
        world.rest().await;
        let letters = stage.ledger().dead_letters(0, 10).unwrap();
        let told = letters.iter().map(|DeadLetter { letter, .. }| letter);
        let told: Vec<_> =
            told.map(|letter| (letter.position.as_str(), letter.document.is_some(), letter.taken_in)).collect();
        assert_eq!(told, [("script:2", false, false), ("script:1", true, true)]);
        assert_eq!(stage.committed(), 3);
    });
}

/// Crashes an ingestor, whatever it is doing.
#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Crash> for Ingestor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("the test wants it");
    }
}

#[test]
fn a_source_that_crashes_while_it_stops_says_so_unless_all_was_settled() {
    for is_settled in [false, true] {
        World::run(1, async |world| {
            let stage = Stage::new(&world, &script(&events(0..2))).await;
            let open = stage.arrived(&world).await;
            stage.ingestor.send(StopReading).await.unwrap();
            if is_settled {
                settle(open);
                world.rest().await;
            }
            stage.ingestor.send(Crash).await.unwrap_err();
            world.rest().await;
            assert_eq!(world.panics(), 1);
            assert_eq!((stage.rests(), stage.hopeless.lock().is_empty()), (true, is_settled));
        });
    }
}

#[test]
fn a_restart_reads_on_from_what_was_committed_and_old_receipts_speak_to_nobody() {
    World::run(1, async |world| {
        let script = Script::with(events(0..6).iter().map(String::as_str), 3, false);
        let stage = Stage::within(&world, &script, Room { records: 6, ..LIMITS }).await;
        let mut open = stage.arrived(&world).await;
        let old = open.split_off(2);
        settle(open);
        world.rest().await;
        assert_eq!(stage.committed(), 2);
        script.faults().order([Fault::PanicBefore]);
        let again = stage.arrived(&world).await;
        assert_eq!(world.panics(), 1);
        assert_eq!(script.opened_at(), [0, 2]);
        assert_eq!(ids(&again), ["d2", "d3", "d4", "d5"]);
        settle(old);
        world.rest().await;
        assert_eq!(stage.committed(), 2, "the old deliveries count no more");
        settle(again);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests()), (6, true));
    });
}

#[test]
fn after_a_stop_nothing_is_read_and_it_rests_when_everything_is_settled() {
    World::run(1, async |world| {
        let script = script(&events(0..20));
        let stage = Stage::new(&world, &script).await;
        let open = stage.arrived(&world).await;
        stage.ingestor.send(StopReading).await.unwrap();
        assert!(!stage.rests());
        settle(open);
        world.rest().await;
        assert!(stage.rests() && stage.deduplicator.is_empty());
        assert_eq!((script.given().len(), stage.committed()), (10, 10));
        assert_eq!(script.told().last(), Some(&10));
    });
}

#[test]
fn what_is_revoked_is_neither_waited_for_nor_committed_and_is_given_again_when_it_comes_back() {
    World::run(1, async |world| {
        let script = Script::with(events(0..6).iter().map(String::as_str), 3, false);
        let stage = Stage::new(&world, &script).await;
        let mut open = stage.arrived(&world).await;
        let gone = open.split_off(2);
        settle(open);
        world.rest().await;
        assert_eq!(stage.committed(), 2);
        script.revoke(2);
        let again = stage.arrived(&world).await;
        assert_eq!(ids(&again), ["d2", "d3", "d4", "d5"]);
        settle(gone);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests()), (2, false), "verdicts on what is gone count no more");
        settle(again);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests()), (6, true));
        assert_eq!(script.told(), [2, 6]);
    });
}

#[test]
fn news_of_a_partition_are_committed_behind_what_it_gave_and_one_that_is_forgotten_leaves_the_ledger() {
    World::run(1, async |world| {
        let script = Script::with(events(0..2).iter().map(String::as_str), 4, false);
        let old = Position { partition: Arc::new(partition("old")), offset: 0, ordinal: 0 };
        let prepare = |resources: &Resources| resources.ledger.commit_positions("script", &[old]).unwrap();
        let stage = Stage::prepared(&world, &script, prepare).await;
        let open = stage.arrived(&world).await;
        assert_eq!((open.len(), stage.names()), (2, vec!["old".to_owned()]));
        script.note(7);
        script.forget("old");
        world.rest().await;
        assert_eq!((stage.committed(), stage.names(), stage.rests()), (0, vec![], false));
        settle(open);
        world.rest().await;
        assert_eq!((stage.committed(), stage.names(), stage.rests()), (7, vec!["script".to_owned()], true));
        let filtered = stage.resources.metrics.events.of(None, Outcome::Filtered);
        assert_eq!((script.told(), filtered.get()), (vec![7], 0), "news are no event");
    });
}

#[test]
fn what_is_revoked_while_nothing_gets_through_makes_no_room_before_it_is_back() {
    World::run(1, async |world| {
        let script = script(&events(0..6));
        let stage = Stage::within(&world, &script, Room { records: 4, ..LIMITS }).await;
        let mut gone = stage.arrived(&world).await;
        assert_eq!(ids(&gone), ["d0", "d1", "d2", "d3"]);
        script.revoke(1);
        settle(gone.drain(..1));
        let again = stage.arrived(&world).await;
        assert_eq!(ids(&again), ["d1"], "three that are someone else's are on their way");
        settle(gone);
        let rest = stage.arrived(&world).await;
        assert_eq!(ids(&rest), ["d2", "d3", "d4"]);
        settle(again);
        settle(rest);
        settle(stage.arrived(&world).await);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests()), (6, true));
    });
}

#[test]
fn a_suspect_that_is_revoked_holds_nobody_up() {
    World::run(1, async |world| {
        let script = Script::with(events(0..2).iter().map(String::as_str), 4, false);
        let stage = Stage::new(&world, &script).await;
        for _ in 0..LOSSES_UNTIL_ALONE {
            assert_eq!(ids(&stage.arrived(&world).await), ["d0", "d1"]);
        }
        let alone = stage.arrived(&world).await;
        assert_eq!(ids(&alone), ["d0"]);
        script.revoke(0);
        // Nothing is read while a suspect is on its way; the next one learns of it.
        settle(alone);
        settle(stage.arrived(&world).await);
        let again = stage.arrived(&world).await;
        assert_eq!(ids(&again), ["d0", "d1"]);
        settle(again);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests(), stage.turn.available_permits()), (2, true, 1));
    });
}

#[test]
fn a_suspect_that_is_revoked_on_its_way_keeps_its_turn_until_it_is_back() {
    World::run(1, async |world| {
        let script = Script::with(events(0..1).iter().map(String::as_str), 1, false);
        script.faults().order([Fault::None, Fault::Slow]);
        let stage = Stage::new(&world, &script).await;
        for _ in 0..LOSSES_UNTIL_ALONE {
            assert_eq!(ids(&stage.deduplicator.settled(1).await[0].0), ["d0"]);
        }
        let alone = stage.deduplicator.settled(1).await.remove(0).0;
        // The read that is out learns of it.
        script.revoke(0);
        tokio::time::sleep(SLOW).await;
        assert!(stage.arrived(&world).await.is_empty());
        assert_eq!(stage.turn.available_permits(), 0, "it may still share a write with a suspect of another source");
        settle(alone);
        let again = stage.arrived(&world).await;
        assert_eq!((ids(&again), stage.turn.available_permits()), (vec!["d0"], 1));
        settle(again);
        world.rest().await;
        assert_eq!((stage.committed(), stage.rests()), (1, true));
    });
}

#[test]
fn a_source_that_waits_for_more_is_quiet_and_then_busy_again() {
    World::run(1, async |world| {
        let script = Script::with([], 4, false);
        let mut stage = Stage::new(&world, &script).await;
        world.rest().await;
        assert!(stage.rests());
        script.push(&events(0..1)[0]);
        let open = stage.deduplicator.settled(1).await.remove(0).0;
        assert!(!stage.rests());
        settle(open);
        stage.waits_for(|rest| *rest == Rest::Quiet).await;
        assert_eq!(script.told(), [1], "it is quiet only when the source knows what is committed");
    });
}

#[test]
fn a_source_that_ends_long_after_its_last_record_is_told_of_its_settling_and_rests() {
    World::run(1, async |world| {
        let script = script(&events(0..2));
        script.faults().order([Fault::None, Fault::Slow]);
        let mut stage = Stage::new(&world, &script).await;
        settle(stage.deduplicator.settled(1).await.remove(0).0);
        stage.waits_for(|rest| *rest == Rest::Quiet).await;
        assert_eq!((stage.committed(), script.told()), (2, vec![2]));
    });
}

#[test]
fn what_a_source_that_reads_on_could_not_be_told_it_is_told_again_with_what_came_behind() {
    World::run(1, async |world| {
        let script = Script::with(events(0..2).iter().map(String::as_str), 4, false);
        let mut stage = Stage::new(&world, &script).await;
        let mut open = stage.arrived(&world).await;
        script.deafen(5);
        settle(open.drain(..1));
        tokio::time::sleep(2 * IDLE_WAIT).await;
        assert_eq!((stage.committed(), stage.shown().state), (1, SourceState::Failing));
        settle(open);
        stage.waits_for(|rest| *rest == Rest::Quiet).await;
        assert_eq!(script.told(), [1, 2]);
    });
}

#[test]
fn what_a_source_that_ended_could_not_be_told_it_is_told_again_unless_it_stops() {
    for (stops, told) in [(false, vec![2]), (true, vec![])] {
        World::run(1, async |world| {
            let script = script(&events(0..2));
            let mut stage = Stage::new(&world, &script).await;
            let open = stage.arrived(&world).await;
            if stops {
                stage.ingestor.send(StopReading).await.unwrap();
            }
            script.deafen(1);
            settle(open);
            stage.waits_for(|rest| *rest == Rest::Quiet).await;
            world.rest().await;
            assert_eq!(script.told(), told);
        });
    }
}

#[test]
fn a_source_that_cannot_be_read_is_tried_again_and_told_as_failing() {
    World::run(1, async |world| {
        let script = script(&events(0..1));
        script.faults().order([Fault::Unavailable; 5]);
        let mut stage = Stage::new(&world, &script).await;
        stage.waits_for(|rest| matches!(rest, Rest::Failing(reason) if reason.contains("told to fail"))).await;
        settle(stage.arrived(&world).await);
        world.rest().await;
        assert!(stage.rests());
    });
}

#[test]
fn what_a_source_lacks_is_shown_and_holds_up_nothing_but_the_end() {
    World::run(1, async |world| {
        let script = Script::with([], 4, false);
        script.lack(Some("a part"));
        let mut stage = Stage::new(&world, &script).await;
        tokio::time::sleep(10 * SLOW).await;
        let lacks = SourceStatus { remark: Some("a part".to_owned()), ..SourceStatus::default() };
        assert_eq!(stage.shown(), lacks);
        script.push(&events(0..1)[0]);
        let pushed = Instant::now();
        settle(stage.deduplicator.settled(1).await.remove(0).0);
        assert!(pushed.elapsed() <= IDLE_WAIT, "{:?}", pushed.elapsed());
        tokio::time::sleep(10 * SLOW).await;
        assert_eq!((stage.committed(), stage.rest.borrow().clone()), (1, Rest::Busy));
        script.lack(None);
        stage.waits_for(|rest| *rest == Rest::Quiet).await;
        assert_eq!(stage.shown(), SourceStatus { state: SourceState::Idle, ..SourceStatus::default() });
    });
}

#[test]
fn what_a_source_lacks_is_shown_while_it_is_not_read_too() {
    World::run(1, async |world| {
        let script = script(&events(0..25));
        let stage = Stage::new(&world, &script).await;
        assert_eq!(stage.arrived(&world).await.len(), LIMITS.records);
        script.lack(Some("a part"));
        tokio::time::sleep(SLOW).await;
        assert_eq!(stage.shown().remark.as_deref(), Some("a part"));
    });
}

#[test]
fn a_source_that_waits_between_failures_fails_all_the_same() {
    World::run(1, async |world| {
        let script = Script::with([], 4, false);
        script.lack(Some("a part"));
        script.faults().order([[Fault::Unavailable, Fault::None]; 4].into_iter().flatten());
        let mut stage = Stage::new(&world, &script).await;
        stage.waits_for(|rest| matches!(rest, Rest::Failing(reason) if reason.contains("told to fail"))).await;
        script.lack(None);
        stage.waits_for(|rest| *rest == Rest::Quiet).await;
    });
}

#[test]
fn a_deduplicator_that_is_gone_is_no_fault_of_what_was_sent() {
    World::run(1, async |world| {
        let stage = Stage::new(&world, &script(&events(0..4))).await;
        // The budget of restarts is spent on one delivery after the other.
        for _ in 0..=crate::actor::guard::BUDGET {
            stage.deduplicator.panic_once();
        }
        stage.deduplicator.lose();
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.incidents();
        assert_eq!(stage.ledger().dead_letter_count().unwrap(), 0);
    });
}
