//! An alert transition: something began, ended, or happened.
//!
//! The JSON form of [`Alert`] is flowhook's public contract on the bus, in webhooks and in the API:
//! fields are added, never renamed or removed, and `schema_version` tells the version.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::category::Category;
use super::entity::Entity;
use super::geo::GeoPlace;
use super::severity::Severity;
use super::time::{Granularity, Timestamp};

/// Version of the alert's JSON form.
pub const ALERT_SCHEMA_VERSION: u32 = 1;

/// Fields by name that this version knows nothing of.
pub type Unknown = serde_json::Map<String, serde_json::Value>;

/// What happened to an alert.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AlertAction {
    /// The condition begins.
    Engage,
    /// The condition ends.
    Release,
    /// One shot: it happened.
    Store,
    /// What goes on has become graver. Told only to those who ask for it.
    Update,
}

impl AlertAction {
    /// The lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engage => "engage",
            Self::Release => "release",
            Self::Store => "store",
            Self::Update => "update",
        }
    }

    /// Reads a lower-case name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Engage, Self::Release, Self::Store, Self::Update].into_iter().find(|a| a.name() == name)
    }
}

impl std::fmt::Display for AlertAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A host that takes part in an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Party {
    /// Address.
    #[schema(value_type = String)]
    pub ip: IpAddr,
    /// Port, 0 where there is none.
    #[serde(default)]
    pub port: u16,
    /// VLAN id, 0 when untagged.
    #[serde(default)]
    pub vlan: u16,
    /// Hardware address as text, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// True when a local network holds the address.
    #[serde(default)]
    pub local: bool,
    /// Where it is, as far as databases say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<GeoPlace>)]
    pub geo: Option<Arc<GeoPlace>>,
    /// The host pool it belongs to; empty until the notifier's side has looked it up.
    #[serde(default)]
    pub pool: String,
    /// It attacks.
    #[serde(default)]
    pub is_attacker: bool,
    /// It is attacked.
    #[serde(default)]
    pub is_victim: bool,
    /// What a later version tells and this one does not know: passed on as it came.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Unknown,
}

/// What a flow alert tells of its flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertFlow {
    /// Layer-4 protocol name.
    pub l4: String,
    /// Layer-7 protocol name.
    pub l7: String,
    /// SNI, HTTP host or DNS question; empty when unknown.
    #[serde(default)]
    pub name: String,
    /// Bytes from client to server.
    pub cli2srv_bytes: u64,
    /// Bytes from server to client.
    pub srv2cli_bytes: u64,
    /// Packets from client to server.
    pub cli2srv_packets: u64,
    /// Packets from server to client.
    pub srv2cli_packets: u64,
    /// Time of the first packet.
    #[schema(value_type = String)]
    pub first_seen: Timestamp,
    /// Names of the status bits set.
    #[serde(default)]
    pub status: Vec<String>,
    /// Community ID version 1.
    #[serde(default)]
    pub community_id: String,
    /// Sum of the scores of the flow's alerts, this one and those before it.
    #[serde(default)]
    pub score: u32,
    /// Types of the flow's alerts, this one last; the first 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<String>,
    /// No alert of the flow before this one weighed as much: it is what the flow is known for.
    #[serde(default)]
    pub predominant: bool,
    /// What a later version tells and this one does not know: passed on as it came.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Unknown,
}

/// One transition of an alert, as told to everybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Alert {
    /// Version of this form, [`ALERT_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The episode: engage, updates and release of one alert share it; 32 hexadecimal digits. Derived from
    /// what happened, so every node that sees the same thing gives the same id.
    pub id: String,
    /// What happened.
    pub action: AlertAction,
    /// Snake-case type, such as `threshold_cross`.
    #[serde(rename = "type")]
    pub alert_type: String,
    /// Whom it concerns.
    pub entity: Entity,
    /// Which one: `ip@vlan`, prefix, interface name, flow label.
    pub entity_value: String,
    /// Severity.
    pub severity: Severity,
    /// Category of the check.
    pub category: Category,
    /// Score.
    pub score: u32,
    /// Event time of this transition.
    #[schema(value_type = String)]
    pub tstamp: Timestamp,
    /// Event time of the engage, on an update or a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub engaged_at: Option<Timestamp>,
    /// Site of the collector.
    pub site: String,
    /// Node of the collector.
    pub node: String,
    /// Interface id.
    pub ifid: u32,
    /// Interface name.
    pub interface: String,
    /// Key of the script that raised it.
    pub script: String,
    /// Granularity of the run that raised it; absent for flow alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub granularity: Option<Granularity>,
    /// Check interval and metric of a threshold alert, such as `min_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_key: Option<String>,
    /// One sentence for people. May hold text from the network: sinks escape it.
    pub message: String,
    /// Measured value of a threshold alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Threshold it crossed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The flow's client, or the host of a host alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Party>,
    /// The flow's server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Party>,
    /// The flow of a flow alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<AlertFlow>,
    /// W3C trace context of what caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Techniques of MITRE ATT&CK that it may be a sign of, such as `T1071.004`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mitre: Vec<String>,
    /// It engages and releases again and again; it is held engaged until it has been quiet for long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flapping: bool,
    /// What a later version tells and this one does not know: passed on as it came.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Unknown,
}

impl Alert {
    /// A one-shot alert of flowhook about itself: of the system, in category internals, with the score of
    /// its severity. Whoever tells it says where it happened.
    pub fn internal(
        id: String,
        alert_type: &str,
        severity: Severity,
        message: String,
        tstamp: Timestamp,
    ) -> Self {
        Self {
            schema_version: ALERT_SCHEMA_VERSION,
            id,
            action: AlertAction::Store,
            alert_type: alert_type.to_owned(),
            entity: Entity::System,
            entity_value: String::new(),
            severity,
            category: Category::Internals,
            score: severity.score(),
            tstamp,
            engaged_at: None,
            site: String::new(),
            node: String::new(),
            ifid: 0,
            interface: String::new(),
            script: String::new(),
            granularity: None,
            alert_key: None,
            message,
            value: None,
            threshold: None,
            client: None,
            server: None,
            flow: None,
            traceparent: None,
            mitre: Vec::new(),
            flapping: false,
            other: Unknown::new(),
        }
    }

    /// Tells that messages of `place` (a stream, a partition) are left out because they cannot be taken;
    /// whoever sees one within the same hour gives the same id.
    pub fn message_refused(place: &str, message: String, now: Timestamp) -> Self {
        let hour = now.secs().div_euclid(3600).to_string();
        let id = derive_id(&["message_refused", place, &hour]);
        Self {
            entity_value: place.to_owned(),
            interface: "system".to_owned(),
            script: "cluster".to_owned(),
            ..Self::internal(id, "message_refused", Severity::Error, message, now)
        }
    }

    /// The key under which transitions of one alert are kept in order: entity, value, type, script.
    pub fn order_key(&self) -> String {
        format!("{}|{}|{}|{}|{}", self.site, self.entity, self.entity_value, self.alert_type, self.script)
    }

    /// Unique per transition: `<id>/<action>`, of updates, of which there may be several, with the time.
    pub fn transition_id(&self) -> String {
        match self.action {
            AlertAction::Update => format!("{}/{}/{}", self.id, self.action, self.tstamp.ns()),
            _ => format!("{}/{}", self.id, self.action),
        }
    }
}

/// Derives an alert id from the parts that identify an episode; the order of parts matters.
///
/// 128 bits of XXH3 over the length-prefixed parts, as 32 hexadecimal digits. Not for secrets.
pub fn derive_id(parts: &[&str]) -> String {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    let number = xxhash_rust::xxh3::xxh3_128(&bytes);
    // Every flow alert has one: what formats any number takes several times as long.
    let digit = |place: u32| char::from_digit((number >> (place * 4)) as u32 & 0xf, 16).unwrap_or('0');
    (0..32).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_keep_parts_apart() {
        assert_eq!(derive_id(&["a", "b"]), derive_id(&["a", "b"]));
        assert_ne!(derive_id(&["ab", ""]), derive_id(&["a", "b"]));
        assert_eq!(derive_id(&["a"]).len(), 32);
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        hasher.update(&1_u64.to_le_bytes());
        hasher.update(b"a");
        assert_eq!(derive_id(&["a"]), format!("{:032x}", hasher.digest128()));
    }

    #[test]
    fn each_update_of_an_episode_is_a_transition_of_its_own() {
        let mut alert = Alert::internal("a".to_owned(), "t", Severity::Error, String::new(), Timestamp::ZERO);
        assert_eq!(alert.transition_id(), "a/store");
        alert.action = AlertAction::Update;
        let first = alert.transition_id();
        alert.tstamp = Timestamp::from_secs(60);
        assert_ne!(first, alert.transition_id());
        assert_eq!(AlertAction::parse("update"), Some(AlertAction::Update));
    }
}
