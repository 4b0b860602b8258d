//! `GET /v1/stats`.

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::error::{ApiError, blocking};
use super::shared::Shared;

/// The statistics of this moment.
pub async fn get(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let report = shared.context.report.clone();
    Ok(HttpResponse::Ok().json(blocking(move || report.stats()).await?))
}
