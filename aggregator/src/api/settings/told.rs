//! What edits of settings tell.

use actix_web::HttpRequest;
use serde_json::Value;
use shared::events::Draft;
use shared::events::mask::masked;
use shared::store::documents::{Document, DocumentKind};

use super::super::ApiDeps;
use super::super::events::{id_of, without_parameters};

/// Tells what is in another state by an edit: scripts that are switched, endpoints that are changed, and
/// both where what the configuration file says is in force again.
pub async fn told(deps: &ApiDeps, request: &HttpRequest, document: &Document) {
    let Some((resource, state)) = state_of(document) else { return };
    // What it was before is told where it is still known.
    let versions = deps.documents.versions(document.kind, &document.name, 3).await.unwrap_or_default();
    let previous = versions.iter().find(|version| version.revision < document.revision);
    let before = previous.and_then(state_of).map(|(_, state)| state);
    let object = masked(without_parameters(document.value.clone()));
    let draft = Draft::state(resource, &document.name, state, before, object);
    let draft = draft.by(&document.by, "rest", document.revision).in_call(id_of(request));
    deps.events.record(vec![draft]).await;
}

/// What a document says is in which state.
fn state_of(document: &Document) -> Option<(&'static str, &'static str)> {
    Some(match (document.kind, &document.value) {
        (DocumentKind::Scripts, Value::Null) => ("SCRIPT", "RESET"),
        (DocumentKind::Scripts, value) => match value["enabled"].as_bool()? {
            true => ("SCRIPT", "ENABLED"),
            false => ("SCRIPT", "DISABLED"),
        },
        (DocumentKind::Endpoints, Value::Null) => ("ENDPOINT", "DELETED"),
        (DocumentKind::Endpoints, _) => ("ENDPOINT", "CHANGED"),
        _ => return None,
    })
}
