//! The provider against a scripted server on this machine: what goes over the wire, and what comes of every answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::document::Vector;
use crate::embed::call::Calls;
use crate::embed::limiter::Limiter;
use crate::embed::provider::Embeddings;
use crate::settings::embedding::RateLimitSettings;

/// What the server does with one connection's next request.
enum Reply {
    /// Sends these bytes, then closes.
    Bytes(Vec<u8>),
    /// Reads the request and stays silent until the client goes away.
    Silence,
    /// Announces more than all memory and sends until the client goes away.
    Endless,
}

/// Answers one connection after the other by its script, and keeps what it was sent.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for reply in script {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&mut stream);
                kept.lock().unwrap().push(request);
                // The client may go away at any time: that is what some of the tests are about.
                match reply {
                    Reply::Bytes(bytes) => drop(stream.write_all(&bytes)),
                    Reply::Silence => drop(stream.read(&mut [0])),
                    Reply::Endless => {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
                        while stream.write_all(&[b' '; 1 << 20]).is_ok() {}
                    }
                }
            }
        });
        Self { address, requests }
    }

    fn provider(&self, settings: &str) -> Openai {
        let yaml = format!("{{ base_url: 'http://{}/v1', {settings} }}", self.address);
        Openai::new(&serde_yaml::from_str(&yaml).unwrap()).unwrap()
    }

    fn request(&self, number: usize) -> (String, Value) {
        let request = self.requests.lock().unwrap()[number].clone();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), serde_json::from_str(body).unwrap())
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text.into_owned();
            }
        }
        assert_ne!(count, 0, "a request ends when it says");
    }
}

fn reply(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

pub(super) fn base64_of(numbers: &[f32]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(crate::document::vector::to_bytes(numbers))
}

async fn embed(provider: &Openai, texts: &[&str]) -> Result<Embeddings, ProviderError> {
    provider.embed(texts.iter().map(|text| Arc::from(*text)).collect(), InputType::Document).await
}

fn vectors(answer: Result<Embeddings, ProviderError>) -> (Vec<Vec<f32>>, Option<u64>) {
    let Embeddings { vectors, tokens } = answer.unwrap();
    (vectors.into_iter().map(|vector| vector.unwrap().to_vec()).collect(), tokens)
}

#[tokio::test]
async fn texts_go_out_as_openai_expects_them_and_come_back_as_vectors() {
    let base64 = json!({
        "data": [{ "index": 1, "embedding": base64_of(&[0.0, 2.0]) }, { "index": 0, "embedding": base64_of(&[1.0, 0.0]) }],
        "usage": { "prompt_tokens": 5, "total_tokens": 5 },
    });
    let floats = json!({ "data": [{ "index": 0, "embedding": [0.5, -1e-3] }] });
    let server = Server::start(vec![reply("200 OK", "", base64.to_string()), reply("200 OK", "", floats.to_string())]);
    let provider = server.provider("model: m, dimensions: 2, api_key: ' sk-1 ', organization: org, project: proj");
    assert_eq!(
        vectors(embed(&provider, &["a \"quoted\"\n text", "ü"]).await),
        (vec![vec![1.0, 0.0], vec![0.0, 2.0]], Some(5))
    );
    assert_eq!(vectors(embed(&provider, &["b"]).await), (vec![vec![0.5, -1e-3]], None));

    let (head, body) = server.request(0);
    assert!(head.starts_with("post /v1/embeddings http/1.1"), "{head}");
    for header in [
        "authorization: bearer sk-1\r",
        "openai-organization: org\r",
        "openai-project: proj\r",
        "content-type: application/json",
        concat!("user-agent: vectide/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert_eq!(body, json!({ "model": "m", "input": ["a \"quoted\"\n text", "ü"], "encoding_format": "base64" }));
}

#[tokio::test]
async fn what_a_model_or_a_server_may_not_know_is_sent_only_where_it_is_asked_for() {
    let sent = |settings: &'static str| async move {
        let server = Server::start(vec![reply("500 Oops", "", "")]);
        let answer = embed(&server.provider(settings), &["a"]).await;
        assert!(matches!(answer, Err(ProviderError::Retry { pause: false, .. })), "{answer:?}");
        let (head, body) = server.request(0);
        assert!(!head.contains("authorization"), "no key, no header");
        ["dimensions", "encoding_format"].map(|key| body.get(key).cloned())
    };
    let (dimensions, base64) = (Some(json!(512)), Some(json!("base64")));
    assert_eq!(sent("preset: openai-small").await, [None, base64.clone()]);
    assert_eq!(sent("preset: openai-small, dimensions: 512").await, [dimensions.clone(), base64.clone()]);
    assert_eq!(sent("model: m, dimensions: 512").await, [None, base64]);
    let settings = "model: m, dimensions: 512, send_dimensions: true, encoding_format: float";
    assert_eq!(sent(settings).await, [dimensions, None]);
}

#[tokio::test]
async fn errors_are_judged_with_their_headers_and_words() {
    let error = json!({ "error": { "message": "too long", "code": null } }).to_string();
    let server = Server::start(vec![
        reply("429 Too Many Requests", "retry-after-ms: 1500\r\n", ""),
        reply("400 Bad Request", "", error),
        reply("401 Unauthorized", "", "{}"),
        reply("308 Permanent Redirect", "location: http://127.0.0.1:1/\r\n", ""),
        reply("502 Bad Gateway", "", vec![b'x'; 1 << 20]),
    ]);
    let provider = server.provider("model: m, dimensions: 2");
    let answer = embed(&provider, &["a"]).await;
    let Err(ProviderError::Retry { after, pause: true, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(after, Some(std::time::Duration::from_millis(1500)));
    let answer = embed(&provider, &["a"]).await;
    let Err(ProviderError::Refused(reason)) = answer else { panic!("{answer:?}") };
    assert_eq!(reason, "HTTP 400 Bad Request: too long");
    assert!(matches!(embed(&provider, &["a"]).await, Err(ProviderError::Fatal(_))));
    assert!(matches!(embed(&provider, &["a"]).await, Err(ProviderError::Forbidden(_))), "not followed");
    assert!(matches!(embed(&provider, &["a"]).await, Err(ProviderError::Retry { pause: false, .. })));
}

#[tokio::test]
async fn what_breaks_on_the_way_is_tried_again() {
    let server = Server::start(vec![
        reply("200 OK", "", "<html>hello</html>"),
        reply("200 OK", "", [0xff, 0xfe, 0x00]),
        Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"data\":[".to_vec()),
        Reply::Bytes(b"HTTP/1.1 503 Busy\r\ncontent-length: 1000\r\n\r\n{\"err".to_vec()),
        Reply::Bytes(b"nonsense\r\n\r\n".to_vec()),
        Reply::Bytes(Vec::new()),
        Reply::Silence,
    ]);
    let provider = server.provider("model: m, dimensions: 2");
    for (words, paused) in [
        ("not what `/embeddings` gives", false),
        ("not what `/embeddings` gives", false),
        ("connection broke", false),
        ("503", false),
        ("connection broke", false),
        ("connection broke", false),
    ] {
        let answer = embed(&provider, &["a"]).await;
        let Err(ProviderError::Retry { reason, pause, .. }) = answer else { panic!("{answer:?}") };
        assert!(reason.contains(words) && pause == paused, "{words}: {reason}");
    }
    assert_eq!(server.requests.lock().unwrap().len(), 6, "each goes out once, as the limiter let it");
    let answer = embed(&server.provider("model: m, dimensions: 2, timeout: 100ms"), &["a"]).await;
    let Err(ProviderError::Retry { reason, pause: false, .. }) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("embedding.timeout"), "{reason}");
    let nobody = Server { address: SocketAddr::from(([127, 0, 0, 1], 1)), requests: Arc::default() };
    let answer = embed(&nobody.provider("model: m, dimensions: 2"), &["a"]).await;
    let Err(ProviderError::Retry { reason, .. }) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("embedding.base_url"), "{reason}");
}

#[tokio::test]
async fn a_key_whose_file_was_written_anew_is_tried_when_the_old_one_is_refused() {
    let ok = json!({ "data": [{ "index": 0, "embedding": [1, 0] }] }).to_string();
    let refused = |status| reply(status, "", "");
    // A gateway in front of the provider may say 403.
    let refusals = [refused("401 Unauthorized"), refused("403 Forbidden")];
    let server = Server::start(refusals.into_iter().chain([reply("200 OK", "", &ok)]).collect());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sk-old\n").unwrap();
    let provider = server.provider(&format!("model: m, dimensions: 2, api_key_file: {}", file.path().display()));
    let answer = embed(&provider, &["a"]).await;
    let Err(ProviderError::Fatal(reason)) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("embedding.api_key_file") && !reason.contains("sk-"), "{reason}");
    std::fs::write(file.path(), "sk-new\n").unwrap();
    let answer = embed(&provider, &["a"]).await;
    let Err(ProviderError::Retry { reason, after: None, pause: false }) = answer else { panic!("{answer:?}") };
    assert!(!reason.contains("sk-"), "{reason}");
    assert_eq!(vectors(embed(&provider, &["a"]).await).0, [[1.0, 0.0]]);
    let keys = server.requests.lock().unwrap();
    let carried = keys.iter().map(|request| request.contains("Bearer sk-new"));
    assert!(carried.eq([false, false, true]));
}

#[tokio::test]
async fn an_endless_answer_does_not_fill_the_memory() {
    let server = Server::start(vec![Reply::Endless]);
    let answer = embed(&server.provider("model: m, dimensions: 2"), &["a"]).await;
    let Err(ProviderError::Retry { reason, .. }) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("larger than"), "{reason}");
}

#[tokio::test]
async fn a_batch_gets_through_a_busy_and_picky_endpoint() {
    let answer = json!({ "data": [{ "index": 0, "embedding": [1, 0] }], "usage": { "total_tokens": 3 } }).to_string();
    let complaint = json!({ "error": { "message": "no such text" } }).to_string();
    let server = Server::start(vec![
        reply("429 Too Many Requests", "retry-after-ms: 1\r\n", ""),
        reply("400 Bad Request", "", &complaint),
        reply("200 OK", "", &answer),
        reply("400 Bad Request", "", &complaint),
        reply("200 OK", "", &answer),
        reply("400 Bad Request", "", &complaint),
    ]);
    let calls = Calls {
        provider: Arc::new(server.provider("model: m, dimensions: 2")),
        limiter: Limiter::new(RateLimitSettings::default()),
        estimator: Arc::default(),
        status: Arc::default(),
        underway: Arc::default(),
        may_take: Duration::from_secs(60),
    };
    let (texts, mut vectors) = (["good".into(), "bad".into()], Vec::new());
    calls.embed(&texts, &|_| {}, async |_, results| vectors.extend(results)).await;
    assert_eq!(vectors, [Ok(Vector::from([1.0, 0.0])), Err("HTTP 400 Bad Request: no such text".into())]);
    let inputs: Vec<Value> = (0..6).map(|number| server.request(number).1["input"].clone()).collect();
    let both = json!(["good", "bad"]);
    assert!(inputs[4][0].as_str().is_some_and(|text| text.starts_with("hello ")), "{}", inputs[4]);
    assert_eq!(inputs[..4], [both.clone(), both, json!(["good"]), json!(["bad"])]);
    assert_eq!(inputs[5], json!(["bad"]));
}

#[test]
fn tokens_are_counted_for_openais_models_alone() {
    let provider = |yaml: &str| Openai::new(&serde_yaml::from_str(yaml).unwrap()).unwrap();
    let small = provider("{ preset: openai-small, api_key: k }");
    assert_eq!(small.tokenizer().unwrap().count("hello world"), 2);
    assert_eq!(small.space().key(), "openai/text-embedding-3-small@#1536");
    let other = provider("{ base_url: 'http://x', model: m, dimensions: 2 }");
    assert_eq!((other.tokenizer().is_some(), other.max_text_tokens()), (false, Some(8191)));
}

#[test]
fn a_key_that_no_header_can_hold_is_named_and_not_shown() {
    let error =
        Openai::new(&serde_yaml::from_str("{ preset: openai-small, api_key: \"sk\\n1\" }").unwrap()).err().unwrap();
    assert!(error.starts_with("embedding.api_key: ") && !error.contains("sk"), "{error}");
}
