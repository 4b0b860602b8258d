//! What models that compute here have in common.

use std::sync::Arc;

use crate::actor::offload::try_on_core;
use crate::actor::panic::{Panic, message};

use super::provider::ProviderError;

/// Computes something of each text of a batch, off the arbiter.
pub async fn compute<T: Send + 'static>(
    texts: Vec<Arc<str>>,
    of: impl Fn(&str) -> T + Send + 'static,
) -> Result<Vec<T>, ProviderError> {
    let computed = try_on_core(move || texts.iter().map(|text| of(text)).collect());
    // The model has a fault that a certain text shows: the caller finds out which.
    let crashed = |panic: Panic| ProviderError::retry(format!("the computation crashed: {}", message(&*panic)));
    computed.await.map_err(crashed)
}
