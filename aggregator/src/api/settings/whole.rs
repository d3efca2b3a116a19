//! All edited settings at once: exported, imported, forgotten.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::hook::Hook;
use shared::seal::without_secrets;
use shared::store::documents::{Document, DocumentKind, Put};

use super::super::hooks;
use super::notifiers::Edit;
use super::{ApiDeps, ApiError, Parameters, check, kind, store, tell};

/// The form of an export.
const VERSION: u32 = 1;

/// Every edited setting.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The form: 1.
    version: u32,
    /// The documents, by kind and name.
    documents: Vec<Exported>,
}

/// One edited setting.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Exported {
    kind: DocumentKind,
    name: String,
    value: Value,
}

/// Every edited setting, or those of one kind. Secrets of endpoints and recipients are sealed: only a node
/// with the same key opens them. With `secrets=omit` they are left out, and `****` stands for each.
#[utoipa::path(get, path = "/api/v1/settings/export",
    params(("kind" = Option<String>, Query, description = "Only settings of this kind"),
           ("secrets" = Option<String>, Query, description = "sealed (when absent) or omit")),
    responses((status = 200, body = Export)))]
#[get("/settings/export")]
pub async fn export(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::read(&request, &["kind", "secrets"])?;
    let of = parameters.text("kind").map(|name| kind(&name)).transpose()?;
    let omit = parameters.named("secrets", |text| match text {
        "sealed" => Some(false),
        "omit" => Some(true),
        _ => None,
    })?;
    let exported = |document: Document| {
        let hide = omit == Some(true) && document.kind.is_the_notifiers();
        let value = if hide { without_secrets(&document.value) } else { document.value };
        Exported { kind: document.kind, name: document.name, value }
    };
    let mut documents = deps.documents.documents(of).await?;
    documents.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let documents = documents.into_iter().map(exported).collect();
    Ok(HttpResponse::Ok().json(Export { version: VERSION, documents }))
}

/// Makes the settings of an export the edited ones, all of them or, when something is wrong, none. Those
/// that it does not name stay, or go with `replace=true`.
#[utoipa::path(post, path = "/api/v1/settings/import", request_body = Export,
    params(("replace" = Option<bool>, Query, description = "Delete edited settings that are not in it"),
           ("by" = Option<String>, Query, description = "Who imports; `api` when absent")),
    responses((status = 200, body = Value), (status = 400, body = super::super::error::ErrorBody)))]
#[post("/settings/import")]
pub async fn import(
    deps: web::Data<ApiDeps>,
    body: web::Json<Export>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::read(&request, &["replace", "by"])?;
    let (replace, by) = (parameters.parsed::<bool>("replace")?, parameters.text("by"));
    let Export { version, documents } = body.into_inner();
    if version != VERSION {
        return Err(ApiError::bad_field("version", format!("must be {VERSION}, not {version}")));
    }
    let there = deps.documents.documents(None).await?;
    let mut edit = Edit::of(&deps).await?;
    let (mut named, mut changes) = (BTreeSet::new(), Vec::new());
    for Exported { kind, name, value } in documents {
        check(&deps, kind, &name, &value).await.map_err(|error| error.of(kind.name(), &name))?;
        if !named.insert((kind, name.clone())) {
            return Err(ApiError::bad_field("body", format!("{} {name}: is there twice", kind.name())));
        }
        let value = if kind.is_the_notifiers() { edit.sealed(&deps, kind, &name, &value)? } else { value };
        if there.iter().any(|d| d.kind == kind && d.name == name && d.value == value) {
            continue;
        }
        if kind.is_the_notifiers() {
            edit = edit.with(kind, &name, Some(&value));
        }
        changes.push((kind, name, Some(value)));
    }
    let goes = |document: &&Document| !named.contains(&(document.kind, document.name.clone()));
    let gone: Vec<&Document> = there.iter().filter(|_| replace == Some(true)).filter(goes).collect();
    make(&deps, &request, edit, changes, gone, by).await
}

/// Forgets edited settings, of one kind or all; what the configuration file says is in force again.
#[utoipa::path(post, path = "/api/v1/settings/reset",
    params(("kind" = Option<String>, Query, description = "Only settings of this kind"),
           ("by" = Option<String>, Query, description = "Who forgets them; `api` when absent")),
    responses((status = 200, body = Value), (status = 409, body = super::super::error::ErrorBody)))]
#[post("/settings/reset")]
pub async fn reset(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::read(&request, &["kind", "by"])?;
    let of = parameters.text("kind").map(|name| kind(&name)).transpose()?;
    let there = deps.documents.documents(of).await?;
    let edit = Edit::of(&deps).await?;
    make(&deps, &request, edit, Vec::new(), there.iter().collect(), parameters.text("by")).await
}

/// Makes changes and deletions once the notifier has nothing against those that concern it, and who asks
/// may make those of hooks.
async fn make(
    deps: &ApiDeps,
    request: &HttpRequest,
    mut edit: Edit,
    mut changes: Vec<(DocumentKind, String, Option<Value>)>,
    gone: Vec<&Document>,
    by: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let changed = changes.len();
    for document in &gone {
        if document.kind.is_the_notifiers() {
            edit = edit.with(document.kind, &document.name, None);
        }
        changes.push((document.kind, document.name.clone(), None));
    }
    if changes.iter().any(|(kind, ..)| kind.is_the_notifiers()) {
        edit.check(deps, None).await.map_err(|error| if changed == 0 { error.or_in_use() } else { error })?;
    }
    for (_, name, value) in changes.iter().filter(|(kind, ..)| *kind == DocumentKind::Hooks) {
        let hook = hook_of(value.as_ref())?;
        let permitted = hooks::permit(deps, request, name, hook.as_ref()).await;
        permitted.map_err(|error| error.of(DocumentKind::Hooks.name(), name))?;
    }
    // Endpoints come before their recipients, and go after them.
    changes.sort_by_key(|(kind, _, value)| (value.is_none(), *kind));
    let first_gone = changes.partition_point(|(.., value)| value.is_some());
    changes[first_gone..].reverse();
    for (kind, name, value) in changes {
        if kind == DocumentKind::Hooks {
            hooks::put(deps, request, &name, hook_of(value.as_ref())?, None, by.clone()).await?;
            continue;
        }
        if let Put::Conflict(_) = store(deps, request, (kind, &name), value, None, by.as_deref()).await? {
            tracing::info!(kind = kind.name(), name, "was deleted by somebody else meanwhile");
        }
    }
    tell(deps, DocumentKind::Endpoints).await;
    Ok(HttpResponse::Ok().json(json!({ "changed": changed, "deleted": gone.len() })))
}

fn hook_of(value: Option<&Value>) -> Result<Option<Hook>, ApiError> {
    let read = value.map(Hook::deserialize).transpose();
    read.map_err(|error| ApiError::bad_field("body", error.to_string()))
}
