//! What edits of settings tell.

use std::sync::Arc;

use actix_web::HttpRequest;
use serde_json::Value;
use shared::events::Draft;
use shared::events::mask::masked;
use shared::store::documents::{Document, DocumentKind, Tell};

use super::super::ApiDeps;
use super::super::events::{id_of, unanswered, without_parameters};

/// What is in another state by an edit: scripts that are switched, endpoints that are changed, and both
/// where what the configuration file says is in force again.
pub fn tell(deps: &ApiDeps, request: &HttpRequest) -> Tell {
    let (events, call, unanswered) = (deps.events.clone(), id_of(request), unanswered(deps, request));
    Arc::new(move |document, previous| {
        let Some((resource, state)) = state_of(document) else {
            return events.outgoing_in(unanswered.clone(), []);
        };
        let before = previous.and_then(state_of).map(|(_, state)| state);
        let object = masked(without_parameters(document.value.clone()));
        let draft = Draft::state(resource, &document.name, state, before, object);
        let draft = draft.by(&document.by, "rest", document.revision).in_call(call.clone());
        events.outgoing_in(unanswered.clone(), [draft])
    })
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
