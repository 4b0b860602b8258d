//! A provider whose calls say when they begin and when they have ended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::provider::{InputType, Judgement, Provider};
use super::space::Space;
use crate::actor::pulse::{self, Call, Underway};
use crate::document::chunk::Tokenizer;

const OF: &str = "the embedding provider";

/// Whether this is a call to the provider.
pub fn is_call(call: &Call) -> bool {
    call.of == OF
}

/// See the module.
pub struct WatchedProvider {
    provider: Arc<dyn Provider>,
    underway: Arc<Underway>,
    call: Call,
}

impl WatchedProvider {
    /// Calls to this provider, which gives each of them up by itself after `timeout`.
    pub fn new(provider: Arc<dyn Provider>, underway: Arc<Underway>, timeout: Duration) -> Self {
        let call = Call { of: OF, to: "embed texts", may_take: timeout + pulse::CALL };
        Self { provider, underway, call }
    }
}

impl Provider for WatchedProvider {
    fn space(&self) -> &Space {
        self.provider.space()
    }

    fn model(&self) -> &str {
        self.provider.model()
    }

    fn embed(&self, texts: Vec<Arc<str>>, input: InputType) -> BoxFuture<'_, Judgement> {
        async move {
            match self.underway.begin(self.call) {
                Some(_underway) => self.provider.embed(texts, input).await,
                // Given up with its generation: whoever waits here is dropped with it.
                None => std::future::pending().await,
            }
        }
        .boxed()
    }

    fn has_words(&self, text: &str) -> bool {
        self.provider.has_words(text)
    }

    fn tokenizer(&self) -> Option<Arc<dyn Tokenizer>> {
        self.provider.tokenizer()
    }

    fn max_text_tokens(&self) -> Option<usize> {
        self.provider.max_text_tokens()
    }

    fn max_items(&self) -> usize {
        self.provider.max_items()
    }

    fn price_per_million_tokens(&self) -> f64 {
        self.provider.price_per_million_tokens()
    }
}
