//! The published forms of what flowhook tells others.

use actix_web::{HttpRequest, HttpResponse, get};
use shared::model::alert_schema::alert_schema;

use super::ApiError;
use super::query::Parameters;

/// The JSON Schema (draft 2020-12) of alerts, as they are on the bus, in webhooks and in the history.
#[utoipa::path(get, path = "/api/v1/schemas/alert", responses((status = 200, body = serde_json::Value)))]
#[get("/schemas/alert")]
pub async fn alert(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    Ok(HttpResponse::Ok().content_type("application/schema+json").json(alert_schema()))
}
