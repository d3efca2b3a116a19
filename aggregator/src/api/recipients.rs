//! Recipients of notifications, asked of the notifier.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use bytes::Bytes;
use serde_json::{Value, json};
use shared::model::query::Page;

use super::query::Parameters;
use super::{ApiDeps, ApiError};

/// How long the notifier may take to list its recipients.
const LIST_PATIENCE: Duration = Duration::from_secs(2);

/// How long a test of a recipient may take.
const TEST_PATIENCE: Duration = Duration::from_secs(30);

/// Recipients with their criteria and counts.
#[utoipa::path(get, path = "/api/v1/recipients",
    responses((status = 200, body = Page<Value>), (status = 503, body = super::error::ErrorBody)))]
#[get("/recipients")]
pub async fn list(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let answer = ask(&deps, "recipients", Bytes::new(), LIST_PATIENCE).await?;
    Ok(HttpResponse::Ok().json(json!({ "items": answer })))
}

/// Sends a test message to a recipient and tells what the far end said.
#[utoipa::path(post, path = "/api/v1/recipients/{name}/test",
    params(("name" = String, Path, description = "Name of the recipient")),
    responses((status = 200, body = Value), (status = 404, body = super::error::ErrorBody)))]
#[post("/recipients/{name}/test")]
pub async fn test(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let question = json!({ "recipient": *name }).to_string();
    Ok(HttpResponse::Ok().json(ask(&deps, "test", question.into(), TEST_PATIENCE).await?))
}

async fn ask(deps: &ApiDeps, verb: &str, question: Bytes, patience: Duration) -> Result<Value, ApiError> {
    let subject = deps.subjects.request_role("notifier", verb);
    let answer = deps.bus.request(&subject, question, patience).await?;
    let answer: Value = serde_json::from_slice(&answer)
        .map_err(|e| ApiError::unavailable(format!("the notifier's answer cannot be read: {e}")))?;
    let error = &answer["error"];
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    match error["code"].as_str() {
        None => Ok(answer),
        Some("not_found") => Err(ApiError::not_found(text("message"))),
        Some(_) => Err(ApiError::unavailable(text("message"))),
    }
}
