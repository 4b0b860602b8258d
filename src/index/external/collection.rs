//! A collection of points in another system, such as Qdrant or a PostgreSQL table. Implement [`Collection`] in a file or folder of
//! `index`, add a variant to `settings::index` and an arm to [`collection()`](crate::index::collection()).
//!
//! A collection decides nothing: [`super::ExternalIndex`] says what is to be written, in which order, and what to do when it fails.
//! It never tries anything again by itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::document::{DocumentId, Vector};
use crate::index::Filter;
use crate::settings::index::Metric;
use crate::telemetry::figures::counted;

/// Names of fields that are Vectide's own, where a system keeps them beside the user's.
pub mod reserved {
    /// What all of them begin with.
    pub const PREFIX: &str = "vectide_";
    /// The document's id.
    pub const DOCUMENT: &str = "vectide_document";
    /// The number of the chunk.
    pub const CHUNK: &str = "vectide_chunk";
    /// All of the metadata as one text, where the system has no types for them.
    pub const METADATA: &str = "vectide_metadata";
}

/// One chunk of a document, as it shall be in the collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its id: the same chunk number of the same document always has the same one. Never twice in one call.
    pub id: Uuid,
    /// The document.
    pub document: DocumentId,
    /// The number of the chunk in it, from 0.
    pub chunk: usize,
    /// The document's metadata: a JSON object as canonical text.
    pub metadata: Arc<str>,
    /// Its numbers: as many as the collection has dimensions, all finite.
    pub vector: Vector,
}

/// The new metadata of a point that the collection holds.
#[derive(Debug, Clone, PartialEq)]
pub struct PointMetadata {
    /// The point.
    pub id: Uuid,
    /// Its document: stays as it is.
    pub document: DocumentId,
    /// The number of the chunk: stays as it is.
    pub chunk: usize,
    /// All of its metadata from now on, as canonical JSON text: what it does not name is gone.
    pub metadata: Arc<str>,
}

/// What to search for.
#[derive(Debug, Clone)]
pub struct Nearest<'a> {
    /// The vector to be near to.
    pub vector: &'a [f32],
    /// Which points count.
    pub filter: Option<&'a Filter>,
    /// How many points to return at most; at least 1.
    pub limit: usize,
}

/// A point that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// Its id, which tells it from that of another pipeline for the same chunk.
    pub id: Uuid,
    /// The document.
    pub document: DocumentId,
    /// The number of the chunk in it.
    pub chunk: usize,
    /// Nearness: larger is nearer. The cosine, which may lie a little beyond -1 and 1 as the system rounds; the inner product; or with L2
    /// the negative distance.
    pub score: f32,
}

/// How much one call may carry. A single point may exceed `bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bulk {
    /// Points; at least 1.
    pub points: usize,
    /// Bytes of vectors, metadata and ids together.
    pub bytes: usize,
    /// What one number of a vector takes on the wire: 4 in binary forms, about 11 in JSON.
    pub bytes_per_number: usize,
    /// Calls at once; at least 1.
    pub concurrency: usize,
}

/// What [`Collection::establish`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Established {
    /// There was none, and now there is: it is empty.
    Created,
    /// There was one that fits.
    Existing {
        /// How many points it holds, ours or not.
        points: u64,
    },
    /// There was one that fits, which counts what was written some time after it was written.
    Delayed {
        /// How many points it has counted, ours or not.
        points: u64,
    },
    /// There was one that fits, and it is not empty.
    Uncounted {
        /// It may hold more points than these, ours or not: to count them takes too long, or cannot be asked for.
        at_least: u64,
    },
}

impl Established {
    /// How many points it holds, or at least holds.
    pub fn points(self) -> u64 {
        match self {
            Self::Created => 0,
            Self::Existing { points } | Self::Delayed { points } | Self::Uncounted { at_least: points } => points,
        }
    }

    /// The same for a person.
    pub fn shown(self) -> String {
        let points = counted(self.points(), "point");
        if matches!(self, Self::Uncounted { .. }) { format!("at least {points}") } else { points }
    }
}

/// A point that the collection will never take as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPoint {
    /// Its place in the call, from 0.
    pub index: usize,
    /// Why, with the value named, so that a person can mend it.
    pub reason: String,
    /// Whether the system said so, and not its connector, which knows what the system cannot hold. A system may refuse for what it has
    /// become itself, so its word is put to the test.
    pub by_system: bool,
}

/// What is made of the points of a call for the system, and the points that it cannot hold, of which nothing can be made. `make` gets the
/// place of each point in the call, and tells why not.
pub fn fitting<'a, T>(
    points: &'a [Point],
    make: impl Fn(usize, &'a Point) -> Result<T, String>,
) -> (Vec<T>, Vec<RefusedPoint>) {
    let (mut made, mut refused) = (Vec::with_capacity(points.len()), Vec::new());
    for (index, point) in points.iter().enumerate() {
        match make(index, point) {
            Ok(fits) => made.push(fits),
            Err(reason) => refused.push(RefusedPoint { index, reason, by_system: false }),
        }
    }
    (made, refused)
}

/// What a question about the collection was answered; `None` when it is not there.
///
/// # Errors
/// All others.
pub fn if_there<T>(answer: Result<T, CollectionError>) -> Result<Option<T>, CollectionError> {
    match answer {
        Err(CollectionError::Missing(_)) => Ok(None),
        answer => answer.map(Some),
    }
}

/// The end of a call that did all but these.
pub fn done_but(refused: Vec<RefusedPoint>) -> Result<(), CollectionError> {
    if refused.is_empty() { Ok(()) } else { Err(CollectionError::Refused(refused)) }
}

/// Why a call did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollectionError {
    /// It may work later: down, slow, overloaded, limited. Whether it was done is not known.
    #[error("{reason}")]
    Unavailable {
        /// What happened.
        reason: String,
        /// When to ask again, where the system said it.
        after: Option<Duration>,
    },
    /// These points were refused; all others of the call are done.
    #[error("{} points were refused, the first because {}", .0.len(), .0.first().map_or("", |point| &point.reason))]
    Refused(Vec<RefusedPoint>),
    /// The call was refused for what one or some of its points are, and nothing of it was done. With a single point in the call, that
    /// one is refused.
    #[error("{0}")]
    OneRefused(String),
    /// The collection is not there: it was dropped.
    #[error("{0}")]
    Missing(String),
    /// The collection is not what the configuration says: another metric, another dimension, a field of another type. Names both.
    #[error("{0}")]
    Unfit(String),
    /// It will not work until a person acts: credentials, rights, a missing extension. Says what to do.
    #[error("{0}")]
    Fatal(String),
}

/// See the module. Every write is idempotent and durable when it is answered; calls may run beside each other. A call that writes carries
/// at least one point or id, and at most [`Collection::bulk`] of them.
pub trait Collection: Send + Sync + 'static {
    /// Where it is, for people: the kind of system, the address without any secret, the name. Two collections that have the same are told
    /// apart by [`Collection::mark`].
    fn place(&self) -> &str;

    /// What it has beside its place that no other collection has, as the system says it: the schema of a table, say. Asked for when it is
    /// established. `None` where the place says all.
    fn mark(&self) -> BoxFuture<'_, Result<Option<String>, CollectionError>> {
        async { Ok(None) }.boxed()
    }

    /// How nearness is measured.
    fn metric(&self) -> Metric;

    /// How much one call may carry.
    fn bulk(&self) -> Bulk;

    /// How long one question to the system may take; what takes longer is given up, and is [`CollectionError::Unavailable`].
    fn timeout(&self) -> Duration;

    /// Makes the collection when it is not there, with the right metric, dimension and types; else checks it. Cheap when all is
    /// there: it is called at every start, and again when it was found [`CollectionError::Missing`].
    fn establish(&self) -> BoxFuture<'_, Result<Established, CollectionError>>;

    /// As [`Collection::establish`], but makes nothing and changes nothing: `None` when it is not there.
    fn look(&self) -> BoxFuture<'_, Result<Option<Established>, CollectionError>>;

    /// Makes the collection hold these points; one that it has already is replaced whole.
    fn upsert<'a>(&'a self, points: &'a [Point]) -> BoxFuture<'a, Result<(), CollectionError>>;

    /// Replaces the metadata of points and leaves their vectors. Answers which of them (by their place in the call, ascending) were not
    /// done because the collection does not hold them, does not take them, or cannot do it: those are upserted with their vectors
    /// instead, which tells why one is refused. So it never fails with [`CollectionError::Refused`].
    ///
    /// By default all: for a system that cannot change a point without its vector.
    fn set_metadata<'a>(&'a self, points: &'a [PointMetadata]) -> BoxFuture<'a, Result<Vec<usize>, CollectionError>> {
        let all = (0..points.len()).collect();
        async move { Ok(all) }.boxed()
    }

    /// Removes points. Those that it does not hold are no error.
    fn delete<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), CollectionError>>;

    /// The nearest points, best first; `None` for one of others, which says no document and chunk. Fewer than [`Nearest::limit`], with
    /// those, mean that there are no more. May miss a write that was answered a moment ago, where the system is so made: the comment of its
    /// module says so. A filter that the system cannot be told is refused with [`CollectionError::OneRefused`].
    fn nearest<'a>(&'a self, nearest: Nearest<'a>) -> BoxFuture<'a, Result<Vec<Option<Neighbour>>, CollectionError>>;

    /// The most points that [`Collection::nearest`] can return.
    fn most_neighbours(&self) -> usize {
        10_000
    }
}
