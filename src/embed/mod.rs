//! Embedding: from texts to checked vectors.
//!
//! A [`Provider`] makes one call; [`call`] makes as many as a batch takes, within the limits of [`limiter`]; [`status`] says how the
//! provider is doing. To add a provider: a file here, a variant in `settings::embedding`, an arm in [`build`].

pub mod accounts;
pub mod actor;
pub mod builtin;
pub mod call;
mod doubt;
mod failures;
pub mod hashed;
pub mod limiter;
mod local;
pub mod openai;
pub mod provider;
pub mod space;
pub mod status;
pub mod wordpiece;

pub use provider::{Embeddings, InputType, NoVector, Provider, ProviderError};
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_settings_gives_its_provider_or_names_what_is_wrong() {
        let build = |yaml: &str| build(&serde_yaml::from_str(yaml).unwrap());
        for (yaml, space) in [
            ("provider: builtin", "builtin/minilm-static-en-128 with 128 dimensions"),
            ("provider: hashed", "hashed/character-3-5-grams with 512 dimensions"),
            ("{ provider: hashed, dimensions: 64 }", "hashed/character-3-5-grams with 64 dimensions"),
            (
                "{ provider: openai, base_url: 'https://api.holysheep.ai/v1', model: embedding-3, dimensions: 1536, api_key: k, \
                   concurrency: 16, rate_limit: { requests_per_minute: 3000, tokens_per_minute: 1000000 }, \
                   price_per_million_tokens: 0.42 }",
                "openai/embedding-3 with 1536 dimensions",
            ),
            (
                "{ provider: openai, preset: openai-small, api_key: k }",
                "openai/text-embedding-3-small with 1536 dimensions",
            ),
        ] {
            let provider = build(yaml).unwrap();
            assert_eq!(provider.space().to_string(), space, "{yaml}");
            assert!(provider.max_items() > 0);
        }
        assert!(build("{ provider: hashed, dimensions: 3 }").err().unwrap().starts_with("embedding.dimensions: "));
        assert!(build("{ provider: openai }").err().unwrap().starts_with("embedding.model: "));
    }
}
