//! `GET /health/live` and `GET /health/ready`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use serde_json::json;

use crate::telemetry::health::{Component, ComponentHealth, HealthState};

use super::connections::Phase;
use super::shared::Shared;

#[derive(Serialize)]
struct HealthView {
    status: HealthState,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    components: BTreeMap<Component, ComponentHealth>,
    /// What sources cannot read, or read in part, and why. The process is ready all the same: it answers from what it has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sources: BTreeMap<String, String>,
}

/// The process answers: do not restart it.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": HealthState::Ok }))
}

/// Whether every component works; 503 with the reasons while one does not, and once the process was told to end.
pub async fn ready(shared: Data<Shared>) -> HttpResponse {
    let health = &shared.context.report.health;
    let sources = shared.context.report.sources.snapshot();
    let sources = sources.into_iter().filter_map(|(name, stats)| Some((name, stats.problem()?.to_owned())));
    let stopping = *shared.phase.borrow() != Phase::Serving;
    let status = if stopping { HealthState::Stopping } else { health.worst() };
    let view = HealthView { status, components: health.snapshot(), sources: sources.collect() };
    match view.status {
        HealthState::Ok => HttpResponse::Ok().json(view),
        _ => HttpResponse::ServiceUnavailable().json(view),
    }
}
