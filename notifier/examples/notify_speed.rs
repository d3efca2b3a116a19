//! How fast alerts leave: `just bench-notify`.
//!
//! Everything is real but the network: a bus in process, the ledger on this disk, HTTP over loopback. Four
//! figures: webhooks a second with one alert a request; evaluations of criteria over 200 recipients; time
//! from durable acceptance to the arrival of the request at 500 alerts a second beside another endpoint that
//! works; and what it does to that when the other is dead (medians of interleaved runs). Ends with an error
//! when a figure misses its goal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench")]
#![allow(clippy::disallowed_methods, reason = "measures real time")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use notifier::route::Router;
use notifier::{NotifierConfig, NotifierDeps};
use serde_json::{Value, json};
use shared::bus::memory::MemoryBus;
use shared::bus::{Bus, SharedBus};
use shared::clock::SystemClock;
use shared::model::{Alert, Timestamp};
use shared::seal::Sealer;
use shared::settings::Settings;
use shared::store::sqlite::SqliteStore;
use shared::wire::subject::Subjects;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// When each alert arrived.
type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

fn alert(number: usize) -> Alert {
    serde_json::from_value(json!({
        "schema_version": 1, "id": format!("{number:032x}"), "action": "store", "type": "bench", "entity": "host",
        "entity_value": format!("192.0.2.{}@{number}", number % 250), "severity": "error", "category": "security",
        "score": 1, "tstamp": Timestamp::from_secs(1_700_000_000), "site": "s", "node": "n", "ifid": 0,
        "interface": "eth0", "script": "bench", "message": "x".repeat(200),
    }))
    .unwrap()
}

/// A receiver that answers 200 at once, or never.
async fn receiver(answers: bool) -> (u16, Arrivals) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let arrivals = Arrivals::default();
    let seen = Arc::clone(&arrivals);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while socket.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                    while let Some((body, end)) = request(&bytes) {
                        let now = Instant::now();
                        let body: Value = serde_json::from_slice(body).unwrap();
                        for alert in body["alerts"].as_array().unwrap() {
                            seen.lock().unwrap().insert(alert["id"].as_str().unwrap().to_owned(), now);
                        }
                        bytes.drain(..end);
                        if answers
                            && socket
                                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                                .await
                                .is_err()
                        {
                            return;
                        }
                    }
                }
            });
        }
    });
    (port, arrivals)
}

/// The body of the first whole request, and where it ends.
fn request(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap().to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let end = head + length.parse::<usize>().unwrap();
    Some((bytes.get(head..end)?, end))
}

struct Role {
    bus: Arc<MemoryBus>,
    subjects: Subjects,
    actor: ractor::ActorRef<notifier::NotifierMessage>,
    handle: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Role {
    async fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bus = MemoryBus::new(Default::default());
        let subjects = Subjects::new("bench");
        let mut questions =
            bus.subscribe(&subjects.request_role("aggregator", "store_alerts")).await.unwrap();
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                question.reply.unwrap().send("{\"stored\":1}".to_owned());
            }
        });
        let known = Settings { edits_known: true, ..Settings::default() };
        let store = SqliteStore::open(dir.path()).unwrap();
        let deps = NotifierDeps {
            bus: Arc::clone(&bus) as SharedBus,
            hooks: Arc::new(store.clone()),
            ledger: Arc::new(store),
            events: shared::events::Emitter::quiet(),
            site: "bench".to_owned(),
            clock: SystemClock::shared(),
            subjects: subjects.clone(),
            settings: tokio::sync::watch::channel(Arc::new(known)).1,
            sealer: Arc::new(Sealer::of_nobody().unwrap()),
            config: toml::from_str(&format!("allow_private_targets = true\n{config}")).unwrap(),
            owner: "bench".to_owned(),
            instance: String::new(),
        };
        let (actor, handle) = notifier::spawn(deps).await.unwrap();
        Self { bus, subjects, actor, handle, _dir: dir }
    }

    /// Appends an alert; the receipt resolves when it is durable.
    async fn append(&self, alert: &Alert) -> shared::bus::Receipt {
        let subject = self.subjects.alert(&alert.site, alert.entity, alert.severity, alert.action);
        let payload = serde_json::to_vec(alert).unwrap();
        self.bus.append(&subject, &alert.transition_id(), payload.into()).await.unwrap()
    }

    async fn stop(self) {
        self.actor.stop(None);
        self.handle.await.unwrap();
    }
}

fn hook(name: &str, port: u16, at_once: u32) -> String {
    format!(
        "[[endpoint]]\nname = '{name}'\nkind = 'webhook'\n\
         params = {{ url = 'http://127.0.0.1:{port}/', batch = 1, at_once = {at_once} }}\n\
         [[recipient]]\nname = '{name}'\nendpoint = '{name}'\n"
    )
}

async fn arrived(arrivals: &Arrivals, count: usize) {
    while arrivals.lock().unwrap().len() < count {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn webhooks_per_second(alerts: usize) -> f64 {
    let (port, arrivals) = receiver(true).await;
    let role = Role::start(&hook("fast", port, 64)).await;
    let begin = Instant::now();
    let mut receipts = Vec::new();
    for number in 0..alerts {
        receipts.push(role.append(&alert(number)).await);
    }
    for receipt in receipts {
        receipt.stored().await.unwrap();
    }
    arrived(&arrivals, alerts).await;
    let rate = alerts as f64 / begin.elapsed().as_secs_f64();
    role.stop().await;
    rate
}

fn evaluations_per_second(rounds: usize) -> f64 {
    let recipients: String = (0..200)
        .map(|n| {
            let severity = ["info", "warning", "error", "critical"][n % 4];
            format!(
                "[[recipient]]\nname = 'r{n}'\nendpoint = 'e'\nminimum_severity = '{severity}'\n\
                 checks = ['bench', 'c{n}']\nhost_pools = ['p{}']\n",
                n % 7
            )
        })
        .collect();
    let config: NotifierConfig = toml::from_str(&recipients).unwrap();
    let router = Router::new(&config, tokio::sync::watch::channel(Arc::default()).1);
    let payload = serde_json::to_vec(&alert(1)).unwrap();
    let begin = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(router.alert(&payload, Timestamp::ZERO).unwrap());
    }
    (rounds * 200) as f64 / begin.elapsed().as_secs_f64()
}

/// Milliseconds from durable to arrived, at 500 a second, beside another endpoint that works or does not:
/// median and 99th percentile.
async fn latencies(alerts: usize, other_works: bool) -> (f64, f64) {
    let (port, arrivals) = receiver(true).await;
    let (beside, _) = receiver(other_works).await;
    let role = Role::start(&format!("{}{}", hook("fast", port, 64), hook("beside", beside, 64))).await;
    let mut every = tokio::time::interval(Duration::from_millis(2));
    let mut accepted = Vec::with_capacity(alerts);
    for number in 0..alerts {
        every.tick().await;
        let alert = alert(number);
        let receipt = role.append(&alert).await;
        accepted.push((
            alert.id,
            tokio::spawn(async move {
                receipt.stored().await.unwrap();
                Instant::now()
            }),
        ));
    }
    arrived(&arrivals, alerts).await;
    let arrivals = arrivals.lock().unwrap().clone();
    let mut took = Vec::with_capacity(alerts);
    for (id, at) in accepted {
        took.push(arrivals[&id].saturating_duration_since(at.await.unwrap()).as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    let told = (at(0.5), at(0.99));
    role.stop().await;
    told
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints a figure beside its goal; true when it is met.
fn told(what: &str, figure: f64, unit: &str, goal: f64, at_least: bool) -> bool {
    let (met, word) = if at_least { (figure >= goal, "at least") } else { (figure < goal, "less than") };
    println!("{what}: {figure:.2}{unit} ({word} {goal}{unit}{})", if met { "" } else { ", MISSED" });
    met
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let alerts: usize =
        std::env::args().nth(1).map_or(20_000, |text| text.parse().expect("a number of alerts"));
    let rate = webhooks_per_second(alerts).await;
    let mut met = told("webhooks, one alert a request", rate, "/s", 5000.0, true);
    let rate = evaluations_per_second(20_000);
    met &= told("evaluations of criteria, 200 recipients, one core", rate, "/s", 20_000.0, true);
    let (mut alive, mut dead) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        alive.push(latencies(alerts / 8, true).await);
        dead.push(latencies(alerts / 8, false).await);
    }
    let medians = |runs: &[(f64, f64)]| {
        let (p50, p99) = runs.iter().copied().unzip();
        (median(p50), median(p99))
    };
    let ((p50, p99), (dead_p50, dead_p99)) = (medians(&alive), medians(&dead));
    met &= told("accepted to arrived at 500/s, p50", p50, " ms", 20.0, false);
    met &= told("accepted to arrived at 500/s, p99", p99, " ms", 100.0, false);
    met &= told("the same while the endpoint beside is dead, p50", dead_p50, " ms", 20.0, false);
    met &= told("the same while the endpoint beside is dead, p99", dead_p99, " ms", 100.0, false);
    met &= told("p99 beside a dead endpoint against beside a working one", dead_p99 / p99, "x", 1.2, false);
    if met { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
