//! What users edit while everything runs: settings of scripts, exclusions, silences, host pools,
//! probed hosts.
//!
//! Each is a document with a revision. What the configuration file says shows as `"source": "file"`;
//! an edited document of the same name wins over it until it is deleted.

use std::collections::BTreeMap;

use actix_web::http::header::{ETAG, IF_MATCH};
use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::events::Draft;
use shared::model::Timestamp;
use shared::script::engine::ScriptEngine;
use shared::script::registry::{ScriptSettings, ScriptSetup, wrong_config};
use shared::settings::FileSettings;
use shared::store::documents::{Change, Document, DocumentKind, Put};

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError};

/// Versions of a document in one answer.
const VERSIONS: usize = 100;

/// Bytes of a name at most.
const MAX_NAME: usize = 128;

/// One entry.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Entry {
    /// Unique among its kind.
    name: String,
    /// Its content.
    value: Value,
    /// `file` or `api`.
    source: &'static str,
    /// For `If-Match`; 0 for what only the configuration file says.
    revision: u64,
    /// Who changed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    at: Option<Timestamp>,
    /// How often an exclusion or a silence has chosen an alert in this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
}

impl From<Document> for Entry {
    fn from(document: Document) -> Self {
        let Document { name, value, revision, by, at, .. } = document;
        Self { name, value, source: "api", revision, by: Some(by), at: Some(at), hits: None }
    }
}

/// What is asked for in a path.
#[derive(Debug, Deserialize)]
struct Name {
    kind: String,
    name: String,
}

impl Name {
    fn kind(&self) -> Result<DocumentKind, ApiError> {
        kind(&self.kind)
    }
}

fn kind(name: &str) -> Result<DocumentKind, ApiError> {
    let known = || DocumentKind::ALL.map(DocumentKind::name).join(", ");
    DocumentKind::parse(name)
        .ok_or_else(|| ApiError::not_found(format!("there are no settings '{name}', only {}", known())))
}

/// Every entry of a kind: of the configuration file, and edited ones over them.
async fn entries(deps: &ApiDeps, kind: DocumentKind) -> Result<BTreeMap<String, Entry>, ApiError> {
    let of_file = deps.file_settings.entries(kind).into_iter().map(|(name, value)| {
        let entry = Entry { name, value, source: "file", revision: 0, by: None, at: None, hits: None };
        (entry.name.clone(), entry)
    });
    let mut entries: BTreeMap<String, Entry> = of_file.collect();
    let documents = deps.documents.documents(Some(kind)).await?;
    entries.extend(documents.into_iter().map(|document| (document.name.clone(), document.into())));
    let settings = deps.settings.borrow().clone();
    let rules = match kind {
        DocumentKind::Exclusions => &settings.exclusions,
        DocumentKind::Silences => &settings.silences,
        DocumentKind::Scripts | DocumentKind::Pools | DocumentKind::Monitor | DocumentKind::Hooks => {
            return Ok(entries);
        }
    };
    for (name, hits) in rules.hits() {
        if let Some(entry) = entries.get_mut(name) {
            entry.hits = Some(hits);
        }
    }
    Ok(entries)
}

/// Settings of one kind: `scripts`, `exclusions`, `silences`, `pools` or `monitor` or `hooks`, by name.
#[utoipa::path(get, path = "/api/v1/settings/{kind}",
    params(("kind" = String, Path, description = "scripts, exclusions, silences, pools or monitor")),
    responses((status = 200, body = Listing<Entry>), (status = 404, body = super::error::ErrorBody)))]
#[get("/settings/{kind}")]
pub async fn list(
    deps: web::Data<ApiDeps>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let items: Vec<Entry> = entries(&deps, kind(&path)?).await?.into_values().collect();
    Ok(HttpResponse::Ok().json(Listing { items, next: None, missing: Vec::new() }))
}

/// One entry; its `ETag` is the revision.
#[utoipa::path(get, path = "/api/v1/settings/{kind}/{name}",
    params(("kind" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Entry), (status = 404, body = super::error::ErrorBody)))]
#[get("/settings/{kind}/{name}")]
pub async fn one(
    deps: web::Data<ApiDeps>,
    path: web::Path<Name>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    match entries(&deps, path.kind()?).await?.remove(&path.name) {
        Some(entry) => Ok(tagged(HttpResponse::Ok(), entry)),
        None => Err(not_there(&path)),
    }
}

/// Sets an entry. With `If-Match: "<revision>"` only when that is the one in force, `"0"` for one that
/// was not edited before.
#[utoipa::path(put, path = "/api/v1/settings/{kind}/{name}",
    params(("kind" = String, Path), ("name" = String, Path),
           ("by" = Option<String>, Query, description = "Who changes it; `api` when absent")),
    request_body = serde_json::Value,
    responses((status = 200, body = Entry), (status = 400, body = super::error::ErrorBody),
              (status = 412, body = super::error::ErrorBody)))]
#[put("/settings/{kind}/{name}")]
pub async fn set(
    deps: web::Data<ApiDeps>,
    path: web::Path<Name>,
    body: web::Json<Value>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let by = Parameters::read(&request, &["by"])?.text("by");
    put(&deps, &request, &path, body.into_inner(), by).await
}

/// Deletes an edited entry; what the configuration file says is in force again.
#[utoipa::path(delete, path = "/api/v1/settings/{kind}/{name}",
    params(("kind" = String, Path), ("name" = String, Path),
           ("by" = Option<String>, Query, description = "Who deletes it; `api` when absent")),
    responses((status = 200, body = Entry), (status = 404, body = super::error::ErrorBody),
              (status = 412, body = super::error::ErrorBody)))]
#[delete("/settings/{kind}/{name}")]
pub async fn remove(
    deps: web::Data<ApiDeps>,
    path: web::Path<Name>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let by = Parameters::read(&request, &["by"])?.text("by");
    change(&deps, &request, &path, None, by).await
}

/// The versions of an edited entry, newest first; one whose value is null deleted it.
#[utoipa::path(get, path = "/api/v1/settings/{kind}/{name}/history",
    params(("kind" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Listing<Document>), (status = 404, body = super::error::ErrorBody)))]
#[get("/settings/{kind}/{name}/history")]
pub async fn history(
    deps: web::Data<ApiDeps>,
    path: web::Path<Name>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let items = deps.documents.versions(path.kind()?, &path.name, VERSIONS).await?;
    if items.is_empty() {
        return Err(not_there(&path));
    }
    Ok(HttpResponse::Ok().json(Listing { items, next: None, missing: Vec::new() }))
}

/// Which version is wanted back.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Its revision.
    revision: u64,
}

/// Makes an older version the newest.
#[utoipa::path(post, path = "/api/v1/settings/{kind}/{name}/rollback",
    params(("kind" = String, Path), ("name" = String, Path)), request_body = Rollback,
    responses((status = 200, body = Entry), (status = 404, body = super::error::ErrorBody)))]
#[post("/settings/{kind}/{name}/rollback")]
pub async fn rollback(
    deps: web::Data<ApiDeps>,
    path: web::Path<Name>,
    body: web::Json<Rollback>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let by = Parameters::read(&request, &["by"])?.text("by");
    let versions = deps.documents.versions(path.kind()?, &path.name, usize::MAX >> 1).await?;
    let wanted = versions.into_iter().find(|version| version.revision == body.revision);
    match wanted.map(|version| version.value) {
        None => Err(ApiError::not_found(format!("{} has no revision {}", path.name, body.revision))),
        Some(Value::Null) => change(&deps, &request, &path, None, by).await,
        Some(value) => put(&deps, &request, &path, value, by).await,
    }
}

async fn put(
    deps: &ApiDeps,
    request: &HttpRequest,
    path: &Name,
    value: Value,
    by: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let kind = path.kind()?;
    let odd = |c: char| c.is_control() || c == '/';
    if path.name.is_empty() || path.name.len() > MAX_NAME || path.name.contains(odd) {
        let cause = format!("a name has at most {MAX_NAME} bytes, no '/' and no control characters");
        return Err(ApiError::bad_field("name", cause));
    }
    FileSettings::default()
        .set(kind, &path.name, &value)
        .map_err(|cause| ApiError::bad_field("body", cause))?;
    if kind == DocumentKind::Scripts {
        let (setup, key, settings) = (deps.scripts.setup(), path.name.clone(), value.clone());
        let checked = web::block(move || check_script(&setup, &key, settings)).await;
        checked.map_err(|_| ApiError::unavailable("too much to do"))??;
    }
    change(deps, request, path, Some(value), by).await
}

/// Compares the settings of a script with what it takes.
fn check_script(setup: &ScriptSetup, key: &str, settings: Value) -> Result<(), ApiError> {
    let engine = ScriptEngine::new(setup.limits.clone());
    let scripts = setup.sources.iter().rev().filter_map(|source| engine.compile(source).ok());
    let script = scripts.into_iter().find(|script| script.meta().key == key);
    let script = script.ok_or_else(|| ApiError::not_found(format!("there is no script '{key}'")))?;
    let settings: ScriptSettings =
        serde_json::from_value(settings).map_err(|e| ApiError::bad_field("body", e.to_string()))?;
    match wrong_config(&script, &settings).into_iter().next() {
        None => Ok(()),
        Some((place, cause)) => Err(ApiError::bad_field(place.trim_start_matches('.'), cause)),
    }
}

async fn change(
    deps: &ApiDeps,
    request: &HttpRequest,
    path: &Name,
    value: Option<Value>,
    by: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let (kind, name, expected) = (path.kind()?, path.name.clone(), expected(request)?);
    if kind == DocumentKind::Hooks {
        // A hook needs rights, a check where it runs, and may be locked.
        let hook = value.map(serde_json::from_value).transpose();
        let hook = hook.map_err(|e| ApiError::bad_field("body", e.to_string()))?;
        let document = super::hooks::change(deps, request, &name, hook, expected, by).await?;
        return Ok(tagged(HttpResponse::Ok(), document.into()));
    }
    let by = by.unwrap_or_else(|| "api".to_owned());
    let change = Change { kind, name, value, expected, by, at: deps.clock.now() };
    match deps.documents.change(change).await? {
        Put::Done(document) => {
            if let (DocumentKind::Scripts, Some(on)) = (kind, document.value["enabled"].as_bool()) {
                let state = if on { "ENABLED" } else { "DISABLED" };
                let draft = Draft::state("SCRIPT", &document.name, state, None, document.value.clone());
                deps.events.record(vec![draft.by(&document.by, "rest", document.revision)]).await;
            }
            // Who misses it looks by himself a while later.
            let _ = deps.bus.publish(&deps.subjects.settings_edited(), kind.name().into()).await;
            Ok(tagged(HttpResponse::Ok(), document.into()))
        }
        Put::Conflict(0) if expected.is_none() => Err(not_there(path)),
        Put::Conflict(revision) => {
            Err(ApiError::conflict(format!("{} is at revision {revision} by now", path.name)))
        }
    }
}

/// The revision that a request is about.
pub fn expected(request: &HttpRequest) -> Result<Option<u64>, ApiError> {
    let Some(given) = request.headers().get(IF_MATCH) else { return Ok(None) };
    let text = given.to_str().unwrap_or_default().trim();
    match text {
        "*" => Ok(None),
        text => {
            let number = text.trim_matches('"').parse().map(Some);
            number.map_err(|_| ApiError::bad_field("If-Match", "must be a revision in quotes"))
        }
    }
}

fn tagged(mut response: actix_web::HttpResponseBuilder, entry: Entry) -> HttpResponse {
    response.insert_header((ETAG, format!("\"{}\"", entry.revision))).json(entry)
}

fn not_there(path: &Name) -> ApiError {
    ApiError::not_found(format!("{} has no entry '{}'", path.kind, path.name))
}
