//! The HNSW graph: fast to search, and never the truth.

use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::fast::RandomState;
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use crate::document::vector;
use crate::index::distance::Scorer;
use crate::ledger::PointKey;
use crate::settings::index::Metric;

use super::long::Lengths;
use super::top_k::{Scored, TopK};
use super::twins::{Likeness, Twins};

// Chosen with `cargo bench --bench search`.
/// Links a point has on each level; twice as many on the lowest.
const CONNECTIVITY: usize = 16;
/// Candidates weighed for the links of a new point.
const EXPANSION_ADD: usize = 96;
/// Candidates weighed in a search, at least: the search that comes after reads far fewer from the ledger, which takes longer. A search
/// that wants more points weighs as many, and a graph of more than a quarter of a million nodes has more weighed: see [`expansion`].
const EXPANSION_SEARCH: usize = 512;
/// Half the memory of 32-bit floats and the same range. What it loses in precision is made good by scoring the best
/// candidates again with the ledger's vectors.
const SCALAR: ScalarKind = ScalarKind::BF16;
/// The room made when a graph gets its first point; doubled whenever it is full.
const FIRST_CAPACITY: usize = 1024;

/// What the vectors of a graph have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) metric: Metric,
    pub(super) dimensions: usize,
    /// How many threads may search at once, beside one that inserts.
    pub(super) searches: usize,
}

impl Shape {
    /// A graph without points.
    fn empty(self) -> Result<Index, String> {
        let metric = match self.metric {
            // Vectors are brought to length 1 first, and then the inner product is the cosine.
            Metric::Cosine | Metric::Dot => MetricKind::IP,
            Metric::L2 => MetricKind::L2sq,
        };
        let index = Index::new(&IndexOptions {
            dimensions: self.dimensions,
            metric,
            quantization: SCALAR,
            connectivity: CONNECTIVITY,
            expansion_add: EXPANSION_ADD,
            expansion_search: EXPANSION_SEARCH,
            multi: false,
        })
        .map_err(|error| error.to_string())?;
        // Before a load: it keeps the number of threads.
        index.reserve_capacity_and_threads(0, self.searches + 1).map_err(|error| error.to_string())?;
        Ok(index)
    }

    /// What the graph has of a vector.
    fn prepare(self, vector: &[f32]) -> Cow<'_, [f32]> {
        match self.metric {
            Metric::Cosine => {
                let mut unit = vector.to_vec();
                vector::normalise(&mut unit);
                Cow::Owned(unit)
            }
            Metric::Dot | Metric::L2 => Cow::Borrowed(vector),
        }
    }

    /// Adds a vector to an index of this shape.
    fn insert(self, index: &Index, key: PointKey, vector: &[f32]) -> Result<(), String> {
        let measure = |metric| match self.metric {
            Metric::Cosine | Metric::L2 => Ok(()),
            Metric::Dot => index.change_metric_kind(metric),
        };
        // Linked by angles: else the long ones would be in the links of all others, and the short ones in none.
        let linked = measure(MetricKind::Cos).and_then(|()| index.add(key, vector));
        linked.and(measure(MetricKind::IP)).map_err(|error| error.to_string())
    }

    fn score(self, distance: f32) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::Dot => 1.0 - distance,
            Metric::L2 => -distance.max(0.0).sqrt(),
        }
    }
}

/// Candidates weighed in a search among so many nodes. With as many for all sizes, of a million points that fill their space evenly every
/// tenth was not found by its own vector; with these, one in a hundred.
fn expansion(nodes: usize) -> usize {
    nodes.isqrt().max(EXPANSION_SEARCH)
}

/// A point that is in the graph, in a node of its own or in one with others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) key: PointKey,
    pub(super) likeness: Likeness,
    pub(super) length: f64,
}

/// The graph and which points it has.
pub(super) struct Graph {
    shape: Shape,
    index: Index,
    points: Vec<Point>,
    twins: Twins,
    /// Those of the nodes, with the inner product.
    lengths: Lengths,
    /// Every point of the ledger with a key up to this is in the graph.
    pub(super) covered: PointKey,
    /// Whether it is not as its file has it.
    pub(super) changed: bool,
}

impl Graph {
    pub(super) fn new(shape: Shape) -> Result<Self, String> {
        Ok(Self {
            shape,
            index: shape.empty()?,
            points: Vec::new(),
            twins: Twins::default(),
            lengths: Lengths::default(),
            covered: 0,
            changed: true,
        })
    }

    /// The graph as it was saved: into this new one, usearch has read a file that was checked. These are its points.
    pub(super) fn restored(mut self, points: Vec<Point>, covered: PointKey) -> Result<Self, String> {
        points.into_iter().for_each(|point| self.take_in(point));
        (self.covered, self.changed) = (covered, false);
        let index = &self.index;
        if index.size() != self.twins.nodes()
            || index.dimensions() != self.shape.dimensions
            || index.scalar_kind() != SCALAR
        {
            return Err("it holds another graph than it says".to_owned());
        }
        index.change_expansion_add(EXPANSION_ADD);
        index.change_expansion_search(expansion(index.size()));
        Ok(self)
    }

    /// Notes up to where it has every point.
    pub(super) fn cover(&mut self, key: PointKey) {
        self.changed |= self.covered != key;
        self.covered = key;
    }

    /// Adds a point, unless it is there.
    pub(super) fn add(&mut self, key: PointKey, vector: &[f32]) -> Result<(), String> {
        if self.contains(key) {
            return Ok(());
        }
        let length = vector::length(vector);
        let vector = self.shape.prepare(vector);
        let likeness = Likeness::of(&vector);
        if self.twins.node(likeness).is_none() {
            if self.index.size() == self.index.capacity() {
                let capacity = (self.index.size() * 2).max(FIRST_CAPACITY);
                let reserved = self.index.reserve_capacity_and_threads(capacity, self.shape.searches + 1);
                reserved.map_err(|error| error.to_string())?;
                self.index.change_expansion_search(expansion(capacity));
            }
            self.shape.insert(&self.index, key, &vector)?;
        }
        self.take_in(Point { key, likeness, length });
        self.changed = true;
        Ok(())
    }

    /// Notes a point for whose vector there is a node.
    fn take_in(&mut self, point: Point) {
        self.twins.add(point.key, point.likeness);
        if self.shape.metric == Metric::Dot && !self.twins.contains(point.key) {
            self.lengths.add(point.key, point.length);
        }
        self.points.push(point);
    }

    /// About the nearest points that are not dead, at most `width`, nearest first, with scores as near as the graph's
    /// numbers allow.
    pub(super) fn nearest(&self, query: &[f32], width: usize, dead: &HashSet<PointKey>) -> Result<Vec<Scored>, String> {
        let query = self.shape.prepare(query);
        let alive = |node| self.twins.of(node).filter(|key| !dead.contains(key));
        let lives = |node| alive(node).next().is_some();
        let long: HashSet<PointKey, RandomState> = self.lengths.long().filter(|node| lives(*node)).collect();
        let nodes = width.min(self.twins.nodes());
        let matches = if dead.is_empty() && long.is_empty() {
            self.index.search(&query, nodes)
        } else {
            self.index.filtered_search(&query, nodes, |node| !long.contains(&node) && lives(node))
        };
        let matches = matches.map_err(|error| error.to_string())?;
        let mut nearest = TopK::new(width);
        let mut offer = |node, score| alive(node).take(width).for_each(|key| nearest.offer(Scored { score, key }));
        for (node, distance) in matches.keys.into_iter().zip(matches.distances) {
            offer(node, self.shape.score(distance));
        }
        let scorer = Scorer::new(self.shape.metric, &query);
        let mut vector = vec![0.0_f32; self.shape.dimensions];
        for node in long {
            self.index.get(node, &mut vector).map_err(|error| error.to_string())?;
            offer(node, scorer.score(&vector));
        }
        Ok(nearest.into_sorted())
    }

    pub(super) fn contains(&self, key: PointKey) -> bool {
        self.index.contains(key) || self.twins.contains(key)
    }

    /// The points that were ever added, dead or not.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// Their keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = PointKey> {
        self.points.iter().map(|point| point.key)
    }

    /// The newest key that it knows of; 0 when it knows none. While it catches up, new points are in it before older ones are.
    pub(super) fn newest(&self) -> PointKey {
        self.keys().max().unwrap_or(0).max(self.covered)
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }
}
