//! A process that is killed, or told to stop, in the middle of its work: the next one ends in the index that the events make.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use serde_json::{Map, Value, json};
use vectide::document::fingerprint::Fingerprinter;
use vectide::ledger::Ledger;

use crate::pipeline::{Pipeline, sound};
use crate::provider::Provider;

const EVENTS: usize = 12_000;
const DOCUMENTS: u64 = 4000;
const KILLS: usize = 8;

/// Events of all kinds to the same documents, out of order, and the index that they make.
struct Story {
    lines: String,
    truth: BTreeMap<String, Value>,
}

fn story(seed: u64) -> Story {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut events = Vec::new();
    for version in 1..=EVENTS {
        let id = format!("d{}", random.u64(..DOCUMENTS));
        let mut event = json!({ "id": id, "at": version, "type": "change" });
        match random.u32(..10) {
            0 => event["type"] = "delete".into(),
            1..=4 => event["price"] = random.u32(..100).into(),
            // Fewer titles than events: some texts are those of several documents.
            _ => {
                event["type"] = "create".into();
                event["title"] = format!("thing number {}", random.u32(..9000)).into();
                event["price"] = random.u32(..100).into();
            }
        }
        events.push(event);
    }
    let truth = truth(&events);
    random.shuffle(&mut events);
    let repeated: Vec<Value> = (0..EVENTS / 10).map(|_| random.choice(&events).unwrap().clone()).collect();
    let lines = events.iter().chain(&repeated).map(|event| format!("{event}\n")).collect();
    Story { lines, truth }
}

/// The index that events make, given in the order of their versions. A document without a title is not in it.
fn truth(events: &[Value]) -> BTreeMap<String, Value> {
    let mut documents: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for event in events {
        let document = documents.entry(event["id"].as_str().unwrap().to_owned()).or_default();
        if event["type"] != "change" {
            document.clear();
        }
        for name in ["title", "price"] {
            if let Some(value) = event.get(name) {
                document.insert(name.to_owned(), value.clone());
            }
        }
    }
    documents.retain(|_, fields| fields.contains_key("title"));
    documents.into_iter().map(|(id, fields)| (id, fields.into())).collect()
}

/// A pipeline that tells this story to this provider.
fn pipeline(story: &Story, provider: &Provider) -> Pipeline {
    let mut pipeline = Pipeline::new();
    pipeline.set(provider.setting());
    pipeline.set("document.version={field: at, unit: counter}");
    pipeline.set(
        "document.events={field: type, create: {operation: upsert}, change: {operation: patch}, delete: {operation: delete}}",
    );
    // Small calls and few at once, so that many moments differ.
    pipeline.set("batching={max_items: 20, max_wait: 5ms}");
    pipeline.write("input.jsonl", &story.lines);
    pipeline
}

fn assert_tells(pipeline: &Pipeline, story: &Story) {
    let held = pipeline.documents();
    let ids: HashSet<&String> = held.keys().chain(story.truth.keys()).collect();
    for id in ids {
        assert_eq!(held.get(id), story.truth.get(id), "{id}");
    }
    assert_eq!(pipeline.dead_letters(), []);
}

/// Which of these texts have a vector in the ledger.
fn kept(pipeline: &Pipeline, provider: &Provider) -> HashSet<String> {
    let sent = provider.sent();
    let fingerprinter = Fingerprinter::new(&provider.space());
    let fingerprints: Vec<_> = sent.iter().map(|text| fingerprinter.of(text)).collect();
    let ledger = Ledger::open_to_read(&pipeline.path("data")).unwrap();
    let vectors = ledger.vectors(&fingerprints).unwrap();
    sent.into_iter().zip(vectors).filter_map(|(text, vector)| vector.map(|_| text)).collect()
}

#[test]
fn killed_again_and_again_it_ends_in_the_same_index_and_pays_again_only_for_what_was_on_its_way() {
    let mut random = fastrand::Rng::with_seed(7);
    let story = story(1);
    let provider = Provider::new();
    let pipeline = pipeline(&story, &provider);
    let mut killed = Vec::new();
    for kill in 0..KILLS {
        let mut run;
        if kill % 2 == 0 {
            // While calls are out that nobody answers.
            let sent = provider.sent().len() + random.usize(20..150);
            provider.close_at(sent);
            run = pipeline.start();
            run.wait_until("so many texts were sent", || provider.sent().len() >= sent);
        } else {
            // Between the writes of a run that gets all it asks for.
            let indexed = pipeline.indexed() + random.u64(1..100);
            run = pipeline.start();
            run.wait_until("so many documents are indexed", || pipeline.indexed() >= indexed);
        }
        run.signal("KILL");
        assert_eq!(run.end().code, None);
        provider.finish();
        killed.push((provider.sent().len(), kept(&pipeline, &provider)));
    }
    pipeline.run_well();
    assert_tells(&pipeline, &story);
    let sent = provider.sent();
    for (kill, (before, kept)) in killed.iter().enumerate() {
        let again: Vec<_> = sent[*before..].iter().filter(|text| kept.contains(*text)).collect();
        assert!(again.is_empty(), "kept before kill {kill} and paid for again: {again:?}");
    }
    let last = &sent[killed[KILLS - 1].0..];
    let once: HashSet<&String> = last.iter().collect();
    assert_eq!(once.len(), last.len(), "without a kill, no text is paid for twice");
    assert!(!killed[1].1.is_empty(), "kills came before the first write");
    assert!(!last.is_empty(), "kills came behind the last write");

    let paid = sent.len();
    pipeline.run_well();
    assert_eq!(provider.sent().len(), paid, "a run with nothing new pays nothing");
}

#[test]
fn told_to_stop_it_finishes_what_it_read_and_the_next_run_does_the_rest() {
    let story = story(2);
    let provider = Provider::new();
    let pipeline = pipeline(&story, &provider);
    provider.close_at(100);
    let mut run = pipeline.start();
    run.wait_until("calls are out", || provider.sent().len() >= 100);
    run.signal("TERM");
    run.wait_to_hear("stopping: no more is read");
    provider.open();
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let paid = provider.sent().len();
    assert_eq!(kept(&pipeline, &provider).len(), paid, "what was paid for is kept");
    pipeline.run_well();
    assert_tells(&pipeline, &story);
    let sent = provider.sent();
    assert_eq!(sent.iter().collect::<HashSet<_>>().len(), sent.len(), "no text is paid for twice");
}

#[test]
fn told_to_stop_twice_it_ends_at_once_with_work_left_and_the_next_run_does_it() {
    let story = story(3);
    let provider = Provider::new();
    let pipeline = pipeline(&story, &provider);
    provider.close_at(100);
    let mut run = pipeline.start();
    run.wait_until("calls are out", || provider.sent().len() >= 100);
    run.signal("TERM");
    run.wait_to_hear("stopping: no more is read");
    run.signal("INT");
    let ended = run.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    provider.open();
    pipeline.run_well();
    assert_tells(&pipeline, &story);
}

#[test]
fn told_to_stop_while_it_waits_for_standard_input_it_ends() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources={input: {type: stdin}}");
    let mut command = pipeline.command(&["run"]);
    command.stdin(Stdio::piped());
    let mut run = pipeline.spawn(command);
    let mut input = run.input();
    input.write_all(sound("a").as_bytes()).unwrap();
    run.wait_until("the line is indexed", || pipeline.indexed() == 1);
    run.signal("TERM");
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}

#[test]
fn what_was_accepted_over_http_outlives_a_kill() {
    let provider = Provider::new();
    let mut pipeline = Pipeline::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    pipeline.set(provider.setting());
    pipeline.set(format!("server.listen={free}"));
    pipeline.set("sources={api: {type: http}}");
    provider.close_at(1);
    let mut run = pipeline.start();
    let mut server = None;
    run.wait_until("it listens", || {
        server = TcpStream::connect(free).ok();
        server.is_some()
    });
    let mut server = server.unwrap();
    let events = sound("a") + &sound("b");
    let head = format!("POST /v1/events HTTP/1.1\r\nHost: {free}\r\nContent-Length: {}\r\n\r\n", events.len());
    server.write_all((head + &events).as_bytes()).unwrap();
    let mut status = [0; 12];
    server.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 202");
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    assert_eq!(pipeline.ids(), [""; 0]);
    provider.open();
    pipeline.run_well();
    assert_eq!(pipeline.ids(), ["a", "b"]);
}
