//! What the aggregator can be told.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::element::host::HostLimits;

/// The `[aggregator]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AggregatorConfig {
    /// A local host without packets for this many seconds is idle.
    pub local_host_idle_s: u32,
    /// A remote host without packets for this many seconds is idle.
    pub remote_host_idle_s: u32,
    /// Hosts kept per interface at most; beyond it the longest silent are dropped and counted.
    pub max_hosts: usize,
    /// Milliseconds of wall time a run may take; elements not reached come first next time.
    pub run_deadline_ms: u64,
    /// Time zone whose midnight ends a day: an IANA name or a POSIX string; UTC when empty.
    pub time_zone: String,
    /// True when time series are kept, told to scripts as `ts_enabled`.
    pub time_series: bool,
    /// Days that ended flows are kept; 0 for ever.
    pub flow_retention_days: u32,
    /// Days that the alert history is kept; 0 for ever.
    pub alert_retention_days: u32,
    /// How alerts engage and release.
    pub alerts: AlertsConfig,
    /// The REST API.
    pub api: ApiConfig,
}

/// The `[aggregator.alerts]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsConfig {
    /// An alert that engages more often than this within `flap_window_s` is marked as flapping and is
    /// not released before it has been quiet for as long; 0 never does that.
    pub flap_engages: u32,
    /// Seconds of event time.
    pub flap_window_s: u32,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { flap_engages: 5, flap_window_s: 1800 }
    }
}

/// The `[aggregator.api]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Serve the API.
    pub enabled: bool,
    /// Address to listen on; port 0 takes a free one.
    pub listen: String,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { enabled: true, listen: "127.0.0.1:8080".to_owned() }
    }
}

impl Default for AggregatorConfig {
    fn default() -> Self {
        Self {
            local_host_idle_s: 300,
            remote_host_idle_s: 60,
            max_hosts: 1_000_000,
            run_deadline_ms: 10_000,
            time_zone: String::new(),
            time_series: true,
            flow_retention_days: 7,
            alert_retention_days: 30,
            alerts: AlertsConfig::default(),
            api: ApiConfig::default(),
        }
    }
}

impl AggregatorConfig {
    /// What is wrong with the section, each with its key; empty when nothing is.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Err(error) = self.zone() {
            wrong.push(format!("aggregator.time_zone: {error}"));
        }
        if self.max_hosts == 0 {
            wrong.push("aggregator.max_hosts: must be at least 1".to_owned());
        }
        if self.api.listen.parse::<std::net::SocketAddr>().is_err() {
            wrong.push(format!("aggregator.api.listen: '{}' is not ADDRESS:PORT", self.api.listen));
        }
        wrong
    }

    /// The time zone.
    ///
    /// # Errors
    /// Says why the name is none.
    pub fn zone(&self) -> Result<TimeZone, String> {
        if self.time_zone.is_empty() {
            return Ok(TimeZone::UTC);
        }
        TimeZone::get(&self.time_zone)
            .or_else(|_| TimeZone::posix(&self.time_zone))
            .map_err(|_| format!("'{}' is neither a known zone nor a POSIX time zone", self.time_zone))
    }

    /// Limits of the host table.
    pub fn host_limits(&self) -> HostLimits {
        HostLimits {
            local_idle_s: self.local_host_idle_s,
            remote_idle_s: self.remote_host_idle_s,
            max_hosts: self.max_hosts,
        }
    }
}
