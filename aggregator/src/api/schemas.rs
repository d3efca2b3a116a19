//! The published forms of what flowhook tells others.

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use serde_json::{Value, json};
use shared::model::alert_schema::alert_schema;
use shared::model::query::Page;

use super::query::Parameters;
use super::recipients::{LIST_PATIENCE, ask};
use super::{ApiDeps, ApiError};

/// The JSON Schema (draft 2020-12) of alerts, as they are on the bus, in webhooks and in the history.
#[utoipa::path(get, path = "/api/v1/schemas/alert", responses((status = 200, body = serde_json::Value)))]
#[get("/schemas/alert")]
pub async fn alert(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    Ok(HttpResponse::Ok().content_type("application/schema+json").json(alert_schema()))
}

/// The kinds of endpoints, as the notifier has them: of each the JSON Schema (draft 2020-12) of an object
/// with the parameters of the `endpoint` and of the `recipient`, a sample of configuration in TOML, and the
/// section of the documentation. Secrets are `writeOnly`.
#[utoipa::path(get, path = "/api/v1/schemas/endpoints",
    responses((status = 200, body = Page<Value>), (status = 503, body = super::error::ErrorBody)))]
#[get("/schemas/endpoints")]
pub async fn endpoints(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let items = ask(&deps, "kinds", Bytes::from_static(b"{}"), LIST_PATIENCE).await?;
    Ok(HttpResponse::Ok().json(json!({ "items": items })))
}

/// One kind of endpoint: its JSON Schema, a sample, and the section of the documentation.
#[utoipa::path(get, path = "/api/v1/schemas/endpoints/{kind}",
    params(("kind" = String, Path, description = "Name of the kind, such as `webhook`")),
    responses((status = 200, body = Value), (status = 404, body = super::error::ErrorBody),
              (status = 503, body = super::error::ErrorBody)))]
#[get("/schemas/endpoints/{kind}")]
pub async fn endpoint(
    deps: web::Data<ApiDeps>,
    kind: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let question = json!({ "kind": *kind }).to_string();
    let found = ask(&deps, "kinds", question.into(), LIST_PATIENCE).await?;
    Ok(HttpResponse::Ok().json(&found[0]))
}
