//! What `vectide check --connect` tries: whether a broker answers and the topics are there.

use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;

use super::context::connection_failure;
use crate::settings::source::KafkaSettings;

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps what librdkafka says of a failure, best why a connection failed; its error codes alone say little.
#[derive(Default)]
struct Listener(Mutex<Option<String>>);

impl ClientContext for Listener {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
        if let Some(reason) = connection_failure(facility, message) {
            *self.0.lock() = Some(reason.to_owned());
        }
    }

    fn error(&self, _: KafkaError, reason: &str) {
        self.0.lock().get_or_insert_with(|| reason.to_owned());
    }
}

impl ConsumerContext for Listener {}

/// Asks for the topics. Joins no group, reads nothing. Blocks.
pub fn topics(settings: &KafkaSettings) -> Result<String, String> {
    let config = super::settings::consumer(settings).map_err(|(key, text)| format!("`{key}`: {text}"))?;
    let consumer: BaseConsumer<Listener> =
        config.create_with_context(Listener::default()).map_err(|error| error.to_string())?;
    let metadata = consumer.fetch_metadata(None, PATIENCE);
    // What it has to say of a failure waits in its queue.
    drop(consumer.poll(Duration::from_millis(100)));
    let metadata = metadata.map_err(|error| {
        let reason = consumer.context().0.lock().take();
        format!("{} does not answer: {}", settings.brokers.join(", "), reason.unwrap_or_else(|| error.to_string()))
    })?;
    let mut found = Vec::new();
    for topic in &settings.topics {
        if topic.starts_with('^') {
            found.push(format!("`{topic}` is matched when it runs"));
            continue;
        }
        let there = metadata.topics().iter().find(|there| there.name() == topic && there.error().is_none());
        match there {
            Some(there) => found.push(format!("topic {topic} has {} partitions", there.partitions().len())),
            None => return Err(format!("there is no topic `{topic}`, or this user may not see it")),
        }
    }
    Ok(found.join("; "))
}
