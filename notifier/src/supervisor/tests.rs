//! The whole role: from the bus to a webhook, questions, restarts, stops.

use serde_json::{Value, json};
use shared::bus::Bus;
use shared::bus::memory::MemoryBus;
use shared::clock::SystemClock;
use shared::model::{Alert, Timestamp};
use shared::settings::Settings;
use shared::store::sqlite::SqliteStore;
use shared::store::{EventKind, LedgerEvent, Store, StoreHealth};
use shared::supervise::RestartPolicy;

use super::*;
use crate::route::ALERT_STORE;
use crate::testing::{Script, Server, alert, eventually, flow_alert, tls};

mod troubles;

struct Setup {
    bus: Arc<MemoryBus>,
    store: SqliteStore,
    settings: tokio::sync::watch::Sender<Arc<Settings>>,
    deps: NotifierDeps,
}

impl Setup {
    fn new(config: &str) -> Self {
        tls();
        let bus = MemoryBus::new(Default::default());
        let store = SqliteStore::in_memory().unwrap();
        let known = Settings { edits_known: true, ..Settings::default() };
        let settings = tokio::sync::watch::channel(Arc::new(known)).0;
        let deps = NotifierDeps {
            bus: Arc::clone(&bus) as SharedBus,
            ledger: Arc::new(store.clone()),
            hooks: Arc::new(store.clone()),
            events: Emitter::quiet(),
            clock: SystemClock::shared(),
            subjects: Subjects::new("t"),
            settings: settings.subscribe(),
            sealer: Arc::new(Sealer::of_nobody().unwrap()),
            config: toml::from_str(config).unwrap(),
            site: "main".to_owned(),
            owner: "n1".to_owned(),
            instance: String::new(),
        };
        Self { bus, store, settings, deps }
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
async fn what_a_later_collector_tells_reaches_the_endpoint() {
    let server = Server::start(|_, _| Script::Answer(200, "")).await;
    let setup = Setup::new(&webhook(&server));
    setup.aggregator().await;
    let (actor, handle) = spawn(setup.deps.clone()).await.unwrap();
    let mut later = flow_alert("later");
    later.other.insert("tenant".to_owned(), json!({ "name": "x" }));
    later.client.as_mut().unwrap().other.insert("owner".to_owned(), json!(7));
    setup.append(&later).await;
    setup.drained().await;
    let told = &server.requests()[0].json()["alerts"][0];
    assert_eq!((&told["tenant"]["name"], &told["client"]["owner"]), (&json!("x"), &json!(7)), "{told}");
    assert_eq!(told["client"]["pool"], "default", "what this one knows is filled in");
    actor.stop(None);
    handle.await.unwrap();
}

#[tokio::test]
async fn questions_are_answered() {
    let server = Server::start(|_, request| match request.json()["alerts"].as_array().unwrap().is_empty() {
        true => Script::Answer(204, ""),
        false => Script::Answer(400, ""),
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

    let kinds = setup.ask("kinds", "").await;
    let names: Vec<&str> = kinds.as_array().unwrap().iter().map(|k| k["kind"].as_str().unwrap()).collect();
    assert_eq!(names, crate::endpoint::configurable_kinds());
    let kind = setup.ask("kinds", "{\"kind\":\"slack\"}").await;
    let secret = &kind[0]["schema"]["properties"]["endpoint"]["properties"]["webhook_url"];
    assert!(secret.to_string().contains("\"writeOnly\":true"), "{kind}");
    assert_eq!(kind[0]["documentation"], "docs/endpoints.md#slack");

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
    assert_eq!((&letters[0]["recipient"], &letters[0]["reason"]), (&json!("ops"), &json!("answered 400")));
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
        ("kinds", "{\"kind\":\"alert_store\"}", "not_found"),
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
        not_before: None,
        spared: Vec::new(),
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

/// Edits, by which endpoints and recipients change while everything runs.
impl Setup {
    fn edit(&self, endpoints: &[(&str, String)], recipients: &[(&str, Value)]) {
        let webhook = |url: &String| json!({ "kind": "webhook", "params": { "url": url } });
        let named = |name: &str, mut value: Value| {
            value["name"] = json!(name);
            (name.to_owned(), value)
        };
        let settings = Settings {
            edits_known: true,
            endpoints: endpoints.iter().map(|(name, url)| named(name, webhook(url))).collect(),
            recipients: recipients.iter().map(|(name, value)| named(name, value.clone())).collect(),
            ..Settings::default()
        };
        self.settings.send_replace(Arc::new(settings));
    }

    async fn knows(&self, names: &[&str]) {
        eventually("the recipients in force", || async {
            let known = self.ask("recipients", "").await;
            let known: Vec<&str> =
                known.as_array()?.iter().skip(2).map(|r| r["name"].as_str().unwrap()).collect();
            (known == names).then_some(())
        })
        .await;
    }
}

const PRIVATE: &str = "allow_private_targets = true\nretry = { base_ms = 10, cap_ms = 50 }\n";

#[tokio::test]
async fn recipients_are_added_changed_and_removed_while_everything_runs() {
    let (first, second) = (Server::ok().await, Server::ok().await);
    let setup = Setup::new(PRIVATE);
    setup.aggregator().await;
    let (actor, handle) = spawn(setup.deps.clone()).await.unwrap();
    setup.knows(&[]).await;

    setup.edit(&[("hook", first.url("/in"))], &[("ops", json!({ "endpoint": "hook" }))]);
    setup.knows(&["ops"]).await;
    assert_eq!(setup.ask("test", "{\"recipient\":\"ops\"}").await["ok"], true);
    setup.append(&alert("a")).await;
    first.wait_for(2).await;

    // The endpoint is another, and so is the lane.
    setup.edit(&[("hook", second.url("/in"))], &[("ops", json!({ "endpoint": "hook" }))]);
    eventually("the test to go there", || async {
        setup.ask("test", "{\"recipient\":\"ops\"}").await["detail"]
            .as_str()?
            .contains(&second.url("/in"))
            .then_some(())
    })
    .await;
    let before = second.requests().len();
    setup.append(&alert("b")).await;
    second.wait_for(before + 1).await;
    assert!(second.requests()[before].json()["alerts"][0]["id"] == "b");

    // What is wrong is left out, and everybody else goes on.
    setup.edit(
        &[("hook", second.url("/in"))],
        &[("ops", json!({ "endpoint": "hook" })), ("odd", json!({ "endpoint": "x" }))],
    );
    setup.knows(&["ops"]).await;
    setup.edit(&[], &[]);
    setup.knows(&[]).await;
    setup.append(&alert("c")).await;
    setup.drained().await;
    let stats = setup.store.stats().await.unwrap();
    let delivered: Vec<_> = stats.iter().map(|s| (s.recipient.as_str(), s.delivered, s.dead)).collect();
    assert_eq!(delivered, [("alert_store", 3, 0), ("ops", 2, 0)]);
    assert_eq!(setup.store.audit(setup.deps.clock.now()).await.unwrap(), LedgerAudit::default());
    actor.stop(None);
    handle.await.unwrap();
}

#[tokio::test]
async fn what_a_removed_recipient_is_owed_is_given_up_or_moved() {
    let (dead, alive) = (Server::start(|_, _| Script::Answer(503, "")).await, Server::ok().await);
    let setup = Setup::new(PRIVATE);
    setup.aggregator().await;
    let _running = spawn(setup.deps.clone()).await.unwrap();
    let endpoints = [("dead", dead.url("/")), ("alive", alive.url("/"))];
    let to = |endpoint: &str| json!({ "endpoint": endpoint, "checks": [endpoint] });
    let all = [("a", to("dead")), ("b", to("dead")), ("c", to("alive"))];
    setup.edit(&endpoints, &all);
    setup.knows(&["a", "b", "c"]).await;
    setup.append(&Alert { alert_type: "dead".to_owned(), ..alert("x") }).await;
    dead.wait_for(2).await;

    // To move is asked for before the recipient goes.
    let documents = |recipients: &[&str]| -> Value {
        let document = |kind: &str, name: &str, value: Value| json!({ "kind": kind, "name": name, "value": value, "revision": 1, "by": "", "at": "1970-01-01T00:00:00Z" });
        let endpoints = endpoints.iter().map(|(name, url)| {
            document("endpoints", name, json!({ "kind": "webhook", "params": { "url": url } }))
        });
        let recipients = all.iter().filter(|(name, _)| recipients.contains(name));
        let recipients = recipients.map(|(name, value)| document("recipients", name, value.clone()));
        endpoints.chain(recipients).collect()
    };
    let question = |to: &str| json!({ "before": documents(&["a", "b", "c"]), "after": documents(&["b", "c"]), "move": { "from": "a", "to": to } });
    let refused = setup.ask("check_settings", question("nobody").to_string()).await;
    assert!(refused["wrong"][0].as_str().unwrap().contains("'nobody'"), "{refused}");
    assert_eq!(setup.ask("check_settings", question("c").to_string()).await, json!({ "wrong": [] }));
    setup.edit(&endpoints, &all[2..]);
    alive.wait_for(1).await;
    setup.drained().await;
    let letters = setup.store.dead_letters(None, 10).await.unwrap();
    let mut reasons: Vec<_> = letters.iter().map(|l| (l.recipient.as_str(), l.reason.as_str())).collect();
    reasons.sort_unstable();
    let gone = "the recipient is not configured any more";
    assert_eq!(reasons, [("a", gone), ("b", gone)]);
    assert_eq!(alive.requests().len(), 1, "that of a, not that of b");
}

#[tokio::test]
async fn what_was_edited_is_remembered_while_nobody_can_be_asked() {
    let server = Server::ok().await;
    let setup = Setup::new(PRIVATE);
    setup.aggregator().await;
    let (actor, handle) = spawn(setup.deps.clone()).await.unwrap();
    setup.edit(&[("hook", server.url("/in"))], &[("ops", json!({ "endpoint": "hook" }))]);
    setup.knows(&["ops"]).await;
    actor.stop(None);
    handle.await.unwrap();
    setup.settings.send_replace(Arc::default());
    let _running = spawn(setup.deps.clone()).await.unwrap();
    setup.append(&alert("a")).await;
    server.wait_for(1).await;
    setup.drained().await;
}

#[tokio::test]
async fn explain_says_that_a_recipient_would_be_chosen_now_and_was_not_then() {
    let server = Server::ok().await;
    let setup = Setup::new(PRIVATE);
    setup.aggregator().await;
    let _running = spawn(setup.deps.clone()).await.unwrap();
    let recipient = |least: &str| json!({ "endpoint": "hook", "minimum_severity": least });
    setup.edit(&[("hook", server.url("/in"))], &[("ops", recipient("emergency"))]);
    setup.knows(&["ops"]).await;
    setup.append(&alert("a")).await;
    let event = json!({ "event": alert("a").transition_id() }).to_string();
    eventually("the decision", || async {
        let made = setup.ask("deliveries", event.clone()).await;
        made.as_array().is_some_and(|made| !made.is_empty()).then_some(())
    })
    .await;
    let question = json!({ "alert": alert("a"), "recipient": "ops" }).to_string();
    let verdict = setup.ask("explain", question.clone()).await;
    assert_eq!((&verdict["passes"], &verdict["configuration"]), (&json!(false), &Value::Null), "{verdict}");
    setup.edit(&[("hook", server.url("/in"))], &[("ops", recipient("debug"))]);
    let verdict = eventually("the edit", || async {
        let verdict = setup.ask("explain", question.clone()).await;
        (verdict["passes"] == true).then_some(verdict)
    })
    .await;
    assert!(verdict["delivery"].is_null(), "{verdict}");
    let configuration = verdict["configuration"].as_str().unwrap();
    assert!(configuration.contains("it was not chosen then"), "{configuration}");
}

#[tokio::test]
async fn what_is_muted_is_told_when_it_is_muted_no_more_also_over_a_restart() {
    let server = Server::ok().await;
    let rule = "[[inhibition]]\nname = 'down'\nsource = { types = ['interface_down'] }\n\
                until = { types = ['interface_up'] }\ntarget = { types = ['threshold_cross'] }\nequal = ['interface']\n";
    let setup = Setup::new(&format!("{}{rule}", webhook(&server)));
    setup.aggregator().await;
    let (actor, handle) = spawn(setup.deps.clone()).await.unwrap();
    let of_type = |id: &str, alert_type: &str| Alert { alert_type: alert_type.to_owned(), ..alert(id) };
    setup.append(&of_type("down", "interface_down")).await;
    setup.append(&alert("a")).await;
    setup.drained().await;
    let told = || -> Vec<String> {
        let alerts = |request: &crate::testing::Request| request.json()["alerts"].as_array().unwrap().clone();
        server.requests().iter().flat_map(alerts).map(|a| a["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(told(), ["down"]);
    let question = json!({ "alert": alert("a"), "recipient": "ops" }).to_string();
    let verdict = setup.ask("explain", question).await;
    assert_eq!(
        (&verdict["passes"], &verdict["reasons"][0]["criterion"]),
        (&json!(false), &json!("inhibition"))
    );
    actor.stop(None);
    handle.await.unwrap();
    let _running = spawn(setup.deps.clone()).await.unwrap();
    setup.append(&of_type("up", "interface_up")).await;
    setup.drained().await;
    let mut all = told();
    all.sort();
    assert_eq!(all, ["a", "down", "up"]);
}

/// A file system of its own that is taken away at the end; `None`, said loudly, where none may be made.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(bytes: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(dir.path())
            .output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "no file system may be mounted, and in CI nothing is skipped"
        );
        eprintln!("SKIPPED: a small file system can be mounted by root alone");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_the_producers_and_what_they_hold_arrives_when_there_is_room_again() {
    let Some(disk) = SmallDisk::new("8m") else { return };
    let server = Server::ok().await;
    let mut setup = Setup::new(&webhook(&server));
    setup.store = SqliteStore::open(disk.0.path()).unwrap();
    setup.deps.ledger = Arc::new(setup.store.clone());
    setup.aggregator().await;
    let (actor, handle) = spawn(setup.deps.clone()).await.unwrap();
    setup.append(&alert("before")).await;
    setup.drained().await;
    let ballast = disk.0.path().join("ballast");
    let fill = || {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&ballast).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    };
    fill();
    // Alerts that are larger than what may be left of a page.
    let large = |n: usize| Alert {
        message: "x".repeat(100_000),
        entity_value: n.to_string(),
        ..alert(&n.to_string())
    };
    let mut receipts = Vec::new();
    for n in 0..20 {
        let alert = large(n);
        let subject = setup.deps.subjects.alert("main", alert.entity, alert.severity, alert.action);
        let payload = serde_json::to_vec(&alert).unwrap();
        receipts.push(setup.bus.append(&subject, &alert.transition_id(), payload.into()).await.unwrap());
    }
    // Nothing of it is accepted: whoever waits for a receipt waits on.
    let last = receipts.pop().unwrap();
    let mut last = Box::pin(last.stored());
    assert!(tokio::time::timeout(Duration::from_millis(1500), &mut last).await.is_err(), "the disk is full");
    assert_eq!(setup.bus.outstanding(), Some(20), "the bus still has them all");
    let health = setup.store.health().unwrap();
    assert!(matches!(&*health.borrow(), StoreHealth::Failing(cause) if cause.contains("full")), "{health:?}");
    std::fs::remove_file(&ballast).unwrap();
    tokio::time::timeout(Duration::from_secs(20), last).await.expect("there is room again").unwrap();
    for receipt in receipts {
        receipt.stored().await.unwrap();
    }
    setup.drained().await;
    assert_eq!(*health.borrow(), StoreHealth::Working);
    let told: HashSet<String> = server
        .requests()
        .iter()
        .flat_map(|request| request.json()["alerts"].as_array().unwrap().clone())
        .map(|alert| alert["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told.len(), 21);
    assert_eq!(setup.store.audit(setup.deps.clock.now()).await.unwrap(), LedgerAudit::default());
    actor.stop(None);
    handle.await.unwrap();
    setup.store.close().await;
}
