//! What turns texts into vectors. Implement [`Provider`], add a variant to `settings::embedding` and an arm to `embed::build`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::document::chunk::Tokenizer;
use crate::document::{Vector, vector};
use crate::telemetry::RequestStatus;

use super::space::Space;

/// What a text is embedded for. Some models embed questions and documents differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InputType {
    /// A text to be found.
    Document,
    /// A text to find others with.
    Query,
}

/// Why a call brought no vectors, as the pure judge of a provider decides it from what came back.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Not now: try the same call again. `after` is what the provider asked for; `pause` says that it holds for
    /// every call (429, 503), not only for this one (a time-out, a broken connection).
    #[error("{reason}")]
    Retry {
        /// What happened, for the log and the health page.
        reason: String,
        /// How long the provider asked to wait, if it did.
        after: Option<Duration>,
        /// Whether all calls must wait.
        pause: bool,
    },
    /// The provider refuses something in this batch (400, 413, 422), or mixes its texts up: halve it until the guilty text is alone;
    /// a text that is alone is rejected with this reason, once a harmless text passed. Mostly the provider's own words, shortened.
    #[error("{0}")]
    Refused(String),
    /// The provider forbids this call (403). That is of all calls until a person acts, unless a harmless text passes: then something in
    /// front of the provider, a firewall say, takes offence at a text of this call. Says what happened and what to do about it.
    #[error("{0}")]
    Forbidden(String),
    /// No call will succeed until a person acts (401, 402, an unknown model): all calls wait, and are tried again slowly. Says what
    /// happened and what to do about it.
    #[error("{0}")]
    Fatal(String),
}

impl ProviderError {
    /// Not now, and nothing more is known: no time to wait, and no reason for others to.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None, pause: false }
    }
}

impl From<&Result<Embeddings, ProviderError>> for RequestStatus {
    fn from(answer: &Result<Embeddings, ProviderError>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(ProviderError::Retry { .. }) => Self::Retry,
            // Of one text, a firewall may say so every day. What is forbidden to all shows on the health page.
            Err(ProviderError::Refused(_) | ProviderError::Forbidden(_)) => Self::Refused,
            Err(ProviderError::Fatal(_)) => Self::Fatal,
        }
    }
}

/// Why a call that succeeded has no vector of one of its texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoVector {
    /// It will never have one (no known token: see the built-in model).
    #[error("{0}")]
    Never(String),
    /// What came for it, beside vectors of others, cannot be used (nothing but zeros): that text alone is sent again.
    #[error("{0}")]
    ThisTime(String),
}

/// A call's vectors.
#[derive(Debug)]
pub struct Embeddings {
    /// For every text in order, its vector, or why it has none.
    pub vectors: Vec<Result<Vector, NoVector>>,
    /// Tokens that the provider says it charged, where it says so.
    pub tokens: Option<u64>,
}

impl Embeddings {
    /// What every provider is held to, and what every index rests on: a vector for each of so many texts, and each of them
    /// [usable](vector::is_usable). One that is not becomes [`NoVector::ThisTime`].
    ///
    /// # Errors
    /// There are more or fewer vectors, or none can be used: the call brought nothing, and is to be tried again.
    pub fn checked(mut self, texts: usize) -> Result<Self, ProviderError> {
        let came = self.vectors.len();
        if came != texts {
            return Err(ProviderError::retry(format!("{came} vectors came for {texts} texts")));
        }
        for vector in &mut self.vectors {
            if let Ok(numbers) = vector
                && !vector::is_usable(numbers)
            {
                let length = vector::length(numbers);
                *vector =
                    Err(NoVector::ThisTime(format!("its vector has a length of {length:e}, which no model gives")));
            }
        }
        match &*self.vectors {
            vectors @ [Err(reason), ..] if vectors.iter().all(is_unusable) => {
                Err(ProviderError::retry(reason.to_string()))
            }
            _ => Ok(self),
        }
    }
}

/// Whether what came for a text cannot be used.
pub(super) fn is_unusable(vector: &Result<Vector, NoVector>) -> bool {
    matches!(vector, Err(NoVector::ThisTime(_)))
}

/// Turns texts into vectors.
pub trait Provider: Send + Sync + 'static {
    /// What makes this provider's vectors comparable.
    fn space(&self) -> &Space;

    /// Embeds the texts in one call, no retry. Whoever calls it [checks](Embeddings::checked) what came. The future must not block its
    /// thread: local models compute through `actor::offload`.
    fn embed(&self, texts: Vec<Arc<str>>, input: InputType) -> BoxFuture<'_, Result<Embeddings, ProviderError>>;

    /// Counts the model's own tokens, where its tokenizer is known.
    fn tokenizer(&self) -> Option<Arc<dyn Tokenizer>> {
        None
    }

    /// Whether the model finds anything in a text; a chunk in which it does not is left out beside others. True where only the provider
    /// can tell.
    fn has_words(&self, _: &str) -> bool {
        true
    }

    /// The most tokens that one text may have, where there is a limit.
    fn max_text_tokens(&self) -> Option<usize> {
        None
    }

    /// The most texts that one call may have: no batch has more.
    fn max_items(&self) -> usize;

    /// What a million tokens cost, in US dollars.
    fn price_per_million_tokens(&self) -> f64 {
        0.0
    }
}
