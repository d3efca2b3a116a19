//! Rules that choose alerts: exclusions (they are not raised) and silences (nobody is told).
//!
//! A rule says what has to be so; what it leaves out does not matter. A rule without anything is
//! refused: it would silence everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::tz::TimeZone;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calendar::Weekly;
use super::pool::{HostPools, PoolMember, parse_mac};
use super::{Alert, Category, Entity, Party, Severity, Timestamp};

/// Memory that a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// A rule as users write it. All that is given must be so; of a list, one entry is enough.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertRule {
    /// Types of alerts; `*` stands for any text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Keys of scripts; `*` stands for any text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<String>,
    /// Entities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Entity>,
    /// Entity values; `*` stands for any text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Categories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Category>,
    /// This severity or a graver one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// This severity or a lighter one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_severity: Option<Severity>,
    /// Addresses, prefixes (`192.0.2.0/24@42` with a VLAN) or hardware addresses of either side.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<PoolMember>,
    /// The same of the client, or of the host of a host alert.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<PoolMember>,
    /// The same of the server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<PoolMember>,
    /// Host pools of either side.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
    /// Ports of either side.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Names that the flow asked for (SNI, HTTP host, DNS question); `*.example.com` for all below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// A regular expression somewhere in the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Any other field of the alert's JSON by its path, such as `flow.l7`, and its text; `*` stands
    /// for any text.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub fields: std::collections::BTreeMap<String, String>,
    /// Not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Not any more from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Only at these times of the week.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weekly: Vec<Weekly>,
    /// Time zone of `weekly`: an IANA name or a POSIX string; UTC when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub time_zone: String,
    /// Who answers for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Why it is there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A rule made ready.
#[derive(Debug)]
struct Ready {
    name: String,
    rule: AlertRule,
    types: Vec<Regex>,
    scripts: Vec<Regex>,
    values: Vec<Regex>,
    names: Vec<Regex>,
    message: Option<Regex>,
    fields: Vec<(String, Regex)>,
    zone: TimeZone,
    hits: Arc<AtomicU64>,
}

/// The rules in force; clones count their hits together.
#[derive(Clone, Debug, Default)]
pub struct AlertRules(Arc<Vec<Ready>>);

impl AlertRules {
    /// Makes rules ready; those of the same name go on counting where those of `before` were. What is
    /// wrong with a rule is told with its name, and the rule is left out.
    pub fn new(rules: impl IntoIterator<Item = (String, AlertRule)>, before: &Self) -> (Self, Vec<String>) {
        let (mut ready, mut wrong) = (Vec::new(), Vec::new());
        for (name, rule) in rules {
            let hits = before.0.iter().find(|known| known.name == name).map(|known| Arc::clone(&known.hits));
            match Ready::new(name.clone(), rule, hits.unwrap_or_default()) {
                Ok(rule) => ready.push(rule),
                Err(cause) => wrong.push(format!("{name}: {cause}")),
            }
        }
        (Self(Arc::new(ready)), wrong)
    }

    /// The first rule that chooses an alert at a time; it is a hit of that rule.
    pub fn find(&self, alert: &Alert, now: Timestamp, pools: &HostPools) -> Option<&str> {
        let found = self.first(alert, now, pools)?;
        found.hits.fetch_add(1, Ordering::Relaxed);
        Some(&found.name)
    }

    /// The first rule that chooses an alert at a time, for who asks again and again: no hit.
    pub fn peek(&self, alert: &Alert, now: Timestamp, pools: &HostPools) -> Option<&str> {
        self.first(alert, now, pools).map(|found| found.name.as_str())
    }

    fn first(&self, alert: &Alert, now: Timestamp, pools: &HostPools) -> Option<&Ready> {
        self.0.iter().find(|rule| rule.matches(alert, now, pools))
    }

    /// How often each rule has chosen an alert.
    pub fn hits(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|rule| (rule.name.as_str(), rule.hits.load(Ordering::Relaxed)))
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl AlertRule {
    /// What is wrong with it.
    ///
    /// # Errors
    /// Names the key and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        Ready::new(String::new(), self.clone(), Arc::default()).map(drop)
    }

    /// True when it says of no alert that it is not meant.
    fn takes_all(&self) -> bool {
        let said = Self {
            from: None,
            until: None,
            weekly: Vec::new(),
            time_zone: String::new(),
            owner: String::new(),
            reason: String::new(),
            ..self.clone()
        };
        said == Self::default()
    }
}

impl Ready {
    fn new(name: String, rule: AlertRule, hits: Arc<AtomicU64>) -> Result<Self, String> {
        if rule.takes_all() && rule.weekly.is_empty() && rule.until.is_none() {
            return Err("says neither which alerts are meant nor until when".to_owned());
        }
        let globs = |key: &str, texts: &[String]| {
            let glob = |text: &String| glob(text).map_err(|e| format!("{key}: {e}"));
            texts.iter().map(glob).collect::<Result<Vec<_>, _>>()
        };
        let message = rule.message.as_deref().map(pattern).transpose();
        let fields = rule.fields.iter().map(|(path, text)| Ok((path.clone(), glob(text)?)));
        let zone = match rule.time_zone.as_str() {
            "" => TimeZone::UTC,
            name => TimeZone::get(name)
                .or_else(|_| TimeZone::posix(name))
                .map_err(|_| format!("time_zone: '{name}' is neither a known zone nor a POSIX time zone"))?,
        };
        Ok(Self {
            types: globs("types", &rule.types)?,
            scripts: globs("scripts", &rule.scripts)?,
            values: globs("values", &rule.values)?,
            names: globs("names", &rule.names)?,
            message: message.map_err(|e| format!("message: {e}"))?,
            fields: fields.collect::<Result<_, String>>().map_err(|e| format!("fields: {e}"))?,
            zone,
            name,
            rule,
            hits,
        })
    }

    fn matches(&self, alert: &Alert, now: Timestamp, pools: &HostPools) -> bool {
        let rule = &self.rule;
        let one_of = |patterns: &[Regex], text: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_match(text))
        };
        rule.from.is_none_or(|from| now >= from)
            && rule.until.is_none_or(|until| now < until)
            && rule.min_severity.is_none_or(|least| alert.severity >= least)
            && rule.max_severity.is_none_or(|most| alert.severity <= most)
            && (rule.entities.is_empty() || rule.entities.contains(&alert.entity))
            && (rule.categories.is_empty() || rule.categories.contains(&alert.category))
            && one_of(&self.types, &alert.alert_type)
            && one_of(&self.scripts, &alert.script)
            && one_of(&self.values, &alert.entity_value)
            && self.names_match(alert)
            && self.hosts_match(alert, pools)
            && self.message.as_ref().is_none_or(|message| message.is_match(&alert.message))
            && self.fields_match(alert)
            && (rule.weekly.is_empty() || rule.weekly.iter().any(|times| times.holds(now, &self.zone)))
    }

    fn names_match(&self, alert: &Alert) -> bool {
        let name = alert.flow.as_ref().map_or("", |flow| flow.name.as_str());
        self.names.is_empty() || self.names.iter().any(|pattern| pattern.is_match(name))
    }

    fn hosts_match(&self, alert: &Alert, pools: &HostPools) -> bool {
        let (client, server) = (alert.client.as_ref(), alert.server.as_ref());
        let sides = || [client, server].into_iter().flatten();
        let among = |members: &[PoolMember], party: &Party| {
            let mac = party.mac.as_deref().and_then(parse_mac);
            members.iter().any(|member| member.has(party.ip, party.vlan, mac.as_ref()))
        };
        let pool_of = |party: &Party| {
            let mac = party.mac.as_deref().and_then(parse_mac);
            pools.find(party.ip, party.vlan, mac.as_ref())
        };
        let rule = &self.rule;
        (rule.hosts.is_empty() || sides().any(|party| among(&rule.hosts, party)))
            && (rule.clients.is_empty() || client.is_some_and(|party| among(&rule.clients, party)))
            && (rule.servers.is_empty() || server.is_some_and(|party| among(&rule.servers, party)))
            && (rule.ports.is_empty() || sides().any(|party| rule.ports.contains(&party.port)))
            && (rule.pools.is_empty()
                || sides().any(|party| rule.pools.iter().any(|pool| pool == pool_of(party))))
    }

    fn fields_match(&self, alert: &Alert) -> bool {
        if self.fields.is_empty() {
            return true;
        }
        let Ok(json) = serde_json::to_value(alert) else { return false };
        self.fields.iter().all(|(path, pattern)| {
            let value = path.split('.').try_fold(&json, |value, key| match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                other => other.get(key),
            });
            match value {
                None | Some(Value::Null) => false,
                Some(Value::String(text)) => pattern.is_match(text),
                Some(Value::Array(items)) => {
                    items.iter().any(|item| item.as_str().is_some_and(|text| pattern.is_match(text)))
                }
                Some(other) => pattern.is_match(&other.to_string()),
            }
        })
    }
}

/// A text in which `*` stands for any text, compared without case.
pub fn glob(text: &str) -> Result<Regex, String> {
    let parts: Vec<String> = text.split('*').map(regex::escape).collect();
    pattern(&format!("(?is)^{}$", parts.join(".*")))
}

fn pattern(text: &str) -> Result<Regex, String> {
    let wrong = |e: regex::Error| e.to_string().lines().last().unwrap_or_default().to_owned();
    RegexBuilder::new(text).size_limit(PATTERN_BYTES).build().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AlertAction;
    use crate::store::conformance::samples;

    fn alert() -> Alert {
        let party = |ip: &str, port| {
            serde_json::from_value(serde_json::json!({ "ip": ip, "port": port, "vlan": 7 })).unwrap()
        };
        let flow = serde_json::json!({
            "l4": "tcp", "l7": "TLS.YouTube", "name": "www.example.com", "cli2srv_bytes": 1, "srv2cli_bytes": 2,
            "cli2srv_packets": 1, "srv2cli_packets": 1, "first_seen": "1970-01-01T00:00:00Z",
            "status": ["obsolete_tls"],
        });
        Alert {
            alert_type: "obsolete_tls".to_owned(),
            entity: Entity::Flow,
            entity_value: "10.0.0.1:5000 192.0.2.1:443".to_owned(),
            client: Some(party("10.0.0.1", 5000)),
            server: Some(party("192.0.2.1", 443)),
            flow: Some(serde_json::from_value(flow).unwrap()),
            message: "TLS 1.0 is obsolete".to_owned(),
            ..samples::alert("x", AlertAction::Store, 100)
        }
    }

    fn chooses(rule: serde_json::Value, now: i64) -> bool {
        let rule = serde_json::from_value(rule).unwrap();
        let (rules, wrong) = AlertRules::new([("r".to_owned(), rule)], &AlertRules::default());
        assert!(wrong.is_empty(), "{wrong:?}");
        let office =
            serde_json::from_value(serde_json::json!({ "name": "office", "members": ["10.0.0.0/8"] }));
        let pools = HostPools::new(vec![office.unwrap()]);
        let found = rules.find(&alert(), Timestamp::from_secs(now), &pools).is_some();
        assert_eq!(rules.hits().collect::<Vec<_>>(), [("r", u64::from(found))]);
        found
    }

    #[test]
    fn every_key_chooses_and_all_must_be_so() {
        use serde_json::json;
        for (yes, no) in [
            (json!({"types": ["obsolete_*"]}), json!({"types": ["tls"]})),
            (json!({"scripts": ["*"]}), json!({"scripts": ["a", "b"]})),
            (json!({"entities": ["flow"]}), json!({"entities": ["host"]})),
            (json!({"values": ["*:443"]}), json!({"values": ["10.0.0.1"]})),
            (json!({"min_severity": "debug"}), json!({"min_severity": "emergency"})),
            (json!({"max_severity": "emergency"}), json!({"max_severity": "debug"})),
            (json!({"hosts": ["192.0.2.0/24@7"]}), json!({"hosts": ["192.0.2.0/24@8"]})),
            (json!({"clients": ["10.0.0.1"]}), json!({"clients": ["192.0.2.1"]})),
            (json!({"servers": ["192.0.2.1"]}), json!({"servers": ["10.0.0.1"]})),
            (json!({"pools": ["office"]}), json!({"pools": ["guests"]})),
            (json!({"ports": [443]}), json!({"ports": [80]})),
            (json!({"names": ["*.EXAMPLE.com"]}), json!({"names": ["example.com"]})),
            (json!({"message": "1\\.[01]"}), json!({"message": "^1"})),
            (json!({"fields": {"flow.l7": "TLS.*"}}), json!({"fields": {"flow.l7": "DNS"}})),
            (json!({"fields": {"flow.status": "obsolete_tls"}}), json!({"fields": {"no.such": "*"}})),
            (json!({"fields": {"server.port": "443"}}), json!({"fields": {"server.port": "44"}})),
        ] {
            assert!(chooses(yes.clone(), 100), "{yes}");
            assert!(!chooses(no.clone(), 100), "{no}");
            let mut both = yes;
            both.as_object_mut().unwrap().extend(json!({"types": ["other"]}).as_object().unwrap().clone());
            assert!(!chooses(both.clone(), 100), "{both}");
        }
    }

    #[test]
    fn a_rule_has_its_time() {
        use serde_json::json;
        let rule = json!({"from": "1970-01-01T00:01:00Z", "until": "1970-01-01T00:02:00Z"});
        assert_eq!([59, 60, 119, 120].map(|now| chooses(rule.clone(), now)), [false, true, true, false]);
        // 1970-01-01 was a Thursday.
        let rule = json!({"types": ["*"], "weekly": [{"days": ["thursday"], "from": "01:00", "to": "02:00"}],
                          "time_zone": "Europe/Berlin"});
        assert!(chooses(rule.clone(), 60) && !chooses(rule, 3600));
    }

    #[test]
    fn a_wrong_rule_is_told_and_left_out() {
        for (rule, cause) in [
            (AlertRule::default(), "neither which alerts"),
            (AlertRule { message: Some("(".to_owned()), ..AlertRule::default() }, "message: "),
            (AlertRule { message: Some("(a{9999}){9999}".to_owned()), ..AlertRule::default() }, "message: "),
            (
                AlertRule {
                    types: vec!["a".to_owned()],
                    time_zone: "Mars".to_owned(),
                    ..AlertRule::default()
                },
                "time_zone",
            ),
        ] {
            let error = rule.check().unwrap_err();
            assert!(error.contains(cause), "{error}");
            let (rules, wrong) = AlertRules::new([("odd".to_owned(), rule)], &AlertRules::default());
            assert!(rules.is_empty() && wrong[0].starts_with("odd: "), "{wrong:?}");
        }
    }

    #[test]
    fn hits_are_counted_on_over_a_change_of_the_rules() {
        let rule = || AlertRule { types: vec!["*".to_owned()], ..AlertRule::default() };
        let (first, _) = AlertRules::new([("a".to_owned(), rule())], &AlertRules::default());
        assert_eq!(first.find(&alert(), Timestamp::ZERO, &HostPools::default()), Some("a"));
        let (second, _) = AlertRules::new([("b".to_owned(), rule()), ("a".to_owned(), rule())], &first);
        assert_eq!(second.hits().collect::<Vec<_>>(), [("b", 0), ("a", 1)]);
    }
}
