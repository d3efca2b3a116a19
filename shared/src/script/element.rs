//! What the hooks of elements are called with.
//!
//! A run calls its scripts for a million hosts, most of which no script has anything to say about: what
//! is here costs little to make, and becomes values of a script only when a script asks.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::Value;

use super::CurrentAlert;
use super::settings::Target;
use crate::model::pool::{Mac, mac_text};
use crate::model::{Entity, Granularity, Timestamp};

/// Named counters.
pub type Counts = Vec<(&'static str, u64)>;

/// What an element hook is called with (seed 000): every key for every element.
#[derive(Clone, Debug, Default)]
pub struct ElementParams {
    /// Which of the periods runs.
    pub granularity: Option<Granularity>,
    /// The period whose hook is called; as `granularity` when absent.
    pub hook: Option<Granularity>,
    /// Entity the element is.
    pub entity: Option<Entity>,
    /// The identifying string: `ip@vlan`, prefix, interface name.
    pub entity_value: String,
    /// Fields of `entity_info`, such as `ip`, `vlan`, `mac`, `local`, `name`.
    pub info: Vec<(&'static str, InfoValue)>,
    /// The element's counters since it is known, and what is so now.
    pub stats: Counts,
    /// The counters' growth since the last run of this granularity.
    pub delta: Counts,
    /// Alerts of the element engaged now.
    pub cur_alerts: Vec<CurrentAlert>,
    /// Event time of the run.
    pub when: Timestamp,
    /// Interface id.
    pub ifid: u32,
    /// True when time series are kept for this element type.
    pub ts_enabled: bool,
}

impl ElementParams {
    /// Seconds of the period; 0 when there is none.
    pub fn seconds(&self) -> i64 {
        self.granularity.map_or(0, Granularity::seconds)
    }

    /// Which element it is, for settings that differ.
    pub fn target(&self) -> Target<'_> {
        let mut target = Target { value: &self.entity_value, hosts: [None, None] };
        if let Some(InfoValue::Ip(ip)) = self.info("ip") {
            let vlan = match self.info("vlan") {
                Some(InfoValue::Int(vlan)) => u16::try_from(*vlan).unwrap_or(0),
                _ => 0,
            };
            let mac = match self.info("mac") {
                Some(InfoValue::Mac(mac)) => *mac,
                _ => None,
            };
            target.hosts[0] = Some((*ip, vlan, mac));
        }
        target
    }

    /// A field of `entity_info`.
    pub fn info(&self, name: &str) -> Option<&InfoValue> {
        self.info.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// A field of `entity_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InfoValue {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// An address, as text to scripts.
    Ip(IpAddr),
    /// A hardware address, as text to scripts; empty when not known.
    Mac(Option<Mac>),
}

impl InfoValue {
    /// The value where it is a text to scripts.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Ip(ip) => Some(Cow::Owned(ip.to_string())),
            Self::Mac(mac) => Some(Cow::Owned(mac.as_ref().map(mac_text).unwrap_or_default())),
            Self::Int(_) | Self::Bool(_) => None,
        }
    }

    /// The value as JSON.
    pub fn json(&self) -> Value {
        match self {
            Self::Int(number) => (*number).into(),
            Self::Bool(yes) => (*yes).into(),
            other => other.text().unwrap_or_default().into_owned().into(),
        }
    }
}
