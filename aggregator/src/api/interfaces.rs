//! Interfaces.

use actix_web::{HttpResponse, get, web};
use shared::model::query::Page;

use super::{ApiDeps, ApiError};
use crate::live::InterfaceRow;

/// All interfaces.
#[utoipa::path(get, path = "/api/v1/interfaces", responses((status = 200, body = Page<InterfaceRow>)))]
#[get("/interfaces")]
pub async fn list(deps: web::Data<ApiDeps>) -> HttpResponse {
    let answers = deps.live.interfaces().await;
    HttpResponse::Ok().json(Page { items: answers.rows, next: None })
}

/// One interface.
#[utoipa::path(get, path = "/api/v1/interfaces/{ifid}", params(("ifid" = u32, Path, description = "Interface id")),
    responses((status = 200, body = InterfaceRow), (status = 404, body = super::error::ErrorBody)))]
#[get("/interfaces/{ifid}")]
pub async fn one(deps: web::Data<ApiDeps>, ifid: web::Path<u32>) -> Result<HttpResponse, ApiError> {
    let rows = deps.live.interfaces().await.rows;
    let row = rows.into_iter().find(|row| row.ifid == *ifid);
    row.map(|row| HttpResponse::Ok().json(row))
        .ok_or_else(|| ApiError::not_found(format!("no interface {ifid}")))
}
