//! The client's thread. It polls without end, also while nothing is taken from it, so that the group never puts it out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::context::Context;
use super::handover::AT_ONCE;
use super::offsets;
use super::record::{Attributes, record};
use super::state::Shared;
use crate::actor::panic::message;
use crate::settings::source::KafkaSettings;
use crate::source::Partition;
use crate::source::batch::Batch;
use crate::source::clients::Client;

/// How long a poll waits for a message.
const POLL: Duration = Duration::from_millis(50);
/// How long the thread waits for room before it pauses the partitions. Pausing throws away what was fetched ahead.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// How long after a failure the group is told again where `latest` begins.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the broker may take to say which topics there are. The thread waits for it.
const LOOKING: Duration = Duration::from_secs(2);
/// How often the broker is asked which topics there are, beside after every rebalance.
const LOOK: Duration = Duration::from_secs(10);

/// Starts the thread. It ends when the source is gone or the client cannot go on; `state.ended` says why. Only then may another be
/// started: what they share knows the partitions of one.
pub(super) fn start(
    settings: KafkaSettings,
    attributes: Attributes,
    shared: Arc<Shared>,
    client: Client,
) -> std::io::Result<()> {
    let name = format!("kafka {}", shared.name);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || to_its_end(&shared, client, |client| run(&settings, &attributes, &shared, client)))?;
    Ok(())
}

/// Runs a client, and says why it ended.
pub(super) fn to_its_end(shared: &Shared, client: Client, run: impl FnOnce(&Client) -> Result<(), String>) {
    // Without this the source would wait for a thread that is gone.
    let ended = catch_unwind(AssertUnwindSafe(|| run(&client)))
        .unwrap_or_else(|panic| Err(format!("the client met an error inside Vectide: {}", message(&*panic))));
    drop(client);
    // One that cannot go on does not give its partitions back.
    let left: Vec<String> = shared.state().assigned.keys().cloned().collect();
    shared.let_go(&left);
    shared.tell(|state| {
        state.joined = false;
        if let Err(reason) = ended {
            state.ended = Some(reason);
        }
    });
}

fn run(settings: &KafkaSettings, attributes: &Attributes, shared: &Arc<Shared>, client: &Client) -> Result<(), String> {
    let config = super::settings::consumer(settings).map_err(|(key, text)| format!("`{key}`: {text}"))?;
    let consumer: BaseConsumer<Context> =
        config.create_with_context(Context(shared.clone())).map_err(|error| error.to_string())?;
    let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|error| error.to_string())?;
    let (mut committing, mut tried) = (None, None);
    loop {
        let (closing, failed) = {
            let mut state = shared.state();
            // Dismissed: else it would keep its partitions from the client of the next actors.
            state.closing |= client.is_dismissed();
            (state.closing, state.failed.clone())
        };
        if let Some(reason) = failed {
            return Err(reason);
        }
        if closing {
            // Where it fails, the group's offsets are behind. They are only there to be looked at.
            let _ = shared.commit_now(&consumer);
            return Ok(());
        }
        let has_room = shared.handover.has_room(ROOM_WAIT);
        pause_or_resume(&consumer, has_room, shared).map_err(|error| error.to_string())?;
        poll(&consumer, attributes, settings.max_record.as_usize(), shared)?;
        look(&consumer, shared);
        if shared.state().beginning().count() > 0 && tried.is_none_or(|at: Instant| at.elapsed() >= AGAIN) {
            begin(&consumer, shared).map_err(|error| error.to_string())?;
            tried = Some(Instant::now());
        }
        if committing.is_none_or(|at: Instant| at.elapsed() >= settings.commit_interval.as_duration()) {
            shared.commit(&consumer);
            committing = Some(Instant::now());
        }
    }
}

/// Takes what the client has fetched, as much as one hand-over is good for, and waits a little when there is nothing.
fn poll(
    consumer: &BaseConsumer<Context>,
    attributes: &Attributes,
    max_record: usize,
    shared: &Shared,
) -> Result<(), String> {
    let mut batch = Batch::new(AT_ONCE);
    let mut here: Option<Here> = None;
    while !batch.is_full() {
        let message = match consumer.poll(if batch.len() == 0 { POLL } else { Duration::ZERO }) {
            Some(Ok(message)) => message,
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                return Err(format!("the client cannot go on: {code}"));
            }
            // The context was told, with the reason in words.
            Some(Err(_)) | None => break,
        };
        let rebalances = shared.rebalances.load(Ordering::Relaxed);
        let is_here = |here: &Here| {
            here.rebalances == rebalances && here.number == message.partition() && here.topic == message.topic()
        };
        if !here.as_ref().is_some_and(is_here) {
            let name = offsets::name(message.topic(), message.partition());
            let partition = shared.state().assigned.get(&name).map(|assigned| assigned.partition.clone());
            // What was fetched before a partition was taken away is not ours to give. The loop looks whether the client must end.
            let Some(partition) = partition else { break };
            shared.is_let_in(message.topic());
            here = Some(Here { rebalances, topic: message.topic().to_owned(), number: message.partition(), partition });
        }
        if let Some(here) = &here {
            if batch.len() == 0 {
                let mut state = shared.state();
                (state.caught_up, state.holds_records) = (false, true);
            }
            batch.push(record(&message, &here.partition, attributes, max_record));
        }
    }
    if let Some(mut records) = batch.records() {
        let mut state = shared.state();
        state.holds_records = false;
        // A poll may have brought a rebalance.
        records.retain(|record| state.hand_over(record));
        drop(state);
        shared.handover.push(records);
    }
    Ok(())
}

/// Tells the group where `start: latest` begins; only then records come. What is read and not settled when the process ends would else be
/// left out by the next one, which would begin at the end of that moment.
fn begin(consumer: &BaseConsumer<Context>, shared: &Shared) -> Result<(), KafkaError> {
    let beginning = shared.state().beginning();
    match shared.commit_now(consumer) {
        Ok(()) => {
            let mut begun = TopicPartitionList::new();
            shared.tell(|state| {
                state.untold = None;
                begun = state.begun(&beginning);
            });
            consumer.resume(&begun)?;
        }
        Err(error) => {
            let reason = format!("the broker does not take down where to begin: {error}");
            shared.tell(|state| state.untold = Some(reason));
        }
    }
    Ok(())
}

/// The partition that the last message came from: mostly the next one comes from it too.
struct Here {
    /// How many rebalances there had been.
    rebalances: u64,
    topic: String,
    number: i32,
    partition: Arc<Partition>,
}

/// Pauses the partitions while nothing more may be handed over, and resumes them when it may again.
fn pause_or_resume(consumer: &BaseConsumer<Context>, has_room: bool, shared: &Shared) -> Result<(), KafkaError> {
    // Not while the state is locked: librdkafka may have something to say before it answers.
    if has_room {
        let released = shared.state().release();
        consumer.resume(&released)
    } else {
        let held = shared.state().hold();
        consumer.pause(&held)
    }
}

/// Asks which topics there are, when it is time to.
fn look(consumer: &BaseConsumer<Context>, shared: &Shared) {
    {
        let state = shared.state();
        let is_time = state.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        // Also before the group says anything: it says nothing while there is no topic to read.
        if state.cut_off.is_some() || !is_time {
            return;
        }
    }
    let found = consumer.fetch_metadata(None, LOOKING);
    shared.tell(|state| {
        state.looked = Some(Instant::now());
        match found {
            Ok(there) => {
                let names = || there.topics().iter().map(|topic| topic.name().to_owned()).collect();
                state.first_there.get_or_insert_with(names);
                let topics = shared.subscription.found(&there);
                state.missing = shared.subscription.missing(&topics);
                state.topics = Some(topics);
            }
            Err(error) => {
                tracing::debug!(source = &*shared.name, %error, "the broker does not say which topics there are")
            }
        }
    });
}
