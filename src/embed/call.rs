//! One batch, until every text has a vector or a reason why it will never have one.
//!
//! What the provider cannot do now is tried again, without end. What it will never do is found by halving: the guilty text is
//! rejected alone and its batch mates get their vectors.
//!
//! When a call fails in a way that its texts may be the cause of, a harmless text is tried: if it fails too, nothing is proven and the call
//! is tried again, and if it passes, the batch is halved. A lone text is rejected when it is refused once, or fails five times in a row
//! within some minutes, each time right after the harmless one passed. Its batch mates do not wait for that: it comes after them.
//!
//! What only a person can mend (a wrong key, no credit) holds all calls until it is mended, and is never held against a text.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::actor::backoff::Backoff;
use crate::actor::pulse::{Call, Underway};
use crate::batch::estimate::{Estimator, believed};
use crate::document::Vector;
use crate::telemetry::RequestStatus;

use super::doubt::{Doubt, Next};
use super::failures::Failures;
use super::limiter::Limiter;
use super::provider::{Embeddings, InputType, NoVector, Provider, ProviderError, is_unusable};
use super::status::ProviderStatus;

/// Between tries of what failed for now.
const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// Between tries of what a person must repair.
const SLOW_RETRY: Backoff =
    Backoff::new(Duration::from_secs(10), Duration::from_secs(60)).at_least(Duration::from_secs(5));

/// A text that every model embeds. If it fails as well, the fault is not in the other texts. Another one each time: a relay that remembers
/// answers would give that of an equal text for a provider that is down.
pub fn harmless() -> Arc<str> {
    format!("hello {:08x}", fastrand::u32(..)).into()
}

/// How one call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedCall {
    /// What came of it.
    pub status: RequestStatus,
    /// From the request to the judged answer; the wait for the limiter is not in it.
    pub latency: Duration,
    /// How many texts were in the call.
    pub texts: usize,
    /// Which texts of the batch it was made for: those that were in it, or those that are in doubt while a harmless one was.
    pub made_for: Range<usize>,
    /// The tokens that were charged: as the provider says, else estimated; 0 when no vectors came.
    pub tokens: u64,
}

/// What the calls of all batches share.
pub struct Calls {
    /// Answers them.
    pub provider: Arc<dyn Provider>,
    /// Lets them out.
    pub limiter: Limiter,
    /// Guesses how much of the limits one takes.
    pub estimator: Arc<Estimator>,
    /// What the health page shows.
    pub status: Arc<ProviderStatus>,
    /// Where they show while they are under way.
    pub underway: Arc<Underway>,
    /// What one may take before it hangs: the provider gives it up earlier.
    pub may_take: Duration,
}

/// One batch on its way.
struct OneBatch<'a> {
    calls: &'a Calls,
    texts: &'a [Arc<str>],
    finished: &'a dyn Fn(FinishedCall),
}

/// What came of a part of a batch.
enum Outcome {
    Done(Vec<Result<Vector, NoVector>>),
    /// See [`Next::Halve`].
    Halve,
    /// See [`Next::SetAside`]. It is not to be sent before this time.
    Suspect(Instant),
}

impl Calls {
    /// Embeds the texts of a batch, which are no more than fit into one call; it takes more calls, one at a time, when parts of it fail.
    /// `settled` is given what each call brings as soon as it is there: which texts, and for every one its vector, or why it will never
    /// have one. `finished` is told of every call that ended, on the thread of the call: count, do not work. Never gives up on what may
    /// still succeed, so only dropping the future ends a wait for a provider that is down.
    pub async fn embed(
        &self,
        texts: &[Arc<str>],
        finished: &dyn Fn(FinishedCall),
        settled: impl AsyncFnMut(Range<usize>, Vec<Result<Vector, String>>),
    ) {
        OneBatch { calls: self, texts, finished }.run(settled).await;
    }
}

impl OneBatch<'_> {
    async fn run(&self, mut settled: impl AsyncFnMut(Range<usize>, Vec<Result<Vector, String>>)) {
        let whole = 0..self.texts.len();
        let mut parts = VecDeque::from([whole]);
        // Whichever may be sent next is the first.
        let mut suspects = BTreeMap::<(Instant, usize), Range<usize>>::new();
        loop {
            let part = match parts.pop_front() {
                Some(part) => part,
                None => {
                    let Some(((not_before, _), part)) = suspects.pop_first() else { return };
                    tokio::time::sleep_until(not_before).await;
                    part
                }
            };
            match self.embed_part(&part, parts.is_empty()).await {
                Outcome::Done(vectors) => {
                    let mut next = part.start;
                    for run in vectors.chunk_by(|one, other| is_unusable(one) == is_unusable(other)) {
                        let part = next..next + run.len();
                        next = part.end;
                        if run.iter().any(is_unusable) {
                            tracing::debug!(answered = ?run, "vectors cannot be used; asking for them again");
                            parts.push_back(part);
                        } else {
                            let results = run.iter().cloned().map(|vector| vector.map_err(|reason| reason.to_string()));
                            settled(part, results.collect()).await;
                        }
                    }
                }
                Outcome::Halve => {
                    let middle = part.start + part.len() / 2;
                    parts.push_front(middle..part.end);
                    parts.push_front(part.start..middle);
                }
                Outcome::Suspect(not_before) => {
                    suspects.insert((not_before, part.start), part);
                }
            }
        }
    }

    /// Repeats one call until it succeeds, or its texts are found to be the cause of its failures. A lone one is so only by what happens
    /// right after a harmless text passed: else a wrong setting or an outage would reject text after text, and empty the index. Where it
    /// is not the `last` part but suspects, no other waits while that is found out.
    async fn embed_part(&self, part: &Range<usize>, last: bool) -> Outcome {
        let mut doubt = Doubt::of(part.len(), last, self.calls.status.successes());
        loop {
            let failure = match self.call(&self.texts[part.clone()], part).await {
                Ok(embeddings) => return Outcome::Done(embeddings.vectors),
                Err(failure) => failure,
            };
            match doubt.failed(&failure, self.calls.status.successes()) {
                Next::Again => self.wait_after(failure, &doubt.failures).await,
                Next::TryHarmless { after, times } => {
                    tokio::time::sleep(after).await;
                    let passed = self.harmless_passes(times, part, &mut doubt.failures).await;
                    if doubt.harmless_tried(passed) {
                        return Outcome::Halve;
                    }
                }
                Next::Halve => return Outcome::Halve,
                Next::SetAside(time) => return Outcome::Suspect(Instant::now() + time),
                Next::Reject(reason) => return Outcome::Done(vec![Err(NoVector::Never(reason))]),
            }
        }
    }

    /// Whether a harmless text passes, so many times in a row, while this part is in doubt. If not, waits as that demands.
    async fn harmless_passes(&self, times: u32, part: &Range<usize>, failures: &mut Failures) -> bool {
        let (mut undisturbed, mut passed) = (true, 0);
        while passed < times {
            let harmless = harmless();
            let failure = match self.call(std::slice::from_ref(&harmless), part).await {
                Ok(_) => {
                    passed += 1;
                    continue;
                }
                Err(ProviderError::Refused(reason)) => ProviderError::Forbidden(format!(
                    "the provider refuses even the text `{harmless}`, so the fault is in the settings: check \
                     `embedding.model`, `embedding.dimensions`, `embedding.base_url` and `embedding.encoding_format`. It said: {reason}"
                )),
                Err(failure) => failure,
            };
            failures.one_more(&failure, self.calls.status.successes());
            let busy = matches!(failure, ProviderError::Retry { pause: true, .. });
            // What is forbidden to all may be paid for (vectors of another length): only the harmless text is sent until it passes.
            let to_all = !matches!(failure, ProviderError::Retry { .. }) && !failures.among_successes;
            self.wait_after(failure, failures).await;
            undisturbed &= busy;
            if !busy && !to_all {
                break;
            }
        }
        undisturbed
    }

    /// One call, when the limits allow it, for this part of the batch.
    async fn call(&self, texts: &[Arc<str>], part: &Range<usize>) -> Result<Embeddings, ProviderError> {
        let Calls { provider, limiter, estimator, status, underway, may_take } = self.calls;
        debug_assert!(texts.len() <= provider.max_items(), "a batch is no larger than a call");
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let estimated = estimator.tokens(bytes);
        limiter.acquire(estimated).await;
        let call =
            Call { callee: "the embedding provider", purpose: "embed texts", writes: false, may_take: *may_take };
        let Some(ongoing) = underway.begin(call) else {
            // Given up with its generation: whoever waits here is dropped with it.
            return std::future::pending().await;
        };
        let began = Instant::now();
        let answer = provider.embed(texts.to_vec(), InputType::Document).await;
        drop(ongoing);
        let answer = answer.and_then(|embeddings| embeddings.checked(texts.len()));
        let tokens = match &answer {
            Ok(Embeddings { tokens: Some(charged), .. }) => {
                let charged = believed(*charged, bytes, texts.len());
                limiter.correct(estimated, charged);
                estimator.learn(bytes, charged);
                charged
            }
            Ok(Embeddings { tokens: None, .. }) => estimated,
            Err(_) => 0,
        };
        if answer.is_ok() {
            status.succeeded();
        }
        (self.finished)(FinishedCall {
            status: RequestStatus::from(&answer),
            latency: began.elapsed(),
            texts: texts.len(),
            made_for: part.clone(),
            tokens,
        });
        answer
    }

    /// Waits as a failed call demands, and holds back all others for as long as that is of all. Alone no longer than until the provider is
    /// back, when it was down.
    async fn wait_after(&self, failure: ProviderError, failures: &Failures) {
        let Calls { limiter, status, .. } = self.calls;
        match failure {
            ProviderError::Retry { reason, after, pause } => {
                status.failed(&reason);
                let asked_for = after.unwrap_or_default();
                let delay = RETRY.delay(failures.count, fastrand::f64()).max(asked_for);
                tracing::debug!(reason, ?delay, pause, "an embedding call failed");
                if pause {
                    // Failures of another kind are no concern of the others, nor is what this call alone meets.
                    limiter.pause(asked_for.max(RETRY.delay(failures.that_concern_others(), fastrand::f64())));
                    status.asked_to_pause(&reason, asked_for);
                }
                tokio::time::sleep(asked_for).await;
                let rest = tokio::time::sleep(delay - asked_for);
                // The first call to find the provider back spares the others the rest of their waits.
                tokio::select! {
                    () = rest => {}
                    () = status.succeeds_after(failures.successes), if !failures.among_successes => {}
                }
            }
            // One of several servers says so, and others do not.
            ProviderError::Forbidden(reason) if failures.among_successes => {
                status.failed(&reason);
                tokio::time::sleep(SLOW_RETRY.delay(failures.count, fastrand::f64())).await;
            }
            failure => {
                status.needs_a_person(&failure.to_string());
                limiter.pause(SLOW_RETRY.delay(failures.count, fastrand::f64()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
