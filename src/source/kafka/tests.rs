//! What needs a broker and no real one: librdkafka's own imitation.

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaApiKey, RDKafkaErrorCode, RDKafkaRespErr};
use tokio::time::timeout;

use super::context::Context;
use super::*;
use crate::source::{Partition, Record, Room};

const ROOM: Room = Room { records: 1000, bytes: 1 << 20 };

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

struct Broker(MockCluster<'static, DefaultProducerContext>);

impl Broker {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        Self(cluster)
    }

    fn produce(&self, value: &str) {
        self.produce_to("t", value);
    }

    fn produce_to(&self, topic: &str, value: &str) {
        let mut config = ClientConfig::new();
        let producer: BaseProducer = config.set("bootstrap.servers", self.0.bootstrap_servers()).create().unwrap();
        producer.send(BaseRecord::<(), str>::to(topic).payload(value)).unwrap();
        producer.flush(Duration::from_secs(30)).unwrap();
    }
}

fn source(broker: &Broker, more: &str) -> (KafkaSource, Clients) {
    let brokers = broker.0.bootstrap_servers();
    let settings = format!("{{ brokers: ['{brokers}'], topics: ['^[tu]$'], group: g, {more} }}");
    let clients = Clients::default();
    let desk = Desk {
        name: "events".into(),
        attributes: Attributes::used_by(&serde_yaml::from_str("{ id: id, text: '{{ text }}' }").unwrap()),
        metrics: Arc::new(Metrics::new()),
        clients: clients.clone(),
    };
    (KafkaSource::new(&serde_yaml::from_str(&settings).unwrap(), &desk), clients)
}

/// What librdkafka says of a partition that was read to this end.
fn read_to(end: i64) -> Statistics {
    let partition = rdkafka::statistics::Partition {
        fetch_state: "active".to_owned(),
        ls_offset: end,
        next_offset: end,
        eof_offset: end,
        committed_offset: -1,
        ..Default::default()
    };
    let topic = rdkafka::statistics::Topic { partitions: [(0, partition)].into(), ..Default::default() };
    Statistics { topics: [("t".to_owned(), topic)].into(), ..Statistics::default() }
}

/// The next records, or the first error.
async fn next(source: &mut KafkaSource) -> Result<Vec<Record>, SourceError> {
    let reads = async {
        loop {
            if let Read::Records(records) = source.read(ROOM).await? {
                return Ok(records);
            }
        }
    };
    timeout(LIMIT, reads).await.expect("no record comes")
}

/// Reads until this is so. What is read meanwhile is of no interest.
async fn read_until(what: &str, source: &mut KafkaSource, is_so: impl Fn(&State) -> bool) {
    let shared = source.shared.clone();
    let reads = async {
        while !is_so(&shared.state()) {
            let _ = source.read(ROOM).await;
        }
    };
    timeout(LIMIT, reads).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_client_that_failed_is_gone_before_the_next_begins_and_no_record_is_lost_by_it() {
    let broker = Broker::new();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    broker.0.request_errors(RDKafkaApiKey::OffsetFetch, &[refused]);
    // The imitation keeps the member of the client that is gone until its session is over.
    let session = "settings: { session.timeout.ms: '8000' }";
    let (mut source, clients) = source(&broker, &format!("start: latest, {session}"));
    source.open(Vec::new()).await.unwrap();
    // It may be said before the client is gone; then the source knows that it still runs.
    while source.running {
        let error = next(&mut source).await.unwrap_err().to_string();
        assert!(error.contains("where to begin"), "{error}");
    }
    assert!(clients.ended(Duration::ZERO).await, "it goes on beside the next one");
    // It is wrong until the next one has partitions.
    read_until("the next one has partitions", &mut source, |state| !state.assigned.is_empty()).await;
    assert_eq!(source.shared.state().trouble(), None);
    broker.produce("{1}");
    assert_eq!(next(&mut source).await.unwrap()[0].payload, "{1}");
}

#[tokio::test]
async fn a_client_that_panics_says_so_as_any_end_is_said_and_leaves_no_record_behind() {
    let broker = Broker::new();
    let (mut source, clients) = source(&broker, "");
    // What a client would do is done here.
    source.running = true;
    Context(source.shared.clone()).assigned(vec!["t[0]".to_owned()]);
    let position = position(&source, 1);
    let record = Record::new(bytes::Bytes::new(), position.clone(), crate::document::Version::default());
    source.shared.handover.push(vec![record]);
    client::to_its_end(&source.shared, clients.enter(), |_| panic!("told to"));
    assert!(clients.ended(Duration::ZERO).await);
    let read = source.read(ROOM).await.unwrap();
    assert!(matches!(&read, Read::Revoked(gone) if Arc::ptr_eq(&gone[0], &position.partition)), "{read:?}");
    let error = source.read(ROOM).await.unwrap_err().to_string();
    assert!(error.contains("told to") && !source.running, "{error}");
}

/// As of a source on a thread that hangs.
#[tokio::test]
async fn a_client_that_is_dismissed_leaves_its_group_though_its_source_is_there() {
    let broker = Broker::new();
    let (mut left_behind, clients) = source(&broker, "");
    left_behind.open(Vec::new()).await.unwrap();
    broker.produce("{1}");
    next(&mut left_behind).await.unwrap();
    clients.dismiss();
    assert!(clients.ended(LIMIT).await);
    assert!(left_behind.shared.state().assigned.is_empty());
}

#[tokio::test]
async fn nothing_is_handed_over_before_the_group_knows_where_latest_begins() {
    let broker = Broker::new();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    broker.0.request_errors(RDKafkaApiKey::OffsetCommit, &[refused; 2]);
    let session = "settings: { session.timeout.ms: '8000' }";
    let (mut source, clients) = source(&broker, &format!("start: latest, commit_interval: 1h, {session}"));
    source.open(Vec::new()).await.unwrap();
    let is_told = |state: &State| state.trouble().is_some_and(|reason| reason.contains("take down where to begin"));
    read_until("that the group could not be told is said", &mut source, is_told).await;
    broker.produce("{1}");
    assert_eq!(next(&mut source).await.unwrap()[0].payload, "{1}");
    assert_eq!(source.shared.state().uncommitted().count(), 0);
    assert_eq!(source.shared.state().trouble(), None);
    assert!(!clients.ended(Duration::ZERO).await, "the client goes on");
}

#[tokio::test]
async fn offsets_without_records_are_no_lag_once_all_before_them_is_settled() {
    let broker = Broker::new();
    let (source, _clients) = source(&broker, "");
    let context = Context(source.shared.clone());
    let lag = || source.desk.metrics.lag("events", "t[0]").get();
    context.assigned(vec!["t[0]".to_owned()]);
    let mut record = Record::new(bytes::Bytes::new(), position(&source, 1), crate::document::Version::default());
    assert!(source.shared.state().hand_over(&record));
    // One record, and the mark of the transaction behind it.
    context.stats(read_to(2));
    assert_eq!(lag(), 2, "the record is on its way");
    source.shared.state().offsets.settle("t[0]", 1);
    let not_at_its_end = |app_offset| {
        let mut statistics = read_to(2);
        let partition = statistics.topics.get_mut("t").unwrap().partitions.get_mut(&0).unwrap();
        (partition.eof_offset, partition.app_offset) = (-1001, app_offset);
        statistics
    };
    context.stats(not_at_its_end(-1001));
    assert_eq!(lag(), 1, "they may be of before, and another record there");
    context.stats(read_to(2));
    assert_eq!(lag(), 0);
    context.stats(not_at_its_end(1));
    assert_eq!(lag(), 1);
    context.stats(not_at_its_end(2));
    assert_eq!(lag(), 0, "the last record was taken, though more come before the end is told");
    record.position.partition = Arc::new(Partition { name: "t[0]".to_owned(), detail: String::new() });
    assert!(!source.shared.state().hand_over(&record), "what was fetched before the partition was taken away");
}

fn position(source: &KafkaSource, offset: u64) -> Position {
    let partition = source.shared.state().assigned["t[0]"].partition.clone();
    Position { partition, offset, ordinal: offset - 1 }
}

#[tokio::test]
async fn a_topic_that_was_made_since_is_read_from_its_beginning_by_latest_too() {
    let broker = Broker::new();
    broker.produce("{1}");
    // That topics are looked for within a second.
    let (mut source, _clients) = source(
        &broker,
        "start: latest, settings: { topic.metadata.refresh.interval.ms: '100', heartbeat.interval.ms: '100', session.timeout.ms: '8000' }",
    );
    source.open(Vec::new()).await.unwrap();
    let is_known = |state: &State| state.first_there.is_some() && !state.assigned.is_empty();
    read_until("the first topic is known", &mut source, is_known).await;
    broker.0.create_topic("u", 1, 1).unwrap();
    let begins = |state: &State| state.offsets.settled("u[0]").is_some() && state.uncommitted().count() == 0;
    read_until("the group knows where the new one begins", &mut source, begins).await;
    // For whoever reads it next: it may be another process, or this one after its end.
    assert!(source.shared.state().begins.is_empty(), "the group knows where it begins");
    broker.produce_to("u", "{2}");
    assert_eq!(next(&mut source).await.unwrap()[0].payload, "{2}");
}

#[tokio::test]
async fn that_the_group_cannot_be_told_is_said_while_the_partition_is_this_process_s() {
    let broker = Broker::new();
    let (source, _clients) = source(&broker, "");
    Context(source.shared.clone()).assigned(vec!["t[0]".to_owned()]);
    let mut state = source.shared.state();
    (state.begins, state.untold) = (["t[0]".to_owned()].into(), Some("no".to_owned()));
    assert_eq!(state.trouble().map(String::as_str), Some("no"));
    state.assigned.clear();
    assert_eq!(state.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_part_holds_up_no_record_and_is_the_end_when_nothing_comes_for_long() {
    const MISSING: &str = "there is no such topic";
    let broker = Broker::new();
    let (mut source, _clients) = source(&broker, "");
    // What a client would say is said here.
    source.running = true;
    let context = Context(source.shared.clone());
    context.assigned(vec!["t[0]".to_owned()]);
    source.shared.state().missing = Some(MISSING.to_owned());
    // How long it waits, and what for.
    let wait = async |source: &mut KafkaSource| {
        let since = Instant::now();
        loop {
            match source.read(ROOM).await {
                Ok(Read::Waiting) => assert_eq!(source.trouble().as_deref(), Some(MISSING)),
                end => return (since.elapsed(), end),
            }
        }
    };
    let is_about = |waited: Duration, expected| waited >= expected && waited <= expected + 2 * IDLE_WAIT;
    for _ in 0..2 {
        let shared = source.shared.clone();
        let record = Record::new(bytes::Bytes::new(), position(&source, 1), crate::document::Version::default());
        let late = PATIENCE_WITH_A_PART - IDLE_WAIT;
        let push = async {
            tokio::time::sleep(late).await;
            shared.handover.push(vec![record]);
        };
        let ((waited, read), ()) = tokio::join!(wait(&mut source), push);
        assert!(matches!(read, Ok(Read::Records(_))) && waited == late, "{read:?} after {waited:?}");
    }
    let (waited, read) = wait(&mut source).await;
    assert!(matches!(read, Ok(Read::Idle)) && is_about(waited, PATIENCE_WITH_A_PART), "{read:?} after {waited:?}");
    let (waited, read) = wait(&mut source).await;
    assert!(matches!(read, Ok(Read::Idle)) && waited <= IDLE_WAIT, "it stays the end: {read:?} after {waited:?}");

    source.shared.state().assigned.clear();
    assert_eq!(wait(&mut source).await.1.unwrap_err().to_string(), MISSING);
    let (waited, read) = wait(&mut source).await;
    assert!(read.is_err() && is_about(waited, PATIENCE), "with nothing else to read: {read:?} after {waited:?}");

    source.shared.state().missing = None;
    assert!(matches!(source.read(ROOM).await, Ok(Read::Waiting)));
    assert_eq!(source.trouble(), None);
}

#[tokio::test]
async fn only_what_pauses_for_want_of_room_is_resumed_when_there_is_some() {
    const NONE: [i32; 0] = [];
    let broker = Broker::new();
    let (source, _clients) = source(&broker, "");
    let assigned = |names: &[&str]| {
        Context(source.shared.clone()).assigned(names.iter().map(|name| (*name).to_owned()).collect());
    };
    let numbers = |partitions: TopicPartitionList| -> Vec<i32> {
        partitions.elements().iter().map(|part| part.partition()).collect()
    };
    let state = || source.shared.state();
    assigned(&["t[0]", "t[1]", "t[2]"]);
    assert_eq!(numbers(state().release()), NONE, "nothing pauses");
    assert_eq!(numbers(state().hold()), [0, 1, 2]);
    assert_eq!(numbers(state().hold()), NONE, "all of it does");
    // One comes, and one was taken away and is back: neither pauses.
    assigned(&["t[1]", "t[3]"]);
    assert_eq!(numbers(state().release()), [0, 2], "to resume the others would rewind them");
    assert_eq!(numbers(state().hold()), [0, 1, 2, 3]);
    state().begins = ["t[1]", "t[2]"].map(str::to_owned).into();
    let mut beginning = TopicPartitionList::new();
    beginning.add_partition("t", 1);
    assert_eq!(numbers(state().begun(&beginning)), NONE, "there is no room for it yet");
    assert_eq!(numbers(state().release()), [0, 1, 3], "one has not begun");
    let beginning = state().beginning();
    assert_eq!(numbers(state().begun(&beginning)), [2]);
    assert!(state().begins.is_empty());
}

#[tokio::test]
async fn the_end_is_not_reached_while_a_poll_holds_records() {
    let broker = Broker::new();
    let (source, _clients) = source(&broker, "");
    let context = Context(source.shared.clone());
    context.assigned(vec!["t[0]".to_owned()]);
    source.shared.state().topics = Some([("t".to_owned(), 1)].into());
    for (holds_records, caught_up) in [(true, false), (false, true)] {
        source.shared.state().holds_records = holds_records;
        context.stats(read_to(1));
        assert_eq!(source.shared.state().caught_up, caught_up);
    }
}

#[tokio::test]
async fn a_topic_that_may_be_read_after_all_is_told_no_more_once_every_topic_is_read() {
    let broker = Broker::new();
    let (source, _clients) = source(&broker, "");
    let context = Context(source.shared.clone());
    let refuse = |reason| context.error(KafkaError::Global(RDKafkaErrorCode::TopicAuthorizationFailed), reason);
    let trouble = || source.shared.state().trouble().cloned();
    let reads_on = || source.shared.state().reads_on();
    context.assigned(vec!["a[0]".to_owned()]);
    refuse("Fetch from broker 1 failed: Broker: Topic authorization failed");
    assert!(!reads_on(), "it is all there is");
    context.assigned(vec!["b[0]".to_owned()]);
    context.is_let_in("a");
    refuse("Fetch from broker 1 failed: Broker: Topic authorization failed");
    assert!(reads_on(), "it may be one, and the other may be quiet");
    context.is_let_in("a");
    assert!(trouble().unwrap().contains("may not read"), "it may be the other topic");
    context.is_let_in("b");
    assert_eq!(trouble(), None);
    refuse("Subscribed topic not available: c: Broker: Topic authorization failed");
    context.is_let_in("a");
    context.is_let_in("b");
    assert!(trouble().unwrap().contains(": c:"), "neither of them");
    assert!(reads_on());
    context.assigned(vec!["c[0]".to_owned()]);
    assert_eq!(trouble(), None);
}

#[tokio::test]
async fn statistics_that_were_gathered_while_the_connection_broke_do_not_say_that_it_is_back() {
    let broker = Broker::new();
    let (source, _clients) = source(&broker, "");
    let context = Context(source.shared.clone());
    let trouble = || source.shared.state().trouble().cloned();
    let breaks = || context.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
    let up = rdkafka::statistics::Broker { state: "UP".to_owned(), ..Default::default() };
    let statistics = || Statistics { brokers: [("a".to_owned(), up.clone())].into(), ..Statistics::default() };
    context.stats(statistics());
    for _ in 0..2 {
        breaks();
        context.stats(statistics());
        assert!(trouble().unwrap().contains("no broker can be reached"), "they may be older than the failure");
    }
    context.stats(statistics());
    assert_eq!(trouble(), None);
}
