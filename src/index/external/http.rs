//! A client for systems with an HTTP interface that speaks JSON: one call, one answer.

use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::http_client::{self, Answer, SettingNames, retry_after, shown};
use crate::settings::Secret;

use super::authorities;
use super::collection::CollectionError;

/// The most bytes that are read of an answer: points with the most numbers and metadata.
const MAX_ANSWER: usize = 64 << 20;

const SETTINGS: SettingNames = SettingNames { timeout: "index.timeout", url: "index.url" };

/// See the module.
pub struct Client {
    client: reqwest::Client,
    url: Url,
}

impl Client {
    /// For the server at `index.url`, which with `https` is trusted by the authorities in `ca_file`, or the system's. Every call carries
    /// the headers and takes at most `timeout`; as many connections are kept open as there are calls at once. Opens none. `advice` ends
    /// what is said of an address that is none.
    ///
    /// # Errors
    /// Names the setting and what to do. Never shows the address, which may hold a secret.
    pub fn new(
        url: &str,
        advice: &str,
        ca_file: Option<&Path>,
        headers: HeaderMap,
        timeout: Duration,
        concurrency: usize,
    ) -> Result<Self, String> {
        let url = address(url, advice)?;
        let client = authorities::trusting(http_client::builder(), &url, ca_file)?
            .default_headers(headers)
            .timeout(timeout)
            .pool_max_idle_per_host(concurrency)
            .build()
            .map_err(|error| format!("index: cannot prepare connections: {}", http_client::causes(error)))?;
        Ok(Self { client, url })
    }

    /// Where the server is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The server's host, for people.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// What of the server's address stands before the path of a call: nothing, where it has its host for itself.
    pub fn folder(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// The address of a call.
    pub fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.folder()));
        url
    }

    /// One call, with JSON or nothing in it. Answers whatever the server does, also when that is an error.
    ///
    /// # Errors
    /// That there is no answer.
    pub async fn call(&self, method: Method, url: Url, body: Option<Vec<u8>>) -> Result<Answer, CollectionError> {
        // What stands before the path of a call may be a secret.
        let is_ours = url.origin() == self.url.origin();
        let path = url.path().strip_prefix(self.folder()).filter(|path| is_ours && path.starts_with('/'));
        let call = format!("{method} {}", path.unwrap_or(url.path()));
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let answer = http_client::ask(request, MAX_ANSWER, SETTINGS).await;
        answer.map_err(|reason| CollectionError::Unavailable { reason: format!("{call}: {reason}"), after: None })
    }
}

fn address(url: &str, advice: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|error| format!("index.url: is not an address ({error}); {advice}"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("index.url: must start with `http://` or `https://`; {advice}"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("index.url: it holds a name or a password; put the key into `index.api_key`".to_owned());
    }
    Ok(parsed)
}

/// The header that has the key in it.
///
/// # Errors
/// Names the setting, and never shows the key.
pub fn key(value: &str) -> Result<HeaderValue, String> {
    http_client::secret_header(value, "index.api_key")
}

/// The body of a call.
pub fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts, maps and finite numbers always have a JSON form")
}

/// What is in the body of an answer.
///
/// # Errors
/// That it is something else.
pub fn parse<A: DeserializeOwned>(body: &[u8]) -> Result<A, CollectionError> {
    // A write may be answered with nothing at all.
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))
}

/// What an answer means that is an error, wherever the system in question gives its status no meaning of its own. `system` is its name;
/// where it is, the collection's place says before every error.
pub fn judge(answer: &Answer, system: &str, key: Option<&Secret>, now: SystemTime) -> CollectionError {
    let (status, said) = (answer.status, said(answer, key));
    match status.as_u16() {
        400 | 413 | 422 => CollectionError::OneRefused(format!("{system} refused it: {said}")),
        // Servers repeat keys in their words, which are left out.
        401 => CollectionError::Fatal(format!("HTTP {status}: the key is missing or wrong; check `index.api_key`")),
        403 => CollectionError::Fatal(format!(
            "{system} does not let this key do it; give it the right to read and write the collection: {said}"
        )),
        404 => CollectionError::Missing(format!("{system} does not have it: {said}")),
        408 | 409 | 425 | 429 | 500.. => {
            CollectionError::Unavailable { reason: said, after: retry_after(&answer.headers, now) }
        }
        _ => CollectionError::Fatal(format!("{said}; this does not answer like {system}: check `index.url`")),
    }
}

/// The status and the server's own words, where systems have them, or whatever it sent.
pub fn said(answer: &Answer, key: Option<&Secret>) -> String {
    let Answer { status, body, .. } = answer;
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = ["/error/message", "/error/0/message", "/message"].iter().find_map(|at| json.pointer(at)?.as_str());
    match shown(message.unwrap_or(&String::from_utf8_lossy(body)), key) {
        words if words.is_empty() => format!("HTTP {status}"),
        words => format!("HTTP {status}: {words}"),
    }
}

/// That an answer is not what it should be.
pub fn unreadable(why: &str) -> CollectionError {
    CollectionError::Unavailable { reason: format!("its answer cannot be read: {why}"), after: None }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn client(url: &str) -> Result<Client, String> {
        Client::new(url, "write it like this", None, HeaderMap::new(), Duration::from_secs(5), 1)
    }

    #[test]
    fn a_status_is_judged_by_what_helps_and_a_key_is_not_repeated() {
        let key = Secret::new("hunter2");
        let judged = |status: u16, body: &str| {
            let (status, mut headers) = (StatusCode::from_u16(status).unwrap(), HeaderMap::new());
            headers.insert("retry-after", HeaderValue::from_static("7"));
            let answer = Answer { status, headers, body: body.into() };
            judge(&answer, "Weaviate", Some(&key), SystemTime::UNIX_EPOCH)
        };
        for (status, body, kind, words) in [
            (400, r#"{"code": 3, "message": "Metadata size is 41000 bytes"}"#, "refused", "41000 bytes"),
            (413, "", "refused", "413"),
            (422, r#"{"error": [{"message": "no hunter2\nhere"}]}"#, "refused", "Weaviate refused it: HTTP 422"),
            (401, r#"{"error": {"message": "Invalid API Key hunter2"}}"#, "fatal", "index.api_key"),
            (403, r#"{"error": {"message": "not for hunter2"}}"#, "fatal", "not for ***"),
            (404, "", "missing", "404"),
            (429, "slow down", "unavailable", "slow down"),
            (500, "", "unavailable", "500"),
            (503, "<html>", "unavailable", "<html>"),
            (599, "{}", "unavailable", "599"),
            (302, "", "fatal", "index.url"),
        ] {
            let error = judged(status, body);
            let found = match &error {
                CollectionError::OneRefused(_) => "refused",
                CollectionError::Fatal(_) => "fatal",
                CollectionError::Missing(_) => "missing",
                CollectionError::Unavailable { after, .. } => {
                    assert_eq!(*after, Some(Duration::from_secs(7)));
                    "unavailable"
                }
                _ => panic!("{error:?}"),
            };
            assert_eq!(found, kind, "{status}");
            assert!(error.to_string().contains(words) && !error.to_string().contains("hunter2"), "{status}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_an_address_is_told_without_it() {
        for (url, said) in [
            ("hunter2", "is not an address"),
            ("ftp://hunter2", "must start with `http://` or `https://`"),
            ("http://key:hunter2@localhost", "put the key into `index.api_key`"),
        ] {
            let told = client(url).err().unwrap();
            assert!(told.starts_with("index.url: ") && told.contains(said) && !told.contains("hunter2"), "{told}");
        }
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = client(&format!("http://{nobody}/hunter2/?key=hunter2")).unwrap();
        let told = client.call(Method::GET, client.at("v1/things"), None).await.err().unwrap().to_string();
        assert!(told.starts_with("GET /v1/things: cannot connect") && !told.contains("hunter2"), "{told}");
        let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let elsewhere = Url::parse(&format!("http://{elsewhere}/hunter2things")).unwrap();
        let told = client.call(Method::GET, elsewhere, None).await.err().unwrap().to_string();
        assert!(told.starts_with("GET /hunter2things: cannot connect"), "{told}");
    }
}
