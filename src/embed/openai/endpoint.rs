//! The settings of an endpoint with every gap filled: from the preset, from what is known of the model, from defaults.

use std::borrow::Cow;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::http_client;
use crate::settings::Secret;
use crate::settings::embedding::{EncodingFormat, OpenaiSettings};

use super::presets::{self, OPENAI_URL};

/// The most tokens in a text when nothing else is known.
const DEFAULT_MAX_TEXT_TOKENS: usize = 8191;

/// Everything that a call needs to know.
#[derive(Debug)]
pub struct Endpoint {
    pub url: Url,
    pub model: String,
    pub dimensions: usize,
    /// Whether every call says how many numbers a vector shall have.
    pub send_dimensions: bool,
    /// In which form every call asks for vectors.
    pub encoding_format: EncodingFormat,
    /// What says who calls: the header with the key.
    pub key: Option<(HeaderName, HeaderValue)>,
    /// What a person is to do about a key that is refused.
    pub key_advice: &'static str,
    /// What no reason may show, should the server repeat it: the key, and what stands in the query of the address.
    pub secrets: Vec<Secret>,
    /// Whether the model's tokens are those of `cl100k_base`.
    pub counts_tokens: bool,
    pub max_text_tokens: usize,
    pub price_per_million_tokens: f64,
}

impl Endpoint {
    /// Fills the gaps and reads the key's file.
    ///
    /// # Errors
    /// Names the setting and what to do.
    pub fn new(settings: &OpenaiSettings) -> Result<Self, String> {
        let preset = settings.preset.as_deref().map(presets::preset).transpose()?;
        let model = settings.model.as_deref().or(preset.map(|preset| preset.model));
        let model = model.filter(|model| !model.is_empty()).ok_or(
            "embedding.model: name the model, as in `model: text-embedding-3-small`, or choose a preset with `embedding.preset`",
        )?;
        let known = presets::model(model);
        let own = known.map(|known| known.dimensions);
        let dimensions = settings.dimensions.or(own).ok_or_else(|| {
            "embedding.dimensions: Vectide does not know this model; set how many numbers its vectors have".to_owned()
        })?;
        if dimensions == 0 {
            return Err("embedding.dimensions: a vector has at least one number".into());
        }
        let base_url = settings.base_url.as_deref().or(preset.map(|preset| preset.base_url)).unwrap_or(OPENAI_URL);
        let api_key = Secret::given("embedding.api_key", settings.api_key.as_ref(), settings.api_key_file.as_deref())?;
        if api_key.is_none() && presets::needs_key(base_url) {
            return Err(
                "embedding.api_key: this address answers nobody without a key; set it, best as `${OPENAI_API_KEY}`"
                    .into(),
            );
        }
        check_limits(settings)?;
        let url = embeddings_url(base_url)?;
        let key = api_key.as_ref().map(|key| key_header(key, &url)).transpose()?;
        Ok(Self {
            secrets: api_key.iter().cloned().chain(in_query(&url)).collect(),
            url,
            model: model.to_owned(),
            dimensions,
            send_dimensions: settings.send_dimensions.unwrap_or(own.is_some_and(|own| own != dimensions)),
            encoding_format: settings.encoding_format,
            key,
            key_advice: match settings.api_key_file {
                Some(_) => "write the right one to the file of `embedding.api_key_file`, which is read again",
                None => "check `embedding.api_key`, and start again with the right one",
            },
            counts_tokens: known.is_some(),
            max_text_tokens: settings
                .max_text_tokens
                .or(known.map(|known| known.max_text_tokens))
                .unwrap_or(DEFAULT_MAX_TEXT_TOKENS),
            price_per_million_tokens: settings
                .price_per_million_tokens
                .or_else(|| presets::price(model, base_url))
                .unwrap_or_default(),
        })
    }
}

/// Limits under which no call would ever go out.
fn check_limits(settings: &OpenaiSettings) -> Result<(), String> {
    let limits = settings.rate_limit;
    for (setting, is_nothing) in [
        ("concurrency", settings.concurrency == 0),
        ("rate_limit.requests_per_minute", limits.requests_per_minute == Some(0)),
        ("rate_limit.tokens_per_minute", limits.tokens_per_minute == Some(0)),
        ("connect_timeout", settings.connect_timeout.as_duration().is_zero()),
        ("timeout", settings.timeout.as_duration().is_zero()),
        ("max_text_tokens", settings.max_text_tokens == Some(0)),
    ] {
        if is_nothing {
            return Err(format!("embedding.{setting}: with 0, no text would ever be embedded; raise it"));
        }
    }
    Ok(())
}

/// The address of the calls: `base_url` with `/embeddings` behind its path; a query (Azure's `?api-version=`) is kept. What is wrong
/// is told without the address: like every text of the settings it may come from the environment, and hold a secret.
fn embeddings_url(base_url: &str) -> Result<Url, String> {
    let wrong = |what: &str| format!("embedding.base_url: {what}; write it like `{OPENAI_URL}`");
    let mut url = Url::parse(base_url).map_err(|error| wrong(&format!("is not an address ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("embedding.base_url: it holds a name or a password; put the key into `embedding.api_key`".into());
    }
    let path = url.path().trim_end_matches('/');
    let path = format!("{}/embeddings", path.strip_suffix("/embeddings").unwrap_or(path));
    url.set_path(&path);
    Ok(url)
}

/// The header with the key. At an address with a version, Azure takes a bearer token for that of somebody who signed in: a
/// JSON Web Token.
fn key_header(key: &Secret, url: &Url) -> Result<(HeaderName, HeaderValue), String> {
    let is_azure = url.query_pairs().any(|(name, _)| name == AZURE_VERSION);
    let (name, value) = if is_azure && !key.reveal().starts_with(TOKEN) {
        (HeaderName::from_static("api-key"), key.reveal().to_owned())
    } else {
        (AUTHORIZATION, format!("Bearer {}", key.reveal()))
    };
    Ok((name, http_client::secret_header(&value, "embedding.api_key")?))
}

/// Shorter values in a query are no secrets, but words of every answer: a region, a language.
const SHORTEST_SECRET: usize = 8;

/// How every JSON Web Token begins: `{"` in base64.
const TOKEN: &str = "eyJ";

/// What the address of every deployment at Azure has. It is no secret: answers speak of it when it is wrong.
const AZURE_VERSION: &str = "api-version";

/// The values in an address's query that may be secrets, as they stand there and as they are meant.
fn in_query(url: &Url) -> impl Iterator<Item = Secret> {
    let written = url.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let written = written.map(|(name, value)| (name.into(), value.into()));
    let may_be_secret = |(name, value): &(Cow<str>, Cow<str>)| name != AZURE_VERSION && value.len() >= SHORTEST_SECRET;
    written.chain(url.query_pairs()).filter(may_be_secret).map(|(_, value)| Secret::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(yaml: &str) -> Result<Endpoint, String> {
        Endpoint::new(&serde_yaml::from_str(yaml).unwrap())
    }

    #[test]
    fn a_preset_fills_the_gaps_and_settings_go_first() {
        let small = endpoint("{ preset: openai-small, api_key: k }").unwrap();
        assert_eq!(small.url.as_str(), "https://api.openai.com/v1/embeddings");
        assert_eq!(
            (small.model.as_str(), small.dimensions, small.send_dimensions),
            ("text-embedding-3-small", 1536, false)
        );
        assert_eq!((small.price_per_million_tokens, small.max_text_tokens, small.counts_tokens), (0.02, 8191, true));

        let short = endpoint(
            "{ preset: openai-large, api_key: k, dimensions: 256, price_per_million_tokens: 1, max_text_tokens: 100 }",
        );
        let short = short.unwrap();
        assert_eq!((short.dimensions, short.send_dimensions), (256, true));
        assert_eq!((short.price_per_million_tokens, short.max_text_tokens), (1.0, 100));

        let sheep = endpoint("{ preset: holysheep-large, api_key: k }").unwrap();
        assert_eq!(sheep.url.as_str(), "https://api.holysheep.ai/v1/embeddings");
        assert_eq!(sheep.dimensions, 3072);

        let elsewhere = endpoint("{ preset: openai-small, base_url: 'http://localhost:1' }").unwrap();
        assert_eq!(elsewhere.price_per_million_tokens, 0.0, "a preset's price is not that of another endpoint");
        for same in [
            "{ preset: openai-small, base_url: 'https://api.openai.com/v1/', api_key: k }",
            "{ model: text-embedding-3-small, api_key: k }",
        ] {
            assert_eq!(endpoint(same).unwrap().price_per_million_tokens, 0.02, "{same}");
        }
    }

    #[test]
    fn an_unknown_model_needs_its_dimensions() {
        let other = endpoint("{ base_url: 'http://localhost:8000/v1/', model: bge-m3, dimensions: 1024 }").unwrap();
        assert_eq!(other.url.as_str(), "http://localhost:8000/v1/embeddings");
        assert!(!other.send_dimensions && !other.counts_tokens && other.key.is_none());
        let whole = endpoint("{ base_url: 'http://x/v1/embeddings/', model: m, dimensions: 1 }").unwrap();
        assert_eq!(whole.url.as_str(), "http://x/v1/embeddings");
        let other =
            endpoint("{ base_url: 'http://x', model: bge-m3, dimensions: 1024, send_dimensions: true }").unwrap();
        assert!(other.send_dimensions);
    }

    #[test]
    fn azure_has_its_version_in_the_address_and_the_key_in_a_header_of_its_own() {
        let at = |base_url, key| {
            endpoint(&format!("{{ base_url: '{base_url}', preset: openai-small, api_key: {key} }}")).unwrap()
        };
        let deployment = at("https://x.example/openai/deployments/d?api-version=1", "k");
        assert_eq!(deployment.url.as_str(), "https://x.example/openai/deployments/d/embeddings?api-version=1");
        assert_eq!(deployment.key, Some((HeaderName::from_static("api-key"), HeaderValue::from_static("k"))));
        let signed_in = at("https://x.example/openai/deployments/d?api-version=1", "eyJ0");
        assert_eq!(signed_in.key, Some((AUTHORIZATION, HeaderValue::from_static("Bearer eyJ0"))));
        let unversioned = at("https://x.example/openai/v1", "k");
        assert_eq!(unversioned.key, Some((AUTHORIZATION, HeaderValue::from_static("Bearer k"))));
    }

    #[test]
    fn what_stands_in_the_query_is_a_secret_unless_it_is_short_or_the_version_of_azure() {
        let base_url = "https://x.example/v1?api-version=2024-02-01-preview&lang=en&key=a%2Fsecret";
        let endpoint = endpoint(&format!("{{ base_url: '{base_url}', preset: openai-small, api_key: k }}")).unwrap();
        let secrets: Vec<&str> = endpoint.secrets.iter().map(Secret::reveal).collect();
        assert_eq!(secrets, ["k", "a%2Fsecret", "a/secret"]);
    }

    #[test]
    fn errors_name_the_setting_and_what_to_do() {
        for (yaml, start, hint) in [
            ("{}", "embedding.model: ", "embedding.preset"),
            ("{ model: '' }", "embedding.model: ", "embedding.preset"),
            ("{ model: bge-m3 }", "embedding.dimensions: ", "how many numbers"),
            ("{ model: bge-m3, dimensions: 0 }", "embedding.dimensions: ", "at least one"),
            ("{ preset: big }", "embedding.preset: ", "openai-large"),
            ("{ preset: openai-small, base_url: localhost }", "embedding.base_url: ", "https://"),
            ("{ preset: openai-small, base_url: 'ftp://x' }", "embedding.base_url: ", "neither"),
            ("{ preset: openai-small, base_url: 'https://u:p@x' }", "embedding.base_url: ", "api_key"),
            ("{ preset: openai-small, api_key: ' ' }", "embedding.api_key: ", "environment variable"),
            ("{ preset: openai-small, api_key: a, api_key_file: b }", "embedding.api_key: ", "one of the two"),
            ("{ preset: openai-small }", "embedding.api_key: ", "${OPENAI_API_KEY}"),
            ("{ preset: openai-small, base_url: 'https://api.openai.com/v1/' }", "embedding.api_key: ", "set it"),
            ("{ preset: openai-small, api_key: k, concurrency: 0 }", "embedding.concurrency: ", "raise it"),
            (
                "{ preset: openai-small, api_key: k, rate_limit: { tokens_per_minute: 0 } }",
                "embedding.rate_limit.tokens_per_minute: ",
                "raise it",
            ),
            ("{ preset: openai-small, api_key_file: /no/such/file }", "embedding.api_key_file: ", "No such file"),
            ("{ preset: openai-small, api_key_file: /dev/null }", "embedding.api_key_file: ", "empty"),
        ] {
            let error = endpoint(yaml).unwrap_err();
            assert!(error.starts_with(start) && error.contains(hint), "{yaml}: {error}");
        }
        for secret in ["base_url: 'https://u:p4ss@x'", "base_url: 'https://p4ss:99999'", "api_key_file: /p4ss"] {
            let error = endpoint(&format!("{{ preset: openai-small, {secret} }}")).unwrap_err();
            assert!(!error.contains("p4ss"), "{error}");
        }
    }

    #[test]
    fn a_key_from_a_file_loses_its_line_end_and_byte_order_mark() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}sk-secret \n").unwrap();
        let endpoint =
            endpoint(&format!("{{ preset: openai-small, api_key_file: {} }}", file.path().display())).unwrap();
        assert_eq!(endpoint.key.as_ref().unwrap().1, "Bearer sk-secret");
        assert!(!format!("{endpoint:?}").contains("sk-secret"));
    }
}
