//! `/v1/search` and `/v1/documents/{id}/similar`.

use std::fmt::Arguments;

use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::Value;

use crate::actor::offload::on_core;
use crate::document::{DocumentId, decode};
use crate::index::{Filter, Hit};
use crate::search::{MAX_K, Question, SearchOptions};
use crate::view::HitsView;

use super::answer::as_json;
use super::error::ApiError;
use super::shared::Shared;

/// What a document that is found mostly takes beside its vector, in bytes.
const HIT: u64 = 1_024;
/// What a number of its vector takes, in bytes: in memory, and written down.
const NUMBER: u64 = 4 + 12;

/// A search as JSON.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchBody {
    /// What to search for.
    #[serde(deserialize_with = "text")]
    pub text: String,
    /// How many documents to return at most.
    #[serde(default = "default_k", deserialize_with = "k")]
    pub k: usize,
    /// Which documents count, by their metadata.
    #[serde(default, deserialize_with = "filter")]
    pub filter: Option<Value>,
    /// Whether to return the vectors.
    #[serde(default, deserialize_with = "vectors")]
    pub vectors: bool,
}

/// A search as a query string.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// What to search for.
    #[serde(deserialize_with = "text")]
    pub text: String,
    /// How many documents to return at most.
    #[serde(default = "default_k", deserialize_with = "k")]
    pub k: usize,
    /// Which documents count, as JSON text.
    #[serde(default)]
    pub filter: Option<String>,
    /// Whether to return the vectors.
    #[serde(default, deserialize_with = "vectors")]
    pub vectors: bool,
}

/// What to return beside the documents' ids.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimilarQuery {
    /// How many documents to return at most.
    #[serde(default = "default_k", deserialize_with = "k")]
    pub k: usize,
    /// Which documents count, as JSON text.
    #[serde(default)]
    pub filter: Option<String>,
    /// Whether to return the vectors.
    #[serde(default, deserialize_with = "vectors")]
    pub vectors: bool,
}

fn default_k() -> usize {
    10
}

fn k<'de, D: Deserializer<'de>>(value: D) -> Result<usize, D::Error> {
    read(value, format_args!("`k` must be a whole number from 1 to {MAX_K}"))
}

fn vectors<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    read(value, format_args!("`vectors` must be `true` or `false`"))
}

fn text<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    // What cannot be parsed keeps the parser's words.
    match Value::deserialize(value)? {
        Value::String(text) => Ok(text),
        _ => Err(D::Error::custom("`text` must be a text")),
    }
}

/// Of a key that appears twice only one condition would be looked at.
fn filter<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    match decode::strict(value) {
        Ok(filter) => Ok(Some(filter)),
        Err(error) => Err(D::Error::custom(format_args!("`filter`: {error}"))),
    }
}

/// Serde's own words are those of Rust, and name no key of a query string.
fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D, needed: Arguments<'_>) -> Result<T, D::Error> {
    T::deserialize(value).map_err(|_| D::Error::custom(needed))
}

/// `GET /v1/search`.
pub async fn get(query: Query<SearchQuery>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let SearchQuery { text, k, filter, vectors } = query.into_inner();
    let filter = filter.as_deref().map(parse_filter).transpose()?;
    search(&shared, &text, options(k, filter, vectors)?).await
}

/// `POST /v1/search`.
pub async fn post(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    if !request.query_string().is_empty() {
        return Err(ApiError::bad_request("what to search for is in the body: leave the query string out"));
    }
    let body = shared.search_bodies.read(&request, payload).await?;
    // By serde alone a list would do, its elements taken for the fields in their order.
    if body.bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::bad_request(
            "the body is no search: it must be a JSON object like {\"text\": \"boots\"}",
        ));
    }
    let SearchBody { text, k, filter, vectors } = serde_json::from_slice(&body.bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is no search: {error}")))?;
    search(&shared, &text, options(k, filter, vectors)?).await
}

/// `GET /v1/documents/{id}/similar`.
pub async fn similar(
    id: Path<String>,
    query: Query<SimilarQuery>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let SimilarQuery { k, filter, vectors } = query.into_inner();
    let filter = filter.as_deref().map(parse_filter).transpose()?;
    let (id, options) = (DocumentId::new(&id)?, options(k, filter, vectors)?);
    answer(&shared, shared.context.searcher.nearest_to(id, options).await?).await
}

async fn search(shared: &Shared, text: &str, options: SearchOptions) -> Result<HttpResponse, ApiError> {
    answer(shared, shared.context.searcher.question(text, options).await?).await
}

/// Puts the question once there is room for what may be found.
async fn answer(shared: &Shared, mut question: Question<'_>) -> Result<HttpResponse, ApiError> {
    let query = question.query();
    let dimensions = if query.with_vectors { query.vector.len() as u64 } else { 0 };
    let room = shared.answers.expect(query.k as u64 * (HIT + NUMBER * dimensions)).await;
    let mut reserved = room.map_err(|no_room| question.failed(no_room.into()))?;
    let hits = question.put().await?;
    shared.answers.hold(&mut reserved, hits.iter().map(bytes).sum())?;
    // A thousand hits with their vectors take tens of milliseconds to write down. What is reserved goes where they go: the caller may be
    // gone before they are.
    let (json, reserved) = on_core(move || (as_json(&HitsView::from(hits)), reserved)).await;
    Ok(shared.answers.json(json, reserved)?.respond())
}

/// About how many bytes a document that was found takes in memory.
fn bytes(hit: &Hit) -> u64 {
    let numbers = hit.vector.as_ref().map_or(0, |vector| vector.len());
    (hit.id.as_str().len() + bytes_of(&hit.metadata)) as u64 + NUMBER * numbers as u64
}

fn bytes_of(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(bytes_of).sum(),
            Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + bytes_of(value)).sum(),
        }
}

fn options(k: usize, filter: Option<Value>, with_vectors: bool) -> Result<SearchOptions, ApiError> {
    if !(1..=MAX_K).contains(&k) {
        return Err(ApiError::bad_request(format!("`k` is {k}, and must be from 1 to {MAX_K}")));
    }
    // Who has no filter may say so.
    let filter = filter.filter(|filter| !filter.is_null());
    let filter = filter.as_ref().map(Filter::from_json).transpose().map_err(ApiError::bad_request)?;
    Ok(SearchOptions { k, filter, with_vectors })
}

fn parse_filter(text: &str) -> Result<Value, ApiError> {
    decode::strict_text(text).map_err(|error| ApiError::bad_request(format!("`filter` cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::http::StatusCode;
    use serde_json::json;

    use super::super::testing::{Ground, Setup};
    use crate::embed::provider::{Embeddings, NoVector, ProviderError};
    use crate::index::IndexError;

    #[actix_rt::test]
    async fn a_search_by_query_string_or_body_is_the_same() {
        let ground = Ground::new(Setup::default()).await;
        let by_query = "/v1/search?text=dry%20feet&k=3&vectors=true&filter=%7B%22category%22%3A%22shoes%22%7D";
        let by_body = json!({"text": "dry feet", "k": 3, "vectors": true, "filter": {"category": "shoes"}});
        let expected = json!({"hits": [
            {"id": "p1", "score": 0.5, "metadata": {"category": "shoes"}, "chunk": 0, "vector": [8.0, 1.0]}
        ]});
        assert_eq!(ground.get(by_query).await.json(), expected);
        assert_eq!(ground.post("/v1/search", by_body.to_string()).await.json(), expected);
        let queries = ground.index.queries.lock().unwrap();
        assert_eq!(queries[0].filter, queries[1].filter);
        assert!(queries.iter().all(|query| query.k == 3 && query.filter.is_some() && query.except.is_none()));
    }

    #[actix_rt::test]
    async fn a_filter_goes_by_the_names_of_the_configuration() {
        let ground = Ground::new(Setup::default()).await;
        let body = json!({"text": "boots", "filter": {"/product/brand": "acme"}});
        ground.post("/v1/search", body.to_string()).await.json();
        let query = ground.index.queries.lock().unwrap().pop().unwrap();
        assert!(query.filter.unwrap().matches(&json!({"/product/brand": "acme"})));

        for path in ["/v1/search?text=boots&", "/v1/documents/p1/similar?"] {
            let refused = ground.get(&format!("{path}filter=%7B%22categry%22%3A%22shoes%22%7D")).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST);
            assert!(refused.error().contains("did you mean `category`?"), "{}", refused.error());
        }
    }

    #[actix_rt::test]
    async fn a_search_without_wishes_returns_ten_documents_and_no_vectors() {
        let ground = Ground::new(Setup::default()).await;
        let answer = ground.get("/v1/search?text=boots").await;
        assert_eq!(answer.json()["hits"][0].get("vector"), None);
        ground.get("/v1/search?text=boots&filter=null").await.json();
        ground.post("/v1/search", "\u{feff}{\"text\":\"boots\",\"filter\":null}").await.json();
        let queries = ground.index.queries.lock().unwrap();
        assert!(queries.len() == 3 && queries.iter().all(|query| query.k == 10 && query.filter.is_none()));
    }

    #[actix_rt::test]
    async fn a_wrong_search_says_what_is_wrong() {
        let ground = Ground::new(Setup::default()).await;
        for (uri, reason) in [
            ("/v1/search", "missing field `text`"),
            ("/v1/search?text=%20", "empty"),
            ("/v1/search?text=a&k=0", "from 1 to 1000"),
            ("/v1/search?text=a&k=1001", "from 1 to 1000"),
            ("/v1/search?text=a&k=many", "wrong: `k` must be a whole number from 1 to 1000"),
            ("/v1/search?text=a&vectors=1", "`vectors` must be `true` or `false`"),
            ("/v1/search?text=a&limit=5", "unknown field `limit`"),
            ("/v1/search?text=a&filter=shoes", "`filter` cannot be read: expected value"),
            ("/v1/search?text=a&filter=7", "filter"),
            (
                "/v1/search?text=a&filter=%7B%22a%22:1,%22a%22:2%7D",
                "`filter` cannot be read: the key `a` appears twice",
            ),
            ("/v1/search?text=a&filter=%7B%7D%7B", "trailing characters"),
        ] {
            let answer = ground.get(uri).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{uri}");
            assert!(answer.error().contains(reason), "{uri}: {}", answer.error());
        }
        for (body, reason) in [
            ("{\"k\":1}", "missing field `text`"),
            (r#"{"text":"a","filter":{"not":{"price":1,"price":2}}}"#, "`filter`: the key `price` appears twice"),
            (r#"{"text":1}"#, "`text` must be a text"),
            ("{\"text\":\"dry\nfeet\"}", "control character"),
            (r#"{"text":"a","k":-1}"#, "`k` must be a whole number from 1 to 1000"),
            (r#"["shoes",1,null,false]"#, "must be a JSON object"),
            ("", "must be a JSON object"),
        ] {
            let answer = ground.post("/v1/search", body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
            assert!(answer.error().contains(reason), "{body}: {}", answer.error());
        }
        let both = ground.post("/v1/search?k=1", "{\"text\":\"a\"}").await;
        assert_eq!(both.status, StatusCode::BAD_REQUEST);
        assert!(both.error().contains("leave the query string out"), "{}", both.error());
        assert!(ground.index.queries.lock().unwrap().is_empty());
    }

    #[actix_rt::test]
    async fn a_search_is_bounded_and_so_is_what_an_error_says_of_it() {
        let ground = Ground::new(Setup { max_body: 16 << 20, ..Setup::default() }).await;
        let answer = ground.post("/v1/search", json!({"text": "x".repeat(1 << 20)}).to_string()).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(answer.error().contains("larger than 1MiB; no search needs"), "{}", answer.error());
        let narrow = Ground::new(Setup { max_body: 1_000, ..Setup::default() }).await;
        let answer = narrow.post("/v1/search", json!({"text": "x".repeat(1_000)}).to_string()).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        let told = "larger than 1000 bytes; send a shorter text or filter, or raise `server.max_body`";
        assert!(answer.error().contains(told), "{}", answer.error());
        let long = "k".repeat(500_000);
        for body in [json!({"text": "a", (&long): 1}), json!({"text": "a", "filter": {(&long): null}})] {
            let answer = ground.post("/v1/search", body.to_string()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            assert!(answer.body.len() < 2_000 && answer.error().contains("kkk"), "{} bytes", answer.body.len());
        }
    }

    #[actix_rt::test]
    async fn a_search_that_may_find_much_waits_for_room_before_it_is_made() {
        let ground = Ground::new(Setup::default()).await;
        tokio::time::pause();
        let shared = ground.shared();
        let all = shared.answers.expect(u64::MAX).await.unwrap();
        ground.hold("p1", 1, &["Boots"]);
        for uri in ["/v1/search?text=a&k=1000", "/v1/documents/p1/similar?k=1000"] {
            let refused = ground.get(uri).await;
            assert_eq!(
                (refused.status, refused.headers["retry-after"].as_str()),
                (StatusCode::SERVICE_UNAVAILABLE, "1")
            );
            assert!(refused.error().contains("large answers to other requests take all"), "{}", refused.error());
        }
        assert!(ground.index.queries.lock().unwrap().is_empty());
        assert_eq!(ground.get("/v1/search?text=a&vectors=true").await.status, StatusCode::OK);
        drop(all);
        assert_eq!(ground.get("/v1/search?text=a&k=1000").await.status, StatusCode::OK);
    }

    fn retry(after: Option<Duration>) -> Result<Embeddings, ProviderError> {
        Err(ProviderError::Retry { reason: "too many requests".into(), after, pause: true })
    }

    #[actix_rt::test]
    async fn a_provider_that_has_to_be_asked_again_is_and_one_that_cannot_answer_is_told() {
        let ground = Ground::new(Setup::default()).await;
        let soon = Some(Duration::from_millis(1));
        ground.provider.answer(vec![retry(soon), retry(soon)]);
        assert_eq!(ground.get("/v1/search?text=a").await.status, StatusCode::OK);
        let none = Embeddings { vectors: vec![Err(NoVector::Never("no known word".into()))], tokens: None };
        for (answers, status, reason) in [
            (vec![retry(soon), retry(soon), retry(soon)], StatusCode::SERVICE_UNAVAILABLE, "too many requests"),
            (vec![retry(Some(Duration::from_secs(60)))], StatusCode::SERVICE_UNAVAILABLE, "too many requests"),
            (vec![Err(ProviderError::Fatal("wrong key".into()))], StatusCode::SERVICE_UNAVAILABLE, "wrong key"),
            (vec![Err(ProviderError::Refused("too long".into()))], StatusCode::BAD_REQUEST, "too long"),
            (vec![Ok(none)], StatusCode::BAD_REQUEST, "no known word"),
        ] {
            ground.provider.answer(answers);
            let answer = ground.get("/v1/search?text=b").await;
            assert_eq!(answer.status, status, "{reason}");
            assert!(answer.error().contains(reason), "{}", answer.error());
        }
        ground.provider.answer(vec![retry(Some(Duration::from_millis(59_001)))]);
        let answer = ground.get("/v1/search?text=b").await;
        assert_eq!(answer.headers["retry-after"], "60", "whole seconds, rounded up");
    }

    #[actix_rt::test]
    async fn an_index_that_cannot_answer_is_told_apart_from_a_question_that_it_cannot_be_asked() {
        let ground = Ground::new(Setup::default()).await;
        for (failure, status) in [
            (IndexError::Unavailable("the index is away".into()), StatusCode::SERVICE_UNAVAILABLE),
            (IndexError::Fatal("the key is wrong".into()), StatusCode::SERVICE_UNAVAILABLE),
            (IndexError::BadQuery("there is no range of texts".into()), StatusCode::BAD_REQUEST),
        ] {
            *ground.index.failure.lock().unwrap() = Some(failure.clone());
            let answer = ground.get("/v1/search?text=a").await;
            assert_eq!((answer.status, answer.error()), (status, failure.to_string()));
        }
    }

    #[actix_rt::test]
    async fn similar_asks_with_the_mean_of_the_documents_chunks_and_not_for_itself() {
        let ground = Ground::new(Setup::default()).await;
        ground.hold("p7", 1, &["ab", "abcd"]);
        ground.hold("gone", 1, &[]);
        assert_eq!(ground.get("/v1/documents/p7/similar?k=5").await.status, StatusCode::OK);
        let query = ground.index.queries.lock().unwrap().pop().unwrap();
        assert_eq!(query.vector.to_vec(), [3.0, 0.0]);
        assert_eq!((query.k, query.except.unwrap().as_str()), (5, "p7"));
        for (id, reason) in [("nobody", "there is no document `nobody`"), ("gone", "is not in the index")] {
            let answer = ground.get(&format!("/v1/documents/{id}/similar")).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
            assert!(answer.error().contains(reason), "{}", answer.error());
        }
    }
}
