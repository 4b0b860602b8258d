//! Which nodes of the graph have vectors much longer than the others.
//!
//! With the inner product these are near to most questions, whatever way they point, and links between points of about one
//! direction do not lead to all of them. So the graph's links are not followed to them: they are compared one by one.

use std::collections::BTreeSet;

use crate::ledger::PointKey;

/// So many times the geometric mean of all lengths, which a few odd ones hardly move, is much longer.
const MUCH: f64 = 2.0;

/// The lengths of nodes.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// Those that are not zero, as their bits, which are in the same order.
    sorted: BTreeSet<(u64, PointKey)>,
    logarithms: f64,
}

impl Lengths {
    /// Takes in a node that is not there.
    pub(super) fn add(&mut self, key: PointKey, length: f64) {
        if length > 0.0 {
            self.sorted.insert((length.to_bits(), key));
            self.logarithms += length.ln();
        }
    }

    /// The nodes that are much longer than the others.
    pub(super) fn long(&self) -> impl Iterator<Item = PointKey> {
        let mean = (self.logarithms / self.sorted.len().max(1) as f64).exp();
        self.sorted.range(((mean * MUCH).to_bits(), 0)..).map(|(_, key)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(lengths: &[f64]) -> Vec<PointKey> {
        let mut all = Lengths::default();
        lengths.iter().zip(0..).for_each(|(length, key)| all.add(key, *length));
        all.long().collect()
    }

    #[test]
    fn nodes_are_long_by_what_most_others_are() {
        for alike in [&[][..], &[0.0, 0.0], &[1.0, 0.9, 1.1, 1.2, 0.8], &[1e-40; 9]] {
            assert!(long(alike).is_empty(), "{alike:?}");
        }
        // One of no length says nothing of the others, and the longest of all does not hide one that is only long.
        let mut lengths = vec![1.0; 1_000];
        lengths.extend([0.0, 1e38, 2.5, 1.5]);
        assert_eq!(long(&lengths), [1_002, 1_001]);
    }
}
