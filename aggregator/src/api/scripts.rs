//! Loaded scripts: those of this aggregator, and the flow scripts of the collectors.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpResponse, get, web};
use bytes::Bytes;
use serde_json::{Value, json};
use shared::model::query::Page;
use shared::script::registry::ScriptInfo;

use super::ApiDeps;

/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Loaded scripts, by key.
#[utoipa::path(get, path = "/api/v1/scripts", responses((status = 200, body = Page<Value>)))]
#[get("/scripts")]
pub async fn list(deps: web::Data<ApiDeps>) -> HttpResponse {
    let mut scripts: BTreeMap<String, ScriptInfo> = BTreeMap::new();
    let mut missing = Vec::new();
    for node in nodes(&deps).await {
        let subject = deps.subjects.request(&node, "scripts");
        let answer = deps.bus.request(&subject, Bytes::new(), PATIENCE).await.ok();
        match answer.and_then(|answer| serde_json::from_slice::<Vec<ScriptInfo>>(&answer).ok()) {
            Some(infos) => scripts.extend(infos.into_iter().map(|info| (info.key.clone(), info))),
            None => missing.push(node),
        }
    }
    scripts.extend(deps.live.scripts().await.into_iter().map(|info| (info.key.clone(), info)));
    let items: Vec<ScriptInfo> = scripts.into_values().collect();
    HttpResponse::Ok().json(json!({ "items": items, "missing": missing }))
}

/// Nodes that capture.
async fn nodes(deps: &ApiDeps) -> std::collections::BTreeSet<String> {
    deps.live.interfaces().await.rows.into_iter().map(|interface| interface.node).collect()
}
