//! The whole role: from the bus to a webhook, questions, restarts, stops.

use serde_json::{Value, json};
use shared::bus::Bus;
use shared::bus::memory::MemoryBus;
use shared::clock::SystemClock;
use shared::model::{Alert, Timestamp};
use shared::store::sqlite::SqliteStore;
use shared::store::{EventKind, LedgerEvent};

use super::*;
use crate::testing::{Script, Server, alert, eventually, flow_alert, tls};

struct Setup {
    bus: Arc<MemoryBus>,
    store: SqliteStore,
    deps: NotifierDeps,
}

impl Setup {
    fn new(config: &str) -> Self {
        tls();
        let bus = MemoryBus::new(Default::default());
        let store = SqliteStore::in_memory().unwrap();
        let deps = NotifierDeps {
            bus: Arc::clone(&bus) as SharedBus,
            ledger: Arc::new(store.clone()),
            hooks: Arc::new(store.clone()),
            events: Emitter::quiet(),
            clock: SystemClock::shared(),
            subjects: Subjects::new("t"),
            settings: tokio::sync::watch::channel(Arc::default()).1,
            config: toml::from_str(config).unwrap(),
            site: "main".to_owned(),
            owner: "n1".to_owned(),
        };
        Self { bus, store, deps }
    }

    /// An aggregator that stores whatever it is asked to.
    async fn aggregator(&self) {
        let subject = self.deps.subjects.request_role("aggregator", "store_alerts");
        let mut questions = self.bus.subscribe(&subject).await.unwrap();
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                let alerts: Vec<Alert> = serde_json::from_slice(&question.payload).unwrap();
                question.reply.unwrap().send(json!({ "stored": alerts.len() }).to_string());
            }
        });
    }

    async fn append(&self, alert: &Alert) {
        let subject = self.deps.subjects.alert("main", alert.entity, alert.severity, alert.action);
        let payload = serde_json::to_vec(alert).unwrap();
        let receipt = self.bus.append(&subject, &alert.transition_id(), payload.into()).await.unwrap();
        receipt.stored().await.unwrap();
    }

    async fn ask(&self, verb: &str, question: impl Into<Vec<u8>>) -> Value {
        let subject = self.deps.subjects.request_role("notifier", verb);
        let question: Vec<u8> = question.into();
        let answer = self.bus.request(&subject, question.into(), Duration::from_secs(20)).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn drained(&self) {
        eventually("nothing is owed", || async {
            (self.store.outstanding().await.unwrap() == 0).then_some(())
        })
        .await;
    }
}

fn webhook(server: &Server) -> String {
    format!(
        "allow_private_targets = true\nretry = {{ base_ms = 10, cap_ms = 50 }}\n\
         [[endpoint]]\nname = 'hook'\nkind = 'webhook'\nparams = {{ url = '{}' }}\n\
         [[recipient]]\nname = 'ops'\nendpoint = 'hook'\n\
         [[recipient]]\nname = 'off'\nendpoint = 'hook'\nenabled = false\n",
        server.url("/in?token=hunter2")
    )
}

#[tokio::test]
async fn alerts_go_from_the_bus_to_the_webhook_and_the_history() {
    // Fails at first in every way there is.
    let server = Server::start(|n, _| match n {
        0 => Script::Answer(503, ""),
        1 => Script::HalfAnswer,
        2 => Script::Answer(429, "retry-after: 0\r\n"),
        3 => Script::Close,
        _ => Script::Answer(200, ""),
    })
    .await;
    let setup = Setup::new(&webhook(&server));
    setup.aggregator().await;
    let (actor, handle) = spawn(setup.deps.clone()).await.unwrap();
    setup.append(&alert("a")).await;
    setup.append(&flow_alert("b")).await;
    setup.drained().await;
    let stats = setup.store.stats().await.unwrap();
    let delivered: Vec<_> = stats.iter().map(|s| (s.recipient.as_str(), s.delivered, s.dead)).collect();
    assert_eq!(delivered, [("alert_store", 2, 0), ("ops", 2, 0)]);
    let tries: Vec<String> = server
        .requests()
        .iter()
        .flat_map(|r| r.json()["alerts"].as_array().unwrap().clone())
        .map(|a| a["idempotency_key"].as_str().unwrap().to_owned())
        .collect();
    assert!(tries.iter().filter(|key| *key == "a/engage/ops").count() >= 2, "{tries:?}");
    actor.stop(None);
    handle.await.unwrap();
}

#[tokio::test]
async fn questions_are_answered() {
    let server = Server::start(|_, request| match request.json()["alerts"].as_array().unwrap().is_empty() {
        true => Script::Answer(204, ""),
        false => Script::Answer(403, ""),
    })
    .await;
    let setup = Setup::new(&webhook(&server));
    setup.aggregator().await;
    let _running = spawn(setup.deps.clone()).await.unwrap();

    let recipients = setup.ask("recipients", "").await;
    let names: Vec<&str> =
        recipients.as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["alert_store", "script_http", "ops", "off"]);
    assert_eq!((&recipients[0]["builtin"], &recipients[3]["enabled"]), (&json!(true), &json!(false)));
    assert_eq!((&recipients[2]["kind"], &recipients[2]["breaker"]), (&json!("webhook"), &json!("closed")));

    for name in ["alert_store", "script_http", "ops"] {
        let answer = setup.ask("test", json!({ "recipient": name }).to_string()).await;
        assert_eq!(answer["ok"], true, "{name}: {answer}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }

    let question = json!({ "alert": alert("a"), "recipient": "off" }).to_string();
    let verdict = setup.ask("explain", question).await;
    assert_eq!((&verdict["passes"], &verdict["reasons"][0]["criterion"]), (&json!(false), &json!("enabled")));

    setup.append(&alert("a")).await;
    setup.drained().await;
    let letters = setup.ask("dead_letters", "").await;
    assert_eq!((&letters[0]["recipient"], &letters[0]["reason"]), (&json!("ops"), &json!("answered 403")));
    assert_eq!(setup.ask("dead_letters", "{\"recipient\":\"alert_store\"}").await, json!([]));
    let before = server.requests().len();
    assert_eq!(setup.ask("replay_dead", "{\"recipient\":\"ops\"}").await, json!({ "replayed": 1 }));
    server.wait_for(before + 1).await;
    setup.drained().await;
}

#[tokio::test]
async fn hostile_questions_get_an_error() {
    let server = Server::ok().await;
    let setup = Setup::new(&webhook(&server));
    let _running = spawn(setup.deps.clone()).await.unwrap();
    for (verb, question, code) in [
        ("test", "", "bad_request"),
        ("test", "[]", "bad_request"),
        ("test", "{\"recipient\":7}", "bad_request"),
        ("test", "{\"recipient\":\"nobody\\n\"}", "not_found"),
        ("explain", "{\"recipient\":\"ops\"}", "bad_request"),
        ("explain", "\u{0}", "bad_request"),
        ("dead_letters", "{\"limit\":-1}", "bad_request"),
        ("replay_dead", "{\"recipient\":\"nobody\"}", "not_found"),
    ] {
        let answer = setup.ask(verb, question).await;
        assert_eq!(answer["error"]["code"], code, "{verb} {question}: {answer}");
        assert!(answer["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn what_is_owed_to_a_recipient_that_is_gone_becomes_dead_letters() {
    let server = Server::ok().await;
    let setup = Setup::new(&webhook(&server));
    let event = LedgerEvent {
        id: "e".to_owned(),
        kind: EventKind::Alert,
        order_key: "k".to_owned(),
        severity: shared::model::Severity::Error,
        payload: "{}".to_owned(),
        traceparent: None,
        recipients: vec!["gone".to_owned(), "off".to_owned()],
        config_version: String::new(),
    };
    let now = setup.deps.clock.now();
    setup.store.accept(vec![event], now, crate::lane::horizon).await.unwrap();
    let _running = spawn(setup.deps.clone()).await.unwrap();
    setup.drained().await;
    let letters = setup.store.dead_letters(None, 10).await.unwrap();
    let mut reasons: Vec<_> = letters.iter().map(|l| (l.recipient.as_str(), l.reason.as_str())).collect();
    reasons.sort_unstable();
    let expected =
        [("gone", "the recipient is not configured any more"), ("off", "the recipient is disabled")];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn a_stop_leaves_undelivered_alerts_to_the_next_start() {
    let server =
        Server::start(|n, _| if n == 0 { Script::Answer(503, "") } else { Script::Answer(200, "") }).await;
    let setup = Setup::new(&webhook(&server));
    let (actor, handle) = spawn(setup.deps.clone()).await.unwrap();
    setup.append(&alert("a")).await;
    server.wait_for(1).await;
    actor.stop(None);
    handle.await.unwrap();
    assert!(setup.store.outstanding().await.unwrap() > 0, "the history was not there to take it");
    setup.aggregator().await;
    let _running = spawn(setup.deps.clone()).await.unwrap();
    setup.drained().await;
}

#[tokio::test]
async fn a_wrong_configuration_is_told() {
    let setup = Setup::new("[[recipient]]\nname = 'x'\nendpoint = 'nowhere'\n");
    let error = spawn(setup.deps).await.unwrap_err().to_string();
    assert!(error.contains("notifier.recipient[0] 'x': unknown endpoint 'nowhere'"), "{error}");
}

/// A clock that makes whoever asks it panic, so many times.
struct BreakableClock(SharedClock, std::sync::atomic::AtomicU32);

impl shared::clock::Clock for BreakableClock {
    fn now(&self) -> Timestamp {
        use std::sync::atomic::Ordering;
        let left = self.1.load(Ordering::SeqCst);
        if left > 0 {
            self.1.store(left - 1, Ordering::SeqCst);
            panic!("the clock is broken");
        }
        self.0.now()
    }
}

async fn with_panics(panics: u32) -> (Setup, ActorRef<NotifierMessage>, JoinHandle<()>) {
    let setup = Setup::new("");
    setup.aggregator().await;
    let mut plan = Plan::new(setup.deps.clone()).await.unwrap();
    let clock = BreakableClock(Arc::clone(&setup.deps.clock), panics.into());
    plan.lanes.get_mut(ALERT_STORE).unwrap().clock = Arc::new(clock);
    plan.restarts = RestartPolicy {
        max_failures: 3,
        backoff: shared::backoff::Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(1) },
        ..RestartPolicy::default()
    };
    let (actor, handle) = Actor::spawn(None, NotifierSupervisor, plan).await.unwrap();
    (setup, actor, handle)
}

#[tokio::test]
async fn a_lane_that_fails_is_started_again_and_loses_nothing() {
    let (setup, actor, handle) = with_panics(3).await;
    setup.append(&alert("a")).await;
    setup.drained().await;
    assert_eq!(setup.store.stats().await.unwrap()[0].delivered, 1);
    actor.stop(None);
    handle.await.unwrap();
}

#[tokio::test]
async fn a_lane_that_fails_again_and_again_ends_the_role() {
    let (_setup, actor, handle) = with_panics(u32::MAX).await;
    tokio::time::timeout(Duration::from_secs(20), handle).await.unwrap().unwrap();
    assert_eq!(actor.get_status(), ractor::ActorStatus::Stopped);
}
