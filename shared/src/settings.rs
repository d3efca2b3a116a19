//! What is in force of configuration files and of what users have edited since.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use crate::hook::{self, Hook};
use crate::model::pool::HostPool;
use crate::model::{AlertRule, AlertRules, HostPools, MonitorHost};
use crate::script::registry::ScriptSettings;
use crate::store::documents::{Document, DocumentKind};

pub mod hits;

/// Settings that may change while the program runs. What users edit wins over files, name by name.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Of scripts, by key.
    pub scripts: BTreeMap<String, ScriptSettings>,
    /// Host pools.
    pub pools: Arc<HostPools>,
    /// Alerts that are not raised.
    pub exclusions: AlertRules,
    /// Alerts that nobody is told of.
    pub silences: AlertRules,
    /// Hosts that are probed, by what identifies them.
    pub monitor: Arc<BTreeMap<String, MonitorHost>>,
    /// Endpoints as they are kept, by name; those of files are the notifier's own business.
    pub endpoints: BTreeMap<String, Value>,
    /// Recipients as they are kept, by name.
    pub recipients: BTreeMap<String, Value>,
    /// False as long as nobody could be asked what is edited.
    pub edits_known: bool,
    /// Hooks on events, by name, with the revision of each; 0 for those of files.
    pub hooks: Arc<BTreeMap<String, (u64, Hook)>>,
}

/// Settings in force, which may change.
pub type LiveSettings = watch::Receiver<Arc<Settings>>;

/// What configuration files say.
#[derive(Clone, Debug, Default)]
pub struct FileSettings {
    /// Of scripts, by key.
    pub scripts: BTreeMap<String, ScriptSettings>,
    /// Host pools, in order.
    pub pools: Vec<HostPool>,
    /// Exclusions by name.
    pub exclusions: BTreeMap<String, AlertRule>,
    /// Silences by name.
    pub silences: BTreeMap<String, AlertRule>,
    /// Hosts that are probed, by name.
    pub monitor: BTreeMap<String, MonitorHost>,
    /// Endpoints and recipients by name: always empty, because a file's are the notifier's alone.
    pub endpoints: BTreeMap<String, Value>,
    /// As the endpoints.
    pub recipients: BTreeMap<String, Value>,
    /// Hooks on events, by name.
    pub hooks: BTreeMap<String, Hook>,
}

impl FileSettings {
    /// Settings that never change.
    pub fn alone(&self) -> Settings {
        Settings { edits_known: false, ..self.with(&[], &Settings::default()).0 }
    }

    /// These settings with `documents` over them, in place of `before`. What cannot be used is left out
    /// and told.
    pub fn with(&self, documents: &[Document], before: &Settings) -> (Settings, Vec<String>) {
        let mut files = self.clone();
        let mut wrong = Vec::new();
        for Document { kind, name, value, .. } in documents {
            if let Err(cause) = files.set(*kind, name, value) {
                wrong.push(format!("{} {name}: {cause}", kind.name()));
            }
        }
        let mut rules = |kind: DocumentKind, rules, before| {
            let (rules, odd) = AlertRules::new(rules, before);
            wrong.extend(odd.into_iter().map(|cause| format!("{} {cause}", kind.name())));
            rules
        };
        let exclusions = rules(DocumentKind::Exclusions, files.exclusions, &before.exclusions);
        let silences = rules(DocumentKind::Silences, files.silences, &before.silences);
        let pools = Arc::new(HostPools::new(files.pools));
        let monitor = Arc::new(by_value(files.monitor, &mut wrong));
        let FileSettings { scripts, endpoints, recipients, hooks, .. } = files;
        let edited = documents.iter().filter(|document| document.kind == DocumentKind::Hooks);
        let revisions: BTreeMap<&str, u64> = edited.map(|d| (d.name.as_str(), d.revision)).collect();
        let revision = |name: &String| revisions.get(name.as_str()).copied().unwrap_or(0);
        let hooks = hooks.into_iter().map(|(name, hook)| (name.clone(), (revision(&name), hook)));
        let hooks = Arc::new(hooks.collect());
        (
            Settings {
                scripts,
                pools,
                exclusions,
                silences,
                monitor,
                endpoints,
                recipients,
                hooks,
                edits_known: true,
            },
            wrong,
        )
    }

    /// Puts one entry in place of what there is of its name.
    ///
    /// # Errors
    /// Says what is wrong with the value.
    pub fn set(&mut self, kind: DocumentKind, name: &str, value: &Value) -> Result<(), String> {
        match kind {
            DocumentKind::Scripts => drop(self.scripts.insert(name.to_owned(), read(value)?)),
            DocumentKind::Exclusions => drop(self.exclusions.insert(name.to_owned(), rule(value)?)),
            DocumentKind::Silences => drop(self.silences.insert(name.to_owned(), rule(value)?)),
            DocumentKind::Monitor => {
                let host: MonitorHost = read(&named(name, value)?)?;
                host.check()?;
                self.monitor.insert(name.to_owned(), host);
            }
            DocumentKind::Endpoints => drop(self.endpoints.insert(name.to_owned(), named(name, value)?)),
            DocumentKind::Recipients => drop(self.recipients.insert(name.to_owned(), named(name, value)?)),
            DocumentKind::Hooks => {
                let hook: Hook = read(value)?;
                hook::check_name(name)?;
                hook.check()?;
                self.hooks.insert(name.to_owned(), hook);
            }
            DocumentKind::Pools => {
                let pool: HostPool = read(&named(name, value)?)?;
                match self.pools.iter_mut().find(|known| known.name == name) {
                    Some(known) => *known = pool,
                    None => self.pools.push(pool),
                }
            }
        }
        Ok(())
    }

    /// Every entry of a kind as JSON, by name.
    pub fn entries(&self, kind: DocumentKind) -> BTreeMap<String, Value> {
        let json =
            |name: &String, value: serde_json::Result<Value>| (name.clone(), value.unwrap_or_default());
        match kind {
            DocumentKind::Scripts => {
                self.scripts.iter().map(|(n, v)| json(n, serde_json::to_value(v))).collect()
            }
            DocumentKind::Exclusions => {
                self.exclusions.iter().map(|(n, v)| json(n, serde_json::to_value(v))).collect()
            }
            DocumentKind::Silences => {
                self.silences.iter().map(|(n, v)| json(n, serde_json::to_value(v))).collect()
            }
            DocumentKind::Monitor => {
                self.monitor.iter().map(|(n, v)| json(n, serde_json::to_value(v))).collect()
            }
            DocumentKind::Endpoints => self.endpoints.clone(),
            DocumentKind::Recipients => self.recipients.clone(),
            DocumentKind::Hooks => self.hooks.iter().map(|(n, v)| json(n, serde_json::to_value(v))).collect(),
            DocumentKind::Pools => {
                let members = |pool: &HostPool| serde_json::json!({ "members": pool.members });
                self.pools.iter().map(|pool| (pool.name.clone(), members(pool))).collect()
            }
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|e| e.to_string())
}

fn rule(value: &Value) -> Result<AlertRule, String> {
    let rule: AlertRule = read(value)?;
    rule.check()?;
    Ok(rule)
}

/// A value that is known by its document's name; a name inside has to be the same.
fn named(name: &str, value: &Value) -> Result<Value, String> {
    let mut value = value.clone();
    let map = value.as_object_mut().ok_or("must be an object")?;
    let inside = map.entry("name").or_insert_with(|| name.into());
    if inside.as_str() != Some(name) {
        return Err(format!("name: must be '{name}' or absent"));
    }
    Ok(value)
}

/// Hosts by what identifies them; what is probed twice over is told and done once.
fn by_value(hosts: BTreeMap<String, MonitorHost>, wrong: &mut Vec<String>) -> BTreeMap<String, MonitorHost> {
    let mut kept = BTreeMap::new();
    for (name, host) in hosts {
        let value = host.value();
        if kept.contains_key(&value) {
            wrong.push(format!("monitor {name}: {value} is probed under another name"));
            continue;
        }
        kept.insert(value, host);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use serde_json::json;

    fn document(kind: DocumentKind, name: &str, value: Value) -> Document {
        let (name, by) = (name.to_owned(), "ann".to_owned());
        Document { kind, name, value, revision: 1, by, at: Timestamp::ZERO }
    }

    #[test]
    fn what_users_edit_wins_over_files_and_what_is_wrong_is_left_out() {
        let mut files = FileSettings::default();
        files.set(DocumentKind::Pools, "lan", &json!({ "members": ["10.0.0.0/8"] })).unwrap();
        files.set(DocumentKind::Scripts, "scan", &json!({ "enabled": false })).unwrap();
        files.set(DocumentKind::Silences, "night", &json!({ "types": ["a"] })).unwrap();
        let documents = [
            document(DocumentKind::Pools, "lan", json!({ "name": "lan", "members": ["192.168.0.0/16"] })),
            document(DocumentKind::Scripts, "scan", json!({ "enabled": true })),
            document(DocumentKind::Scripts, "other", json!({ "enabled": "perhaps" })),
            document(DocumentKind::Exclusions, "all", json!({})),
        ];
        let (settings, wrong) = files.with(&documents, &Settings::default());
        assert_eq!(settings.pools.find("10.0.0.1".parse().unwrap(), 0, None), "default");
        assert_eq!(settings.pools.find("192.168.0.1".parse().unwrap(), 0, None), "lan");
        assert_eq!(settings.scripts["scan"].enabled, Some(true));
        assert!(settings.exclusions.is_empty() && !settings.silences.is_empty());
        assert!(
            wrong[0].starts_with("scripts other: ") && wrong[1].starts_with("exclusions all: "),
            "{wrong:?}"
        );
        let odd = files.set(DocumentKind::Pools, "lan", &json!({ "name": "wan", "members": [] }));
        assert!(odd.unwrap_err().contains("must be 'lan'"));
    }

    #[test]
    fn a_host_is_probed_once_under_whatever_names() {
        let mut files = FileSettings::default();
        let icmp = json!({ "host": "192.0.2.1", "measure": "icmp" });
        files.set(DocumentKind::Monitor, "a", &icmp).unwrap();
        let web = json!({ "host": "192.0.2.1", "measure": "http" });
        let documents = [
            document(DocumentKind::Monitor, "b", icmp.clone()),
            document(DocumentKind::Monitor, "web", web),
            document(DocumentKind::Monitor, "odd", json!({ "host": "x", "measure": "tcp" })),
        ];
        let (settings, wrong) = files.with(&documents, &Settings::default());
        let values: Vec<_> = settings.monitor.keys().map(String::as_str).collect();
        assert_eq!(values, ["http@192.0.2.1", "icmp@192.0.2.1"]);
        assert!(wrong[0].contains("monitor odd: port") && wrong[1].contains("monitor b: "), "{wrong:?}");
    }
}
