//! What others are shown of scripts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entry, Registry};
use crate::script::ScriptCounts;
use crate::script::settings::Override;

/// A script as the API shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScriptInfo {
    /// Unique key.
    pub key: String,
    /// What it is called for.
    pub kind: String,
    /// One line for people.
    pub title: String,
    /// Category of its alerts.
    pub category: String,
    /// Its hooks, and which are on.
    pub hooks: BTreeMap<String, bool>,
    /// Where it came from.
    pub origin: String,
    /// What it says of its own version; empty when it does not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// XXH3 of its text.
    pub hash: String,
    /// Interfaces that it is meant for; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// Order among scripts, higher first.
    pub prio: i64,
    /// Its configuration.
    pub config: Value,
    /// What its configuration may be, as JSON Schema.
    pub config_schema: Value,
    /// What the script says about a form for its configuration.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub gui: Value,
    /// Settings for some elements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// Things that are odd but not wrong.
    pub warnings: Vec<String>,
    /// What is wrong with the file as it is now; what is shown is what it held before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What went wrong when it was called last and failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What it has done since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<ScriptCounts>,
}

impl ScriptInfo {
    /// Adds what the same script has done elsewhere.
    pub fn add(&mut self, elsewhere: Self) {
        match (&mut self.counts, elsewhere.counts) {
            (Some(here), Some(there)) => here.add(&there),
            (here, there) => *here = here.or(there),
        }
        self.last_error = elsewhere.last_error.or(self.last_error.take());
    }
}

impl Registry {
    /// All scripts as the API shows them.
    pub fn infos(&self) -> Vec<ScriptInfo> {
        let info = |entry: &Entry| {
            let meta = entry.script.meta();
            ScriptInfo {
                key: meta.key.clone(),
                kind: meta.kind.name().to_owned(),
                title: meta.title.clone(),
                category: meta.category.to_string(),
                hooks: meta.hooks.iter().map(|h| (h.name().to_owned(), entry.enabled(*h))).collect(),
                origin: entry.script.origin().to_string(),
                version: meta.version.clone(),
                hash: entry.script.hash().to_owned(),
                scope: meta.scope.clone(),
                prio: meta.prio,
                config: entry.config.clone(),
                config_schema: entry.script.schema().text().clone(),
                gui: meta.gui.clone(),
                overrides: entry.overrides.clone(),
                warnings: meta.warnings.clone(),
                ..ScriptInfo::default()
            }
        };
        self.entries.iter().map(info).collect()
    }

    /// Tells in metrics which versions are in force.
    pub fn tell_versions(&self) {
        let version = |entry: &Entry| {
            let meta = entry.script.meta();
            (meta.key.clone(), meta.version.clone(), entry.script.hash().to_owned())
        };
        crate::metrics::scripts_in_force(self.entries.iter().map(version));
    }
}
