//! Alerts: the history, what is engaged, and what operators say of them.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::Deserialize;
use shared::model::query::{AlertQuery, Page, StoredAlert};
use shared::model::{Alert, AlertAction, Category, Entity, Severity, Timestamp};
use shared::store::AlertMark;

use super::query::Parameters;
use super::{ApiDeps, ApiError};

/// Parameters that choose alerts.
const FILTERS: &[&str] =
    &["from", "to", "severity", "entity", "entity_value", "category", "type", "action", "acknowledged"];

/// Those, and the parameters of a page.
const PARAMETERS: &[&str] = &[
    "id",
    "from",
    "to",
    "severity",
    "entity",
    "entity_value",
    "category",
    "type",
    "action",
    "acknowledged",
    "limit",
    "cursor",
];

/// Bytes of what an operator says at most.
const MAX_SAID: usize = 256;

/// The alert history, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", params(
    ("id" = Option<String>, Query, description = "Id of the alert, as notifications tell it"),
    ("from" = Option<String>, Query, description = "Not before: RFC 3339 or epoch seconds"),
    ("to" = Option<String>, Query, description = "Before"),
    ("severity" = Option<String>, Query, description = "At least this severity"),
    ("entity" = Option<String>, Query, description = "Entity"),
    ("entity_value" = Option<String>, Query, description = "Entity value"),
    ("category" = Option<String>, Query, description = "Category"),
    ("type" = Option<String>, Query, description = "Alert type"),
    ("action" = Option<String>, Query, description = "engage, release or store"),
    ("acknowledged" = Option<bool>, Query, description = "Acknowledged or not"),
    ("limit" = Option<usize>, Query, description = "Rows of a page"),
    ("cursor" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = Page<StoredAlert>), (status = 400, body = super::error::ErrorBody)))]
#[get("/alerts")]
pub async fn history(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = query(&request, PARAMETERS)?;
    Ok(HttpResponse::Ok().json(deps.alerts.history(query).await?))
}

/// Which alerts the parameters ask for.
fn query(request: &HttpRequest, known: &[&str]) -> Result<AlertQuery, ApiError> {
    let parameters = Parameters::read(request, known)?;
    Ok(AlertQuery {
        row: None,
        id: parameters.text("id"),
        from: parameters.parsed("from")?,
        to: parameters.parsed("to")?,
        min_severity: parameters.named("severity", Severity::parse)?,
        entity: parameters.named("entity", Entity::parse)?,
        entity_value: parameters.text("entity_value"),
        category: parameters.named("category", Category::parse)?,
        alert_type: parameters.text("type"),
        action: parameters.named("action", AlertAction::parse)?,
        acknowledged: parameters.parsed("acknowledged")?,
        before_row: parameters.parsed("cursor")?,
        limit: parameters.limit()?,
    })
}

/// Alerts engaged now, oldest first: always all of them, whatever recipients there are.
#[utoipa::path(get, path = "/api/v1/alerts/engaged", responses((status = 200, body = Page<Alert>)))]
#[get("/alerts/engaged")]
pub async fn engaged(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let engaged = deps.alerts.engaged(None).await?;
    let items: Vec<Alert> = engaged.into_iter().map(|engaged| engaged.alert).collect();
    Ok(HttpResponse::Ok().json(Page { items, next: None }))
}

/// What an operator says of an alert.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Said {
    /// Who says so; `api` when absent.
    by: Option<String>,
    /// A word for it, at most 256 bytes; an empty one takes it away.
    label: Option<String>,
}

impl Said {
    /// Reads a body; there may be none.
    fn read(body: &[u8]) -> Result<Self, ApiError> {
        let said: Self = match body {
            [] => Self::default(),
            body => serde_json::from_slice(body).map_err(|e| ApiError::bad_field("body", e.to_string()))?,
        };
        for (name, text) in [("by", &said.by), ("label", &said.label)] {
            if text.as_ref().is_some_and(|text| text.len() > MAX_SAID || text.contains(char::is_control)) {
                let cause = format!("{name} must be at most {MAX_SAID} bytes without control characters");
                return Err(ApiError::bad_field(name, cause));
            }
        }
        Ok(said)
    }
}

/// Notes what is said of one alert.
async fn said(
    deps: &ApiDeps,
    row: i64,
    mark: AlertMark,
    by: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let of = AlertQuery { row: Some(row), limit: 1, ..AlertQuery::default() };
    deps.alerts.mark(of, mark, by.as_deref().unwrap_or("api"), deps.clock.now()).await?;
    Ok(HttpResponse::Ok().json(self::row(deps, row).await?))
}

/// One alert of the history.
pub(super) async fn row(deps: &ApiDeps, row: i64) -> Result<StoredAlert, ApiError> {
    let of = AlertQuery { row: Some(row), limit: 1, ..AlertQuery::default() };
    let found = deps.alerts.history(of).await?.items.into_iter().next();
    found.ok_or_else(|| ApiError::not_found(format!("no alert {row}")))
}

/// One alert of the history: by its row, by its id (the newest transition), or as events are called, by
/// `<id>/<action>`, and by `<id>/update/<nanoseconds>`, of which an alert has several.
pub(super) async fn named(deps: &ApiDeps, name: &str) -> Result<Alert, ApiError> {
    // An id may be made of digits alone; it has more of them than a row.
    if let (Ok(number), true) = (name.parse(), name.len() < 20) {
        return Ok(row(deps, number).await?.alert);
    }
    let unknown = || ApiError::not_found(format!("no alert {name}"));
    let mut parts = name.splitn(3, '/');
    let id = parts.next().map(str::to_owned);
    let action = parts.next().map(|text| AlertAction::parse(text).ok_or_else(unknown)).transpose()?;
    let at =
        parts.next().map(|text| text.parse().map(Timestamp::from_ns).map_err(|_| unknown())).transpose()?;
    let (from, to) = (at, at.map(|at| Timestamp::from_ns(at.ns().saturating_add(1))));
    let of = AlertQuery { id, action, from, to, limit: 1, ..AlertQuery::default() };
    deps.alerts.history(of).await?.items.into_iter().next().map(|stored| stored.alert).ok_or_else(unknown)
}

/// Marks an alert of the history as acknowledged.
#[utoipa::path(post, path = "/api/v1/alerts/{row}/acknowledge",
    params(("row" = i64, Path, description = "`row` of the alert")), request_body = Option<Said>,
    responses((status = 200, body = StoredAlert), (status = 404, body = super::error::ErrorBody)))]
#[post("/alerts/{row}/acknowledge")]
pub async fn acknowledge(
    deps: web::Data<ApiDeps>,
    row: web::Path<i64>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    said(&deps, *row, AlertMark::Acknowledged, Said::read(&body)?.by).await
}

/// Marks an alert of the history as not acknowledged.
#[utoipa::path(delete, path = "/api/v1/alerts/{row}/acknowledge",
    params(("row" = i64, Path, description = "`row` of the alert")),
    responses((status = 200, body = StoredAlert), (status = 404, body = super::error::ErrorBody)))]
#[delete("/alerts/{row}/acknowledge")]
pub async fn unacknowledge(
    deps: web::Data<ApiDeps>,
    row: web::Path<i64>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    said(&deps, *row, AlertMark::NotAcknowledged, None).await
}

/// Gives an alert of the history a label.
#[utoipa::path(post, path = "/api/v1/alerts/{row}/label",
    params(("row" = i64, Path, description = "`row` of the alert")), request_body = Said,
    responses((status = 200, body = StoredAlert), (status = 404, body = super::error::ErrorBody)))]
#[post("/alerts/{row}/label")]
pub async fn label(
    deps: web::Data<ApiDeps>,
    row: web::Path<i64>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let Said { by, label } = Said::read(&body)?;
    let label = label.ok_or_else(|| ApiError::bad_field("label", "the body names no label".to_owned()))?;
    said(&deps, *row, AlertMark::Label(label), by).await
}

/// Acknowledges all alerts of the history that the parameters ask for.
#[utoipa::path(post, path = "/api/v1/alerts/acknowledge", request_body = Option<Said>,
    params(("type" = Option<String>, Query, description = "Alert type; and all others of the history")),
    responses((status = 200, body = serde_json::Value), (status = 400, body = super::error::ErrorBody)))]
#[post("/alerts/acknowledge")]
pub async fn acknowledge_all(
    deps: web::Data<ApiDeps>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let of = query(&request, FILTERS)?;
    let by = Said::read(&body)?.by;
    let by = by.as_deref().unwrap_or("api");
    let changed = deps.alerts.mark(of, AlertMark::Acknowledged, by, deps.clock.now()).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "acknowledged": changed })))
}

/// Deletes one alert of the history.
#[utoipa::path(delete, path = "/api/v1/alerts/{row}",
    params(("row" = i64, Path, description = "`row` of the alert")),
    responses((status = 200, body = serde_json::Value), (status = 404, body = super::error::ErrorBody)))]
#[delete("/alerts/{row}")]
pub async fn delete_one(
    deps: web::Data<ApiDeps>,
    row: web::Path<i64>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    match deps.alerts.delete_history(AlertQuery { row: Some(*row), ..AlertQuery::default() }).await? {
        0 => Err(ApiError::not_found(format!("no alert {row}"))),
        deleted => Ok(HttpResponse::Ok().json(serde_json::json!({ "deleted": deleted }))),
    }
}

/// Deletes all alerts of the history that the parameters ask for; without any of them it is refused.
#[utoipa::path(delete, path = "/api/v1/alerts",
    params(("to" = Option<String>, Query, description = "Before; and all others of the history")),
    responses((status = 200, body = serde_json::Value), (status = 400, body = super::error::ErrorBody)))]
#[delete("/alerts")]
pub async fn delete_all(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let of = query(&request, FILTERS)?;
    if of == (AlertQuery { limit: of.limit, ..AlertQuery::default() }) {
        let cause = "name what to delete, such as to=2026-01-01T00:00:00Z".to_owned();
        return Err(ApiError::bad_field("query", cause));
    }
    let deleted = deps.alerts.delete_history(of).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "deleted": deleted })))
}
