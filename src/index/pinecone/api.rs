//! Calls to Pinecone: where the index is, and up to which write its searches have seen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::collection::CollectionError;
use super::super::{address, authorities};
use super::{verdict, wire};
use crate::http_client;
use crate::settings::Secret;
use crate::settings::pinecone::PineconeSettings;

const VERSION: &str = "2025-10";
/// The most bytes that are read of an answer: a fetch with the most numbers and metadata.
const MAX_ANSWER: usize = 64 << 20;

/// See the module.
pub(super) struct Api {
    client: Client,
    url: Url,
    key: Secret,
    /// The name of the index.
    index: String,
    /// Where the index is, as the API said last.
    host: Mutex<Option<Url>>,
    /// The largest number of a write of this process, and of what a search has seen.
    written: AtomicU64,
    seen: AtomicU64,
}

impl Api {
    /// For calls to one index. Asks nobody.
    ///
    /// # Errors
    /// A configuration that cannot be used: names the setting and what to do.
    pub(super) fn new(settings: &PineconeSettings, index: &str) -> Result<Self, String> {
        let url = address::http(&settings.url, "leave it out for Pinecone's own")?;
        let key = Secret::given("index.api_key", settings.api_key.as_ref(), settings.api_key_file.as_deref())?;
        let key =
            key.ok_or("index.api_key: Pinecone answers nobody without a key; set it, best as `${PINECONE_API_KEY}`")?;
        let mut headers = HeaderMap::new();
        let mut value = http_client::header(key.reveal(), "index.api_key")?;
        value.set_sensitive(true);
        headers.insert("api-key", value);
        headers.insert("x-pinecone-api-version", HeaderValue::from_static(VERSION));
        let (ca_file, timeout) = (settings.ca_file.as_deref(), settings.timeout.as_duration());
        let client = authorities::http_client(&url, ca_file, headers, timeout, settings.concurrency)?;
        Ok(Self {
            client,
            url,
            key,
            index: index.to_owned(),
            host: Mutex::default(),
            written: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        })
    }

    /// The host that is asked where indexes are.
    pub(super) fn place(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// One call: the answer's body and headers.
    pub(super) async fn call(
        &self,
        method: Method,
        url: Url,
        body: Option<Vec<u8>>,
    ) -> Result<(Vec<u8>, HeaderMap), CollectionError> {
        let call = format!("{method} {}", url.path());
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let answer = http_client::ask(request, MAX_ANSWER, "index.timeout", "index.url").await;
        let answer = answer.map_err(|reason| {
            self.forget_host();
            CollectionError::Unavailable { reason: format!("{call}: {reason}"), after: None }
        })?;
        if !answer.status.is_success() {
            return Err(verdict::judge(answer.status, &answer.headers, &answer.body, &self.key, SystemTime::now()));
        }
        Ok((answer.body, answer.headers))
    }

    /// A call to the index itself. Where it is, is asked for first when it is not known, and again after it was not there.
    pub(super) async fn ask<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<A, CollectionError> {
        let url = self.host().await?.join(path).map_err(|error| unreadable(&error.to_string()))?;
        let answer = self.call(method, url, body.map(json)).await;
        if matches!(answer, Err(CollectionError::Missing(_))) {
            self.forget_host();
        }
        let (body, headers) = answer?;
        note(&headers, "x-pinecone-request-lsn", &self.written);
        note(&headers, "x-pinecone-max-indexed-lsn", &self.seen);
        parse(&body)
    }

    async fn host(&self) -> Result<Url, CollectionError> {
        if let Some(host) = self.host.lock().clone() {
            return Ok(host);
        }
        match self.describe().await? {
            Some(index) => self.locate(&index),
            None => Err(CollectionError::Missing(format!("Pinecone has no index `{}`", self.index))),
        }
    }

    /// Remembers where the index is. The API gives a bare name; the scheme is then that of the API.
    pub(super) fn locate(&self, index: &wire::Index) -> Result<Url, CollectionError> {
        let host = if index.host.contains("://") {
            index.host.clone()
        } else {
            format!("{}://{}", self.url.scheme(), index.host)
        };
        let host = Url::parse(&host).map_err(|error| unreadable(&format!("the host of the index: {error}")))?;
        *self.host.lock() = Some(host.clone());
        Ok(host)
    }

    /// An index that was made anew is elsewhere.
    fn forget_host(&self) {
        *self.host.lock() = None;
    }

    /// The index as Pinecone has it; nothing when there is none.
    pub(super) async fn describe(&self) -> Result<Option<wire::Index>, CollectionError> {
        match self.call(Method::GET, self.url_of(&format!("indexes/{}", self.index)), None).await {
            Ok((body, _)) => parse(&body).map(Some),
            Err(CollectionError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The address of a call about indexes.
    pub(super) fn url_of(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// The number of the last write of this process.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Up to which write the last search had seen.
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

fn note(headers: &HeaderMap, name: &'static str, number: &AtomicU64) {
    let found = headers.get(HeaderName::from_static(name)).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    if let Some(found) = found {
        number.fetch_max(found, Ordering::Relaxed);
    }
}

pub(super) fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts, maps and finite numbers always have a JSON form")
}

pub(super) fn parse<A: DeserializeOwned>(body: &[u8]) -> Result<A, CollectionError> {
    // A write may be answered with nothing at all.
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))
}

pub(super) fn unreadable(why: &str) -> CollectionError {
    CollectionError::Unavailable { reason: format!("its answer cannot be read: {why}"), after: None }
}
