//! Hosts that are probed.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError};
use crate::monitor::MonitorRow;

/// Hosts that are probed, how they are and how the last round went. They are edited as settings of kind
/// `monitor`; their history is in the series of entity `am_host`.
#[utoipa::path(get, path = "/api/v1/monitor", responses((status = 200, body = Listing<MonitorRow>)))]
#[get("/monitor")]
pub async fn list(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let answers = deps.live.monitored().await;
    Ok(HttpResponse::Ok().json(Listing { items: answers.rows, next: None, missing: answers.missing }))
}
