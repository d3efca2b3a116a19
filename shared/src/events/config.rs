//! The `[events]` section: which events there are.

use serde::{Deserialize, Serialize};

/// Of which alerts events are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertEvents {
    /// None.
    Off,
    /// Those that engage, become graver and release.
    #[default]
    Engaged,
    /// Every one, also those of flows, which can be many.
    All,
}

/// Which events are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Of calls that only read.
    pub reads: bool,
    /// Of alerts.
    pub alerts: AlertEvents,
    /// Of runs of element hooks.
    pub timers: bool,
    /// Of hosts that become active or idle: of one in so many, always the same ones; 0 is of none.
    pub hosts: u32,
    /// Of exporters that are heard of or fall silent.
    pub exporters: bool,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { reads: true, alerts: AlertEvents::Engaged, timers: false, hosts: 0, exporters: true }
    }
}
