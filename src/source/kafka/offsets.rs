//! How far each partition is settled, by the ledger, and how far the group's offsets say it is.
//!
//! The ledger is the truth of what is settled: a partition is read from its position there, whatever the group's offset says. Behind
//! the ledger the group's offset would repeat work; ahead of it (another process with another ledger had the partition meanwhile)
//! it would leave out what this index has never seen.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// A partition as positions name it: `topic[3]`.
pub(super) fn name(topic: &str, number: i32) -> String {
    format!("{topic}[{number}]")
}

/// The topic and the number in the name of a partition. A topic's name holds no bracket.
pub(super) fn parse(name: &str) -> Option<(&str, i32)> {
    let (topic, number) = name.strip_suffix(']')?.rsplit_once('[')?;
    Some((topic, number.parse().ok()?))
}

/// The names of these partitions.
pub(super) fn names(partitions: &TopicPartitionList) -> impl Iterator<Item = String> {
    partitions.elements().into_iter().map(|part| name(part.topic(), part.partition()))
}

/// See the module. By the names of partitions; each offset is that of the next record.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    /// In the ledger.
    settled: BTreeMap<String, i64>,
    /// At the broker, as far as this process knows.
    committed: BTreeMap<String, i64>,
}

impl Offsets {
    /// Everything before this offset is settled.
    pub(super) fn settle(&mut self, partition: &str, offset: i64) {
        self.settled.insert(partition.to_owned(), offset);
    }

    /// The first offset that is not settled, where any is.
    pub(super) fn settled(&self, partition: &str) -> Option<i64> {
        self.settled.get(partition).copied()
    }

    /// The topics of which anything is settled.
    pub(super) fn topics(&self) -> BTreeSet<String> {
        self.settled.keys().filter_map(|name| Some(parse(name)?.0.to_owned())).collect()
    }

    /// The broker has this offset.
    pub(super) fn committed(&mut self, partition: &str, offset: i64) {
        self.committed.insert(partition.to_owned(), offset);
    }

    /// What the broker does not know yet of these partitions.
    pub(super) fn news<'a>(&self, partitions: impl IntoIterator<Item = &'a String>) -> TopicPartitionList {
        let mut news = TopicPartitionList::new();
        for name in partitions {
            let unknown = self.settled(name).filter(|offset| self.committed.get(name) != Some(offset));
            if let (Some(offset), Some((topic, number))) = (unknown, parse(name)) {
                // Fails for negative offsets only.
                let _ = news.add_partition_offset(topic, number, Offset::Offset(offset));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_found_again_by_its_name() {
        assert_eq!(parse(&name("shop.events-1_a", 12)), Some(("shop.events-1_a", 12)));
        for other in ["shop", "shop[", "shop[]", "shop[x]", "journal:3"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn only_what_is_settled_and_new_to_the_broker_is_committed() {
        let mut offsets = Offsets::default();
        let told = |offsets: &Offsets, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let news = offsets.news(&names);
            news.elements().iter().map(|part| (part.partition(), part.offset())).collect::<Vec<_>>()
        };
        offsets.settle("t[0]", 5);
        offsets.settle("t[1]", 7);
        assert_eq!(told(&offsets, &["t[0]", "t[2]"]), [(0, Offset::Offset(5))], "of partitions that it has");
        offsets.committed("t[0]", 5);
        assert_eq!(told(&offsets, &["t[0]"]), []);
        offsets.settle("t[0]", 6);
        assert_eq!(told(&offsets, &["t[0]", "t[1]"]), [(0, Offset::Offset(6)), (1, Offset::Offset(7))]);
    }
}
