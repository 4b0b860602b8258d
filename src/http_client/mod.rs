//! What every client of an HTTP API here needs, whatever it calls.

mod retry_after;

use std::error::Error;
use std::sync::Once;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{ClientBuilder, RequestBuilder, Response, StatusCode, redirect};

use crate::settings::Secret;

pub use retry_after::retry_after;

/// The most characters of a server's own words in a reason.
const MAX_WORDS: usize = 300;

/// A client that names itself and follows no redirect: a redirected POST would lose its body or send the key to someone else.
pub fn builder() -> ClientBuilder {
    install_cryptography();
    reqwest::Client::builder()
        .user_agent(concat!("vectide/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
}

/// TLS with ring, once a process; a provider that the program around us installed before is kept.
fn install_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A header's value; `setting` is where it comes from, and the value is never shown.
pub fn header(value: &str, setting: &str) -> Result<HeaderValue, String> {
    // The library takes letters beyond ASCII, which no two servers read alike.
    let value = HeaderValue::from_str(value).ok().filter(|_| value.is_ascii());
    value.ok_or_else(|| {
        format!(
            "{setting}: it has a character that no HTTP header may have, such as a line end or a letter beyond ASCII"
        )
    })
}

/// As [`header`], for one with a key in it: it is left out wherever headers are shown.
pub fn secret_header(value: &str, setting: &str) -> Result<HeaderValue, String> {
    let mut value = header(value, setting)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Smaller pieces are joined: each keeps a buffer of its connection alive, and a body may come byte by byte.
const SMALL: usize = 16 << 10;

/// The names of the settings that an answer that does not come has to do with.
#[derive(Debug, Clone, Copy)]
pub struct SettingNames {
    /// How long it may take.
    pub timeout: &'static str,
    /// Where the endpoint is.
    pub url: &'static str,
}

/// At most `most` bytes of an answer's body, in the pieces in which they came, small ones joined. Of an error, what was readable: its
/// status says enough without its words.
///
/// # Errors
/// Why there is not all of a success.
pub async fn body(mut response: Response, most: usize, settings: SettingNames) -> Result<Vec<Bytes>, String> {
    let success = response.status().is_success();
    let (mut pieces, mut small, mut length) = (Vec::new(), Vec::new(), 0);
    let cut = loop {
        match response.chunk().await {
            Ok(Some(piece)) if length + piece.len() <= most => {
                length += piece.len();
                if piece.len() < SMALL {
                    small.extend_from_slice(&piece);
                    continue;
                }
                if !small.is_empty() {
                    pieces.push(std::mem::take(&mut small).into());
                }
                pieces.push(piece);
            }
            Ok(Some(_)) => break Some(format!("its answer is larger than {most} bytes, which none should be")),
            Ok(None) => break None,
            Err(error) => break Some(no_answer(error, settings)),
        }
    };
    if let Some(reason) = cut.filter(|_| success) {
        return Err(reason);
    }
    if !small.is_empty() {
        pieces.push(small.into());
    }
    Ok(pieces)
}

/// An answer that was read to its end; of an error, to where it was readable.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, at most as large as was asked for.
    pub body: Vec<u8>,
}

/// Sends a request to the endpoint that these settings are about, and reads at most `most` bytes of its answer.
///
/// # Errors
/// Why there is no answer, or not all of one that is a success.
pub async fn ask(request: RequestBuilder, most: usize, settings: SettingNames) -> Result<Answer, String> {
    let response = request.send().await.map_err(|error| no_answer(error, settings))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = body(response, most, settings).await?.concat();
    Ok(Answer { status, headers, body })
}

/// Why there was no answer; names the settings that have to do with it.
pub fn no_answer(error: reqwest::Error, settings: SettingNames) -> String {
    let SettingNames { timeout, url } = settings;
    let what = if error.is_timeout() {
        format!("the endpoint did not answer in time (`{timeout}`)")
    } else if error.is_connect() {
        let secure = error.url().is_some_and(|url| url.scheme() == "https");
        match proxy(secure, |name| std::env::var(name).ok()) {
            Some(name) => format!(
                "cannot connect to the endpoint (`{url}`), or to the proxy that `{name}` in the environment names unless \
                 `NO_PROXY` excepts it"
            ),
            None => format!("cannot connect to the endpoint (`{url}`)"),
        }
    } else {
        "the connection broke".to_owned()
    };
    format!("{what}: {}", causes(error))
}

/// Which variable names a proxy for an address, as the client reads them: of two spellings the first that exists counts, even if it is
/// empty.
fn proxy(secure: bool, variable: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let own = if secure { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));
    let named = [own, ["ALL_PROXY", "all_proxy"]].into_iter().filter_map(first).find(|(_, value)| !value.is_empty());
    named.map(|(name, _)| name)
}

/// The error and what caused it, without the address, which may hold a secret in its query.
pub fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    with_causes(error.to_string(), &error)
}

/// What was told of an error, and what caused it.
pub fn with_causes(mut told: String, error: &dyn Error) -> String {
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Wrappers repeat what they wrap.
        if !told.ends_with(&text) {
            told.push_str(": ");
            told.push_str(&text);
        }
        cause = error.source();
    }
    told
}

/// What a server said, on one line, not longer than a person reads, and without these secrets.
pub fn shown<'a>(message: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    let mask = |message: String, secret: &Secret| message.replace(secret.reveal(), "***");
    let message = secrets.into_iter().fold(message.to_owned(), mask);
    let mut words: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS + 1).collect();
    if words.chars().count() > MAX_WORDS {
        words.pop();
        words.push('…');
    }
    words.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{told}")]
    struct Failed {
        told: &'static str,
        source: Option<Box<Failed>>,
    }

    #[test]
    fn every_cause_is_told_once() {
        let failed = |told, source: Option<Failed>| Failed { told, source: source.map(Box::new) };
        let refused = failed("refused", None);
        let error = failed("cannot send", Some(failed("cannot connect: refused", Some(refused))));
        assert_eq!(with_causes(error.to_string(), &error), "cannot send: cannot connect: refused");
        let lone = failed("refused", None);
        assert_eq!(with_causes("it".to_owned(), &lone), "it");
    }

    #[test]
    fn what_is_shown_is_short_on_one_line_and_without_secrets() {
        let secrets = ["sk-1", "word"].map(Secret::new);
        assert_eq!(shown(" a\nsk-1 b?key=word sk-1 ", &secrets), "a *** b?key=*** ***");
        assert_eq!(shown("sk-1", None), "sk-1");
        assert_eq!(shown(&"ü".repeat(1000), &secrets).chars().count(), MAX_WORDS + 1);
    }

    #[test]
    fn the_proxy_that_is_in_the_way_is_named() {
        let named = |secure, set: &[&str]| proxy(secure, |name| set.contains(&name).then(|| "http://p".to_owned()));
        assert_eq!(named(false, &[]), None);
        assert_eq!(named(false, &["HTTPS_PROXY", "http_proxy", "ALL_PROXY"]), Some("http_proxy"));
        assert_eq!(named(true, &["HTTP_PROXY", "HTTPS_PROXY"]), Some("HTTPS_PROXY"));
        assert_eq!(named(true, &["HTTP_PROXY", "all_proxy"]), Some("all_proxy"));
        let emptied = |name: &str| Some(if name == "HTTP_PROXY" { "" } else { "http://p" }.to_owned());
        assert_eq!((proxy(false, emptied), proxy(true, emptied)), (Some("ALL_PROXY"), Some("HTTPS_PROXY")));
    }

    #[test]
    fn a_header_is_of_ascii_and_what_is_wrong_is_not_shown() {
        assert!(header("Bearer sk-1", "embedding.api_key").is_ok());
        for value in ["Bearer sk\n1", "Bearer sk-é"] {
            let error = header(value, "embedding.api_key").unwrap_err();
            assert!(error.starts_with("embedding.api_key: ") && !error.contains("sk"), "{error}");
        }
    }
}
