//! Alert state: what is engaged, what is released, what is told. Pure.
//!
//! An alert engages when a script triggers it and is not engaged; triggering it again updates what
//! is shown and tells nobody. It is released when its script says so, when a complete run of the
//! same script and period does not trigger it again, or when its host goes idle.

use std::collections::{BTreeMap, BTreeSet};

use shared::model::alert::{ALERT_SCHEMA_VERSION, derive_id};
use shared::model::{Alert, AlertAction, Entity, Granularity, Party, Severity, Timestamp};
use shared::script::{AlertRequest, CurrentAlert, ScriptMeta};
use shared::store::{EngagedAlert, Transition};

/// Engaged alerts of one partition at most.
const MAX_ENGAGED: usize = 100_000;

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
            ifid: alert.ifid,
            entity: alert.entity,
            value: alert.entity_value.clone(),
            alert_type: alert.alert_type.clone(),
            script: alert.script.clone(),
            granularity: alert.granularity.unwrap_or(Granularity::Aperiodic),
        }
    }
}

/// The alert state of one partition.
#[derive(Debug, Default)]
pub struct AlertState {
    partition: u32,
    engaged: BTreeMap<Key, Alert>,
    /// Alerts not engaged because there were too many.
    pub refused: u64,
}

impl AlertState {
    /// State with what was engaged before a restart.
    pub fn new(partition: u32, engaged: Vec<EngagedAlert>) -> Self {
        let engaged = engaged.into_iter().map(|e| (Key::of(&e.alert), e.alert)).collect();
        Self { partition, engaged, refused: 0 }
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
        alert_type: Option<String>,
        meta: &ScriptMeta,
        subject: &Subject,
        granularity: Granularity,
        now: Timestamp,
    ) -> Option<Transition> {
        let key = Key {
            ifid: subject.ifid,
            entity: subject.entity,
            value: subject.value.clone(),
            alert_type: alert_type.unwrap_or_else(|| meta.key.clone()),
            script: meta.key.clone(),
            granularity,
        };
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
        ifid: u32,
        entity: Entity,
        granularity: Granularity,
        scripts: &BTreeSet<String>,
        triggered: &BTreeSet<(String, String, String)>,
        now: Timestamp,
    ) -> Vec<Transition> {
        let gone = |key: &Key| {
            key.ifid == ifid
                && key.entity == entity
                && key.granularity == granularity
                && scripts.contains(&key.script)
                && !triggered.contains(&(key.script.clone(), key.value.clone(), key.alert_type.clone()))
        };
        self.release_where(gone, now)
    }

    /// A host went idle: all its alerts are released.
    pub fn element_gone(
        &mut self,
        ifid: u32,
        entity: Entity,
        value: &str,
        now: Timestamp,
    ) -> Vec<Transition> {
        self.release_where(|key| key.ifid == ifid && key.entity == entity && key.value == value, now)
    }

    /// Engaged alerts of one element, as its scripts see them.
    pub fn current(&self, ifid: u32, entity: Entity, value: &str) -> Vec<CurrentAlert> {
        let start = Key {
            ifid,
            entity,
            value: value.to_owned(),
            alert_type: String::new(),
            script: String::new(),
            granularity: Granularity::Aperiodic,
        };
        let of_element =
            |(key, _): &(&Key, &Alert)| key.ifid == ifid && key.entity == entity && key.value == value;
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
    let alert_type = request.alert_type.unwrap_or_else(|| meta.key.clone());
    let by_score = request.score.map(Severity::from_score);
    let severity = request.severity.or(by_score).or(meta.severity).unwrap_or(Severity::Warning);
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
        is_attacker: request.attacker.is_some(),
        is_victim: request.victim.is_some(),
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
        score: request.score.unwrap_or_else(|| severity.score()),
        tstamp: now,
        engaged_at: None,
        site: subject.site.clone(),
        node: subject.node.clone(),
        ifid: subject.ifid,
        interface: subject.interface.clone(),
        script: meta.key.clone(),
        granularity: Some(granularity),
        alert_key: request.metric.map(|metric| format!("{granularity}_{metric}")),
        message: request.message.unwrap_or_else(|| meta.title.clone()),
        value: request.value,
        threshold: request.threshold,
        client: party,
        server: None,
        flow: None,
        traceparent: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::model::Category;
    use shared::script::{Lifecycle, ScriptKind};

    const G: Granularity = Granularity::Min;

    fn meta() -> ScriptMeta {
        ScriptMeta {
            key: "check".to_owned(),
            kind: ScriptKind::Host,
            title: "Check".to_owned(),
            hooks: BTreeSet::new(),
            category: Category::Network,
            severity: Some(Severity::Error),
            prio: 0,
            default_enabled: true,
            default_value: serde_json::json!({}),
            local_hosts: false,
            packet_interface_only: false,
            l4_proto: None,
            l7_proto: None,
            three_way_handshake_ok: false,
            periodic_update_seconds: None,
            lifecycle: Lifecycle::Run,
            has_teardown: false,
            warnings: Vec::new(),
        }
    }

    fn subject(value: &str) -> Subject {
        Subject {
            entity: Entity::Host,
            value: value.to_owned(),
            site: "s".to_owned(),
            node: "n".to_owned(),
            ifid: 1,
            interface: "eth0".to_owned(),
            party: None,
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn trigger(state: &mut AlertState, host: &str, value: f64, now: i64) -> Option<Transition> {
        let request =
            AlertRequest { value: Some(value), metric: Some("bytes".to_owned()), ..AlertRequest::default() };
        state.trigger(request, &meta(), &subject(host), G, at(now))
    }

    fn end_run(state: &mut AlertState, triggered: &[&str], now: i64) -> Vec<Transition> {
        let scripts = BTreeSet::from(["check".to_owned()]);
        let key = |host: &&str| ("check".to_owned(), (*host).to_owned(), "check".to_owned());
        let triggered = triggered.iter().map(key).collect();
        state.end_run(1, Entity::Host, G, &scripts, &triggered, at(now))
    }

    fn engaged_id(transition: Option<Transition>) -> String {
        match transition {
            Some(Transition::Engage(engaged)) => engaged.alert.id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_episode_engages_once_updates_and_is_released_under_one_id() {
        let mut state = AlertState::new(5, Vec::new());
        let id = engaged_id(trigger(&mut state, "a", 10.0, 60));
        match trigger(&mut state, "a", 20.0, 120) {
            Some(Transition::Update(shown)) => {
                assert_eq!(
                    (shown.alert.id.as_str(), shown.alert.value, shown.alert.tstamp),
                    (&*id, Some(20.0), at(60))
                );
                assert_eq!(shown.alert.alert_key.as_deref(), Some("min_bytes"));
            }
            other => panic!("{other:?}"),
        }
        assert!(trigger(&mut state, "a", 20.0, 180).is_none(), "nothing new to show");
        assert!(end_run(&mut state, &["a"], 180).is_empty());
        match &end_run(&mut state, &[], 240)[..] {
            [Transition::Release(alert)] => {
                assert_eq!(
                    (alert.id.as_str(), alert.tstamp, alert.engaged_at),
                    (&*id, at(240), Some(at(60)))
                );
            }
            other => panic!("{other:?}"),
        }
        let again = engaged_id(trigger(&mut state, "a", 10.0, 300));
        assert_ne!(again, id, "a new episode");
    }

    #[test]
    fn the_same_happening_gives_the_same_id_on_every_node() {
        let ids: Vec<_> =
            (0..2).map(|_| engaged_id(trigger(&mut AlertState::new(5, Vec::new()), "a", 10.0, 60))).collect();
        assert_eq!(ids[0], ids[1]);
    }

    #[test]
    fn engaged_alerts_survive_a_restart_and_keep_their_id() {
        let mut state = AlertState::new(5, Vec::new());
        let Some(Transition::Engage(engaged)) = trigger(&mut state, "a", 10.0, 60) else { panic!() };
        let mut restarted = AlertState::new(5, vec![engaged.clone()]);
        assert!(matches!(trigger(&mut restarted, "a", 11.0, 120), Some(Transition::Update(_))));
        match &end_run(&mut restarted, &[], 180)[..] {
            [Transition::Release(alert)] => assert_eq!(alert.id, engaged.alert.id),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_releases_only_what_it_could_have_triggered() {
        let mut state = AlertState::new(5, Vec::new());
        trigger(&mut state, "a", 1.0, 60);
        let none = BTreeSet::new();
        let scripts = BTreeSet::from(["check".to_owned()]);
        let other = BTreeSet::from(["other".to_owned()]);
        assert!(state.end_run(2, Entity::Host, G, &scripts, &none, at(90)).is_empty(), "another interface");
        assert!(state.end_run(1, Entity::Network, G, &scripts, &none, at(90)).is_empty());
        assert!(state.end_run(1, Entity::Host, Granularity::Hour, &scripts, &none, at(90)).is_empty());
        assert!(state.end_run(1, Entity::Host, G, &other, &none, at(90)).is_empty(), "another script");
        assert_eq!(state.current(1, Entity::Host, "a").len(), 1);
        assert_eq!(state.element_gone(1, Entity::Host, "a", at(99)).len(), 1);
        assert!(state.is_empty());
    }

    #[test]
    fn one_shot_alerts_of_one_run_are_told_apart() {
        let store = |ordinal| match AlertState::store(
            AlertRequest::default(),
            &meta(),
            &subject("a"),
            G,
            at(60),
            ordinal,
        ) {
            Transition::Store(alert) => alert,
            other => panic!("{other:?}"),
        };
        assert_ne!(store(0).id, store(1).id);
        assert_eq!((store(0).severity, store(0).score), (Severity::Error, 100));
    }
}
