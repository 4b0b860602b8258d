//! Embedding: from texts to checked vectors.
//!
//! A [`Provider`] makes one call; [`call`] makes as many as a batch takes, within the limits of [`limiter`]; [`status`] says how the
//! provider is doing. To add a provider: a file here, a variant in `settings::embedding`, an arm in [`build`].

pub mod builtin;
pub mod call;
pub mod estimate;
pub mod hashed;
pub mod limiter;
mod local;
pub mod openai;
pub mod provider;
pub mod space;
pub mod status;
pub mod wordpiece;

pub use provider::{Embeddings, InputType, Judgement, Provider};
pub use space::Space;

use std::sync::Arc;

use crate::settings::EmbeddingSettings;

/// The provider that the settings ask for. Opens no connection.
///
/// # Errors
/// Names the setting that is wrong and what to do.
pub fn build(settings: &EmbeddingSettings) -> Result<Arc<dyn Provider>, String> {
    Ok(match settings {
        EmbeddingSettings::Builtin(_) => Arc::new(builtin::Builtin::new()),
        EmbeddingSettings::Hashed(settings) => Arc::new(hashed::Hashed::new(settings.dimensions)?),
        EmbeddingSettings::Openai(settings) => Arc::new(openai::Openai::new(settings)?),
    })
}
