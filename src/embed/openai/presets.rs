//! Known models and endpoints. What is set in `embedding` goes before what is written here.

use crate::settings::nearest::list;

/// What is known about a model wherever it is served.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    /// As the endpoint knows it.
    pub name: &'static str,
    /// Numbers in a vector when no call says otherwise.
    pub dimensions: usize,
    /// The most tokens in one text, counted with OpenAI's `cl100k_base`.
    pub max_text_tokens: usize,
}

/// OpenAI's embedding models. Dimensions and prices are those that several model catalogues agree on. For the longest text OpenAI's own
/// API description says 8192 tokens and the catalogues 8191: the lower one is safe under both.
const MODELS: [Model; 3] = [
    Model { name: "text-embedding-3-small", dimensions: 1536, max_text_tokens: 8191 },
    Model { name: "text-embedding-3-large", dimensions: 3072, max_text_tokens: 8191 },
    Model { name: "text-embedding-ada-002", dimensions: 1536, max_text_tokens: 8191 },
];

/// A model at an endpoint.
#[derive(Debug)]
pub struct Preset {
    /// As `embedding.preset` names it.
    pub name: &'static str,
    /// The address before `/embeddings`.
    pub base_url: &'static str,
    /// The model's name.
    pub model: &'static str,
    /// US dollars a million tokens.
    pub price_per_million_tokens: f64,
}

/// Where OpenAI itself answers.
pub const OPENAI_URL: &str = "https://api.openai.com/v1";

/// HolySheep AI, a relay: the address is the one on all of its pages and in its command line tool.
const HOLYSHEEP_URL: &str = "https://api.holysheep.ai/v1";

/// A placeholder, not a quotation: HolySheep's own articles of 2026 contradict each other ($0.02 to $1.00 a million tokens for the same
/// models), and no price list was found. Set `embedding.price_per_million_tokens` to what your account says.
const HOLYSHEEP_PRICE: f64 = 0.42;

/// That HolySheep serves OpenAI's models under OpenAI's names is what its articles say; it was not tried.
const PRESETS: [Preset; 4] = [
    Preset {
        name: "openai-small",
        base_url: OPENAI_URL,
        model: "text-embedding-3-small",
        price_per_million_tokens: 0.02,
    },
    Preset {
        name: "openai-large",
        base_url: OPENAI_URL,
        model: "text-embedding-3-large",
        price_per_million_tokens: 0.13,
    },
    Preset {
        name: "holysheep-small",
        base_url: HOLYSHEEP_URL,
        model: "text-embedding-3-small",
        price_per_million_tokens: HOLYSHEEP_PRICE,
    },
    Preset {
        name: "holysheep-large",
        base_url: HOLYSHEEP_URL,
        model: "text-embedding-3-large",
        price_per_million_tokens: HOLYSHEEP_PRICE,
    },
];

/// The model of this name, when it is known.
pub fn model(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.name == name)
}

/// What `embedding.preset` may name.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    PRESETS.iter().map(|preset| preset.name)
}

/// The preset of this name.
///
/// # Errors
/// Names the setting and the presets there are.
pub fn preset(name: &str) -> Result<&'static Preset, String> {
    PRESETS
        .iter()
        .find(|preset| preset.name == name)
        .ok_or_else(|| format!("embedding.preset: there is no such preset; there are {}", list(names())))
}

/// The presets at this address.
fn at(base_url: &str) -> impl Iterator<Item = &'static Preset> {
    PRESETS.iter().filter(move |preset| preset.base_url == base_url.trim_end_matches('/'))
}

/// Whether nothing is answered at this address without a key.
pub fn needs_key(base_url: &str) -> bool {
    at(base_url).next().is_some()
}

/// US dollars a million tokens of this model at this address, when they are known.
pub fn price(model: &str, base_url: &str) -> Option<f64> {
    at(base_url).find(|preset| preset.model == model).map(|preset| preset.price_per_million_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_of_a_known_model() {
        for known in &PRESETS {
            assert!(model(known.model).is_some(), "{}", known.name);
            assert_eq!(preset(known.name).unwrap().model, known.model);
        }
        let error = preset("openai-medium").unwrap_err();
        assert!(error.starts_with("embedding.preset: ") && error.contains("`openai-small`"), "{error}");
    }
}
