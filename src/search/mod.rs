//! Finds documents by a text, or by another document. The HTTP interface and the command line ask here.

mod calls;
mod probe;
mod questions;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::actor::offload::on_blocking_thread;
use crate::document::{DocumentId, Vector};
use crate::embed::provider::Provider;
use crate::embed::status::ProviderStatus;
use crate::index::{Filter, Hit, IndexError, Query, VectorIndex};
use crate::ledger::{Ledger, LedgerError, PointKey};
use crate::memory::NoRoom;
use crate::telemetry::metrics::SearchMetrics;
use crate::telemetry::{Metrics, SearchOutcome};

use questions::Questions;

/// The most documents that one search returns.
pub const MAX_K: usize = 1_000;

/// How often to read a document anew that changed while it was read.
const TRIES: u32 = 3;

/// What to search for beside the text or the document.
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// How many documents to return at most.
    pub k: usize,
    /// Which documents count.
    pub filter: Option<Filter>,
    /// Whether to return the vectors.
    pub with_vectors: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SearchError {
    /// The question cannot be answered, now or later.
    #[error("{0}")]
    Invalid(String),
    /// There is no such document, or it is not in the index.
    #[error("{0}")]
    NotFound(String),
    /// Provider, index or ledger cannot answer now.
    #[error("{reason}")]
    Unavailable {
        /// What happened and what to do.
        reason: String,
        /// When to ask again, where that is known.
        retry_after: Option<Duration>,
    },
}

impl SearchError {
    fn unavailable(reason: impl ToString) -> Self {
        Self::Unavailable { reason: reason.to_string(), retry_after: None }
    }

    fn outcome(&self) -> SearchOutcome {
        match self {
            Self::Invalid(_) => SearchOutcome::Invalid,
            Self::NotFound(_) => SearchOutcome::NotFound,
            Self::Unavailable { .. } => SearchOutcome::Unavailable,
        }
    }
}

impl From<NoRoom> for SearchError {
    fn from(no_room: NoRoom) -> Self {
        Self::Unavailable { reason: no_room.to_string(), retry_after: Some(NoRoom::RETRY_AFTER) }
    }
}

impl From<IndexError> for SearchError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::BadQuery(reason) => Self::Invalid(reason),
            error => Self::unavailable(error),
        }
    }
}

/// Answers questions. Clones share everything.
#[derive(Clone)]
pub struct Searcher {
    questions: Questions,
    index: Arc<dyn VectorIndex>,
    ledger: Arc<Ledger>,
    metadata: Arc<[String]>,
    metrics: SearchMetrics,
}

impl Searcher {
    /// Embeds questions by `provider`, tells `status`, if there is one, when it fails, finds the nearest in `index` and asks `ledger` what
    /// the documents are. Filters go by the names of `metadata`, which are those of `document.metadata`.
    pub fn new(
        provider: Arc<dyn Provider>,
        status: Option<Arc<ProviderStatus>>,
        index: Arc<dyn VectorIndex>,
        ledger: Arc<Ledger>,
        metadata: Arc<[String]>,
        metrics: &Metrics,
    ) -> Self {
        Self {
            questions: Questions::new(provider, status, metrics),
            index,
            ledger,
            metadata,
            metrics: metrics.searches.clone(),
        }
    }

    /// The documents nearest to a text, best first. `room` is waited for when there is a question to the index, and what it gives comes
    /// with the answer.
    pub async fn search<R>(
        &self,
        text: &str,
        options: SearchOptions,
        room: impl Future<Output = Result<R, SearchError>>,
    ) -> Result<(Vec<Hit>, R), SearchError> {
        self.counted(async {
            if text.trim().is_empty() {
                return Err(SearchError::Invalid("the text to search for is empty".to_owned()));
            }
            // Nothing is paid for a question that has no answer.
            self.index.can_search()?;
            let vector = self.questions.vector_of(text).await?;
            let room = room.await?;
            Ok((self.find(vector, options, None).await?, room))
        })
        .await
    }

    /// The documents nearest to a document, best first and without itself. Of several chunks, their mean is asked for. `room`: as for
    /// [`Self::search`].
    pub async fn similar<R>(
        &self,
        id: DocumentId,
        options: SearchOptions,
        room: impl Future<Output = Result<R, SearchError>>,
    ) -> Result<(Vec<Hit>, R), SearchError> {
        self.counted(async {
            self.index.can_search()?;
            let vector = self.vector_of(id.clone()).await?;
            let room = room.await?;
            Ok((self.find(vector, options, Some(id)).await?, room))
        })
        .await
    }

    async fn counted<A>(&self, search: impl Future<Output = Result<A, SearchError>>) -> Result<A, SearchError> {
        let began = Instant::now();
        let mut counted = Counted { metrics: &self.metrics, outcome: SearchOutcome::Abandoned };
        let answer = search.await;
        counted.outcome = answer.as_ref().map_or_else(SearchError::outcome, |_| SearchOutcome::Answered);
        self.metrics.seconds.observe(began.elapsed().as_secs_f64());
        answer
    }

    async fn find(
        &self,
        vector: Vector,
        options: SearchOptions,
        except: Option<DocumentId>,
    ) -> Result<Vec<Hit>, SearchError> {
        let SearchOptions { k, filter, with_vectors } = options;
        let filter = filter.map(|filter| filter.for_metadata(&self.metadata));
        let mut hits = self.index.search(Query { vector, k, filter, except, with_vectors }).await?;
        // What is at no distance has the score -0.0, which reads as if it were less than that of an exact match. This makes it 0.0.
        hits.iter_mut().for_each(|hit| hit.score += 0.0);
        Ok(hits)
    }

    async fn vector_of(&self, id: DocumentId) -> Result<Vector, SearchError> {
        let ledger = self.ledger.clone();
        let held = move || held_vectors(&id, || keys_of(&ledger, &id), |keys| ledger.vectors_of(keys));
        on_blocking_thread(move || held().map(|vectors| mean(&vectors))).await
    }
}

/// Counts a search when it ends, as it also does when nobody waits for its answer any more, or when it panics.
struct Counted<'a> {
    metrics: &'a SearchMetrics,
    outcome: SearchOutcome,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { SearchOutcome::Unavailable } else { self.outcome };
        self.metrics.outcomes.of(outcome).inc();
    }
}

/// The points of a document's chunks, in their order; `None` when there is no document.
fn keys_of(ledger: &Ledger, id: &DocumentId) -> Result<Option<Vec<PointKey>>, LedgerError> {
    let held = ledger.points_of(std::slice::from_ref(id))?.into_iter().flatten().next();
    Ok(held.map(|held| held.chunks.iter().map(|chunk| chunk.key).collect()))
}

/// The vectors of a document's chunks; at least one. Points that went between the two looks at the ledger have
/// successors, so both are taken anew.
fn held_vectors(
    id: &DocumentId,
    keys: impl Fn() -> Result<Option<Vec<PointKey>>, LedgerError>,
    vectors_of: impl Fn(&[PointKey]) -> Result<Vec<Option<Vector>>, LedgerError>,
) -> Result<Vec<Vector>, SearchError> {
    for _ in 0..TRIES {
        let Some(keys) = keys().map_err(SearchError::unavailable)? else {
            return Err(SearchError::NotFound(format!("there is no document `{id}`")));
        };
        if keys.is_empty() {
            let reason = format!(
                "document `{id}` is not in the index: it was deleted, its text is not complete yet, or it was refused; \
                 `vectide get ID` says which"
            );
            return Err(SearchError::NotFound(reason));
        }
        let vectors = vectors_of(&keys).map_err(SearchError::unavailable)?;
        if let Some(vectors) = vectors.into_iter().collect() {
            return Ok(vectors);
        }
    }
    Err(SearchError::unavailable(format!("document `{id}` changes whenever it is looked at; ask again")))
}

fn mean(vectors: &[Vector]) -> Vector {
    if let [vector] = vectors {
        return vector.clone();
    }
    let count = vectors.len() as f64;
    let sum = |place: usize| vectors.iter().map(|vector| f64::from(vector[place])).sum::<f64>();
    (0..vectors[0].len()).map(|place| (sum(place) / count) as f32).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::index::{DiscardIndex, EmbeddedIndex};
    use crate::ledger;
    use crate::ledger::testing::{DIMENSIONS, here, write};
    use crate::settings::index::Metric;
    use crate::testkit::fakes::{self, FakeProvider, Fault, write_all};

    #[test]
    fn a_document_that_changes_while_it_is_read_is_read_anew_as_a_whole() {
        let id = DocumentId::new("d").unwrap();
        let vector = |key: PointKey| Vector::from([key as f32]);
        // The first look at the document sees two points, one of which is gone at the second.
        let looks = Cell::new(0);
        let keys = || {
            looks.set(looks.get() + 1);
            Ok(Some(if looks.get() == 1 { vec![1, 2] } else { vec![1, 3] }))
        };
        let vectors_of = |keys: &[PointKey]| Ok(keys.iter().map(|key| (*key != 2).then(|| vector(*key))).collect());
        assert_eq!(held_vectors(&id, keys, vectors_of).unwrap(), [1, 3].map(vector));
        assert_eq!(looks.get(), 2);

        let none = |keys: &[PointKey]| Ok(vec![None; keys.len()]);
        assert!(matches!(held_vectors(&id, || Ok(Some(vec![1])), none), Err(SearchError::Unavailable { .. })));
        let empty = held_vectors(&id, || Ok(Some(vec![])), none).unwrap_err();
        assert!(matches!(&empty, SearchError::NotFound(why) if why.contains("or it was refused; `vectide get ID`")));
        assert!(matches!(held_vectors(&id, || Ok(None), none), Err(SearchError::NotFound(_))));
    }

    #[test]
    fn the_mean_of_the_largest_numbers_is_finite() {
        let vectors = [[3e38, 1.0], [3e38, 2.0]].map(|vector: [f32; 2]| Vector::from(vector));
        assert_eq!(*mean(&vectors), [3e38, 1.5]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_exact_match_by_distance_has_the_score_0_without_a_sign() {
        let (folder, ledger) = ledger::testing::open();
        let ledger = Arc::new(ledger);
        let index = EmbeddedIndex::open(ledger.clone(), folder.path(), Metric::L2, DIMENSIONS).unwrap();
        let documents = ["a", "b"].map(|id| write(id, vec![here("same")]));
        write_all(&index, documents.into()).await.unwrap();
        let provider = Arc::new(FakeProvider::default());
        let searcher = Searcher::new(provider, None, Arc::new(index), ledger, Arc::default(), &Metrics::new());
        let options = SearchOptions { k: 1, filter: None, with_vectors: false };
        let (hits, ()) = searcher.similar(DocumentId::new("a").unwrap(), options, async { Ok(()) }).await.unwrap();
        assert_eq!((hits[0].id.as_str(), format!("{:?}", hits[0].score)), ("b", "0.0".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_whose_caller_goes_away_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let provider = Arc::new(FakeProvider::default());
        let (resources, _) = fakes::resources(folder.path(), provider.clone()).await;
        let metrics = Metrics::new();
        let (index, ledger) = (resources.index.clone(), resources.ledger.clone());
        let searcher = Searcher::new(provider.clone(), None, index, ledger, Arc::default(), &metrics);
        provider.faults.order([Fault::Unavailable]);
        let options = SearchOptions { k: 1, filter: None, with_vectors: false };
        tokio::time::timeout(Duration::from_millis(1), searcher.search("dry feet", options, async { Ok(()) }))
            .await
            .unwrap_err();
        assert_eq!(metrics.searches.outcomes.of(SearchOutcome::Abandoned).get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_room_for_an_answer_is_taken_while_the_provider_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let provider = Arc::new(FakeProvider::default());
        let (resources, _) = fakes::resources(folder.path(), provider.clone()).await;
        let (index, ledger) = (resources.index.clone(), resources.ledger.clone());
        let searcher = Searcher::new(provider.clone(), None, index, ledger, Arc::default(), &Metrics::new());
        provider.faults.order([Fault::Unavailable]);
        let options = SearchOptions { k: 1, filter: None, with_vectors: false };
        let asked = Cell::new(false);
        let room = async {
            asked.set(true);
            Ok(())
        };
        let search = searcher.search("dry feet", options, room);
        tokio::pin!(search);
        tokio::time::timeout(Duration::from_millis(1), &mut search).await.unwrap_err();
        assert!(!asked.get(), "it waits to ask the provider again");
        search.await.expect_err("the fake cannot search");
        assert!(asked.get());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_to_an_index_that_keeps_nothing_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let provider = Arc::new(FakeProvider::default());
        let (resources, _) = fakes::resources(folder.path(), provider.clone()).await;
        let ledger = resources.ledger.clone();
        let index = Arc::new(DiscardIndex::new(ledger.clone()));
        let metrics = Metrics::new();
        let searcher = Searcher::new(provider.clone(), None, index, ledger, Arc::default(), &metrics);
        let options = SearchOptions { k: 1, filter: None, with_vectors: false };
        let errors = [
            searcher.search("dry feet", options.clone(), async { Ok(()) }).await.unwrap_err(),
            searcher.similar(DocumentId::new("d").unwrap(), options, async { Ok(()) }).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.to_string().contains("keeps nothing")), "{errors:?}");
        assert!(provider.calls().is_empty());
        assert_eq!(metrics.searches.outcomes.of(SearchOutcome::Unavailable).get(), 2);
        assert_eq!(metrics.searches.seconds.get_sample_count(), 2);
    }
}
