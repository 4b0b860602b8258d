//! What an answer means: a pure function of status, headers and body.

use std::time::SystemTime;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};

use crate::embed::provider::{Embeddings, NoVector, ProviderError};
use crate::http_client::{retry_after, shown};
use crate::settings::embedding::EncodingFormat;

use super::answer::{self, Answer, Fault};
use super::endpoint::Endpoint;

/// The most that is read of an answer that is an error.
pub(super) const MAX_COMPLAINT: usize = 64 << 10;

const NO_BASE64: &str = "set `embedding.encoding_format: float`, so that it is not asked for base64";
const WRONG_DIMENSIONS: &str = "set `embedding.dimensions` to the model's own number, and `embedding.send_dimensions: false`, so that it is \
                                not asked for another";

const TOO_LONG: &str = "set `embedding.max_text_tokens` lower: what was refused is cut anew at the next start";

/// What servers call it that refuse to be asked for a number of dimensions: vLLM the second.
const DIMENSIONS: [&str; 2] = ["dimensions", "matryoshka"];

/// Judges the answer to a call with `count` texts. `body`: in the pieces in which it came.
pub fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[Bytes],
    count: usize,
    endpoint: &Endpoint,
    now: SystemTime,
) -> Result<Embeddings, ProviderError> {
    if status.is_success() {
        return judge_vectors(headers, body, count, endpoint, now);
    }
    Err(judge_complaint(status, &Complaint::read(status, body, endpoint), headers, endpoint, now))
}

fn judge_complaint(
    status: StatusCode,
    complaint: &Complaint,
    headers: &HeaderMap,
    endpoint: &Endpoint,
    now: SystemTime,
) -> ProviderError {
    let said = complaint.said(status);
    let retry = |pause| ProviderError::Retry { reason: said.clone(), after: retry_after(headers, now), pause };
    let refused =
        || ProviderError::Refused(if complaint.is_of_length() { format!("{said}; {TOO_LONG}") } else { said.clone() });
    let fatal = |advice: &str| ProviderError::Fatal(format!("{said}; {advice}"));
    // A firewall or a proxy may say so of one text.
    let forbidden = |advice: &str| ProviderError::Forbidden(format!("{said}; {advice}"));

    if let Some(advice) = complaint.for_a_person(endpoint) {
        return fatal(advice);
    }
    match status.as_u16() {
        // Not "wait", but "never": the call alone is larger than the quota of a minute.
        429 if !complaint.is_body && complaint.message.contains("Request too large") => refused(),
        429 => retry(true),
        // Many a proxy says so of a server that a text has crashed.
        503 | 529 => retry(retry_after(headers, now).is_some()),
        400 | 413 | 422 => match complaint.hint(endpoint) {
            Some(hint) => forbidden(hint),
            None => refused(),
        },
        500 if complaint.names_a_text() => refused(),
        // Providers repeat keys in the message, masked or not: it is left out.
        401 => ProviderError::Fatal(format!("HTTP {status}: the key is missing or wrong; {}", endpoint.key_advice)),
        402 => fatal("the account has no credit left"),
        403 if complaint.lacks_balance() => fatal("the account has no credit left"),
        403 => {
            forbidden("the key may not use this model or endpoint; check `embedding.model` and the rights of the key")
        }
        404 => forbidden("there is no such endpoint or model; check `embedding.base_url` and `embedding.model`"),
        408 | 409 | 421 | 423..=425 | 498 | 499 | 500.. => retry(false),
        300..=399 => {
            let to = headers.get("location").and_then(|to| public(&endpoint.url.join(to.to_str().ok()?).ok()?));
            let to = to.map_or("an unknown address".to_owned(), |to| shown(&to, &endpoint.secrets));
            forbidden(&format!("redirects are not followed; set `embedding.base_url` to where it leads ({to})"))
        }
        _ => forbidden("the endpoint does not take this request; check `embedding.base_url`"),
    }
}

/// The address without what may be secret: a name, a password, and its query, which may repeat that of `base_url`.
fn public(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}{}", url.scheme(), url.path().trim_end_matches('/')))
}

fn judge_vectors(
    headers: &HeaderMap,
    body: &[Bytes],
    count: usize,
    endpoint: &Endpoint,
    now: SystemTime,
) -> Result<Embeddings, ProviderError> {
    let fault = match answer::read(body, count, endpoint.dimensions) {
        Ok(Answer { vectors, tokens }) => {
            let vectors = vectors.into_iter().map(|vector| vector.map_err(NoVector::ThisTime));
            return Ok(Embeddings { vectors: vectors.collect(), tokens });
        }
        Err(fault) => fault,
    };
    // Some relays answer 200 with the error of the server behind them, and its status within.
    let complaint = match fault {
        // Where there are vectors, what stands beside them is no complaint.
        Fault::Dimensions(_) => Complaint::default(),
        Fault::Garbled(_) | Fault::Mixed { .. } => Complaint::read(StatusCode::OK, body, endpoint),
    };
    if let Some(status) = complaint.status {
        return Err(match judge_complaint(status, &complaint, headers, endpoint, now) {
            // The servers behind a relay take turns, and one may refuse whatever comes: that another took a harmless text proves little.
            ProviderError::Refused(reason) if count == 1 && !complaint.is_of_length() => {
                ProviderError::Forbidden(reason)
            }
            error => error,
        });
    }
    if !complaint.message.is_empty() {
        let said = complaint.said(StatusCode::OK);
        return Err(match complaint.for_a_person(endpoint) {
            Some(advice) => ProviderError::Fatal(format!("{said}; {advice}")),
            None => ProviderError::retry(said),
        });
    }
    Err(match fault {
        // Of the harmless text as well, when it is the setting that is wrong.
        Fault::Dimensions(came) => ProviderError::Forbidden(format!(
            "`{}` answers with vectors of {came} dimensions and `embedding.dimensions` is {}: set it to {came}, or {}",
            endpoint.model,
            endpoint.dimensions,
            if endpoint.send_dimensions {
                "choose another model"
            } else {
                "`embedding.send_dimensions` to `true` if the model can give fewer"
            }
        )),
        // A server that takes one text per call may answer so to more. Fewer of them are another call.
        Fault::Mixed { reason, .. } if count > 1 => {
            ProviderError::Refused(format!("{reason}; if it is always so, set `batching.max_items: 1`"))
        }
        Fault::Mixed { came: 0, reason } if endpoint.encoding_format == EncodingFormat::Base64 => {
            ProviderError::retry(format!("{reason}; if it is always so, {NO_BASE64}"))
        }
        Fault::Garbled(reason) | Fault::Mixed { reason, .. } => ProviderError::retry(shown(&reason, &endpoint.secrets)),
    })
}

/// What an answer says went wrong: `{"error": {"message", "code", "type", "param"}}` as OpenAI writes it, and the forms that others
/// use. Every part is empty when it is not there; the message is the whole body where nothing of it is known.
#[derive(Default)]
struct Complaint {
    message: String,
    /// Whether the message is the whole body, which may repeat a text.
    is_body: bool,
    /// OpenAI's `code` and `type`; which of the two tells varies.
    codes: [String; 2],
    /// The status of an error, which some say in the `code`.
    status: Option<StatusCode>,
    param: String,
}

impl Complaint {
    fn read(status: StatusCode, body: &[Bytes], endpoint: &Endpoint) -> Self {
        // An answer that was to hold vectors may have megabytes, which take a hundred times as much memory as JSON values.
        let start: Vec<u8> = body.iter().flatten().copied().take(MAX_COMPLAINT).collect();
        let json: Value = serde_json::from_slice(&start).unwrap_or_default();
        // Gemini puts the whole into a list of one.
        let body = json.get(0).unwrap_or(&json);
        let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(body);
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let message = ["message", "detail"].map(|key| error.get(key)).into_iter().flatten().next().unwrap_or(error);
        let is_body = !matches!(message, Value::String(_) | Value::Array(_));
        let message = match message {
            Value::String(message) => message.clone(),
            // A list of problems, as some frameworks give it; an answer that is no complaint at all has none of these keys.
            Value::Array(_) => message.to_string(),
            // In words of its own, or in none. What is no error may hold vectors, and a page is no sentence.
            _ if status.is_success() || start.trim_ascii_start().starts_with(b"<") || json == json!({}) => {
                String::new()
            }
            // Written anew, without the escapes in which a secret would hide.
            _ if !json.is_null() => json.to_string(),
            _ => String::from_utf8_lossy(&start).into_owned(),
        };
        let code = error.get("code").and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
        let status = code.and_then(|code| StatusCode::from_u16(code.try_into().ok()?).ok());
        Self {
            message: shown(&message, &endpoint.secrets),
            is_body,
            codes: [text("code"), text("type")],
            status: status.filter(|status| status.is_client_error() || status.is_server_error()),
            param: text("param"),
        }
    }

    /// What a person must do before any call succeeds, when the complaint is of that kind.
    fn for_a_person(&self, endpoint: &Endpoint) -> Option<&'static str> {
        let is = |code: &str| self.codes.iter().any(|known| known == code);
        if is("insufficient_quota") || is("billing_hard_limit_reached") || is("billing_not_active") {
            return Some("the account has no credit left, or no valid payment");
        }
        // Gemini has no code for it.
        if is("invalid_api_key") || is("account_deactivated") || self.message.starts_with("API key not valid") {
            return Some(endpoint.key_advice);
        }
        if is("model_not_found") || self.param == "model" {
            return Some("the endpoint has no such model for this key; check `embedding.model`");
        }
        match &*self.param {
            "dimensions" => Some(WRONG_DIMENSIONS),
            "encoding_format" => Some(NO_BASE64),
            _ => None,
        }
    }

    /// Which setting may be wrong, by the words alone. So may those of a text be that is repeated: they must not hold all others. Whether
    /// all are meant, a harmless text shows.
    fn hint(&self, endpoint: &Endpoint) -> Option<&'static str> {
        // Mistral and Voyage.
        let no_base64 = endpoint.encoding_format == EncodingFormat::Base64 && self.message.contains("encoding_format");
        let wrong_dimensions = endpoint.send_dimensions && DIMENSIONS.iter().any(|word| self.message.contains(word));
        no_base64.then_some(NO_BASE64).or(wrong_dimensions.then_some(WRONG_DIMENSIONS))
    }

    /// Whether it tells of a text, though it is called an error of the server: that of llama.cpp of one that is longer than its batch, and
    /// Ollama of one for which its model gives no numbers.
    fn names_a_text(&self) -> bool {
        !self.is_body
            && ["too large to process", "context size", "unsupported value: NaN"]
                .iter()
                .any(|word| self.message.contains(word))
    }

    /// Whether it tells of a text that it is too long.
    fn is_of_length(&self) -> bool {
        ["tokens", "token count", "token limit", "context length", "context size", "too large to process"]
            .iter()
            .any(|word| self.message.contains(word))
    }

    /// Whether it tells, in words alone, that the account cannot pay.
    fn lacks_balance(&self) -> bool {
        let message = self.message.to_lowercase();
        !self.is_body && (message.contains("insufficient balance") || message.contains("balance is insufficient"))
    }

    /// The status and the provider's own words.
    fn said(&self, status: StatusCode) -> String {
        match (self.message.is_empty(), self.codes.contains(&"invalid_api_key".to_owned())) {
            (false, false) => format!("HTTP {status}: {}", self.message),
            _ => format!("HTTP {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::HeaderValue;

    use super::*;

    fn endpoint() -> Endpoint {
        let settings = "{ model: m, dimensions: 2, send_dimensions: true, api_key: sk-secret, base_url: 'http://x/v1?key=sk-%61nother&v=1' }";
        let settings = serde_yaml::from_str(settings).unwrap();
        Endpoint::new(&settings).unwrap()
    }

    fn judged(status: u16, body: Value) -> Result<Embeddings, ProviderError> {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("7"));
        headers
            .insert("location", HeaderValue::from_static("https://sk-user:sk-password@elsewhere.example?key=sk-3cret"));
        let status = StatusCode::from_u16(status).unwrap();
        judge(status, &headers, &[body.to_string().into()], 1, &endpoint(), SystemTime::UNIX_EPOCH)
    }

    fn error(code: &str, kind: &str, param: &str, message: &str) -> Value {
        json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
    }

    /// The kind of what was judged and its reason.
    fn kind(judged: Result<Embeddings, ProviderError>) -> (&'static str, String) {
        match judged {
            Ok(_) => ("done", String::new()),
            Err(ProviderError::Retry { reason, after, pause }) => {
                assert!(after.is_none_or(|after| after == Duration::from_secs(7)));
                (if pause { "pause" } else { "retry" }, reason)
            }
            Err(ProviderError::Refused(reason)) => ("refused", reason),
            Err(ProviderError::Forbidden(reason)) => ("forbidden", reason),
            Err(ProviderError::Fatal(reason)) => ("fatal", reason),
        }
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let none = || json!({});
        let good = json!({ "data": [{ "index": 0, "embedding": [1, 0] }] });
        let wide = json!({ "data": [{ "index": 0, "embedding": [1, 0, 0] }] });
        let table: Vec<(u16, Value, &str, &str)> = vec![
            (200, good.clone(), "done", ""),
            (201, good, "done", ""),
            (200, wide, "forbidden", "set it to 3"),
            (200, none(), "retry", "missing field"),
            (200, error("502", "", "", "upstream died"), "retry", "upstream died"),
            (200, error("model_not_found", "", "", "no m"), "fatal", "embedding.model"),
            (200, error("400", "", "", "it must have less than 512 tokens"), "refused", TOO_LONG),
            (200, error("400", "", "", "Provider returned error"), "forbidden", "Provider returned error"),
            (
                200,
                json!({ "message": "success", "code": 0, "data": [{ "embedding": [1, 0, 0] }] }),
                "forbidden",
                "set it to 3",
            ),
            (200, json!({ "data": [{ "index": 1, "embedding": [1, 0] }] }), "retry", "out of range"),
            (403, json!({ "blocked": "it speaks of an insufficient balance" }), "forbidden", "rights of the key"),
            (500, json!({ "repeats": "what is a context size?" }), "retry", "context size"),
            (200, json!({ "error": { "message": "no credits", "code": 402 } }), "fatal", "credit"),
            (200, json!({ "error": { "message": "slow down", "code": 429 } }), "pause", "slow down"),
            (200, json!({ "error": { "message": "odd", "code": 20015 } }), "retry", "odd"),
            (200, json!({ "data": [] }), "retry", NO_BASE64),
            (307, none(), "forbidden", "(https://elsewhere.example)"),
            (
                400,
                error("", "invalid_request_error", "input", "'$.input' is invalid"),
                "refused",
                "'$.input' is invalid",
            ),
            (400, json!({ "detail": "too long" }), "refused", "too long"),
            (400, json!({ "detail": "POST /v1?key=sk-%61nother&v=1" }), "refused", "key=***&v=1"),
            (500, json!({ "detail": "no key sk-another" }), "retry", "no key ***"),
            (400, json!({ "error": "input is empty" }), "refused", "input is empty"),
            (400, json!({ "errorMessage": "no sk-secret", "errorCode": "PROXY" }), "refused", "no ***"),
            (422, json!("unknown variant `base64` of encoding_format"), "forbidden", NO_BASE64),
            (413, json!({ "message": "`inputs` must have less than 512 tokens. Given: 673" }), "refused", TOO_LONG),
            (400, json!({ "object": "error", "message": "max context length", "code": 400 }), "refused", "max context"),
            (400, error("model_not_found", "", "", "no m"), "fatal", "embedding.model"),
            (400, error("", "", "dimensions", "not allowed"), "fatal", "send_dimensions"),
            (400, json!({ "message": "Model does not support matryoshka" }), "forbidden", "send_dimensions"),
            (400, json!({ "message": "model does not support dimensions" }), "forbidden", "send_dimensions"),
            (400, error("", "", "encoding_format", "no"), "fatal", NO_BASE64),
            (400, json!({ "detail": "Argument 'encoding_format' must be null or base64" }), "forbidden", NO_BASE64),
            (422, json!({ "detail": [{ "loc": ["body", "encoding_format"] }] }), "forbidden", NO_BASE64),
            (400, json!([{ "error": { "message": "API key not valid." } }]), "fatal", "embedding.api_key"),
            (400, json!([{ "error": { "message": "too long", "code": 400 } }]), "refused", "too long"),
            (400, error("invalid_api_key", "", "", "wrong key sk-other"), "fatal", "embedding.api_key"),
            (400, error("billing_hard_limit_reached", "", "", "x"), "fatal", "credit"),
            (401, error("invalid_api_key", "", "", "wrong key sk-secret"), "fatal", "embedding.api_key"),
            (401, none(), "fatal", "embedding.api_key"),
            (402, none(), "fatal", "credit"),
            (403, error("", "", "", "country not supported"), "forbidden", "country not supported"),
            (
                403,
                json!({ "code": 30001, "message": "Sorry, your account balance is insufficient" }),
                "fatal",
                "credit",
            ),
            (404, none(), "forbidden", "embedding.base_url"),
            (404, error("model_not_found", "", "", "no m"), "fatal", "embedding.model"),
            (405, none(), "forbidden", "embedding.base_url"),
            (406, none(), "forbidden", "embedding.base_url"),
            (408, none(), "retry", "408"),
            (409, none(), "retry", "409"),
            (413, none(), "refused", "413"),
            (422, json!({ "detail": [{ "loc": ["input"], "msg": "bad" }] }), "refused", "bad"),
            (424, json!({ "error": "Inference failed", "error_type": "backend" }), "retry", "Inference failed"),
            (425, none(), "retry", "425"),
            (429, error("rate_limit_exceeded", "tokens", "", "Rate limit reached"), "pause", "Rate limit reached"),
            (429, error("rate_limit_exceeded", "tokens", "", "Request too large for m"), "refused", "too large"),
            (429, error("429", "tokens", "", "RateLimitError: Request too large for m"), "refused", "too large"),
            (429, error("insufficient_quota", "insufficient_quota", "", "quota"), "fatal", "no credit left"),
            (429, none(), "pause", "429"),
            (500, error("", "server_error", "", "oops"), "retry", "oops"),
            (500, error("", "", "", "the request exceeds the available context size"), "refused", TOO_LONG),
            (
                500,
                error("", "server_error", "", "input (802 tokens) is too large to process."),
                "refused",
                "802 tokens",
            ),
            (
                500,
                error("", "api_error", "", "failed to encode response: json: unsupported value: NaN"),
                "refused",
                "unsupported value",
            ),
            (502, none(), "retry", "502"),
            (499, none(), "retry", "499"),
            (503, none(), "pause", "503"),
            (504, none(), "retry", "504"),
            (529, none(), "pause", "529"),
            (599, none(), "retry", "599"),
        ];
        for (status, body, expected, words) in table {
            let (kind, reason) = kind(judged(status, body.clone()));
            assert_eq!(kind, expected, "{status} {body}: {reason}");
            assert!(reason.contains(words), "{status} {body}: {reason}");
            assert!(!reason.contains("sk-"), "{reason}");
        }
    }

    #[test]
    fn an_answer_that_mixes_texts_up_is_tried_with_fewer_of_them() {
        let one = json!({ "data": [{ "index": 0, "embedding": [1, 0] }] });
        let zeros = json!({ "data": [{ "index": 0, "embedding": [1, 0] }, { "index": 0, "embedding": [0, 1] }] });
        for body in [one, zeros, json!({ "data": [] })] {
            let body = [body.to_string().into()];
            let judged = judge(StatusCode::OK, &HeaderMap::new(), &body, 2, &endpoint(), SystemTime::UNIX_EPOCH);
            let (kind, reason) = kind(judged);
            assert!(kind == "refused" && reason.contains("batching.max_items: 1"), "{reason}");
        }
    }

    #[test]
    fn a_complaint_in_words_alone_is_told_and_a_page_is_not() {
        for (body, said) in [
            (
                "unknown variant `base64`, expected float",
                "HTTP 400 Bad Request: unknown variant `base64`, expected float",
            ),
            ("", "HTTP 400 Bad Request"),
            ("{}", "HTTP 400 Bad Request"),
            ("\r\n <html>no", "HTTP 400 Bad Request"),
            (r#"{"x":"sk\u002dsecret"}"#, r#"HTTP 400 Bad Request: {"x":"***"}"#),
        ] {
            let body = [Bytes::from_static(body.as_bytes())];
            let judged =
                judge(StatusCode::BAD_REQUEST, &HeaderMap::new(), &body, 1, &endpoint(), SystemTime::UNIX_EPOCH);
            assert_eq!(kind(judged), ("refused", said.to_owned()));
        }
    }

    #[test]
    fn the_wait_that_was_asked_for_is_passed_on() {
        let Err(ProviderError::Retry { after, pause, .. }) = judged(429, json!({})) else { panic!() };
        assert_eq!((after, pause), (Some(Duration::from_secs(7)), true));
    }

    #[test]
    fn whoever_is_busy_and_asks_for_no_wait_holds_nobody_else() {
        for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::from_u16(529).unwrap()] {
            let judged = judge(status, &HeaderMap::new(), &[], 1, &endpoint(), SystemTime::UNIX_EPOCH);
            assert!(matches!(judged, Err(ProviderError::Retry { after: None, pause: false, .. })), "{judged:?}");
        }
    }

    #[test]
    fn a_reason_is_short_on_one_line_and_without_the_key() {
        let (_, reason) = kind(judged(400, error("", "", "", &format!("a\nb sk-secret {}", "ü".repeat(1000)))));
        assert!(reason.starts_with("HTTP 400 Bad Request: a b *** ü") && reason.chars().count() < 350, "{reason}");
        let html = [Bytes::from_static(b"<html>")];
        let html = judge(StatusCode::BAD_GATEWAY, &HeaderMap::new(), &html, 1, &endpoint(), SystemTime::UNIX_EPOCH);
        assert_eq!(kind(html), ("retry", "HTTP 502 Bad Gateway".into()));
    }
}
