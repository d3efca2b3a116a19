//! Endpoints and recipients: the notifier knows what may be in them, and checks every change before it
//! is made.

use std::time::Duration;

use actix_web::HttpRequest;
use serde_json::{Value, json};
use shared::model::Timestamp;
use shared::store::documents::{Document, DocumentKind};

use super::{ApiDeps, ApiError, Entry};
use crate::api::recipients::{LIST_PATIENCE, ask};

/// How long the notifier may take to check a change: it reads the files that parameters name.
const CHECK_PATIENCE: Duration = Duration::from_secs(10);

/// The entries that are in the notifier's configuration file, or always there.
pub async fn of_file(deps: &ApiDeps, kind: DocumentKind) -> Result<Vec<Entry>, ApiError> {
    let mut answer = ask(deps, "of_file", "".into(), LIST_PATIENCE).await?;
    let entries = answer[kind.name()].as_object_mut().map(std::mem::take).unwrap_or_default();
    let entry = |(name, mut value): (String, Value)| {
        let builtin = value.as_object_mut().and_then(|value| value.remove("builtin")).is_some();
        Entry::of_file(if builtin { "builtin" } else { "file" }, name, value)
    };
    Ok(entries.into_iter().map(entry).collect())
}

/// A change of endpoints and recipients that is not made yet.
pub struct Edit {
    before: Vec<Document>,
    after: Vec<Document>,
}

impl Edit {
    /// What there is, not changed yet.
    pub async fn of(deps: &ApiDeps) -> Result<Self, ApiError> {
        let mut before = deps.documents.documents(None).await?;
        before.retain(|document| document.kind.is_the_notifiers());
        Ok(Self { after: before.clone(), before })
    }

    /// A new value, its secrets sealed.
    pub fn sealed(
        &self,
        deps: &ApiDeps,
        kind: DocumentKind,
        name: &str,
        value: &Value,
    ) -> Result<Value, ApiError> {
        let old = self.before.iter().find(|old| old.kind == kind && old.name == name);
        let sealed = deps.sealer.sealed(kind.name(), name, value, old.map(|old| &old.value));
        sealed.map_err(|cause| ApiError::bad_field("body", format!("{} {name}: {cause}", kind.name())))
    }

    /// With one document changed, or left out.
    pub fn with(mut self, kind: DocumentKind, name: &str, value: Option<&Value>) -> Self {
        self.after.retain(|document| document.kind != kind || document.name != name);
        self.after.extend(value.map(|value| Document {
            kind,
            name: name.to_owned(),
            value: value.clone(),
            revision: 0,
            by: String::new(),
            at: Timestamp::ZERO,
        }));
        self
    }

    /// Has the notifier check it. `moved` names a recipient that goes, and who gets what it is owed.
    pub async fn check(&self, deps: &ApiDeps, moved: Option<(&str, &str)>) -> Result<(), ApiError> {
        let moved = moved.map(|(from, to)| json!({ "from": from, "to": to }));
        let question = json!({ "before": self.before, "after": self.after, "move": moved });
        let answer = ask(deps, "check_settings", question.to_string().into(), CHECK_PATIENCE).await?;
        let wrong: Vec<&str> =
            answer["wrong"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if wrong.is_empty() { Ok(()) } else { Err(ApiError::bad_field("body", wrong.join("; "))) }
    }

    /// Edited recipients that use an endpoint, by name.
    fn recipients_of(&self, endpoint: &str) -> Vec<String> {
        let of = |document: &&Document| {
            document.kind == DocumentKind::Recipients && document.value["endpoint"] == endpoint
        };
        self.after.iter().filter(of).map(|document| document.name.clone()).collect()
    }
}

/// What has to be so, and to be done, before an endpoint or a recipient is deleted.
pub async fn remove(
    deps: &ApiDeps,
    request: &HttpRequest,
    (kind, name): (DocumentKind, &str),
    cascade: bool,
    move_to: Option<String>,
    by: Option<&str>,
) -> Result<(), ApiError> {
    let edit = Edit::of(deps).await?;
    if !edit.before.iter().any(|document| document.kind == kind && document.name == name) {
        // Nothing to delete, which the deletion itself will say, unless it is the file's.
        let of_file = of_file(deps, kind).await.unwrap_or_default();
        return match of_file.iter().any(|entry| entry.name == name) {
            true => Err(ApiError::bad_field("name", format!("'{name}' is one of the configuration file"))),
            false => Ok(()),
        };
    }
    let users = if kind == DocumentKind::Endpoints { edit.recipients_of(name) } else { Vec::new() };
    if !users.is_empty() && !cascade {
        let names = users.join(", ");
        return Err(ApiError::in_use(format!(
            "recipients use it: {names}; cascade=true deletes them with it"
        )));
    }
    let mut edit = edit.with(kind, name, None);
    for user in &users {
        edit = edit.with(DocumentKind::Recipients, user, None);
    }
    let checked = edit.check(deps, move_to.as_deref().map(|to| (name, to))).await;
    checked.map_err(|error| error.or_in_use())?;
    for user in &users {
        super::store(deps, request, (DocumentKind::Recipients, user), None, None, by).await?;
    }
    Ok(())
}
