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
use crate::model::{AppCategory, Entity, Granularity, Timestamp};

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
    /// Bytes by what they were for, since the element is known; of hosts and interfaces, what is not 0.
    pub categories: Vec<(AppCategory, u64)>,
    /// Flows and bytes by layer-7 protocol, since the element is known; of interfaces.
    pub l7: Vec<(String, u64, u64)>,
    /// Alerts of the element engaged now.
    pub cur_alerts: Vec<CurrentAlert>,
    /// True when no run of this granularity has reached the element before: its growth is all it has counted.
    pub first_run: bool,
    /// Runs of this granularity in a row, before this one, that did not reach the element.
    pub missed: u32,
    /// Event time of the run.
    pub when: Timestamp,
    /// Interface id.
    pub ifid: u32,
    /// True when time series are kept for this element type.
    pub ts_enabled: bool,
}

impl ElementParams {
    /// Seconds of the period, and of those before it whose runs did not reach the element; 0 when there is
    /// none.
    pub fn seconds(&self) -> i64 {
        self.granularity.map_or(0, Granularity::seconds).saturating_mul(i64::from(self.missed) + 1)
    }

    /// True when its bytes are known by category.
    pub fn has_categories(&self) -> bool {
        matches!(self.entity, Some(Entity::Host | Entity::Interface))
    }

    /// Its bytes of a category; nothing where they are not known.
    pub fn category(&self, category: AppCategory) -> Option<u64> {
        let found = self.categories.iter().find(|(known, _)| *known == category);
        self.has_categories().then(|| found.map_or(0, |(_, bytes)| *bytes))
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
