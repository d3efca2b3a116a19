//! Alerts: the history, what is engaged, and acknowledging.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use shared::model::query::{AlertQuery, Page, StoredAlert};
use shared::model::{Alert, AlertAction, Category, Entity, Severity};

use super::query::Parameters;
use super::{ApiDeps, ApiError};

const PARAMETERS: &[&str] = &[
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

/// The alert history, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", params(
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
    let parameters = Parameters::read(&request, PARAMETERS)?;
    let query = AlertQuery {
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
    };
    Ok(HttpResponse::Ok().json(deps.alerts.history(query).await?))
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

/// Marks an alert of the history as acknowledged.
#[utoipa::path(post, path = "/api/v1/alerts/{row}/acknowledge",
    params(("row" = i64, Path, description = "`row` of the alert")),
    responses((status = 200), (status = 404, body = super::error::ErrorBody)))]
#[post("/alerts/{row}/acknowledge")]
pub async fn acknowledge(
    deps: web::Data<ApiDeps>,
    row: web::Path<i64>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    match deps.alerts.acknowledge(*row, "api", deps.clock.now()).await? {
        true => Ok(HttpResponse::Ok().json(serde_json::json!({ "row": *row, "acknowledged": true }))),
        false => Err(ApiError::not_found(format!("no alert {row}"))),
    }
}
