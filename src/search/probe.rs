//! Whether the provider answers at all, when it failed with a question: where no documents come, nobody else would find out, nor that it
//! works again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::actor::backoff::Backoff;
use crate::embed::call::harmless;
use crate::embed::provider::ProviderError;
use crate::embed::status::ProviderStatus;

use super::calls::Calls;

/// Between tries.
const PAUSE: Backoff =
    Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).at_least(Duration::from_millis(500));

/// How the provider failed with a question.
pub(super) struct Failure {
    /// What it said.
    pub reason: String,
    /// When it asked to be called again.
    pub after: Option<Duration>,
    /// What that says of all calls. `None`: it may be of this question alone, at which something in front of the provider takes offence.
    pub tells: Option<fn(&ProviderStatus, &str)>,
}

/// Whether the provider failed with a question, and has not answered since. Clones share it.
#[derive(Clone)]
pub(super) struct Doubt {
    calls: Calls,
    /// Where it is told how the provider is doing. `None`: the command ends with its answer, and who asked is told.
    status: Option<Arc<ProviderStatus>>,
    /// Taken while there is doubt, by who probes the provider.
    turn: Arc<Semaphore>,
}

impl Doubt {
    pub fn new(calls: Calls, status: Option<Arc<ProviderStatus>>) -> Self {
        Self { calls, status, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Whether there is any now.
    fn is_open(&self) -> bool {
        self.turn.available_permits() == 0
    }

    /// The provider answered a question.
    pub fn answered(&self) {
        if let Some(status) = self.status.as_ref().filter(|_| self.is_open()) {
            status.succeeded();
        }
    }

    /// Asks for the vector of a text that every model embeds until it comes, beside whatever else is asked. While it does not, the provider
    /// shows as failing. Where nothing shows it, nobody needs to know.
    pub fn raise(&self, failure: Failure) {
        let Some(status) = self.status.clone() else { return };
        // Who has the turn tells what there is to tell, and takes it back.
        let Ok(turn) = self.turn.clone().try_acquire_owned() else { return };
        if let Some(tell) = failure.tells {
            tell(&status, &failure.reason);
        }
        let doubt = self.clone();
        tokio::spawn(async move {
            let _turn = turn;
            sleep(failure.after.unwrap_or_default()).await;
            doubt.probe(&status).await;
        });
    }

    async fn probe(&self, status: &ProviderStatus) {
        let mut failures = 0;
        loop {
            let after = match self.calls.embed(&harmless()).await {
                Ok(_) => return status.succeeded(),
                Err(ProviderError::Retry { reason, after, .. }) => {
                    status.fails(&reason);
                    after.unwrap_or_default()
                }
                Err(error) => {
                    status.needs_a_person(&error.to_string());
                    Duration::ZERO
                }
            };
            failures += 1;
            sleep(PAUSE.delay(failures, fastrand::f64()).max(after)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::questions::Questions;
    use super::*;
    use crate::search::SearchError;
    use crate::telemetry::Metrics;
    use crate::telemetry::health::HealthState;
    use crate::testkit::fakes::{Answer, FakeProvider, Fault};

    fn questions() -> (Arc<FakeProvider>, Arc<ProviderStatus>, Questions) {
        let (provider, status) = (Arc::new(FakeProvider::default()), Arc::<ProviderStatus>::default());
        let questions = Questions::new(provider.clone(), Some(status.clone()), &Metrics::new());
        (provider, status, questions)
    }

    /// Waits until nobody probes.
    async fn rest(questions: &Questions) {
        drop(questions.doubt.turn.acquire().await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_fails_shows_until_it_answers_though_nobody_asks_again() {
        for (faults, shown) in [
            (vec![Fault::Unavailable; 6], HealthState::Degraded),
            (vec![Fault::Answers(Answer::Status(401)); 2], HealthState::Unhealthy),
        ] {
            let (provider, status, questions) = questions();
            provider.faults.order(faults);
            let error = questions.vector_of("dry feet").await.unwrap_err();
            assert!(
                matches!(&error, SearchError::Unavailable { reason, .. } if reason.starts_with("the embedding provider: "))
            );
            while status.health().state != shown {
                sleep(Duration::from_millis(10)).await;
            }
            rest(&questions).await;
            assert_eq!(status.health().state, HealthState::Ok);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_asks_for_a_pause_shows_until_it_answers_a_question() {
        let (provider, status, questions) = questions();
        provider.faults.order([Fault::TooMany; 3]);
        questions.vector_of("dry feet").await.unwrap_err();
        assert_eq!(status.health().state, HealthState::Degraded);
        questions.vector_of("dry feet").await.unwrap();
        assert_eq!(status.health().state, HealthState::Ok);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_watches_a_failure_is_told_to_who_asked_and_nowhere_else() {
        for fault in [Fault::Unavailable, Fault::TooMany, Fault::Answers(Answer::Status(401))] {
            let provider = Arc::new(FakeProvider::default());
            let questions = Questions::new(provider.clone(), None, &Metrics::new());
            provider.faults.order(vec![fault; 3]);
            questions.vector_of("dry feet").await.unwrap_err();
            assert!(!questions.doubt.is_open(), "it is neither told nor probed");
            assert!(provider.calls().iter().flatten().all(|text| text == "dry feet"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_fails_alone_says_nothing_of_the_provider() {
        let (provider, status, questions) = questions();
        provider.faults.order([Fault::Answers(Answer::Status(403))]);
        questions.vector_of("dry feet").await.unwrap_err();
        let mut seen = Vec::new();
        while questions.doubt.is_open() {
            seen.push(status.health().state);
            sleep(Duration::from_millis(10)).await;
        }
        assert!(seen.iter().all(|state| *state == HealthState::Ok), "{seen:?}");
        assert_eq!(provider.calls().len(), 2, "the question and the probe");
    }
}
