//! The configuration: defaults, then a TOML file, then the environment, then flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aggregator::AggregatorConfig;
use collector::CollectorConfig;
use notifier::NotifierConfig;
use serde::{Deserialize, Serialize};
use shared::bus::nats::NatsConfig;
use shared::events::config::EventsConfig;
use shared::hook::{self, Hook};
use shared::model::AlertRule;
use shared::model::pool::HostPool;
use shared::script::ScriptLimits;
use shared::script::registry::ScriptSettings;
use shared::store::postgres::PostgresConfig;
use shared::telemetry::TelemetryConfig;

/// Environment variables that override the file begin with this; `__` parts keys.
pub const ENV_PREFIX: &str = "FLOWHOOK__";

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This node.
    pub node: NodeConfig,
    /// How roles talk.
    pub bus: BusConfig,
    /// Where things are kept.
    pub store: StoreConfig,
    /// Hook scripts.
    pub scripts: ScriptsConfig,
    /// Where addresses are.
    pub geo: GeoConfig,
    /// Host pools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pool: Vec<HostPool>,
    /// Alerts that are not raised, by name of the exclusion.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exclusions: BTreeMap<String, AlertRule>,
    /// Alerts that nobody is told of, by name of the silence.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub silences: BTreeMap<String, AlertRule>,
    /// Events that are told.
    pub events: EventsConfig,
    /// Hooks on events, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<String, Hook>,
    /// Capture and flows.
    pub collector: CollectorConfig,
    /// Elements, alerts and the API.
    pub aggregator: AggregatorConfig,
    /// Endpoints and recipients.
    pub notifier: NotifierConfig,
    /// Logs, traces and metrics.
    pub telemetry: TelemetryConfig,
}

/// The `[node]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Name of the site.
    pub site: String,
    /// Name of this node, unique on its bus; the machine's host name when empty.
    pub name: String,
    /// Folder for what must survive a restart.
    pub state_dir: PathBuf,
    /// Key that seals secrets of edited settings, `env:NAME` or `file:PATH`; one of the state directory's
    /// own when empty.
    pub secret_key: String,
    /// Local networks: prefixes whose hosts are ours.
    pub local_networks: Vec<String>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let networks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"];
        Self {
            site: "main".to_owned(),
            name: String::new(),
            state_dir: PathBuf::from("state"),
            secret_key: String::new(),
            local_networks: networks.map(str::to_owned).to_vec(),
        }
    }
}

/// Which carrier joins the roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusKind {
    /// Inside this process.
    #[default]
    Memory,
    /// NATS with JetStream.
    Nats,
}

/// The `[bus]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusConfig {
    /// Which carrier.
    pub kind: BusKind,
    /// Put before every subject.
    pub prefix: String,
    /// Settings of NATS.
    pub nats: NatsConfig,
}

/// Where things are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// In files of the state directory, for this process alone.
    #[default]
    Sqlite,
    /// On a PostgreSQL server, for every process.
    Postgres,
}

/// The `[store]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Where things are kept.
    pub kind: StoreKind,
    /// Settings of PostgreSQL.
    pub postgres: PostgresConfig,
}

/// The `[scripts]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptsConfig {
    /// Load the built-in checks.
    pub builtin: bool,
    /// Call scripts that only raise alerts (`is_alert`).
    pub alerts: bool,
    /// Folder with the user's scripts; none when empty.
    pub dir: PathBuf,
    /// Seconds between looks at the folder for scripts that have changed; 0 never looks.
    pub reload_s: u32,
    /// Limits on each call.
    pub limits: ScriptLimits,
    /// Files of lists that scripts look things up in, by name of the list.
    pub lists: BTreeMap<String, Vec<PathBuf>>,
    /// What to switch on and off and how to configure it, by script key.
    pub settings: BTreeMap<String, ScriptSettings>,
}

impl Default for ScriptsConfig {
    fn default() -> Self {
        Self {
            builtin: true,
            alerts: true,
            dir: PathBuf::new(),
            reload_s: 2,
            limits: ScriptLimits::default(),
            lists: BTreeMap::new(),
            settings: BTreeMap::new(),
        }
    }
}

/// The `[geo]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeoConfig {
    /// Databases of MaxMind's format; of two that tell the same, the first counts.
    pub databases: Vec<PathBuf>,
}

/// Why the configuration cannot be used; each names a key, a line or a variable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {path}: {cause}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is not what it should be; the text tells line, column and key.
    #[error("configuration {path}: {cause}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// An environment variable does not fit.
    #[error("environment variable {variable}: {cause}")]
    Environment {
        /// Which variable.
        variable: String,
        /// What is wrong.
        cause: String,
    },
}

impl Config {
    /// Loads `file` (defaults when `None`), then applies `environment`.
    ///
    /// # Errors
    /// [`ConfigError`] names file, line and key, or the variable.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (config, mut table) = match file {
            None => (Self::default(), toml::Table::new()),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
                let wrong = |e: toml::de::Error| ConfigError::Parse {
                    path: path.to_owned(),
                    cause: e.to_string().trim_end().to_owned(),
                };
                (toml::from_str(&text).map_err(wrong)?, text.parse().map_err(wrong)?)
            }
        };
        let mut overrides: Vec<_> =
            environment.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        if overrides.is_empty() {
            return Ok(config);
        }
        overrides.sort();
        let mut config = config;
        for (variable, text) in overrides {
            let wrong = |cause: String| ConfigError::Environment { variable: variable.clone(), cause };
            let keys = variable[ENV_PREFIX.len()..].to_lowercase();
            let keys: Vec<&str> = keys.split("__").collect();
            set(&mut table, &keys, value(&text)).map_err(wrong)?;
            config = table.clone().try_into().map_err(|e: toml::de::Error| wrong(e.message().to_owned()))?;
        }
        Ok(config)
    }

    /// Everything that is wrong but well-formed, each with its key.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = self.collector.check();
        wrong.extend(self.aggregator.check());
        wrong.extend(self.notifier.check());
        for (kind, rules) in [("exclusions", &self.exclusions), ("silences", &self.silences)] {
            let odd = |(name, rule): (&String, &AlertRule)| Some((name.clone(), rule.check().err()?));
            wrong.extend(rules.iter().filter_map(odd).map(|(name, cause)| format!("{kind}.{name}: {cause}")));
        }
        for (name, hook) in &self.hooks {
            let odd = hook::check_name(name).and_then(|()| hook.check()).err();
            wrong.extend(odd.map(|cause| format!("hooks.{name}.{cause}")));
        }
        for (place, network) in self.node.local_networks.iter().enumerate() {
            if network.parse::<shared::model::network::IpNet>().is_err() {
                wrong.push(format!("node.local_networks[{place}]: '{network}' is not a prefix"));
            }
        }
        for (place, server) in self.bus.nats.servers.iter().enumerate() {
            if server.contains('@') {
                wrong.push(format!("bus.nats.servers[{place}]: give user and password by their own keys"));
            }
        }
        if self.bus.kind == BusKind::Nats && self.bus.nats.servers.is_empty() {
            wrong.push("bus.nats.servers: at least one is needed".to_owned());
        }
        wrong.extend(self.bus.nats.check_sites().into_iter().map(|w| format!("bus.nats.{w}")));
        if self.store.kind == StoreKind::Postgres {
            wrong.extend(self.store.postgres.check().into_iter().map(|w| format!("store.postgres.{w}")));
        }
        if self.scripts.limits.max_millis == 0 {
            wrong.push("scripts.limits.max_millis: must be at least 1".to_owned());
        }
        if self.bus.prefix.contains(['*', '>', ' ']) {
            wrong.push("bus.prefix: must not hold '*', '>' or blanks".to_owned());
        }
        let key = &self.node.secret_key;
        if !key.is_empty() && !shared::redact::is_reference(key) {
            wrong.push("node.secret_key: must be env:NAME or file:PATH, not the key itself".to_owned());
        }
        if self.node.site.is_empty() {
            wrong.push("node.site: must not be empty".to_owned());
        }
        let mut names = std::collections::BTreeSet::new();
        for (place, pool) in self.pool.iter().enumerate() {
            if !names.insert(&pool.name) {
                wrong.push(format!("pool[{place}].name: '{}' is used twice", pool.name));
            }
        }
        for (place, recipient) in self.notifier.recipient.iter().enumerate() {
            for pool in &recipient.host_pools {
                if pool != shared::model::HostPools::DEFAULT && !names.contains(pool) {
                    wrong.push(format!(
                        "notifier.recipient[{place}] '{}': host_pools: there is no pool '{pool}'",
                        recipient.name
                    ));
                }
            }
        }
        wrong
    }

    /// The node's name: configured, or the machine's.
    pub fn node_name(&self) -> String {
        if !self.node.name.is_empty() {
            return self.node.name.clone();
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match host.trim() {
            "" => "node".to_owned(),
            host => host.to_owned(),
        }
    }
}

/// An override as TOML where it is TOML, else as text.
fn value(text: &str) -> toml::Value {
    let as_toml = format!("value = {text}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("value"));
    as_toml.unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn set(table: &mut toml::Table, keys: &[&str], value: toml::Value) -> Result<(), String> {
    match keys {
        [] | [""] => Err("names no key".to_owned()),
        [key] => {
            table.insert((*key).to_owned(), value);
            Ok(())
        }
        [key, rest @ ..] => {
            let inner = table.entry(*key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let inner = inner.as_table_mut().ok_or_else(|| format!("'{key}' is not a table"))?;
            set(inner, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let file = file("[node]\nsite = \"a\"\n[collector]\nflow_idle_s = 30\n");
        let env = [("FLOWHOOK__NODE__SITE", "b"), ("FLOWHOOK__COLLECTOR__MAX_FLOWS", "7"), ("PATH", "x")];
        let env = env.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let config = Config::load(Some(file.path()), env).unwrap();
        assert_eq!((config.node.site.as_str(), config.collector.flow_idle_s), ("b", 30));
        assert_eq!(config.collector.max_flows, 7);
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line() {
        let file = file("[collector]\nflow_idle_s = 30\nflow_idel_s = 30\n");
        let error = Config::load(Some(file.path()), []).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("flow_idel_s"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_told_with_its_line_or_variable() {
        let file = file("[collector]\nflow_idle_s = \"soon\"\n");
        let error = Config::load(Some(file.path()), []).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("flow_idle_s"), "{error}");
        let env = [("FLOWHOOK__COLLECTOR__FLOW_IDLE_S".to_owned(), "soon".to_owned())];
        let error = Config::load(None, env).unwrap_err().to_string();
        assert!(error.contains("FLOWHOOK__COLLECTOR__FLOW_IDLE_S"), "{error}");
    }

    #[test]
    fn names_that_lead_nowhere_are_told_with_their_key() {
        let config: Config = toml::from_str(
            "[node]\nlocal_networks = [\"10.0.0.0/99\"]\n[collector]\nsummary_interval_s = 7\n",
        )
        .unwrap();
        let wrong = config.check().join("\n");
        assert!(
            wrong.contains("node.local_networks[0]") && wrong.contains("collector.summary_interval_s"),
            "{wrong}"
        );
    }
}
