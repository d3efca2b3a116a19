//! Items on nodes, hooks on them in few words, and sessions of profiles.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::bus::large::MAX_EVENT;
use shared::events::{Body, Draft, ItemBody};
use shared::hook::{Hook, HookKind, Trigger};
use shared::model::Timestamp;
use shared::wire::subject::EventSubject;

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError, hooks};

/// Bytes of a node's or service's name at most.
const MAX_NAME: usize = 256;

/// Labels that say what a hook was made with.
const SERVICE: &str = "pubsub.service";
const NODE: &str = "pubsub.node";

/// The profile of who names none.
const PROFILE: &str = "default";

/// An item to be published.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewItem {
    /// Who keeps the node.
    #[serde(default)]
    service: String,
    /// The node.
    node: String,
    /// The item's name; one is made when it is absent.
    #[serde(default)]
    item_id: Option<String>,
    /// The item.
    payload: Value,
}

/// Publishes an item on a node: the event `event.item.<service>.<node>`.
#[utoipa::path(post, path = "/api/v1/pubsub/items", request_body = NewItem,
    params(("by" = Option<String>, Query, description = "Who publishes it")),
    responses((status = 201, body = Value), (status = 400, body = super::error::ErrorBody),
              (status = 413, body = super::error::ErrorBody)))]
#[post("/pubsub/items")]
pub async fn publish(
    deps: web::Data<ApiDeps>,
    body: web::Json<NewItem>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let by = Parameters::read(&request, &["by"])?.text("by");
    let NewItem { service, node, item_id, payload } = body.into_inner();
    named("service", &service, true)?;
    named("node", &node, false)?;
    let item_id = item_id.unwrap_or_else(|| format!("{:x}", deps.clock.now().ns()));
    let subject = EventSubject::Item { service: service.clone(), node: node.clone() };
    let publisher = deps.user(&request).or(by).unwrap_or_else(|| "api".to_owned());
    let body = Body::Item(ItemBody { service, node, item_id: item_id.clone(), publisher, payload });
    let bytes = json!(body).to_string().len();
    if bytes > MAX_EVENT {
        let message = format!("an item of {bytes} bytes is larger than an event may be: {MAX_EVENT}");
        return Err(ApiError::too_large("payload", message));
    }
    let answer = json!({ "item_id": item_id, "subject": subject.to_string() });
    let depth = super::events::depth(&request);
    let told = deps.events.record(vec![Draft { depth, ..Draft::new(subject, body) }]).await;
    told.map_err(|error| ApiError::unavailable(error.to_string()))?;
    Ok(HttpResponse::Created().json(answer))
}

fn named(field: &str, text: &str, may_be_empty: bool) -> Result<(), ApiError> {
    match text.len() {
        0 if !may_be_empty => Err(ApiError::bad_field(field, format!("{field} must not be empty"))),
        0..=MAX_NAME => Ok(()),
        _ => Err(ApiError::bad_field(field, format!("{field} has at most {MAX_NAME} bytes"))),
    }
}

/// A hook on a node.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeHook {
    /// Who keeps the node.
    #[serde(default)]
    service: String,
    /// The node, or a filter of subjects that begins with `event.`.
    node: String,
    /// What runs.
    #[serde(rename = "type")]
    kind: HookKind,
    /// The library function, file, code or program.
    arg: String,
    /// It outlives the profile's session.
    #[serde(default)]
    persistent: bool,
    /// Whose it is.
    #[serde(default)]
    profile: Option<String>,
}

/// A hook on a node, as it is listed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeHookEntry {
    /// Who keeps the node.
    service: String,
    /// The node.
    node: String,
    /// What runs.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its argument.
    arg: String,
    /// It outlives the profile's session.
    persistent: bool,
}

/// Makes a hook on a node; equal ones may stand beside each other, and each runs.
#[utoipa::path(post, path = "/api/v1/pubsub/hooks", request_body = NodeHook,
    params(("by" = Option<String>, Query, description = "Who makes it")),
    responses((status = 201, body = Value), (status = 400, body = super::error::ErrorBody),
              (status = 403, body = super::error::ErrorBody)))]
#[post("/pubsub/hooks")]
pub async fn create(
    deps: web::Data<ApiDeps>,
    body: web::Json<NodeHook>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let by = Parameters::read(&request, &["by"])?.text("by");
    let NodeHook { service, node, kind, arg, persistent, profile } = body.into_inner();
    named("service", &service, true)?;
    named("node", &node, false)?;
    let mut hook = Hook::new(kind, &arg);
    match node.starts_with("event.") {
        true => hook.subjects.push(node.clone()),
        false => hook.triggers.push(Trigger::Item { service: service.clone(), node: node.clone() }),
    }
    hook.labels.extend([(SERVICE.to_owned(), service), (NODE.to_owned(), node)]);
    let profile = profile.filter(|profile| !profile.is_empty()).unwrap_or_else(|| PROFILE.to_owned());
    if !persistent {
        named("profile", &profile, false)?;
        deps.sessions.connect(&profile).await?;
        (hook.session, hook.session_at) = (Some(profile), Some(deps.sessions.node().to_owned()));
    }
    let name = format!("pubsub-{:x}", deps.clock.now().ns());
    hooks::change(&deps, &request, &name, Some(hook), Some(0), by).await?;
    Ok(HttpResponse::Created().json(json!({ "name": name })))
}

/// Every hook that was made on a node.
async fn node_hooks(deps: &ApiDeps) -> Result<Vec<(String, NodeHookEntry)>, ApiError> {
    let entries = hooks::entries(deps).await?;
    let entry = |entry: hooks::HookEntry| {
        let node = entry.hook.labels.get(NODE)?.clone();
        let service = entry.hook.labels.get(SERVICE).cloned().unwrap_or_default();
        let persistent = entry.hook.session.is_none();
        let (kind, arg) = (entry.hook.kind.name(), entry.hook.argument);
        Some((entry.name, NodeHookEntry { service, node, kind, arg, persistent }))
    };
    Ok(entries.into_iter().filter_map(entry).collect())
}

/// Hooks on nodes.
#[utoipa::path(get, path = "/api/v1/pubsub/hooks", responses((status = 200, body = Listing<NodeHookEntry>)))]
#[get("/pubsub/hooks")]
pub async fn list(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let items = node_hooks(&deps).await?.into_iter().map(|(_, entry)| entry).collect();
    Ok(HttpResponse::Ok().json(Listing { items, next: None, missing: Vec::new() }))
}

/// Deletes every hook of a service and node, of a type and argument where they are given; tells how many.
#[utoipa::path(delete, path = "/api/v1/pubsub/hooks",
    params(("node" = String, Query), ("service" = Option<String>, Query), ("type" = Option<String>, Query),
           ("arg" = Option<String>, Query), ("by" = Option<String>, Query, description = "Who deletes them")),
    responses((status = 200, body = Value), (status = 400, body = super::error::ErrorBody)))]
#[delete("/pubsub/hooks")]
pub async fn remove(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let asked = Parameters::read(&request, &["node", "service", "type", "arg", "by"])?;
    let node =
        asked.text("node").ok_or_else(|| ApiError::bad_field("node", "parameter 'node' is missing"))?;
    let service = asked.text("service").unwrap_or_default();
    let kind = asked.named("type", HookKind::parse)?.map(HookKind::name);
    let arg = asked.text("arg");
    let mut deleted = 0;
    for (name, entry) in node_hooks(&deps).await? {
        let meant = entry.node == node
            && entry.service == service
            && kind.is_none_or(|kind| kind == entry.kind)
            && arg.as_ref().is_none_or(|arg| *arg == entry.arg);
        if meant {
            hooks::change(&deps, &request, &name, None, None, asked.text("by")).await?;
            deleted += 1;
        }
    }
    Ok(HttpResponse::Ok().json(json!({ "deleted": deleted })))
}

/// A profile's session.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SessionEntry {
    /// Whose.
    profile: String,
    /// It lasts until then, or longer when it is renewed.
    #[schema(value_type = String)]
    until: Timestamp,
}

/// Profiles with a session.
#[utoipa::path(get, path = "/api/v1/sessions", responses((status = 200, body = Listing<SessionEntry>)))]
#[get("/sessions")]
pub async fn sessions(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let sessions = deps.sessions.list().await?;
    let items = sessions.into_iter().map(|(profile, until)| SessionEntry { profile, until }).collect();
    Ok(HttpResponse::Ok().json(Listing { items, next: None, missing: Vec::new() }))
}

/// Connects a profile: its session is renewed until it disconnects or this process ends.
#[utoipa::path(put, path = "/api/v1/sessions/{profile}", params(("profile" = String, Path)),
    responses((status = 200, body = SessionEntry)))]
#[put("/sessions/{profile}")]
pub async fn connect(
    deps: web::Data<ApiDeps>,
    profile: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    named("profile", &profile, false)?;
    let until = deps.sessions.connect(&profile).await?;
    Ok(HttpResponse::Ok().json(SessionEntry { profile: profile.into_inner(), until }))
}

/// Disconnects a profile: its temporary hooks go.
#[utoipa::path(delete, path = "/api/v1/sessions/{profile}", params(("profile" = String, Path)),
    responses((status = 200, body = Value)))]
#[delete("/sessions/{profile}")]
pub async fn disconnect(
    deps: web::Data<ApiDeps>,
    profile: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let ended = deps.sessions.disconnect(&profile).await?;
    Ok(HttpResponse::Ok().json(json!({ "profile": *profile, "ended": ended })))
}
