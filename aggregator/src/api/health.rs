//! Is it alive, and what is it.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;

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
    /// Interfaces known.
    interfaces: usize,
    /// Alerts engaged.
    engaged_alerts: usize,
}

/// Health of this node.
#[utoipa::path(get, path = "/api/v1/health", responses((status = 200, body = Health)))]
#[get("/health")]
pub async fn health(deps: web::Data<ApiDeps>) -> Result<HttpResponse, ApiError> {
    let interfaces = deps.live.interfaces().await;
    let engaged_alerts = deps.alerts.engaged(None).await?.len();
    Ok(HttpResponse::Ok().json(Health {
        status: if interfaces.silent == 0 { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        node: deps.node.clone(),
        interfaces: interfaces.rows.len(),
        engaged_alerts,
    }))
}
