//! Loaded scripts: those of this aggregator, and the flow scripts of the collectors.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use shared::script::ScriptKind;
use shared::script::registry::ScriptInfo;

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError};
use crate::report::ScriptCounts;

/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A script with what it has done.
#[derive(Serialize)]
struct ScriptRow {
    #[serde(flatten)]
    info: ScriptInfo,
    /// Absent for flow scripts, which run in the collectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<ScriptCounts>,
}

/// Loaded scripts, by key, with what each element script has done since the start.
#[utoipa::path(get, path = "/api/v1/scripts", responses((status = 200, body = Listing<Value>)))]
#[get("/scripts")]
pub async fn list(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let of_flows = |info: &ScriptInfo| info.kind == ScriptKind::Flow.name();
    let mut scripts: BTreeMap<String, ScriptInfo> =
        deps.scripts.iter().map(|info| (info.key.clone(), info.clone())).collect();
    let interfaces = deps.live.interfaces().await;
    let mut missing = interfaces.missing;
    let nodes: BTreeSet<String> = interfaces.rows.into_iter().map(|interface| interface.node).collect();
    for node in nodes {
        match ask(&deps, &node).await {
            // Of what a collector has loaded it runs the flow scripts, and no others.
            Some(infos) => {
                let infos = infos.into_iter().filter(of_flows);
                scripts.extend(infos.map(|info| (info.key.clone(), info)));
            }
            None => missing.push(node),
        }
    }
    let (report, silent) = deps.live.report().await;
    missing.extend(silent);
    missing.sort();
    missing.dedup();
    let row = |info: ScriptInfo| {
        let counts = report.scripts.get(&info.key).copied().unwrap_or_default();
        ScriptRow { counts: (!of_flows(&info)).then_some(counts), info }
    };
    let items: Vec<ScriptRow> = scripts.into_values().map(row).collect();
    Ok(HttpResponse::Ok().json(Listing { items, next: None, missing }))
}

/// A collector's scripts; `None` when it does not answer, or not with any.
async fn ask(deps: &ApiDeps, node: &str) -> Option<Vec<ScriptInfo>> {
    let subject = deps.subjects.request(node, "scripts");
    let answer = deps.bus.request(&subject, Bytes::new(), PATIENCE).await.ok()?;
    serde_json::from_slice(&answer).ok()
}
