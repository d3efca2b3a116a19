//! What is promised for later and may not be told when its time has come.

use serde_json::json;
use shared::model::{Alert, AlertAction, HostPools};
use shared::settings::{FileSettings, Settings};

use super::*;
use crate::inhibit;
use crate::route::Router;
use crate::testing::{Flaky, alert};

/// The lane under test is that of whom others escalate to; he wants nothing else.
fn config() -> NotifierConfig {
    toml::from_str(
        "[[recipient]]\nname = 'first'\nendpoint = 'e'\ngate = { escalate_after_s = 900, escalate_to = 'r' }\n\
         [[recipient]]\nname = 'r'\nendpoint = 'e'\nminimum_severity = 'emergency'\n",
    )
    .unwrap()
}

fn escalated(id: &str) -> String {
    format!("{id}/engage#escalation/first/1")
}

impl Setup {
    async fn accept(&self, alerts: &[Alert]) {
        let router = Router::new(&config(), tokio::sync::watch::channel(Arc::default()).1);
        let now = self.clock.now();
        let events = alerts.iter().flat_map(|a| router.alert(&serde_json::to_vec(a).unwrap(), now).unwrap());
        self.store.accept(events.collect(), now, horizon).await.unwrap();
    }

    async fn waits(&self, what: &str, id: &str, reason: &str) {
        eventually(what, || async {
            self.args.handle.wake();
            let record = self.store.deliveries(&escalated(id)).await.unwrap().remove(0);
            assert!(record.state != "suppressed" && record.attempts.is_empty(), "{record:?}");
            (record.reason.as_deref() == Some(reason)).then_some(())
        })
        .await;
    }

    async fn delivered(&self, what: &str, count: u64) {
        eventually(what, || async {
            self.args.handle.wake();
            let stats = self.store.stats().await.unwrap();
            let stats = stats.into_iter().find(|stats| stats.recipient == "r").unwrap();
            (stats.delivered == count && stats.pending == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_escalation_waits_for_the_end_of_a_silence_and_has_all_its_time_then() {
    // It also fails once then, longer after the alert than such a one is tried.
    let mut setup = Setup::new(|delivery| if delivery.attempts == 0 { fails() } else { Ok(()) });
    let works = serde_json::from_value(json!({ "max_severity": "emergency" })).unwrap();
    let silences = std::collections::BTreeMap::from([("works".to_owned(), works)]);
    let file = FileSettings { silences, ..FileSettings::default() };
    let (settings, followed) = tokio::sync::watch::channel(Arc::<Settings>::default());
    setup.args.follow_ups.settings = followed;
    setup.accept(&[alert("a")]).await;
    settings.send_replace(Arc::new(file.with(&[], &Settings::default()).0));
    let _lane = setup.start().await;
    setup.clock.advance(Duration::from_secs(900));
    setup.waits("the silence", "a", "silenced: silence 'works' is in force").await;
    for _ in 0..10 {
        setup.clock.advance(Duration::from_secs(3600));
        setup.settle_down().await;
    }
    assert!(setup.seen().is_empty());
    assert_eq!(settings.borrow().silences.hits().next(), Some(("works", 0)), "looking is no hit");
    settings.send_replace(Arc::default());
    setup.clock.advance(Duration::from_secs(60));
    eventually("the first try", || async {
        setup.args.handle.wake();
        let record = setup.store.deliveries(&escalated("a")).await.unwrap().remove(0);
        record.attempts.first().map(|attempt| assert_eq!(attempt.outcome, "retry"))
    })
    .await;
    setup.clock.advance(Duration::from_secs(1));
    setup.delivered("the escalation", 1).await;
    assert_eq!(setup.seen(), [[format!("{}/r", escalated("a"))], [format!("{}/r", escalated("a"))]]);
}

#[tokio::test]
async fn escalations_that_another_alert_mutes_wait_for_its_end_and_are_looked_at_together() {
    const ALERTS: usize = 100;
    let mut setup = Setup::with(1000, 1, |_| Ok(()));
    let rule = serde_json::from_value(json!({
        "name": "down", "source": { "types": ["interface_down"] }, "target": { "max_severity": "emergency" },
        "equal": ["interface"],
    }));
    let rules = Rules::new(&[rule.unwrap()]).unwrap();
    setup.args.follow_ups.rules = rules.clone();
    let flaky = Flaky::new(&setup.store);
    let ledger = Arc::new(flaky);
    setup.args.ledger = Arc::clone(&ledger) as Arc<dyn Ledger>;
    let ids: Vec<String> = (0..ALERTS).map(|number| format!("a{number}")).collect();
    let alerts: Vec<Alert> = ids.iter().map(|id| Alert { entity_value: id.clone(), ..alert(id) }).collect();
    setup.accept(&alerts).await;
    // What the dispatcher does when the interface goes down, and when it comes back.
    let seen = async |action| {
        let down = Alert { action, alert_type: "interface_down".to_owned(), ..alert("down") };
        let state = setup.store.notes(inhibit::SCOPE).await.unwrap();
        let mut draft = inhibit::Draft::new(&rules, &state);
        let router = Router::new(&config(), tokio::sync::watch::channel(Arc::default()).1);
        let now = setup.clock.now();
        let mut event = router.alert(&serde_json::to_vec(&down).unwrap(), now).unwrap().remove(0);
        draft.see(&mut event, &down, &HostPools::default(), now);
        setup.store.note(inhibit::SCOPE, draft.changes()).await.unwrap();
    };
    seen(AlertAction::Engage).await;
    setup.clock.advance(Duration::from_secs(900));
    let _lane = setup.start().await;
    for id in &ids {
        setup.waits("the mute", id, "muted: inhibition 'down' mutes it").await;
    }
    let noted = ledger.noted.load(Ordering::SeqCst);
    assert!((1..=10).contains(&noted), "{noted} times for {ALERTS} escalations, one claimed at a time");
    seen(AlertAction::Release).await;
    setup.clock.advance(Duration::from_secs(60));
    setup.delivered("all of them", ALERTS as u64).await;
    assert_eq!(setup.seen().len(), ALERTS);
}

/// However much is promised and not to be told: whoever asks a lane to stop, and its own claims, wait no longer
/// than for so many looks, or so much of a claim's time.
#[tokio::test]
async fn a_turn_has_an_end_when_nothing_of_what_was_promised_is_to_be_told() {
    const PROMISED: u64 = 300;
    for (each_takes, looks) in [(0, 256), (1, 16)] {
        let mut setup = Setup::with(10, 1, |_| Ok(()));
        let clock = Arc::clone(&setup.clock);
        let flaky = Arc::new(Flaky {
            on_claim: Box::new(move || clock.advance(Duration::from_secs(each_takes))),
            permits: Semaphore::new(0),
            ..Flaky::new(&setup.store)
        });
        setup.args.ledger = Arc::clone(&flaky) as Arc<dyn Ledger>;
        let begun: Vec<Alert> = (0..PROMISED).map(|n| alert(&n.to_string())).collect();
        setup.accept(&begun).await;
        let over = begun.iter().map(|alert| Alert { action: AlertAction::Release, ..alert.clone() });
        setup.accept(&over.collect::<Vec<_>>()).await;
        setup.clock.advance(Duration::from_secs(900));
        let (lane, handle) = setup.start().await;
        eventually("the first look", || async {
            (!setup.args.handle.woken.load(Ordering::SeqCst)).then_some(())
        })
        .await;
        lane.stop(None);
        flaky.permits.add_permits(1000);
        handle.await.unwrap();
        assert_eq!(flaky.claims.load(Ordering::SeqCst), looks);
        let stats = setup.store.stats().await.unwrap();
        let pending = stats.iter().find(|stats| stats.recipient == "r").unwrap().pending;
        assert_eq!(pending, PROMISED - u64::from(looks), "the rest waits");
    }
}
