//! Finds documents by a text, or by another document. The HTTP interface and the command line ask here.

mod calls;
mod probe;
mod questions;

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
        /// When to ask again, where that is known. Over HTTP it is whole seconds, rounded up.
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

    /// The documents nearest to a text, best first.
    pub async fn search(&self, text: &str, options: SearchOptions) -> Result<Vec<Hit>, SearchError> {
        self.question(text, options).await?.put().await
    }

    /// The documents nearest to a document, best first and without itself.
    pub async fn similar(&self, id: DocumentId, options: SearchOptions) -> Result<Vec<Hit>, SearchError> {
        self.nearest_to(id, options).await?.put().await
    }

    /// What is nearest to a text?
    pub async fn question(&self, text: &str, options: SearchOptions) -> Result<Question<'_>, SearchError> {
        self.asking(options, None, async {
            if text.trim().is_empty() {
                return Err(SearchError::Invalid("the text to search for is empty".to_owned()));
            }
            self.questions.vector_of(text).await
        })
        .await
    }

    /// What is nearest to a document, itself left out? Of several chunks, their mean is asked for.
    pub async fn nearest_to(&self, id: DocumentId, options: SearchOptions) -> Result<Question<'_>, SearchError> {
        self.asking(options, Some(id.clone()), async {
            let ledger = self.ledger.clone();
            let held = move || held_vectors(&id, || keys_of(&ledger, &id), |keys| ledger.vectors_of(keys));
            on_blocking_thread(move || held().map(|vectors| mean(&vectors))).await
        })
        .await
    }

    async fn asking(
        &self,
        options: SearchOptions,
        except: Option<DocumentId>,
        vector: impl Future<Output = Result<Vector, SearchError>>,
    ) -> Result<Question<'_>, SearchError> {
        let mut search = Counted::new(&self.metrics);
        let SearchOptions { k, filter, with_vectors } = options;
        let query = async {
            // Nothing is paid for a question that has no answer.
            self.index.can_search()?;
            let filter = filter.map(|filter| filter.for_metadata(&self.metadata)).transpose();
            let filter = filter.map_err(SearchError::Invalid)?;
            Ok(Query { vector: vector.await?, k, filter, except, with_vectors })
        };
        match query.await {
            Ok(query) => Ok(Question { searcher: self, query, search }),
            Err(error) => Err(search.failed(error)),
        }
    }
}

/// A question whose vector is known, to be put to the index.
pub struct Question<'a> {
    searcher: &'a Searcher,
    query: Query,
    search: Counted<'a>,
}

impl Question<'_> {
    /// What is asked of the index.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Puts it to the index. What is found comes best first.
    pub async fn put(self) -> Result<Vec<Hit>, SearchError> {
        let Self { searcher, query, mut search } = self;
        let found = searcher.index.search(query).await;
        let mut hits = found.map_err(|error| search.failed(error.into()))?;
        // What is at no distance has the score -0.0, which reads as if it were less than that of an exact match. This makes it 0.0.
        hits.iter_mut().for_each(|hit| hit.score += 0.0);
        search.outcome = SearchOutcome::Answered;
        Ok(hits)
    }

    /// Why it is not put.
    pub fn failed(&mut self, error: SearchError) -> SearchError {
        self.search.failed(error)
    }
}

/// Counts a search when it ends, as it also does when nobody waits for its answer any more, or when it panics.
struct Counted<'a> {
    metrics: &'a SearchMetrics,
    began: Instant,
    outcome: SearchOutcome,
}

impl<'a> Counted<'a> {
    fn new(metrics: &'a SearchMetrics) -> Self {
        Self { metrics, began: Instant::now(), outcome: SearchOutcome::Abandoned }
    }

    fn failed(&mut self, error: SearchError) -> SearchError {
        self.outcome = error.outcome();
        error
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { SearchOutcome::Unavailable } else { self.outcome };
        if outcome != SearchOutcome::Abandoned {
            self.metrics.seconds.observe(self.began.elapsed().as_secs_f64());
        }
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
        let hits = searcher.similar(DocumentId::new("a").unwrap(), options).await.unwrap();
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
        tokio::time::timeout(Duration::from_millis(1), searcher.search("dry feet", options)).await.unwrap_err();
        assert_eq!(metrics.searches.outcomes.of(SearchOutcome::Abandoned).get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_is_not_put_is_counted_by_why_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let provider = Arc::new(FakeProvider::default());
        let (resources, _) = fakes::resources(folder.path(), provider.clone()).await;
        let metrics = Metrics::new();
        let (index, ledger) = (resources.index.clone(), resources.ledger.clone());
        let searcher = Searcher::new(provider, None, index, ledger, Arc::default(), &metrics);
        let options = SearchOptions { k: 1, filter: None, with_vectors: false };
        let mut question = searcher.question("dry feet", options.clone()).await.unwrap();
        question.failed(SearchError::unavailable("no room"));
        drop(question);
        drop(searcher.question("dry feet", options).await.unwrap());
        let outcomes = [SearchOutcome::Unavailable, SearchOutcome::Abandoned];
        assert_eq!(outcomes.map(|outcome| metrics.searches.outcomes.of(outcome).get()), [1, 1]);
        assert_eq!(metrics.searches.seconds.get_sample_count(), 1);
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
            searcher.search("dry feet", options.clone()).await.unwrap_err(),
            searcher.similar(DocumentId::new("d").unwrap(), options).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.to_string().contains("keeps nothing")), "{errors:?}");
        assert!(provider.calls().is_empty());
        assert_eq!(metrics.searches.outcomes.of(SearchOutcome::Unavailable).get(), 2);
        assert_eq!(metrics.searches.seconds.get_sample_count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_filter_by_a_field_that_no_document_has_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let provider = Arc::new(FakeProvider::default());
        let (resources, _) = fakes::resources(folder.path(), provider.clone()).await;
        let (index, ledger) = (resources.index.clone(), resources.ledger.clone());
        let metrics = Metrics::new();
        let searcher = Searcher::new(provider.clone(), None, index, ledger, Arc::default(), &metrics);
        let filter = Filter::from_json(&serde_json::json!({"colour": "red"})).unwrap();
        let options = SearchOptions { k: 1, filter: Some(filter), with_vectors: false };
        let refused = searcher.search("dry feet", options).await;
        assert!(matches!(&refused, Err(SearchError::Invalid(why)) if why.contains("`colour`")), "{refused:?}");
        assert!(provider.calls().is_empty());
        assert_eq!(metrics.searches.outcomes.of(SearchOutcome::Invalid).get(), 1);
    }
}
