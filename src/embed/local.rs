//! What models that compute here have in common.

use std::sync::Arc;

use crate::actor::offload::try_on_core;
use crate::actor::panic::{Panic, message};
use crate::document::Vector;

use super::provider::{Embeddings, NoVector, ProviderError};

/// Computes a batch off the arbiter. `embed` turns one text into its vector and a number of tokens.
pub async fn compute(
    texts: Vec<Arc<str>>,
    embed: impl Fn(&str) -> Result<(Vector, u64), String> + Send + 'static,
) -> Result<Embeddings, ProviderError> {
    let computed = try_on_core(move || {
        let mut tokens = 0;
        let vectors = texts.iter().map(|text| {
            let (vector, count) = embed(text).map_err(NoVector::Never)?;
            tokens += count;
            Ok(vector)
        });
        Embeddings { vectors: vectors.collect(), tokens: Some(tokens) }
    });
    // The model has a fault that a certain text shows: the caller finds out which.
    let crashed = |panic: Panic| ProviderError::retry(format!("the computation crashed: {}", message(&*panic)));
    computed.await.map_err(crashed)
}
