//! Is it alive, and what is it.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use serde::Serialize;
use shared::model::Timestamp;

use super::query::Parameters;
use super::{ApiDeps, ApiError};

/// How long the hook manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Seconds that a loop of the hook manager may stand still; it goes round every few seconds when there is
/// nothing to do.
const LATE_S: i64 = 30;

/// Health of this node.
#[derive(Serialize, utoipa::ToSchema)]
struct Health {
    /// `ok`, or `degraded` when a shard does not answer or the hook manager stands still.
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
    /// The hook manager; null where none answers.
    hooks: Option<HookHealth>,
}

/// Health of the hook manager, measured on its loops.
#[derive(Serialize, utoipa::ToSchema)]
struct HookHealth {
    /// When the executor's loop last went round.
    #[schema(value_type = String)]
    looped_at: Timestamp,
    /// When the bus was last seen to give events or to have none.
    #[schema(value_type = String)]
    fetched_at: Timestamp,
    /// One of the two is too long ago.
    late: bool,
}

/// Asks the hook manager how it is.
async fn of_hooks(deps: &ApiDeps) -> Option<HookHealth> {
    let answer = super::recipients::ask(deps, "hook_health", Bytes::new(), PATIENCE).await.ok()?;
    let at = |key: &str| serde_json::from_value::<Timestamp>(answer[key].clone()).ok();
    let (looped_at, fetched_at) = (at("looped_at")?, at("fetched_at")?);
    let since = looped_at.min(fetched_at);
    Some(HookHealth { looped_at, fetched_at, late: deps.clock.now() > since.plus_secs(LATE_S) })
}

/// Health of this node.
#[utoipa::path(get, path = "/api/v1/health", responses((status = 200, body = Health)))]
#[get("/health")]
pub async fn health(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let interfaces = deps.live.interfaces().await;
    let hooks = of_hooks(&deps).await;
    let well = interfaces.missing.is_empty() && !hooks.as_ref().is_some_and(|hooks| hooks.late);
    let engaged_alerts = deps.alerts.engaged(None).await?.len();
    Ok(HttpResponse::Ok().json(Health {
        status: if well { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        node: deps.node.clone(),
        uptime_s: deps.up.elapsed().as_secs(),
        interfaces: interfaces.rows.len(),
        engaged_alerts,
        missing: interfaces.missing,
        hooks,
    }))
}
