//! The client's thread. It polls without end, also while nothing is taken from it, so that the group never puts it out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;

use super::context::{Context, Shared};
use super::handover::AT_ONCE;
use super::offsets;
use super::record::{Attributes, Parts, record};
use crate::settings::source::KafkaSettings;
use crate::source::Partition;
use crate::source::clients::Client;

/// How long a poll waits for a message.
const POLL: Duration = Duration::from_millis(50);
/// How long the thread waits for room before it pauses the partitions. Pausing throws away what was fetched ahead.
const ROOM: Duration = Duration::from_secs(1);

/// Starts the thread. It ends when the source is gone or the client cannot go on; `state.ended` says why. Only then may another be
/// started: what they share knows the partitions of one.
pub(super) fn start(
    settings: KafkaSettings,
    attributes: Attributes,
    shared: Arc<Shared>,
    client: Client,
) -> std::io::Result<()> {
    let name = format!("kafka {}", shared.name);
    std::thread::Builder::new().name(name).spawn(move || {
        let ended = run(&settings, &attributes, &shared);
        drop(client);
        shared.tell(|state| {
            state.assigned.clear();
            state.joined = false;
            if let Err(reason) = ended {
                state.ended = Some(reason);
            }
        });
    })?;
    Ok(())
}

fn run(settings: &KafkaSettings, attributes: &Attributes, shared: &Arc<Shared>) -> Result<(), String> {
    let config = super::settings::consumer(settings).map_err(|(key, text)| format!("`{key}`: {text}"))?;
    let consumer: BaseConsumer<Context> =
        config.create_with_context(Context(shared.clone())).map_err(|error| error.to_string())?;
    let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|error| error.to_string())?;
    let mut committing = None;
    let mut paused = false;
    loop {
        let (closing, failed) = {
            let state = shared.state();
            (state.closing, state.failed.clone())
        };
        if let Some(reason) = failed {
            return Err(reason);
        }
        if closing {
            let names: Vec<String> = shared.state().assigned.keys().cloned().collect();
            shared.commit_now(&consumer, &names);
            return Ok(());
        }
        let full = !shared.handover.has_room(ROOM);
        if full || paused {
            // Again and again while it is full: a rebalance brings partitions that are not paused.
            set_paused(&consumer, full).map_err(|error| error.to_string())?;
            paused = full;
        }
        poll(&consumer, attributes, settings.max_record.as_usize(), shared)?;
        shared.look(&consumer);
        if committing.is_none_or(|at: Instant| at.elapsed() >= settings.commit_interval.as_duration()) {
            commit(&consumer, shared);
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
    let (mut records, mut bytes) = (Vec::new(), 0);
    let mut here: Option<Here> = None;
    while records.len() < AT_ONCE.records && bytes < AT_ONCE.bytes {
        let message = match consumer.poll(if records.is_empty() { POLL } else { Duration::ZERO }) {
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
            if records.is_empty() {
                let mut state = shared.state();
                (state.caught_up, state.holds_records) = (false, true);
            }
            let record = record(&Parts::of(&message), &here.partition, attributes, max_record);
            bytes += record.payload.len();
            records.push(record);
        }
    }
    // A poll may have brought the partitions. Before anything of them is handed over: what is read and not settled when the process ends would
    // be left out by the next one, which begins at the end of that moment. Where it fails, the next interval commits it.
    let begins = std::mem::take(&mut shared.state().begins);
    if begins {
        let names: Vec<String> = shared.state().assigned.keys().cloned().collect();
        shared.commit_now(consumer, &names);
    }
    if !records.is_empty() {
        let mut state = shared.state();
        state.holds_records = false;
        // A poll may have brought a rebalance.
        records.retain(|record| state.is_assigned(&record.position.partition));
        drop(state);
        shared.handover.push(records);
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

fn set_paused(consumer: &BaseConsumer<Context>, paused: bool) -> Result<(), KafkaError> {
    let partitions = consumer.assignment()?;
    match paused {
        true => consumer.pause(&partitions),
        false => consumer.resume(&partitions),
    }
}

/// Begins to tell the broker what is settled.
fn commit(consumer: &BaseConsumer<Context>, shared: &Shared) {
    let news = shared.state().uncommitted();
    if news.count() > 0
        && let Err(error) = consumer.commit(&news, CommitMode::Async)
    {
        tracing::debug!(source = &*shared.name, %error, "offsets could not be committed");
    }
}
