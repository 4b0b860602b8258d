//! `POST /v1/events`: changes come in.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use crate::source::http::IntakeError;

use super::body::{Received, header};
use super::error::{ApiError, blocking};
use super::lines::{LineError, split};
use super::shared::Shared;
use super::wait::{Wait, wait};

/// What a caller may ask for beside accepting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// What to wait for before answering.
    #[serde(default)]
    pub wait: Option<Wait>,
}

#[derive(Debug, Serialize)]
struct PartlyWrong {
    error: String,
    accepted: usize,
    rejected: usize,
    errors: Vec<LineError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// Media types of one JSON object a line.
const LINES: [&str; 5] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
];

/// Accepts an object, an array or lines; answers once they are on the disk.
pub async fn post(
    request: HttpRequest,
    payload: Payload,
    query: Query<EventsQuery>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let intake = shared.intake()?;
    let Received { bytes, share } = shared.event_bodies.read(&request, payload).await?;
    let media_type = header(&request, CONTENT_TYPE).split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let declared_lines = LINES.contains(&media_type.as_str());
    let most = intake.max_pending();
    // The share goes where the bytes go: the caller may be gone before they are.
    let (events, share) = blocking(move || Ok::<_, ApiError>((split(bytes, declared_lines, most), share))).await?;
    let accepted = events.good.len();
    if events.surplus > 0 {
        return Err(IntakeError::TooMany { events: accepted + events.surplus, limit: most }.into());
    }
    let end = if accepted > 0 {
        intake.accept_holding(events.good, share).await?.end
    } else if events.wrong == 0 {
        // Whoever sends nothing may still wait for what was sent before.
        intake.accepted()?
    } else {
        0
    };
    let settled = wait(intake, query.wait, end, &shared).await;
    if events.wrong > 0 {
        let (wrong, LineError { line, reason }) = (events.wrong, &events.errors[0]);
        let error = format!("{accepted} accepted, {wrong} rejected; line {line}: {reason}");
        let note = settled.note();
        let answer = PartlyWrong { error, accepted, rejected: events.wrong, errors: events.errors, note };
        return Ok(HttpResponse::BadRequest().json(answer));
    }
    Ok(settled.response(accepted))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use actix_web::http::StatusCode;
    use actix_web::http::header::CONTENT_ENCODING;
    use actix_web::test::TestRequest;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::super::testing::{Ground, Setup};
    use super::*;
    use crate::testkit::faults::{Strike, arm};

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[actix_rt::test]
    async fn what_is_answered_202_is_in_the_journal() {
        let ground = Ground::new(Setup::default()).await;
        let answer = ground.post("/v1/events", "{\"id\":1}").await;
        assert_eq!((answer.status, answer.json()), (StatusCode::ACCEPTED, json!({"accepted": 1})));
        let answer = ground.post("/v1/events", "[{\"id\":2}, {\"id\":3}]").await;
        assert_eq!((answer.status, answer.json()), (StatusCode::ACCEPTED, json!({"accepted": 2})));
        assert_eq!(ground.journal(), ["{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
        assert_eq!(ground.post("/v1/events", "[]").await.json(), json!({"accepted": 0}));
    }

    #[actix_rt::test]
    async fn a_bad_line_is_named_and_the_others_are_accepted() {
        let ground = Ground::new(Setup::default()).await;
        let body = "{\"id\":1}\n{\"id\":2}\n{\"id\":\n{\"id\":4}\n";
        let answer = ground.post("/v1/events", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let json = answer.json();
        assert_eq!((&json["accepted"], &json["rejected"]), (&json!(3), &json!(1)));
        assert_eq!(json["errors"][0]["line"], 3);
        assert!(answer.error().contains("line 3"), "{}", answer.error());
        assert_eq!(ground.journal(), ["{\"id\":1}", "{\"id\":2}", "{\"id\":4}"]);
    }

    #[actix_rt::test]
    async fn a_body_with_nothing_good_is_refused_whole() {
        let ground = Ground::new(Setup::default()).await;
        for body in ["", "7", "{\"id\":1", "[{\"id\":1}", "[7]"] {
            let answer = ground.post("/v1/events", body).await;
            assert_eq!((answer.status, &answer.json()["accepted"]), (StatusCode::BAD_REQUEST, &json!(0)), "{body}");
            assert!(answer.error().starts_with("0 accepted, 1 rejected; line 1: "), "{}", answer.error());
        }
        assert!(ground.journal().is_empty());
    }

    #[actix_rt::test]
    async fn lines_that_are_declared_are_taken_as_lines() {
        let ground = Ground::new(Setup::default()).await;
        let request =
            TestRequest::post().uri("/v1/events").insert_header((CONTENT_TYPE, "Application/X-NDJSON; charset=utf-8"));
        let answer = ground.send(request.set_payload("[{\"id\":1}]\n{\"id\":2}")).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["line"]), (StatusCode::BAD_REQUEST, &json!(1)));
        assert_eq!(ground.journal(), ["{\"id\":2}"]);
    }

    #[actix_rt::test]
    async fn bodies_are_bounded_before_and_after_decompression() {
        let ground = Ground::new(Setup { max_body: 10_000, ..Setup::default() }).await;
        let event = |size: usize| format!("{{\"text\":\"{}\"}}", "a".repeat(size));
        let send = |encoding: &'static str, body: Vec<u8>| {
            ground.send(
                TestRequest::post().uri("/v1/events").insert_header((CONTENT_ENCODING, encoding)).set_payload(body),
            )
        };
        let truncated = gzip(event(100).as_bytes())[..20].to_vec();
        let two_members = [gzip(b"{\"a\":1}\n"), gzip(b"{\"b\":2}\n")].concat();
        for (encoding, body, status) in [
            ("identity", event(9_000).into_bytes(), StatusCode::ACCEPTED),
            ("identity", event(10_000).into_bytes(), StatusCode::PAYLOAD_TOO_LARGE),
            ("gzip", gzip(event(9_000).as_bytes()), StatusCode::ACCEPTED),
            ("gzip", gzip(event(10_000).as_bytes()), StatusCode::PAYLOAD_TOO_LARGE),
            ("gzip", gzip(&vec![b'a'; 9_000_000]), StatusCode::PAYLOAD_TOO_LARGE),
            ("gzip", two_members, StatusCode::ACCEPTED),
            ("gzip", truncated, StatusCode::BAD_REQUEST),
            ("gzip", b"{\"id\":1}".to_vec(), StatusCode::BAD_REQUEST),
            ("br", b"{\"id\":1}".to_vec(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ] {
            let length = body.len();
            let answer = send(encoding, body).await;
            assert_eq!(answer.status, status, "{encoding} {length}");
            let understood = answer.headers.get("accept-encoding").map(String::as_str);
            assert_eq!(understood, (status == StatusCode::UNSUPPORTED_MEDIA_TYPE).then_some("gzip"));
        }
        assert_eq!(ground.journal().len(), 4);
    }

    #[actix_rt::test]
    async fn a_full_window_is_429_until_events_are_settled() {
        let ground = Ground::new(Setup { max_pending: 2, ..Setup::default() }).await;
        assert_eq!(ground.post("/v1/events", "{}\n{}").await.status, StatusCode::ACCEPTED);
        let full = ground.post("/v1/events", "{}").await;
        assert_eq!((full.status, full.headers["retry-after"].as_str()), (StatusCode::TOO_MANY_REQUESTS, "1"));
        assert!(full.error().contains("at most 2"), "{}", full.error());
        ground.settle_all().await;
        assert_eq!(ground.post("/v1/events", "{}").await.status, StatusCode::ACCEPTED);
        let never = ground.post("/v1/events", "{}\n{}\n{}").await;
        assert_eq!(never.status, StatusCode::PAYLOAD_TOO_LARGE, "waiting would not help");
    }

    #[actix_rt::test]
    async fn events_take_their_memory_until_they_are_written_though_their_caller_is_gone() {
        let ground = Ground::new(Setup::default()).await;
        let room = ground.room();
        let held = ground.ledger.hold();
        tokio::select! {
            biased;
            answer = ground.post("/v1/events", "{}") => panic!("{}", answer.status),
            () = async { while ground.intake.pending() < 1 { tokio::task::yield_now().await } } => {}
        }
        assert!(ground.room() < room);
        drop(held);
        while ground.room() < room {
            tokio::task::yield_now().await;
        }
        assert_eq!(ground.journal(), ["{}"]);
    }

    #[actix_rt::test]
    async fn what_cannot_be_written_down_is_not_accepted() {
        let ground = Ground::new(Setup::default()).await;
        arm("before the ledger commits", Strike::Fail, 0, 1);
        let answer = ground.post("/v1/events", "{}").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.error().contains("disk is full"), "{}", answer.error());
        ground.intake.close();
        assert_eq!(ground.post("/v1/events", "{}").await.status, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[actix_rt::test]
    async fn without_an_http_source_the_answer_says_how_to_have_one() {
        let ground = Ground::new(Setup { http_source: false, ..Setup::default() }).await;
        let answer = ground.post("/v1/events", "{}").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(answer.error().contains("type: http"), "{}", answer.error());
    }
}
