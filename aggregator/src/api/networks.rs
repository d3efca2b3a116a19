//! Local networks.

use actix_web::{HttpResponse, get, web};
use shared::model::query::Page;

use super::ApiDeps;
use crate::live::NetworkRow;

/// Local networks, by interface and prefix.
#[utoipa::path(get, path = "/api/v1/networks", responses((status = 200, body = Page<NetworkRow>)))]
#[get("/networks")]
pub async fn list(deps: web::Data<ApiDeps>) -> HttpResponse {
    let answers = deps.live.networks().await;
    HttpResponse::Ok().json(Page { items: answers.rows, next: None })
}
