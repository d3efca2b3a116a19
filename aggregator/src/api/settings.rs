//! What users edit while everything runs: settings of scripts, exclusions, silences, host pools,
//! probed hosts, endpoints, recipients.
//!
//! Each is a document with a revision. What the configuration file says shows as `"source": "file"`;
//! an edited document of the same name wins over it until it is deleted, but for endpoints and
//! recipients, of which those of the file cannot be edited. Secrets are kept sealed and never shown.

use std::collections::BTreeMap;

use actix_web::http::header::{ETAG, IF_MATCH};
use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::model::Timestamp;
use shared::script::engine::ScriptEngine;
use shared::script::registry::{ScriptSettings, ScriptSetup, wrong_config};
use shared::settings::FileSettings;
use shared::store::documents::{Change, Document, DocumentKind, Put};

use self::notifiers::Edit;
use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError};

mod hits;
pub mod notifiers;
mod told;
pub mod whole;

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
    /// `file` or `api`; `builtin` for what is always there.
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
    /// How often an exclusion or a silence has chosen an alert, in all processes since each began.
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
}

impl Entry {
    /// An edited one, its secrets hidden.
    fn edited(deps: &ApiDeps, document: Document) -> Self {
        let Document { name, value, revision, by, at, .. } = shown(deps, document);
        Self { name, value, source: "api", revision, by: Some(by), at: Some(at), hits: None }
    }

    fn of_file(source: &'static str, name: String, value: Value) -> Self {
        Self { name, value, source, revision: 0, by: None, at: None, hits: None }
    }
}

/// A document with its secrets hidden.
fn shown(deps: &ApiDeps, document: Document) -> Document {
    match document.kind.is_the_notifiers() {
        false => document,
        true => {
            let value = deps.sealer.shown(document.kind.name(), &document.name, &document.value);
            Document { value, ..document }
        }
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

/// Every entry of a kind: of the configuration file, and edited ones beside or over them; and who did
/// not answer.
async fn entries(
    deps: &ApiDeps,
    kind: DocumentKind,
) -> Result<(BTreeMap<String, Entry>, Vec<String>), ApiError> {
    let documents = deps.documents.documents(Some(kind)).await?;
    let edited = documents.into_iter().map(|d| (d.name.clone(), Entry::edited(deps, d)));
    let mut entries: BTreeMap<String, Entry> = edited.collect();
    if kind.is_the_notifiers() {
        return match notifiers::of_file(deps, kind).await {
            Ok(of_file) => {
                entries.extend(of_file.into_iter().map(|entry| (entry.name.clone(), entry)));
                Ok((entries, Vec::new()))
            }
            Err(_) => Ok((entries, vec!["notifier".to_owned()])),
        };
    }
    for (name, value) in deps.file_settings.entries(kind) {
        entries.entry(name.clone()).or_insert_with(|| Entry::of_file("file", name, value));
    }
    if !matches!(kind, DocumentKind::Exclusions | DocumentKind::Silences) {
        return Ok((entries, Vec::new()));
    }
    let (hits, missing) = hits::of_all(deps, kind).await;
    for (name, hits) in hits {
        if let Some(entry) = entries.get_mut(&name) {
            entry.hits = Some(hits);
        }
    }
    Ok((entries, missing))
}

/// Settings of one kind: `scripts`, `exclusions`, `silences`, `pools`, `monitor`, `endpoints`, `recipients`
/// or `hooks`, by name.
#[utoipa::path(get, path = "/api/v1/settings/{kind}",
    params(("kind" = String, Path, description = "scripts, exclusions, silences, pools, monitor, endpoints or recipients")),
    responses((status = 200, body = Listing<Entry>), (status = 404, body = super::error::ErrorBody)))]
#[get("/settings/{kind}")]
pub async fn list(
    deps: web::Data<ApiDeps>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let (entries, missing) = entries(&deps, kind(&path)?).await?;
    let items: Vec<Entry> = entries.into_values().collect();
    Ok(HttpResponse::Ok().json(Listing { items, next: None, missing }))
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
    let (mut entries, missing) = entries(&deps, path.kind()?).await?;
    let message = || format!("{} has no entry '{}'", path.kind, path.name);
    let entry = entries.remove(&path.name).ok_or_else(|| ApiError::not_there(message(), &missing))?;
    Ok(tagged(HttpResponse::Ok(), entry))
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

/// Deletes an edited entry; what the configuration file says is in force again. An endpoint that
/// recipients use is deleted only together with them (`cascade`).
#[utoipa::path(delete, path = "/api/v1/settings/{kind}/{name}",
    params(("kind" = String, Path), ("name" = String, Path),
           ("by" = Option<String>, Query, description = "Who deletes it; `api` when absent"),
           ("cascade" = Option<bool>, Query, description = "Delete the recipients of an endpoint too"),
           ("move_to" = Option<String>, Query, description = "Recipient that gets what is still owed to the \
            one that is deleted; it is given up without")),
    responses((status = 200, body = Entry), (status = 404, body = super::error::ErrorBody),
              (status = 409, body = super::error::ErrorBody),
              (status = 412, body = super::error::ErrorBody)))]
#[delete("/settings/{kind}/{name}")]
pub async fn remove(
    deps: web::Data<ApiDeps>,
    path: web::Path<Name>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::read(&request, &["by", "cascade", "move_to"])?;
    let by = parameters.text("by");
    let (cascade, move_to) = (parameters.parsed::<bool>("cascade")?, parameters.text("move_to"));
    let kind = path.kind()?;
    if cascade.is_some() && kind != DocumentKind::Endpoints {
        return Err(ApiError::bad_field("cascade", "only endpoints have recipients"));
    }
    if move_to.is_some() && kind != DocumentKind::Recipients {
        return Err(ApiError::bad_field("move_to", "only recipients are owed anything"));
    }
    if kind.is_the_notifiers() {
        let (of, cascade) = ((kind, path.name.as_str()), cascade == Some(true));
        notifiers::remove(&deps, &request, of, cascade, move_to, by.as_deref()).await?;
    }
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
    let versions = deps.documents.versions(path.kind()?, &path.name, VERSIONS).await?;
    if versions.is_empty() {
        return Err(not_there(&path));
    }
    let items: Vec<Document> = versions.into_iter().map(|version| shown(&deps, version)).collect();
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
    check(deps, kind, &path.name, &value).await?;
    let value = match kind.is_the_notifiers() {
        false => value,
        true => {
            let edit = Edit::of(deps).await?;
            let sealed = edit.sealed(deps, kind, &path.name, &value)?;
            edit.with(kind, &path.name, Some(&sealed)).check(deps, None).await?;
            sealed
        }
    };
    change(deps, request, path, Some(value), by).await
}

/// Says what is wrong with a value, as far as it can be told without others.
async fn check(deps: &ApiDeps, kind: DocumentKind, name: &str, value: &Value) -> Result<(), ApiError> {
    let odd = |c: char| c.is_control() || c == '/';
    if name.is_empty() || name.len() > MAX_NAME || name.contains(odd) {
        let cause = format!("a name has at most {MAX_NAME} bytes, no '/' and no control characters");
        return Err(ApiError::bad_field("name", cause));
    }
    FileSettings::default().set(kind, name, value).map_err(|cause| ApiError::bad_field("body", cause))?;
    if kind == DocumentKind::Scripts {
        let (setup, key, settings) = (deps.scripts.setup(), name.to_owned(), value.clone());
        let checked = web::block(move || check_script(&setup, &key, settings)).await;
        checked.map_err(|_| ApiError::unavailable("too much to do"))??;
    }
    Ok(())
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
        return Ok(tagged(HttpResponse::Ok(), Entry::edited(deps, document)));
    }
    match store(deps, request, (kind, &name), value, expected, by.as_deref()).await? {
        Put::Done(document) => {
            tell(deps, kind).await;
            Ok(tagged(HttpResponse::Ok(), Entry::edited(deps, document)))
        }
        Put::Conflict(0) if expected.is_none() => Err(not_there(path)),
        Put::Conflict(revision) => {
            Err(ApiError::conflict(format!("{} is at revision {revision} by now", path.name)))
        }
    }
}

async fn store(
    deps: &ApiDeps,
    request: &HttpRequest,
    (kind, name): (DocumentKind, &str),
    value: Option<Value>,
    expected: Option<u64>,
    by: Option<&str>,
) -> Result<Put, ApiError> {
    let (name, by) = (name.to_owned(), by.unwrap_or("api").to_owned());
    let change = Change { kind, name, value, expected, by, at: deps.clock.now() };
    let put = deps.documents.change_and_tell(change, told::tell(deps, request)).await?;
    deps.events.queued();
    Ok(put)
}

/// Tells everybody that something was edited. Who misses it looks by himself a while later.
async fn tell(deps: &ApiDeps, kind: DocumentKind) {
    let _ = deps.bus.publish(&deps.subjects.settings_edited(), kind.name().into()).await;
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
