//! Any endpoint that speaks OpenAI's `POST /embeddings`.

mod answer;
mod endpoint;
#[cfg(test)]
mod hostile;
mod judge;
mod outline;
pub(crate) mod presets;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, StatusCode};
use serde::Serialize;

use crate::actor::offload::{try_on_blocking_thread, try_on_core};
use crate::actor::panic::Panic;
use crate::document::chunk::Tokenizer;
use crate::http_client::{self, SettingNames, body, no_answer};
use crate::settings::embedding::{EncodingFormat, OpenaiSettings};

use super::provider::{Embeddings, InputType, Provider, ProviderError};
use super::space::Space;

pub(crate) use endpoint::Endpoint;
use judge::MAX_COMPLAINT;
pub(crate) use judge::judge;

/// The most texts that OpenAI's API description allows in one call. It also allows 300,000 tokens, which `batching.max_tokens` keeps;
/// a call above either is refused and halved.
const MAX_ITEMS: usize = 2048;

/// The most that is read of an answer, beside what its vectors take.
const MAX_ANSWER: usize = 64 << 20;

/// The bytes a number takes in a JSON array at most, spaces and line ends included: base64 takes less than six.
const BYTES_A_NUMBER: usize = 32;

/// How long an idle connection is kept: less than the five seconds after which servers in Python and Node close it, and break a call that
/// is sent at that moment.
const KEPT: Duration = Duration::from_secs(4);

const SETTINGS: SettingNames = SettingNames { timeout: "embedding.timeout", url: "embedding.base_url" };

/// The provider: one pool of connections to one endpoint.
pub struct Openai {
    client: Client,
    endpoint: Arc<Endpoint>,
    /// The same with the key that calls carry: one that stands in a file is read again when it is refused.
    current: Mutex<Arc<Endpoint>>,
    settings: OpenaiSettings,
    space: Space,
}

/// What OpenAI's models read. Its tables take 40 MB, and most catalogues have no text that is long enough to be counted: only such a text
/// loads them.
struct Cl100k;

impl Tokenizer for Cl100k {
    fn count(&self, text: &str) -> usize {
        bpe_openai::cl100k_base().count(text)
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [Arc<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

impl Openai {
    /// Fills the gaps of the settings and prepares the connections; opens none.
    ///
    /// # Errors
    /// Names the setting and what to do.
    pub fn new(settings: &OpenaiSettings) -> Result<Self, String> {
        let endpoint = Endpoint::new(settings)?;
        let space = Space {
            model: format!("openai/{}", endpoint.model),
            // The endpoint tells nobody when it changes a model, so there is nothing to write here.
            revision: String::new(),
            dimensions: endpoint.dimensions,
        };
        let endpoint = Arc::new(endpoint);
        Ok(Self {
            client: client(settings)?,
            current: Mutex::new(endpoint.clone()),
            endpoint,
            settings: settings.clone(),
            space,
        })
    }

    async fn call(&self, texts: Vec<Arc<str>>) -> Result<Embeddings, ProviderError> {
        let count = texts.len();
        let current = self.current.lock().clone();
        let endpoint = current.clone();
        // A batch may hold megabytes, and its answer does: writing and reading them is work for another core.
        let request = try_on_core(move || request(&texts, &endpoint)).await.map_err(interrupted)?;
        let lost = |error| ProviderError::retry(no_answer(error, SETTINGS));
        let post = self.client.post(current.url.clone()).header(CONTENT_TYPE, "application/json").body(request);
        let post = current.key.iter().fold(post, |post, (name, key)| post.header(name, key));
        let response = post.send().await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = body(response, self.most(status, count), SETTINGS).await.map_err(ProviderError::retry)?;
        let endpoint = current.clone();
        let now = SystemTime::now();
        let judge = move || judge(status, &headers, &body, count, &endpoint, now);
        match try_on_core(judge).await.map_err(interrupted)? {
            Err(ProviderError::Fatal(reason) | ProviderError::Forbidden(reason))
                if self.has_another_key_than(&current).await =>
            {
                Err(ProviderError::retry(format!("{reason}; it has another key now")))
            }
            answer => answer,
        }
    }

    /// Whether calls carry another key from now on than this one did, because its file was written anew. What is wrong with the file is
    /// told when the process starts again: the refusal says more of this call.
    async fn has_another_key_than(&self, refused: &Endpoint) -> bool {
        if self.settings.api_key_file.is_none() {
            return false;
        }
        let settings = self.settings.clone();
        if let Ok(Ok(now)) = try_on_blocking_thread(move || Endpoint::new(&settings)).await {
            *self.current.lock() = Arc::new(now);
        }
        self.current.lock().key != refused.key
    }

    /// The most bytes that are read of an answer.
    fn most(&self, status: StatusCode, count: usize) -> usize {
        if status.is_success() { MAX_ANSWER + count * self.space.dimensions * BYTES_A_NUMBER } else { MAX_COMPLAINT }
    }
}

impl Provider for Openai {
    fn space(&self) -> &Space {
        &self.space
    }

    fn embed(&self, texts: Vec<Arc<str>>, _: InputType) -> BoxFuture<'_, Result<Embeddings, ProviderError>> {
        Box::pin(self.call(texts))
    }

    fn tokenizer(&self) -> Option<Arc<dyn Tokenizer>> {
        self.endpoint.counts_tokens.then(|| Arc::new(Cl100k) as Arc<dyn Tokenizer>)
    }

    fn max_text_tokens(&self) -> Option<usize> {
        Some(self.endpoint.max_text_tokens)
    }

    fn max_items(&self) -> usize {
        MAX_ITEMS
    }

    fn price_per_million_tokens(&self) -> f64 {
        self.endpoint.price_per_million_tokens
    }
}

fn client(settings: &OpenaiSettings) -> Result<Client, String> {
    http_client::builder()
        .default_headers(headers(settings)?)
        .connect_timeout(settings.connect_timeout.as_duration())
        .timeout(settings.timeout.as_duration())
        .pool_max_idle_per_host(settings.concurrency)
        .pool_idle_timeout(KEPT)
        .build()
        .map_err(|error| format!("embedding: cannot prepare connections: {}", http_client::causes(error)))
}

fn headers(settings: &OpenaiSettings) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value, setting) in [
        ("openai-organization", &settings.organization, "embedding.organization"),
        ("openai-project", &settings.project, "embedding.project"),
    ] {
        if let Some(value) = value {
            headers.insert(name, http_client::header(value, setting)?);
        }
    }
    Ok(headers)
}

/// The body of a call, straight to bytes.
fn request(texts: &[Arc<str>], endpoint: &Endpoint) -> Vec<u8> {
    let request = Request {
        model: &endpoint.model,
        input: texts,
        encoding_format: (endpoint.encoding_format == EncodingFormat::Base64).then_some("base64"),
        dimensions: endpoint.send_dimensions.then_some(endpoint.dimensions),
    };
    let size: usize = texts.iter().map(|text| text.len() + 8).sum();
    let mut body = Vec::with_capacity(size + size / 8 + 256);
    serde_json::to_writer(&mut body, &request).expect("texts and numbers always have a JSON form, and a Vec takes all");
    body
}

fn interrupted(_: Panic) -> ProviderError {
    ProviderError::retry("the call was interrupted")
}

#[cfg(test)]
mod tests;
