//! Whom or what an alert is about.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of thing an alert concerns; numbers are ntopng's.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// A capture interface; the value is its name.
    Interface = 0,
    /// A host; the value is `ip` or `ip@vlan`.
    Host = 1,
    /// A configured local network; the value is its prefix.
    Network = 2,
    /// An SNMP device.
    SnmpDevice = 3,
    /// A flow; the value is the flow's text form.
    Flow = 4,
    /// A hardware address.
    Mac = 5,
    /// A user.
    User = 7,
    /// A host probed by active monitoring.
    AmHost = 8,
    /// flowhook itself.
    System = 9,
    /// A test alert.
    Test = 10,
}

impl Entity {
    /// All entities by number.
    pub const ALL: [Self; 10] = [
        Self::Interface,
        Self::Host,
        Self::Network,
        Self::SnmpDevice,
        Self::Flow,
        Self::Mac,
        Self::User,
        Self::AmHost,
        Self::System,
        Self::Test,
    ];

    /// The snake-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Host => "host",
            Self::Network => "network",
            Self::SnmpDevice => "snmp_device",
            Self::Flow => "flow",
            Self::Mac => "mac",
            Self::User => "user",
            Self::AmHost => "am_host",
            Self::System => "system",
            Self::Test => "test",
        }
    }

    /// The name as seed 002's text formats write it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Interface => "Interface",
            Self::Host => "Host",
            Self::Network => "Network",
            Self::SnmpDevice => "SNMP Device",
            Self::Flow => "Flow",
            Self::Mac => "Device",
            Self::User => "User",
            Self::AmHost => "Active Monitoring Host",
            Self::System => "System",
            Self::Test => "Test",
        }
    }

    /// Reads a snake-case name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// The number in ntopng's scale.
    pub const fn id(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
