//! Where each partition is read from: from its position in the ledger, else from where `start` says.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use super::context::Context;
use super::offsets;
use super::state::Shared;
use crate::settings::source::Start;

/// How long the broker may take to say where a partition begins.
const ASKING: Duration = Duration::from_secs(10);

impl Shared {
    /// Sets where each partition is read from.
    pub(super) fn set_starts(
        &self,
        consumer: &BaseConsumer<Context>,
        partitions: &mut TopicPartitionList,
    ) -> KafkaResult<()> {
        let mut fresh = TopicPartitionList::new();
        {
            let state = self.state();
            for mut part in partitions.elements() {
                match state.offsets.settled(&offsets::name(part.topic(), part.partition())) {
                    Some(offset) => part.set_offset(Offset::Offset(offset))?,
                    None => {
                        fresh.add_partition(part.topic(), part.partition());
                    }
                }
            }
        }
        if fresh.count() == 0 {
            return Ok(());
        }
        let found = match self.start {
            Start::Earliest => {
                fresh.set_all_offsets(Offset::Beginning)?;
                fresh
            }
            Start::At(time) => {
                let millis = i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
                since(consumer, fresh, millis.max(0))?
            }
            Start::Latest => self.now(consumer, fresh)?,
        };
        for part in found.elements() {
            part.error()?;
            partitions.set_partition_offset(part.topic(), part.partition(), part.offset())?;
        }
        Ok(())
    }

    /// What comes from now on. "Now" is kept as the group's offset until the ledger has a position: what comes while no process
    /// runs would else be left out. So would the beginning of a partition that a topic got later, and of a topic that was made while this
    /// process runs: all of it came since.
    fn now(&self, consumer: &BaseConsumer<Context>, fresh: TopicPartitionList) -> KafkaResult<TopicPartitionList> {
        let found = consumer.committed_offsets(fresh, ASKING)?;
        let is_known = |part: &TopicPartitionListElem<'_>| matches!(part.offset(), Offset::Offset(_));
        let (mut begun, first_there) = {
            let state = self.state();
            (state.offsets.topics(), state.first_there.clone())
        };
        let is_new = |topic: &str| first_there.as_ref().is_some_and(|there| !there.contains(topic));
        begun.extend(found.elements().iter().filter(|part| is_known(part)).map(|part| part.topic().to_owned()));
        let mut starts = Vec::new();
        for mut part in found.elements() {
            part.error()?;
            if !is_known(&part) {
                let (beginning, end) = consumer.fetch_watermarks(part.topic(), part.partition(), ASKING)?;
                let start = if begun.contains(part.topic()) || is_new(part.topic()) { beginning } else { end };
                part.set_offset(Offset::Offset(start))?;
                starts.push((offsets::name(part.topic(), part.partition()), start));
            }
        }
        // All or none: a topic of which one is known has begun.
        let mut state = self.state();
        for (name, start) in starts {
            state.offsets.settle(&name, start);
            state.begins.insert(name);
        }
        drop(state);
        Ok(found)
    }
}

/// The first records that are no older than this. Where there are none yet, the end as it was when that was found out: the client would
/// take that of a later moment.
fn since(
    consumer: &BaseConsumer<Context>,
    mut fresh: TopicPartitionList,
    millis: i64,
) -> KafkaResult<TopicPartitionList> {
    let ask = |mut of: TopicPartitionList| {
        of.set_all_offsets(Offset::Offset(millis))?;
        consumer.offsets_for_times(of, ASKING)
    };
    fresh = ask(fresh)?;
    for mut part in fresh.elements() {
        if part.offset() == Offset::End {
            let (_, end) = consumer.fetch_watermarks(part.topic(), part.partition(), ASKING)?;
            let mut one = TopicPartitionList::new();
            one.add_partition(part.topic(), part.partition());
            // What came between the two answers is found now.
            let again = ask(one)?;
            let found = again.elements().first().map(|part| part.error().map(|()| part.offset())).transpose()?;
            part.set_offset(found.filter(|offset| *offset != Offset::End).unwrap_or(Offset::Offset(end)))?;
        }
    }
    Ok(fresh)
}
