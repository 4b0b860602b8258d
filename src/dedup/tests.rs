//! The deduplicator between two probes.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Budget, Changes, Claims, Deduplicator, Departed, Flights, Incoming, PendingText, Planner, Texts, Work, Works,
};
use crate::actor::Outlet;
use crate::delivery::Verdict;
use crate::document::fingerprint::Fingerprinter;
use crate::document::mapping::{Mapped, Mapper};
use crate::document::{Document, DocumentId, Operation, RecordDigest, Version};
use crate::index::VectorIndex;
use crate::ledger::testing::write;
use crate::ledger::{DocumentWrite, Letter, TakenRecord};
use crate::pipeline::Resources;
use crate::pipeline::build::planner;
use crate::source::{Form, Partition, Position, Record};
use crate::testkit::fakes::{self, FakeIndex, FakeProvider};
use crate::testkit::world::Receipts;
use crate::testkit::{Probe, World};

/// Bytes that large documents may take.
const BUDGET: usize = 80_000;

/// The stage with its neighbours.
struct Stage {
    resources: Arc<Resources>,
    index: Arc<FakeIndex>,
    flights: Arc<Flights>,
    claims: Arc<Claims>,
    deduplicator: Outlet<Changes>,
    batcher: Probe<Texts>,
    writer: Probe<Works>,
    receipts: Receipts,
    _folder: TempDir,
}

impl Stage {
    async fn new(world: &World) -> Self {
        Self::with_vectors_of(world, 16).await
    }

    /// The stage as it is when a vector takes this many bytes.
    async fn with_vectors_of(world: &World, vector_bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (resources, index) = fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
        let (batcher, to_batcher) = world.probe("batcher", 4);
        let (writer, to_writer) = world.probe("writer", 4);
        let planner = Planner { budget: Arc::new(Budget::new(BUDGET)), vector_bytes, ..planner(&resources) };
        let flights = planner.flights.clone();
        let deduplicator = Deduplicator::new(resources.ledger.clone(), Arc::new(planner), to_batcher, to_writer);
        let claims = deduplicator.claims().clone();
        let (claimed, flying, queue) = (claims.clone(), flights.clone(), resources.metrics.embedding_queue.clone());
        world.must(move || {
            let left = (claimed.claimed(), flying.len(), queue.get());
            (left != (0, 0, 0)).then(|| format!("claims, flights and queue at the end: {left:?}"))
        });
        world.must_go("the claims", &claims);
        world.must_go("the flights", &flights);
        let deduplicator = world.stage("deduplicator", 2, deduplicator);
        let receipts = world.receipts();
        Self { resources, index, flights, claims, deduplicator, batcher, writer, receipts, _folder: folder }
    }

    fn incoming(&self, event: &Value) -> Incoming {
        Incoming {
            change: change(&self.resources.mappers.of(""), event),
            receipt: self.receipts.issue(),
            digest: Some(self.digest(event)),
            refresh: false,
        }
    }

    fn digest(&self, event: &Value) -> RecordDigest {
        self.resources.mappers.of("").digest(event.to_string().as_bytes(), Version::default())
    }

    async fn send(&self, events: &[Value]) {
        let changes = events.iter().map(|event| self.incoming(event)).collect();
        self.deduplicator.send(Changes(changes)).await.unwrap();
    }

    async fn texts(&self) -> Vec<PendingText> {
        self.batcher.next().await.0.0
    }

    async fn works(&self) -> Vec<Work> {
        self.writer.next().await.0.0
    }

    /// All works that come before everything waits.
    async fn all_works(&self, world: &World) -> Vec<Work> {
        let mut works = Vec::new();
        loop {
            world.rest().await;
            match self.writer.len() {
                0 => return works,
                messages => works.extend(self.writer.settled(messages).await.into_iter().flat_map(|works| works.0)),
            }
        }
    }

    /// All texts that come before everything waits.
    async fn all_texts(&self, world: &World) -> Vec<PendingText> {
        let mut texts = Vec::new();
        loop {
            world.rest().await;
            match self.batcher.len() {
                0 => return texts,
                messages => texts.extend(self.batcher.settled(messages).await.into_iter().flat_map(|texts| texts.0)),
            }
        }
    }

    /// Writes what waits in the writer, and all that comes on account of that.
    async fn write_all(&self, world: &World, mut works: Vec<Work>) {
        while !works.is_empty() {
            self.write(works).await;
            works = self.all_works(world).await;
        }
    }

    /// As the embedder does.
    fn land(&self, text: PendingText) -> Vec<Work> {
        text.flight.land(FakeProvider::vector(&text.text)).collect()
    }

    /// As the index writer does.
    async fn write(&self, works: Vec<Work>) {
        let (writes, settlements): (Vec<_>, Vec<_>) =
            works.into_iter().map(|work| (work.write, work.settlement)).unzip();
        self.index.write(writes.into()).await.unwrap();
        settlements.into_iter().for_each(|settlement| settlement.settle());
    }

    /// Brings events into the index.
    async fn index(&self, events: &[Value]) {
        self.send(events).await;
        for text in self.texts().await {
            self.write(self.land(text)).await;
        }
    }

    /// As the ingestor does with a rejected change.
    fn bury(&self, id: &str) {
        let letter = Letter {
            source: "events".into(),
            position: "1".into(),
            document: Some(DocumentId::new(id).unwrap()),
            version: Some(Version::OLDEST),
            reason: "refused".into(),
            payload: Vec::new(),
            attempts: 1,
            order: Version::OLDEST,
            taken_in: true,
        };
        self.resources.ledger.bury(&[letter], 1).unwrap();
    }

    fn chunks(&self, id: &str) -> Vec<f32> {
        let held = self.index.holds(&[DocumentId::new(id).unwrap()]);
        held.values().flat_map(|(_, vectors)| vectors.iter().map(|vector| vector[0])).collect()
    }
}

fn change(mapper: &Mapper, event: &Value) -> crate::document::Change {
    match mapper.map(event.to_string().as_bytes(), Version::default()) {
        Ok(Mapped::Change(change)) => change,
        other => panic!("{event} is no change: {other:?}"),
    }
}

fn put(id: &str, version: u64, text: &str) -> Value {
    json!({ "op": "put", "id": id, "v": version, "text": text })
}

fn first(text: &str) -> f32 {
    FakeProvider::vector(text)[0]
}

#[test]
fn what_says_nothing_new_is_settled_at_once() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        stage.index(&[put("a", 2, "warm")]).await;
        stage.send(&[put("a", 2, "warm"), put("b", 1, "unused")]).await;
        for text in stage.texts().await {
            assert_eq!(&*text.text, "unused");
            stage.write(stage.land(text)).await;
        }
        stage.send(&[put("a", 1, "cold")]).await;
        world.rest().await;
        let verdicts: Vec<_> = stage.receipts.all().into_iter().flatten().collect();
        assert_eq!(verdicts, [Verdict::Indexed, Verdict::Unchanged, Verdict::Indexed, Verdict::Superseded]);
    });
}

#[test]
fn what_loses_to_others_of_the_same_version_is_superseded_and_what_they_say_too_is_unchanged() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        let of = |op: &str, id: &str, fields: Value| {
            let mut event = json!({ "op": op, "id": id, "v": 5 });
            event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            event
        };
        let all = |price: Value| json!({ "text": "warm", "price": price, "sale": 79 });
        stage.index(&[of("put", "a", all(json!(99))), of("put", "b", all(json!("9.99")))]).await;
        // With whether a write says of the record that it made the document what it is.
        let steps = [
            ("a lesser number", of("put", "a", all(json!(100))), Verdict::Superseded, &[][..]),
            ("a lesser text", of("put", "b", all(json!("10.99"))), Verdict::Superseded, &[]),
            ("one that ends a sale", of("put", "a", json!({ "text": "warm", "price": 99 })), Verdict::Superseded, &[]),
            ("a part that loses", of("patch", "a", json!({ "price": 100 })), Verdict::Superseded, &[]),
            ("the same", of("put", "a", all(json!(99))), Verdict::Unchanged, &[]),
            ("one that wins", of("put", "a", all(json!(995))), Verdict::Indexed, &[true]),
            (
                "one that wins in part",
                of("patch", "a", json!({ "price": 100, "tag": "new" })),
                Verdict::Indexed,
                &[false],
            ),
        ];
        for (number, (what, event, expected, records)) in steps.into_iter().enumerate() {
            stage.send(&[event]).await;
            let works = stage.all_works(&world).await;
            assert_eq!(works.iter().map(|work| work.write.record.is_some()).collect::<Vec<_>>(), records, "{what}");
            stage.write(works).await;
            assert_eq!(stage.receipts.of(number + 2), Some(expected), "{what}");
        }
    });
}

#[test]
fn a_patch_before_its_document_waits_in_the_ledger() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        stage.send(&[json!({ "op": "patch", "id": "a", "v": 5, "tag": "sale" })]).await;
        stage.write(stage.works().await).await;
        assert!(stage.chunks("a").is_empty());
        stage.index(&[put("a", 3, "warm")]).await;
        let held = stage.index.holds(&[DocumentId::new("a").unwrap()]);
        assert_eq!(held["a"].0, r#"{"tag":"sale"}"#);
        assert_eq!(stage.chunks("a"), [first("warm")]);
    });
}

#[test]
fn only_what_the_index_takes_is_told_as_indexed() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        let of = |op: &str, id: &str, version: u64| json!({ "op": op, "id": id, "v": version, "tag": "sale" });
        stage.index(&[put("a", 5, "warm"), put("d", 5, "warm")]).await;
        let steps = [
            ("a late deletion", of("delete", "a", 4), Verdict::Superseded),
            ("a deletion", of("delete", "a", 6), Verdict::Indexed),
            ("what is older than a deletion", put("a", 5, "cold"), Verdict::Superseded),
            ("a deletion of nothing", of("delete", "b", 3), Verdict::Stored),
            ("an upsert that is older than a deletion", put("b", 2, "cold"), Verdict::Stored),
            ("a document without a text", of("patch", "c", 1), Verdict::Stored),
            ("what gives it none either", of("patch", "c", 2), Verdict::Stored),
            (
                "what takes its text from a document",
                json!({ "op": "patch", "id": "d", "v": 6, "text": null }),
                Verdict::Stored,
            ),
        ];
        for (number, (what, event, expected)) in steps.into_iter().enumerate() {
            stage.send(&[event]).await;
            world.rest().await;
            for _ in 0..stage.writer.len() {
                stage.write(stage.works().await).await;
            }
            assert_eq!(stage.receipts.of(number + 2), Some(expected), "{what}");
        }
        assert!(stage.chunks("a").is_empty() && stage.chunks("d").is_empty() && stage.batcher.is_empty());
    });
}

#[test]
fn changes_that_arrive_while_their_document_is_on_its_way_cost_one_embedding() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        stage.send(&[put("a", 1, "one")]).await;
        let mut on_its_way = stage.texts().await;
        for version in 2..50 {
            stage.send(&[put("a", version, &format!("text {version}"))]).await;
        }
        world.rest().await;
        assert!(stage.batcher.is_empty(), "nothing more is planned meanwhile");
        stage.write(stage.land(on_its_way.remove(0))).await;
        let mut last = stage.texts().await;
        assert_eq!(last.len(), 1);
        assert_eq!(&*last[0].text, "text 49");
        stage.write(stage.land(last.remove(0))).await;
        assert_eq!(stage.receipts.all(), vec![Some(Verdict::Indexed); 49]);
        assert_eq!(stage.chunks("a"), [first("text 49")]);
    });
}

#[test]
fn a_document_keeps_the_name_of_the_record_that_made_it_what_it_is() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        let patch = |version: u64, fields: Value| {
            let mut event = json!({ "op": "patch", "id": "a", "v": version });
            event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            event
        };
        let (old, newest) = (put("a", 4, "one"), patch(5, json!({ "tag": "sale" })));
        stage.send(&[newest.clone(), old]).await;
        let works: Vec<_> = stage.texts().await.into_iter().flat_map(|text| stage.land(text)).collect();
        let digest = stage.digest(&newest);
        assert_eq!(works[0].write.record, Some(TakenRecord { digest, operation: Operation::Patch }), "of several");
        stage.write(works).await;

        stage.send(&[patch(4, json!({ "size": 7 }))]).await;
        let works = stage.works().await;
        assert_eq!(works[0].write.record, None, "a late one changes something, and is not all that made it so");
        stage.write(works).await;
    });
}

#[test]
fn many_documents_that_become_free_at_once_are_planned_together() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        let events =
            |version| (0..50).map(|n| put(&format!("d{n}"), version, &format!("{n} at {version}"))).collect::<Vec<_>>();
        stage.send(&events(1)).await;
        let works: Vec<_> = stage.texts().await.into_iter().flat_map(|text| stage.land(text)).collect();
        stage.send(&events(2)).await;
        world.rest().await;
        stage.write(works).await;
        let again = stage.texts().await;
        assert_eq!(again.len(), 50, "one message, not one per document");
        stage.write(again.into_iter().flat_map(|text| stage.land(text)).collect()).await;
    });
}

#[test]
fn large_documents_are_planned_as_far_as_there_is_room_for_them_and_go_on_with_those_that_are_written() {
    const ALL: usize = 20;
    const ROOM: usize = 8;
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        let id = |number: usize| format!("d{number:02}");
        let note = "x".repeat(BUDGET / ROOM);
        let large = |number| json!({ "op": "put", "id": id(number), "v": 1, "text": "warm", "note": note });
        for number in 0..ALL {
            stage.send(&[large(number)]).await;
            let works = match number {
                0 => stage.land(stage.texts().await.remove(0)),
                _ => stage.works().await,
            };
            stage.write(works).await;
        }
        // Of a few bytes each, and in one message.
        let patches = (0..ALL).map(|number| json!({ "op": "patch", "id": id(number), "v": 2, "tag": "sale" }));
        stage.send(&patches.collect::<Vec<_>>()).await;
        let mut works = stage.all_works(&world).await;
        assert_eq!(works.len(), ROOM);
        let rest = works.split_off(3);
        stage.write(works).await;
        let more = stage.all_works(&world).await;
        assert_eq!(more.len(), 3, "as many as were written");
        stage.write_all(&world, [rest, more].into_iter().flatten().collect()).await;
        assert!(stage.receipts.all().iter().all(|verdict| *verdict == Some(Verdict::Indexed)));
    });
}

#[test]
fn the_texts_of_new_documents_are_planned_as_far_as_there_is_room_for_them() {
    const ALL: usize = 20;
    const ROOM: usize = 8;
    // Each document has it twice: as a field, and as what is embedded.
    const BYTES: usize = BUDGET / ROOM / 2;
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        let text =
            |number: usize| (0..BYTES / 8).map(|word| format!("{number:02}-{word:04}")).collect::<Vec<_>>().join(" ");
        stage.send(&(0..ALL).map(|number| put(&format!("d{number}"), 1, &text(number))).collect::<Vec<_>>()).await;
        let texts = stage.all_texts(&world).await;
        assert_eq!(texts.len(), ROOM * texts[0].texts_of_document);
        let landed = |texts: Vec<PendingText>| texts.into_iter().flat_map(|text| stage.land(text)).collect::<Vec<_>>();
        let mut works = landed(texts);
        while !works.is_empty() {
            stage.write(works).await;
            works = landed(stage.all_texts(&world).await);
        }
        assert!(stage.receipts.all().iter().all(|verdict| *verdict == Some(Verdict::Indexed)));
    });
}

#[test]
fn vectors_that_the_ledger_has_are_read_a_few_at_a_time() {
    const ALL: usize = 20;
    World::run(1, async |world| {
        // So large that an eighth of the budget has room for one.
        let stage = Stage::with_vectors_of(&world, BUDGET / 8).await;
        let text = |number: usize| format!("text {number}");
        let fingerprints = Fingerprinter::new(&stage.resources.provider.space().key());
        let stored = (0..ALL).map(|number| (fingerprints.of(&text(number)), FakeProvider::vector(&text(number))));
        stage.resources.ledger.keep_vectors(&stored.collect::<Vec<_>>()).unwrap();
        stage.send(&(0..ALL).map(|number| put(&format!("d{number}"), 1, &text(number))).collect::<Vec<_>>()).await;
        world.rest().await;
        let first = stage.works().await;
        assert_eq!(first.len(), 1, "all are read at once");
        let mut works = stage.all_works(&world).await;
        works.extend(first);
        assert_eq!(works.len(), ALL);
        stage.write_all(&world, works).await;
        assert!(stage.receipts.all().iter().all(|verdict| *verdict == Some(Verdict::Indexed)));
        assert!(stage.batcher.is_empty(), "nothing is paid for again");
    });
}

#[test]
fn short_documents_that_wait_for_their_texts_keep_no_other_from_being_planned() {
    const ALL: usize = 20;
    World::run(1, async |world| {
        // Together their vectors will take more than twice the budget.
        let stage = Stage::with_vectors_of(&world, BUDGET / 8).await;
        let many: Vec<_> = (0..ALL).map(|number| put(&format!("d{number}"), 1, &format!("text {number}"))).collect();
        stage.send(&many).await;
        let mut texts = stage.all_texts(&world).await;
        assert_eq!(texts.len(), ALL);
        stage.send(&[put("late", 1, "late")]).await;
        texts.extend(stage.all_texts(&world).await);
        assert_eq!(texts.len(), ALL + 1);
        stage.write(texts.into_iter().flat_map(|text| stage.land(text)).collect()).await;
    });
}

#[test]
fn equal_texts_share_one_flight_and_finish_both_documents() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        stage.send(&[put("a", 1, "same"), put("b", 1, "same")]).await;
        let mut texts = stage.texts().await;
        stage.send(&[put("c", 1, "same")]).await;
        world.rest().await;
        assert_eq!((texts.len(), stage.batcher.len(), stage.flights.len()), (1, 0, 1));
        let works = stage.land(texts.remove(0));
        assert_eq!(works.len(), 3);
        stage.write(works).await;
        assert_eq!((stage.chunks("a"), stage.chunks("c")), (vec![first("same")], vec![first("same")]));
        stage.send(&[put("d", 1, "same")]).await;
        stage.write(stage.works().await).await;
        assert!(stage.batcher.is_empty(), "the vector is at hand");
    });
}

#[test]
fn a_flight_that_is_dropped_loses_everyone_and_they_can_come_again() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        stage.send(&[put("a", 1, "same"), put("b", 1, "same")]).await;
        drop(stage.texts().await);
        assert_eq!(stage.receipts.all(), vec![Some(Verdict::Lost); 2]);
        assert_eq!((stage.claims.claimed(), stage.flights.len()), (0, 0));
        stage.index(&[put("a", 1, "same"), put("b", 1, "same")]).await;
        assert_eq!(stage.receipts.of(3), Some(Verdict::Indexed));
    });
}

#[test]
fn a_neighbour_that_panics_loses_its_parcel_and_nothing_stays_claimed() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        stage.batcher.panic_once();
        stage.send(&[put("a", 1, "warm")]).await;
        world.rest().await;
        assert_eq!(world.panics(), 1);
        assert_eq!(stage.receipts.of(0), Some(Verdict::Lost));
        stage.index(&[put("a", 1, "warm")]).await;
    });
}

#[test]
fn a_rejected_text_takes_its_document_out_and_is_rejected_again_when_it_is_redelivered() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        stage.index(&[put("a", 1, "warm")]).await;
        for _ in 0..2 {
            // The second time stands for a crash after the write and before the dead letter.
            stage.send(&[put("a", 2, "poison")]).await;
            let text = stage.texts().await.remove(0);
            stage.write(text.flight.reject("refused").collect()).await;
            assert!(stage.chunks("a").is_empty());
        }
        let rejected = Some(Verdict::Rejected("refused".into()));
        assert_eq!(stage.receipts.all()[1..], [rejected.clone(), rejected]);
        stage.send(&[put("a", 1, "warm")]).await;
        world.rest().await;
        assert_eq!(stage.receipts.of(3), Some(Verdict::Superseded), "what is older is not tried again");
        stage.send(&[put("a", 3, "warm")]).await;
        stage.write(stage.works().await).await;
        assert_eq!(stage.chunks("a"), [first("warm")]);
    });
}

#[test]
fn a_late_change_that_took_its_document_out_is_rejected_again_when_it_is_redelivered() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        stage.index(&[put("a", 1, "warm")]).await;
        stage.send(&[json!({ "op": "patch", "id": "a", "v": 5, "tag": "sale" })]).await;
        stage.write(stage.works().await).await;
        for _ in 0..2 {
            // The second time stands for a crash after the write and before the dead letter.
            stage.send(&[json!({ "op": "patch", "id": "a", "v": 4, "text": "poison" })]).await;
            let text = stage.texts().await.remove(0);
            stage.write(text.flight.reject("refused").collect()).await;
            assert!(stage.chunks("a").is_empty());
        }
        let rejected = Some(Verdict::Rejected("refused".into()));
        assert_eq!(stage.receipts.all()[2..], [rejected.clone(), rejected], "it is part of what cannot be embedded");
        stage.bury("a");
        stage.send(&[json!({ "op": "patch", "id": "a", "v": 4, "text": "poison" }), put("a", 1, "warm")]).await;
        world.rest().await;
        assert_eq!(stage.receipts.all()[4..], vec![Some(Verdict::Superseded); 2], "nobody is asked again, nor blamed");
    });
}

#[test]
fn what_is_planned_anew_and_only_lacks_a_field_is_written_so_that_its_dead_letter_goes() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        let event = json!({ "op": "patch", "id": "a", "v": 1, "tag": "sale" });
        stage.send(std::slice::from_ref(&event)).await;
        stage.write(stage.works().await).await;
        let again = async || {
            let again = Incoming { refresh: true, digest: None, ..stage.incoming(&event) };
            stage.deduplicator.send(Changes(vec![again])).await.unwrap();
        };
        again().await;
        world.rest().await;
        assert_eq!(stage.receipts.of(1), Some(Verdict::Unchanged), "without a letter there is nothing to write");
        stage.bury("a");
        again().await;
        let works = stage.works().await;
        assert!(works[0].write.clears.is_some() && works[0].write.metadata.is_none());
        stage.write(works).await;
        assert_eq!(stage.resources.ledger.dead_letter_count().unwrap(), 0);
    });
}

#[test]
fn a_document_that_is_only_looked_at_again_is_unchanged() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        stage.index(&[put("a", 5, "boots")]).await;
        let partition = Arc::new(Partition { name: "replan".into(), detail: String::new() });
        let position = Position { partition, offset: 1, ordinal: 1 };
        let record = Record::look_again(DocumentId::new("a").unwrap(), 0, position);
        let Form::Change(change) = record.form else { panic!("it is one: {record:?}") };
        let again = Incoming { change, receipt: stage.receipts.issue(), digest: None, refresh: true };
        stage.deduplicator.send(Changes(vec![again])).await.unwrap();
        world.rest().await;
        assert_eq!(stage.receipts.of(1), Some(Verdict::Unchanged), "nothing newer was said");
    });
}

#[test]
fn documents_that_leave_the_index_for_want_of_a_text_are_counted_with_the_first_of_them() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        stage.index(&["a", "b", "c", "f"].map(|id| put(id, 5, "warm"))).await;
        // As it is found in the index after a change of the template.
        let without = json!({ "op": "put", "id": "d", "v": 5, "tag": "sale" });
        let document = Document::from(change(&stage.resources.mappers.of(""), &without)).to_json();
        let metadata = Some(r#"{"tag":"sale"}"#.to_owned());
        stage.index.write([DocumentWrite { document, metadata, ..write("d", vec![]) }].into()).await.unwrap();
        let again = Incoming { refresh: true, digest: None, ..stage.incoming(&without) };
        stage.deduplicator.send(Changes(vec![again])).await.unwrap();
        let mut works = stage.all_works(&world).await;
        assert!(works[0].write.metadata.is_none(), "it leaves");
        let of = |op: &str, id: &str, version: u64| json!({ "op": op, "id": id, "v": version, "tag": "sale" });
        stage.send(&[of("delete", "a", 6), of("delete", "f", 6), of("patch", "f", 7), of("patch", "e", 1)]).await;
        works.extend(stage.all_works(&world).await);
        stage.write(works).await;
        let departed = || stage.resources.departures.of_this_run();
        assert_eq!(departed(), None, "the template was changed, they are deleted, or a patch came first");

        let renamed = json!({ "op": "put", "id": "b", "v": 6, "Text": "warm" });
        for event in [renamed, json!({ "op": "patch", "id": "c", "v": 6, "text": null })] {
            stage.send(&[event]).await;
            stage.write(stage.all_works(&world).await).await;
        }
        let (example, reason) = (DocumentId::new("b").unwrap(), "its text lacks `text`".to_owned());
        assert_eq!(departed(), Some(Departed { documents: 2, example, reason }));
    });
}

#[test]
fn a_text_that_a_document_has_twice_gets_two_points() {
    World::run(1, async |world| {
        let stage = Stage::new(&world).await;
        // Chunks are made of whole paragraphs: at 64 tokens each is one of its own.
        let (one, two) = (["one "; 60].concat(), ["two "; 60].concat());
        let (one, two) = (one.trim(), two.trim());
        stage.send(&[put("a", 1, &format!("{one}\n\n{two}"))]).await;
        let texts = stage.texts().await;
        assert_eq!(texts.len(), 2, "two chunks");
        stage.write(texts.into_iter().flat_map(|text| stage.land(text)).collect()).await;
        stage.send(&[put("a", 2, &format!("{one}\n\n{one}\n\n{two}"))]).await;
        stage.write(stage.works().await).await;
        assert_eq!(stage.chunks("a"), [first(one), first(one), first(two)]);
        stage.send(&[put("a", 3, &format!("{two}\n\n{one}"))]).await;
        stage.write(stage.works().await).await;
        assert_eq!(stage.chunks("a"), [first(two), first(one)]);
    });
}
