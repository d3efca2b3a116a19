//! Alerts that mute others: while an interface is down, nobody needs to hear of each of its hosts. Pure.
//!
//! What is muted goes into the history alone. When what muted it is over and the muted one is still
//! engaged, its recipients are told then; when it ends before, they never hear of it. State is a map of
//! small texts, the same as the ledger's notes; a batch of alerts makes a draft of changes, which counts
//! once the ledger has accepted the batch, so that a batch that comes again is decided the same way.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::model::alert::derive_id;
use shared::model::{Alert, AlertAction, AlertRule, AlertRules, HostPools, Timestamp};
use shared::store::{Dropped, LedgerEvent};

use crate::field::{self, Field};
use crate::route::ALERT_STORE;

/// Where the ledger notes the state.
pub const SCOPE: &str = "inhibition";

/// Muted alerts remembered at most: what is over is told.
const MUTED: usize = 10_000;

/// One rule: while a source lasts, targets that have the same fields are muted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InhibitionConfig {
    /// Unique name.
    pub name: String,
    /// Alerts that mute: from their engage to their release; one-shot ones until `until` or for `for_s`.
    pub source: AlertRule,
    /// Alerts that end what one-shot sources began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<AlertRule>,
    /// Seconds that a source mutes at most.
    #[serde(default = "a_day")]
    pub for_s: u64,
    /// Alerts that are muted.
    pub target: AlertRule,
    /// What source and target must have in common.
    #[serde(default)]
    pub equal: Vec<Field>,
}

const fn a_day() -> u64 {
    86_400
}

/// The rules, made ready.
#[derive(Clone, Debug, Default)]
pub struct Rules(Arc<Vec<Rule>>);

#[derive(Debug)]
struct Rule {
    name: String,
    source: AlertRules,
    until: AlertRules,
    for_s: u64,
    target: AlertRules,
    equal: Vec<Field>,
}

impl Rules {
    /// Makes rules ready.
    ///
    /// # Errors
    /// Names the rule and the key that is wrong.
    pub fn new(configs: &[InhibitionConfig]) -> Result<Self, String> {
        let mut rules: Vec<Rule> = Vec::new();
        for config in configs {
            let named = |key: &str, rule: Option<&AlertRule>| {
                let rules = rule.map(|rule| (key.to_owned(), rule.clone()));
                match AlertRules::new(rules, &AlertRules::default()) {
                    (rules, wrong) if wrong.is_empty() => Ok(rules),
                    (_, wrong) => Err(format!("'{}': {}", config.name, wrong.join("; "))),
                }
            };
            if config.name.is_empty() || rules.iter().any(|rule| rule.name == config.name) {
                return Err(format!("'{}': name must be there and be unique", config.name));
            }
            if !(1..=31 * 86_400).contains(&config.for_s) {
                return Err(format!(
                    "'{}': for_s: must be 1 to {}, not {}",
                    config.name,
                    31 * 86_400,
                    config.for_s
                ));
            }
            rules.push(Rule {
                name: config.name.clone(),
                source: named("source", Some(&config.source))?,
                until: named("until", config.until.as_ref())?,
                for_s: config.for_s,
                target: named("target", Some(&config.target))?,
                equal: config.equal.clone(),
            });
        }
        Ok(Self(Arc::new(rules)))
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What mutes, and what is muted.
pub type State = BTreeMap<String, String>;

/// A muted alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Muted {
    /// The rule.
    rule: String,
    /// Key prefix of the sources that mute it.
    by: String,
    /// The recipients that did not hear of it.
    recipients: Vec<String>,
    payload: String,
    order_key: String,
    config_version: String,
    traceparent: Option<String>,
}

/// Which rule muted an alert, as the ledger's notes say.
pub fn muted_by(notes: &State, alert: &Alert) -> Option<String> {
    let text = notes.get(&muted_key(&alert.id))?;
    serde_json::from_str::<Muted>(text).ok().map(|muted| muted.rule)
}

/// Which rule mutes an alert at `now`, whatever was when it began.
pub fn mutes_now(
    rules: &Rules,
    state: &State,
    alert: &Alert,
    pools: &HostPools,
    now: Timestamp,
) -> Option<String> {
    Draft::new(rules, state).mutes(alert, pools, now).map(|rule| rule.name.clone())
}

/// Changes of the state that are not in force yet.
#[derive(Debug)]
pub struct Draft<'a> {
    rules: &'a Rules,
    state: &'a State,
    changes: BTreeMap<String, Option<String>>,
}

impl<'a> Draft<'a> {
    /// No changes yet.
    pub fn new(rules: &'a Rules, state: &'a State) -> Self {
        Self { rules, state, changes: BTreeMap::new() }
    }

    /// The changes, for state and notes alike.
    pub fn changes(self) -> Vec<(String, Option<String>)> {
        self.changes.into_iter().collect()
    }

    /// Takes an alert into account: `event` loses the recipients that are not to hear of it. Gives what is
    /// to be told now because nothing mutes it any more. True when it was muted.
    pub fn see(
        &mut self,
        event: &mut LedgerEvent,
        alert: &Alert,
        pools: &HostPools,
        now: Timestamp,
    ) -> (bool, Vec<LedgerEvent>) {
        let rules = Arc::clone(&self.rules.0);
        let mut ended = Vec::new();
        let began = alert.engaged_at.unwrap_or(alert.tstamp);
        for rule in rules.iter() {
            let prefix = rule.prefix(alert);
            let ends = |rules: &AlertRules| rules.find(alert, began, pools).is_some();
            if ends(&rule.until) {
                self.end(&prefix, "");
                ended.push(prefix.clone());
            }
            if !ends(&rule.source) {
                continue;
            }
            match alert.action {
                AlertAction::Release => {
                    self.end(&prefix, &alert.id);
                    ended.push(prefix);
                }
                AlertAction::Engage | AlertAction::Store | AlertAction::Update => {
                    let over = now.plus_secs(i64::try_from(rule.for_s).unwrap_or(i64::MAX));
                    self.changes.insert(format!("{prefix}{}", alert.id), Some(over.ns().to_string()));
                }
            }
        }
        let told = ended.iter().flat_map(|prefix| self.unmuted(prefix, now)).collect();
        (self.mute(event, alert, pools, now), told)
    }

    /// Sources that are over by themselves; what they muted is to be told.
    pub fn expire(&mut self, now: Timestamp) -> Vec<LedgerEvent> {
        let over: Vec<String> = self
            .under("source/")
            .into_iter()
            .filter(|(_, until)| is_over(until, now))
            .map(|(key, _)| key)
            .collect();
        let mut prefixes: Vec<String> = Vec::new();
        for key in over {
            prefixes.extend(key.rsplit_once('/').map(|(prefix, _)| format!("{prefix}/")));
            self.changes.insert(key, None);
        }
        prefixes.dedup();
        prefixes.iter().flat_map(|prefix| self.unmuted(prefix, now)).collect()
    }

    fn mute(&mut self, event: &mut LedgerEvent, alert: &Alert, pools: &HostPools, now: Timestamp) -> bool {
        let key = muted_key(&alert.id);
        if alert.action == AlertAction::Release {
            // Who was not told of a beginning is not told of its end.
            let muted = self.get(&key).is_some();
            if muted {
                self.changes.insert(key, None);
                spare(event);
            }
            return muted;
        }
        if event.recipients.iter().all(|name| name == ALERT_STORE) {
            return false;
        }
        let Some(rule) = self.mutes(alert, pools, now) else { return false };
        if alert.action == AlertAction::Engage {
            if self.under("muted/").len() >= MUTED {
                return false;
            }
            let muted = Muted {
                rule: rule.name.clone(),
                by: rule.prefix(alert),
                recipients: event.recipients.iter().filter(|name| *name != ALERT_STORE).cloned().collect(),
                payload: event.payload.clone(),
                order_key: event.order_key.clone(),
                config_version: event.config_version.clone(),
                traceparent: event.traceparent.clone(),
            };
            self.changes.insert(key, serde_json::to_string(&muted).ok());
        }
        spare(event);
        true
    }

    /// The rule by which something that lasts mutes an alert.
    fn mutes(&self, alert: &Alert, pools: &HostPools, now: Timestamp) -> Option<&'a Rule> {
        self.rules.0.iter().find(|rule| {
            rule.target.find(alert, alert.tstamp, pools).is_some()
                && rule.source.find(alert, alert.tstamp, pools).is_none()
                && self.lasts(&rule.prefix(alert), now)
        })
    }

    /// What was muted under `prefix` and is muted no more.
    fn unmuted(&mut self, prefix: &str, now: Timestamp) -> Vec<LedgerEvent> {
        if self.lasts(prefix, now) {
            return Vec::new();
        }
        let mut told = Vec::new();
        for (key, text) in self.under("muted/") {
            let Ok(muted) = serde_json::from_str::<Muted>(&text) else { continue };
            if muted.by != prefix {
                continue;
            }
            self.changes.insert(key, None);
            let Ok(alert) = serde_json::from_str::<Alert>(&muted.payload) else { continue };
            told.push(LedgerEvent {
                id: format!("{}#unmuted", alert.transition_id()),
                kind: shared::store::EventKind::Alert,
                order_key: muted.order_key,
                severity: alert.severity,
                payload: muted.payload,
                traceparent: muted.traceparent,
                recipients: muted.recipients,
                config_version: muted.config_version,
                not_before: None,
                spared: Vec::new(),
            });
        }
        told
    }

    fn end(&mut self, prefix: &str, id: &str) {
        for (key, _) in self.under(&format!("{prefix}{id}")) {
            self.changes.insert(key, None);
        }
    }

    fn lasts(&self, prefix: &str, now: Timestamp) -> bool {
        self.under(prefix).iter().any(|(_, until)| !is_over(until, now))
    }

    fn get(&self, key: &str) -> Option<&String> {
        match self.changes.get(key) {
            Some(change) => change.as_ref(),
            None => self.state.get(key),
        }
    }

    fn under(&self, prefix: &str) -> Vec<(String, String)> {
        let from = (Bound::Included(prefix.to_owned()), Bound::Unbounded);
        let of_state = self.state.range::<String, _>(from.clone()).map(|(key, text)| (key, Some(text)));
        let drafted = self.changes.range::<String, _>(from).map(|(key, text)| (key, text.as_ref()));
        let mut found: BTreeMap<&String, Option<&String>> =
            of_state.take_while(|(key, _)| key.starts_with(prefix)).collect();
        found.extend(drafted.take_while(|(key, _)| key.starts_with(prefix)));
        found.into_iter().filter_map(|(key, text)| Some((key.clone(), text?.clone()))).collect()
    }
}

impl Rule {
    /// Begin of the keys of sources that mute alerts with these fields.
    fn prefix(&self, alert: &Alert) -> String {
        format!("source/{}/", derive_id(&[&self.name, &field::key(&self.equal, alert)]))
    }
}

/// Leaves the history alone as the one that is told.
fn spare(event: &mut LedgerEvent) {
    let (told, spared) = event.recipients.drain(..).partition(|name| name == ALERT_STORE);
    event.recipients = told;
    let spared: Vec<String> = spared;
    event.spared.extend(spared.into_iter().map(|name| (name, Dropped::Muted)));
}

fn muted_key(id: &str) -> String {
    format!("muted/{id}")
}

fn is_over(until: &str, now: Timestamp) -> bool {
    until.parse::<i64>().is_ok_and(|until| until <= now.ns())
}

/// Brings a state up to date with changes that count now.
pub fn apply(state: &mut State, changes: &[(String, Option<String>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => drop(state.insert(key.clone(), value.clone())),
            None => drop(state.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests;
