//! The one shape of every error.

use actix_web::error::{JsonPayloadError, PathError};
use actix_web::http::StatusCode;
use actix_web::http::header::ALLOW;
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
    /// Methods that the path takes instead.
    allow: Option<String>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None, allow: None }
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

    /// Somebody else was faster (RFC 9110 §15.5.13).
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "conflict", message)
    }

    /// The bus takes nothing as large (RFC 9110 §15.5.14).
    pub fn too_large(field: &str, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
        Self { field: Some(field.to_owned()), ..error }
    }

    /// Others need it (RFC 9110 §15.5.10).
    pub fn in_use(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "in_use", message)
    }

    /// A wrong body, when the body is not to blame: others need what would go.
    pub fn or_in_use(self) -> Self {
        match self.status {
            StatusCode::BAD_REQUEST => Self::in_use(self.message),
            _ => self,
        }
    }

    /// With the document that it is about.
    pub fn of(self, kind: &str, name: &str) -> Self {
        Self { message: format!("{kind} {name}: {}", self.message), ..self }
    }

    /// Who asks may not do that.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// Somebody has locked it (RFC 4918 §11.3).
    pub fn locked(message: impl Into<String>) -> Self {
        Self::new(StatusCode::LOCKED, "locked", message)
    }

    /// There is no such thing, as far as those can tell who answered.
    pub fn not_there(message: String, missing: &[String]) -> Self {
        match missing {
            [] => Self::not_found(message),
            _ => Self::unavailable(format!("{message}, but no answer from {}", missing.join(", "))),
        }
    }

    /// A part that is needed does not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a request failed in the store");
        if matches!(error, StoreError::Unavailable(_)) {
            return Self::unavailable("the store's server does not answer");
        }
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
        let mut response = HttpResponse::build(self.status);
        if let Some(allow) = &self.allow {
            response.insert_header((ALLOW, allow.as_str()));
        }
        response.json(ErrorBody { error })
    }
}

/// No route has this path, or none with this method (RFC 9110 §15.5.6).
pub async fn no_route(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (method, path) = (request.method(), request.path());
    let allow = super::contract::methods_of(path).join(", ");
    if allow.is_empty() {
        return Err(ApiError::not_found(format!("there is no {path}")));
    }
    let message = format!("{path} does not take {method}, only {allow}");
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    Err(ApiError { allow: Some(allow), ..error })
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
