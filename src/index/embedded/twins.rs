//! Points with one vector share a node of the graph.
//!
//! With nodes of their own they would be each other's nearest neighbours: they would fill the links of each other, and the graph would
//! fall apart into islands that no search gets out of. Documents with one text are common: placeholders, products in ten colours.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use sha2::{Digest, Sha256};

use crate::document::vector;
use crate::ledger::PointKey;

/// What stands for the numbers of a vector: eight bytes of a SHA-256. That two vectors of ten million share them is a matter of one index
/// in 400,000, and then one of the two is looked for where the other is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Likeness(pub(super) u64);

impl Likeness {
    pub(super) fn of(vector: &[f32]) -> Self {
        let hash: [u8; 32] = Sha256::digest(vector::to_bytes(vector)).into();
        Self(u64::from_le_bytes(*hash.first_chunk().expect("32 bytes begin with 8")))
    }
}

/// Which points share a node.
#[derive(Default)]
pub(super) struct Twins {
    /// The node of each vector: the first point that had it.
    nodes: HashMap<Likeness, PointKey, RandomState>,
    /// The points beside the first, by their node.
    others: HashMap<PointKey, Vec<PointKey>>,
    /// All of them.
    without_node: HashSet<PointKey>,
}

impl Twins {
    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The node for a vector like this, if there is one.
    pub(super) fn node(&self, likeness: Likeness) -> Option<PointKey> {
        self.nodes.get(&likeness).copied()
    }

    /// Takes a point in: as one of the node for its vector, or as a node of its own.
    pub(super) fn add(&mut self, key: PointKey, likeness: Likeness) {
        let node = *self.nodes.entry(likeness).or_insert(key);
        if node != key {
            self.others.entry(node).or_default().push(key);
            self.without_node.insert(key);
        }
    }

    /// Whether this is a point without a node of its own.
    pub(super) fn contains(&self, key: PointKey) -> bool {
        self.without_node.contains(&key)
    }

    /// The points of a node, the node's own first.
    pub(super) fn of(&self, node: PointKey) -> impl Iterator<Item = PointKey> {
        std::iter::once(node).chain(self.others.get(&node).into_iter().flatten().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_point_with_a_vector_is_its_node() {
        let (a, b) = (Likeness::of(&[1.0, 0.5]), Likeness::of(&[1.0, 0.25]));
        assert_eq!(a, Likeness::of(&[1.0, 0.5]));
        let mut twins = Twins::default();
        for (key, likeness) in [(3, a), (4, b), (5, a), (9, a)] {
            twins.add(key, likeness);
        }
        assert_eq!((twins.nodes(), twins.node(a), twins.node(b)), (2, Some(3), Some(4)));
        assert_eq!(twins.of(3).collect::<Vec<_>>(), [3, 5, 9]);
        assert_eq!(twins.of(4).collect::<Vec<_>>(), [4]);
        assert_eq!([3, 4, 5, 9].map(|key| twins.contains(key)), [false, false, true, true]);
    }
}
