//! Loaded scripts: those of this aggregator, and the flow scripts of the collectors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use shared::script::engine::ScriptEngine;
use shared::script::live::LiveScripts;
use shared::script::registry::{BrokenScript, Registry, ScriptInfo, ScriptSetup};
use shared::script::{ScriptCounts, ScriptError, ScriptKind};

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError};

/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The scripts in force as the API shows them.
#[derive(Clone)]
pub struct Loaded(Arc<Mutex<Known>>);

struct Known {
    scripts: LiveScripts,
    setup: Arc<ScriptSetup>,
    infos: Arc<Vec<ScriptInfo>>,
}

impl Loaded {
    /// Those of `scripts`; what is wrong with them is told.
    pub fn new(mut scripts: LiveScripts) -> Self {
        let setup = scripts.take();
        let (infos, errors) = load(&setup);
        for error in &errors {
            tracing::error!(line = error.line, column = error.column, "{error}");
        }
        Self(Arc::new(Mutex::new(Known { scripts, setup, infos: Arc::new(infos) })))
    }

    /// What is needed to load the scripts in force.
    pub fn setup(&self) -> Arc<ScriptSetup> {
        self.get().1
    }

    /// What is known of one script.
    pub fn info(&self, key: &str) -> Option<ScriptInfo> {
        self.get().0.iter().find(|info| info.key == key).cloned()
    }

    /// Scripts, and files that cannot be used as they are.
    fn get(&self) -> (Arc<Vec<ScriptInfo>>, Arc<ScriptSetup>) {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(setup) = known.scripts.news() {
            known.infos = Arc::new(load(&setup).0);
            known.setup = setup;
        }
        (Arc::clone(&known.infos), Arc::clone(&known.setup))
    }
}

/// Compiled scripts belong to one thread: what is shown of them is not compiled.
fn load(setup: &ScriptSetup) -> (Vec<ScriptInfo>, Vec<ScriptError>) {
    let engine = ScriptEngine::new(setup.limits.clone());
    let (registry, errors) = Registry::load(&engine, setup.sources.clone(), &setup.settings);
    (registry.infos(), errors)
}

/// Notes what is wrong with the files, also with one that never was right.
fn with_broken(scripts: &mut BTreeMap<String, ScriptInfo>, broken: &[BrokenScript]) {
    for BrokenScript { origin, error } in broken {
        let text = Some(error.to_string());
        match scripts.values_mut().find(|info| info.origin == *origin) {
            Some(info) => info.error = text,
            None => {
                let (key, origin) = (error.script.clone(), origin.clone());
                scripts.insert(key.clone(), ScriptInfo { key, origin, error: text, ..ScriptInfo::default() });
            }
        }
    }
}

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
    let (items, missing) = rows(&deps).await;
    Ok(HttpResponse::Ok().json(Listing { items, next: None, missing }))
}

/// One script.
#[utoipa::path(get, path = "/api/v1/scripts/{key}", params(("key" = String, Path)),
    responses((status = 200, body = Value), (status = 404, body = super::error::ErrorBody)))]
#[get("/scripts/{key}")]
pub async fn one(
    deps: web::Data<ApiDeps>,
    key: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let (rows, missing) = rows(&deps).await;
    match rows.into_iter().find(|row| row.info.key == *key) {
        Some(row) => Ok(HttpResponse::Ok().json(row)),
        None => Err(ApiError::not_there(format!("there is no script '{key}'"), &missing)),
    }
}

/// Every script, and who did not answer.
async fn rows(deps: &ApiDeps) -> (Vec<ScriptRow>, Vec<String>) {
    let of_flows = |info: &ScriptInfo| info.kind == ScriptKind::Flow.name();
    let (infos, setup) = deps.scripts.get();
    let mut scripts: BTreeMap<String, ScriptInfo> =
        infos.iter().map(|info| (info.key.clone(), info.clone())).collect();
    let interfaces = deps.live.interfaces().await;
    let mut missing = interfaces.missing;
    let nodes: BTreeSet<String> = interfaces.rows.into_iter().map(|interface| interface.node).collect();
    for node in nodes {
        match ask(deps, &node).await {
            // Of what a collector has loaded it runs the flow scripts, and no others.
            Some(infos) => {
                let infos = infos.into_iter().filter(of_flows);
                scripts.extend(infos.map(|info| (info.key.clone(), info)));
            }
            None => missing.push(node),
        }
    }
    with_broken(&mut scripts, &setup.broken);
    let (report, silent) = deps.live.report().await;
    missing.extend(silent);
    missing.sort();
    missing.dedup();
    let row = |info: ScriptInfo| {
        let counts = report.scripts.get(&info.key).copied().unwrap_or_default();
        ScriptRow { counts: (!of_flows(&info)).then_some(counts), info }
    };
    (scripts.into_values().map(row).collect(), missing)
}

/// A collector's scripts; `None` when it does not answer, or not with any.
async fn ask(deps: &ApiDeps, node: &str) -> Option<Vec<ScriptInfo>> {
    let subject = deps.subjects.request(node, "scripts");
    let answer = deps.bus.request(&subject, Bytes::new(), PATIENCE).await.ok()?;
    serde_json::from_slice(&answer).ok()
}
