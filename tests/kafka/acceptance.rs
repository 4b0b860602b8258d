//! The sample shop through Kafka: in random order, with repeats, over a broker and a process that are killed.

use std::collections::{BTreeMap, HashSet};
use std::fs;

use serde_json::{Map, Value, json};

use crate::broker::lend;
use crate::pipeline::Pipeline;
use crate::provider::Provider;

const SEED: u64 = 20_260_801;
/// The fields that the shipped configuration uses.
const USED: [&str; 5] = ["title", "description", "category", "price", "discount_percentage"];

fn asset(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The lines of a sample, each with the product it is about.
fn lines(name: &str) -> Vec<(String, String)> {
    let text = asset(name);
    let line = |line: &str| {
        let product =
            serde_json::from_str::<Value>(line).ok().and_then(|event| event["product_id"].as_str().map(str::to_owned));
        (product.unwrap_or_default(), line.to_owned())
    };
    text.lines().map(line).collect()
}

fn used(fields: &Value) -> Map<String, Value> {
    let told = |name: &&str| Some(((*name).to_owned(), fields.get(name)?.clone()));
    USED.iter().filter_map(told).filter(|(_, value)| !value.is_null()).collect()
}

fn documents(exported: &str) -> BTreeMap<String, Map<String, Value>> {
    let lines = exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let indexed = lines.filter(|document| document["chunks"].as_array().is_none_or(|chunks| !chunks.is_empty()));
    indexed.map(|document| (document["id"].as_str().unwrap().to_owned(), used(&document["fields"]))).collect()
}

#[test]
fn the_shop_in_any_order_over_a_broker_and_a_process_that_are_killed_ends_in_the_truth() {
    let Some(mut broker) = lend() else { return };
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut all = lines("assets/catalogue.jsonl");
    all.extend(lines("assets/events.jsonl"));
    let repeated: Vec<_> = (0..all.len() / 10).map(|_| random.choice(&all).unwrap().clone()).collect();
    all.extend(repeated.into_iter().filter(|(product, _)| !product.is_empty()));
    random.shuffle(&mut all);

    let provider = Provider::new();
    let topic = broker.topic(6);
    let mut pipeline = Pipeline::new();
    pipeline.write("config.yaml", asset("config.yaml"));
    broker.read(&mut pipeline, &topic, json!({}));
    pipeline.set(provider.setting());
    pipeline.set("server.listen=127.0.0.1:0");
    let produce = |broker: &crate::broker::Broker, part: &[(String, String)]| {
        broker.produce(&topic, part.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))));
    };
    produce(&broker, &all[..all.len() / 2]);

    provider.close_at(300);
    let mut run = pipeline.start();
    run.wait_until("calls are out", || provider.sent().len() >= 300);
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    provider.finish();
    let before = provider.sent().len();
    let kept = provider.kept_by(&pipeline);

    provider.close_at(before + 300);
    let mut run = pipeline.start();
    run.wait_until("calls are out again", || provider.sent().len() >= before + 300);
    broker.kill();
    provider.open();
    broker.restart();
    produce(&broker, &all[all.len() / 2..]);
    run.wait_to_hear("Kafka can be read again");
    run.signal("TERM");
    assert_eq!(run.end().code, Some(0));
    pipeline.run_well();

    let there: i64 = (0..6).map(|partition| broker.end_of(&topic, partition)).sum();
    assert_eq!(there, all.len() as i64, "the broker has what was produced");
    let exported = pipeline.command(&["export"]).output().unwrap();
    let held = documents(&String::from_utf8(exported.stdout).unwrap());
    let truth = documents(&asset("tests/data/truth.jsonl"));
    let ids: HashSet<&String> = held.keys().chain(truth.keys()).collect();
    for id in ids {
        assert_eq!(held.get(id), truth.get(id), "{id}");
    }
    assert_eq!(pipeline.dead_letters().len(), 2, "the two broken lines");

    let sent = provider.sent();
    let again: Vec<_> = sent[before..].iter().filter(|text| kept.contains(*text)).collect();
    assert!(again.is_empty(), "kept before the kill and paid for again: {again:?}");
    let once: HashSet<&String> = sent[before..].iter().collect();
    assert_eq!(once.len(), sent.len() - before, "without a kill, no text is paid for twice");
}
