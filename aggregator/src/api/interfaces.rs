//! Interfaces.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError};
use crate::live::InterfaceRow;

/// All interfaces.
#[utoipa::path(get, path = "/api/v1/interfaces", responses((status = 200, body = Listing<InterfaceRow>)))]
#[get("/interfaces")]
pub async fn list(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let answers = deps.live.interfaces().await;
    Ok(HttpResponse::Ok().json(Listing { items: answers.rows, next: None, missing: answers.missing }))
}

/// One interface; of several sites with such an interface the first, unless the site is given.
#[utoipa::path(get, path = "/api/v1/interfaces/{ifid}", params(
    ("ifid" = u32, Path, description = "Interface id"),
    ("site" = Option<String>, Query, description = "Of this site")),
    responses((status = 200, body = InterfaceRow), (status = 404, body = super::error::ErrorBody),
        (status = 503, body = super::error::ErrorBody)))]
#[get("/interfaces/{ifid}")]
pub async fn one(
    deps: web::Data<ApiDeps>,
    ifid: web::Path<u32>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let site = Parameters::read(&request, &["site"])?.text("site");
    let answers = deps.live.interfaces().await;
    let wanted = |row: &InterfaceRow| row.ifid == *ifid && site.as_ref().is_none_or(|site| row.site == *site);
    match answers.rows.into_iter().find(wanted) {
        Some(row) => Ok(HttpResponse::Ok().json(row)),
        None => Err(ApiError::not_there(format!("no interface {ifid}"), &answers.missing)),
    }
}
