//! What whoever asks is told of a source: over HTTP, while the process runs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use serde_json::json;

use crate::broker::{lend, name, products};
use crate::provider::Provider;

#[test]
fn lag_and_what_is_wrong_are_shown_to_whoever_asks() {
    let Some(mut broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(1);
    let mut pipeline = broker.pipeline(&topic, &provider);
    pipeline.set("server={listen: '127.0.0.1:0'}");
    broker.produce_all(&topic, &products(120));
    provider.close_at(1);
    let mut run = pipeline.start();
    let address = run.wait_for_address();
    let lag = |records: u32| format!("vectide_source_lag{{partition=\"{topic}[0]\",source=\"events\"}} {records}\n");
    run.wait_until("nothing is settled", || get(address, "/metrics").contains(&lag(120)));
    provider.open();
    run.wait_until("everything is settled", || get(address, "/metrics").contains(&lag(0)));
    assert!(!get(address, "/health/ready").contains("sources"));
    broker.kill();
    run.wait_until("it says what is wrong", || {
        let health = get(address, "/health/ready");
        health.starts_with("HTTP/1.1 200") && health.contains("\"sources\":{\"events\":\"no broker can be reached")
    });
    broker.restart();
    run.wait_until("it says that it is over", || !get(address, "/health/ready").contains("sources"));
}

#[test]
fn what_is_no_record_between_transactions_is_no_lag_in_the_end() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(1);
    let mut pipeline = broker.pipeline(&topic, &provider);
    pipeline.set("server={listen: '127.0.0.1:0'}");
    let group = name("careful");
    broker.read(&mut pipeline, &topic, json!({ "group": group }));
    // With the mark of each: 11, 12 and 13 offsets.
    for (count, is_committed) in [(10, true), (11, false), (12, true)] {
        broker.transact(&topic, &products(count), is_committed);
    }
    let mut run = pipeline.start();
    let address = run.wait_for_address();
    let no_lag = format!("vectide_source_lag{{partition=\"{topic}[0]\",source=\"events\"}} 0\n");
    run.wait_until("nothing is left to read", || get(address, "/metrics").contains(&no_lag));
    assert_eq!(pipeline.indexed(), 12, "an aborted record is none");
    run.wait_until("the group knows it", || broker.committed(&group, &topic, 0) == Some(35));
}

#[test]
fn a_topic_that_is_not_there_beside_one_that_is_read_is_shown_until_it_is_made() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let (topic, missing) = (broker.topic(2), name("missing"));
    let mut pipeline = broker.pipeline(&topic, &provider);
    broker.read(&mut pipeline, &topic, json!({ "topics": [topic, missing] }));
    broker.produce_all(&topic, &products(10));
    let ended = pipeline.run();
    assert!(ended.code == Some(70) && ended.said.contains("there is no such topic"), "{}", ended.said);
    assert_eq!(pipeline.indexed(), 10, "the other one is read to its end");

    pipeline.set("server={listen: '127.0.0.1:0'}");
    let mut run = pipeline.start();
    let address = run.wait_for_address();
    let shown = format!("the user may not see it: {missing}\"");
    for path in ["/health/ready", "/v1/stats"] {
        run.wait_until("it is shown", || get(address, path).contains(&shown));
    }
    assert!(get(address, "/health/ready").starts_with("HTTP/1.1 200"));
    // Longer than it is given to go away by itself.
    let since = Instant::now();
    run.wait_until("the other one is read on all the while", || {
        let stats = get(address, "/v1/stats");
        assert!(stats.contains(&shown) && !stats.contains("\"failing\""), "{stats}");
        since.elapsed() > Duration::from_secs(8)
    });
    broker.create(&missing, 1);
    broker.produce_all(&missing, &products(15)[10..]);
    run.wait_until("everything is indexed", || pipeline.indexed() == 15);
    run.wait_until("nothing is wrong any more", || !get(address, "/health/ready").contains("sources"));
}

#[test]
fn a_topic_of_which_others_have_every_partition_is_shown() {
    let Some(broker) = lend() else { return };
    let family = name("shared");
    let [large, small] = ["large", "small"].map(|member| format!("{family}.{member}"));
    broker.create(&large, 3);
    broker.create(&small, 1);
    for topics in [json!([large, small]), json!([format!("^{family}\\..*")])] {
        let provider = Provider::new();
        let group = name("crowd");
        let mut pipeline = broker.pipeline(&large, &provider);
        broker.read(&mut pipeline, &large, json!({ "topics": topics, "group": group }));
        pipeline.set("server={listen: '127.0.0.1:0'}");
        let mut run = pipeline.start();
        let address = run.wait_for_address();
        run.wait_until("the group has it", || has_partitions(&get(address, "/metrics"), 4));
        assert!(!get(address, "/health/ready").contains("sources"));

        let other = broker.member(&group, "cooperative-sticky");
        other.subscribe(&[&small]).unwrap();
        let shown = format!("\"0 of 1 partitions of {small} are assigned to this process;");
        run.wait_until("it is shown", || {
            drop(other.poll(Duration::from_millis(50)));
            get(address, "/health/ready").contains(&shown) && get(address, "/v1/stats").contains(&shown)
        });
        drop(other);
        run.wait_until("all are back", || !get(address, "/health/ready").contains("sources"));
        run.signal("TERM");
        assert_eq!(run.end().code, Some(0));
    }
}

#[test]
fn a_pattern_that_nothing_matches_is_told_and_ends_a_run_that_waits_for_the_end() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(1);
    let mut pipeline = broker.pipeline(&topic, &provider);
    broker.read(&mut pipeline, &topic, json!({ "topics": [format!("^{}$", name("nothing"))] }));
    let ended = pipeline.run();
    assert!(
        ended.code == Some(70) && ended.said.contains("there is no topic yet whose name matches"),
        "{}",
        ended.said
    );
    assert!(!ended.said.contains("waiting for its group"), "{}", ended.said);
}

#[test]
fn records_that_were_removed_before_they_were_read_are_told() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(1);
    let pipeline = broker.pipeline(&topic, &provider);
    broker.produce_all(&topic, &products(15));
    assert!(!pipeline.run_well().said.contains("removed records"));
    broker.produce_all(&topic, &products(10));
    broker.remove_before(&topic, 15);
    assert!(!pipeline.run_well().said.contains("removed records"), "they were read");
    broker.produce_all(&topic, &products(10));
    broker.remove_before(&topic, 32);
    let said = pipeline.run_well().said;
    assert!(
        said.contains("removed records before they were read") && said.contains("25") && said.contains("32"),
        "{said}"
    );
}

#[test]
fn a_group_that_lets_nobody_in_is_told_with_its_reason() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(1);
    let mut pipeline = broker.pipeline(&topic, &provider);
    // Shorter than a broker allows.
    pipeline.set("sources.events.settings={session.timeout.ms: '1000', heartbeat.interval.ms: '100'}");
    let ended = pipeline.run();
    assert!(ended.code == Some(70) && ended.said.contains("the group does not let it in"), "{}", ended.said);
    assert!(ended.said.contains("Invalid session timeout"), "{}", ended.said);
}

#[test]
fn who_waits_for_the_partitions_of_a_killed_process_says_so() {
    let Some(broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(2);
    let mut pipeline = broker.pipeline(&topic, &provider);
    pipeline.set("sources.events.settings={statistics.interval.ms: '200', session.timeout.ms: '30000'}");
    pipeline.set("server={listen: '127.0.0.1:0'}");
    broker.produce_all(&topic, &products(10));
    let mut run = pipeline.start();
    let address = run.wait_for_address();
    run.wait_until("the group has it", || has_partitions(&get(address, "/metrics"), 2));
    run.signal("KILL");
    run.end();
    let mut run = pipeline.start();
    let address = run.wait_for_address();
    run.wait_until("it says that it waits", || {
        get(address, "/health/ready").contains("\"events\":\"waiting for its group")
    });
    run.wait_until("the group has it", || has_partitions(&get(address, "/metrics"), 2));
    run.wait_until("nothing is remarkable any more", || !get(address, "/health/ready").contains("sources"));
}

/// Whether so many partitions are read.
fn has_partitions(metrics: &str, partitions: usize) -> bool {
    metrics.lines().filter(|line| line.starts_with("vectide_source_lag{")).count() == partitions
}

/// The whole answer, head and body.
pub fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
