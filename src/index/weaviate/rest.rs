//! Weaviate's REST API, which has what its gRPC API has not: the schema, and changes of single properties.

use std::time::SystemTime;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Method, Url};
use serde_json::Value;

use crate::http_client;
use crate::index::collection::CollectionError;
use crate::index::{address, authorities};
use crate::settings::Secret;
use crate::settings::weaviate::WeaviateSettings;

use super::verdict;

/// The most bytes that are read of an answer.
const MAX_ANSWER: usize = 16 << 20;

pub struct Rest {
    client: Client,
    url: Url,
    key: Option<Secret>,
}

impl Rest {
    /// # Errors
    /// Names the setting and what to do. Never shows the address, which may hold a secret.
    pub fn new(settings: &WeaviateSettings, key: Option<&Secret>) -> Result<Self, String> {
        let url = address::http(&settings.url, "write it like `http://127.0.0.1:8080`")?;
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut value = http_client::header(&format!("Bearer {}", key.reveal()), "index.api_key")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let (ca_file, timeout) = (settings.ca_file.as_deref(), settings.timeout.as_duration());
        let client = authorities::http_client(&url, ca_file, headers, timeout, settings.concurrency)?;
        Ok(Self { client, url, key: key.cloned() })
    }

    /// The server's host, for people and for gRPC.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The server's host and port.
    pub fn address(&self) -> String {
        self.url.port().map_or_else(|| self.host().to_owned(), |port| format!("{}:{port}", self.host()))
    }

    /// What of the server's address stands before the path of a call: nothing, where it has its host for itself.
    pub fn folder(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// Whether calls are encrypted.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// One call. `path` begins behind `/v1/`. The JSON of the answer, or null where there is none.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CollectionError> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/v1/{path}", self.folder()));
        let mut request = self.client.request(method.clone(), url);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = http_client::ask(request, MAX_ANSWER, "index.timeout", "index.url").await;
        let answer = answer.map_err(|reason| CollectionError::Unavailable {
            reason: format!("{method} {path}: {reason}"),
            after: None,
        })?;
        if !answer.status.is_success() {
            return Err(verdict::judge_rest(&answer, self.key.as_ref(), SystemTime::now()));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|error| CollectionError::Unavailable {
            reason: format!("its answer cannot be read: {error}"),
            after: None,
        })
    }
}
