//! `GET /metrics` for Prometheus.

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::error::{ApiError, blocking};
use super::shared::Shared;

/// All metrics in the Prometheus text format.
pub async fn get(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let report = shared.context.report.clone();
    let text = blocking(move || report.metrics()).await?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
