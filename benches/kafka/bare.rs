//! A consumer that reads every record and does nothing with it.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;

use crate::broker::TOPIC;
use crate::{Measured, RECORDS, cpu};

/// From the first record to the last.
pub fn read(address: &str) -> Measured {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("group.id", "bare");
    config.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[TOPIC]).expect("the topic can be read");
    let (mut since, mut read, mut bytes) = (None, 0, 0);
    while read < RECORDS {
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        since.get_or_insert_with(Instant::now);
        bytes += message.expect("the broker answers").payload().map_or(0, <[u8]>::len);
        read += 1;
    }
    assert!(bytes > RECORDS);
    let elapsed = since.expect("a record was read").elapsed().as_secs_f64();
    Measured { records: RECORDS as u64, elapsed, cpu: cpu::by_thread(), texts: 0 }
}
