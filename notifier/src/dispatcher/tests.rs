//! The dispatcher between an in-process bus and a ledger.

use std::sync::atomic::Ordering;

use prost::Message;
use shared::bus::Bus;
use shared::bus::memory::MemoryBus;
use shared::clock::ManualClock;
use shared::model::{Alert, AlertAction, Severity, Timestamp};
use shared::store::Outcome;
use shared::store::sqlite::SqliteStore;
use shared::wire::proto::HttpPost;

use super::*;
use crate::config::NotifierConfig;
use crate::route::Router;
use crate::testing::{Flaky, alert, flow_alert};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

struct Setup {
    bus: Arc<MemoryBus>,
    ledger: Arc<Flaky>,
    actor: ActorRef<DispatcherMessage>,
    subjects: Subjects,
}

fn roster(config: &NotifierConfig) -> LiveRoster {
    let router = Router::new(config, tokio::sync::watch::channel(Arc::default()).1);
    let roster = Roster { recipients: Vec::new(), router, lanes: BTreeMap::new() };
    tokio::sync::watch::channel(Arc::new(roster)).1
}

async fn start(failures: u32) -> Setup {
    let bus = MemoryBus::new(Default::default());
    let store = SqliteStore::in_memory().unwrap();
    let ledger = Arc::new(Flaky { accepts: failures.into(), ..Flaky::new(&store) });
    let config: NotifierConfig = toml::from_str(
        "[[recipient]]\nname = 'flows'\nendpoint = 'e'\nentities = ['flow']\n\
         [[recipient]]\nname = 'grave'\nendpoint = 'e'\nminimum_severity = 'critical'\n\
         [[recipient]]\nname = 'begins'\nendpoint = 'e'\nminimum_severity = 'critical'\nactions = ['engage']\n",
    )
    .unwrap();
    let subjects = Subjects::new("t");
    let args = DispatcherArgs {
        events: shared::events::Emitter::quiet(),
        bus: Arc::clone(&bus) as SharedBus,
        ledger: Arc::clone(&ledger) as Arc<dyn Ledger>,
        clock: ManualClock::new(NOW),
        subjects: subjects.clone(),
        roster: roster(&config),
        rules: Rules::default(),
        batch: 64,
    };
    let (actor, _) = Actor::spawn(None, Dispatcher, args).await.unwrap();
    Setup { bus, ledger, actor, subjects }
}

impl Setup {
    async fn append(&self, id: &str, payload: Vec<u8>) {
        let sample = alert("x");
        let subject = self.subjects.alert("main", sample.entity, sample.severity, sample.action);
        self.bus.append(&subject, id, payload.into()).await.unwrap().stored().await.unwrap();
    }

    async fn append_alert(&self, alert: &Alert) {
        self.append(&alert.transition_id(), serde_json::to_vec(alert).unwrap()).await;
    }

    async fn pending(&self) -> BTreeMap<String, u64> {
        let stats = self.ledger.stats().await.unwrap();
        stats.into_iter().map(|s| (s.recipient, s.pending)).collect()
    }
}

fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test]
async fn an_alert_is_owed_to_whom_it_concerns_once_it_is_acknowledged() {
    let setup = start(0).await;
    setup.append_alert(&alert("a")).await;
    setup.append_alert(&flow_alert("b")).await;
    setup.append_alert(&Alert { severity: Severity::Emergency, ..flow_alert("c") }).await;
    assert_eq!(setup.pending().await, counts(&[("alert_store", 3), ("flows", 2), ("grave", 1)]));
}

#[tokio::test]
async fn a_post_is_owed_to_the_built_in_recipient() {
    let setup = start(0).await;
    let post = HttpPost { id: "p".to_owned(), url: "https://x/".to_owned(), ..HttpPost::default() };
    let receipt =
        setup.bus.append(&setup.subjects.post("main"), "p", post.encode_to_vec().into()).await.unwrap();
    receipt.stored().await.unwrap();
    assert_eq!(setup.pending().await, counts(&[("script_http", 1)]));
}

#[tokio::test]
async fn what_cannot_be_read_is_acknowledged_and_blocks_nobody() {
    let setup = start(0).await;
    for (n, poison) in [&b"{"[..], b"null", b"\xff", b"{\"id\":\"x\"}"].into_iter().enumerate() {
        setup.append(&format!("poison{n}"), poison.to_vec()).await;
    }
    setup.append_alert(&alert("a")).await;
    let is_counted = setup.pending().await;
    assert_eq!(is_counted, counts(&[("alert_store", 2)]), "the alert, and one that tells of all the others");
    assert_eq!(setup.bus.outstanding(), Some(0));
    let owed = setup.ledger.claim("alert_store", "o", NOW, NOW.plus_secs(60), 9, 0).await.unwrap();
    let refused: Alert = serde_json::from_str(&owed[0].payload).unwrap();
    assert_eq!((refused.alert_type.as_str(), refused.entity_value.as_str()), ("message_refused", "ALERT"));
}

#[tokio::test]
async fn a_message_is_acknowledged_only_when_the_ledger_has_it() {
    let setup = start(1).await;
    let sample = alert("a");
    let subject = setup.subjects.alert("main", sample.entity, sample.severity, sample.action);
    let payload = serde_json::to_vec(&sample).unwrap();
    let receipt = setup.bus.append(&subject, "a", payload.into()).await.unwrap();
    crate::testing::eventually("the failure", || async {
        (setup.ledger.accepts.load(Ordering::SeqCst) == 0).then_some(())
    })
    .await;
    assert_eq!(setup.bus.outstanding(), Some(1));
    receipt.stored().await.unwrap();
    assert_eq!(setup.pending().await, counts(&[("alert_store", 1)]));
}

#[tokio::test]
async fn a_dispatcher_that_died_leaves_its_messages_to_the_next() {
    let setup = start(u32::MAX).await;
    let payload = serde_json::to_vec(&alert("a")).unwrap();
    let subject = setup.subjects.alert("main", alert("a").entity, Severity::Error, alert("a").action);
    let receipt = setup.bus.append(&subject, "a", payload.into()).await.unwrap();
    crate::testing::eventually("the first failure", || async {
        (setup.ledger.accepts.load(Ordering::SeqCst) < u32::MAX).then_some(())
    })
    .await;
    setup.actor.kill();
    setup.actor.wait(None).await.unwrap();
    setup.ledger.accepts.store(0, Ordering::SeqCst);
    let args = DispatcherArgs {
        events: shared::events::Emitter::quiet(),
        bus: Arc::clone(&setup.bus) as SharedBus,
        ledger: Arc::clone(&setup.ledger) as Arc<dyn Ledger>,
        clock: ManualClock::new(NOW),
        subjects: setup.subjects.clone(),
        roster: roster(&NotifierConfig::default()),
        rules: Rules::default(),
        batch: 64,
    };
    let _next = Actor::spawn(None, Dispatcher, args).await.unwrap();
    receipt.stored().await.unwrap();
    assert_eq!(setup.pending().await, counts(&[("alert_store", 1)]));
}

#[tokio::test]
async fn who_was_told_of_the_beginning_without_asking_is_told_of_the_end() {
    let setup = start(0).await;
    let store = &setup.ledger.store;
    let dead = || Outcome::Dead { reason: "gone".to_owned() };
    for (id, event, end, told) in [
        ("fallback", "fallback/engage", Some(Outcome::DELIVERED), true),
        ("escalated", "escalated/engage#escalation/o/1", Some(Outcome::DELIVERED), true),
        ("owed", "owed/engage", None, true),
        ("promised", "promised/engage#escalation/o/1", None, false),
        ("dead", "dead/engage", Some(dead()), false),
        ("another", "x/engage", Some(Outcome::DELIVERED), false),
    ] {
        let recipients = vec!["grave".to_owned(), "begins".to_owned()];
        let owed = LedgerEvent {
            id: event.to_owned(),
            kind: EventKind::Alert,
            order_key: event.to_owned(),
            severity: Severity::Error,
            payload: "{}".to_owned(),
            traceparent: None,
            recipients: recipients.clone(),
            config_version: String::new(),
            not_before: None,
            spared: Vec::new(),
        };
        store.accept(vec![owed], NOW, horizon).await.unwrap();
        for (name, end) in recipients.iter().zip([&end, &end]) {
            let Some(end) = end else { continue };
            let claimed = store.claim(name, "o", NOW, NOW.plus_secs(60), 9, 0).await.unwrap();
            let ours = claimed.into_iter().filter(|delivery| delivery.event_id == event);
            store.settle(ours.map(|delivery| (delivery, end.clone())).collect(), NOW).await.unwrap();
            store.release_claims("o").await.unwrap();
        }
        setup.append_alert(&Alert { action: AlertAction::Release, ..alert(id) }).await;
        let made = setup.ledger.deliveries(&format!("{id}/release")).await.unwrap();
        let names: Vec<&str> = made.iter().map(|record| record.recipient.as_str()).collect();
        let expected: &[&str] = if told { &["alert_store", "grave"] } else { &["alert_store"] };
        assert_eq!(names, expected, "{id}; 'begins' asks for beginnings alone");
    }
}

/// Puts a message before the dispatcher as a carrier does that says when it was appended; false when it is
/// given back.
async fn give(setup: &Setup, sequence: u64, alert: &Alert, at: Timestamp) -> bool {
    let (settled, settlement) = oneshot::channel();
    let subject = setup.subjects.alert("main", alert.entity, alert.severity, alert.action);
    let json = serde_json::to_vec(alert).unwrap().into();
    let settle = |settlement| {
        // Whoever waits for it waits to the end.
        let _ = settled.send(settlement);
    };
    let mut message = Queued::new(subject, sequence, 1, Default::default(), json, settle);
    message.at = Some(at);
    let (left, answer) = oneshot::channel();
    let batch = DispatcherMessage::Batch { stream: Stream::Alert, queued: vec![message], left };
    setup.actor.cast(batch).unwrap();
    assert!(answer.await.unwrap().is_empty());
    matches!(settlement.await.unwrap(), Some(shared::bus::Settlement::Ack))
}

#[tokio::test]
async fn an_end_waits_for_its_begin_which_another_notifier_had_in_hand() {
    let setup = start(0).await;
    let begin = Alert { action: AlertAction::Engage, severity: Severity::Critical, ..alert("x") };
    let end = Alert { action: AlertAction::Release, ..begin.clone() };
    assert!(!give(&setup, 2, &end, NOW).await, "the begin is not on record");
    assert!(give(&setup, 1, &begin, NOW).await);
    assert!(give(&setup, 2, &end, NOW).await);
    assert!(!setup.ledger.deliveries(&end.transition_id()).await.unwrap().is_empty());

    // A begin that nobody here was told of is waited for in vain, and not for long.
    let other = Alert { id: "other".to_owned(), ..end };
    assert!(!give(&setup, 3, &other, NOW.plus_secs(-100)).await);
    assert!(give(&setup, 3, &other, NOW.plus_secs(-200)).await);
}
