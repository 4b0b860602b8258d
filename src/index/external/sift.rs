//! Filters in systems that cannot be told all of one.
//!
//! The system lets through what a wider condition allows, and [`Filter::matches`] decides here. So a filter means the same everywhere.

use serde_json::Value;

use crate::index::Filter;

use super::collection::{CollectionError, Neighbour};

/// The most points that are looked at for one search.
const MOST: usize = 16_384;

/// One search: how many points to ask for, and what of them matches.
pub struct Sift<'a> {
    filter: &'a Filter,
    limit: usize,
    asked: usize,
}

impl<'a> Sift<'a> {
    /// For the nearest `limit` points that match.
    pub fn new(filter: &'a Filter, limit: usize) -> Self {
        Self { filter, limit, asked: limit.min(MOST) }
    }

    /// How many of the points that the system lets through are to be asked for.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Takes the answer: the nearest, best first, with their metadata, and `None` for points of others, which match nothing; fewer than
    /// were asked for only when there are no more. Answers `None` when too few of them match: then more are to be asked for.
    ///
    /// # Errors
    /// [`CollectionError::OneRefused`] when too few match and no more can be asked for.
    pub fn pass(&mut self, found: Vec<Option<(Neighbour, Value)>>) -> Result<Option<Vec<Neighbour>>, CollectionError> {
        let all = found.len() < self.asked;
        let matching = found.into_iter().flatten().filter(|(_, metadata)| self.filter.matches(metadata));
        let passed: Vec<_> = matching.map(|(neighbour, _)| neighbour).take(self.limit).collect();
        if all || passed.len() == self.limit {
            return Ok(Some(passed));
        }
        if self.asked == MOST {
            return Err(CollectionError::OneRefused(format!(
                "of the nearest {MOST} points that the index can be told to look at, {} match the filter and {} are wanted; ask for fewer, or say \
                 more of what a field is and less of what it is not",
                passed.len(),
                self.limit
            )));
        }
        self.asked = (self.asked * 4).clamp(64, MOST);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use crate::document::DocumentId;

    use super::*;

    /// What is found in a system that holds `count` points numbered by nearness, and how many it was asked for each time.
    fn sifted(count: usize, filter: Value, limit: usize) -> (Result<Vec<usize>, CollectionError>, Vec<usize>) {
        sifted_behind(0, count, filter, limit)
    }

    /// As [`sifted`], where the first points are of others.
    fn sifted_behind(
        others: usize,
        count: usize,
        filter: Value,
        limit: usize,
    ) -> (Result<Vec<usize>, CollectionError>, Vec<usize>) {
        let point = |n: usize| {
            let document = DocumentId::new("d").unwrap();
            (n >= others).then(|| (Neighbour { id: Uuid::nil(), document, chunk: n, score: 0.0 }, json!({ "n": n })))
        };
        let filter = Filter::from_json(&filter).unwrap();
        let (mut sift, mut asked) = (Sift::new(&filter, limit), Vec::new());
        loop {
            asked.push(sift.asked());
            match sift.pass((0..count.min(sift.asked())).map(point).collect()) {
                Ok(Some(found)) => return (Ok(found.iter().map(|neighbour| neighbour.chunk).collect()), asked),
                Ok(None) => {}
                Err(error) => return (Err(error), asked),
            }
        }
    }

    #[test]
    fn more_is_asked_for_until_enough_match_or_there_are_no_more() {
        assert_eq!(sifted(1_000, json!({}), 3), (Ok(vec![0, 1, 2]), vec![3]));
        assert_eq!(sifted(1_000, json!({"n": {"gte": 70}}), 2), (Ok(vec![70, 71]), vec![2, 64, 256]));
        assert_eq!(sifted(100, json!({"n": {"gte": 99}}), 2), (Ok(vec![99]), vec![2, 64, 256]));
        assert_eq!(sifted(0, json!({}), 2), (Ok(vec![]), vec![2]));
    }

    #[test]
    fn points_of_others_do_not_end_it_and_are_passed_by() {
        assert_eq!(sifted_behind(10, 1_000, json!({}), 2), (Ok(vec![10, 11]), vec![2, 64]));
        assert_eq!(sifted_behind(70, 72, json!({}), 3), (Ok(vec![70, 71]), vec![3, 64, 256]));
    }

    #[test]
    fn an_answer_that_may_be_wrong_is_none() {
        let (found, asked) = sifted(100_000, json!({"n": {"gte": 50_000}}), 5);
        assert!(matches!(found, Err(CollectionError::OneRefused(text)) if text.contains("16384")));
        assert_eq!(asked, [5, 64, 256, 1_024, 4_096, 16_384]);
        // All of the last question's answer count, as long as they are enough.
        assert_eq!(sifted(100_000, json!({"n": {"gte": 16_383}}), 1).0, Ok(vec![16_383]));
    }
}
