//! Processes of the cluster.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError};
use crate::nodes::NodeRow;

/// Collectors and aggregators that say that they are there, with their clocks; none without NATS.
#[utoipa::path(get, path = "/api/v1/nodes", responses((status = 200, body = Listing<NodeRow>)))]
#[get("/nodes")]
pub async fn list(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let items = deps.live.nodes(deps.clock.now());
    Ok(HttpResponse::Ok().json(Listing { items, next: None, missing: Vec::new() }))
}
