//! Partitions that are taken away in the middle of a batch, and come back.

use std::time::Duration;

use rdkafka::consumer::Consumer;

use crate::broker::{lend, products};
use crate::provider::Provider;

#[test]
fn a_member_that_joins_and_leaves_in_the_middle_costs_no_record_and_no_text() {
    let Some(broker) = lend() else { return };
    for strategy in ["cooperative-sticky", "range"] {
        let provider = Provider::new();
        let topic = broker.topic(4);
        let group = format!("index-of-{topic}");
        let mut pipeline = broker.pipeline(&topic, &provider);
        pipeline.set(format!(
            "sources.events.settings={{partition.assignment.strategy: {strategy}, statistics.interval.ms: '200', session.timeout.ms: '6000'}}"
        ));
        broker.produce_all(&topic, &products(300));
        provider.close_at(50);
        let mut run = pipeline.start();
        run.wait_until("the first calls are out", || provider.sent().len() >= 50);

        let other = broker.member(&group, strategy);
        other.subscribe(&[&topic]).unwrap();
        let mut has = 0;
        run.wait_until("the other member has its share", || {
            drop(other.poll(Duration::from_millis(50)));
            has = other.assignment().unwrap().count();
            has > 0 && has < 4
        });
        run.wait_to_hear("are assigned to this process; its index holds the documents of those alone");
        // The other one settles nothing of what it was given.
        drop(other);
        provider.open();
        run.wait_until("everything is indexed", || pipeline.indexed() == 300);
        // Also of what was taken away and came back.
        run.wait_until("the group's offsets say so", || broker.is_committed(&group, &topic, 4));
        run.signal("TERM");
        let ended = run.end();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        assert!(ended.said.contains("partitions were taken away"), "{}", ended.said);
        assert_eq!(provider.sent().len(), 300, "{strategy}");
    }
}
