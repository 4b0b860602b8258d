//! What librdkafka calls back: rebalances, errors, statistics, commits. All on the client's own thread.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use prometheus::IntGauge;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::handover::Handover;
use super::offsets::{self, Offsets, parse};
use super::subscription::{Subscription, Topics, no_such_topic, of_a_part};
use crate::settings::source::Start;
use crate::source::Partition;
use crate::telemetry::{Metrics, SourceHandle};

/// How long the broker may take to say which topics there are. The client's thread waits for it.
const LOOKING: Duration = Duration::from_secs(2);

/// How often the broker is asked which topics there are, beside after every rebalance.
const LOOK: Duration = Duration::from_secs(10);

/// How long a part of the partitions must stay the same until it is taken for all that this process gets.
const REBALANCE: Duration = Duration::from_secs(10);

/// How long a group takes to give partitions when nobody holds them.
const JOINING: Duration = Duration::from_secs(5);

/// How librdkafka begins what it says of a fetch that was refused, once for each partition until it is let in.
const FETCH: &str = "Fetch from broker";

const WAITS_FOR_GROUP: &str =
    "waiting for its group, which keeps partitions for a process that is cut off until `session.timeout.ms` is over";

/// What the client's thread and the source share.
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) start: Start,
    pub(super) subscription: Subscription,
    pub(super) handover: Handover,
    pub(super) state: Mutex<State>,
    /// Counts changes of what is assigned.
    pub(super) rebalances: AtomicU64,
    pub(super) metrics: Arc<Metrics>,
    pub(super) board: SourceHandle,
}

/// The [`Shared`] that librdkafka calls.
pub(super) struct Context(pub(super) Arc<Shared>);

impl Deref for Context {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) assigned: BTreeMap<String, Assigned>,
    /// Whether the group has said which partitions are this process's.
    pub(super) joined: bool,
    pub(super) offsets: Offsets,
    /// Whether every assigned partition was read to its end, as of the last statistics.
    pub(super) caught_up: bool,
    /// Whether `start: latest` has found out where it begins, and the group does not know it yet.
    pub(super) begins: bool,
    /// Whether a poll holds records that are not handed over yet. Statistics may come in the middle of it.
    pub(super) holds_records: bool,
    /// What there is to read, by this process or by others of its group; none until the broker said it after a rebalance.
    pub(super) topics: Option<Topics>,
    /// When the broker was last asked for them.
    looked: Option<Instant>,
    /// Since when a broker answers and the group says nothing.
    waiting_since: Option<Instant>,
    /// Since when the partitions are the same.
    assigned_since: Option<Instant>,
    /// Why no broker can be spoken to.
    connection: Option<String>,
    /// Set until the first statistics after a failure have come: librdkafka may have begun to gather them before it.
    doubts_statistics: bool,
    /// What the last connection that failed said.
    last_failure: String,
    /// Why the group or a topic cannot be read.
    group: Option<String>,
    /// Topics of which one may not be read, as `group` says: librdkafka does not say which.
    suspects: BTreeSet<String>,
    /// Which topics are not there.
    missing: Option<String>,
    /// What is right and yet worth knowing.
    remark: Option<String>,
    /// Why the client must end: what its callbacks say to its thread.
    pub(super) failed: Option<String>,
    /// Why the client ended: what its thread says when there is no consumer any more, so that the next may begin.
    pub(super) ended: Option<String>,
    /// Set when the source is gone.
    pub(super) closing: bool,
}

pub(super) struct Assigned {
    pub(super) partition: Arc<Partition>,
    lag: IntGauge,
    /// Where reading goes on, until it is known that the record there was not removed.
    from: Option<i64>,
}

impl State {
    /// Why nothing comes, if something is wrong.
    pub(super) fn trouble(&self) -> Option<&String> {
        let ended = self.ended.as_ref().or(self.failed.as_ref());
        ended.or(self.connection.as_ref()).or(self.group.as_ref()).or(self.missing.as_ref())
    }

    /// A client begins. Why the one before it ended stays what is wrong until this one has partitions.
    pub(super) fn begin(&mut self) {
        let reason = self.ended.take().or(self.failed.take());
        (self.failed, self.holds_records) = (None, false);
        if reason.is_some() {
            self.refuse(reason, BTreeSet::new());
        }
    }

    fn cut_off(&mut self, reason: String) {
        (self.connection, self.doubts_statistics) = (Some(reason), true);
    }

    fn refuse(&mut self, reason: Option<String>, suspects: BTreeSet<String>) {
        (self.group, self.suspects) = (reason, suspects);
    }

    /// Whether records of this partition are still this process's.
    pub(super) fn is_assigned(&self, partition: &Arc<Partition>) -> bool {
        self.assigned.get(&partition.name).is_some_and(|assigned| Arc::ptr_eq(&assigned.partition, partition))
    }

    /// What the broker does not know yet of what is settled.
    pub(super) fn uncommitted(&self) -> TopicPartitionList {
        self.offsets.news(self.assigned.keys())
    }

    /// Whether all there was is read, and the group's offsets say what the ledger says.
    pub(super) fn is_done(&self) -> bool {
        // A part may be all that a rebalance which is under way has brought so far.
        let is_whole = self.remark.is_none() && !self.assigned.is_empty();
        let is_stable = self.assigned_since.is_some_and(|since| since.elapsed() >= REBALANCE);
        self.joined
            && (is_whole || is_stable)
            && self.caught_up
            && self.trouble().is_none()
            && self.uncommitted().count() == 0
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Changes what is said of the source, and says it: one log line a change.
    pub(super) fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        let before = (state.trouble().cloned(), state.remark.clone());
        change(&mut state);
        let (trouble, remark) = (state.trouble().cloned(), state.remark.clone());
        drop(state);
        self.handover.news.notify_one();
        if (&trouble, &remark) == (&before.0, &before.1) {
            return;
        }
        let source = &*self.name;
        match (&trouble, &before.0) {
            (Some(reason), before) if before.as_ref() != Some(reason) => {
                tracing::warn!(source, reason, "Kafka cannot be read; trying again");
            }
            (None, Some(_)) => tracing::info!(source, "Kafka can be read again"),
            _ => {}
        }
        if let Some(remark) = remark.as_ref().filter(|remark| before.1.as_ref() != Some(remark)) {
            tracing::warn!(source, "{remark}");
        }
        self.board.remark(trouble.or(remark));
    }

    /// Asks which topics there are, when it is time to.
    pub(super) fn look(&self, consumer: &BaseConsumer<Context>) {
        {
            let state = self.state();
            let is_time = state.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
            // Also before the group says anything: it says nothing while there is no topic to read.
            if !(state.connection.is_none() && is_time) {
                return;
            }
        }
        let found = consumer.fetch_metadata(None, LOOKING).map(|metadata| self.subscription.found(&metadata));
        self.tell(|state| {
            state.looked = Some(Instant::now());
            match found {
                Ok(topics) => {
                    state.missing = self.subscription.missing(&topics);
                    state.topics = Some(topics);
                }
                Err(error) => {
                    tracing::debug!(source = &*self.name, %error, "the broker does not say which topics there are")
                }
            }
        });
    }

    fn assign(&self, consumer: &BaseConsumer<Context>, partitions: &mut TopicPartitionList) {
        if let Err(error) = self.place(consumer, partitions) {
            // Without an answer nothing is read: the client begins again.
            self.tell(|state| state.failed = Some(format!("the broker does not say where to begin: {error}")));
            return;
        }
        self.assigned(names(partitions).collect());
    }

    /// These partitions are this process's.
    pub(super) fn assigned(&self, names: Vec<String>) {
        // A rebalance among others may bring this process none.
        if !names.is_empty() {
            tracing::info!(source = &*self.name, partitions = names.join(", "), "reading partitions");
        }
        self.tell(|state| {
            state.joined = true;
            state.caught_up = false;
            state.assigned_since = Some(Instant::now());
            (state.topics, state.looked) = (None, None);
            state.refuse(None, BTreeSet::new());
            if state.waiting_since.take().is_some() {
                state.remark = None;
            }
            for name in names {
                let lag = self.metrics.lag(&self.name, &name);
                let partition = Arc::new(Partition { name: name.clone(), detail: String::new() });
                let from = state.offsets.settled(&name).and_then(|offset| i64::try_from(offset).ok());
                state.assigned.insert(name, Assigned { partition, lag, from });
            }
        });
    }

    /// Records of this topic come. Those that were fetched before it was refused come before each partition's refusal.
    pub(super) fn is_let_in(&self, topic: &str) {
        if !self.state().suspects.contains(topic) {
            return;
        }
        self.tell(|state| {
            state.suspects.remove(topic);
            if state.suspects.is_empty() {
                state.group = None;
            }
        });
    }

    fn revoke(&self, consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
        let names: Vec<String> = names(partitions).collect();
        // What is lost has another owner already, or will have.
        let lost = consumer.assignment_lost();
        if !lost {
            self.commit_now(consumer, &names);
        }
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            state.joined &= !lost;
            for name in &names {
                if let Some(assigned) = state.assigned.remove(name) {
                    self.metrics.forget_lag(&self.name, name);
                    gone.push(assigned.partition);
                }
            }
            state.caught_up = false;
            state.assigned_since = Some(Instant::now());
        }
        if !gone.is_empty() {
            tracing::info!(source = &*self.name, partitions = names.join(", "), "partitions were taken away");
            self.handover.revoke(gone);
        }
    }

    /// Tells the broker what is settled of these partitions and waits for its answer, unless it does not speak to us anyway.
    pub(super) fn commit_now(&self, consumer: &BaseConsumer<Context>, names: &[String]) {
        let state = self.state();
        let news = state.offsets.news(names);
        let spoken_to = state.connection.is_none();
        drop(state);
        if news.count() == 0 || !spoken_to {
            return;
        }
        if let Err(error) = consumer.commit(&news, CommitMode::Sync) {
            tracing::debug!(source = &*self.name, %error, "offsets could not be committed");
            return;
        }
        let mut state = self.state();
        for part in news.elements() {
            if let Offset::Offset(offset) = part.offset() {
                state.offsets.committed(&offsets::name(part.topic(), part.partition()), offset.unsigned_abs());
            }
        }
    }
}

/// What a line of librdkafka's log says of a connection that failed: `[thrd:host:port/1]: host:port/1: why`.
pub(super) fn connection_failure<'a>(facility: &str, message: &'a str) -> Option<&'a str> {
    (facility == "FAIL").then(|| message.split_once("]: ").map_or(message, |(_, reason)| reason))
}

fn names(partitions: &TopicPartitionList) -> impl Iterator<Item = String> {
    partitions.elements().into_iter().map(|part| offsets::name(part.topic(), part.partition()))
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let source = &*self.name;
        if let Some(reason) = connection_failure(facility, message) {
            self.state().last_failure = reason.to_owned();
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(source, facility, message, "librdkafka");
            }
            // What is wrong for long is told once as the state of the source; these lines come again and again.
            _ => tracing::debug!(source, facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let Some(code) = error.rdkafka_error_code() else { return };
        tracing::debug!(source = &*self.name, ?code, reason, "librdkafka");
        let reason = reason.to_owned();
        self.tell(|state| match code {
            // Wrong credentials end connections too, and say more.
            Code::AllBrokersDown => {
                let said = state.connection.take();
                let unreachable = || match &*state.last_failure {
                    "" => format!("no broker can be reached: {reason}"),
                    last => format!("no broker can be reached ({last}): {reason}"),
                };
                state.cut_off(said.unwrap_or_else(unreachable));
            }
            Code::Authentication | Code::SaslAuthenticationFailed => {
                state.cut_off(format!("the broker refuses the user or the password: look at `sasl` ({reason})"));
            }
            Code::SSL => state.cut_off(format!("no encrypted connection: look at `tls` ({reason})")),
            Code::UnknownTopic | Code::UnknownTopicOrPartition => {
                state.missing = Some(no_such_topic(&reason));
            }
            Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed => {
                // Of what is assigned only a topic can be refused, and only in a fetch; all else ends with an assignment.
                let topics = state.assigned.keys().filter_map(|name| parse(name)).map(|(topic, _)| topic.to_owned());
                let suspects = if reason.starts_with(FETCH) { topics.collect() } else { BTreeSet::new() };
                state.refuse(Some(format!("the user may not read: {reason}")), suspects);
            }
            Code::PollExceeded => {
                let reason = format!("it was too slow and was put out of the group; joining again: {reason}");
                state.refuse(Some(reason), BTreeSet::new());
            }
            // The broker has its own bounds for timeouts, and members of a group must share out partitions by the same rule.
            _ if reason.starts_with("JoinGroup failed") => {
                let reason = format!("the group does not let it in: look at `settings` ({reason})");
                state.refuse(Some(reason), BTreeSet::new());
            }
            _ => {}
        });
    }

    fn stats(&self, statistics: Statistics) {
        let is_up = statistics.brokers.values().any(|broker| broker.state == "UP");
        let at_hand = !self.handover.is_empty();
        self.tell(|state| {
            let connected = is_up && !mem::take(&mut state.doubts_statistics);
            if connected {
                state.connection = None;
            }
            let mut caught_up = !at_hand && !state.holds_records;
            let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
            let State { assigned, offsets, .. } = state;
            for (name, assigned) in assigned {
                let Some((topic, number)) = parse(name) else { continue };
                *shares.entry(topic).or_default() += 1;
                let about = statistics.topics.get(topic).and_then(|topic| topic.partitions.get(&number));
                let Some(about) = about.filter(|about| about.ls_offset >= 0 && about.next_offset >= 0) else {
                    caught_up = false;
                    continue;
                };
                caught_up &= about.next_offset >= about.ls_offset && about.fetchq_cnt == 0;
                if let Some(from) = assigned.from.take_if(|_| about.lo_offset >= 0)
                    && from < about.lo_offset
                {
                    tracing::warn!(
                        source = &*self.name,
                        partition = name,
                        from,
                        to = about.lo_offset,
                        "Kafka removed records before they were read, from one offset up to the other; going on with the oldest that is there"
                    );
                }
                if let Ok(committed) = u64::try_from(about.committed_offset) {
                    offsets.committed(name, committed);
                }
                let settled = offsets.settled(name).and_then(|offset| i64::try_from(offset).ok());
                assigned.lag.set((about.ls_offset - settled.unwrap_or(about.lo_offset.max(0))).max(0));
            }
            // Until the broker said which topics there are, the remark of before stands, and nobody knows whether this is all.
            state.caught_up = caught_up && state.topics.is_some();
            if state.closing {
                return;
            }
            if let Some(topics) = state.topics.as_ref().filter(|_| state.joined) {
                state.remark = of_a_part(topics, &shares);
            }
            if !connected {
                state.waiting_since = None;
            } else if !state.joined
                && state.missing.is_none()
                && state.waiting_since.get_or_insert_with(Instant::now).elapsed() >= JOINING
            {
                state.remark = Some(WAITS_FOR_GROUP.to_owned());
            }
        });
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Context>, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        self.rebalances.fetch_add(1, Ordering::Relaxed);
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = match (what, cooperative) {
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, cooperative) => {
                self.assign(consumer, partitions);
                let assigned = match cooperative {
                    true => consumer.incremental_assign(partitions),
                    false => consumer.assign(partitions),
                };
                // One that was taken away while it paused would pause for ever.
                assigned.and_then(|()| consumer.resume(partitions))
            }
            (_, true) => {
                self.revoke(consumer, partitions);
                consumer.incremental_unassign(partitions)
            }
            (_, false) => {
                self.revoke(consumer, partitions);
                consumer.unassign()
            }
        };
        if let Err(error) = done {
            self.tell(|state| state.failed = Some(format!("partitions could not be taken or given back: {error}")));
        }
    }
}
