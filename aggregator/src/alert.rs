//! Alert state: what is engaged, what is released, what is told. Pure.
//!
//! An alert engages when a script triggers it and is not engaged; triggering it again updates what
//! is shown and tells nobody. It is released when its script says so, when a complete run of the
//! same script and period does not trigger it again, or when its host goes idle.

use std::collections::{BTreeMap, BTreeSet};

use shared::model::alert::{ALERT_SCHEMA_VERSION, derive_id};
use shared::model::{Alert, AlertAction, Entity, Granularity, Party, Timestamp};
use shared::script::{AlertRequest, CurrentAlert, ScriptMeta};
use shared::store::{EngagedAlert, Transition};

/// Engaged alerts of one partition at most.
const MAX_ENGAGED: usize = 100_000;

/// Bytes of an alert's message at most: an alert has to fit into a message of the bus.
const MAX_TEXT: usize = 4096;

/// Bytes of an alert's type and of its metric at most.
const MAX_NAME: usize = 128;

/// An interface, as alerts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Site.
    pub site: &'a str,
    /// Interface id.
    pub ifid: u32,
}

/// Which element an alert is about, and where.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Entity.
    pub entity: Entity,
    /// Its identifying string.
    pub value: String,
    /// Site.
    pub site: String,
    /// Node that captures.
    pub node: String,
    /// Interface id.
    pub ifid: u32,
    /// Interface name.
    pub interface: String,
    /// The host, when it is one.
    pub party: Option<Party>,
}

/// What tells one alert from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    site: String,
    ifid: u32,
    entity: Entity,
    value: String,
    alert_type: String,
    script: String,
    granularity: Granularity,
}

impl Key {
    fn of(alert: &Alert) -> Self {
        Self {
            site: alert.site.clone(),
            ifid: alert.ifid,
            entity: alert.entity,
            value: alert.entity_value.clone(),
            alert_type: alert.alert_type.clone(),
            script: alert.script.clone(),
            granularity: alert.granularity.unwrap_or(Granularity::Aperiodic),
        }
    }

    fn is_at(&self, place: Place<'_>) -> bool {
        self.ifid == place.ifid && self.site == place.site
    }
}

/// The type of an alert as it is kept: the script's key when the script names none.
pub fn alert_type(named: Option<String>, meta: &ScriptMeta) -> String {
    clipped(named.unwrap_or_else(|| meta.key.clone()), MAX_NAME)
}

/// A text of `max` bytes at most, cut between characters.
fn clipped(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    text
}

/// The alert state of one partition.
#[derive(Debug, Default)]
pub struct AlertState {
    partition: u32,
    engaged: BTreeMap<Key, Alert>,
    /// Engaged before a restart and not triggered since: a window seen only in part says nothing
    /// about them.
    restored: BTreeSet<Key>,
    /// The run under way is of a window seen only in part.
    partial: bool,
    /// Alerts not engaged because there were too many.
    pub refused: u64,
}

impl AlertState {
    /// State with what was engaged before a restart.
    pub fn new(partition: u32, engaged: Vec<EngagedAlert>) -> Self {
        let engaged: BTreeMap<_, _> = engaged.into_iter().map(|e| (Key::of(&e.alert), e.alert)).collect();
        let restored = engaged.keys().cloned().collect();
        Self { partition, engaged, restored, partial: false, refused: 0 }
    }

    /// A run's wishes follow; `partial` when its window was seen only in part, as the first one after
    /// a restart is. Such a run releases nothing that was engaged before the restart.
    pub fn begin_run(&mut self, partial: bool) {
        self.partial = partial;
    }

    fn is_kept(&self, key: &Key) -> bool {
        self.partial && self.restored.contains(key)
    }

    /// How many are engaged.
    pub fn len(&self) -> usize {
        self.engaged.len()
    }

    /// True when none is engaged.
    pub fn is_empty(&self) -> bool {
        self.engaged.is_empty()
    }

    /// A script triggers an alert in a run of `granularity` at `now`.
    pub fn trigger(
        &mut self,
        request: AlertRequest,
        meta: &ScriptMeta,
        subject: &Subject,
        granularity: Granularity,
        now: Timestamp,
    ) -> Option<Transition> {
        let alert = build(request, meta, subject, granularity, now, AlertAction::Engage);
        let key = Key::of(&alert);
        self.restored.remove(&key);
        if let Some(engaged) = self.engaged.get_mut(&key) {
            let shown = Alert { id: engaged.id.clone(), tstamp: engaged.tstamp, ..alert };
            let changed = *engaged != shown;
            *engaged = shown.clone();
            return changed
                .then_some(Transition::Update(EngagedAlert { partition: self.partition, alert: shown }));
        }
        if self.engaged.len() >= MAX_ENGAGED {
            self.refused += 1;
            return None;
        }
        self.engaged.insert(key, alert.clone());
        Some(Transition::Engage(EngagedAlert { partition: self.partition, alert }))
    }

    /// A script releases its alert of a type.
    pub fn release(
        &mut self,
        named: Option<String>,
        meta: &ScriptMeta,
        subject: &Subject,
        granularity: Granularity,
        now: Timestamp,
    ) -> Option<Transition> {
        let key = Key {
            site: subject.site.clone(),
            ifid: subject.ifid,
            entity: subject.entity,
            value: subject.value.clone(),
            alert_type: alert_type(named, meta),
            script: meta.key.clone(),
            granularity,
        };
        if self.is_kept(&key) {
            return None;
        }
        self.engaged.remove(&key).map(|alert| released(alert, now))
    }

    /// A one-shot alert; `ordinal` tells those of one run and script apart.
    pub fn store(
        request: AlertRequest,
        meta: &ScriptMeta,
        subject: &Subject,
        granularity: Granularity,
        now: Timestamp,
        ordinal: usize,
    ) -> Transition {
        let mut alert = build(request, meta, subject, granularity, now, AlertAction::Store);
        alert.id = derive_id(&[&alert.id, "store", &ordinal.to_string()]);
        Transition::Store(alert)
    }

    /// A run over elements of `entity` on an interface has ended. What the `scripts` that completed
    /// it could have triggered, and is not among the `triggered` (script, element, type), is released.
    pub fn end_run(
        &mut self,
        place: Place<'_>,
        entity: Entity,
        granularity: Granularity,
        scripts: &BTreeSet<String>,
        triggered: &BTreeSet<(String, String, String)>,
        now: Timestamp,
    ) -> Vec<Transition> {
        let (partial, restored) = (self.partial, std::mem::take(&mut self.restored));
        let gone = |key: &Key| {
            key.is_at(place)
                && key.entity == entity
                && key.granularity == granularity
                && scripts.contains(&key.script)
                && !triggered.contains(&(key.script.clone(), key.value.clone(), key.alert_type.clone()))
                && !(partial && restored.contains(key))
        };
        let released = self.release_where(gone, now);
        self.restored = restored;
        released
    }

    /// A host went idle: all its alerts are released.
    pub fn element_gone(
        &mut self,
        place: Place<'_>,
        entity: Entity,
        value: &str,
        now: Timestamp,
    ) -> Vec<Transition> {
        self.release_where(|key| key.is_at(place) && key.entity == entity && key.value == value, now)
    }

    /// Releases what was engaged before a restart by a script that `runs` no more: nobody else would.
    pub fn release_orphans(
        &mut self,
        place: Place<'_>,
        runs: impl Fn(&str, Entity, Granularity) -> bool,
        now: Timestamp,
    ) -> Vec<Transition> {
        self.release_where(|key| key.is_at(place) && !runs(&key.script, key.entity, key.granularity), now)
    }

    /// Engaged alerts of one element, as its scripts see them.
    pub fn current(&self, place: Place<'_>, entity: Entity, value: &str) -> Vec<CurrentAlert> {
        if self.engaged.is_empty() {
            return Vec::new();
        }
        let start = Key {
            site: place.site.to_owned(),
            ifid: place.ifid,
            entity,
            value: value.to_owned(),
            alert_type: String::new(),
            script: String::new(),
            granularity: Granularity::Aperiodic,
        };
        let of_element =
            |(key, _): &(&Key, &Alert)| key.is_at(place) && key.entity == entity && key.value == value;
        let shown = |(_, alert): (&Key, &Alert)| CurrentAlert {
            alert_type: alert.alert_type.clone(),
            script: alert.script.clone(),
            severity: alert.severity,
            category: alert.category,
            message: alert.message.clone(),
            engaged_at: alert.tstamp.secs(),
        };
        self.engaged.range(start..).take_while(of_element).map(shown).collect()
    }

    fn release_where(&mut self, gone: impl Fn(&Key) -> bool, now: Timestamp) -> Vec<Transition> {
        let keys: Vec<Key> = self.engaged.keys().filter(|key| gone(key)).cloned().collect();
        keys.iter().filter_map(|key| self.engaged.remove(key)).map(|alert| released(alert, now)).collect()
    }
}

fn released(alert: Alert, now: Timestamp) -> Transition {
    let engaged_at = Some(alert.tstamp);
    Transition::Release(Alert { action: AlertAction::Release, tstamp: now, engaged_at, ..alert })
}

fn build(
    request: AlertRequest,
    meta: &ScriptMeta,
    subject: &Subject,
    granularity: Granularity,
    now: Timestamp,
    action: AlertAction,
) -> Alert {
    let (severity, score) = meta.weight(&request);
    let alert_type = alert_type(request.alert_type, meta);
    let id = derive_id(&[
        &subject.site,
        &subject.ifid.to_string(),
        subject.entity.name(),
        &subject.value,
        &alert_type,
        &meta.key,
        granularity.name(),
        &now.ns().to_string(),
    ]);
    let party = subject.party.clone().map(|party| Party {
        is_attacker: request.attacker.or(meta.attacker).is_some(),
        is_victim: request.victim.or(meta.victim).is_some(),
        ..party
    });
    Alert {
        schema_version: ALERT_SCHEMA_VERSION,
        id,
        action,
        alert_type,
        entity: subject.entity,
        entity_value: subject.value.clone(),
        severity,
        category: request.category.unwrap_or(meta.category),
        score,
        tstamp: now,
        engaged_at: None,
        site: subject.site.clone(),
        node: subject.node.clone(),
        ifid: subject.ifid,
        interface: subject.interface.clone(),
        script: meta.key.clone(),
        granularity: Some(granularity),
        alert_key: request.metric.map(|metric| format!("{granularity}_{}", clipped(metric, MAX_NAME))),
        message: clipped(request.message.unwrap_or_else(|| meta.title.clone()), MAX_TEXT),
        value: request.value,
        threshold: request.threshold,
        client: party,
        server: None,
        flow: None,
        traceparent: None,
        mitre: meta.mitre.clone(),
    }
}

#[cfg(test)]
mod tests;
