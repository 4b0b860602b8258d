//! What a caller who changes something may wait for before the answer.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::source::http::Intake;

use super::connections::Phase;
use super::shared::Shared;

/// What to wait for before answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Until the events, and all that were accepted before them, are searchable or settled in another way: superseded, filtered,
    /// dead-lettered.
    Indexed,
}

#[derive(Debug, Serialize)]
struct Accepted {
    accepted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// Everything is settled.
    Yes,
    /// Nobody asked.
    NotAsked,
    /// It takes longer than `server.wait_timeout`.
    NotYet,
    /// The process ends before it is.
    NotInThisRun,
}

impl Settled {
    pub(super) fn response(self, accepted: usize) -> HttpResponse {
        let status = if self == Self::Yes { StatusCode::OK } else { StatusCode::ACCEPTED };
        HttpResponse::build(status).json(Accepted { accepted, note: self.note() })
    }

    /// Why the answer does not say that all is settled, where the caller asked to wait for it.
    pub(super) fn note(self) -> Option<&'static str> {
        match self {
            Self::Yes | Self::NotAsked => None,
            Self::NotYet => Some("accepted, and not known to be settled yet: `server.wait_timeout` is over"),
            Self::NotInThisRun => {
                Some("accepted, and not known to be settled yet: Vectide is shutting down, the next start goes on")
            }
        }
    }
}

/// Waits for what a caller asked to wait for: until every event before this number is settled.
pub(super) async fn wait(intake: &Intake, asked: Option<Wait>, end: u64, shared: &Shared) -> Settled {
    let Some(Wait::Indexed) = asked else { return Settled::NotAsked };
    let mut phase = shared.phase.clone();
    tokio::select! {
        biased;
        () = intake.settled(end) => Settled::Yes,
        () = sleep(shared.settings.wait_timeout.as_duration()) => Settled::NotYet,
        _ = phase.wait_for(|phase| *phase == Phase::Closing) => Settled::NotInThisRun,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::testing::{Ground, Setup};
    use super::*;

    #[actix_rt::test]
    async fn waiting_answers_200_once_everything_is_settled() {
        let ground = Ground::new(Setup::default()).await;
        let (answer, ()) = tokio::join!(ground.post("/v1/events?wait=indexed", "{}\n{}"), async {
            while ground.journal().len() < 2 {
                tokio::task::yield_now().await;
            }
            ground.settle_all().await;
        });
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"accepted": 2})));
    }

    #[actix_rt::test]
    async fn who_sends_nothing_waits_for_what_was_accepted_before() {
        let ground = Ground::new(Setup { wait_timeout: Duration::from_millis(1), ..Setup::default() }).await;
        assert_eq!(ground.post("/v1/events?wait=indexed", "[]").await.status, StatusCode::OK, "nothing was");
        assert_eq!(ground.post("/v1/events", "{}").await.status, StatusCode::ACCEPTED);
        assert_eq!(ground.post("/v1/events?wait=indexed", "[]").await.status, StatusCode::ACCEPTED, "not yet");
        ground.settle_all().await;
        assert_eq!(ground.post("/v1/events?wait=indexed", "[]").await.status, StatusCode::OK);
        ground.intake.close();
        assert_eq!(ground.post("/v1/events", "[]").await.status, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[actix_rt::test]
    async fn waiting_too_long_answers_202_with_a_note() {
        let ground = Ground::new(Setup { wait_timeout: Duration::from_millis(1), ..Setup::default() }).await;
        let answer = ground.post("/v1/events?wait=indexed", "{}").await;
        assert_eq!((answer.status, &answer.json()["accepted"]), (StatusCode::ACCEPTED, &json!(1)));
        assert!(answer.json()["note"].as_str().unwrap().contains("`server.wait_timeout` is over"));
        let partly = ground.post("/v1/events?wait=indexed", "{}\n7").await;
        assert_eq!((partly.status, &partly.json()["note"]), (StatusCode::BAD_REQUEST, &answer.json()["note"]));
        let not_asked = ground.post("/v1/events", "{}\n7").await;
        assert_eq!(not_asked.json().get("note"), None);
    }

    #[actix_rt::test]
    async fn who_waits_while_the_process_ends_is_told_that_it_was_accepted() {
        let ground = Ground::new(Setup::default()).await;
        ground.ending.send_replace(Phase::Closing);
        let answer = ground.post("/v1/events?wait=indexed", "{}").await;
        assert_eq!((answer.status, &answer.json()["accepted"]), (StatusCode::ACCEPTED, &json!(1)));
        assert!(answer.json()["note"].as_str().unwrap().contains("shutting down"));
    }
}
