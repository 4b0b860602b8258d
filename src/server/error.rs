//! Errors as callers see them: a status and `{"error": "a sentence"}`.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_ENCODING, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use crate::actor::offload::on_blocking_thread;
use crate::document::InvalidId;
use crate::ledger::LedgerError;
use crate::memory::NoRoom;
use crate::search::SearchError;
use crate::source::http::IntakeError;

/// The most characters of an error. Many errors quote what was sent, whatever its size.
const MAX_MESSAGE: usize = 1_000;

/// Why a request was not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// An error with this status; the message is shown to the caller, cut when it is very long.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Self { status, message, retry_after: None }
    }

    /// The request is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// As this, with the time after which to try again.
    pub fn after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(after) = self.retry_after {
            // Whole seconds, and never 0: that would invite the next attempt at once.
            response.insert_header((RETRY_AFTER, after.as_secs_f64().ceil().max(1.0).to_string()));
        }
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            response.insert_header((ACCEPT_ENCODING, "gzip"));
        }
        response.json(json!({ "error": self.message }))
    }
}

impl From<InvalidId> for ApiError {
    fn from(error: InvalidId) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        let (status, after) = match error {
            IntakeError::Full { retry_after, .. } => (StatusCode::TOO_MANY_REQUESTS, Some(retry_after)),
            IntakeError::TooMany { .. } => (StatusCode::PAYLOAD_TOO_LARGE, None),
            IntakeError::Closed | IntakeError::Journal(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
        };
        Self::new(status, error.to_string()).after(after)
    }
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Invalid(reason) => Self::bad_request(reason),
            SearchError::NotFound(reason) => Self::not_found(reason),
            SearchError::Unavailable { reason, retry_after } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, reason).after(retry_after)
            }
        }
    }
}

impl From<NoRoom> for ApiError {
    fn from(no_room: NoRoom) -> Self {
        SearchError::from(no_room).into()
    }
}

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

/// Runs a call that blocks where it may.
pub async fn blocking<T: Send + 'static, E: Into<ApiError> + Send + 'static>(
    call: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError> {
    on_blocking_thread(call).await.map_err(E::into)
}
