//! What holds vectors and finds the nearest. Implement [`VectorIndex`], add a variant to `settings::index` and an arm to `index::build`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::actor::pulse;
use crate::document::{DocumentId, Vector};
use crate::ledger::{DocumentWrite, VectorSource};
use crate::telemetry::Health;
use crate::telemetry::health::Component;

use super::filter::Filter;

/// A question to an index.
#[derive(Debug, Clone)]
pub struct Query {
    /// The vector to be near to.
    pub vector: Vector,
    /// How many documents to return at most.
    pub k: usize,
    /// Which documents count.
    pub filter: Option<Filter>,
    /// A document that shall not be in the answer: the one that `similar` starts from.
    pub except: Option<DocumentId>,
    /// Whether to return the vectors.
    pub with_vectors: bool,
}

/// One document that was found, by its nearest chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The document.
    pub id: DocumentId,
    /// Nearness: larger is nearer. The cosine, from -1 to 1; the inner product; or with L2 the negative distance.
    pub score: f32,
    /// The document's metadata, a JSON object.
    pub metadata: Value,
    /// The number of the nearest chunk, from 0.
    pub chunk: usize,
    /// Its vector, when asked for.
    pub vector: Option<Vector>,
}

/// Why an index could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// It may work later: try again.
    #[error("{0}")]
    Unavailable(String),
    /// It will not work until a person acts.
    #[error("{0}")]
    Fatal(String),
    /// Something was planned on what is no longer so: what was to be written must be planned again.
    #[error("{0}")]
    Stale(String),
    /// What it held is gone: it must be prepared, and then every document written again.
    #[error("{0}")]
    Lost(String),
    /// The question cannot be answered as it is: what it filters by, for example. Says what may be asked.
    #[error("{0}")]
    BadQuery(String),
    /// It is not what the configuration says, and nothing was changed.
    #[error("{0}")]
    Unfit(String),
}

impl IndexError {
    /// Shows in the health that the index fails, and why. Answers whether that is news.
    pub fn show_in(&self, health: &Health) -> bool {
        match self {
            Self::Unavailable(reason) => health.degraded(Component::Index, reason),
            other => health.unhealthy(Component::Index, other.to_string()),
        }
    }
}

/// A document that the index will never take as it is. It is not in the index any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedWrite {
    /// Its place in the writes.
    pub write: usize,
    /// Why, with the value named.
    pub reason: String,
}

/// How far a write came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A part of it is done. The same writes are to be given again at once.
    More,
    /// All of it is done, but for these documents.
    Done(Vec<RefusedWrite>),
}

/// Holds points and finds the nearest. Every write is idempotent.
pub trait VectorIndex: Send + Sync + 'static {
    /// Makes sure that there is an index to write to, and that the ledger knows what it lacks. Called before anything is written, and
    /// again whenever the actors are built anew.
    fn prepare(&self) -> BoxFuture<'_, Result<(), IndexError>> {
        async { Ok(()) }.boxed()
    }

    /// Waits until it may be written to: for what it makes of earlier writes in memory, say. May last as long as it has to, where a write
    /// that lasts hangs.
    fn room(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    /// Makes the index and the ledger hold what is written, durably, or part of it; the time limit applies to each part. It is the index
    /// that calls [`Ledger::write`](crate::ledger::Ledger::write), which answers what points came and went. A future that is dropped goes
    /// on, if at all, on a blocking thread of its runtime: whoever waits for the runtime's end waits for the write.
    ///
    /// # Errors
    /// After [`IndexError::Stale`] these documents are planned again; after [`IndexError::Lost`] all actors are built anew, and every
    /// document is. After any other error, one that a person must mend included, the same writes are given again for as long as it takes.
    fn write(&self, writes: Arc<[DocumentWrite]>) -> BoxFuture<'_, Result<Progress, IndexError>>;

    /// After how long a call to write hangs.
    fn may_take(&self) -> Duration {
        pulse::CALL_MAY_TAKE
    }

    /// Why no search will ever have an answer, where that is so.
    fn can_search(&self) -> Result<(), IndexError> {
        Ok(())
    }

    /// The nearest documents, best first. Sees every write that was answered, at once, but for Milvus (after seconds at most) and Pinecone
    /// (after a while).
    fn search(&self, query: Query) -> BoxFuture<'_, Result<Vec<Hit>, IndexError>>;

    /// About how many of its points are not in its search graph yet, if it has one. They are searched all the same, one by one. Never
    /// blocks.
    fn graph_lag(&self) -> u64 {
        0
    }

    /// About how many bytes [`VectorIndex::close`] has to write.
    fn unsaved_bytes(&self) -> u64 {
        0
    }

    /// Saves what is derived, if anything is, so that the next start is fast. Called at a graceful end.
    fn close(&self) -> BoxFuture<'_, Result<(), IndexError>> {
        async { Ok(()) }.boxed()
    }
}

/// Whether all new vectors of these writes have `dimensions` finite numbers. An index that keeps vectors asks before it writes.
///
/// # Errors
/// [`IndexError::Fatal`], which names the document.
pub fn check_vectors(writes: &[DocumentWrite], dimensions: usize) -> Result<(), IndexError> {
    for write in writes {
        for chunk in &write.chunks {
            if let VectorSource::Here(vector) = &chunk.vector {
                check_vector(vector, dimensions, || format!("a vector of document `{}`", write.id))?;
            }
        }
    }
    Ok(())
}

/// As [`check_vectors`], for one, such as that of a query. `of` names it in the error.
pub fn check_vector(vector: &[f32], dimensions: usize, of: impl FnOnce() -> String) -> Result<(), IndexError> {
    let found = vector.len();
    let wrong = if found != dimensions {
        format!(
            "{found} dimensions, and the index has {dimensions}: use the embedding model that the index was made with"
        )
    } else if vector.iter().any(|number| !number.is_finite()) {
        "a number that is not finite: see what the embedding provider answers".to_owned()
    } else {
        return Ok(());
    };
    Err(IndexError::Fatal(format!("{} has {wrong}", of())))
}

/// The metadata of this document, as the ledger keeps them.
pub(super) fn parse_metadata(kept: &str, document: &str) -> Result<Value, IndexError> {
    serde_json::from_str(kept).map_err(|error| {
        IndexError::Fatal(format!("the metadata of document `{document}` in the ledger cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use crate::ledger::testing::{here, write};
    use crate::ledger::{ChunkWrite, PointKey};

    use super::*;

    #[test]
    fn a_vector_of_another_length_or_with_what_is_no_number_is_refused_by_its_document() {
        let check = |vector: &[f32]| {
            let new = ChunkWrite { vector: VectorSource::Here(vector.into()), ..here("new") };
            let held = ChunkWrite { vector: VectorSource::Held(PointKey::MAX), ..here("held") };
            check_vectors(&[write("a", vec![held.clone()]), write("b", vec![held, new])], 2)
        };
        assert!(check(&[1.0, -0.0]).is_ok());
        for (vector, named) in [
            (&[1.0, 2.0, 3.0][..], "has 3 dimensions, and the index has 2"),
            (&[1.0, f32::NAN], "is not finite"),
            (&[f32::NEG_INFINITY, 1.0], "is not finite"),
        ] {
            let told = check(vector);
            assert!(
                matches!(&told, Err(IndexError::Fatal(text)) if text.contains("document `b`") && text.contains(named)),
                "{told:?}"
            );
        }
    }
}
