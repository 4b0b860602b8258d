//! What librdkafka calls back: rebalances, errors, statistics. All on the client's own thread.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::{Partition, Statistics};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::offsets::{names, parse};
use super::state::{Shared, State};
use super::subscription::{no_such_topic, of_a_part};

/// How long a group takes to give partitions when nobody holds them.
const JOINING: Duration = Duration::from_secs(5);

/// How librdkafka begins what it says of a fetch that was refused, once for each partition until it is let in.
const FETCH: &str = "Fetch from broker";

const WAITS_FOR_GROUP: &str =
    "waiting for its group, which keeps partitions for a process that is cut off until `session.timeout.ms` is over";

/// The [`Shared`] that librdkafka calls.
pub(super) struct Context(pub(super) Arc<Shared>);

impl Deref for Context {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Context {
    fn assign(&self, consumer: &BaseConsumer<Context>, partitions: &mut TopicPartitionList) {
        if let Err(error) = self.set_starts(consumer, partitions) {
            // Without an answer nothing is read: the client begins again.
            self.tell(|state| state.failed = Some(format!("the broker does not say where to begin: {error}")));
            return;
        }
        self.assigned(names(partitions).collect());
    }

    fn revoke(&self, consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
        let names: Vec<String> = names(partitions).collect();
        // What is lost has another owner already, or will have.
        let lost = consumer.assignment_lost();
        if !lost {
            // Where it fails, the group's offset is behind. Whoever has the partition next mostly asks its ledger, and not the group.
            let _ = self.commit_now(consumer);
        }
        self.state().joined &= !lost;
        self.let_go(&names);
    }
}

/// What a line of librdkafka's log says of a connection that failed: `[thrd:host:port/1]: host:port/1: why`.
pub(super) fn connection_failure<'a>(facility: &str, message: &'a str) -> Option<&'a str> {
    (facility == "FAIL").then(|| message.split_once("]: ").map_or(message, |(_, reason)| reason))
}

/// Whether everything in a partition was fetched and taken. For a moment after a partition came or was paused, the next offset is still
/// that of before; only then neither its end was reached since, nor the record before it taken.
fn is_read(about: &Partition) -> bool {
    about.fetch_state == "active"
        && about.next_offset >= about.ls_offset
        && (about.eof_offset == about.next_offset || about.app_offset == about.next_offset)
        && about.fetchq_cnt == 0
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
                let said = state.cut_off.take().map(|cut_off| cut_off.reason);
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
                state.refuse(format!("the user may not read: {reason}"), suspects);
            }
            Code::PollExceeded => {
                let reason = format!("it was too slow and was put out of the group; joining again: {reason}");
                state.refuse(reason, BTreeSet::new());
            }
            // The broker has its own bounds for timeouts, and members of a group must share out partitions by the same rule.
            _ if reason.starts_with("JoinGroup failed") => {
                let reason = format!("the group does not let it in: look at `settings` ({reason})");
                state.refuse(reason, BTreeSet::new());
            }
            _ => {}
        });
    }

    fn stats(&self, statistics: Statistics) {
        let is_up = statistics.brokers.values().any(|broker| broker.state == "UP");
        let at_hand = !self.handover.is_empty();
        self.tell(|state| {
            let connected = is_up && state.connected();
            let holds_records = state.holds_records;
            let mut caught_up = !at_hand && !holds_records;
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
                let is_read = is_read(about);
                caught_up &= is_read;
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
                if about.committed_offset >= 0 {
                    offsets.committed(name, about.committed_offset);
                }
                let settled = offsets.settled(name).unwrap_or(about.lo_offset.max(0));
                // What lies behind the last record then is none: a mark of a transaction, or what was aborted.
                let is_settled = is_read && !holds_records && assigned.handed_over.is_none_or(|offset| offset <= settled);
                let lag = if is_settled { 0 } else { (about.ls_offset - settled).max(0) };
                self.metrics.lag(&self.name, name).set(lag);
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
                let assigned =
                    if cooperative { consumer.incremental_assign(partitions) } else { consumer.assign(partitions) };
                // One that was taken away while it paused would pause for ever.
                let resumed = assigned.and_then(|()| consumer.resume(partitions));
                let beginning = self.state().beginning();
                resumed.and_then(|()| consumer.pause(&beginning))
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
