//! Copies of dead letters in a topic, for whoever looks after the producers. The ledger's are the ones that count.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::util::Timeout;

use super::offsets;
use crate::actor::offload::try_on_blocking_thread;
use crate::actor::panic::message;
use crate::ledger::Letter;
use crate::settings::source::KafkaSettings;
use crate::source::clients::Clients;

/// How long the broker may take to acknowledge.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct DeadLetterTopic {
    settings: KafkaSettings,
    topic: String,
    source: Arc<str>,
    clients: Clients,
    /// Made with the first letter.
    producer: Mutex<Option<BaseProducer<Failures>>>,
}

/// Why a copy did not arrive: the last reason.
#[derive(Default)]
struct Failures(Mutex<Option<String>>);

impl ClientContext for Failures {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = delivered {
            *self.0.lock() = Some(error.to_string());
        }
    }
}

impl DeadLetterTopic {
    pub(super) fn new(settings: KafkaSettings, topic: String, source: Arc<str>, clients: Clients) -> Self {
        Self { settings, topic, source, clients, producer: Mutex::default() }
    }

    /// Sends copies and waits for them to arrive. What fails is logged: the letters are safe in the ledger.
    pub(super) async fn copy(self: Arc<Self>, letters: Arc<[Letter]>) {
        let (source, topic) = (self.source.clone(), self.topic.clone());
        let copied = try_on_blocking_thread(move || self.send(&letters)).await;
        let problem = match copied {
            Ok(Ok(())) => return,
            Ok(Err(problem)) => problem,
            Err(panic) => message(&*panic),
        };
        tracing::warn!(
            source = &*source,
            topic,
            problem,
            "dead letters are kept, and not all could be copied to the topic"
        );
    }

    fn send(&self, letters: &[Letter]) -> Result<(), String> {
        let mut held = self.producer.lock();
        let producer = match held.take() {
            Some(producer) => producer,
            None => self.producer()?,
        };
        let mut refused = None;
        for letter in letters {
            let key = letter.document.as_ref().map(|id| id.as_str()).unwrap_or_default();
            let record = BaseRecord::to(&self.topic).payload(&letter.payload).headers(headers(letter));
            let record = if key.is_empty() { record } else { record.key(key) };
            // A letter that is too large must not keep the others back.
            refused = producer.send(record).err().map(|(error, _)| error.to_string()).or(refused);
        }
        let arrived = producer.flush(Timeout::After(PATIENCE)).map_err(|error| error.to_string());
        let failed = producer.context().0.lock().take();
        *held = Some(producer);
        failed.or(refused).map_or(arrived, Err)
    }

    fn producer(&self) -> Result<BaseProducer<Failures>, String> {
        let mut config = super::settings::producer(&self.settings).map_err(|(_, problem)| problem)?;
        config.set("message.timeout.ms", (PATIENCE.as_millis() / 2).to_string()).set("acks", "all");
        // A topic that is not there is no topic that comes soon.
        config.set("topic.metadata.propagation.max.ms", "5000");
        config.create_with_context(Failures::default()).map_err(|error| error.to_string())
    }
}

impl Drop for DeadLetterTopic {
    /// On a thread of its own: the end of a producer waits for librdkafka's threads, one of which may be asking a name server that is away.
    fn drop(&mut self) {
        let Some(producer) = self.producer.get_mut().take() else { return };
        let client = self.clients.enter();
        let end = move || {
            drop(producer);
            drop(client);
        };
        if let Err(error) = std::thread::Builder::new().name(format!("kafka {}", self.topic)).spawn(end) {
            tracing::debug!(%error, "there is no thread to end the producer of dead letters on");
        }
    }
}

/// Why, and where it came from.
fn headers(letter: &Letter) -> OwnedHeaders {
    let headers = OwnedHeaders::new().insert(Header { key: "vectide-reason", value: Some(&letter.reason) });
    let place = letter.position.rsplit_once(':');
    let Some((partition, offset)) = place else { return headers };
    let Some((topic, number)) = offsets::parse(partition) else { return headers };
    headers
        .insert(Header { key: "vectide-source-topic", value: Some(topic) })
        .insert(Header { key: "vectide-source-partition", value: Some(&number.to_string()) })
        .insert(Header { key: "vectide-source-offset", value: Some(offset) })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_producer_ends_on_a_thread_of_its_own_that_is_waited_for() {
        let settings = serde_yaml::from_str("{ brokers: ['127.0.0.1:1'], topics: [t], group: g }").unwrap();
        let clients = Clients::default();
        let topic = DeadLetterTopic::new(settings, "dead".to_owned(), "events".into(), clients.clone());
        let producer = topic.producer().unwrap();
        producer.send(BaseRecord::<(), str>::to("dead").payload("{}")).unwrap();
        let failures = producer.context().clone();
        *topic.producer.lock() = Some(producer);
        {
            // The producer ends when it has said that the letter was not sent.
            let _held = failures.0.lock();
            let (tell, told) = mpsc::channel();
            std::thread::spawn(move || {
                drop(topic);
                let _ = tell.send(());
            });
            told.recv_timeout(PATIENCE).expect("whoever drops it waits for its end");
        }
        assert!(clients.ended(PATIENCE).await);
        assert!(failures.0.lock().is_some(), "it ended before");
    }
}
