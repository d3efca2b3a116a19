//! Episodes: engage, update, release, restart.

use super::*;
use shared::model::{AlertRule, Category, Severity};

const G: Granularity = Granularity::Min;

fn meta() -> ScriptMeta {
    ScriptMeta {
        title: "Check".to_owned(),
        category: Category::Network,
        severity: Some(Severity::Error),
        ..ScriptMeta::new("check")
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
        flow: None,
    }
}

const HERE: Place<'static> = Place { site: "s", ifid: 1 };

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn trigger(state: &mut AlertState, host: &str, value: f64, now: i64) -> Option<Transition> {
    let request =
        AlertRequest { value: Some(value), metric: Some("bytes".to_owned()), ..AlertRequest::default() };
    state.trigger(&request, &meta(), &subject(host), G, at(now), &AT_ONCE)
}

/// Nothing is damped.
const AT_ONCE: Damping = Damping { engage_after: 1, hold_seconds: 0, flap_engages: 0, flap_window_s: 0 };

fn damped(state: &mut AlertState, now: i64, damping: &Damping) -> Option<Transition> {
    state.trigger(&AlertRequest::default(), &meta(), &subject("a"), G, at(now), damping)
}

fn end_run(state: &mut AlertState, triggered: &[&str], now: i64) -> Vec<Transition> {
    let scripts = BTreeSet::from(["check".to_owned()]);
    let mut confirmed = Triggered::default();
    triggered.iter().for_each(|host| confirmed.note("check", host, "check"));
    state.end_run(HERE, Entity::Host, G, &scripts, &confirmed, at(now))
}

fn engaged_id(transition: Option<Transition>) -> String {
    match transition {
        Some(Transition::Engage(engaged)) => engaged.alert.id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_script_that_fills_its_share_leaves_room_for_the_others() {
    let limits = Limits { all: 5, of_script: 3 };
    let mut state = AlertState::new(5, Vec::new()).with_limits(limits);
    let mut engage = |script: &str, host: &str| {
        let meta = ScriptMeta::new(script);
        let told = state.trigger(&AlertRequest::default(), &meta, &subject(host), G, at(60), &AT_ONCE);
        (told.is_some(), state.refused)
    };
    assert!(["a", "b", "c"].iter().all(|host| engage("greedy", host).0));
    assert_eq!(engage("greedy", "d"), (false, 1), "its share is full");
    assert_eq!(engage("other", "a"), (true, 1));
    assert_eq!(engage("third", "a"), (true, 1));
    assert_eq!(engage("fourth", "a"), (false, 2), "everything is full");
    // What is released makes room again.
    let meta = ScriptMeta::new("greedy");
    assert!(state.release(None, &meta, &subject("a"), G, at(120)).is_some());
    let told = state.trigger(&AlertRequest::default(), &meta, &subject("d"), G, at(120), &AT_ONCE);
    assert!(told.is_some());
    let mut again = AlertState::new(5, Vec::new()).with_limits(limits);
    again.restore(state.save()).unwrap();
    let told = again.trigger(&AlertRequest::default(), &meta, &subject("e"), G, at(180), &AT_ONCE);
    assert!(told.is_none(), "shares are known after a restart");
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
            assert_eq!((alert.id.as_str(), alert.tstamp, alert.engaged_at), (&*id, at(240), Some(at(60))));
        }
        other => panic!("{other:?}"),
    }
    let again = engaged_id(trigger(&mut state, "a", 10.0, 300));
    assert_ne!(again, id, "a new episode");
}

#[test]
fn what_becomes_graver_is_told_as_an_update_and_what_becomes_milder_is_not() {
    use shared::model::Severity;
    let mut state = AlertState::new(5, Vec::new());
    let mut of = |severity, now| {
        let request = AlertRequest { severity: Some(severity), ..AlertRequest::default() };
        state.trigger(&request, &meta(), &subject("a"), G, at(now), &AT_ONCE)
    };
    let id = engaged_id(of(Severity::Warning, 60));
    for (severity, now, told) in
        [(Severity::Error, 120, true), (Severity::Warning, 180, false), (Severity::Critical, 240, true)]
    {
        match of(severity, now) {
            Some(Transition::Worsen(shown, at_now)) if told => {
                let alert = &shown.alert;
                assert_eq!((&alert.id, alert.tstamp, alert.action), (&id, at(60), AlertAction::Engage));
                let update = shown.update(at_now);
                assert_eq!((&update.id, update.tstamp, update.engaged_at), (&id, at(now), Some(at(60))));
                assert_eq!((update.action, update.severity), (AlertAction::Update, severity));
            }
            Some(Transition::Update(shown)) if !told => assert_eq!(shown.alert.severity, severity),
            other => panic!("{other:?}"),
        }
    }
    assert!(of(Severity::Critical, 300).is_none(), "nothing new to show");
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
    let none = Triggered::default();
    let scripts = BTreeSet::from(["check".to_owned()]);
    let other = BTreeSet::from(["other".to_owned()]);
    let elsewhere = [Place { ifid: 2, ..HERE }, Place { site: "another", ..HERE }];
    for place in elsewhere {
        assert!(state.end_run(place, Entity::Host, G, &scripts, &none, at(90)).is_empty(), "{place:?}");
        assert!(state.element_gone(place, Entity::Host, "a", at(90)).is_empty(), "{place:?}");
        assert!(state.current(place, Entity::Host, "a").is_empty(), "{place:?}");
    }
    assert!(state.end_run(HERE, Entity::Network, G, &scripts, &none, at(90)).is_empty());
    assert!(state.end_run(HERE, Entity::Host, Granularity::Hour, &scripts, &none, at(90)).is_empty());
    assert!(state.end_run(HERE, Entity::Host, G, &other, &none, at(90)).is_empty(), "another script");
    assert_eq!(state.current(HERE, Entity::Host, "a").len(), 1);
    assert_eq!(state.element_gone(HERE, Entity::Host, "a", at(99)).len(), 1);
    assert!(state.is_empty());
}

#[test]
fn a_host_that_goes_idle_costs_its_own_alerts_alone() {
    let mut state = AlertState::new(5, Vec::new());
    let damping = Damping { engage_after: 2, ..AT_ONCE };
    for host in 0..50_000 {
        assert!(trigger(&mut state, &format!("10.{host}"), 1.0, 60).is_some());
        let waits = state.trigger(
            &AlertRequest::default(),
            &meta(),
            &subject(&format!("11.{host}")),
            G,
            at(60),
            &damping,
        );
        assert!(waits.is_none());
    }
    // Going through what others have would be 10^10 looks.
    let watch = shared::clock::Stopwatch::start();
    for host in 0..100_000 {
        assert!(state.element_gone(HERE, Entity::Host, &format!("12.{host}"), at(120)).is_empty());
    }
    assert!(watch.elapsed().as_secs() < 10, "{:?}", watch.elapsed());
    let [Transition::Release(alert)] = &state.element_gone(HERE, Entity::Host, "10.7", at(120))[..] else {
        panic!("its own is released");
    };
    assert_eq!((alert.entity_value.as_str(), state.len(), state.pending.len()), ("10.7", 49_999, 50_000));
    assert!(state.element_gone(HERE, Entity::Host, "11.7", at(120)).is_empty());
    assert_eq!(state.pending.len(), 49_999, "nor does it wait for more runs");
    let elsewhere = Place { site: "s", ifid: 2 };
    assert!(state.element_gone(elsewhere, Entity::Host, "10.8", at(120)).is_empty());
}

#[test]
fn one_shot_alerts_of_one_run_are_told_apart() {
    let state = AlertState::default();
    let store =
        |ordinal| match state.store(&AlertRequest::default(), &meta(), &subject("a"), G, at(60), ordinal) {
            Some(Transition::Store(alert)) => alert,
            other => panic!("{other:?}"),
        };
    assert_ne!(store(0).id, store(1).id);
    assert_eq!((store(0).severity, store(0).score), (Severity::Error, 100));
}

#[test]
fn two_sites_have_their_own_alerts_of_the_same_host() {
    let mut state = AlertState::new(5, Vec::new());
    let there = Subject { site: "t".to_owned(), ..subject("a") };
    let here = engaged_id(trigger(&mut state, "a", 1.0, 60));
    let other = engaged_id(state.trigger(&AlertRequest::default(), &meta(), &there, G, at(60), &AT_ONCE));
    assert_ne!(here, other);
    assert_eq!(end_run(&mut state, &[], 120).len(), 1);
    assert_eq!(state.current(Place { site: "t", ifid: 1 }, Entity::Host, "a").len(), 1);
}

#[test]
fn what_a_script_engaged_that_runs_no_more_is_released() {
    let mut state = AlertState::new(5, Vec::new());
    trigger(&mut state, "a", 1.0, 60);
    assert!(state.release_orphans(HERE, |script, _, _| script == "check", at(90)).is_empty());
    assert!(state.release_orphans(Place { ifid: 2, ..HERE }, |_, _, _| false, at(90)).is_empty());
    assert_eq!(state.release_orphans(HERE, |_, _, granularity| granularity != G, at(90)).len(), 1);
}

#[test]
fn endless_texts_are_cut_between_characters_and_still_make_one_episode() {
    let mut state = AlertState::new(5, Vec::new());
    let request = || AlertRequest {
        alert_type: Some("ä".repeat(1000)),
        message: Some("€".repeat(100_000)),
        metric: Some("m".repeat(1000)),
        ..AlertRequest::default()
    };
    match state.trigger(&request(), &meta(), &subject("a"), G, at(60), &AT_ONCE) {
        Some(Transition::Engage(engaged)) => {
            assert_eq!(engaged.alert.alert_type, "ä".repeat(64));
            assert_eq!(engaged.alert.message, "€".repeat(1365));
            assert_eq!(engaged.alert.alert_key.unwrap().len(), "min_".len() + 128);
        }
        other => panic!("{other:?}"),
    }
    let named = "ä".repeat(1000);
    assert!(state.release(Some(&named), &meta(), &subject("a"), G, at(120)).is_some());
}

#[test]
fn a_window_seen_only_in_part_releases_nothing_of_before_the_restart() {
    let mut state = AlertState::new(5, Vec::new());
    let Some(Transition::Engage(engaged)) = trigger(&mut state, "a", 10.0, 60) else { panic!() };
    let mut restarted = AlertState::new(5, vec![engaged]);
    restarted.begin_run(true);
    assert!(restarted.release(None, &meta(), &subject("a"), G, at(90)).is_none());
    assert!(end_run(&mut restarted, &[], 90).is_empty());
    restarted.begin_run(false);
    assert_eq!(end_run(&mut restarted, &[], 150).len(), 1);
}

#[test]
fn an_alert_that_needs_several_runs_engages_when_they_agree_in_a_row() {
    let mut state = AlertState::new(5, Vec::new());
    let damping = Damping { engage_after: 3, ..AT_ONCE };
    for now in [60, 120] {
        assert!(damped(&mut state, now, &damping).is_none());
        assert!(end_run(&mut state, &["a"], now).is_empty());
    }
    assert!(end_run(&mut state, &[], 180).is_empty(), "one run says otherwise, and it begins anew");
    for now in [240, 300] {
        assert!(damped(&mut state, now, &damping).is_none());
        assert!(end_run(&mut state, &["a"], now).is_empty());
    }
    assert!(matches!(damped(&mut state, 360, &damping), Some(Transition::Engage(_))));
}

#[test]
fn an_alert_is_held_until_it_has_been_quiet_for_long() {
    let mut state = AlertState::new(5, Vec::new());
    let damping = Damping { hold_seconds: 120, ..AT_ONCE };
    let id = engaged_id(damped(&mut state, 60, &damping));
    assert!(end_run(&mut state, &[], 120).is_empty());
    assert!(damped(&mut state, 180, &damping).is_none(), "it was engaged all the time");
    assert!(end_run(&mut state, &["a"], 180).is_empty());
    // Also when the script says itself that it is over.
    assert!(state.release(None, &meta(), &subject("a"), G, at(240)).is_none());
    assert!(end_run(&mut state, &[], 240).is_empty());
    assert!(end_run(&mut state, &[], 300).is_empty());
    match &end_run(&mut state, &[], 360)[..] {
        [Transition::Release(alert)] => assert_eq!((&alert.id, alert.tstamp), (&id, at(360))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn between_two_thresholds_an_alert_is_kept_and_none_engages() {
    let mut state = AlertState::new(5, Vec::new());
    let keep = |state: &mut AlertState, value, now| {
        let request =
            AlertRequest { value: Some(value), metric: Some("bytes".to_owned()), ..AlertRequest::default() };
        state.keep(&request, &meta(), &subject("a"), G, at(now), &AT_ONCE)
    };
    assert!(keep(&mut state, 8.0, 60).is_none() && state.is_empty());
    let id = engaged_id(trigger(&mut state, "a", 10.0, 120));
    match keep(&mut state, 8.0, 180) {
        Some(Transition::Update(shown)) => assert_eq!((shown.alert.id, shown.alert.value), (id, Some(8.0))),
        other => panic!("{other:?}"),
    }
    assert!(end_run(&mut state, &["a"], 180).is_empty());
}

#[test]
fn an_alert_that_comes_and_goes_is_held_and_says_so() {
    let mut state = AlertState::new(5, Vec::new());
    let damping = Damping { flap_engages: 3, flap_window_s: 600, ..AT_ONCE };
    let mut engages = Vec::new();
    let mut releases = Vec::new();
    for minute in 1..=40 {
        let now = minute * 60;
        let shaky = minute <= 12 && minute % 2 == 1;
        if shaky && let Some(Transition::Engage(engaged)) = damped(&mut state, now, &damping) {
            engages.push((minute, engaged.alert.flapping));
        }
        let released = end_run(&mut state, if shaky { &["a"] } else { &[] }, now);
        releases.extend(released.iter().map(|_| minute));
    }
    assert_eq!(engages, [(1, false), (3, false), (5, false), (7, true)]);
    // Triggered for the last time in minute 11, not in minute 12, and held ten minutes from then.
    assert_eq!(releases, [2, 4, 6, 22]);
}

#[test]
fn what_is_excluded_is_not_raised_and_what_was_is_released() {
    let mut state = AlertState::new(5, Vec::new());
    trigger(&mut state, "a", 1.0, 60);
    trigger(&mut state, "b", 1.0, 60);
    let rule = AlertRule { values: vec!["a".to_owned()], ..AlertRule::default() };
    let (exclusions, wrong) = AlertRules::new([("of a".to_owned(), rule)], &AlertRules::default());
    assert!(wrong.is_empty());
    state.set_exclusions(&ScriptSetup { exclusions: exclusions.clone(), ..ScriptSetup::default() });
    assert!(matches!(trigger(&mut state, "a", 1.0, 120), Some(Transition::Release(_))));
    assert!(trigger(&mut state, "a", 1.0, 180).is_none());
    assert!(trigger(&mut state, "b", 1.0, 180).is_none() && state.len() == 1);
    assert!(state.store(&AlertRequest::default(), &meta(), &subject("a"), G, at(180), 0).is_none());
    assert!(state.store(&AlertRequest::default(), &meta(), &subject("b"), G, at(180), 0).is_some());
    assert_eq!(exclusions.hits().collect::<Vec<_>>(), [("of a", 3)]);
}

proptest::proptest! {
    /// What is found unchanged without making an alert is what would be found so with it.
    #[test]
    fn an_alert_is_shown_already_exactly_when_the_new_one_would_be_the_same(
        before in requests(), now in proptest::prop_oneof![requests(), proptest::strategy::Just(None)],
    ) {
        let before = before.unwrap_or_default();
        let now = now.unwrap_or_else(|| before.clone());
        let made = |request: &AlertRequest| build(request, &meta(), &subject("a"), G, at(60), AlertAction::Engage);
        let (old, new) = (made(&before), made(&now));
        if Key::of(&old) == Key::of(&new) {
            assert_eq!(shows(&old, &now, &meta(), &subject("a")), old == new);
        }
    }
}

fn requests() -> impl proptest::strategy::Strategy<Value = Option<AlertRequest>> {
    use proptest::option::of;
    use proptest::prelude::*;
    let text = || of(prop_oneof![Just("x".to_owned()), Just("y".to_owned()), Just("é".repeat(3000))]);
    let number = || of(prop_oneof![Just(1.0), Just(2.0)]);
    let severity = of(prop_oneof![Just(Severity::Error), Just(Severity::Notice)]);
    (text(), text(), number(), number(), severity, of(Just(Category::Security)), of(0..2u32)).prop_map(
        |(message, metric, value, threshold, severity, category, score)| {
            Some(AlertRequest {
                message,
                metric,
                value,
                threshold,
                severity,
                category,
                score,
                ..AlertRequest::default()
            })
        },
    )
}
