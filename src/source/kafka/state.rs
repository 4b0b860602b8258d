//! What the client's thread and the source share: what is read, how far, and what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::handover::Handover;
use super::offsets::{Offsets, names, parse};
use super::subscription::{Subscription, Topics};
use crate::settings::source::Start;
use crate::source::{Partition, Position, Record};
use crate::telemetry::Metrics;

/// How long a part of the partitions must stay the same until it is taken for all that this process gets.
const REBALANCE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) start: Start,
    pub(super) subscription: Subscription,
    pub(super) handover: Handover,
    pub(super) state: Mutex<State>,
    /// Counts changes of what is assigned.
    pub(super) rebalances: AtomicU64,
    pub(super) metrics: Arc<Metrics>,
}

/// What is read and how far, and what is wrong.
#[derive(Default)]
pub(super) struct State {
    pub(super) assigned: BTreeMap<String, Assigned>,
    /// Whether the group has said which partitions are this process's.
    pub(super) joined: bool,
    pub(super) offsets: Offsets,
    /// Whether every assigned partition was read to its end, as of the last statistics.
    pub(super) caught_up: bool,
    /// Partitions whose beginning by `start: latest` is known here and not yet committed to the group. They stay paused until it is.
    pub(super) begins: BTreeSet<String>,
    /// Why the group could not be told.
    pub(super) untold: Option<String>,
    /// Whether a poll holds records that are not handed over yet. Statistics may come in the middle of it.
    pub(super) holds_records: bool,
    /// What there is to read, by this process or by others of its group; none until the broker said it after a rebalance.
    pub(super) topics: Option<Topics>,
    /// The broker's topics when it first named them, read or not: others were made since.
    pub(super) first_there: Option<BTreeSet<String>>,
    /// When the broker was last asked for them.
    pub(super) looked: Option<Instant>,
    /// Since when a broker answers and the group says nothing.
    pub(super) waiting_since: Option<Instant>,
    /// Since when the partitions are the same.
    pub(super) assigned_since: Option<Instant>,
    /// Why no broker can be spoken to.
    pub(super) cut_off: Option<CutOff>,
    /// What the last connection that failed said.
    pub(super) last_failure: String,
    /// Why the group or a topic cannot be read.
    pub(super) refused: Option<Refused>,
    /// Which topics are not there.
    pub(super) missing: Option<String>,
    /// What is right and yet worth knowing.
    pub(super) remark: Option<String>,
    /// Why the client must end: what its callbacks say to its thread.
    pub(super) failed: Option<String>,
    /// Why the client ended: what its thread says when there is no consumer any more, so that the next may begin.
    pub(super) ended: Option<String>,
    /// Set when the source is gone.
    pub(super) closing: bool,
}

/// A partition that is this process's.
pub(super) struct Assigned {
    pub(super) partition: Arc<Partition>,
    /// Where reading goes on, until it is known that the record there was not removed.
    pub(super) from: Option<i64>,
    /// The offset behind the last record that was handed over.
    pub(super) handed_over: Option<i64>,
    /// Whether it pauses for want of room. It may pause for its beginning too.
    is_held: bool,
}

/// No broker can be spoken to.
pub(super) struct CutOff {
    pub(super) reason: String,
    /// Until the first statistics have come: librdkafka may have begun to gather them before the connection broke.
    doubts_statistics: bool,
}

/// The group or a topic cannot be read.
pub(super) struct Refused {
    reason: String,
    /// The topics of which one is refused: librdkafka does not say which. None where it is the group, or a topic of which nothing is
    /// assigned; then it stands until the next assignment.
    suspects: BTreeSet<String>,
}

impl State {
    /// Why the client gets nothing at all.
    fn outage(&self) -> Option<&String> {
        let ended = self.ended.as_ref().or(self.failed.as_ref());
        ended.or(self.cut_off.as_ref().map(|cut_off| &cut_off.reason))
    }

    /// Whether what is wrong may leave something to be read.
    pub(super) fn reads_on(&self) -> bool {
        // Of several that it may be, one is not to be read, and the others are.
        let refused = self.refused.as_ref().filter(|refused| refused.suspects.len() == 1);
        let is_refused = |name: &str| {
            parse(name).is_some_and(|(topic, _)| refused.is_some_and(|refused| refused.suspects.contains(topic)))
        };
        let waits = |name: &String| self.untold.is_some() && self.begins.contains(name);
        self.outage().is_none() && self.assigned.keys().any(|name| !is_refused(name) && !waits(name))
    }

    /// What is wrong, if something is.
    pub(super) fn trouble(&self) -> Option<&String> {
        let refused = self.refused.as_ref().map(|refused| &refused.reason);
        // Partitions that are another's now are told by that one.
        let untold = self.untold.as_ref().filter(|_| self.assigned.keys().any(|name| self.begins.contains(name)));
        self.outage().or(refused).or(untold).or(self.missing.as_ref())
    }

    /// A client begins. Why the one before it ended stays what is wrong until this one has partitions.
    pub(super) fn begin(&mut self) {
        (self.holds_records, self.untold) = (false, None);
        let (ended, failed) = (self.ended.take(), self.failed.take());
        if let Some(reason) = ended.or(failed) {
            self.refuse(reason, BTreeSet::new());
        }
    }

    /// No broker can be spoken to.
    pub(super) fn cut_off(&mut self, reason: String) {
        self.cut_off = Some(CutOff { reason, doubts_statistics: true });
    }

    /// Statistics say that a broker answers. Whether that is so.
    pub(super) fn connected(&mut self) -> bool {
        if self.cut_off.as_mut().is_some_and(|cut_off| mem::take(&mut cut_off.doubts_statistics)) {
            return false;
        }
        self.cut_off = None;
        true
    }

    /// The group cannot be read, or one of these topics.
    pub(super) fn refuse(&mut self, reason: String, suspects: BTreeSet<String>) {
        self.refused = Some(Refused { reason, suspects });
    }

    /// Notes that this record is handed over, unless its partition is no longer this process's. Returns whether it may be.
    pub(super) fn hand_over(&mut self, record: &Record) -> bool {
        let Position { partition, offset, .. } = &record.position;
        let assigned = self.assigned.get_mut(&partition.name);
        let Some(assigned) = assigned.filter(|assigned| Arc::ptr_eq(&assigned.partition, partition)) else {
            return false;
        };
        assigned.handed_over = Some(offset.cast_signed());
        true
    }

    /// The partitions of this process that pause, because the group does not know where they begin.
    pub(super) fn beginning(&self) -> TopicPartitionList {
        list(self.assigned.keys().filter(|name| self.begins.contains(*name)))
    }

    /// The group knows where these begin. Returns those to resume: not those that are held, which go on when there is room.
    pub(super) fn begun(&mut self, beginning: &TopicPartitionList) -> TopicPartitionList {
        let names: Vec<String> = names(beginning).collect();
        self.begins.retain(|name| !names.contains(name));
        list(names.iter().filter(|name| self.assigned.get(*name).is_some_and(|assigned| !assigned.is_held)))
    }

    /// Holds all partitions for want of room. Returns those to pause: the ones that were not held already.
    pub(super) fn hold(&mut self) -> TopicPartitionList {
        let loose = self.assigned.iter_mut().filter(|(_, assigned)| !assigned.is_held);
        list(loose.map(|(name, assigned)| {
            assigned.is_held = true;
            name
        }))
    }

    /// Lets held partitions go on. Returns those to resume: not those assigned since, because resuming a partition that is not paused
    /// rewinds it, and not those that still wait for their beginning.
    pub(super) fn release(&mut self) -> TopicPartitionList {
        let held = self.assigned.iter_mut().filter(|(_, assigned)| assigned.is_held);
        let released = held.map(|(name, assigned)| {
            assigned.is_held = false;
            name
        });
        list(released.filter(|name| !self.begins.contains(*name)))
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

/// The partitions of these names.
fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> TopicPartitionList {
    let mut partitions = TopicPartitionList::new();
    for (topic, number) in names.into_iter().filter_map(|name| parse(name)) {
        partitions.add_partition(topic, number);
    }
    partitions
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Changes what is said of the source, and logs it: one line a change.
    pub(super) fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        let before = (state.trouble().cloned(), state.remark.clone());
        change(&mut state);
        let (trouble, remark) = (state.trouble().cloned(), state.remark.clone());
        drop(state);
        self.handover.news.notify_one();
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
            state.refused = None;
            if state.waiting_since.take().is_some() {
                state.remark = None;
            }
            for name in names {
                let partition = Arc::new(Partition { name: name.clone(), detail: String::new() });
                let from = state.offsets.settled(&name);
                state.assigned.insert(name, Assigned { partition, from, handed_over: None, is_held: false });
            }
        });
    }

    /// These partitions are no longer this process's: what is held of them is let go.
    pub(super) fn let_go(&self, names: &[String]) {
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            for name in names {
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

    /// Records of this topic come. Those that were fetched before it was refused come before each partition's refusal.
    pub(super) fn is_let_in(&self, topic: &str) {
        if !self.state().refused.as_ref().is_some_and(|refused| refused.suspects.contains(topic)) {
            return;
        }
        self.tell(|state| {
            state.refused.take_if(|refused| refused.suspects.remove(topic) && refused.suspects.is_empty());
        });
    }
}
