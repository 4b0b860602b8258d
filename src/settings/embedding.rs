//! The `embedding` section: what turns texts into vectors.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::embed::openai::Endpoint;

use super::secret::Secret;
use super::units::Span;

/// How many numbers a hashed vector may have.
pub const HASHED_DIMENSIONS: RangeInclusive<usize> = 16..=4096;

/// What turns texts into vectors, chosen by `provider`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "provider", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum EmbeddingSettings {
    /// The English model that Vectide ships: 128 dimensions, no key, no network.
    Builtin(BuiltinSettings),
    /// Hashed character n-grams: any language, no model. Finds texts that share spelling, not meaning.
    Hashed(HashedSettings),
    /// Any endpoint that speaks OpenAI's `/embeddings`.
    Openai(OpenaiSettings),
}

/// The built-in model.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuiltinSettings {}

/// Hashed character n-grams.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HashedSettings {
    /// How many numbers a vector has: 16 to 4096.
    pub dimensions: usize,
}

impl Default for HashedSettings {
    fn default() -> Self {
        Self { dimensions: 512 }
    }
}

/// An OpenAI-compatible endpoint.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OpenaiSettings {
    /// Known values for `base_url`, `model`, `dimensions`, `max_text_tokens` and price: `openai-small`, `openai-large`, `holysheep-small`,
    /// `holysheep-large`. A key that is set beside it takes precedence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// The address before `/embeddings`. Default: `https://api.openai.com/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The model's name as the endpoint knows it. Required without a preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How many numbers a vector has; checked in every answer. Required unless Vectide knows the model: it knows
    /// `text-embedding-3-small`, `text-embedding-3-large` and `text-embedding-ada-002`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Whether calls ask for `dimensions`. Default: only if Vectide knows the model, and `dimensions` is not the model's own number. Set it
    /// to `true` for any other model that can return fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_dimensions: Option<bool>,
    /// The form in which vectors are requested; both are understood in answers.
    #[serde(default)]
    pub encoding_format: EncodingFormat,
    /// The key, best written as `${OPENAI_API_KEY}`: its value comes from the environment and not from the file. It is sent as a bearer
    /// token. Where `base_url` has an `api-version`, as a deployment at Azure has, it is sent as `api-key` instead, unless it is a token of
    /// Entra ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// A file that holds the key and nothing else, instead of `api_key`. It is read again when the key is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Sent as `OpenAI-Organization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Sent as `OpenAI-Project`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The most simultaneous calls for the texts of documents: 1 to 10,000. Searches are embedded beside them, without waiting.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// How long a connection may take to open.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Span,
    /// How long a whole call may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// What the account allows. Absent: only the provider's own 429 limits calls.
    #[serde(default)]
    pub rate_limit: RateLimitSettings,
    /// What a million tokens cost, in US dollars. Only reports use it, and say $0.00 if it is neither set nor known. It is known for the
    /// models of the presets at their own addresses.
    /// HolySheep's is a placeholder, because its own pages contradict each other: set this to what your account says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_million_tokens: Option<f64>,
    /// The most tokens that the model takes in one text; longer texts are cut into chunks. At least 8. Default: 8191, also for a model
    /// that Vectide does not know: set it for your own server. There four bytes are taken for a token, as in English; set two thirds of
    /// the model's number for Chinese, Japanese or Korean, and a quarter for codes and part numbers. What was refused as too long is cut
    /// anew when this is lowered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_text_tokens: Option<usize>,
}

/// In which form vectors are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EncodingFormat {
    /// Fewer bytes, and less work to read.
    #[default]
    Base64,
    /// Numbers, by calls that ask for no form: for a server that refuses those that do.
    Float,
}

/// What the account allows in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitSettings {
    /// The most calls per minute for the texts of documents. Searches are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// The most tokens per minute for the texts of documents. Searches are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
}

impl EmbeddingSettings {
    /// The same as it takes effect: what a preset or Vectide knows stands where nothing was set.
    ///
    /// # Errors
    /// Names the setting and what to do.
    pub fn filled(self) -> Result<Self, String> {
        Ok(match self {
            Self::Openai(settings) => Self::Openai(settings.filled()?),
            local => local,
        })
    }

    /// The most calls at once. A local model computes on this machine's processors, and more calls than those gain nothing.
    pub fn concurrency(&self) -> usize {
        match self {
            Self::Openai(settings) => settings.concurrency,
            Self::Builtin(_) | Self::Hashed(_) => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// After so long a call is given up by itself; a local model computes until it has its answer.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Openai(settings) => settings.timeout.as_duration(),
            Self::Builtin(_) | Self::Hashed(_) => Duration::ZERO,
        }
    }

    /// What the account allows; a local model has no limit.
    pub fn rate_limit(&self) -> RateLimitSettings {
        match self {
            Self::Openai(settings) => settings.rate_limit,
            Self::Builtin(_) | Self::Hashed(_) => RateLimitSettings::default(),
        }
    }
}

impl OpenaiSettings {
    fn filled(self) -> Result<Self, String> {
        let endpoint = Endpoint::new(&self)?;
        let base_url = || endpoint.url.as_str().trim_end_matches("/embeddings").to_owned();
        Ok(Self {
            base_url: Some(self.base_url.unwrap_or_else(base_url)),
            model: Some(endpoint.model),
            dimensions: Some(endpoint.dimensions),
            send_dimensions: Some(endpoint.send_dimensions),
            price_per_million_tokens: Some(endpoint.price_per_million_tokens),
            max_text_tokens: Some(endpoint.max_text_tokens),
            ..self
        })
    }
}

fn default_concurrency() -> usize {
    16
}

fn default_connect_timeout() -> Span {
    Span::new(Duration::from_secs(10))
}

fn default_timeout() -> Span {
    Span::new(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_limits_follow_the_provider() {
        let settings = |yaml: &str| serde_yaml::from_str::<EmbeddingSettings>(yaml).unwrap();
        let remote = settings("{ provider: openai, concurrency: 3, rate_limit: { tokens_per_minute: 5 } }");
        assert_eq!((remote.concurrency(), remote.rate_limit().tokens_per_minute), (3, Some(5)));
        assert_eq!(settings("provider: openai").concurrency(), 16);
        let local = settings("provider: builtin");
        assert!(local.concurrency() >= 1 && local.rate_limit() == RateLimitSettings::default());
    }

    #[test]
    fn what_a_preset_knows_stands_where_nothing_was_set() {
        let settings = |keys: &str| {
            serde_yaml::from_str::<EmbeddingSettings>(&format!("{{ provider: openai, api_key: k, {keys} }}")).unwrap()
        };
        for (set, filled) in [
            (
                "preset: openai-large",
                "preset: openai-large, base_url: 'https://api.openai.com/v1', model: text-embedding-3-large, dimensions: 3072, \
                 send_dimensions: false, price_per_million_tokens: 0.13, max_text_tokens: 8191",
            ),
            (
                "preset: openai-large, base_url: 'http://h/v1/?a=b', dimensions: 256, max_text_tokens: 512",
                "preset: openai-large, base_url: 'http://h/v1/?a=b', model: text-embedding-3-large, dimensions: 256, \
                 send_dimensions: true, price_per_million_tokens: 0, max_text_tokens: 512",
            ),
            (
                "model: m, dimensions: 8",
                "base_url: 'https://api.openai.com/v1', model: m, dimensions: 8, send_dimensions: false, \
                 price_per_million_tokens: 0, max_text_tokens: 8191",
            ),
        ] {
            let once = settings(set).filled().unwrap();
            assert_eq!(once, settings(filled), "{set}");
            assert_eq!(once.clone().filled().unwrap(), once, "what is shown means the same");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        for yaml in ["{ provider: openai, modell: m }", "{ provider: builtin, model: m }", "provider: open_ai"] {
            assert!(serde_yaml::from_str::<EmbeddingSettings>(yaml).is_err(), "{yaml}");
        }
    }
}
