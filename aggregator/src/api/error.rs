//! The one shape of every error.

use actix_web::error::{JsonPayloadError, PathError};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Serialize;
use shared::bus::BusError;
use shared::store::StoreError;

/// `{"error": {"code": …, "message": …, "field": …}}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ErrorDetail {
    /// For programs: `bad_request`, `not_found`, `unavailable`, `internal`, …
    code: &'static str,
    /// For people.
    message: String,
    /// The parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// An error of a request.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<String>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None }
    }

    /// A parameter is wrong.
    pub fn bad_field(field: &str, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, "bad_request", message);
        Self { field: Some(field.to_owned()), ..error }
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// A part that is needed does not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a request failed in the store");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the store cannot answer")
    }
}

impl From<BusError> for ApiError {
    fn from(error: BusError) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let error = ErrorDetail { code: self.code, message: self.message.clone(), field: self.field.clone() };
        HttpResponse::build(self.status).json(ErrorBody { error })
    }
}

/// No route has this path, or none with this method.
pub async fn not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found(format!("there is no {} {}", request.method(), request.path())))
}

/// The body is no JSON, not the right one, or too large.
pub fn bad_body(error: &JsonPayloadError) -> ApiError {
    match error {
        JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error.to_string())
        }
        _ => ApiError::new(StatusCode::BAD_REQUEST, "bad_request", error.to_string()),
    }
}

/// A part of the path does not fit.
pub fn bad_path(error: &PathError) -> ApiError {
    ApiError::not_found(error.to_string())
}
