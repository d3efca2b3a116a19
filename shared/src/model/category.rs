//! What kind of concern a check belongs to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Category of a check and of its alerts; numbers are ntopng's.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// None of the others.
    #[default]
    Other = 0,
    /// Attacks and weaknesses.
    Security = 1,
    /// flowhook's own health.
    Internals = 2,
    /// Traffic and its quality.
    Network = 3,
    /// The machine it runs on.
    System = 4,
    /// Intrusion detection and prevention.
    IdsIps = 5,
    /// Probes sent by flowhook.
    ActiveMonitoring = 6,
    /// SNMP devices.
    Snmp = 7,
}

impl Category {
    /// All categories by number.
    pub const ALL: [Self; 8] = [
        Self::Other,
        Self::Security,
        Self::Internals,
        Self::Network,
        Self::System,
        Self::IdsIps,
        Self::ActiveMonitoring,
        Self::Snmp,
    ];

    /// The snake-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Security => "security",
            Self::Internals => "internals",
            Self::Network => "network",
            Self::System => "system",
            Self::IdsIps => "ids_ips",
            Self::ActiveMonitoring => "active_monitoring",
            Self::Snmp => "snmp",
        }
    }

    /// Reads a snake-case name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }

    /// The number in ntopng's scale.
    pub const fn id(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
