//! Alert state: what is engaged, what is released, what is told. Pure.
//!
//! An alert engages when a script triggers it and is not engaged; triggering it again updates what
//! is shown and tells nobody. It is released when its script says so, when a complete run of the
//! same script and period does not trigger it again, or when its host goes idle. [`Damping`] may
//! delay either: until several runs agree, or until it has been quiet for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::model::alert::derive_id;
use shared::model::{Alert, AlertAction, AlertRules, Entity, Granularity, HostPools, Timestamp};
use shared::script::registry::ScriptSetup;
use shared::script::{AlertRequest, CurrentAlert, ScriptMeta};
use shared::store::{EngagedAlert, Transition};

mod build;
mod damping;
mod held;
mod key;
mod saved;
mod subject;
mod triggered;

pub use build::alert_type;
use build::{build, shows};
pub use damping::Damping;
use damping::Flaps;
use held::Held;
pub use held::Limits;
use key::{AsKey, Key, KeyRef};
pub use subject::{Place, Subject};
pub use triggered::Triggered;

/// Alerts that are watched for flapping, and such that wait for more runs, of one partition at most.
const MAX_WATCHED: usize = 100_000;

/// An alert that is engaged.
#[derive(Debug)]
struct Engaged {
    alert: Alert,
    /// How long it has to be quiet before it is released, in seconds.
    hold_s: i64,
    /// Since when nothing triggers it, where it is held.
    quiet_since: Option<Timestamp>,
}

/// The alert state of one partition.
#[derive(Debug, Default)]
pub struct AlertState {
    partition: u32,
    engaged: Held,
    limits: Limits,
    /// Triggered, but not yet in as many runs in a row as it takes.
    pending: BTreeMap<Key, u32>,
    flaps: Flaps,
    /// What is not raised.
    exclusions: AlertRules,
    pools: Arc<HostPools>,
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
        let known = |alert: Alert| (Key::of(&alert), Engaged { alert, hold_s: 0, quiet_since: None });
        let engaged: Held = engaged.into_iter().map(|e| known(e.alert)).collect();
        let restored = engaged.keys().cloned().collect();
        Self { partition, engaged, restored, ..Self::default() }
    }

    /// Takes what the store has for what is engaged: what is gone through again under other scripts or
    /// settings may come out otherwise, and what was told stays true. What only the store has counts as
    /// engaged before a restart.
    pub fn reconcile(&mut self, engaged: Vec<EngagedAlert>) {
        let mut stored: BTreeMap<Key, Alert> =
            engaged.into_iter().map(|engaged| (Key::of(&engaged.alert), engaged.alert)).collect();
        self.engaged.retain(|key| stored.remove(key).is_some());
        for (key, alert) in stored {
            self.restored.insert(key.clone());
            self.engaged.insert(key, Engaged { alert, hold_s: 0, quiet_since: None });
        }
    }

    /// With how much may be engaged.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// With what is not raised.
    pub fn with_exclusions(mut self, setup: &ScriptSetup) -> Self {
        self.set_exclusions(setup);
        self
    }

    /// Changes what is not raised; what is engaged of it is released when it is triggered again.
    pub fn set_exclusions(&mut self, setup: &ScriptSetup) {
        self.exclusions = setup.exclusions.clone();
        self.pools = Arc::clone(&setup.pools);
    }

    fn is_excluded(&self, alert: &Alert) -> bool {
        self.exclusions.find(alert, alert.tstamp, &self.pools).is_some()
    }

    /// A run's wishes follow; `partial` when its window was seen only in part, as the first one after
    /// a restart is. Such a run releases nothing that was engaged before the restart.
    pub fn begin_run(&mut self, partial: bool) {
        self.partial = partial;
    }

    /// What is engaged at an interface counts as engaged before a restart: its captures begin anew.
    pub fn begin_anew(&mut self, place: Place<'_>) {
        self.restored.extend(self.engaged.keys().filter(|key| key.is_at(place)).cloned());
        self.pending.retain(|key, _| !key.is_at(place));
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
        request: &AlertRequest,
        meta: &ScriptMeta,
        subject: &Subject,
        granularity: Granularity,
        now: Timestamp,
        damping: &Damping,
    ) -> Option<Transition> {
        if self.exclusions.is_empty() && self.is_shown(request, meta, subject, granularity, damping) {
            return None;
        }
        let alert = build(request, meta, subject, granularity, now, AlertAction::Engage);
        let key = Key::of(&alert);
        if self.is_excluded(&alert) {
            self.pending.remove(&key);
            return self.engaged.remove(&key).map(|engaged| released(engaged.alert, now));
        }
        if self.engaged.contains_key(&key) {
            return self.update(&key, alert, damping);
        }
        let runs = self.pending.get(&key).copied().unwrap_or_default() + 1;
        let full = self.engaged.len() >= self.limits.all
            || self.engaged.of_script(&meta.key) >= self.limits.of_script
            || self.pending.len() >= MAX_WATCHED;
        // There is always room to tell that there is none; flowhook's own alerts are few.
        if full && subject.entity != Entity::System {
            self.refused += 1;
            return None;
        }
        if runs < damping.engage_after {
            self.pending.insert(key, runs);
            return None;
        }
        self.pending.remove(&key);
        let flapping = self.flaps.engaged(&key, now, damping);
        let hold_s = damping.hold_s(flapping);
        let alert = Alert { flapping, ..alert };
        self.engaged.insert(key, Engaged { alert: alert.clone(), hold_s, quiet_since: None });
        Some(Transition::Engage(EngagedAlert { partition: self.partition, alert }))
    }

    /// True when the alert is engaged and shows all this already; it is not quiet, then.
    fn is_shown(
        &mut self,
        request: &AlertRequest,
        meta: &ScriptMeta,
        subject: &Subject,
        granularity: Granularity,
        damping: &Damping,
    ) -> bool {
        let key = KeyRef {
            site: &subject.site,
            ifid: subject.ifid,
            entity: subject.entity,
            value: &subject.value,
            alert_type: alert_type(request.alert_type.as_deref(), meta),
            script: &meta.key,
            granularity,
        };
        let Some(engaged) = self.engaged.get_mut(&key) else { return false };
        if !shows(&engaged.alert, request, meta, subject) {
            return false;
        }
        engaged.quiet_since = None;
        engaged.hold_s = damping.hold_s(engaged.alert.flapping);
        if !self.restored.is_empty() {
            self.restored.remove(&key as &dyn AsKey);
        }
        true
    }

    /// A script says that what it engaged is still so, without a reason to engage it anew.
    pub fn keep(
        &mut self,
        request: &AlertRequest,
        meta: &ScriptMeta,
        subject: &Subject,
        granularity: Granularity,
        now: Timestamp,
        damping: &Damping,
    ) -> Option<Transition> {
        let alert = build(request, meta, subject, granularity, now, AlertAction::Engage);
        let key = Key::of(&alert);
        self.pending.remove(&key);
        self.update(&key, alert, damping)
    }

    /// Shows what is new of an engaged alert, if it is engaged and something is; that it has become graver
    /// is told as well.
    fn update(&mut self, key: &Key, alert: Alert, damping: &Damping) -> Option<Transition> {
        self.restored.remove(key);
        let engaged = self.engaged.get_mut(key)?;
        engaged.quiet_since = None;
        engaged.hold_s = damping.hold_s(engaged.alert.flapping);
        let (before, now) = (&engaged.alert, alert.tstamp);
        let shown =
            Alert { id: before.id.clone(), tstamp: before.tstamp, flapping: before.flapping, ..alert };
        if *before == shown {
            return None;
        }
        let graver = shown.severity > before.severity;
        engaged.alert = shown.clone();
        let engaged = EngagedAlert { partition: self.partition, alert: shown };
        Some(match graver {
            true => Transition::Worsen(engaged, now),
            false => Transition::Update(engaged),
        })
    }

    /// A script releases its alert of a type.
    pub fn release(
        &mut self,
        named: Option<&str>,
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
            alert_type: alert_type(named, meta).to_owned(),
            script: meta.key.clone(),
            granularity,
        };
        if !self.pending.is_empty() {
            self.pending.remove(&key);
        }
        if self.is_kept(&key) {
            return None;
        }
        self.quiet(&key, now)
    }

    /// Releases what nothing triggers any more, as soon as it has been quiet long enough.
    fn quiet(&mut self, key: &Key, now: Timestamp) -> Option<Transition> {
        let engaged = self.engaged.get_mut(key)?;
        let since = *engaged.quiet_since.get_or_insert(now);
        if now.since(since) < engaged.hold_s * shared::model::time::NS_PER_S {
            return None;
        }
        self.engaged.remove(key).map(|engaged| released(engaged.alert, now))
    }

    /// A one-shot alert; `ordinal` tells those of one run and script apart.
    pub fn store(
        &self,
        request: &AlertRequest,
        meta: &ScriptMeta,
        subject: &Subject,
        granularity: Granularity,
        now: Timestamp,
        ordinal: usize,
    ) -> Option<Transition> {
        let mut alert = build(request, meta, subject, granularity, now, AlertAction::Store);
        alert.id = derive_id(&[&alert.id, "store", &ordinal.to_string()]);
        (!self.is_excluded(&alert)).then_some(Transition::Store(alert))
    }

    /// A run over elements of `entity` on an interface has ended. What the `scripts` that completed
    /// it could have triggered, and is not among the `triggered`, is released.
    pub fn end_run(
        &mut self,
        place: Place<'_>,
        entity: Entity,
        granularity: Granularity,
        scripts: &BTreeSet<String>,
        triggered: &Triggered,
        now: Timestamp,
    ) -> Vec<Transition> {
        let unconfirmed = |key: &Key| {
            key.is_at(place)
                && key.entity == entity
                && key.granularity == granularity
                && scripts.contains(&key.script)
                && !triggered.contains(&key.script, &key.value, &key.alert_type)
        };
        self.pending.retain(|key, _| !unconfirmed(key));
        let quiet = self.engaged.keys().filter(|key| unconfirmed(key) && !self.is_kept(key));
        let quiet: Vec<Key> = quiet.cloned().collect();
        quiet.iter().filter_map(|key| self.quiet(key, now)).collect()
    }

    /// A host went idle: all its alerts are released. It costs as much as it has alerts: hosts go idle by
    /// the hundred thousand.
    pub fn element_gone(
        &mut self,
        place: Place<'_>,
        entity: Entity,
        value: &str,
        now: Timestamp,
    ) -> Vec<Transition> {
        let first = KeyRef::first_of(place, entity, value);
        for key in key::of_element(&self.pending, first) {
            self.pending.remove(&key);
        }
        let keys = key::of_element(&self.engaged, first);
        let removed = keys.iter().filter_map(|key| self.engaged.remove(key));
        removed.map(|engaged| released(engaged.alert, now)).collect()
    }

    /// Releases the alerts of elements of an entity that `gone` chooses by element, script and period.
    pub fn release_elements(
        &mut self,
        place: Place<'_>,
        entity: Entity,
        gone: impl Fn(&str, &str, Granularity) -> bool,
        now: Timestamp,
    ) -> Vec<Transition> {
        let gone = |key: &Key| {
            key.is_at(place) && key.entity == entity && gone(&key.value, &key.script, key.granularity)
        };
        self.pending.retain(|key, _| !gone(key));
        self.release_where(gone, now)
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
        let first = KeyRef::first_of(place, entity, value);
        let shown = |(_, Engaged { alert, .. }): (&Key, &Engaged)| CurrentAlert {
            alert_type: alert.alert_type.clone(),
            script: alert.script.clone(),
            severity: alert.severity,
            category: alert.category,
            message: alert.message.clone(),
            engaged_at: alert.tstamp.secs(),
        };
        key::range_of(&self.engaged, first).map(shown).collect()
    }

    fn release_where(&mut self, gone: impl Fn(&Key) -> bool, now: Timestamp) -> Vec<Transition> {
        let keys: Vec<Key> = self.engaged.keys().filter(|key| gone(key)).cloned().collect();
        let removed = keys.iter().filter_map(|key| self.engaged.remove(key));
        removed.map(|engaged| released(engaged.alert, now)).collect()
    }
}

fn released(alert: Alert, now: Timestamp) -> Transition {
    Transition::Release(build::released(alert, now))
}

#[cfg(test)]
mod tests;
