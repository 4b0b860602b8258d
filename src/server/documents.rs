//! `/v1/documents/{id}`: what is held of a document, and taking it out of the index.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use serde::Deserialize;
use serde_json::Value;

use crate::document::{DocumentId, Version, versioning};
use crate::ledger::{HeldDocument, LedgerError, now_nanos};
use crate::settings::document::VersionUnit;
use crate::source::http::{Reach, Removal};
use crate::view::DocumentView;

use super::answer::{Reserved, as_json};
use super::error::{ApiError, blocking};
use super::shared::Shared;
use super::wait::{Wait, wait};

/// How a document is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteQuery {
    /// What the deletion is newer than, written as in `document.version`.
    #[serde(default)]
    pub version: Option<String>,
    /// What to wait for before answering.
    #[serde(default)]
    pub wait: Option<Wait>,
}

/// What is held of a document.
pub async fn get(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let id = DocumentId::new(&id)?;
    let (shown, owned) = (id.clone(), shared.clone().into_inner());
    let answer = held(&shared, id.clone(), move |held| {
        let json = as_json(&DocumentView::new(&shown, &held, owned.version_unit()));
        owned.answers.json(json, Reserved::default())
    });
    match answer.await? {
        Some(answer) => Ok(answer?.respond()),
        None => Err(ApiError::not_found(format!("there is no document `{id}`"))),
    }
}

/// Deletes a document; answers once that is on the disk.
pub async fn delete(
    id: Path<String>,
    query: Query<DeleteQuery>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let intake = shared.intake()?;
    let id = DocumentId::new(&id)?;
    let DeleteQuery { version, wait: asked } = query.into_inner();
    let reach = match version {
        Some(text) => Reach::UpTo(said(text, shared.version_unit()).map_err(ApiError::bad_request)?),
        None => {
            let held = held(&shared, id.clone(), |held| held.document.newest()).await?;
            let now = Version::from_nanos(now_nanos().into());
            Reach::now(held, shared.context.version_field, now)
                .map_err(|reason| ApiError::not_found(format!("document `{id}`: {reason}")))?
        }
    };
    let end = intake.accept(vec![Removal { id, reach }.to_payload()]).await?.end;
    Ok(wait(intake, asked, end, &shared).await.response(1))
}

/// The version that a query string says.
fn said(text: String, unit: VersionUnit) -> Result<Version, String> {
    let is_cut = text.contains(' ');
    versioning::read(&Value::String(text), unit)
        .map_err(|reason| if is_cut { format!("{reason}; in a query string, `+` is written `%2B`") } else { reason })
}

/// What is to be known of a document, if it is held.
async fn held<T: Send + 'static>(
    shared: &Shared,
    id: DocumentId,
    known: impl FnOnce(HeldDocument) -> T + Send + 'static,
) -> Result<Option<T>, ApiError> {
    let turn = shared.reads.clone().acquire_owned().await.expect("the semaphore is never closed");
    let ledger = shared.context.report.ledger.clone();
    blocking(move || {
        // Held by the thread and not by the caller, who may stop waiting.
        let _turn = turn;
        let found = ledger.documents(&[id])?.into_iter().flatten().next();
        Ok::<_, LedgerError>(found.map(known))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use actix_web::http::{Method, StatusCode};
    use serde_json::json;
    use tokio::time::timeout;

    use super::super::shared::READS;
    use super::super::testing::{Ground, Setup};
    use super::*;

    #[actix_rt::test]
    async fn a_document_is_shown_as_it_is_held() {
        let ground = Ground::new(Setup::default()).await;
        ground.hold("a/b %2F", 7_000_000_000, &["Boots"]);
        let answer = ground.get("/v1/documents/a%2Fb%20%252F").await;
        let json = answer.json();
        assert_eq!((answer.status, &json["id"], &json["indexed"]), (StatusCode::OK, &json!("a/b %2F"), &json!(true)));
        assert_eq!((&json["version"], &json["versions"]), (&json!(7), &json!({"title": 7})));
        assert_eq!((&json["fields"], &json["metadata"]), (&json!({"title": "Boots"}), &json!({"category": "shoes"})));
        assert_eq!(json["chunks"][0]["fingerprint"].as_str().map(str::len), Some(64));

        let unknown = ground.get("/v1/documents/p2").await;
        assert_eq!((unknown.status, unknown.error()), (StatusCode::NOT_FOUND, "there is no document `p2`".into()));
        let nul = ground.get("/v1/documents/a%00").await;
        assert_eq!(nul.status, StatusCode::BAD_REQUEST);
    }

    #[actix_rt::test]
    async fn few_documents_are_read_at_a_time() {
        let ground = Ground::new(Setup::default()).await;
        ground.hold("p1", 7, &["Boots"]);
        tokio::time::pause();
        let shared = ground.shared();
        let others = shared.reads.acquire_many(READS as u32).await.unwrap();
        let mut reading = pin!(ground.get("/v1/documents/p1"));
        assert!(timeout(Duration::from_secs(1), &mut reading).await.is_err(), "it waits for the others");
        drop(others);
        assert_eq!(reading.await.status, StatusCode::OK);
    }

    #[actix_rt::test]
    async fn a_deletion_is_in_the_journal_before_it_is_answered() {
        let ground = Ground::new(Setup { version_field: None, ..Setup::default() }).await;
        let answer = ground.request(Method::DELETE, "/v1/documents/p1").await;
        assert_eq!((answer.status, answer.json()), (StatusCode::ACCEPTED, json!({"accepted": 1})));
        let answer = ground.request(Method::DELETE, "/v1/documents/p1?version=2024-11-23T08:40:34Z").await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let removals: Vec<_> = ground
            .journal()
            .iter()
            .map(|payload| Removal::from_payload(payload.as_bytes()).expect("a removal"))
            .collect();
        let id = DocumentId::new("p1").unwrap();
        let said = Reach::UpTo(Version::from_nanos(1_732_351_234_000_000_000));
        let expected = [Reach::Before(None), said].map(|reach| Removal { id: id.clone(), reach });
        assert_eq!(removals, expected);

        let wrong = ground.request(Method::DELETE, "/v1/documents/p1?version=soon").await;
        assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
        assert!(wrong.error().contains("`soon`") && !wrong.error().contains("%2B"), "{}", wrong.error());
        let plus = ground.request(Method::DELETE, "/v1/documents/p1?version=2024-11-23T10:40:34+02:00").await;
        assert!(plus.error().ends_with("`+` is written `%2B`"), "{}", plus.error());
    }

    #[actix_rt::test]
    async fn with_times_a_deletion_is_as_new_as_the_moment_it_came_in() {
        let ground = Ground::new(Setup::default()).await;
        let before = now_nanos();
        assert_eq!(ground.request(Method::DELETE, "/v1/documents/p1").await.status, StatusCode::ACCEPTED);
        let removal = Removal::from_payload(ground.journal()[0].as_bytes()).unwrap();
        let Reach::UpTo(version) = removal.reach else { panic!("{removal:?}") };
        assert!((before.into()..=now_nanos().into()).contains(&version.as_nanos()), "{version}");
    }

    #[actix_rt::test]
    async fn with_counters_a_deletion_is_as_new_as_what_is_held() {
        let ground = Ground::new(Setup { version_field: Some(VersionUnit::Counter), ..Setup::default() }).await;
        let unknown = ground.request(Method::DELETE, "/v1/documents/p1").await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
        ground.hold("p1", 7_000_000_000, &["Boots"]);
        assert_eq!(ground.request(Method::DELETE, "/v1/documents/p1").await.status, StatusCode::ACCEPTED);
        let removal = Removal::from_payload(ground.journal()[0].as_bytes()).unwrap();
        assert_eq!(removal.reach, Reach::UpTo(Version::from_nanos(7_000_000_000)));
    }
}
