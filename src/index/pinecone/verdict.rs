//! What an answer of Pinecone means.

use std::time::SystemTime;

use reqwest::StatusCode;
use serde_json::Value;

use crate::http_client::{Answer, retry_after, shown};
use crate::index::collection::CollectionError;
use crate::settings::Secret;

/// Judges an answer that is an error.
pub fn judge(answer: &Answer, key: &Secret, now: SystemTime) -> CollectionError {
    let status = answer.status;
    let said = said(status, &answer.body, key);
    match status.as_u16() {
        400 | 413 | 422 => CollectionError::OneRefused(format!("Pinecone refused it: {said}")),
        // Servers repeat keys in the message: it is left out.
        401 => CollectionError::Fatal(format!("HTTP {status}: the key is missing or wrong; check `index.api_key`")),
        402 => CollectionError::Fatal(format!("{said}; the account must be paid for")),
        403 => CollectionError::Fatal(format!(
            "{said}; the key may not do this, or a quota is used up: check both in the console"
        )),
        404 => CollectionError::Missing(format!("the index or its namespace is not there: {said}")),
        408 | 409 | 425 | 429 | 500.. => {
            CollectionError::Unavailable { reason: said, after: retry_after(&answer.headers, now) }
        }
        _ => CollectionError::Fatal(format!("{said}; this does not answer like Pinecone: check `index.url`")),
    }
}

/// The status and the server's own words: `{"error": {"message"}}` of the control plane, `{"message"}` of an index.
fn said(status: StatusCode, body: &[u8], key: &Secret) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = json.pointer("/error/message").or(json.get("message")).and_then(Value::as_str);
    let text = || String::from_utf8_lossy(body).into_owned();
    match shown(&message.map_or_else(text, str::to_owned), Some(key)) {
        words if words.is_empty() => format!("HTTP {status}"),
        words => format!("HTTP {status}: {words}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderMap, HeaderValue};
    use serde_json::json;

    use super::*;

    #[test]
    fn every_status_has_its_meaning() {
        let key = Secret::new("pc-secret");
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("7"));
        let judged = |status: u16, body: &str| {
            let (status, headers) = (StatusCode::from_u16(status).unwrap(), headers.clone());
            judge(&Answer { status, headers, body: body.into() }, &key, SystemTime::UNIX_EPOCH)
        };
        let large = json!({"code": 3, "message": "Metadata size is 41000 bytes, which exceeds the limit of 40960 bytes per vector"});
        for (status, body, kind, words) in [
            (400, large.to_string(), "refused", "41000 bytes"),
            (422, String::new(), "refused", "422"),
            (401, json!({"error": {"message": "Invalid API Key pc-secret"}}).to_string(), "fatal", "index.api_key"),
            (402, String::new(), "fatal", "paid"),
            (403, json!({"error": {"message": "quota for pc-secret"}}).to_string(), "fatal", "quota for ***"),
            (404, String::new(), "missing", "404"),
            (429, "slow down".into(), "unavailable", "slow down"),
            (500, String::new(), "unavailable", "500"),
            (503, "<html>".into(), "unavailable", "<html>"),
            (599, String::new(), "unavailable", "599"),
            (302, String::new(), "fatal", "index.url"),
        ] {
            let error = judged(status, &body);
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
            assert!(error.to_string().contains(words) && !error.to_string().contains("pc-secret"), "{status}: {error}");
        }
    }
}
