//! What is delivered when nothing goes wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::message::{Headers, Message};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::broker::{lend, name, products};
use crate::provider::Provider;

#[test]
fn everything_is_indexed_and_paid_once_and_the_groups_offsets_say_so() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(3);
    let pipeline = broker.pipeline(&topic, &provider);
    broker.produce_all(&topic, &products(500));
    pipeline.run_well();
    assert_eq!((pipeline.ids().len(), provider.sent().len()), (500, 500));
    assert!(broker.is_committed(&format!("index-of-{topic}"), &topic, 3));
    // The members of before have left the group, so that this one need not wait for them.
    broker.produce_all(&topic, &products(503));
    pipeline.run_well();
    assert_eq!((pipeline.ids().len(), provider.sent().len()), (503, 503));
}

#[test]
fn a_message_without_a_value_deletes_and_what_a_message_carries_can_be_used() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(1);
    let mut pipeline = broker.pipeline(&topic, &provider);
    pipeline.set("document={id: $key, text: '{{ title }}', metadata: [$partition]}");
    let value = |title: &str| json!({ "title": title }).to_string();
    let (boots, socks, gloves) = (value("boots"), value("socks"), value("gloves"));
    broker.produce(
        &topic,
        [("a", Some(boots.as_str())), ("b", Some(&socks)), ("a", None), ("c", Some(&boots)), ("c", Some(&gloves))],
    );
    pipeline.run_well();
    let documents = pipeline.documents();
    let expected = [("b", "socks"), ("c", "gloves")];
    assert_eq!(documents.len(), expected.len(), "{documents:?}");
    expected.iter().for_each(|(id, title)| assert_eq!(documents[*id]["title"], **title));
    broker.produce(&topic, [("b", None)]);
    pipeline.run_well();
    assert_eq!(pipeline.ids(), ["c"]);
}

#[test]
fn a_new_ledger_reads_from_the_start_and_latest_reads_what_comes_since_it_first_looked() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(2);
    broker.produce_all(&topic, &products(20));
    let first = broker.pipeline(&topic, &provider);
    first.run_well();
    // The group's offsets are at the end, and this index has seen nothing.
    let second = broker.pipeline(&topic, &provider);
    second.run_well();
    assert_eq!(second.ids().len(), 20);

    let mut late = broker.pipeline(&topic, &provider);
    broker.read(&mut late, &topic, json!({ "start": "latest", "group": name("latecomers") }));
    late.run_well();
    assert_eq!(late.ids().len(), 0);
    broker.produce_all(&topic, &products(23)[20..]);
    late.run_well();
    assert_eq!(late.ids(), ["p20", "p21", "p22"]);
    // While no process runs.
    broker.grow(&topic, 8);
    broker.produce_all(&topic, &products(63)[23..]);
    assert!((2..8).any(|partition| broker.end_of(&topic, partition) > 0));
    late.run_well();
    assert_eq!(late.ids().len(), 43, "also what came into the new partitions");
}

#[test]
fn where_latest_begins_is_committed_before_anything_is_read() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(2);
    broker.produce_all(&topic, &products(20));
    let (mut pipeline, group) = (broker.pipeline(&topic, &provider), name("latecomers"));
    broker.read(&mut pipeline, &topic, json!({ "start": "latest", "group": group, "commit_interval": "1h" }));
    let mut run = pipeline.start();
    run.wait_until("its beginning is committed", || broker.is_committed(&group, &topic, 2));
    run.signal("KILL");
    run.end();
    broker.produce_all(&topic, &products(23)[20..]);
    broker.read(&mut pipeline, &topic, json!({ "start": "latest", "group": group }));
    pipeline.run_well();
    assert_eq!(pipeline.ids(), ["p20", "p21", "p22"]);
}

#[test]
fn a_start_in_time_leaves_out_what_is_older_and_takes_what_is_as_old_or_newer() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(2);
    let all = products(90);
    // Not long ago, because the broker removes what is older than a week.
    let first = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap() - time::Duration::hours(5);
    let millis = |time: OffsetDateTime| time.unix_timestamp() * 1_000;
    let after = |minutes: f64| first + time::Duration::minutes(1) * minutes;
    for (number, part) in (0_u8..).zip(all.chunks(30)) {
        broker.produce_at(&topic, millis(after(number.into())), part);
    }
    let read_from = |start: OffsetDateTime| {
        let mut pipeline = broker.pipeline(&topic, &provider);
        broker.read(&mut pipeline, &topic, json!({ "start": start.format(&Rfc3339).unwrap() }));
        pipeline.run_well();
        pipeline
    };
    let expected = |products: &[Value]| {
        let ids = products.iter().map(|product| product["id"].as_str().unwrap().to_owned());
        ids.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(read_from(after(0.5)).ids(), expected(&all[30..]), "between the first and the second");
    assert_eq!(
        read_from(after(2.0).to_offset(UtcOffset::from_hms(1, 0, 0).unwrap())).ids(),
        expected(&all[60..]),
        "at the time of the third"
    );
    // Later than everything there is.
    let late = read_from(after(30.0));
    assert_eq!(late.ids().len(), 0);
    broker.produce_at(&topic, millis(after(60.0)), &products(91)[90..]);
    late.run_well();
    assert_eq!(late.ids(), ["p90"]);
    // Where the ledger has a position, it counts and the time does not.
    let resumed = read_from(after(0.5));
    broker.produce_at(&topic, millis(first), &products(92)[91..]);
    resumed.run_well();
    assert_eq!(resumed.ids().len(), 62);
}

#[test]
fn a_pattern_reads_the_topics_that_match_it_and_those_that_are_made_later() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let family = name("family");
    let topic = |member: &str| format!("{family}.{member}");
    broker.create(&topic("first"), 2);
    broker.create(&format!("not-{family}.first"), 1);
    let all = products(40);
    broker.produce_all(&format!("not-{family}.first"), &all[30..]);
    broker.produce_all(&topic("first"), &all[..10]);
    let pipeline = broker.pipeline(&format!("^{family}\\..*"), &provider);
    let mut run = pipeline.start();
    run.wait_until("the first topic is read", || pipeline.indexed() == 10);
    broker.create(&topic("second"), 3);
    broker.produce_all(&topic("second"), &all[10..20]);
    run.wait_until("the second topic is read", || pipeline.indexed() == 20);
    broker.produce_all(&topic("first"), &all[20..30]);
    run.wait_until("the first topic is read on", || pipeline.indexed() == 30);
    run.signal("TERM");
    assert_eq!(run.end().code, Some(0));
    // The run that ends by itself reads both to their ends, and nothing is new there.
    pipeline.run_well();
    assert_eq!((pipeline.ids().len(), provider.sent().len()), (30, 30));
}

#[test]
fn a_topic_for_dead_letters_that_is_not_there_is_told_and_holds_nothing_up() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(1);
    let mut pipeline = broker.pipeline(&topic, &provider);
    broker.read(&mut pipeline, &topic, json!({ "dead_letter_topic": name("nowhere") }));
    let sound = products(1)[0].to_string();
    broker.produce(&topic, [("a", Some("{ broken")), ("p0", Some(&sound))]);
    let ended = pipeline.run_well();
    assert!(ended.said.contains("not all could be copied to the topic"), "{}", ended.said);
    assert_eq!((pipeline.ids(), pipeline.dead_letters().len()), (vec!["p0".to_owned()], 1));
}

#[test]
fn what_is_no_record_goes_to_the_dead_letters_and_a_copy_to_the_topic_for_them() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let (topic, letters) = (broker.topic(1), broker.topic(1));
    let mut pipeline = broker.pipeline(&topic, &provider);
    broker.read(&mut pipeline, &topic, json!({ "dead_letter_topic": letters, "max_record": "1000B" }));
    let (long, sound) = (format!("{{\"id\":\"{}\"}}", "x".repeat(2_000)), products(1)[0].to_string());
    broker.produce(&topic, [("a", Some("{ broken")), ("b", Some(&long)), ("p0", Some(&sound))]);
    pipeline.run_well();
    assert_eq!(pipeline.ids(), ["p0"]);
    let kept: Vec<_> = pipeline.dead_letters().into_iter().map(|dead| dead.letter.position).collect();
    assert_eq!(kept, [format!("{topic}[0]:0"), format!("{topic}[0]:1")]);

    let reader = broker.member(&name("reader"), "range");
    reader.subscribe(&[&letters]).unwrap();
    let mut copies = BTreeSet::new();
    while copies.len() < 2 {
        let Some(message) = reader.poll(Duration::from_secs(60)) else { continue };
        let message = message.unwrap();
        let headers = message.headers().unwrap();
        let header = |name: &str| {
            let found = headers.iter().find(|header| header.key == name).unwrap_or_else(|| panic!("{name}"));
            String::from_utf8(found.value.unwrap().to_vec()).unwrap()
        };
        assert_eq!((header("vectide-source-topic"), header("vectide-source-partition")), (topic.clone(), "0".into()));
        copies.insert((header("vectide-source-offset"), header("vectide-reason").contains("max_record")));
    }
    assert_eq!(copies, BTreeSet::from([("0".to_owned(), false), ("1".to_owned(), true)]));
}
