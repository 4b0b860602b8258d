//! A real broker on this machine, the topics in it, and what the tests do beside Vectide.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pipeline::Pipeline;
use crate::ports;
use crate::provider::Provider;
use crate::proxy::Proxy;

/// How `tests/servers/kafka.sh` ends when there is nothing to serve.
const NOT_INSTALLED: i32 = 69;
/// Longer than a broker takes for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A broker that runs, or was killed. Clients reach it through a network that can be cut.
pub struct Broker {
    folder: TempDir,
    port: u16,
    pub network: Proxy,
    script: Child,
}

/// Fails when a message does not arrive.
struct Arrivals;

impl ClientContext for Arrivals {}

impl ProducerContext for Arrivals {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        delivered.as_ref().map_err(|(error, _)| error).unwrap();
    }
}

/// The broker, for this test alone; none, and a line that says why, where it cannot be had.
pub fn lend() -> Option<MutexGuard<'static, Broker>> {
    static BROKER: OnceLock<Option<Mutex<Broker>>> = OnceLock::new();
    let broker = BROKER.get_or_init(|| match Broker::start() {
        Ok(broker) => Some(Mutex::new(broker)),
        Err(reason) => {
            // Not through `println!`, which a passing test swallows.
            let skipped = format!("SKIPPED: Kafka cannot be run: {reason}\n");
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            None
        }
    });
    // A test that failed leaves it as it is: the next one brings it up again.
    let mut broker = broker.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
    broker.network.mend();
    broker.restart();
    Some(broker)
}

impl Broker {
    fn start() -> Result<Self, String> {
        let (folder, port) = (tempfile::tempdir().unwrap(), ports::free(5));
        let network = Proxy::to(port);
        let script = serve(folder.path(), port, network.port())?;
        Ok(Self { folder, port, network, script })
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let id = fs::read_to_string(self.folder.path().join("id")).unwrap();
        // It may have been killed before.
        let _ = Command::new("kill").args(["-9", id.trim()]).stderr(Stdio::null()).status().unwrap();
        drop(self.script.stdin.take());
        self.script.wait().unwrap();
    }

    /// Starts it again where it was, if it does not run.
    pub fn restart(&mut self) {
        if self.script.stdin.is_none() {
            self.script = serve(self.folder.path(), self.port, self.network.port()).unwrap();
        }
    }

    /// Where clients reach it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.network.port())
    }

    /// Where it asks for the user `vectide` with the password `the-password`.
    pub fn address_with_login(&self) -> String {
        format!("127.0.0.1:{}", self.port + 2)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    /// Does something that only who looks after it does.
    fn administer<T>(&self, work: impl AsyncFnOnce(AdminClient<DefaultClientContext>, AdminOptions) -> T) -> T {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work(self.config().create().unwrap(), options))
    }

    /// Makes a topic with so many partitions.
    pub fn create(&self, topic: &str, partitions: i32) {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = self.administer(async |admin, options| admin.create_topics([&topic], &options).await.unwrap());
        made.into_iter().for_each(|made| drop(made.unwrap()));
    }

    /// Gives a topic so many partitions in all.
    pub fn grow(&self, topic: &str, partitions: usize) {
        let grown = NewPartitions::new(topic, partitions);
        let made = self.administer(async |admin, options| admin.create_partitions([&grown], &options).await.unwrap());
        made.into_iter().for_each(|made| drop(made.unwrap()));
    }

    /// Removes what lies before an offset of partition 0, as its retention does.
    pub fn remove_before(&self, topic: &str, offset: i64) {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        self.administer(async |admin, options| admin.delete_records(&before, &options).await.unwrap());
    }

    /// A new topic with a name of its own.
    pub fn topic(&self, partitions: i32) -> String {
        let topic = name("topic");
        self.create(&topic, partitions);
        topic
    }

    /// Sends messages, each with its key and its value, and waits until they are there.
    pub fn produce<'a>(&self, topic: &str, messages: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
        let mut config = self.config();
        let producer: BaseProducer<Arrivals> =
            config.set("enable.idempotence", "true").create_with_context(Arrivals).unwrap();
        for (key, value) in messages {
            let record = BaseRecord::<str, str>::to(topic).key(key);
            producer.send(if let Some(value) = value { record.payload(value) } else { record }).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        assert_eq!(producer.in_flight_count(), 0);
    }

    /// Sends these products as messages of a time, in Unix milliseconds.
    pub fn produce_at(&self, topic: &str, millis: i64, products: &[Value]) {
        let producer: BaseProducer<Arrivals> = self.config().create_with_context(Arrivals).unwrap();
        for product in products {
            let (key, value) = (product["id"].as_str().unwrap(), product.to_string());
            producer.send(BaseRecord::to(topic).key(key).payload(&value).timestamp(millis)).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Sends these products, in order, each with its id as its key.
    pub fn produce_all(&self, topic: &str, products: &[Value]) {
        let lines: Vec<(String, String)> =
            products.iter().map(|product| (product["id"].as_str().unwrap().to_owned(), product.to_string())).collect();
        self.produce(topic, lines.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))));
    }

    /// Sends products to partition 0 in a transaction of their own, which is committed or aborted.
    pub fn transact(&self, topic: &str, products: &[Value], is_committed: bool) {
        let mut config = self.config();
        let producer: BaseProducer<Arrivals> =
            config.set("transactional.id", name("transactions")).create_with_context(Arrivals).unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        for product in products {
            producer.send(BaseRecord::<(), str>::to(topic).partition(0).payload(&product.to_string())).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        let end =
            if is_committed { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) };
        end.unwrap();
    }

    /// The offset that a group committed for a partition; none before the first.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition(topic, partition);
        let found = consumer.committed_offsets(wanted, PATIENCE).unwrap();
        match found.elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    /// The end of a partition.
    pub fn end_of(&self, topic: &str, partition: i32) -> i64 {
        let consumer: BaseConsumer = self.config().create().unwrap();
        consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1
    }

    /// Whether the offsets of a group are at the end of each of so many partitions.
    pub fn is_committed(&self, group: &str, topic: &str, partitions: i32) -> bool {
        (0..partitions).all(|partition| self.committed(group, topic, partition) == Some(self.end_of(topic, partition)))
    }

    /// A member of a group that commits nothing.
    pub fn member(&self, group: &str, strategy: &str) -> BaseConsumer {
        let mut config = self.config();
        config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        config.set("partition.assignment.strategy", strategy).create().unwrap()
    }

    /// A pipeline that reads this topic, in a group of its own, and has its texts embedded there.
    pub fn pipeline(&self, topic: &str, provider: &Provider) -> Pipeline {
        let mut pipeline = Pipeline::new();
        self.read(&mut pipeline, topic, json!({}));
        pipeline.set(provider.setting());
        pipeline.set("batching={max_items: 20, max_wait: 5ms}");
        pipeline
    }

    /// From now on the pipeline reads this topic, with these settings beside.
    pub fn read(&self, pipeline: &mut Pipeline, topic: &str, more: Value) {
        let mut source = json!({
            "type": "kafka", "brokers": [self.address()], "topics": [topic], "group": format!("index-of-{topic}"),
            "commit_interval": "100ms",
            // As short as the broker allows: the group waits so long for a member that was killed.
            "settings": {
                "topic.metadata.refresh.interval.ms": "500", "statistics.interval.ms": "200",
                "session.timeout.ms": "6000", "heartbeat.interval.ms": "500",
            },
        });
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pipeline.set(format!("sources={}", json!({ "events": source })));
    }
}

#[cfg(feature = "kafka-tls")]
impl Broker {
    /// Where it speaks TLS.
    pub fn address_with_tls(&self) -> String {
        format!("127.0.0.1:{}", self.port + 3)
    }

    /// Where it speaks TLS and asks for the same user by SCRAM.
    pub fn address_with_scram(&self) -> String {
        format!("127.0.0.1:{}", self.port + 4)
    }

    /// The certificate of an authority: `ca.pem` made the broker's own, `other-ca.pem` did not.
    pub fn authority(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join("broker/certificates").join(file)
    }
}

/// A name that no other test uses.
pub fn name(what: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// So many products, each with a title of its own.
pub fn products(count: usize) -> Vec<Value> {
    let product = |n| json!({ "id": format!("p{n}"), "at": 1_700_000_000, "title": format!("thing number {n}") });
    (0..count).map(product).collect()
}

fn serve(folder: &Path, port: u16, advertised: u16) -> Result<Child, String> {
    let file = |name: &str| File::create(folder.join(name)).unwrap();
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/kafka.sh"))
        .arg("serve")
        .arg(folder.join("broker"))
        .args([port.to_string(), advertised.to_string()])
        // It ends when this pipe does, however the tests end.
        .stdin(Stdio::piped())
        .stdout(file("id"))
        .stderr(file("log"))
        .spawn()
        .map_err(|error| error.to_string())?;
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let give_up = Instant::now() + PATIENCE;
    while !read("id").ends_with('\n') {
        if let Some(status) = script.try_wait().unwrap() {
            match status.code() {
                Some(NOT_INSTALLED) => return Err(read("log").trim().to_owned()),
                _ => panic!("the broker ended ({status}):\n{}", read("log")),
            }
        }
        assert!(Instant::now() < give_up, "the broker does not answer:\n{}", read("log"));
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(script)
}
