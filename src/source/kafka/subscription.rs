//! Which topics are to be read, and what is said when some are not there or have partitions that others read.

use std::collections::BTreeMap;

use rdkafka::metadata::Metadata;
use regex_lite::Regex;

/// Topics that are to be read, each with the number of its partitions.
pub(super) type Topics = BTreeMap<String, usize>;

/// See the module.
pub(super) struct Subscription {
    names: Vec<String>,
    patterns: Vec<Regex>,
    /// Whether there are patterns that only librdkafka understands: it decides what is read, and their topics are not told.
    incomplete: bool,
}

impl Subscription {
    /// To these topics; one that begins with `^` is a pattern.
    pub(super) fn new(topics: &[String]) -> Self {
        let (patterns, names): (Vec<String>, Vec<String>) =
            topics.iter().cloned().partition(|topic| topic.starts_with('^'));
        let understood: Vec<Regex> = patterns.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect();
        Self { names, incomplete: understood.len() < patterns.len(), patterns: understood }
    }

    /// Those of the broker's topics that are to be read.
    pub(super) fn found(&self, metadata: &Metadata) -> Topics {
        let topics = metadata.topics().iter().filter(|topic| self.covers(topic.name()));
        topics.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect()
    }

    /// Whether this topic is read.
    pub(super) fn covers(&self, topic: &str) -> bool {
        self.names.iter().any(|name| name == topic) || self.patterns.iter().any(|pattern| pattern.is_match(topic))
    }

    /// What is said of topics that are named and not there, and of patterns when nothing matches any of them.
    pub(super) fn missing(&self, there: &Topics) -> Option<String> {
        if there.is_empty() && self.names.is_empty() && !self.incomplete {
            return Some("there is no topic yet whose name matches".to_owned());
        }
        let missing: Vec<&str> =
            self.names.iter().map(String::as_str).filter(|name| !there.contains_key(*name)).collect();
        (!missing.is_empty()).then(|| no_such_topic(&missing.join(", ")))
    }
}

/// What is said of topics that are not there.
pub(super) fn no_such_topic(which: &str) -> String {
    format!("there is no such topic, until it is made, or the user may not see it: {which}")
}

/// What is said when this process reads a part of these topics only. `shares`: how many partitions of each topic it has.
pub(super) fn of_a_part(there: &Topics, shares: &BTreeMap<&str, usize>) -> Option<String> {
    if shares.is_empty() {
        return Some("no partition is assigned to this process; others of its group read them".to_owned());
    }
    let parts = there.iter().filter_map(|(topic, total)| {
        let share = shares.get(topic.as_str()).copied().unwrap_or_default();
        (share < *total).then(|| format!("{share} of {total} partitions of {topic}"))
    });
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| {
        let parts = parts.join(", ");
        format!("{parts} are assigned to this process; its index holds the documents of those alone")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(topics: &[&str]) -> Subscription {
        Subscription::new(&topics.iter().map(|topic| (*topic).to_owned()).collect::<Vec<_>>())
    }

    fn topics(there: &[(&str, usize)]) -> Topics {
        there.iter().map(|(topic, partitions)| ((*topic).to_owned(), *partitions)).collect()
    }

    #[test]
    fn a_topic_is_read_for_its_name_or_for_a_pattern() {
        let subscription = subscription(&["orders", r"^shop\.[[:alpha:]]+$", "^broken("]);
        for (topic, covered) in
            [("orders", true), ("orders2", false), ("shop.events", true), ("shop.1", false), ("my.shop.events", false)]
        {
            assert_eq!(subscription.covers(topic), covered, "{topic}");
        }
    }

    #[test]
    fn a_name_that_no_topic_has_is_told_and_a_pattern_when_there_is_nothing_to_read() {
        let there = topics(&[("orders", 1)]);
        assert_eq!(subscription(&["orders", "^shop"]).missing(&there), None);
        assert_eq!(subscription(&["^shop", "^broken("]).missing(&topics(&[])), None, "who knows what it matches");
        assert!(subscription(&["^shop"]).missing(&topics(&[])).unwrap().contains("no topic yet"));
        let missing = subscription(&["a", "orders", "b", "^shop"]).missing(&there).unwrap();
        assert!(missing.ends_with(": a, b"), "{missing}");
    }

    #[test]
    fn every_topic_of_which_others_read_a_partition_is_told() {
        let there = topics(&[("a", 2), ("b", 3), ("c", 1)]);
        let said = |shares: &[(&'static str, usize)]| of_a_part(&there, &shares.iter().copied().collect());
        assert_eq!(said(&[("a", 2), ("b", 3), ("c", 1)]), None);
        let part = said(&[("a", 2), ("b", 1)]).unwrap();
        assert!(part.starts_with("1 of 3 partitions of b, 0 of 1 partitions of c are assigned"), "{part}");
        assert!(said(&[]).unwrap().starts_with("no partition"));
    }
}
