//! What a gate makes of deliveries, and what is promised for later, over a real ledger.

use serde_json::{Value, json};
use shared::bus::Bus;
use shared::model::{Alert, AlertAction, HostPools};
use shared::settings::{FileSettings, Settings};
use shared::store::LedgerAudit;

use super::*;
use crate::gate::GateConfig;
use crate::inhibit;
use crate::route::Router;
use crate::testing::alert;

impl Setup {
    fn gated(gate: &str, answer: impl Fn(&Delivery) -> Answer + Send + Sync + 'static) -> Self {
        let mut setup = Self::with(100_000, 1, answer);
        setup.args.policy.gate = toml::from_str::<GateConfig>(gate).unwrap();
        setup
    }

    /// Accepts alerts as the dispatcher does, for the recipients of `config`.
    async fn tell(&self, config: &NotifierConfig, alerts: &[Alert]) {
        let router = Router::new(config, tokio::sync::watch::channel(Arc::default()).1);
        let now = self.clock.now();
        let events = alerts.iter().flat_map(|a| router.alert(&serde_json::to_vec(a).unwrap(), now).unwrap());
        self.store.accept(events.collect(), now, horizon).await.unwrap();
        self.args.handle.wake();
    }

    async fn stats_of(&self, name: &str) -> RecipientStats {
        let stats = self.store.stats().await.unwrap();
        stats.into_iter().find(|stats| stats.recipient == name).unwrap_or_default()
    }

    async fn until_of_r(&self, what: &str, reached: impl Fn(&RecipientStats) -> bool) -> RecipientStats {
        eventually(what, || async {
            self.args.handle.wake();
            Some(self.stats_of("r").await).filter(|stats| reached(stats))
        })
        .await
    }
}

fn config(gate: &str) -> NotifierConfig {
    toml::from_str(&format!("[[recipient]]\nname = 'r'\nendpoint = 'e'\ngate = {{ {gate} }}\n")).unwrap()
}

fn thing(number: usize, severity: Severity) -> Alert {
    Alert { entity_value: format!("host{number}"), severity, ..alert(&number.to_string()) }
}

/// What it costs in memory is measured in `tests/outage.rs`, in a process of its own.
#[tokio::test]
async fn fifty_thousand_alerts_of_a_six_hours_outage_are_told_in_digests_in_their_order() {
    const ALERTS: usize = 50_000;
    let works = Arc::new(AtomicBool::new(false));
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let (up, messages) = (Arc::clone(&works), Arc::clone(&told));
    let setup = Setup::gated("digest_above = 20\nlist_at_most = 3", move |delivery| {
        if !up.load(Ordering::SeqCst) {
            return fails();
        }
        let alert: Alert = serde_json::from_str(&delivery.payload).unwrap();
        messages.lock().unwrap().push(alert.message);
        Ok(())
    });
    let lane = setup.start().await;
    let config = config("");
    let step = ALERTS / 12;
    for round in 0..12 {
        let last = if round == 11 { ALERTS } else { (round + 1) * step };
        let alerts: Vec<Alert> = (round * step..last).map(|n| thing(n, Severity::Critical)).collect();
        setup.tell(&config, &alerts).await;
        let tried = setup.stats_of("r").await.attempts;
        setup.clock.advance(Duration::from_secs(1800));
        setup.until_of_r("a try in vain", |stats| stats.attempts > tried || stats.attempts == 0).await;
    }
    assert_eq!(setup.stats_of("r").await.pending, ALERTS as u64, "nothing is given up");
    works.store(true, Ordering::SeqCst);
    setup.clock.advance(Duration::from_secs(300));
    let stats = setup.until_of_r("everything is told", |stats| stats.pending == 0).await;
    assert_eq!(stats.delivered + stats.merged, ALERTS as u64);
    assert!((50..60).contains(&stats.delivered), "{stats:?}");
    let told = told.lock().unwrap().clone();
    let first_of = |message: &String| -> usize {
        let (_, rest) = message.split_once("Interface host").unwrap();
        rest.split(':').next().unwrap().parse().unwrap()
    };
    assert!(told.iter().map(first_of).is_sorted(), "the order is kept");
    assert!(told[0].starts_with("1000 alerts: ") && told[0].ends_with("; and 997 more"), "{}", told[0]);
    let audit = setup.store.audit(setup.clock.now()).await.unwrap();
    assert_eq!(audit, LedgerAudit::default());
    drop(lane);
}

#[tokio::test]
async fn nobody_gets_more_than_his_bound_in_a_storm() {
    let mut setup = Setup::gated("digest_above = 50", |_| Ok(()));
    setup.args.policy.max_per_minute = Some(10);
    let _lane = setup.start().await;
    let config = config("");
    for minute in 0..3 {
        let alerts: Vec<Alert> = (0..5000).map(|n| thing(minute * 5000 + n, Severity::Error)).collect();
        setup.tell(&config, &alerts).await;
        for _ in 0..12 {
            setup.clock.advance(Duration::from_secs(5));
            setup.settle_a_while().await;
        }
    }
    let stats = setup.until_of_r("all are told", |stats| stats.pending == 0).await;
    assert!(setup.seen().len() <= 30, "{} messages in three minutes", setup.seen().len());
    assert_eq!(stats.delivered + stats.merged, 15_000);
}

/// For a few seconds; `just storm` for a whole minute of it.
#[tokio::test]
async fn ten_thousand_transitions_a_second_are_told_no_faster_than_the_bound() {
    let seconds =
        std::env::var("FLOWHOOK_STORM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let mut setup = Setup::gated("digest_above = 50", |_| Ok(()));
    setup.args.policy.max_per_minute = Some(60);
    let _lane = setup.start().await;
    let config = config("");
    let mut passed = 0;
    let mut second = async |setup: &Setup| {
        setup.clock.advance(Duration::from_secs(1));
        setup.settle_a_while().await;
        passed += 1;
        let told = setup.seen().len();
        assert!(told <= passed + 1, "{told} messages in {passed} seconds");
    };
    for round in 0..seconds {
        let began: Vec<Alert> = (0..5000).map(|n| thing(round * 5000 + n, Severity::Error)).collect();
        setup.tell(&config, &began).await;
        let ended = began.into_iter().map(|alert| Alert { action: AlertAction::Release, ..alert });
        setup.tell(&config, &ended.collect::<Vec<_>>()).await;
        second(&setup).await;
    }
    // A digest is of a thousand at most.
    for _ in 0..60 + 20 * seconds {
        if setup.stats_of("r").await.pending == 0 {
            break;
        }
        second(&setup).await;
    }
    let stats = setup.until_of_r("all are told", |stats| stats.pending == 0).await;
    assert_eq!(stats.delivered + stats.merged, 10_000 * seconds as u64);
    assert_eq!(setup.store.audit(setup.clock.now()).await.unwrap(), LedgerAudit::default());
}

impl Setup {
    /// Gives the lane time to do what it may.
    async fn settle_a_while(&self) {
        for _ in 0..3 {
            self.args.handle.wake();
            eventually("a look", || async { (!self.args.handle.woken.load(Ordering::SeqCst)).then_some(()) })
                .await;
            self.stats_of("r").await;
        }
    }
}

#[tokio::test]
async fn duplicates_are_held_back_over_a_restart_and_then_told_as_one() {
    let setup = Setup::gated("duplicate_window_s = 300", |_| Ok(()));
    let config = config("");
    let happened = |id: &str| Alert { action: AlertAction::Store, ..alert(id) };
    let (actor, handle) = setup.start().await;
    setup.tell(&config, &[happened("a")]).await;
    setup.until_of_r("the first", |stats| stats.delivered == 1).await;
    setup.clock.advance(Duration::from_secs(10));
    setup.tell(&config, &[happened("b"), happened("c"), happened("d")]).await;
    setup.settle_a_while().await;
    actor.stop(None);
    handle.await.unwrap();
    let _lane = setup.start().await;
    setup.settle_a_while().await;
    assert_eq!(setup.seen(), [["a/store/r"]]);
    setup.clock.advance(Duration::from_secs(290));
    let stats = setup.until_of_r("the rest", |stats| stats.pending == 0).await;
    assert_eq!((stats.delivered, stats.merged, stats.attempts), (2, 2, 2));
    assert_eq!(setup.seen(), [["a/store/r"], ["b/store/r"]]);
    let records = setup.store.deliveries("d/store").await.unwrap();
    let record = records.iter().find(|record| record.recipient == "r").unwrap();
    assert_eq!((record.state.as_str(), record.reason.as_deref()), ("merged", Some("told with b/store")));
}

#[tokio::test]
async fn a_duplicate_of_what_was_refused_is_told_at_once() {
    let refuses = Arc::new(AtomicBool::new(true));
    let first = Arc::clone(&refuses);
    let setup = Setup::gated("duplicate_window_s = 300", move |_| match first.load(Ordering::SeqCst) {
        true => Err(DeliveryError::permanent("no such room")),
        false => Ok(()),
    });
    let config = config("");
    let happened = |id: &str| Alert { action: AlertAction::Store, ..alert(id) };
    let (actor, handle) = setup.start().await;
    setup.tell(&config, &[happened("a")]).await;
    setup.until_of_r("the refusal", |stats| stats.dead == 1).await;
    // Nor does a restart know of it.
    actor.stop(None);
    handle.await.unwrap();
    refuses.store(false, Ordering::SeqCst);
    let _lane = setup.start().await;
    setup.clock.advance(Duration::from_secs(10));
    setup.tell(&config, &[happened("b")]).await;
    setup.until_of_r("the duplicate", |stats| stats.delivered == 1).await;
    assert_eq!(setup.seen().last().unwrap(), &["b/store/r"]);
    // What was told holds the next one back.
    setup.tell(&config, &[happened("c")]).await;
    setup.settle_a_while().await;
    assert_eq!(setup.stats_of("r").await.delivered, 1);
}

#[tokio::test]
async fn a_repetition_goes_on_until_the_end_and_no_longer() {
    let setup = Setup::gated("", |_| Ok(()));
    let config = config("repeat_s = 600");
    let _lane = setup.start().await;
    let began = alert("a");
    setup.tell(&config, std::slice::from_ref(&began)).await;
    setup.until_of_r("the beginning", |stats| stats.delivered == 1).await;
    for number in 1..=3 {
        setup.settle_a_while().await;
        assert_eq!(setup.seen().len(), number, "not before its time");
        setup.clock.advance(Duration::from_secs(600));
        setup.until_of_r("the repetition", |stats| stats.delivered == 1 + number as u64).await;
    }
    assert_eq!(setup.seen()[3], ["a/engage#repeat/r/3/r"]);
    setup.tell(&config, &[Alert { action: AlertAction::Release, ..began }]).await;
    setup.until_of_r("the end", |stats| stats.delivered == 5).await;
    setup.clock.advance(Duration::from_secs(600));
    let stats = setup.until_of_r("the promise is kept no more", |stats| stats.suppressed == 1).await;
    assert_eq!((stats.pending, stats.delivered), (0, 5));
    assert_eq!(setup.seen().len(), 5);
}

#[tokio::test]
async fn repetitions_of_a_group_are_one_message() {
    let setup = Setup::gated("group_by = ['type']\ngroup_wait_s = 30\ngroup_interval_s = 60", |_| Ok(()));
    let config = config("repeat_s = 600");
    let _lane = setup.start().await;
    setup.tell(&config, &(0..20).map(|n| thing(n, Severity::Error)).collect::<Vec<_>>()).await;
    setup.settle_a_while().await;
    setup.clock.advance(Duration::from_secs(30));
    let told = |count: u64| move |stats: &RecipientStats| stats.delivered + stats.merged == count;
    assert_eq!(setup.until_of_r("the beginnings", told(20)).await.delivered, 1);
    for round in 2..=3 {
        setup.clock.advance(Duration::from_secs(600));
        let stats = setup.until_of_r("the repetitions", told(20 * round)).await;
        assert_eq!(stats.delivered, round, "one message of twenty alerts");
    }
    assert_eq!(setup.seen().len(), 3);
}

#[tokio::test]
async fn a_silence_that_begins_later_keeps_repetitions_back_until_it_ends() {
    let mut setup = Setup::gated("", |_| Ok(()));
    let (settings, followed) = tokio::sync::watch::channel(Arc::<Settings>::default());
    setup.args.follow_ups.settings = followed;
    let config = config("repeat_s = 600");
    let _lane = setup.start().await;
    setup.tell(&config, &[alert("a")]).await;
    setup.until_of_r("the beginning", |stats| stats.delivered == 1).await;
    let works = serde_json::from_value(json!({ "max_severity": "emergency" })).unwrap();
    let silences = std::collections::BTreeMap::from([("works".to_owned(), works)]);
    let file = FileSettings { silences, ..FileSettings::default() };
    settings.send_replace(Arc::new(file.with(&[], &Settings::default()).0));
    setup.clock.advance(Duration::from_secs(600));
    setup.until_of_r("the silence", |stats| stats.suppressed == 1).await;
    let records = setup.store.deliveries("a/engage#repeat/r/1").await.unwrap();
    assert_eq!(records[0].reason.as_deref(), Some("silenced: silence 'works' is in force"));
    settings.send_replace(Arc::default());
    setup.clock.advance(Duration::from_secs(600));
    setup.until_of_r("the next repetition", |stats| stats.delivered == 2).await;
    assert_eq!(setup.seen().len(), 2);
}

#[tokio::test]
async fn what_mutes_an_alert_later_keeps_its_repetitions_back_until_it_ends() {
    let mut setup = Setup::gated("", |_| Ok(()));
    let rule = serde_json::from_value(json!({
        "name": "down", "source": { "types": ["interface_down"] }, "target": { "max_severity": "emergency" },
        "equal": ["interface"],
    }));
    setup.args.follow_ups.rules = Rules::new(&[rule.unwrap()]).unwrap();
    let config = config("repeat_s = 600");
    let _lane = setup.start().await;
    setup.tell(&config, &[alert("a")]).await;
    setup.until_of_r("the beginning", |stats| stats.delivered == 1).await;
    // What the dispatcher does when the interface goes down, and when it comes back.
    let down = Alert { alert_type: "interface_down".to_owned(), ..alert("down") };
    let rules = setup.args.follow_ups.rules.clone();
    let seen = async |action| {
        let alert = Alert { action, ..down.clone() };
        let state = setup.store.notes(inhibit::SCOPE).await.unwrap();
        let mut draft = inhibit::Draft::new(&rules, &state);
        let router = Router::new(&config, tokio::sync::watch::channel(Arc::default()).1);
        let now = setup.clock.now();
        let mut event = router.alert(&serde_json::to_vec(&alert).unwrap(), now).unwrap().remove(0);
        draft.see(&mut event, &alert, &HostPools::default(), now);
        setup.store.note(inhibit::SCOPE, draft.changes()).await.unwrap();
    };
    seen(AlertAction::Engage).await;
    setup.clock.advance(Duration::from_secs(600));
    setup.until_of_r("the mute", |stats| stats.suppressed == 1).await;
    let records = setup.store.deliveries("a/engage#repeat/r/1").await.unwrap();
    assert_eq!(records[0].reason.as_deref(), Some("muted: inhibition 'down' mutes it"));
    seen(AlertAction::Release).await;
    setup.clock.advance(Duration::from_secs(600));
    setup.until_of_r("the next repetition", |stats| stats.delivered == 2).await;
    assert_eq!(setup.seen().len(), 2);
}

#[tokio::test]
async fn what_nobody_acknowledges_is_told_to_another() {
    let setup = Setup::gated("", |_| Ok(()));
    // The lane under test is the other's.
    let config: NotifierConfig = toml::from_str(
        "[[recipient]]\nname = 'first'\nendpoint = 'e'\ngate = { escalate_after_s = 900, escalate_to = 'r' }\n\
         [[recipient]]\nname = 'r'\nendpoint = 'e'\nminimum_severity = 'emergency'\n",
    )
    .unwrap();
    let bus = MemoryBus::new(Default::default());
    let subjects = Subjects::new("t");
    let mut questions = bus.subscribe(&subjects.request_role("aggregator", "acknowledged")).await.unwrap();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let alert: Value = serde_json::from_slice(&question.payload).unwrap();
            question.reply.unwrap().send(json!({ "acknowledged": alert["id"] == "seen" }).to_string());
        }
    });
    let mut setup = setup;
    let followed = setup.args.follow_ups.clone();
    setup.args.follow_ups = FollowUps { bus, subjects, ..followed };
    let _lane = setup.start().await;
    let alerts = ["seen", "unseen", "over"].map(|id| Alert { entity_value: id.to_owned(), ..alert(id) });
    setup.tell(&config, &alerts).await;
    setup.settle_a_while().await;
    assert!(setup.seen().is_empty());
    setup.tell(&config, &[Alert { action: AlertAction::Release, ..alerts[2].clone() }]).await;
    setup.clock.advance(Duration::from_secs(900));
    let stats = setup.until_of_r("the others are spared", |stats| stats.suppressed == 2).await;
    assert_eq!((stats.delivered, stats.pending), (1, 0));
    assert_eq!(setup.seen(), [["unseen/engage#escalation/first/1/r"]]);
    let why = |event: &str| {
        let store = setup.store.clone();
        let event = format!("{event}/engage#escalation/first/1");
        async move { store.deliveries(&event).await.unwrap().remove(0).reason }
    };
    assert_eq!(why("seen").await.as_deref(), Some("it is acknowledged"));
    assert_eq!(why("over").await.as_deref(), Some("it is released"));
}

#[tokio::test]
async fn what_may_have_arrived_is_sent_again_only_where_that_tells_nobody_twice() {
    use crate::endpoint::Repetition::{Harmless, Known, Told};
    for (repetition, retry_unknown, delivered) in
        [(Known, false, true), (Harmless, false, true), (Told, false, false), (Told, true, true)]
    {
        let mut setup = Setup::with(10, 1, |delivery| match delivery.attempts {
            0 => Err(DeliveryError::unknown("no answer")),
            _ => Ok(()),
        });
        let manners = Manners { repetition, ..setup.endpoint.manners() };
        let recipient = format!("name = 'r'\nendpoint = 'e'\nretry_unknown = {retry_unknown}");
        let recipient = toml::from_str(&recipient).unwrap();
        setup.args.policy = Policy::new(&NotifierConfig::default(), manners, Some(&recipient));
        let _lane = setup.start().await;
        setup.owe(&[("a", "a")]).await;
        setup.until("the first try", |stats| stats.attempts == 1).await;
        setup.clock.advance(Duration::from_secs(2));
        let stats = setup.until("an end", |stats| stats.pending == 0).await;
        assert_eq!((stats.delivered, stats.dead), if delivered { (1, 0) } else { (0, 1) });
        let tries = setup.store.deliveries("a").await.unwrap().remove(0).attempts;
        assert_eq!(tries[0].outcome, if delivered { "unknown" } else { "dead" });
        assert!(tries[0].reason.as_deref().unwrap().contains("no answer"));
    }
}
