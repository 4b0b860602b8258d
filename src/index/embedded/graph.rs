//! The HNSW graph: fast to search, and never the truth.

use std::borrow::Cow;
use std::collections::HashSet;

use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use crate::document::vector;
use crate::ledger::PointKey;
use crate::settings::index::Metric;

use super::exact::Scored;
use super::twins::{Likeness, Twins};

// Chosen with `cargo bench --bench search`.
/// Links a point has on each level; twice as many on the lowest.
const CONNECTIVITY: usize = 16;
/// Candidates weighed for the links of a new point.
const EXPANSION_ADD: usize = 96;
/// Candidates weighed in a search, at least. A search that wants more points weighs as many.
const EXPANSION_SEARCH: usize = 64;
/// Half the memory of 32-bit floats and the same range, so that no vector overflows. What it loses in precision is
/// made good by scoring the best candidates again with the ledger's vectors.
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

    fn score(self, distance: f32) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::Dot => 1.0 - distance,
            Metric::L2 => -distance.max(0.0).sqrt(),
        }
    }
}

/// A point that is in the graph, in a node of its own or in one with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) key: PointKey,
    pub(super) likeness: Likeness,
}

/// The graph and which points it has.
pub(super) struct Graph {
    shape: Shape,
    index: Index,
    points: Vec<Point>,
    twins: Twins,
    /// Every point of the ledger with a key up to this is in the graph.
    pub(super) covered: PointKey,
}

impl Graph {
    pub(super) fn new(shape: Shape) -> Result<Self, String> {
        Ok(Self { shape, index: shape.empty()?, points: Vec::new(), twins: Twins::default(), covered: 0 })
    }

    /// A graph from a file of usearch that was checked: `fill` reads it into the empty one it is given.
    pub(super) fn restore(
        shape: Shape,
        points: Vec<Point>,
        covered: PointKey,
        fill: impl FnOnce(&Index) -> Result<(), String>,
    ) -> Result<Self, String> {
        let index = shape.empty()?;
        fill(&index)?;
        let mut twins = Twins::default();
        points.iter().for_each(|point| twins.add(point.key, point.likeness));
        if index.size() != twins.nodes() || index.dimensions() != shape.dimensions || index.scalar_kind() != SCALAR {
            return Err("it holds another graph than it says".to_owned());
        }
        index.change_expansion_add(EXPANSION_ADD);
        index.change_expansion_search(EXPANSION_SEARCH);
        Ok(Self { shape, index, points, twins, covered })
    }

    /// Adds a point, unless it is there.
    pub(super) fn add(&mut self, key: PointKey, vector: &[f32]) -> Result<(), String> {
        if self.contains(key) {
            return Ok(());
        }
        let vector = self.shape.prepare(vector);
        let likeness = Likeness::of(&vector);
        if self.twins.node(likeness).is_none() {
            if self.index.size() == self.index.capacity() {
                let capacity = (self.index.size() * 2).max(FIRST_CAPACITY);
                let reserved = self.index.reserve_capacity_and_threads(capacity, self.shape.searches + 1);
                reserved.map_err(|error| error.to_string())?;
            }
            self.index.add(key, &vector).map_err(|error| error.to_string())?;
        }
        self.twins.add(key, likeness);
        self.points.push(Point { key, likeness });
        Ok(())
    }

    /// About the nearest points that are not dead, at most `width`, in no order, with scores as near as the graph's
    /// numbers allow.
    pub(super) fn nearest(&self, query: &[f32], width: usize, dead: &HashSet<PointKey>) -> Result<Vec<Scored>, String> {
        let query = self.shape.prepare(query);
        let nodes = width.min(self.twins.nodes());
        let alive = |key: &PointKey| !dead.contains(key);
        let matches = if dead.is_empty() {
            self.index.search(&query, nodes)
        } else {
            self.index.filtered_search(&query, nodes, |node| self.twins.of(node).any(|key| alive(&key)))
        };
        let matches = matches.map_err(|error| error.to_string())?;
        let points = matches.keys.into_iter().zip(matches.distances).flat_map(|(node, distance)| {
            let score = self.shape.score(distance);
            self.twins.of(node).filter(alive).map(move |key| Scored { key, score })
        });
        Ok(points.take(width).collect())
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

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }
}
