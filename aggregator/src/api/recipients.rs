//! Recipients of notifications, asked of the notifier.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use bytes::Bytes;
use serde_json::{Value, json};
use shared::model::query::Page;
use shared::store::DeliveryRecord;

use super::query::Parameters;
use super::{ApiDeps, ApiError};

/// How long the notifier may take to list its recipients.
pub const LIST_PATIENCE: Duration = Duration::from_secs(2);

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

/// Why a recipient gets an alert of the history, or does not, and how its delivery stands.
#[utoipa::path(get, path = "/api/v1/recipients/{name}/explain",
    params(("name" = String, Path, description = "Name of the recipient"),
           ("alert" = String, Query, description = "Row of the alert in the history, its id, or the id of one of its transitions")),
    responses((status = 200, body = Value), (status = 404, body = super::error::ErrorBody)))]
#[get("/recipients/{name}/explain")]
pub async fn explain(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let alert = Parameters::read(&request, &["alert"])?.text("alert");
    let alert = alert.ok_or_else(|| ApiError::bad_field("alert", "parameter 'alert' is missing"))?;
    let alert = super::alerts::named(&deps, &alert).await?;
    let question = json!({ "alert": alert, "recipient": *name }).to_string();
    Ok(HttpResponse::Ok().json(ask(&deps, "explain", question.into(), LIST_PATIENCE).await?))
}

/// To whom an alert of the history went, with every try.
#[utoipa::path(get, path = "/api/v1/alerts/{row}/deliveries",
    params(("row" = i64, Path, description = "Row of the alert in the history")),
    responses((status = 200, body = Page<DeliveryRecord>), (status = 404, body = super::error::ErrorBody)))]
#[get("/alerts/{row}/deliveries")]
pub async fn deliveries(
    deps: web::Data<ApiDeps>,
    row: web::Path<i64>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let alert = super::alerts::row(&deps, *row).await?.alert;
    let question = json!({ "event": alert.transition_id() }).to_string();
    let items = ask(&deps, "deliveries", question.into(), LIST_PATIENCE).await?;
    Ok(HttpResponse::Ok().json(json!({ "items": items })))
}

/// Deliveries to a recipient that were given up, newest first.
#[utoipa::path(get, path = "/api/v1/recipients/{name}/dead",
    params(("name" = String, Path, description = "Name of the recipient"),
           ("limit" = Option<usize>, Query, description = "Letters at most: 100, up to 1000")),
    responses((status = 200, body = Page<Value>)))]
#[get("/recipients/{name}/dead")]
pub async fn dead(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let limit = Parameters::read(&request, &["limit"])?.limit()?;
    let question = json!({ "recipient": *name, "limit": limit }).to_string();
    let items = ask(&deps, "dead_letters", question.into(), LIST_PATIENCE).await?;
    Ok(HttpResponse::Ok().json(json!({ "items": items })))
}

/// What a delivery said that was given up, and how it was tried. The URL of a script's post is shown without
/// what may be secret in it.
#[utoipa::path(get, path = "/api/v1/recipients/{name}/dead/{event}",
    params(("name" = String, Path, description = "Name of the recipient"),
           ("event" = String, Path, description = "The event, as the list of dead letters names it")),
    responses((status = 200, body = Value), (status = 404, body = super::error::ErrorBody)))]
#[get("/recipients/{name}/dead/{event:.+}")]
pub async fn dead_letter(
    deps: web::Data<ApiDeps>,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let (recipient, event) = path.into_inner();
    let question = json!({ "recipient": recipient, "event": event }).to_string();
    Ok(HttpResponse::Ok().json(ask(&deps, "dead_letter", question.into(), LIST_PATIENCE).await?))
}

/// Tries a recipient's dead letters again, or that of one event.
#[utoipa::path(post, path = "/api/v1/recipients/{name}/dead/replay",
    params(("name" = String, Path, description = "Name of the recipient"),
           ("event" = Option<String>, Query, description = "Only this event")),
    responses((status = 200, body = Value), (status = 404, body = super::error::ErrorBody)))]
#[post("/recipients/{name}/dead/replay")]
pub async fn replay(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    of_dead(&deps, "replay_dead", &name, &request).await
}

/// Forgets a recipient's dead letters, or that of one event.
#[utoipa::path(delete, path = "/api/v1/recipients/{name}/dead",
    params(("name" = String, Path, description = "Name of the recipient"),
           ("event" = Option<String>, Query, description = "Only this event")),
    responses((status = 200, body = Value)))]
#[delete("/recipients/{name}/dead")]
pub async fn discard(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    of_dead(&deps, "discard_dead", &name, &request).await
}

async fn of_dead(
    deps: &ApiDeps,
    verb: &str,
    name: &str,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let event = Parameters::read(request, &["event"])?.text("event");
    let question = json!({ "recipient": name, "event": event }).to_string();
    Ok(HttpResponse::Ok().json(ask(deps, verb, question.into(), LIST_PATIENCE).await?))
}

/// Asks the notifier.
///
/// # Errors
/// It does not answer, or says what is wrong.
pub async fn ask(deps: &ApiDeps, verb: &str, question: Bytes, patience: Duration) -> Result<Value, ApiError> {
    let subject = deps.subjects.request_role("notifier", verb);
    let answer = deps.bus.request(&subject, question, patience).await?;
    let answer: Value = serde_json::from_slice(&answer)
        .map_err(|e| ApiError::unavailable(format!("the notifier's answer cannot be read: {e}")))?;
    let error = &answer["error"];
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    match error["code"].as_str() {
        None => Ok(answer),
        Some("not_found") => Err(ApiError::not_found(text("message"))),
        Some("bad_request") => {
            let message = text("message");
            let (field, cause) = message.split_once(": ").unwrap_or(("body", &message));
            Err(ApiError::bad_field(field, cause))
        }
        Some(_) => Err(ApiError::unavailable(text("message"))),
    }
}
