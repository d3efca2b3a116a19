//! Hosts.

use actix_web::{HttpRequest, HttpResponse, get, web};
use shared::model::HostKey;
use shared::model::network::IpNet;
use shared::model::query::MAX_LIMIT;

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError};
use crate::live::{HostQuery, HostRow, parse_cursor};

/// Hosts, by interface and address.
#[utoipa::path(get, path = "/api/v1/hosts", params(
    ("ifid" = Option<u32>, Query, description = "On this interface"),
    ("local" = Option<bool>, Query, description = "Local or remote"),
    ("search" = Option<String>, Query, description = "An address or a prefix"),
    ("limit" = Option<usize>, Query, description = "Rows of a page"),
    ("cursor" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = Listing<HostRow>), (status = 400, body = super::error::ErrorBody)))]
#[get("/hosts")]
pub async fn list(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::read(&request, &["ifid", "local", "search", "limit", "cursor"])?;
    let prefix = |text: &str| {
        text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
    };
    let query = HostQuery {
        ifid: parameters.parsed("ifid")?,
        local: parameters.parsed("local")?,
        search: parameters.named("search", prefix)?,
        after: parameters.named("cursor", parse_cursor)?,
        limit: parameters.limit()?,
    };
    let (answers, next) = deps.live.hosts(query).await;
    Ok(HttpResponse::Ok().json(Listing { items: answers.rows, next, missing: answers.missing }))
}

/// One host: `ip` or `ip@vlan`, on every interface that saw it.
#[utoipa::path(get, path = "/api/v1/hosts/{host}", params(("host" = String, Path, description = "`ip` or `ip@vlan`")),
    responses((status = 200, body = Listing<HostRow>), (status = 404, body = super::error::ErrorBody)))]
#[get("/hosts/{host}")]
pub async fn one(
    deps: web::Data<ApiDeps>,
    host: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let key: HostKey = host.parse().map_err(|e: String| ApiError::bad_field("host", e))?;
    let query = HostQuery { search: Some(IpNet::from(key.ip)), limit: MAX_LIMIT, ..HostQuery::default() };
    let (answers, _) = deps.live.hosts(query).await;
    let missing = answers.missing;
    let items: Vec<HostRow> = answers.rows.into_iter().filter(|row| row.host == key).collect();
    match items.is_empty() {
        true => Err(ApiError::not_there(format!("no host {key}"), &missing)),
        false => Ok(HttpResponse::Ok().json(Listing { items, next: None, missing })),
    }
}
