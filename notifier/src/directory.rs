//! Which endpoints and recipients there are: those of the configuration file, and those that users have
//! edited. An edited one never takes the place of one of the file. Pure, but for the files that
//! parameters name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::script::schema::Schema;
use shared::seal::Sealer;
use shared::settings::{FileSettings, Settings};
use shared::store::documents::{Document, DocumentKind};

use crate::config::{EndpointConfig, NotifierConfig, Params, RecipientConfig, check_endpoint};
use crate::endpoint::{self, EndpointDeps};
use crate::redact;
use crate::references;
use crate::route::{ALERT_STORE, SCRIPT_HTTP};

/// Knows the file's and opens the edited ones.
#[derive(Clone, Debug)]
pub struct Directory {
    file: NotifierConfig,
    sealer: Arc<Sealer>,
}

impl Directory {
    /// Over what the file says.
    pub fn new(file: NotifierConfig, sealer: Arc<Sealer>) -> Self {
        Self { file, sealer }
    }

    /// The file's configuration with the edited endpoints and recipients beside its own. What cannot be
    /// used is left out and told, each with kind, name and key.
    pub fn with(&self, settings: &Settings, deps: &EndpointDeps) -> (NotifierConfig, Vec<String>) {
        let mut config = self.file.clone();
        let mut wrong = Vec::new();
        for (name, value) in &settings.endpoints {
            match self.endpoint(name, value) {
                Ok(endpoint) => config.endpoint.push(endpoint),
                Err(cause) => wrong.push(format!("endpoints {name}: {cause}")),
            }
        }
        for (name, value) in &settings.recipients {
            match self.read::<RecipientConfig>(DocumentKind::Recipients, name, value) {
                Ok(recipient) => config.recipient.push(recipient),
                Err(cause) => wrong.push(format!("recipients {name}: {cause}")),
            }
        }
        // Without one, another's fallback may lead nowhere.
        let own = self.file.recipient.len();
        while let Some((place, cause)) =
            config.recipient.iter().enumerate().skip(own).find_map(|(place, recipient)| {
                Some((place, check_recipient(&config, recipient, deps).err()?))
            })
        {
            let out = config.recipient.remove(place);
            wrong.push(format!("recipients {}: {cause}", out.name));
        }
        (config, wrong)
    }

    /// What is wrong with these documents.
    pub fn wrong(&self, documents: &[Document], deps: &EndpointDeps) -> Vec<String> {
        let (settings, mut wrong) = FileSettings::default().with(documents, &Settings::default());
        wrong.extend(self.with(&settings, deps).1);
        wrong
    }

    /// The entries of the file and the built-in ones as they may be shown, by kind and name.
    pub fn of_file(&self) -> Value {
        let mut endpoints: BTreeMap<&str, Value> = BTreeMap::new();
        let mut recipients: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, kind) in [(ALERT_STORE, "alert_store"), (SCRIPT_HTTP, "http_post")] {
            endpoints.insert(name, json!({ "name": name, "kind": kind, "builtin": true }));
            recipients.insert(name, json!({ "name": name, "endpoint": name, "builtin": true }));
        }
        endpoints.extend(self.file.endpoint.iter().map(|endpoint| (endpoint.name.as_str(), json!(endpoint))));
        recipients.extend(self.file.recipient.iter().map(|r| (r.name.as_str(), json!(r))));
        json!({ "endpoints": endpoints, "recipients": recipients })
    }

    fn endpoint(&self, name: &str, value: &Value) -> Result<EndpointConfig, String> {
        let endpoint: EndpointConfig = self.read(DocumentKind::Endpoints, name, value)?;
        check_endpoint(&endpoint)?;
        against_schema(&endpoint.kind, "endpoint", &endpoint.params)?;
        Ok(endpoint)
    }

    fn read<T: DeserializeOwned>(&self, kind: DocumentKind, name: &str, value: &Value) -> Result<T, String> {
        let taken = match kind {
            DocumentKind::Endpoints => self.file.endpoint.iter().any(|endpoint| endpoint.name == name),
            _ => self.file.recipient.iter().any(|recipient| recipient.name == name),
        };
        if taken {
            return Err("is one of the configuration file, which cannot be edited".to_owned());
        }
        if [ALERT_STORE, SCRIPT_HTTP].contains(&name) {
            return Err("is built in and cannot be edited".to_owned());
        }
        let opened = self.sealer.opened(kind.name(), name, value)?;
        references::check(&opened, &self.file.references)?;
        // Says what is wrong with a key's value; parameters, and with them secrets, are taken as they are.
        serde_json::from_value(opened).map_err(|e| e.to_string())
    }
}

fn check_recipient(
    config: &NotifierConfig,
    recipient: &RecipientConfig,
    deps: &EndpointDeps,
) -> Result<(), String> {
    config.check_recipient(recipient)?;
    let endpoint = config.endpoint_of(recipient)?;
    against_schema(&endpoint.kind, "recipient", &recipient.params)?;
    let kind = endpoint::kind(&endpoint.kind).ok_or_else(|| format!("unknown kind '{}'", endpoint.kind))?;
    let target = kind.build(&endpoint.params.0, &recipient.params.0, deps)?;
    target.manners().takes(&recipient.gate, kind.name())
}

/// Compares parameters with what the kind says of them, secrets hidden, because an error repeats values.
fn against_schema(kind: &str, part: &str, params: &Params) -> Result<(), String> {
    let Some(kind) = endpoint::kind(kind) else { return Ok(()) };
    let shown = serde_json::to_value(redact::table(&params.0)).map_err(|e| e.to_string())?;
    let schema = Schema::new(kind.schema()["properties"][part].clone())?;
    schema.check(&shown).map_err(|cause| format!("params: {cause}"))
}

#[cfg(test)]
mod tests;
