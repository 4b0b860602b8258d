//! A broker with one topic of product records.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::server::Server;
use crate::{catalogue, cpu, ports};

pub const TOPIC: &str = "products";
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Broker {
    server: Server,
    port: u16,
}

impl Broker {
    pub fn start() -> Self {
        let port = ports::free(5);
        Self { server: Server::start("kafka.sh", port), port }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    /// Seconds of processor time that it took so far.
    pub fn cpu(&self) -> f64 {
        cpu::of_process(&self.server.told)
    }

    /// Makes the topic, with so many records.
    pub fn fill(&self, partitions: i32, records: usize) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("a client");
        let topic = NewTopic::new(TOPIC, partitions, TopicReplication::Fixed(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        runtime.block_on(admin.create_topics([&topic], &options)).expect("the broker makes the topic");
        let producer: BaseProducer = self.config().set("linger.ms", "50").create().expect("a producer");
        for number in 0..records {
            let (key, value) = (format!("P{number:08}"), catalogue::record(number));
            let mut record = BaseRecord::to(TOPIC).key(&key).payload(&value);
            while let Err((error, back)) = producer.send(record) {
                assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                producer.poll(Duration::from_millis(10));
                record = back;
            }
        }
        producer.flush(PATIENCE).expect("the broker takes the records");
    }
}
