//! Which of the deliveries that are due become messages: duplicates are held back, alerts of a group are
//! told together, a storm becomes a digest, and old news are told as what they have become. Pure: the
//! time is an argument, and what has to be remembered is given out as notes before anything is sent.
//!
//! Every delivery that the gate has seen is told by itself, told with another, or put off; none is lost
//! when the process ends at any point, because what was put off is still owed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shared::model::alert::derive_id;
use shared::model::{Alert, AlertAction, Timestamp};
use shared::store::{Delivery, EventKind, Outcome};

pub use self::config::GateConfig;
use crate::field;
use crate::follow_up::{self, FollowUpKind};
use crate::format::digest::{chain, digest};
use crate::lane;

mod config;

/// Deliveries that go into one digest at most.
const DIGEST_AT_MOST: usize = 1000;

/// Deliveries of one thing that are told together at most.
pub const BEHIND_AT_MOST: usize = 256;

/// How keys of groups begin whose alerts are told again.
const REPEATED: &str = "repeat/";

/// Entries remembered at most; the oldest are forgotten first.
const REMEMBERED: usize = 10_000;

/// Why something waits.
const DUPLICATE: &str = "held back as a duplicate of what was told last";
const GROUP: &str = "waits for others of its group";
const RATE: &str = "more is due than may be told now";
const WITH_OTHER: &str = "told with another, which is tried again";

/// A delivery that is due, with those that wait behind it in its order key.
#[derive(Clone, Debug)]
pub struct Due {
    /// The delivery.
    pub delivery: Delivery,
    /// Those behind it, oldest first.
    pub behind: Vec<Delivery>,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// What is sent, under the key of its oldest delivery.
    pub carrier: Delivery,
    /// Further due deliveries that it tells.
    pub with: Vec<Delivery>,
    /// Deliveries that it tells and that are not due themselves.
    pub behind: Vec<Delivery>,
}

impl Telling {
    /// That tells its own delivery and no other.
    pub fn alone(delivery: Delivery) -> Self {
        Self { carrier: delivery, with: Vec::new(), behind: Vec::new() }
    }

    /// What the end of the message means for those that it told beside its own.
    pub fn others(self, outcome: &Outcome) -> Vec<(Delivery, Outcome)> {
        let into = self.carrier.event_id;
        let merged = || Outcome::Merged { into: into.clone() };
        let with = self.with.into_iter().map(|delivery| {
            let end = match outcome {
                Outcome::Delivered { .. } => merged(),
                Outcome::Retry { at, .. } | Outcome::Unknown { at, .. } => {
                    Outcome::Postponed { at: *at, reason: WITH_OTHER }
                }
                other => other.clone(),
            };
            (delivery, end)
        });
        let told = matches!(outcome, Outcome::Delivered { .. });
        let behind = self.behind.into_iter().filter(|_| told).map(|delivery| (delivery, merged()));
        with.chain(behind).collect()
    }
}

/// What to do now.
#[derive(Debug, Default)]
pub struct Plan {
    /// Messages to send.
    pub tell: Vec<Telling>,
    /// Deliveries that wait longer.
    pub put_off: Vec<(Delivery, Outcome)>,
    /// To be noted before anything is sent.
    pub notes: Vec<(String, Option<String>)>,
}

/// What was told last of one thing, or of one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Told {
    /// When; absent for a group that waits for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// The event that carried the message: its own retries are not held back.
    #[serde(default)]
    event: String,
    /// When the group's next message is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<Timestamp>,
}

/// The gate of one recipient.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    told: BTreeMap<String, Told>,
}

impl Gate {
    /// With what was noted before; notes that cannot be read are left out.
    pub fn new(config: GateConfig, notes: BTreeMap<String, String>) -> Self {
        let read = |(key, text): (String, String)| Some((key, serde_json::from_str(&text).ok()?));
        Self { config, told: notes.into_iter().filter_map(read).collect() }
    }

    /// How many due deliveries it wants to see when `most` messages may be sent.
    pub fn wants(&self, most: usize) -> usize {
        match self.config.joins() {
            true => DIGEST_AT_MOST,
            false => most,
        }
    }

    /// True when it has to know what waits behind a delivery.
    pub fn looks_behind(&self) -> bool {
        self.config.duplicate_window_s > 0 || self.config.collapse_after_s > 0
    }

    /// Decides about what is due. At most `most` messages: `oldest` of them are those that wait longest, the
    /// others the gravest.
    pub fn plan(&mut self, due: Vec<Due>, most: usize, oldest: usize, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let mut ready = match self.config.digest_above {
            above @ 1.. if due.len() > above as usize => self.storm(due),
            _ => self.calm(due, &mut plan, now),
        };
        // What is over waits for its turn.
        ready.sort_by_key(|ready| ready.telling.carrier.accepted_at);
        if ready.len() > most {
            let rest = ready.get_mut(oldest.min(most)..).unwrap_or_default();
            rest.sort_by_cached_key(|ready| std::cmp::Reverse(lane::severity(&ready.telling.carrier)));
        }
        for Ready { telling, .. } in ready.split_off(most.min(ready.len())) {
            let waiting = std::iter::once(telling.carrier).chain(telling.with);
            let later = |delivery| (delivery, Outcome::Postponed { at: now, reason: RATE });
            plan.put_off.extend(waiting.map(later));
        }
        for Ready { telling, keys } in ready {
            for key in keys {
                let told = Told { at: Some(now), event: telling.carrier.event_id.clone(), due: None };
                self.note(key, told, &mut plan);
            }
            plan.tell.push(telling);
        }
        self.forget(&mut plan, now);
        plan
    }

    /// Everything in one message.
    fn storm(&self, due: Vec<Due>) -> Vec<Ready> {
        let (mut ready, mut together) = (Vec::new(), Vec::new());
        for Due { delivery, .. } in due {
            match alert_of(&delivery).or_else(|| repeated(&delivery)) {
                Some(alert) => together.push((delivery, alert)),
                None => ready.push(Ready::alone(delivery)),
            }
        }
        ready.extend(self.joined(together, Vec::new()));
        ready
    }

    fn calm(&mut self, due: Vec<Due>, plan: &mut Plan, now: Timestamp) -> Vec<Ready> {
        let mut ready = Vec::new();
        let mut groups: BTreeMap<String, Vec<(Delivery, Alert)>> = BTreeMap::new();
        for Due { delivery, behind } in due {
            let Some(alert) = alert_of(&delivery) else {
                match repeated(&delivery).filter(|_| !self.config.group_by.is_empty()) {
                    // They are told apart from what is new of their group.
                    Some(alert) => {
                        let key = format!("{REPEATED}{}", self.group_key(&alert));
                        groups.entry(key).or_default().push((delivery, alert));
                    }
                    None => ready.push(Ready::alone(delivery)),
                }
                continue;
            };
            if let Some(at) = self.held_until(&delivery, &alert, now) {
                plan.put_off.push((delivery, Outcome::Postponed { at, reason: DUPLICATE }));
                continue;
            }
            let late = self.config.collapse_after_s > 0
                && now >= later(delivery.accepted_at, self.config.collapse_after_s);
            if !behind.is_empty() && (late || self.config.duplicate_window_s > 0) {
                ready.push(self.chained(delivery, alert, behind, late));
            } else if self.config.group_by.is_empty() {
                ready.push(Ready { telling: Telling::alone(delivery), keys: self.thing_keys([&alert]) });
            } else {
                groups.entry(self.group_key(&alert)).or_default().push((delivery, alert));
            }
        }
        for (key, members) in groups {
            match self.group_due(&key, &members, plan, now) {
                None => {
                    let news = members.iter().filter(|_| !key.starts_with(REPEATED));
                    let mut keys = self.thing_keys(news.map(|(_, alert)| alert));
                    keys.push(key);
                    ready.extend(self.joined(members, keys));
                }
                Some(at) => {
                    let waiting = members.into_iter().map(|(delivery, _)| delivery);
                    let later = |delivery| (delivery, Outcome::Postponed { at, reason: GROUP });
                    plan.put_off.extend(waiting.map(later));
                }
            }
        }
        ready
    }

    /// Until when a duplicate is held back.
    fn held_until(&self, delivery: &Delivery, alert: &Alert, now: Timestamp) -> Option<Timestamp> {
        let told = self.told.get(&thing_key(alert))?;
        let until = later(told.at?, self.config.duplicate_window_s);
        let own = told.event == delivery.event_id;
        (self.config.duplicate_window_s > 0 && !own && now < until).then_some(until)
    }

    /// When a group is due; `None` when it is now.
    fn group_due(
        &mut self,
        key: &str,
        members: &[(Delivery, Alert)],
        plan: &mut Plan,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let known = self.told.get(key).cloned().unwrap_or_default();
        if members.iter().any(|(delivery, _)| delivery.event_id == known.event) {
            return None;
        }
        let first = members.iter().map(|(delivery, _)| delivery.accepted_at).min().unwrap_or(now);
        let waited = later(first, self.config.group_wait_s);
        let due = known.due.unwrap_or_else(|| {
            known.at.map_or(waited, |at| later(at, self.config.group_interval_s).max(waited))
        });
        if known.due != Some(due) && now < due {
            self.note(key.to_owned(), Told { due: Some(due), ..known }, plan);
        }
        (now < due).then_some(due)
    }

    /// What became of one thing.
    fn chained(&self, carrier: Delivery, alert: Alert, behind: Vec<Delivery>, late: bool) -> Ready {
        let (behind, mut alerts): (Vec<Delivery>, Vec<Alert>) = behind
            .into_iter()
            .filter_map(|delivery| alert_of(&delivery).map(|alert| (delivery, alert)))
            .unzip();
        alerts.insert(0, alert);
        let keys = self.thing_keys(alerts.iter().rev().take(1).chain(alerts.first()));
        let carrier = match chain(&alerts, late) {
            Some(told) => saying(carrier, &told),
            None => carrier,
        };
        Ready { telling: Telling { carrier, with: Vec::new(), behind }, keys }
    }

    /// One message of several alerts, in order of acceptance.
    fn joined(&self, mut members: Vec<(Delivery, Alert)>, keys: Vec<String>) -> Option<Ready> {
        members.sort_by_key(|(delivery, _)| delivery.accepted_at);
        let (mut with, alerts): (Vec<Delivery>, Vec<Alert>) = members.into_iter().unzip();
        let told = digest(&alerts, self.config.list_at_most as usize)?;
        let carrier = with.remove(0);
        let carrier = if with.is_empty() { carrier } else { saying(carrier, &told) };
        Some(Ready { telling: Telling { carrier, with, behind: Vec::new() }, keys })
    }

    fn thing_keys<'a>(&self, alerts: impl IntoIterator<Item = &'a Alert>) -> Vec<String> {
        match self.config.duplicate_window_s {
            0 => Vec::new(),
            _ => alerts.into_iter().map(thing_key).collect(),
        }
    }

    fn group_key(&self, alert: &Alert) -> String {
        format!("group/{}", derive_id(&[&field::key(&self.config.group_by, alert)]))
    }

    fn note(&mut self, key: String, told: Told, plan: &mut Plan) {
        plan.notes.push((key.clone(), Some(serde_json::to_string(&told).unwrap_or_default())));
        self.told.insert(key, told);
    }

    /// The messages of these events were refused for good: nobody was told, so nothing is a duplicate of them.
    /// Gives what is to be noted.
    pub fn refused(&mut self, events: &BTreeSet<&str>) -> Vec<(String, Option<String>)> {
        let of_them = |told: &Told| told.at.is_some() && events.contains(told.event.as_str());
        let gone = self.told.iter().filter(|(_, told)| of_them(told)).map(|(key, _)| key.clone());
        let gone: Vec<String> = gone.collect();
        for key in &gone {
            self.told.remove(key);
        }
        gone.into_iter().map(|key| (key, None)).collect()
    }

    /// Forgets what holds nothing back any more, when there is much to remember.
    fn forget(&mut self, plan: &mut Plan, now: Timestamp) {
        if self.told.len() <= REMEMBERED {
            return;
        }
        let longest = self.config.duplicate_window_s.max(self.config.group_interval_s);
        let over = |told: &Told| told.due.is_none() && told.at.is_none_or(|at| later(at, longest) <= now);
        let mut gone: Vec<String> =
            self.told.iter().filter(|(_, told)| over(told)).map(|(key, _)| key.clone()).collect();
        if self.told.len() - gone.len() > REMEMBERED {
            // A storm of different things: what is forgotten too early is at worst told twice.
            gone = self.told.keys().take(self.told.len() - REMEMBERED / 2).cloned().collect();
        }
        for key in gone {
            self.told.remove(&key);
            plan.notes.push((key, None));
        }
    }
}

/// A message, and what it is told of.
struct Ready {
    telling: Telling,
    keys: Vec<String>,
}

impl Ready {
    fn alone(delivery: Delivery) -> Self {
        Self { telling: Telling::alone(delivery), keys: Vec::new() }
    }
}

/// The alert of a delivery that the gate has a say in: no post, and nothing that was promised for a time.
fn alert_of(delivery: &Delivery) -> Option<Alert> {
    if delivery.kind != EventKind::Alert || follow_up::of(delivery).is_some() {
        return None;
    }
    serde_json::from_str(&delivery.payload).ok()
}

/// The alert of a delivery that tells it again.
fn repeated(delivery: &Delivery) -> Option<Alert> {
    follow_up::of(delivery).filter(|promised| promised.kind == FollowUpKind::Repeat)?;
    serde_json::from_str(&delivery.payload).ok()
}

/// The same for the same thing happening again.
fn thing_key(alert: &Alert) -> String {
    // Becoming graver and then graver still is not the same twice.
    let graver = if alert.action == AlertAction::Update { alert.severity.name() } else { "" };
    format!("thing/{}", derive_id(&[&alert.order_key(), alert.action.name(), graver]))
}

/// A delivery whose message is another.
fn saying(delivery: Delivery, alert: &Alert) -> Delivery {
    match serde_json::to_string(alert) {
        Ok(payload) => Delivery { payload, ..delivery },
        Err(_) => delivery,
    }
}

fn later(from: Timestamp, seconds: u64) -> Timestamp {
    from.plus_secs(i64::try_from(seconds).unwrap_or(i64::MAX / 2_000_000_000))
}

#[cfg(test)]
mod tests;
