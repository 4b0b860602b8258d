//! Questions as vectors. One that was asked before is answered without the provider, for as long as it is remembered, and one that is asked
//! by several at once is paid for once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use crate::dedup::VectorCache;
use crate::document::Vector;
use crate::document::fingerprint::{Fingerprint, Fingerprinter};
use crate::embed::provider::{NoVector, Provider, ProviderError};
use crate::embed::status::ProviderStatus;
use crate::memory::{Patience, Pool, Taken};
use crate::settings::ByteSize;
use crate::telemetry::Metrics;

use super::SearchError;
use super::calls::Calls;
use super::probe::{Doubt, Failure};

/// How often a question is sent to the provider before it is given up.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A person waits for the answer: a provider that asks for a longer pause is given up at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long the vector of a question is remembered after it was last asked.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);
/// How much memory remembered questions may take.
const REMEMBERED: ByteSize = ByteSize::mebibytes(8);

/// What questions that are on their way may weigh together, in bytes. Who asked them may be gone, so connections do not bound them.
const ROOM: u64 = 32 << 20;
/// What a question weighs beside its text, in bytes.
const WEIGHT: u64 = 16 << 10;

/// What comes for a question, to all who asked it.
type Answer = Shared<BoxFuture<'static, Result<Vector, SearchError>>>;

/// See the module. Clones share what is asked and remembered.
#[derive(Clone)]
pub(super) struct Questions {
    calls: Calls,
    pub(super) doubt: Doubt,
    room: Arc<Pool>,
    fingerprints: Fingerprinter,
    remembered: VectorCache,
    /// On their way, for who asks the same meanwhile.
    asked: Arc<Mutex<HashMap<Fingerprint, Answer>>>,
}

impl Questions {
    pub fn new(provider: Arc<dyn Provider>, status: Option<Arc<ProviderStatus>>, metrics: &Metrics) -> Self {
        let space = provider.space().clone();
        let calls = Calls::new(provider, metrics);
        Self {
            doubt: Doubt::new(calls.clone(), status),
            calls,
            fingerprints: Fingerprinter::new(&space.key()),
            remembered: VectorCache::new(REMEMBERED, REMEMBERED_FOR, space.dimensions),
            asked: Arc::default(),
            room: Arc::new(Pool::new(ROOM, "other questions")),
        }
    }

    /// The vector of a question.
    pub async fn vector_of(&self, text: &str) -> Result<Vector, SearchError> {
        let fingerprint = self.fingerprints.of(text);
        if let Some(vector) = self.remembered.get(&fingerprint) {
            return Ok(vector);
        }
        // Joining a question already under way takes no room: it is held once, and the caller holds its own text.
        let joined = self.asked.lock().get(&fingerprint).cloned();
        if let Some(answer) = joined {
            return answer.await;
        }
        let mut taken = Taken::default();
        self.room.grow(&mut taken, WEIGHT + text.len() as u64, &mut Patience::default()).await?;
        let answer = {
            let mut asked = self.asked.lock();
            // It may have been answered to another meanwhile.
            if let Some(vector) = self.remembered.get(&fingerprint) {
                return Ok(vector);
            }
            asked.entry(fingerprint).or_insert_with(|| self.ask(fingerprint, Arc::from(text), taken)).clone()
        };
        answer.await
    }

    /// Asks in a task of its own: who asked may go away, and what is paid for is counted and remembered all the same.
    fn ask(&self, fingerprint: Fingerprint, text: Arc<str>, taken: Taken) -> Answer {
        let questions = self.clone();
        let embedding = tokio::spawn(async move { questions.embed(&text).await });
        let questions = self.clone();
        let answer = async move {
            let answer = embedding.await.unwrap_or_else(|_| {
                Err(SearchError::unavailable("the question met an error inside Vectide; its log says more"))
            });
            if let Ok(vector) = &answer {
                questions.remembered.insert(fingerprint, vector.clone());
            }
            questions.asked.lock().remove(&fingerprint);
            drop(taken);
            answer
        };
        let answer = answer.boxed().shared();
        tokio::spawn(answer.clone());
        answer
    }

    async fn embed(&self, text: &Arc<str>) -> Result<Vector, SearchError> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let failure = match self.calls.embed(text).await {
                Ok(embeddings) => {
                    self.doubt.answered();
                    return match embeddings.vectors.into_iter().next() {
                        Some(Ok(vector)) => Ok(vector),
                        Some(Err(NoVector::Never(reason))) => {
                            Err(SearchError::Invalid(format!("the text cannot be embedded: {reason}")))
                        }
                        Some(Err(NoVector::ThisTime(_))) | None => {
                            Err(SearchError::unavailable("the provider answered without a vector"))
                        }
                    };
                }
                Err(ProviderError::Refused(reason)) => {
                    return Err(SearchError::Invalid(format!("the provider refused the text: {reason}")));
                }
                Err(ProviderError::Fatal(reason)) => {
                    Failure { reason, after: None, tells: Some(ProviderStatus::needs_a_person) }
                }
                Err(ProviderError::Forbidden(reason)) => Failure { reason, after: None, tells: None },
                Err(ProviderError::Retry { after, .. })
                    if attempt < ATTEMPTS && after.is_none_or(|it| it <= LONGEST_PAUSE) =>
                {
                    tokio::time::sleep(after.unwrap_or(pause)).await;
                    pause *= 2;
                    attempt += 1;
                    continue;
                }
                Err(ProviderError::Retry { reason, after, pause }) => {
                    Failure { reason, after, tells: pause.then_some(ProviderStatus::fails) }
                }
            };
            let reason = format!("the embedding provider: {}", failure.reason);
            let retry_after = failure.after;
            self.doubt.raise(failure);
            return Err(SearchError::Unavailable { reason, retry_after });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::memory::PATIENCE;
    use crate::telemetry::RequestStatus;
    use crate::testkit::fakes::{Answer, FakeProvider, Fault};

    #[tokio::test(start_paused = true)]
    async fn a_question_is_paid_for_and_counted_once_while_it_is_remembered() {
        let (provider, metrics) = (Arc::new(FakeProvider::default()), Metrics::new());
        let questions = Questions::new(provider.clone(), None, &metrics);
        provider.faults.order([Fault::Unavailable]);
        let vector = questions.vector_of("dry feet").await.unwrap();
        assert_eq!(questions.clone().vector_of("dry feet").await.unwrap(), vector);
        assert_eq!(provider.paid(), [("dry feet".to_owned(), 1)].into());
        let searches = &metrics.searches;
        assert_eq!((searches.texts.get(), searches.tokens.get()), (1, 3));
        assert!(searches.money.get() > 0.0);
        let requests = metrics.requests(provider.space().name());
        assert_eq!([RequestStatus::Retry, RequestStatus::Ok].map(|status| requests.of(status).get()), [1, 1]);
        assert_eq!((metrics.embedding_latency.get_sample_count(), metrics.texts.sum()), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_whose_vector_no_index_can_reckon_with_is_asked_again() {
        let (provider, metrics) = (Arc::new(FakeProvider::default()), Metrics::new());
        let questions = Questions::new(provider.clone(), None, &metrics);
        provider.faults.order([Fault::Answers(Answer::Tiny)]);
        assert_eq!(questions.vector_of("dry feet").await.unwrap(), FakeProvider::vector("dry feet"));
        assert_eq!(provider.calls().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_whose_caller_goes_away_is_counted_and_remembered() {
        let (provider, metrics) = (Arc::new(FakeProvider::default()), Metrics::new());
        let questions = Questions::new(provider.clone(), None, &metrics);
        provider.faults.order([Fault::Unavailable]);
        tokio::time::timeout(FIRST_PAUSE / 2, questions.vector_of("dry feet")).await.unwrap_err();
        tokio::time::sleep(LONGEST_PAUSE * 2).await;
        assert_eq!(metrics.searches.texts.get(), 1);
        questions.vector_of("dry feet").await.unwrap();
        assert_eq!(provider.paid(), [("dry feet".to_owned(), 1)].into());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_several_ask_at_once_is_paid_for_once_and_a_failure_is_of_all_of_them() {
        let (provider, metrics) = (Arc::new(FakeProvider::default()), Metrics::new());
        let questions = Questions::new(provider.clone(), None, &metrics);
        let ask = || join_all((0..3).map(|_| questions.vector_of("dry feet")));
        provider.faults.order([Fault::Unavailable; ATTEMPTS as usize]);
        assert!(ask().await.iter().all(Result::is_err));
        assert_eq!(provider.calls().len(), ATTEMPTS as usize);
        assert!(ask().await.iter().all(Result::is_ok), "a failure is not remembered");
        assert_eq!(provider.calls().len(), ATTEMPTS as usize + 1);
        assert_eq!(metrics.searches.texts.get(), 1);
        assert!(questions.asked.lock().is_empty());
        assert_eq!(questions.room.room() as u64, ROOM / 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_what_is_asked_already_needs_no_room() {
        let (provider, metrics) = (Arc::new(FakeProvider::default()), Metrics::new());
        let questions = Questions::new(provider.clone(), None, &metrics);
        provider.faults.order([Fault::Unavailable]);
        tokio::time::timeout(FIRST_PAUSE / 2, questions.vector_of("dry feet")).await.unwrap_err();
        let mut others = Taken::default();
        questions.room.try_grow(&mut others, questions.room.room() as u64 * 1024).unwrap();
        questions.vector_of("dry feet").await.unwrap();
        assert_eq!(provider.paid(), [("dry feet".to_owned(), 1)].into());
    }

    #[tokio::test(start_paused = true)]
    async fn questions_wait_unasked_while_others_take_all_the_room_though_their_callers_went_away() {
        let (provider, metrics) = (Arc::new(FakeProvider::default()), Metrics::new());
        let questions = Questions::new(provider.clone(), None, &metrics);
        provider.faults.order([Fault::Unavailable]);
        tokio::time::timeout(FIRST_PAUSE / 2, questions.vector_of("dry feet")).await.unwrap_err();
        let rest = questions.room.room() as u64;
        assert_eq!(rest, (ROOM - WEIGHT) / 1024 - 1);
        let mut others = Taken::default();
        questions.room.try_grow(&mut others, rest * 1024).unwrap();
        tokio::time::timeout(FIRST_PAUSE / 4, questions.vector_of("warm hands")).await.unwrap_err();
        assert_eq!(provider.calls().len(), 1);
        questions.vector_of("warm hands").await.unwrap();
        assert_eq!(provider.paid().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_waited_for_room_is_not_paid_for_when_another_asked_the_same_meanwhile() {
        let (provider, metrics) = (Arc::new(FakeProvider::default()), Metrics::new());
        let questions = Questions::new(provider.clone(), None, &metrics);
        let mut all = Taken::default();
        questions.room.try_grow(&mut all, ROOM).unwrap();
        let ask = || {
            let questions = questions.clone();
            tokio::spawn(async move { questions.vector_of(&"dry feet ".repeat(2 * 1024 * 1024)).await.unwrap() })
        };
        let late = questions.vector_of("warm hands").await.unwrap_err();
        assert!(matches!(&late, SearchError::Unavailable { retry_after: Some(_), .. }), "{late}");
        let asked = [ask(), ask()];
        tokio::time::sleep(PATIENCE / 2).await;
        drop(all);
        for asked in asked {
            asked.await.unwrap();
        }
        assert_eq!(provider.calls().len(), 1);
    }
}
