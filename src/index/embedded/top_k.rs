//! The best of many scores, in bounded memory.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::ledger::PointKey;

/// A point and how near it is. The greater one is nearer; of equal scores the older point counts as nearer, so that
/// equal questions have equal answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored {
    pub(super) score: f32,
    pub(super) key: PointKey,
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.key.cmp(&self.key))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scored {}

/// Keeps the nearest `width` points of all that it is offered.
#[derive(Debug)]
pub(super) struct TopK {
    width: usize,
    heap: BinaryHeap<Reverse<Scored>>,
}

impl TopK {
    pub(super) fn new(width: usize) -> Self {
        Self { width, heap: BinaryHeap::new() }
    }

    /// How many points it keeps.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn offer(&mut self, point: Scored) {
        if self.heap.len() < self.width {
            self.heap.push(Reverse(point));
        } else if let Some(mut farthest) = self.heap.peek_mut()
            && point > farthest.0
        {
            *farthest = Reverse(point);
        }
    }

    /// Whether there may be more points than those kept.
    pub(super) fn is_full(&self) -> bool {
        self.heap.len() == self.width
    }

    /// The kept points, nearest first.
    pub(super) fn into_sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(point)| point).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_what_sorting_all_would_put_first(
            scores in proptest::collection::vec(-3_i8..3, 0..60),
            width in 0_usize..20,
        ) {
            let mut all: Vec<Scored> =
                scores.iter().zip(1..).map(|(score, key)| Scored { score: f32::from(*score), key }).collect();
            let mut nearest = TopK::new(width);
            all.iter().for_each(|point| nearest.offer(*point));
            all.sort_by(|a, b| b.cmp(a));
            all.truncate(width);
            prop_assert_eq!(nearest.is_full(), all.len() == width);
            prop_assert_eq!(nearest.into_sorted(), all);
        }
    }
}
