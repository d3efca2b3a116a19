//! Is it alive, and what is it.

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;

use super::query::Parameters;
use super::{ApiDeps, ApiError};

/// Health of this node.
#[derive(Serialize, utoipa::ToSchema)]
struct Health {
    /// `ok`, or `degraded` when a shard does not answer.
    status: &'static str,
    /// Version of the program.
    version: &'static str,
    /// Name of the node.
    node: String,
    /// Seconds since the aggregator started.
    uptime_s: u64,
    /// Interfaces known.
    interfaces: usize,
    /// Alerts engaged.
    engaged_alerts: usize,
    /// Shards that do not answer.
    missing: Vec<String>,
}

/// Health of this node.
#[utoipa::path(get, path = "/api/v1/health", responses((status = 200, body = Health)))]
#[get("/health")]
pub async fn health(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let interfaces = deps.live.interfaces().await;
    let engaged_alerts = deps.alerts.engaged(None).await?.len();
    Ok(HttpResponse::Ok().json(Health {
        status: if interfaces.missing.is_empty() { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        node: deps.node.clone(),
        uptime_s: deps.up.elapsed().as_secs(),
        interfaces: interfaces.rows.len(),
        engaged_alerts,
        missing: interfaces.missing,
    }))
}
