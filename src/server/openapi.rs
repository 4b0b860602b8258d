//! `GET /openapi.json`.

use actix_web::HttpResponse;

/// The description of the interface. A test compares it with what is served.
pub const DOCUMENT: &str = include_str!("openapi.json");

/// The description of the interface.
pub async fn get() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use actix_web::http::{Method, StatusCode};
    use actix_web::test::TestRequest;
    use serde_json::Value;

    use super::super::routes::resources;
    use super::super::testing::{Answer, Ground, Setup};
    use super::*;
    use crate::embed::provider::ProviderError;
    use crate::telemetry::health::Component;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).expect("it is JSON")
    }

    #[test]
    fn describes_exactly_what_is_served() {
        let served: BTreeSet<(String, String)> = resources()
            .iter()
            .flat_map(|(path, routes)| {
                routes.iter().map(|(method, _)| ((*path).to_owned(), method.as_str().to_ascii_lowercase()))
            })
            .collect();
        let document = document();
        let paths = document["paths"].as_object().unwrap().iter();
        let described: BTreeSet<(String, String)> = paths
            .flat_map(|(path, operations)| {
                operations.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
            })
            .collect();
        assert_eq!(described, served);
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let references: Vec<&str> =
            DOCUMENT.lines().filter_map(|line| line.trim().strip_prefix("\"$ref\": \"#")).collect();
        assert!(!references.is_empty());
        for reference in references {
            assert!(document().pointer(reference.trim_end_matches(['"', ','])).is_some(), "{reference}");
        }
    }

    #[actix_rt::test]
    async fn every_answer_is_as_described() {
        let ground =
            Ground::new(Setup { max_pending: 5, max_body: 1_000, wait_timeout: Duration::ZERO, ..Setup::default() })
                .await;
        ground.hold("p1", 7, &["Boots"]);
        ground.hold("gone", 7, &[]);
        ground.actors.register("batcher").panicked("index out of bounds");
        ground.health.degraded(Component::Provider, "503");
        ground.health.degraded(Component::Index, "no answer");
        let large = "{\"text\":\"".to_owned() + &"a".repeat(1_000);
        for (status, method, path, uri, body) in [
            (202, Method::POST, "/v1/events", "/v1/events", "{}"),
            (400, Method::POST, "/v1/events", "/v1/events", "{}\n7"),
            (400, Method::POST, "/v1/events", "/v1/events?wait=indexed", "{}\n7"),
            (400, Method::POST, "/v1/events", "/v1/events?wait=forever", "{}"),
            (413, Method::POST, "/v1/events", "/v1/events", large.as_str()),
            (202, Method::DELETE, "/v1/documents/{id}", "/v1/documents/p1", ""),
            (400, Method::DELETE, "/v1/documents/{id}", "/v1/documents/p1?version=soon", ""),
            (429, Method::POST, "/v1/events", "/v1/events", "{}\n{}"),
            (200, Method::GET, "/v1/documents/{id}", "/v1/documents/p1", ""),
            (200, Method::GET, "/v1/documents/{id}", "/v1/documents/gone", ""),
            (404, Method::GET, "/v1/documents/{id}", "/v1/documents/nobody", ""),
            (200, Method::GET, "/v1/documents/{id}/similar", "/v1/documents/p1/similar", ""),
            (404, Method::GET, "/v1/documents/{id}/similar", "/v1/documents/gone/similar", ""),
            (200, Method::GET, "/v1/search", "/v1/search?text=a&vectors=true", ""),
            (400, Method::GET, "/v1/search", "/v1/search", ""),
            (200, Method::POST, "/v1/search", "/v1/search", "{\"text\":\"a\"}"),
            (400, Method::POST, "/v1/search", "/v1/search", "{}"),
            (200, Method::GET, "/v1/stats", "/v1/stats", ""),
            (200, Method::GET, "/health/live", "/health/live", ""),
            (503, Method::GET, "/health/ready", "/health/ready", ""),
            (200, Method::GET, "/metrics", "/metrics", ""),
            (200, Method::GET, "/openapi.json", "/openapi.json", ""),
        ] {
            let request = TestRequest::default().method(method.clone()).uri(uri);
            let answer = ground.send(request.set_payload(body.to_owned())).await;
            assert_eq!(answer.status, StatusCode::from_u16(status).unwrap(), "{method} {uri}");
            check(&method, path, &answer);
        }
        for component in [Component::Pipeline, Component::Provider, Component::Index] {
            ground.health.ok(component);
        }
        check(&Method::GET, "/health/ready", &ground.get("/health/ready").await);
        for again in [Method::GET, Method::POST] {
            let after = Some(Duration::from_secs(60));
            ground.provider.answer(vec![Err(ProviderError::Retry { reason: "busy".into(), after, pause: true })]);
            let answer = match again {
                Method::GET => ground.get("/v1/search?text=b").await,
                _ => ground.post("/v1/search", "{\"text\":\"b\"}").await,
            };
            assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
            check(&again, "/v1/search", &answer);
        }
        let closed = Ground::new(Setup { http_source: false, ..Setup::default() }).await;
        check(&Method::POST, "/v1/events", &closed.post("/v1/events", "{}").await);
        check(&Method::DELETE, "/v1/documents/{id}", &closed.request(Method::DELETE, "/v1/documents/p1").await);
    }

    #[actix_rt::test]
    async fn every_refusal_for_a_header_or_an_encoding_is_as_described() {
        let ground = Ground::new(Setup::default()).await;
        for (path, routes) in resources() {
            for (method, _) in routes {
                let changes = method != Method::GET;
                let wrong = [
                    (400, "?x=%ff", ("accept", "*/*"), true),
                    (400, "", ("upgrade", "websocket"), true),
                    (403, "", ("sec-fetch-site", "cross-site"), changes),
                    (415, "", ("content-encoding", "br"), method == Method::POST),
                ];
                for (status, query, header, _) in wrong.into_iter().filter(|(.., refused)| *refused) {
                    let uri = path.replace("{id}", "p1") + query;
                    let request = TestRequest::default().method(method.clone()).uri(&uri).insert_header(header);
                    let answer = ground.send(request.set_payload("{}")).await;
                    assert_eq!(answer.status.as_u16(), status, "{method} {uri} {header:?}");
                    check(&method, path, &answer);
                }
            }
        }
    }

    /// Compares an answer with its description.
    fn check(method: &Method, path: &str, answer: &Answer) {
        let document = document();
        let operation = &document["paths"][path][method.as_str().to_ascii_lowercase()];
        let described = resolved(&document, &operation["responses"][answer.status.as_str()]);
        let content = described["content"].as_object().unwrap_or_else(|| panic!("{method} {path} {}", answer.status));
        let (media_type, content) = content.iter().next().expect("one media type");
        assert!(answer.headers["content-type"].starts_with(media_type), "{method} {path} {:?}", answer.headers);
        let headers = described["headers"].as_object();
        for name in answer.headers.keys().filter(|name| *name != "content-type") {
            let is_told = headers.is_some_and(|headers| headers.keys().any(|told| told.eq_ignore_ascii_case(name)));
            assert!(is_told, "{method} {path} {}: {name} is not described", answer.status);
        }
        for (name, _) in headers.into_iter().flatten().filter(|(_, header)| header["required"] == true) {
            assert!(
                answer.headers.contains_key(&name.to_ascii_lowercase()),
                "{method} {path} {} {name}",
                answer.status
            );
        }
        if media_type == "application/json" {
            conforms(&document, &content["schema"], &answer.json(), &format!("{method} {path}"));
        }
    }

    /// What a reference leads to; what is none is what it is.
    fn resolved<'a>(document: &'a Value, described: &'a Value) -> &'a Value {
        let Some(reference) = described["$ref"].as_str() else { return described };
        let pointer = reference.strip_prefix('#').expect("within the document");
        resolved(document, document.pointer(pointer).unwrap_or_else(|| panic!("{reference}")))
    }

    /// As much of JSON Schema as the description uses.
    fn conforms(document: &Value, schema: &Value, value: &Value, at: &str) {
        let schema = resolved(document, schema);
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        assert!(kinds.iter().any(|kind| is(value, kind)), "{at}: {value} is no {kinds:?}");
        if let Some(allowed) = schema["enum"].as_array() {
            assert!(allowed.contains(value), "{at}: {value} is none of {allowed:?}");
        }
        if let Some(items) = value.as_array() {
            items.iter().for_each(|item| conforms(document, &schema["items"], item, &format!("{at}[]")));
        }
        if let Some(members) = value.as_object() {
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                assert!(members.contains_key(name), "{at} has no {name}");
            }
            for (name, member) in members {
                let at = format!("{at}.{name}");
                match (&schema["properties"][name], &schema["additionalProperties"]) {
                    (Value::Null, Value::Null) => {}
                    (Value::Null, Value::Bool(false)) => panic!("{at} is not described"),
                    (Value::Null, others) => conforms(document, others, member, &at),
                    (described, _) => conforms(document, described, member, &at),
                }
            }
        }
    }

    fn is(value: &Value, kind: &str) -> bool {
        match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "null" => value.is_null(),
            other => panic!("the description uses {other}, which this test does not know"),
        }
    }
}
