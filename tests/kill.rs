//! kill -9: what was accepted arrives, with the same key, however often the process dies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::model::query::AlertQuery;
use shared::store::sqlite::SqliteStore;
use shared::store::{AlertStore, Ledger, Store};

use crate::support::http::{Recorder, ask};
use crate::support::program::{Running, Setup, flowhook};
use crate::support::{free_port, wait_for};

const ALERTS: usize = 1000;

/// Transitions in the alert history; nothing may be owed any more.
pub fn accepted(dir: &std::path::Path) -> BTreeSet<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(dir).unwrap();
        let mut ids = BTreeSet::new();
        let mut before_row = None;
        loop {
            let query = AlertQuery { limit: 1000, before_row, ..AlertQuery::default() };
            let page = store.history(query).await.unwrap();
            ids.extend(page.items.iter().map(|a| a.alert.transition_id()));
            match page.items.last() {
                Some(last) if page.next.is_some() => before_row = Some(last.row),
                _ => break,
            }
        }
        assert_eq!(store.outstanding().await.unwrap(), 0, "nothing is owed any more");
        store.close().await;
        ids
    })
}

/// Alerts in all requests, those that come again included.
fn received(recorder: &Recorder) -> usize {
    recorder.requests().iter().map(|r| r.json()["alerts"].as_array().unwrap().len()).sum()
}

/// Keys of each transition that was received.
pub fn delivered(recorder: &Recorder) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in recorder.requests() {
        for alert in request.json()["alerts"].as_array().unwrap() {
            let id = format!("{}/{}", alert["id"].as_str().unwrap(), alert["action"].as_str().unwrap());
            let key = alert["idempotency_key"].as_str().unwrap().to_owned();
            keys.entry(id).or_default().insert(key);
        }
    }
    keys
}

/// Waits until nothing is owed.
pub fn nothing_owed(port: u16) {
    wait_for("an empty ledger", 60, || {
        let (_, body) = ask("GET", &format!("http://127.0.0.1:{port}/api/v1/recipients"))?;
        let body: Value = serde_json::from_str(&body).ok()?;
        let owed = body["items"].as_array()?.iter().map(|r| r["stats"]["pending"].as_u64().unwrap_or(0));
        (owed.sum::<u64>() == 0).then_some(())
    });
    // What must not be in a ledger is looked for as soon as the process runs, and counted for all to see.
    let found = wait_for("a look through the ledger", 30, || {
        let (_, metrics) = ask("GET", &format!("http://127.0.0.1:{port}/metrics"))?;
        let counts = metrics.lines().filter(|line| line.starts_with("flowhook_notifier_ledger_unsound{"));
        let counts: Vec<String> = counts.map(str::to_owned).collect();
        (!counts.is_empty()).then_some(counts)
    });
    assert!(found.len() == 5 && found.iter().all(|count| count.ends_with(" 0")), "{found:?}");
}

/// A node whose alerts come over NATS and go to `recorder`; `more` is added to its recipient.
pub fn setup(nats: &str, port: u16, recorder: &Recorder, more: &str) -> Setup {
    Setup::new(&format!(
        r#"
[node]
name = "n1"
state_dir = "{{dir}}/state"
[bus]
kind = "nats"
prefix = "kill"
[bus.nats]
servers = ["{nats}"]
[aggregator.api]
listen = "127.0.0.1:{port}"
[notifier]
allow_private_targets = true
[notifier.retry]
base_ms = 20
cap_ms = 200
[[notifier.endpoint]]
name = "hook"
kind = "webhook"
params = {{ url = "{url}/in" }}
[[notifier.recipient]]
name = "all"
endpoint = "hook"
{more}
"#,
        url = recorder.url(),
    ))
}

#[test]
fn a_thousand_accepted_alerts_survive_kill_9_at_random_moments() {
    // A receiver that fails now and then, so that the process dies with retries under way too.
    let recorder = Recorder::answering(|number, _| if number % 7 == 3 { 503 } else { 200 });
    let port = free_port();
    let Some(nats) = crate::cluster::nats_server("kill") else { return };
    let setup = setup(&nats.url, port, &recorder, "");
    let start = || Running::start(flowhook(&["run", "-c", &setup.config()]), &setup.path("log"));
    let health = format!("http://127.0.0.1:{port}/api/v1/health");
    let up = || ask("GET", &health).filter(|(status, _)| *status == 200);

    let mut running = start();
    wait_for("the API", 30, up);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bus = runtime.block_on(crate::cluster::connect(&nats.url, "kill"));
    let publisher = std::thread::spawn(move || {
        runtime.block_on(async {
            for number in 0..ALERTS {
                let alert = crate::cluster::alert(number);
                let subject = shared::wire::subject::Subjects::new("kill").alert(
                    &alert.site,
                    alert.entity,
                    alert.severity,
                    alert.action,
                );
                let json = serde_json::to_vec(&alert).unwrap();
                let receipt = bus.append(&subject, &alert.transition_id(), json.into()).await.unwrap();
                receipt.stored().await.unwrap();
            }
        });
    });

    // Moments that differ from run to run: after so many deliveries, wherever the rest then stands.
    let mut seed = std::process::id();
    for round in 1..=5 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let seen = (ALERTS / 8) * round + (seed >> 16) as usize % (ALERTS / 10);
        wait_for("deliveries before a kill", 60, || (received(&recorder) >= seen).then_some(()));
        running.kill();
        running = start();
        wait_for("the API after a kill", 30, up);
    }
    publisher.join().unwrap();

    let expected: BTreeSet<String> = (0..ALERTS).map(|n| crate::cluster::alert(n).transition_id()).collect();
    let delivered = || delivered(&recorder);
    wait_for("every alert at the webhook", 120, || (delivered().len() >= ALERTS).then_some(()));
    nothing_owed(port);
    assert_eq!(running.terminate(), Some(0));

    let delivered = delivered();
    assert_eq!(delivered.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (id, keys) in &delivered {
        assert_eq!(keys.len(), 1, "{id} came with different keys: {keys:?}");
    }
    assert_eq!(accepted(&setup.path("state")), expected, "and every one is in the history");
}

/// An alert that is like no other one.
pub fn unlike(number: usize) -> shared::model::Alert {
    shared::model::Alert { entity_value: format!("host{number}"), ..crate::cluster::alert(number) }
}

/// Dies at each point in turn, the third time that it gets there, with alerts coming in all the while.
#[test]
fn nothing_gets_lost_at_any_failpoint() {
    use std::os::unix::process::ExitStatusExt;
    const EACH: usize = 30;
    let recorder = Recorder::start();
    let port = free_port();
    let Some(nats) = crate::cluster::nats_server("failpoints") else { return };
    let gate = "gate = { duplicate_window_s = 1 }";
    let setup = setup(&nats.url, port, &recorder, gate);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = |point: Option<&str>| {
        let mut command = flowhook(&["run", "-c", &setup.config()]);
        if let Some(point) = point {
            command.env(notifier::failpoint::VARIABLE, format!("{point}:3"));
        }
        Running::start(command, &setup.path("log"))
    };
    // The streams are made by the first node.
    let health = format!("http://127.0.0.1:{port}/api/v1/health");
    let up = || ask("GET", &health).filter(|(status, _)| *status == 200);
    let mut first = start(None);
    wait_for("the API", 30, up);
    assert_eq!(first.terminate(), Some(0));
    let mut published = 0;
    let mut publish = || {
        let bus = runtime.block_on(crate::cluster::connect(&nats.url, "kill"));
        for number in published..published + EACH {
            let alert = unlike(number);
            let subject = shared::wire::subject::Subjects::new("kill");
            let subject = subject.alert(&alert.site, alert.entity, alert.severity, alert.action);
            let json = serde_json::to_vec(&alert).unwrap();
            runtime.block_on(async {
                let receipt = bus.append(&subject, &alert.transition_id(), json.into()).await.unwrap();
                receipt.stored().await.unwrap();
            });
        }
        published += EACH;
    };
    for point in notifier::failpoint::ALL {
        let mut running = start(Some(point));
        publish();
        let status = wait_for(point, 60, || {
            // Batches differ in size: more alerts come until the point is reached often enough.
            let status = running.0.try_wait().unwrap();
            if status.is_none() {
                publish();
            }
            status
        });
        assert_eq!(status.signal(), Some(9), "{point}: {status}");
    }
    let mut last = start(None);
    wait_for("the API", 30, up);
    wait_for("every alert at the webhook", 120, || (delivered(&recorder).len() >= published).then_some(()));
    nothing_owed(port);
    assert_eq!(last.terminate(), Some(0));
    let expected: BTreeSet<String> = (0..published).map(|n| unlike(n).transition_id()).collect();
    let delivered = delivered(&recorder);
    assert_eq!(delivered.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (id, keys) in &delivered {
        assert_eq!(keys.len(), 1, "{id} came with different keys: {keys:?}");
    }
    assert_eq!(accepted(&setup.path("state")), expected, "and every one is in the history");
}

/// A chat has taken the message of a beginning, and the process dies before it has noted which: the beginning
/// is told again, as what may be a duplicate, and the end is written into the message that is known then.
#[test]
fn an_end_is_written_into_a_message_that_is_known_also_when_a_kill_has_lost_another() {
    use std::os::unix::process::ExitStatusExt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use shared::model::{Alert, AlertAction};
    let told = AtomicUsize::new(0);
    let chat = Recorder::answering_with(move |request| match request.method.as_str() {
        "POST" if told.fetch_add(1, Ordering::SeqCst) == 0 => (200, "{\"id\":\"lost\"}"),
        "POST" => (200, "{\"id\":\"known\"}"),
        _ => (200, "{}"),
    });
    let (recorder, port) = (Recorder::start(), free_port());
    let Some(nats) = crate::cluster::nats_server("messages") else { return };
    let talk = format!(
        "[[notifier.endpoint]]\nname = 'chat'\nkind = 'discord'\nparams = {{ webhook_url = '{}/hooks/1/hunter2' }}\n\
         [[notifier.recipient]]\nname = 'talk'\nendpoint = 'chat'\nparams = {{ edit_in_place = true }}\n",
        chat.url()
    );
    let setup = setup(&nats.url, port, &recorder, &talk);
    let start = |point: &str| {
        let mut command = flowhook(&["run", "-c", &setup.config()]);
        if !point.is_empty() {
            command.env(notifier::failpoint::VARIABLE, format!("{point}:1"));
        }
        Running::start(command, &setup.path("log"))
    };
    let health = format!("http://127.0.0.1:{port}/api/v1/health");
    let up = || ask("GET", &health).filter(|(status, _)| *status == 200);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let publish = |alert: &Alert| {
        let subject = shared::wire::subject::Subjects::new("kill");
        let subject = subject.alert(&alert.site, alert.entity, alert.severity, alert.action);
        let json = serde_json::to_vec(alert).unwrap();
        runtime.block_on(async {
            let bus = crate::cluster::connect(&nats.url, "kill").await;
            let receipt = bus.append(&subject, &alert.transition_id(), json.into()).await.unwrap();
            receipt.stored().await.unwrap();
        });
    };
    let of = |method: &str| -> Vec<String> {
        let requests = chat.requests().into_iter().filter(|request| request.method == method);
        requests.map(|request| request.path).collect()
    };
    let mut dying = start(notifier::failpoint::BEFORE_MESSAGE_NOTE);
    wait_for("the API", 30, up);
    let began = Alert { action: AlertAction::Engage, ..unlike(1) };
    publish(&began);
    let status = wait_for("its death", 60, || dying.0.try_wait().unwrap());
    assert_eq!(status.signal(), Some(9), "{status}");
    assert_eq!(of("POST").len(), 1);
    let mut running = start("");
    wait_for("the API", 30, up);
    wait_for("the beginning again", 60, || (of("POST").len() == 2).then_some(()));
    nothing_owed(port);
    let marked = |request: &crate::support::http::Request| {
        String::from_utf8_lossy(&request.body).contains("possible duplicate")
    };
    let mark: Vec<bool> = chat.requests().iter().map(marked).collect();
    assert_eq!(mark, [false, true]);
    publish(&Alert { action: AlertAction::Release, ..began });
    wait_for("the end", 60, || (!of("PATCH").is_empty()).then_some(()));
    nothing_owed(port);
    assert_eq!((of("POST").len(), of("PATCH").len()), (2, 1));
    assert!(of("PATCH")[0].starts_with("/hooks/1/hunter2/messages/known"), "{:?}", of("PATCH"));
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn engaged_alerts_survive_a_kill_and_are_released_under_the_same_id() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let alert = crate::cluster::engaged(1);
    runtime.block_on(async {
        let store = SqliteStore::open(dir.path()).unwrap();
        let engage = shared::store::Transition::Engage(alert.clone());
        store.apply(vec![engage]).await.unwrap();
        // Dropped without closing, as a killed process would.
        drop(store);
    });
    runtime.block_on(async {
        let store = SqliteStore::open(dir.path()).unwrap();
        assert_eq!(store.engaged(Some(alert.partition)).await.unwrap(), std::slice::from_ref(&alert));
        assert_eq!(store.outbox(10).await.unwrap().len(), 1, "and is still to be told");
        store.close().await;
    });
}
