//! What goes wrong between Vectide and the broker: in each case nothing is lost, and no text is paid for twice that was kept.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::broker::{Broker, lend, products};
use crate::pipeline::{Pipeline, Running};
use crate::provider::Provider;

const PRODUCTS: usize = 400;

/// Half of the products are indexed when something happens; afterwards the other half comes. Fails unless all are indexed in the end and
/// every text was paid for once.
fn in_the_middle(broker: &mut Broker, happens: impl FnOnce(&mut Broker, &Pipeline, &mut Running)) {
    let provider = Provider::new();
    let topic = broker.topic(3);
    let pipeline = broker.pipeline(&topic, &provider);
    let all = products(PRODUCTS);
    broker.produce_all(&topic, &all[..PRODUCTS / 2]);
    provider.close_at(50);
    let mut run = pipeline.start();
    run.wait_until("the first calls are out", || provider.sent().len() >= 50);
    happens(broker, &pipeline, &mut run);
    provider.open();
    broker.produce_all(&topic, &all[PRODUCTS / 2..]);
    run.wait_until("everything is indexed", || pipeline.indexed() == PRODUCTS as u64);
    run.signal("TERM");
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(provider.sent().len(), PRODUCTS);
    assert_eq!(pipeline.dead_letters(), []);
    assert!(broker.is_committed(&format!("index-of-{topic}"), &topic, 3));
}

#[test]
fn a_broker_that_is_killed_and_comes_back_costs_time_and_no_record() {
    let Some(mut broker) = lend() else { return };
    in_the_middle(&mut broker, |broker, _, run| {
        broker.kill();
        run.wait_to_hear("no broker can be reached");
        broker.restart();
        run.wait_to_hear("Kafka can be read again");
    });
}

#[test]
fn a_network_that_is_cut_for_half_a_minute_costs_time_and_no_record() {
    let Some(mut broker) = lend() else { return };
    in_the_middle(&mut broker, |broker, _, run| {
        let since = Instant::now();
        broker.network.cut();
        run.wait_to_hear("no broker can be reached");
        // The group has put it out long before.
        run.wait_until("half a minute is over", || since.elapsed() >= Duration::from_secs(30));
        assert!(!run.said().contains("Kafka can be read again"), "{}", run.said());
        broker.network.mend();
        run.wait_to_hear("Kafka can be read again");
    });
}

#[test]
fn a_topic_that_is_not_there_is_named_and_read_as_soon_as_it_is_made() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = crate::broker::name("later");
    let pipeline = broker.pipeline(&topic, &provider);
    let check = pipeline.command(&["check", "--connect"]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(!check.status.success() && said.contains(&format!("there is no topic `{topic}`")), "{said}");
    let mut run = pipeline.start();
    run.wait_to_hear("there is no such topic");
    assert!(run.said().contains(&topic), "{}", run.said());
    broker.create(&topic, 2);
    broker.produce_all(&topic, &products(10));
    run.wait_until("everything is indexed", || pipeline.indexed() == 10);
}

#[test]
fn wrong_credentials_are_named_and_no_password_is_shown() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(2);
    broker.produce_all(&topic, &products(10));
    let mut pipeline = broker.pipeline(&topic, &provider);
    let log_in = |pipeline: &mut Pipeline, password: &str| {
        let sasl = json!({ "username": "vectide", "password": password });
        broker.read(pipeline, &topic, json!({ "brokers": [broker.address_with_login()], "sasl": sasl }));
    };
    log_in(&mut pipeline, "hunter2");
    let mut run = pipeline.spawn(pipeline.command(&["--log", "debug", "run"]));
    run.wait_to_hear("the broker refuses the user or the password");
    run.signal("TERM");
    let ended = run.end();
    let check = pipeline.command(&["check", "--connect"]).output().unwrap();
    let told = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(!check.status.success() && told.contains("Authentication failed"), "{told}");
    assert!(!(ended.said + &told).contains("hunter2"));
    log_in(&mut pipeline, "the-password");
    pipeline.run_well();
    assert_eq!(pipeline.ids().len(), 10);
}

#[test]
fn a_pipeline_that_waits_stays_in_its_group_and_one_that_hung_joins_again() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(3);
    let mut pipeline = broker.pipeline(&topic, &provider);
    let limits =
        json!({ "max.poll.interval.ms": "6000", "session.timeout.ms": "6000", "heartbeat.interval.ms": "500" });
    broker.read(&mut pipeline, &topic, json!({ "settings": limits }));
    // More than the window and what lies before it take.
    let all = products(16_000);
    broker.produce_all(&topic, &all);
    provider.close_at(50);
    let mut run = pipeline.start();
    run.wait_until("the first calls are out", || provider.sent().len() >= 50);
    let since = Instant::now();
    run.wait_until("longer than the group waits for a poll", || since.elapsed() > Duration::from_secs(8));
    assert!(!run.said().contains("out of the group"), "{}", run.said());

    run.signal("STOP");
    // However late the signal came: longer than the session.
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
    }
    run.signal("CONT");
    run.wait_to_hear("partitions were taken away");
    provider.open();
    run.wait_until("everything is indexed", || pipeline.indexed() == all.len() as u64);
    assert_eq!(provider.sent().len(), all.len());
}
