//! What the aggregator can be told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use shared::model::{Entity, Granularity, MonitorHost};
use shared::secret::Secret;

use crate::alert::Limits;
use crate::element::hosts::HostLimits;

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
    /// The same for single periods, by name.
    pub run_deadlines_ms: BTreeMap<String, u64>,
    /// Take the summaries of this node's site alone, and share them with its aggregators alone.
    pub only_own_site: bool,
    /// Seconds between two times that the state of a partition is kept in the store; 0 keeps it at a stop
    /// alone. Large states are kept less often.
    pub snapshot_s: u32,
    /// Time zone whose midnight ends a day: an IANA name or a POSIX string; UTC when empty.
    pub time_zone: String,
    /// Of what time series are kept, and how long.
    pub time_series: TimeSeriesConfig,
    /// Days that ended flows are kept; 0 for ever.
    pub flow_retention_days: u32,
    /// Days that the alert history is kept; 0 for ever.
    pub alert_retention_days: u32,
    /// How alerts engage and release.
    pub alerts: AlertsConfig,
    /// Active monitoring.
    pub monitor: MonitorConfig,
    /// Log lines of others.
    pub syslog: SyslogConfig,
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
    /// Alerts engaged in one partition at most; beyond it none engages, which is counted and told.
    pub max_engaged: usize,
    /// Per cent of these that one script may hold.
    pub max_engaged_percent: u32,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { flap_engages: 5, flap_window_s: 1800, max_engaged: 125_000, max_engaged_percent: 80 }
    }
}

impl AlertsConfig {
    /// How much may be engaged.
    pub fn limits(&self) -> Limits {
        let share = self.max_engaged.saturating_mul(self.max_engaged_percent as usize) / 100;
        Limits { all: self.max_engaged, of_script: share.max(1) }
    }

    fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.max_engaged == 0 {
            wrong.push("aggregator.alerts.max_engaged: must be at least 1".to_owned());
        }
        if !(1..=100).contains(&self.max_engaged_percent) {
            let percent = self.max_engaged_percent;
            wrong.push(format!("aggregator.alerts.max_engaged_percent: must be 1 to 100, not {percent}"));
        }
        wrong
    }
}

/// The `[aggregator.time_series]` section. Scripts are told of each element as `ts_enabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeSeriesConfig {
    /// Of interfaces, with their layer-7 protocols.
    pub interfaces: bool,
    /// Of local networks.
    pub networks: bool,
    /// Of local hosts.
    pub local_hosts: bool,
    /// Of remote hosts.
    pub remote_hosts: bool,
    /// Hosts of one interface of which a minute is kept at most: those with the most bytes.
    pub max_hosts: usize,
    /// Of flowhook itself.
    pub system: bool,
    /// Of hosts that are probed.
    pub monitored_hosts: bool,
    /// Days that minutes are kept; 0 for ever, as for all of these.
    pub min_days: u32,
    /// Days that 5 minutes are kept.
    #[serde(rename = "5mins_days")]
    pub five_mins_days: u32,
    /// Days that hours are kept.
    pub hour_days: u32,
    /// Days that days are kept.
    pub day_days: u32,
}

impl Default for TimeSeriesConfig {
    fn default() -> Self {
        Self {
            interfaces: true,
            networks: true,
            local_hosts: true,
            remote_hosts: false,
            max_hosts: 10_000,
            system: true,
            monitored_hosts: true,
            min_days: 2,
            five_mins_days: 30,
            hour_days: 365,
            day_days: 1825,
        }
    }
}

impl TimeSeriesConfig {
    /// True when series of such elements are kept; `local` tells of a host whether it is one of ours.
    pub fn keeps(&self, entity: Entity, local: bool) -> bool {
        match entity {
            Entity::Interface => self.interfaces,
            Entity::Network => self.networks,
            Entity::Host if local => self.local_hosts,
            Entity::Host => self.remote_hosts,
            Entity::System => self.system,
            Entity::AmHost => self.monitored_hosts,
            _ => false,
        }
    }

    /// Days that windows of a period are kept.
    pub fn days(&self, period: Granularity) -> u32 {
        match period {
            Granularity::Aperiodic | Granularity::Min => self.min_days,
            Granularity::FiveMins => self.five_mins_days,
            Granularity::Hour => self.hour_days,
            Granularity::Day => self.day_days,
        }
    }
}

/// The `[aggregator.monitor]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MonitorConfig {
    /// Probe hosts.
    pub enabled: bool,
    /// Probes under way at once at most.
    pub concurrency: usize,
    /// Hosts to probe.
    pub host: Vec<MonitorHost>,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self { enabled: true, concurrency: 64, host: Vec::new() }
    }
}

impl MonitorConfig {
    fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.concurrency == 0 {
            wrong.push("aggregator.monitor.concurrency: must be at least 1".to_owned());
        }
        let mut known = BTreeSet::new();
        for (place, host) in self.host.iter().enumerate() {
            let key = format!("aggregator.monitor.host[{place}]");
            wrong.extend(host.check().err().map(|cause| format!("{key}.{cause}")));
            if !known.insert(host.key()) {
                wrong.push(format!("{key}.name: there are two hosts '{}'", host.key()));
            }
        }
        wrong
    }

    /// The hosts by name.
    pub fn hosts(&self) -> BTreeMap<String, MonitorHost> {
        self.host.iter().map(|host| (host.key(), host.clone())).collect()
    }
}

/// The `[aggregator.syslog]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyslogConfig {
    /// Address to listen on by UDP and TCP; empty listens nowhere, port 0 takes a free one.
    pub listen: String,
}

/// The `[aggregator.api]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Serve the API.
    pub enabled: bool,
    /// Address to listen on; port 0 takes a free one.
    pub listen: String,
    /// Seconds that a profile's session lasts after nobody renews it.
    pub session_s: u64,
    /// Tokens for what takes a role.
    pub token: Vec<ApiToken>,
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiRole {
    /// To make and change hooks that run processes.
    ProcessHooks,
}

impl ApiRole {
    /// The snake-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProcessHooks => "process_hooks",
        }
    }
}

/// A token of the API.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiToken {
    /// Whose it is.
    pub name: String,
    /// The token: text, `env:NAME` or `file:PATH`.
    pub secret: String,
    /// What it allows.
    pub roles: Vec<ApiRole>,
}

impl ApiToken {
    /// The token itself.
    ///
    /// # Errors
    /// Names the variable or file that cannot be read.
    pub fn secret(&self) -> Result<Secret, String> {
        Secret::resolve(&self.secret)
    }

    /// The token as it may be shown.
    fn shown(&self) -> &str {
        let reference = self.secret.starts_with("env:") || self.secret.starts_with("file:");
        if reference { &self.secret } else { "****" }
    }
}

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiToken").field("name", &self.name).field("secret", &self.shown()).finish()
    }
}

impl Serialize for ApiToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut shown = serializer.serialize_struct("ApiToken", 3)?;
        shown.serialize_field("name", &self.name)?;
        shown.serialize_field("secret", self.shown())?;
        shown.serialize_field("roles", &self.roles)?;
        shown.end()
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { enabled: true, listen: "127.0.0.1:8080".to_owned(), session_s: 30, token: Vec::new() }
    }
}

impl Default for AggregatorConfig {
    fn default() -> Self {
        Self {
            local_host_idle_s: 300,
            remote_host_idle_s: 60,
            max_hosts: 1_000_000,
            run_deadline_ms: 10_000,
            run_deadlines_ms: BTreeMap::new(),
            only_own_site: false,
            snapshot_s: 60,
            time_zone: String::new(),
            time_series: TimeSeriesConfig::default(),
            flow_retention_days: 7,
            alert_retention_days: 30,
            alerts: AlertsConfig::default(),
            monitor: MonitorConfig::default(),
            syslog: SyslogConfig::default(),
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
        if self.run_deadline_ms == 0 {
            wrong.push("aggregator.run_deadline_ms: must be at least 1".to_owned());
        }
        for (period, ms) in &self.run_deadlines_ms {
            let key = format!("aggregator.run_deadlines_ms.{period}");
            if !Granularity::PERIODS.iter().any(|known| known.name() == period) {
                wrong.push(format!("{key}: there is no such period; there are min, 5mins, hour and day"));
            }
            if *ms == 0 {
                wrong.push(format!("{key}: must be at least 1"));
            }
        }
        if self.max_hosts == 0 {
            wrong.push("aggregator.max_hosts: must be at least 1".to_owned());
        }
        wrong.extend(self.alerts.check());
        wrong.extend(self.monitor.check());
        let syslog = &self.syslog.listen;
        if !syslog.is_empty() && syslog.parse::<std::net::SocketAddr>().is_err() {
            wrong.push(format!("aggregator.syslog.listen: '{syslog}' is not ADDRESS:PORT"));
        }
        if !(3..=86_400).contains(&self.api.session_s) {
            wrong.push(format!("aggregator.api.session_s: must be 3 to 86400, not {}", self.api.session_s));
        }
        for (place, token) in self.api.token.iter().enumerate() {
            let key = format!("aggregator.api.token[{place}]");
            match token.secret() {
                Err(cause) => wrong.push(format!("{key}.secret: {cause}")),
                Ok(secret) if secret.reveal().len() < 8 => {
                    wrong.push(format!("{key}.secret: must have 8 bytes at least"));
                }
                Ok(_) => {}
            }
        }
        if self.api.listen.parse::<std::net::SocketAddr>().is_err() {
            wrong.push(format!("aggregator.api.listen: '{}' is not ADDRESS:PORT", self.api.listen));
        }
        wrong
    }

    /// Wall time that a run of this period may take.
    pub fn run_deadline(&self, period: Granularity) -> Duration {
        let own = self.run_deadlines_ms.get(period.name());
        Duration::from_millis(*own.unwrap_or(&self.run_deadline_ms))
    }

    /// The longest of these.
    pub fn longest_run_deadline(&self) -> Duration {
        let all = Granularity::PERIODS.into_iter().map(|period| self.run_deadline(period));
        all.max().unwrap_or_default()
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
