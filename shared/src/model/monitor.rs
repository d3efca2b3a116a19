//! Hosts that active monitoring probes, as users describe them.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::time::Granularity;

/// Pause between two probes of one round, in milliseconds.
pub const PAUSE_MS: u32 = 1000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// ICMP echo.
    Icmp,
    /// A TCP connection.
    Tcp,
    /// An HTTP request.
    Http,
    /// An HTTP request over TLS.
    Https,
    /// A DNS question to the host.
    Dns,
    /// How long the certificate of a TLS server is still valid.
    Tls,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Icmp, Self::Tcp, Self::Http, Self::Https, Self::Dns, Self::Tls];

    /// The lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Https => "https",
            Self::Dns => "dns",
            Self::Tls => "tls",
        }
    }

    /// The port that is taken when none is given.
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Self::Icmp | Self::Tcp => None,
            Self::Http => Some(80),
            Self::Https | Self::Tls => Some(443),
            Self::Dns => Some(53),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many of the last rounds have to be bad: `2 of 3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// Bad rounds, at least 1.
    pub bad: usize,
    /// Rounds looked at, at least as many.
    pub of: usize,
}

/// Rounds looked at, at most.
const MAX_OF: usize = 100;

impl Default for Failures {
    fn default() -> Self {
        Self { bad: 2, of: 3 }
    }
}

impl FromStr for Failures {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(" of ");
        let numbers = numbers.and_then(|(bad, of)| Some((bad.trim().parse().ok()?, of.trim().parse().ok()?)));
        match numbers {
            Some((bad, of)) if bad >= 1 && bad <= of && of <= MAX_OF => Ok(Self { bad, of }),
            _ => Err(format!("'{text}' is not N of M, such as 2 of 3, with 1 <= N <= M <= {MAX_OF}")),
        }
    }
}

impl Serialize for Failures {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{} of {}", self.bad, self.of))
    }
}

impl<'de> Deserialize<'de> for Failures {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// From where on a round is bad. What is absent is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Mean latency in milliseconds that is worth a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_ms: Option<f64>,
    /// Mean latency in milliseconds that is an alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_ms: Option<f64>,
    /// Per cent of the probes lost that are worth a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_loss: Option<f64>,
    /// Per cent of the probes lost that are an alert; 100 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_loss: Option<f64>,
    /// Days before a certificate expires that are worth a warning; 30 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_days: Option<f64>,
    /// Days before a certificate expires that are an alert; 7 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_days: Option<f64>,
}

/// One host that is probed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonitorHost {
    /// Unique name; as [`MonitorHost::value`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Name or address.
    pub host: String,
    /// What is measured.
    pub measure: Measure,
    /// How often: `min`, `5mins` or `hour`.
    #[serde(default = "every_minute")]
    pub granularity: Granularity,
    /// Port; the measure's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Path and query that HTTP asks for; `/` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Name whose address DNS asks for; the root's servers are asked for when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// HTTPS: takes any certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// Probes of each round.
    #[serde(default = "three_probes")]
    pub probes: u32,
    /// Milliseconds after which a probe is lost.
    #[serde(default = "three_seconds")]
    pub timeout_ms: u32,
    /// From where on a round is bad.
    #[serde(default)]
    pub threshold: Limits,
    /// How many of the last rounds have to be bad before an alert engages.
    #[serde(default)]
    pub failures: Failures,
    /// Seconds for which all has to be well before an alert is released.
    #[serde(default = "two_minutes")]
    pub hold_s: u32,
}

fn every_minute() -> Granularity {
    Granularity::Min
}

fn three_probes() -> u32 {
    3
}

fn three_seconds() -> u32 {
    3000
}

fn two_minutes() -> u32 {
    120
}

impl MonitorHost {
    /// What identifies it: `measure@host`, with port, path or question where they are not the usual ones.
    pub fn value(&self) -> String {
        let host = match (self.host.parse::<Ipv6Addr>(), self.port) {
            (Ok(ip), Some(_)) => format!("[{ip}]"),
            _ => self.host.clone(),
        };
        let port = self.port.filter(|port| Some(*port) != self.measure.default_port());
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let path = self.path.as_deref().filter(|path| *path != "/").unwrap_or_default();
        let query = self.query.as_ref().map(|query| format!("/{query}")).unwrap_or_default();
        format!("{}@{host}{port}{path}{query}", self.measure)
    }

    /// The name it is kept under.
    pub fn key(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.value())
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        let odd = |c: char| c.is_control() || c.is_whitespace();
        if self.host.is_empty() || self.host.len() > 255 || self.host.contains(odd) || self.host.contains('/')
        {
            return Err(format!("host: '{}' is neither a name nor an address", self.host));
        }
        if !matches!(self.granularity, Granularity::Min | Granularity::FiveMins | Granularity::Hour) {
            return Err("granularity: must be min, 5mins or hour".to_owned());
        }
        let only =
            |key: &str, given: bool, measures: &[Measure]| match given && !measures.contains(&self.measure) {
                true => Err(format!("{key}: means nothing to {}", self.measure)),
                false => Ok(()),
            };
        only("path", self.path.is_some(), &[Measure::Http, Measure::Https])?;
        only("query", self.query.is_some(), &[Measure::Dns])?;
        only("insecure", self.insecure, &[Measure::Https])?;
        match (self.measure, self.port) {
            (Measure::Icmp, Some(_)) => return Err("port: means nothing to icmp".to_owned()),
            (Measure::Tcp, None) => return Err("port: is missing".to_owned()),
            (_, Some(0)) => return Err("port: must be at least 1".to_owned()),
            _ => {}
        }
        if self.path.as_ref().is_some_and(|path| !path.starts_with('/') || path.contains(odd)) {
            return Err("path: must begin with / and hold no blanks".to_owned());
        }
        if !(1..=20).contains(&self.probes) {
            return Err("probes: must be between 1 and 20".to_owned());
        }
        if !(10..=30_000).contains(&self.timeout_ms) {
            return Err("timeout_ms: must be between 10 and 30000".to_owned());
        }
        let longest = i64::from(self.probes) * i64::from(self.timeout_ms + PAUSE_MS);
        if longest > self.granularity.seconds() * 1000 {
            return Err(format!(
                "probes: {} of {} ms, with a pause of {PAUSE_MS} ms after each, do not fit into a period",
                self.probes, self.timeout_ms
            ));
        }
        self.threshold.check()
    }
}

impl Limits {
    fn check(&self) -> Result<(), String> {
        for (key, limit, most) in [
            ("warn_ms", self.warn_ms, f64::MAX),
            ("alert_ms", self.alert_ms, f64::MAX),
            ("warn_loss", self.warn_loss, 100.0),
            ("alert_loss", self.alert_loss, 100.0),
            ("warn_days", self.warn_days, f64::MAX),
            ("alert_days", self.alert_days, f64::MAX),
        ] {
            if limit.is_some_and(|limit| limit.is_nan() || limit <= 0.0 || limit > most) {
                return Err(format!("threshold.{key}: must be more than 0, per cent at most 100"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn host(value: Value) -> Result<MonitorHost, String> {
        let host: MonitorHost = serde_json::from_value(value).map_err(|e| e.to_string())?;
        host.check().map(|()| host)
    }

    #[test]
    fn a_host_is_known_by_what_is_measured_and_where() {
        for (given, expected) in [
            (json!({ "host": "192.0.2.1", "measure": "icmp" }), "icmp@192.0.2.1"),
            (json!({ "host": "2001:db8::1", "measure": "tcp", "port": 22 }), "tcp@[2001:db8::1]:22"),
            (json!({ "host": "a.example", "measure": "https", "port": 443 }), "https@a.example"),
            (json!({ "host": "a.example", "measure": "http", "path": "/up?x" }), "http@a.example/up?x"),
            (
                json!({ "host": "192.0.2.53", "measure": "dns", "query": "b.example" }),
                "dns@192.0.2.53/b.example",
            ),
        ] {
            assert_eq!(host(given).unwrap().value(), expected);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_key() {
        for (given, key) in [
            (json!({ "host": "", "measure": "icmp" }), "host"),
            (json!({ "host": "a", "measure": "snmp" }), "snmp"),
            (json!({ "host": "a", "measure": "tcp" }), "port"),
            (json!({ "host": "a", "measure": "icmp", "port": 1 }), "port"),
            (json!({ "host": "a", "measure": "icmp", "granularity": "day" }), "granularity"),
            (json!({ "host": "a", "measure": "icmp", "failures": "3 of 2" }), "3 of 2"),
            (json!({ "host": "a", "measure": "icmp", "probes": 20 }), "probes"),
            (json!({ "host": "a", "measure": "icmp", "threshold": { "alert_loss": 101 } }), "alert_loss"),
            (json!({ "host": "a", "measure": "icmp", "path": "/" }), "path"),
            (json!({ "host": "a", "measure": "http", "path": "up" }), "path"),
            (json!({ "host": "a", "measure": "icmp", "treshold": {} }), "treshold"),
        ] {
            let wrong = host(given.clone()).unwrap_err();
            assert!(wrong.contains(key), "{given}: {wrong}");
        }
        let hourly = json!({ "host": "a", "measure": "icmp", "probes": 20, "granularity": "hour" });
        assert_eq!(host(hourly).unwrap().failures, Failures { bad: 2, of: 3 });
    }
}
