//! Calls to the provider with one text each, measured, and accounted as what searches cost.

use std::sync::Arc;

use prometheus::Histogram;
use tokio::time::Instant;

use crate::batch::Estimator;
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
        let tokens = embeddings.tokens.unwrap_or_else(|| Estimator::default().tokens(text.len()));
        self.metrics.texts.inc();
        self.metrics.tokens.inc_by(tokens);
        self.metrics.money.inc_by(tokens as f64 * self.provider.price_per_million_tokens() / 1e6);
    }
}
