//! `GET /openapi.json`.

use actix_web::HttpResponse;

/// The description of the interface. A test compares it with what is served.
pub const DOCUMENT: &str = include_str!("openapi.json");

/// The description of the interface.
pub async fn get() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}
