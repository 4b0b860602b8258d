//! Calls to Pinecone, and where the index is.

use std::time::SystemTime;

use parking_lot::Mutex;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire;
use crate::http_client::Answer;
use crate::index::external::collection::{CollectionError, if_there};
use crate::index::external::http::{self, json, parse, unreadable};
use crate::settings::Secret;
use crate::settings::pinecone::PineconeSettings;

const VERSION: &str = "2025-10";

/// See the module.
pub(super) struct Api {
    /// Asks where indexes are, and the index itself too.
    pub(super) http: http::Client,
    key: Secret,
    /// The name of the index.
    index: String,
    /// Where the index is, as the API said last.
    host: Mutex<Option<Url>>,
}

impl Api {
    /// For calls to one index. Asks nobody.
    ///
    /// # Errors
    /// A configuration that cannot be used: names the setting and what to do.
    pub(super) fn new(settings: &PineconeSettings, index: &str) -> Result<Self, String> {
        let key = Secret::given("index.api_key", settings.api_key.as_ref(), settings.api_key_file.as_deref())?;
        let key =
            key.ok_or("index.api_key: Pinecone answers nobody without a key; set it, best as `${PINECONE_API_KEY}`")?;
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static("api-key"), http::key(key.reveal())?),
            (HeaderName::from_static("x-pinecone-api-version"), HeaderValue::from_static(VERSION)),
        ]);
        let (ca_file, timeout) = (settings.ca_file.as_deref(), settings.timeout.as_duration());
        let advice = "leave it out for Pinecone's own";
        let http = http::Client::new(&settings.url, advice, ca_file, headers, timeout, settings.concurrency)?;
        Ok(Self { http, key, index: index.to_owned(), host: Mutex::default() })
    }

    /// One call, and its answer, which is no error.
    pub(super) async fn call(
        &self,
        method: Method,
        url: Url,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, CollectionError> {
        let answer = self.http.call(method, url, body).await.inspect_err(|_| self.forget_host())?;
        if !answer.status.is_success() {
            return Err(judge(&answer, &self.key));
        }
        Ok(answer)
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
        parse(&answer?.body)
    }

    /// As [`Api::ask`], about records: `None` when the index is there and the namespace is not, which has no records then.
    pub(super) async fn ask_namespace<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Option<A>, CollectionError> {
        match self.ask(method, path, body).await {
            Err(CollectionError::Missing(_)) if self.describe().await?.is_some() => Ok(None),
            answer => answer.map(Some),
        }
    }

    async fn host(&self) -> Result<Url, CollectionError> {
        if let Some(host) = self.host.lock().clone() {
            return Ok(host);
        }
        self.locate(&self.described().await?)
    }

    /// Remembers where the index is. The API gives a bare name; the scheme is then that of the API.
    pub(super) fn locate(&self, index: &wire::Index) -> Result<Url, CollectionError> {
        let host = if index.host.contains("://") {
            index.host.clone()
        } else {
            format!("{}://{}", self.http.url().scheme(), index.host)
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
        let answer = self.call(Method::GET, self.http.at(&format!("indexes/{}", self.index)), None).await;
        if_there(answer)?.map(|answer| parse(&answer.body)).transpose()
    }

    /// As [`Api::describe`], where there must be one.
    pub(super) async fn described(&self) -> Result<wire::Index, CollectionError> {
        let missing = || CollectionError::Missing(format!("Pinecone has no index `{}`", self.index));
        self.describe().await?.ok_or_else(missing)
    }
}

/// What an answer means that is an error.
fn judge(answer: &Answer, key: &Secret) -> CollectionError {
    let hint = match answer.status.as_u16() {
        402 => "the account must be paid for",
        403 => "the key may not do this, or a quota is used up: check both in the console",
        _ => return http::judge(answer, "Pinecone", Some(key), SystemTime::now()),
    };
    CollectionError::Fatal(format!("{}; {hint}", http::said(answer, Some(key))))
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn an_account_that_is_not_paid_for_or_has_no_quota_left_is_told_as_that() {
        let key = Secret::new("pc-secret");
        for (status, hint) in [(402, "paid for"), (403, "a quota is used up")] {
            let status = StatusCode::from_u16(status).unwrap();
            let body = br#"{"error": {"message": "not for pc-secret"}}"#.to_vec();
            let told = judge(&Answer { status, headers: HeaderMap::new(), body }, &key);
            assert!(
                matches!(&told, CollectionError::Fatal(text) if text.contains("not for ***") && text.contains(hint)),
                "{told:?}"
            );
        }
    }
}
