//! Local networks.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError};
use crate::live::NetworkRow;

/// Local networks, by interface and prefix.
#[utoipa::path(get, path = "/api/v1/networks", responses((status = 200, body = Listing<NetworkRow>)))]
#[get("/networks")]
pub async fn list(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let answers = deps.live.networks().await;
    Ok(HttpResponse::Ok().json(Listing { items: answers.rows, next: None, missing: answers.missing }))
}
