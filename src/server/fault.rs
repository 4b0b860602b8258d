//! A panic while a request is answered: its caller is told of a fault, and keeps the connection.

use std::panic::AssertUnwindSafe;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError};
use futures_util::FutureExt;

use super::error::ApiError;

/// Answers a request, and says so when that panics: what the request held is dropped then, as when its caller goes away. For resources
/// alone, since until a request has come to one, actix wants no other handle to it.
pub async fn tell<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let asked = request.request().clone();
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(answer) => Ok(answer?.map_into_boxed_body()),
        Err(_) => {
            let reason = "the request met an error inside Vectide; its log says more";
            let fault = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, reason);
            Ok(ServiceResponse::new(asked, fault.error_response()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::testing::{Ground, Setup};
    use super::*;

    #[actix_rt::test]
    async fn whoever_meets_a_panic_is_told_of_a_fault() {
        let ground = Ground::new(Setup::default()).await;
        ground.index.panics.store(true, Ordering::Relaxed);
        let fault = ground.get("/v1/search?text=a").await;
        assert_eq!(fault.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(fault.error().contains("inside Vectide"), "{}", fault.error());
        ground.index.panics.store(false, Ordering::Relaxed);
        assert_eq!(ground.get("/v1/search?text=a").await.status, StatusCode::OK);
    }
}
