//! Hooks on events: definitions, and switches.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::events::Draft;
use shared::hook::Hook;
use shared::model::Timestamp;
use shared::store::documents::{Change, Document, DocumentKind, Put, Tell};
use shared::store::hooks::HookCounts;

use super::page::Listing;
use super::query::Parameters;
use super::settings::expected;
use super::{ApiDeps, ApiError};
use crate::config::ApiRole;

/// How long the notifier may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at whether a change is in force, and the time between them.
const LOOKS: (u32, Duration) = (150, Duration::from_millis(20));

/// One hook.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct HookEntry {
    /// Its name.
    pub name: String,
    /// For `If-Match`; 0 for one of the configuration file.
    pub revision: u64,
    /// Who changed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub at: Option<Timestamp>,
    /// Its definition.
    pub hook: Hook,
    /// What it has done; absent where the notifier does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<HookCounts>,
}

/// A hook to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHook {
    /// Its name.
    name: String,
    /// Its definition.
    hook: Hook,
}

/// Asks the notifier about hooks.
pub async fn ask(deps: &ApiDeps, verb: &str, question: Value) -> Result<Value, ApiError> {
    super::recipients::ask(deps, verb, question.to_string().into(), PATIENCE).await
}

/// Every hook: of the configuration file, and edited ones over them, without counts.
pub async fn entries(deps: &ApiDeps) -> Result<Vec<HookEntry>, ApiError> {
    let mut entries: std::collections::BTreeMap<String, HookEntry> = deps
        .file_settings
        .hooks
        .iter()
        .map(|(name, hook)| {
            let (name, hook) = (name.clone(), hook.clone());
            (name.clone(), HookEntry { name, revision: 0, by: None, at: None, hook, counts: None })
        })
        .collect();
    for document in deps.documents.documents(Some(DocumentKind::Hooks)).await? {
        match entry(document) {
            Ok(entry) => drop(entries.insert(entry.name.clone(), entry)),
            Err(error) => tracing::warn!(%error, "a stored hook cannot be read"),
        }
    }
    Ok(entries.into_values().collect())
}

fn entry(document: Document) -> Result<HookEntry, serde_json::Error> {
    let Document { name, value, revision, by, at, .. } = document;
    let hook = serde_json::from_value(value)?;
    Ok(HookEntry { name, revision, by: Some(by), at: Some(at), hook, counts: None })
}

/// The hook of this name, where there is one.
pub async fn find(deps: &ApiDeps, name: &str) -> Result<Option<HookEntry>, ApiError> {
    Ok(entries(deps).await?.into_iter().find(|entry| entry.name == name))
}

async fn wanted(deps: &ApiDeps, name: &str) -> Result<HookEntry, ApiError> {
    find(deps, name).await?.ok_or_else(|| ApiError::not_found(format!("there is no hook '{name}'")))
}

/// Fills in what hooks have done.
async fn counted(deps: &ApiDeps, entries: &mut [HookEntry]) -> bool {
    let Ok(counts) = ask(deps, "hook_counts", json!({})).await else { return false };
    let counts: Vec<HookCounts> = serde_json::from_value(counts).unwrap_or_default();
    for entry in entries {
        let mine = counts.iter().find(|counts| counts.hook == entry.name).cloned();
        entry.counts =
            Some(mine.unwrap_or_else(|| HookCounts { hook: entry.name.clone(), ..HookCounts::default() }));
    }
    true
}

/// Sets, changes or deletes a hook: every way to do that comes here, or goes the two steps by itself.
pub async fn change(
    deps: &ApiDeps,
    request: &HttpRequest,
    name: &str,
    new: Option<Hook>,
    expected: Option<u64>,
    by: Option<String>,
) -> Result<Document, ApiError> {
    permit(deps, request, name, new.as_ref()).await?;
    put(deps, request, name, new, expected, by).await
}

/// Whether this change may be made by who asks, and could run: changes nothing.
pub async fn permit(
    deps: &ApiDeps,
    request: &HttpRequest,
    name: &str,
    new: Option<&Hook>,
) -> Result<(), ApiError> {
    let old = find(deps, name).await?;
    let unlocks = |old: &Hook, new: &Hook| Hook { locked: false, ..old.clone() } == *new;
    if let Some(old) = old.as_ref().filter(|old| old.hook.locked)
        && !new.is_some_and(|new| unlocks(&old.hook, new))
    {
        return Err(ApiError::locked(format!("hook '{name}' is locked; unlock it first")));
    }
    let runs = |hook: &Hook| hook.kind.is_process();
    if new.or(old.as_ref().map(|old| &old.hook)).is_some_and(runs) {
        deps.demand(request, ApiRole::ProcessHooks, "a hook that runs a process")?;
    }
    // A hook that is only switched need not be able to run, say when its file is gone.
    let same =
        |old: &Hook, new: &Hook| Hook { enabled: new.enabled, locked: new.locked, ..old.clone() } == *new;
    if let Some(new) = new
        && !old.as_ref().is_some_and(|old| same(&old.hook, new))
    {
        ask(deps, "hook_check", json!({ "name": name, "hook": new })).await?;
    }
    Ok(())
}

/// Makes a change that is permitted.
pub async fn put(
    deps: &ApiDeps,
    request: &HttpRequest,
    name: &str,
    new: Option<Hook>,
    expected: Option<u64>,
    by: Option<String>,
) -> Result<Document, ApiError> {
    let by = deps.user(request).or(by).unwrap_or_else(|| "api".to_owned());
    let value = new.as_ref().map(|new| json!(new));
    let (kind, at) = (DocumentKind::Hooks, deps.clock.now());
    let change = Change { kind, name: name.to_owned(), value, expected, by, at };
    let tell = tell(deps, request, find(deps, name).await?);
    let document = match deps.documents.change_and_tell(change, tell).await? {
        Put::Done(document) => document,
        Put::Conflict(0) if expected.is_none() => {
            return Err(ApiError::not_found(format!("there is no edited hook '{name}'")));
        }
        Put::Conflict(revision) => {
            return Err(ApiError::conflict(format!("hook '{name}' is at revision {revision} by now")));
        }
    };
    deps.events.queued();
    // Who misses it looks by himself a while later.
    let _ = deps.bus.publish(&deps.subjects.settings_edited(), kind.name().into()).await;
    in_force(deps, name, new.is_some().then_some(document.revision)).await;
    Ok(document)
}

/// What the change of a hook, which was `old` for all that is known, tells: that it is in another state,
/// where it is.
fn tell(deps: &ApiDeps, request: &HttpRequest, old: Option<HookEntry>) -> Tell {
    let (events, call) = (deps.events.clone(), super::events::id_of(request));
    let unanswered = super::events::unanswered(deps, request);
    // What the configuration file says is no document.
    let of_file = old.filter(|old| old.revision == 0).map(|old| json!(old.hook));
    Arc::new(move |document, before| {
        let edited = before.map(|before| &before.value).filter(|value| !value.is_null());
        let there = edited.or(of_file.as_ref());
        let state = |value: &Value| match (value.is_null(), value["enabled"] == false) {
            (true, _) => "DELETED",
            (false, true) => "DISABLED",
            (false, false) => "ENABLED",
        };
        let (was, is) = (there.map(state), state(&document.value));
        if was == Some(is) {
            return events.outgoing_in(unanswered.clone(), []);
        }
        let object = if document.value.is_null() { there } else { Some(&document.value) };
        let object = shared::events::mask::masked(object.cloned().unwrap_or_default());
        let draft = Draft::state("HOOK", &document.name, is, was, object);
        let draft = draft.by(&document.by, "rest", document.revision).in_call(call.clone());
        events.outgoing_in(unanswered.clone(), [draft])
    })
}

/// Waits until the notifier has a hook at this revision, or has it no longer; not for long.
async fn in_force(deps: &ApiDeps, name: &str, revision: Option<u64>) {
    let (looks, pause) = LOOKS;
    for _ in 0..looks {
        let Ok(answer) = ask(deps, "hook_revision", json!({ "hook": name })).await else { return };
        let now = answer["revision"].as_u64();
        // A deleted one may show what the configuration file says.
        if now == revision || (revision.is_none() && now == Some(0)) || now > revision && revision.is_some() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

fn answered(mut response: actix_web::HttpResponseBuilder, entry: HookEntry) -> HttpResponse {
    response.insert_header((ETAG, format!("\"{}\"", entry.revision))).json(entry)
}

fn shown(document: Document) -> Result<HookEntry, ApiError> {
    let cause = |e: serde_json::Error| ApiError::unavailable(format!("the stored hook cannot be read: {e}"));
    entry(document).map_err(cause)
}

/// Every hook with what it has done.
#[utoipa::path(get, path = "/api/v1/hooks", responses((status = 200, body = Listing<HookEntry>)))]
#[get("/hooks")]
pub async fn list(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let mut items = entries(&deps).await?;
    let missing = if counted(&deps, &mut items).await { Vec::new() } else { vec!["notifier".to_owned()] };
    Ok(HttpResponse::Ok().json(Listing { items, next: None, missing }))
}

/// Makes a hook. With `dry_run=true` it is only checked: the answer tells its filters, and for how many of
/// the newest events on record it would run.
#[utoipa::path(post, path = "/api/v1/hooks", request_body = NewHook,
    params(("by" = Option<String>, Query, description = "Who makes it; `api` when absent"),
           ("dry_run" = Option<bool>, Query, description = "Only check it")),
    responses((status = 201, body = HookEntry), (status = 400, body = super::error::ErrorBody),
              (status = 403, body = super::error::ErrorBody), (status = 412, body = super::error::ErrorBody)))]
#[post("/hooks")]
pub async fn create(
    deps: web::Data<ApiDeps>,
    body: web::Json<NewHook>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let asked = Parameters::read(&request, &["by", "dry_run"])?;
    let NewHook { name, hook } = body.into_inner();
    if asked.parsed::<bool>("dry_run")?.unwrap_or(false) {
        let answer = ask(&deps, "hook_check", json!({ "name": name, "hook": hook })).await?;
        return Ok(HttpResponse::Ok().json(answer));
    }
    if find(&deps, &name).await?.is_some() {
        return Err(ApiError::conflict(format!("there is a hook '{name}' already")));
    }
    let document = change(&deps, &request, &name, Some(hook), Some(0), asked.text("by")).await?;
    Ok(answered(HttpResponse::Created(), shown(document)?))
}

/// One hook with what it has done; its `ETag` is the revision.
#[utoipa::path(get, path = "/api/v1/hooks/{name}", params(("name" = String, Path)),
    responses((status = 200, body = HookEntry), (status = 404, body = super::error::ErrorBody)))]
#[get("/hooks/{name}")]
pub async fn one(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let mut entry = wanted(&deps, &name).await?;
    counted(&deps, std::slice::from_mut(&mut entry)).await;
    Ok(answered(HttpResponse::Ok(), entry))
}

/// Changes a hook. With `If-Match: "<revision>"` only when that is the one in force.
#[utoipa::path(put, path = "/api/v1/hooks/{name}", request_body = Hook,
    params(("name" = String, Path), ("by" = Option<String>, Query, description = "Who changes it")),
    responses((status = 200, body = HookEntry), (status = 404, body = super::error::ErrorBody),
              (status = 412, body = super::error::ErrorBody), (status = 423, body = super::error::ErrorBody)))]
#[put("/hooks/{name}")]
pub async fn update(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    body: web::Json<Hook>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let by = Parameters::read(&request, &["by"])?.text("by");
    wanted(&deps, &name).await?;
    let document = change(&deps, &request, &name, Some(body.into_inner()), expected(&request)?, by).await?;
    Ok(answered(HttpResponse::Ok(), shown(document)?))
}

/// Deletes a hook with its records.
#[utoipa::path(delete, path = "/api/v1/hooks/{name}",
    params(("name" = String, Path), ("by" = Option<String>, Query, description = "Who deletes it")),
    responses((status = 200, body = Value), (status = 404, body = super::error::ErrorBody),
              (status = 423, body = super::error::ErrorBody)))]
#[delete("/hooks/{name}")]
pub async fn remove(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let by = Parameters::read(&request, &["by"])?.text("by");
    let document = change(&deps, &request, &name, None, expected(&request)?, by).await?;
    Ok(HttpResponse::Ok().json(json!({ "name": *name, "revision": document.revision })))
}

/// A hook and what to do with it.
#[derive(Debug, Deserialize)]
pub struct Switch {
    name: String,
    action: String,
}

/// Switches a hook: `enable`, `disable`, `lock` (nobody may change it; it runs all the same), `unlock`.
#[utoipa::path(post, path = "/api/v1/hooks/{name}/{action}",
    params(("name" = String, Path), ("action" = String, Path),
           ("by" = Option<String>, Query, description = "Who switches it")),
    responses((status = 200, body = HookEntry), (status = 404, body = super::error::ErrorBody)))]
#[post("/hooks/{name}/{action}")]
pub async fn switch(
    deps: web::Data<ApiDeps>,
    path: web::Path<Switch>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let by = Parameters::read(&request, &["by"])?.text("by");
    let entry = wanted(&deps, &path.name).await?;
    let mut hook = entry.hook;
    match path.action.as_str() {
        "enable" => hook.enabled = true,
        "disable" => hook.enabled = false,
        "lock" => hook.locked = true,
        "unlock" => hook.locked = false,
        other => return Err(ApiError::not_found(format!("a hook has no action '{other}'"))),
    }
    let document = change(&deps, &request, &path.name, Some(hook), Some(entry.revision), by).await?;
    Ok(answered(HttpResponse::Ok(), shown(document)?))
}

/// A new name.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// The name.
    to: String,
}

/// Gives a hook another name; its records stay with the old one and go.
#[utoipa::path(post, path = "/api/v1/hooks/{name}/rename", request_body = Rename,
    params(("name" = String, Path), ("by" = Option<String>, Query, description = "Who renames it")),
    responses((status = 200, body = HookEntry), (status = 404, body = super::error::ErrorBody)))]
#[post("/hooks/{name}/rename")]
pub async fn rename(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    body: web::Json<Rename>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let by = Parameters::read(&request, &["by"])?.text("by");
    let entry = wanted(&deps, &name).await?;
    if entry.hook.locked {
        return Err(ApiError::locked(format!("hook '{name}' is locked; unlock it first")));
    }
    if find(&deps, &body.to).await?.is_some() {
        return Err(ApiError::conflict(format!("there is a hook '{}' already", body.to)));
    }
    if deps.file_settings.hooks.contains_key(&*name) {
        return Err(ApiError::conflict(format!(
            "hook '{name}' is of the configuration file; rename it there"
        )));
    }
    // Never both at once: the new one begins to run when the old one is gone.
    let enabled = entry.hook.enabled;
    let silent = Hook { enabled: false, ..entry.hook };
    let made = change(&deps, &request, &body.to, Some(silent.clone()), Some(0), by.clone()).await?;
    if let Err(error) = change(&deps, &request, &name, None, Some(entry.revision), by.clone()).await {
        change(&deps, &request, &body.to, None, Some(made.revision), by).await?;
        return Err(error);
    }
    let hook = Hook { enabled, ..silent };
    let made = match enabled {
        true => change(&deps, &request, &body.to, Some(hook), Some(made.revision), by).await?,
        false => made,
    };
    Ok(answered(HttpResponse::Ok(), shown(made)?))
}
