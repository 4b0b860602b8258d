//! Weaviate's REST API, which has what its gRPC API has not: the schema, and changes of single properties.

use std::time::SystemTime;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::Value;

use crate::index::external::collection::CollectionError;
use crate::index::external::http::{self, json, parse};
use crate::settings::Secret;
use crate::settings::weaviate::WeaviateSettings;

pub struct Rest {
    pub http: http::Client,
    key: Option<Secret>,
}

impl Rest {
    /// # Errors
    /// Names the setting and what to do. Never shows the address, which may hold a secret.
    pub fn new(settings: &WeaviateSettings, key: Option<&Secret>) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            headers.insert(AUTHORIZATION, http::key(&format!("Bearer {}", key.reveal()))?);
        }
        let (ca_file, timeout) = (settings.ca_file.as_deref(), settings.timeout.as_duration());
        let advice = "write it like `http://127.0.0.1:8080`";
        let http = http::Client::new(&settings.url, advice, ca_file, headers, timeout, settings.concurrency)?;
        Ok(Self { http, key: key.cloned() })
    }

    /// The server's host and port, for people.
    pub fn address(&self) -> String {
        let host = self.http.host();
        self.http.url().port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// One call. `path` begins behind `/v1/`. Answers the JSON that comes.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CollectionError> {
        let answer = self.http.call(method, self.http.at(&format!("v1/{path}")), body.map(json)).await?;
        if !answer.status.is_success() {
            return Err(http::judge(&answer, "Weaviate", self.key.as_ref(), SystemTime::now()));
        }
        parse(&answer.body)
    }
}
