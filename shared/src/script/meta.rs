//! What a script declares about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::AlertRequest;
use super::effect::Role;
use crate::model::status::StatusBits;
use crate::model::{Category, Granularity, L4, Severity};

/// A point in a flow's life at which hooks run (seed 000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FlowHook {
    /// The layer-7 protocol is decided or given up; once.
    ProtocolDetected,
    /// The status bits differ from those at the previous invocation.
    StatusChanged,
    /// The flow is older than the interval; each interval.
    PeriodicUpdate,
    /// The flow ended; once, last.
    FlowEnd,
}

impl FlowHook {
    /// All flow hooks in order of a flow's life.
    pub const ALL: [Self; 4] =
        [Self::ProtocolDetected, Self::StatusChanged, Self::PeriodicUpdate, Self::FlowEnd];

    /// The hook's name in scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProtocolDetected => "protocolDetected",
            Self::StatusChanged => "statusChanged",
            Self::PeriodicUpdate => "periodicUpdate",
            Self::FlowEnd => "flowEnd",
        }
    }
}

/// A hook a script implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookName {
    /// A flow hook.
    Flow(FlowHook),
    /// An element hook: `min`, `5mins`, `hour`, `day`.
    Element(Granularity),
    /// A log line has come: `handleEvent`.
    Event,
}

impl HookName {
    /// The hook's name in scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flow(hook) => hook.name(),
            Self::Element(granularity) => granularity.name(),
            Self::Event => "handleEvent",
        }
    }

    /// Reads a hook name; `all` is no single hook.
    pub fn parse(name: &str) -> Option<Self> {
        if name == Self::Event.name() {
            return Some(Self::Event);
        }
        let flow = FlowHook::ALL.into_iter().find(|h| h.name() == name).map(Self::Flow);
        flow.or_else(|| Granularity::PERIODS.into_iter().find(|g| g.name() == name).map(Self::Element))
    }
}

impl Serialize for HookName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What a script is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptKind {
    /// Flows.
    Flow,
    /// Hosts.
    Host,
    /// Local networks.
    Network,
    /// Interfaces.
    Interface,
    /// flowhook itself.
    System,
    /// Hosts that active monitoring probes.
    ActiveMonitoring,
    /// Log lines that others send.
    Syslog,
}

impl ScriptKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Flow,
        Self::Host,
        Self::Network,
        Self::Interface,
        Self::System,
        Self::ActiveMonitoring,
        Self::Syslog,
    ];

    /// The snake-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Host => "host",
            Self::Network => "network",
            Self::Interface => "interface",
            Self::System => "system",
            Self::ActiveMonitoring => "active_monitoring",
            Self::Syslog => "syslog",
        }
    }

    /// Reads a snake-case name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    /// True when its scripts have this hook.
    pub const fn has(self, hook: HookName) -> bool {
        match hook {
            HookName::Flow(_) => matches!(self, Self::Flow),
            HookName::Event => matches!(self, Self::Syslog),
            HookName::Element(_) => !matches!(self, Self::Flow | Self::Syslog),
        }
    }
}

/// How long a script's state lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// One run: `setup`, the hook per element, `teardown`.
    #[default]
    Run,
    /// From load to unload.
    Load,
}

/// What a script does with a capture, or with log lines, for `flowhook script test`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The capture file, seen from the script's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<PathBuf>,
    /// The file of log lines, for scripts of kind `syslog`; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// Alerts by type that it triggers or stores; of other types there are none.
    #[serde(default)]
    pub alerts: BTreeMap<String, u64>,
    /// Configuration that it is called with; its own when absent.
    #[serde(default)]
    pub config: Option<serde_json::Value>,
}

/// A script's attributes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScriptMeta {
    /// Unique key: the `key` attribute, or the file's name without extension.
    pub key: String,
    /// What it is called for: the `kind` attribute, else by its hooks, else by its folder, else hosts.
    pub kind: ScriptKind,
    /// One line for people.
    pub title: String,
    /// What it says of its own version.
    pub version: String,
    /// True when all it does is to raise alerts: it is not called while alerts are off.
    pub is_alert: bool,
    /// Names of the interfaces it is meant for, in which `*` stands for anything; all when empty.
    pub scope: Vec<String>,
    /// Hooks it implements, `all` expanded.
    pub hooks: BTreeSet<HookName>,
    /// Category of its alerts.
    pub category: Category,
    /// Severity of its alerts when a call gives neither severity nor score.
    pub severity: Option<Severity>,
    /// Score of its alerts when a call gives neither severity nor score.
    pub score: Option<u32>,
    /// Who attacks, where a call does not say.
    pub attacker: Option<Role>,
    /// Who is attacked, where a call does not say.
    pub victim: Option<Role>,
    /// Techniques of MITRE ATT&CK that its alerts may be a sign of, such as `T1071.004`.
    pub mitre: Vec<String>,
    /// Order among scripts, higher first.
    pub prio: i64,
    /// On when the configuration does not say.
    pub default_enabled: bool,
    /// Configuration when the user gives none.
    pub default_value: serde_json::Value,
    /// What the configuration may be, as JSON Schema; as `default_value` suggests when absent.
    pub config_schema: Option<serde_json::Value>,
    /// How a form for the configuration may look; null when the script does not say.
    pub gui: serde_json::Value,
    /// Only local hosts (host scripts), only flows with a local side (flow scripts).
    pub local_hosts: bool,
    /// Not on interfaces whose flows come from exporters.
    pub packet_interface_only: bool,
    /// Lists without which it is not called.
    pub needs_lists: Vec<String>,
    /// Only flows of this layer-4 protocol.
    pub l4_proto: Option<L4>,
    /// Only flows of this layer-7 protocol, compared without case.
    pub l7_proto: Option<String>,
    /// Only flows with one of these status bits; 0 for all flows.
    pub flow_status: StatusBits,
    /// Only flows for which this condition holds, such as `bytes > 1000 && l7 == "TLS"`.
    pub when: Option<String>,
    /// TCP flows only with a complete handshake.
    pub three_way_handshake_ok: bool,
    /// Only log lines of this program, compared without case (syslog scripts).
    pub producer: Option<String>,
    /// Interval of `periodicUpdate` in seconds; the collector's when absent.
    pub periodic_update_seconds: Option<u32>,
    /// Runs in a row that have to trigger an alert before it engages; 0 and 1 say at once.
    pub engage_after: u32,
    /// Seconds for which nothing may trigger an alert before it is released.
    pub hold_seconds: u32,
    /// How long its state lives.
    pub lifecycle: Lifecycle,
    /// True when it has a `teardown`.
    pub has_teardown: bool,
    /// What the script says of itself about captures.
    pub expect: Vec<Expectation>,
    /// Things that are odd but not wrong, such as `all` beside an explicit hook.
    pub warnings: Vec<String>,
}

impl ScriptMeta {
    /// What a script declares that says nothing but its key.
    pub fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            kind: ScriptKind::Host,
            title: String::new(),
            version: String::new(),
            is_alert: false,
            scope: Vec::new(),
            hooks: BTreeSet::new(),
            category: Category::Other,
            severity: None,
            score: None,
            attacker: None,
            victim: None,
            mitre: Vec::new(),
            prio: 0,
            default_enabled: true,
            default_value: serde_json::Value::Object(serde_json::Map::new()),
            config_schema: None,
            gui: serde_json::Value::Null,
            local_hosts: false,
            packet_interface_only: false,
            needs_lists: Vec::new(),
            l4_proto: None,
            l7_proto: None,
            flow_status: 0,
            when: None,
            three_way_handshake_ok: false,
            producer: None,
            periodic_update_seconds: None,
            engage_after: 1,
            hold_seconds: 0,
            lifecycle: Lifecycle::Run,
            has_teardown: false,
            expect: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Severity and score of an alert that the script asks for: what the call says, else what the
    /// attributes say; one follows from the other.
    pub fn weight(&self, request: &AlertRequest) -> (Severity, u32) {
        let told = match (request.severity, request.score) {
            (None, None) => (self.severity, self.score),
            told => told,
        };
        let severity = told.0.or(told.1.map(Severity::from_score)).unwrap_or(Severity::Warning);
        (severity, told.1.unwrap_or_else(|| severity.score()))
    }
}
