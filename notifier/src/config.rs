//! The `[notifier]` section of the configuration.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::backoff::Backoff;
use shared::model::Severity;
use shared::secret::Secret;

use crate::bridge::BridgeConfig;
use crate::criteria::Wish;
use crate::endpoint;
use crate::hook::config::HooksConfig;
use crate::http::proxy::Proxy;
use crate::inhibit::{InhibitionConfig, Rules};
use crate::redact;
use crate::route::{ALERT_STORE, SCRIPT_HTTP};
use crate::target::Targets;

mod recipient;

pub use recipient::RecipientConfig;

/// Endpoints, recipients, and how deliveries are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifierConfig {
    /// Seconds that one HTTP exchange may take.
    pub http_timeout_s: u64,
    /// Let endpoints and scripts' posts go to loopback, private and link-local addresses.
    pub allow_private_targets: bool,
    /// Prefixes of such addresses that they may go to all the same.
    pub allow_targets: Vec<String>,
    /// Proxy through which HTTP requests leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_proxy: Option<Secret>,
    /// Hosts and prefixes that are reached without it.
    pub no_proxy: Vec<String>,
    /// Failures in a row that open a lane's breaker.
    pub breaker_failures: u32,
    /// Seconds between tries while a breaker is open.
    pub breaker_probe_s: u64,
    /// Seconds after which a claimed delivery is free again, should its lane have died.
    pub claim_lease_s: u64,
    /// Most alerts accepted, and given to the alert store, at once; endpoints take what their kind does.
    pub batch: usize,
    /// Days that finished deliveries are kept; dead letters stay.
    pub keep_days: u32,
    /// Folder of the scripts that endpoints of kind `shell` may run; empty runs none.
    pub shell_dir: String,
    /// What endpoints, recipients and hooks that are edited may refer to: `env:NAME`, `file:PATH`, `file:FOLDER/`.
    pub references: Vec<String>,
    /// Serve recipients that are `local` alone: at a site whose hub serves the others.
    pub local_only: bool,
    /// Hooks on events.
    pub hooks: HooksConfig,
    /// The ZeroMQ bridge.
    pub bridge: BridgeConfig,
    /// Waits between tries.
    pub retry: RetryConfig,
    /// When deliveries are given up.
    pub deadline: DeadlineConfig,
    /// Alerts that mute others.
    pub inhibition: Vec<InhibitionConfig>,
    /// Endpoints.
    pub endpoint: Vec<EndpointConfig>,
    /// Recipients.
    pub recipient: Vec<RecipientConfig>,
}

impl Default for NotifierConfig {
    fn default() -> Self {
        Self {
            http_timeout_s: 10,
            allow_private_targets: false,
            allow_targets: Vec::new(),
            http_proxy: None,
            no_proxy: Vec::new(),
            breaker_failures: 5,
            breaker_probe_s: 30,
            claim_lease_s: 60,
            batch: 256,
            keep_days: 7,
            shell_dir: String::new(),
            references: Vec::new(),
            local_only: false,
            hooks: HooksConfig::default(),
            bridge: BridgeConfig::default(),
            retry: RetryConfig::default(),
            deadline: DeadlineConfig::default(),
            inhibition: Vec::new(),
            endpoint: Vec::new(),
            recipient: Vec::new(),
        }
    }
}

/// Waits between tries: doubling from `base_ms`, at most `cap_ms`, spread by jitter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Bound of the first wait, in milliseconds.
    pub base_ms: u64,
    /// Bound of every wait, in milliseconds.
    pub cap_ms: u64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { base_ms: 1000, cap_ms: 300_000 }
    }
}

impl RetryConfig {
    /// As the waits are computed.
    pub fn backoff(&self) -> Backoff {
        Backoff { base: Duration::from_millis(self.base_ms), cap: Duration::from_millis(self.cap_ms) }
    }
}

/// After how many seconds a delivery is given up, by severity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadlineConfig {
    /// Critical and emergency.
    pub critical_s: u64,
    /// Warning and error.
    pub warning_s: u64,
    /// Debug, info and notice.
    pub info_s: u64,
}

impl Default for DeadlineConfig {
    fn default() -> Self {
        Self { critical_s: 24 * 3600, warning_s: 6 * 3600, info_s: 3600 }
    }
}

impl DeadlineConfig {
    /// How long deliveries of this severity are tried.
    pub fn of(&self, severity: Severity) -> Duration {
        Duration::from_secs(match severity {
            Severity::Critical | Severity::Emergency => self.critical_s,
            Severity::Warning | Severity::Error => self.warning_s,
            Severity::Debug | Severity::Info | Severity::Notice => self.info_s,
        })
    }
}

/// One endpoint: a kind and what its recipients share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// Unique name; recipients refer to it.
    pub name: String,
    /// Which kind.
    pub kind: String,
    /// Parameters of the kind.
    #[serde(default)]
    pub params: Params,
}

/// Parameters of a kind. Shown, and written out, with secrets hidden.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Params(pub toml::Table);

impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        redact::table(&self.0).fmt(f)
    }
}

impl Serialize for Params {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        redact::table(&self.0).serialize(serializer)
    }
}

impl NotifierConfig {
    /// Everything that is wrong but well-formed, each with its key.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = self.check_numbers();
        if self.shell_dir().is_some_and(|dir| !dir.is_absolute()) {
            wrong.push(format!("notifier.shell_dir: must be absolute, not '{}'", self.shell_dir));
        }
        wrong.extend(self.targets().err());
        wrong.extend(self.proxy().err());
        let odd = self.references.iter().find(|text| !shared::redact::is_reference(text));
        wrong.extend(odd.map(|odd| format!("notifier.references: env:NAME or file:PATH, not '{odd}'")));
        wrong.extend(Rules::new(&self.inhibition).err().map(|cause| format!("notifier.inhibition {cause}")));
        wrong.extend(self.hooks.check());
        wrong.extend(self.bridge.check());
        let mut names = BTreeSet::new();
        for (place, endpoint) in self.endpoint.iter().enumerate() {
            let key = format!("notifier.endpoint[{place}] '{}'", endpoint.name);
            if endpoint.name.is_empty() || !names.insert(&endpoint.name) {
                wrong.push(format!("{key}: name must be there and be unique"));
            }
            wrong.extend(check_endpoint(endpoint).err().map(|e| format!("{key}: {e}")));
        }
        let mut names = BTreeSet::from([ALERT_STORE, SCRIPT_HTTP]);
        for (place, recipient) in self.recipient.iter().enumerate() {
            let key = format!("notifier.recipient[{place}] '{}'", recipient.name);
            if recipient.name.is_empty() || !names.insert(&recipient.name) {
                wrong.push(format!(
                    "{key}: name must be there and be unique; {ALERT_STORE} and {SCRIPT_HTTP} are built in"
                ));
            }
            wrong.extend(self.check_recipient(recipient).err().map(|e| format!("{key}: {e}")));
        }
        wrong
    }

    /// Where endpoints may go.
    ///
    /// # Errors
    /// Names what is no prefix.
    pub fn targets(&self) -> Result<Targets, String> {
        Targets::new(self.allow_private_targets, &self.allow_targets)
            .map_err(|cause| format!("notifier.allow_targets: {cause}"))
    }

    /// Through which proxy HTTP requests leave.
    ///
    /// # Errors
    /// Says what is wrong, without repeating what may be secret.
    pub fn proxy(&self) -> Result<Option<Proxy>, String> {
        let proxy = self.http_proxy.as_ref().map(|url| Proxy::new(url, &self.no_proxy)).transpose();
        proxy.map_err(|cause| format!("notifier.http_proxy: {cause}"))
    }

    /// The folder of scripts, where there is one.
    pub fn shell_dir(&self) -> Option<PathBuf> {
        (!self.shell_dir.is_empty()).then(|| PathBuf::from(&self.shell_dir))
    }

    fn check_numbers(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut range = |key: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                wrong.push(format!("notifier.{key}: must be {least} to {most}, not {value}"));
            }
        };
        range("claim_lease_s", self.claim_lease_s, 20, 3600);
        // A claim must outlive the exchange it is for.
        range("http_timeout_s", self.http_timeout_s, 1, (self.claim_lease_s / 2).max(1));
        range("breaker_failures", self.breaker_failures.into(), 1, 1000);
        range("breaker_probe_s", self.breaker_probe_s, 1, 3600);
        range("batch", self.batch as u64, 1, 1024);
        range("keep_days", self.keep_days.into(), 1, 3650);
        range("retry.base_ms", self.retry.base_ms, 1, 3_600_000);
        range("retry.cap_ms", self.retry.cap_ms, self.retry.base_ms, 86_400_000);
        for (key, seconds) in [
            ("deadline.critical_s", self.deadline.critical_s),
            ("deadline.warning_s", self.deadline.warning_s),
            ("deadline.info_s", self.deadline.info_s),
        ] {
            range(key, seconds, 1, 365 * 86_400);
        }
        wrong
    }

    /// Makes local recipients those of this site's alerts, and leaves the others to a hub if it is so
    /// configured.
    pub(crate) fn serve_at(&mut self, site: &str) {
        for recipient in &mut self.recipient {
            if recipient.local {
                recipient.sites = vec![site.to_owned()];
            }
            recipient.enabled &= recipient.local || !self.local_only;
        }
    }

    /// What is wrong with a recipient.
    ///
    /// # Errors
    /// Names the key.
    pub fn check_recipient(&self, recipient: &RecipientConfig) -> Result<(), String> {
        let endpoint = self.endpoint_of(recipient)?;
        Wish::new(recipient.criteria())?;
        if recipient.local && !recipient.sites.is_empty() {
            return Err("local: takes the place of sites; give one of them".to_owned());
        }
        if recipient.max_per_minute == Some(0) {
            return Err("max_per_minute: must be 1 or more".to_owned());
        }
        recipient.gate.check()?;
        if let Some(to) = &recipient.gate.escalate_to
            && (*to == recipient.name || !self.recipient.iter().any(|other| other.name == *to))
        {
            return Err(format!("gate.escalate_to: there is no other recipient '{to}'"));
        }
        self.check_fallback(recipient)?;
        // The endpoint's own entry says what is wrong with its kind.
        let Some(kind) = endpoint::kind(&endpoint.kind) else { return Ok(()) };
        kind.check_recipient(&recipient.params.0).map_err(|e| format!("params: {e}"))
    }

    /// A fallback is there, and following fallbacks does not lead back.
    fn check_fallback(&self, recipient: &RecipientConfig) -> Result<(), String> {
        let mut seen = BTreeSet::from([recipient.name.as_str()]);
        let mut next = recipient.fallback.as_deref();
        while let Some(name) = next {
            let found = self.recipient.iter().find(|other| other.name == name);
            let found = found.ok_or_else(|| format!("fallback: unknown recipient '{name}'"))?;
            if !seen.insert(name) {
                return Err(format!("fallback: leads back to '{name}'"));
            }
            next = found.fallback.as_deref();
        }
        Ok(())
    }

    /// The endpoint that a recipient names.
    ///
    /// # Errors
    /// Says that there is none of that name.
    pub fn endpoint_of(&self, recipient: &RecipientConfig) -> Result<&EndpointConfig, String> {
        let found = self.endpoint.iter().find(|endpoint| endpoint.name == recipient.endpoint);
        found.ok_or_else(|| format!("unknown endpoint '{}'", recipient.endpoint))
    }
}

/// What is wrong with an endpoint.
///
/// # Errors
/// Names the key, never the value of a secret.
pub fn check_endpoint(endpoint: &EndpointConfig) -> Result<(), String> {
    let kinds = || endpoint::configurable_kinds().join(", ");
    match endpoint::kind(&endpoint.kind) {
        None => Err(format!("unknown kind '{}'; kinds are: {}", endpoint.kind, kinds())),
        Some(kind) if kind.is_builtin() => {
            Err(format!("kind '{}' is built in; kinds to configure are: {}", endpoint.kind, kinds()))
        }
        Some(kind) => kind.check_endpoint(&endpoint.params.0).map_err(|e| format!("params: {e}")),
    }
}

#[cfg(test)]
mod tests;
