//! Calls to the provider with one text each, measured, and accounted as what searches cost.

use std::sync::Arc;

use prometheus::Histogram;
use tokio::time::Instant;

use crate::batch::estimate::{Estimator, believed};
use crate::embed::provider::{Embeddings, InputType, Provider, ProviderError};
use crate::telemetry::counters::By;
use crate::telemetry::metrics::SearchMetrics;
use crate::telemetry::{Metrics, RequestStatus};

/// See the module. Clones count together.
#[derive(Clone)]
pub(super) struct Calls {
    provider: Arc<dyn Provider>,
    metrics: SearchMetrics,
    requests: By<RequestStatus>,
    latency: Histogram,
}

impl Calls {
    pub fn new(provider: Arc<dyn Provider>, metrics: &Metrics) -> Self {
        Self {
            metrics: metrics.searches.clone(),
            requests: metrics.requests(provider.space().name()),
            latency: metrics.embedding_latency.clone(),
            provider,
        }
    }

    pub async fn embed(&self, text: &Arc<str>) -> Result<Embeddings, ProviderError> {
        let began = Instant::now();
        let answer = self.provider.embed(vec![text.clone()], InputType::Query).await;
        let answer = answer.and_then(|embeddings| embeddings.checked(1));
        self.latency.observe(began.elapsed().as_secs_f64());
        self.requests.of(RequestStatus::from(&answer)).inc();
        if let Ok(embeddings) = &answer {
            self.account(text, embeddings);
        }
        answer
    }

    /// Notes what a call was charged: as the provider says, else as its length lets guess.
    fn account(&self, text: &str, embeddings: &Embeddings) {
        let guessed = || Estimator::default().tokens(text.len());
        let tokens = embeddings.tokens.map_or_else(guessed, |charged| believed(charged, text.len(), 1));
        self.metrics.texts.inc();
        self.metrics.tokens.inc_by(tokens);
        self.metrics.money.inc_by(tokens as f64 * self.provider.price_per_million_tokens() / 1e6);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::fakes::FakeProvider;

    #[test]
    fn a_slip_in_what_is_charged_is_not_in_the_books() {
        let metrics = Metrics::new();
        let calls = Calls::new(Arc::new(FakeProvider::default()), &metrics);
        for tokens in [Some(2), Some(u64::MAX)] {
            calls.account("boots", &Embeddings { vectors: Vec::new(), tokens });
        }
        let tokens = metrics.searches.tokens.get();
        assert!((3..1_000).contains(&tokens), "{tokens}");
    }
}
