//! Finds documents by a text, or by another document. The HTTP interface and the command line ask here.

use std::sync::Arc;
use std::time::Duration;

use crate::document::{DocumentId, Vector};
use crate::embed::provider::{InputType, Judgement, Provider};
use crate::index::{Filter, Hit, IndexError, Query, VectorIndex};
use crate::ledger::{HeldChunk, Ledger};

/// The most documents that one search returns.
pub const MAX_K: usize = 1_000;

/// How often a question is sent to the provider before it is given up.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A person waits for the answer: a provider that asks for a longer pause is given up at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

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
#[derive(Debug, thiserror::Error)]
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
    /// Embeds the question.
    pub provider: Arc<dyn Provider>,
    /// Finds the nearest.
    pub index: Arc<dyn VectorIndex>,
    /// Knows the documents.
    pub ledger: Arc<Ledger>,
    /// `document.metadata`: the names that filters go by.
    pub metadata: Arc<[String]>,
}

impl Searcher {
    /// The documents nearest to a text, best first.
    pub async fn search(&self, text: &str, options: SearchOptions) -> Result<Vec<Hit>, SearchError> {
        if text.trim().is_empty() {
            return Err(SearchError::Invalid("the text to search for is empty".to_owned()));
        }
        // Nothing is paid for a question that has no answer.
        self.index.can_search()?;
        let vector = self.embed(Arc::from(text)).await?;
        Ok(self.index.search(self.query(vector, options, None)).await?)
    }

    /// The documents nearest to a document, best first and without itself. Of several chunks, their mean is asked for.
    pub async fn similar(&self, id: DocumentId, options: SearchOptions) -> Result<Vec<Hit>, SearchError> {
        let vector = self.vector_of(id.clone()).await?;
        Ok(self.index.search(self.query(vector, options, Some(id))).await?)
    }

    fn query(&self, vector: Vector, options: SearchOptions, except: Option<DocumentId>) -> Query {
        let SearchOptions { k, filter, with_vectors } = options;
        let filter = filter.map(|filter| filter.for_metadata(&self.metadata));
        Query { vector, k, filter, except, with_vectors }
    }

    async fn embed(&self, text: Arc<str>) -> Result<Vector, SearchError> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let (reason, after) = match self.provider.embed(vec![text.clone()], InputType::Query).await {
                Judgement::Done(embeddings) => {
                    return match embeddings.vectors.into_iter().next() {
                        Some(Ok(vector)) => Ok(vector),
                        Some(Err(reason)) => {
                            Err(SearchError::Invalid(format!("the text cannot be embedded: {reason}")))
                        }
                        None => Err(SearchError::unavailable("the provider answered without a vector")),
                    };
                }
                Judgement::Refused { reason } => {
                    return Err(SearchError::Invalid(format!("the provider refused the text: {reason}")));
                }
                Judgement::Fatal { reason } => return Err(SearchError::unavailable(reason)),
                Judgement::Retry { reason, after, .. } => (reason, after),
            };
            if attempt == ATTEMPTS || after.is_some_and(|after| after > LONGEST_PAUSE) {
                return Err(SearchError::Unavailable { reason, retry_after: after });
            }
            tokio::time::sleep(after.unwrap_or(pause)).await;
            pause *= 2;
            attempt += 1;
        }
    }

    async fn vector_of(&self, id: DocumentId) -> Result<Vector, SearchError> {
        let ledger = self.ledger.clone();
        let vectors = tokio::task::spawn_blocking(move || held_vectors(&ledger, &id)).await;
        let vectors =
            vectors.map_err(|error| SearchError::unavailable(format!("the ledger could not be asked: {error}")))??;
        Ok(mean(&vectors))
    }
}

/// The vectors of a document's chunks; at least one.
fn held_vectors(ledger: &Ledger, id: &DocumentId) -> Result<Vec<Vector>, SearchError> {
    let found = ledger.documents(std::slice::from_ref(id)).map_err(SearchError::unavailable)?;
    let Some(held) = found.into_iter().flatten().next() else {
        return Err(SearchError::NotFound(format!("there is no document `{id}`")));
    };
    let keys: Vec<_> = held.chunks.iter().map(|chunk: &HeldChunk| chunk.key).collect();
    let vectors = ledger.vectors_of(&keys).map_err(SearchError::unavailable)?;
    let vectors: Vec<Vector> = vectors.into_iter().flatten().collect();
    if vectors.is_empty() {
        let reason = format!("document `{id}` is not in the index: it was deleted, or its text is not complete yet");
        return Err(SearchError::NotFound(reason));
    }
    Ok(vectors)
}

fn mean(vectors: &[Vector]) -> Vector {
    if let [vector] = vectors {
        return vector.clone();
    }
    let count = vectors.len() as f32;
    (0..vectors[0].len()).map(|place| vectors.iter().map(|vector| vector[place]).sum::<f32>() / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::discard::DiscardIndex;
    use crate::testkit::fakes::{self, FakeProvider};

    #[tokio::test(start_paused = true)]
    async fn a_question_to_an_index_that_keeps_nothing_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let provider = Arc::new(FakeProvider::default());
        let (resources, _) = fakes::resources(folder.path(), provider.clone()).await;
        let ledger = resources.ledger.clone();
        let index = Arc::new(DiscardIndex::open(ledger.clone()).unwrap());
        let searcher = Searcher { provider: provider.clone(), index, ledger, metadata: Arc::default() };
        let options = SearchOptions { k: 1, filter: None, with_vectors: false };
        let error = searcher.search("dry feet", options).await.unwrap_err();
        assert!(error.to_string().contains("keeps nothing"), "{error}");
        assert!(provider.calls().is_empty());
    }
}
