//! What events and hooks cost: over NATS and through the outbox, hooks dispatched, filters matched.
//!
//! `event_cost [EVENTS]`: 20,000 unless told. Needs a nats-server on the path for what goes over NATS. Ends
//! with 1 when a goal is missed.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a tool for benches")]

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use shared::bus::memory::{MemoryBus, MemoryConfig};
use shared::bus::nats::{NatsBus, NatsConfig};
use shared::bus::test_server::NatsServer;
use shared::bus::{SharedBus, Stream, WHOLE_STREAM};
use shared::clock::{Stopwatch, SystemClock};
use shared::events::config::EventsConfig;
use shared::events::{Draft, Emitter, Outlet};
use shared::hook::HookKind;
use shared::store::sqlite::SqliteStore;
use shared::wire::subject::{EventSubject, Filters, Subjects};

mod dispatch;

/// Hooks whose filters are compared.
const HOOKS: usize = 10_000;

/// Goals that were missed.
#[derive(Default)]
struct Goals(Vec<String>);

impl Goals {
    /// Prints a figure beside its goal.
    fn judge(&mut self, what: &str, figure: f64, unit: &str, goal: f64, more_is_better: bool) {
        let met = if more_is_better { figure >= goal } else { figure <= goal };
        let (bound, verdict) =
            (if more_is_better { "at least" } else { "at most" }, if met { "met" } else { "MISSED" });
        println!("{what}: {figure:.1} {unit} ({bound} {goal}: {verdict})");
        if !met {
            self.0.push(what.to_owned());
        }
    }
}

fn main() -> ExitCode {
    let events = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let mut goals = Goals::default();
    filters(&mut goals);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let server = NatsServer::start("event_cost").await;
        if let Some(server) = &server {
            over_nats(&mut goals, server, events).await;
        }
        for nats in std::iter::once(None).chain(server.as_ref().map(Some)) {
            through_the_outbox(&mut goals, nats, events).await;
        }
        for (kind, prefix, rate, goal) in
            [(HookKind::RhaiCode, "rhai", 1000, 20.0), (HookKind::Exec, "exec", 100, 100.0)]
        {
            for nats in std::iter::once(None).chain(server.as_ref().map(Some)) {
                let (p50, p99) = dispatch::measure(bus(nats, prefix).await, prefix, kind, rate).await;
                let carrier = carrier(nats);
                println!("{kind:?} hooks at {rate} events/s {carrier}: begun after {p50:.1} ms (p50)");
                goals.judge(&format!("{kind:?} hooks {carrier}, p99"), p99, "ms", goal, false);
            }
        }
    });
    runtime.shutdown_background();
    match goals.0.as_slice() {
        [] => ExitCode::SUCCESS,
        missed => {
            println!("missed: {}", missed.join("; "));
            ExitCode::FAILURE
        }
    }
}

fn carrier(nats: Option<&NatsServer>) -> &'static str {
    if nats.is_some() { "over NATS" } else { "in one process" }
}

/// A bus with nothing on it under a prefix that nobody had before.
async fn bus(nats: Option<&NatsServer>, prefix: &str) -> SharedBus {
    match nats {
        None => MemoryBus::new(MemoryConfig::default()),
        Some(server) => {
            let prefix = prefix.to_owned();
            let config = NatsConfig { servers: vec![server.url.clone()], prefix, ..NatsConfig::default() };
            NatsBus::connect(config).await.expect("the server takes connections")
        }
    }
}

/// Finds the hooks of an event among many.
fn filters(goals: &mut Goals) {
    let mut all = Filters::default();
    for number in 0..HOOKS {
        let filter = match number % 4 {
            0 => format!("event.api.flowhook.object{number}.*.1"),
            1 => format!("event.state.HOST.*.*.h{number}"),
            2 => format!("event.state.R{number}.>"),
            _ => format!("event.item.s.node{number}"),
        };
        all.add(&filter, number);
    }
    let (rounds, watch) = (200_000, Stopwatch::start());
    let mut found = 0;
    for number in 0..rounds {
        let place = (number * 4 + 1) % HOOKS;
        found += all.matching(&format!("event.state.HOST.ERROR._.h{place}")).len();
    }
    let each = watch.elapsed().as_secs_f64() * 1e6 / rounds as f64;
    assert_eq!(found, rounds, "each event has its hook");
    goals.judge(&format!("{HOOKS} filters, an event"), each, "µs", 5.0, false);
}

/// Flow events: published at most once, no outbox; until a listener on another connection has heard them.
async fn over_nats(goals: &mut Goals, server: &NatsServer, events: u64) {
    let (teller, listener) = (bus(Some(server), "flow").await, bus(Some(server), "flow").await);
    let subject = EventSubject::Flow { hook: "flowEnd".to_owned(), ifid: 0 }.to_string();
    let mut heard = listener.subscribe(&subject).await.expect("a subscription");
    let payload = bytes::Bytes::from(json!({ "bytes": 1, "text": "x".repeat(200) }).to_string());
    let events = events * 10;
    let watch = Stopwatch::start();
    let telling = tokio::spawn(async move {
        for _ in 0..events {
            teller.publish(&subject, payload.clone()).await.expect("published");
        }
        teller.flush().await.expect("flushed");
        teller.publish(&subject, bytes::Bytes::from_static(b"end")).await.expect("published");
        teller.flush().await.expect("flushed");
    });
    let mut count = 0_u64;
    // What a listener cannot keep up with is lost to it, but the end comes when everything else has come.
    while let Ok(Some(message)) = tokio::time::timeout(std::time::Duration::from_secs(10), heard.next()).await
    {
        if message.payload.len() == 3 {
            break;
        }
        count += 1;
    }
    let rate = events as f64 / watch.elapsed().as_secs_f64();
    telling.await.expect("told");
    println!("flow events heard by a listener: {:.1} %", 100.0 * count as f64 / events as f64);
    goals.judge("flow events over NATS", rate, "events/s", 50_000.0, true);
}

/// State events: stored, told, acknowledged, forgotten.
async fn through_the_outbox(goals: &mut Goals, nats: Option<&NatsServer>, events: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path()).expect("a store");
    let bus = bus(nats, "outbox").await;
    let mut told = bus.consume(Stream::Event, "bench", WHOLE_STREAM).await.expect("a consumer");
    let (emitter, task) = Emitter::start(Outlet {
        bus,
        store: Some(Arc::new(store.clone())),
        subjects: Subjects::new("outbox"),
        clock: SystemClock::shared(),
        owner: "n1".to_owned(),
        source: "/bench/n".to_owned(),
        answers: true,
        config: EventsConfig::default(),
    });
    let watch = Stopwatch::start();
    // The outbox is emptied for as long as somebody may tell events.
    let teller = emitter.clone();
    let telling = tokio::spawn(async move {
        for number in 0..events / 100 {
            let draft = |n| Draft::state("HOST", &format!("{number}-{n}"), "ACTIVE", None, json!({ "n": n }));
            teller.record((0..100).map(draft).collect()).await.expect("events are kept");
        }
    });
    for _ in 0..events / 100 * 100 {
        told.next().await.expect("an event").ack();
    }
    let rate = events as f64 / watch.elapsed().as_secs_f64();
    goals.judge(&format!("events through the outbox {}", carrier(nats)), rate, "events/s", 5000.0, true);
    telling.await.expect("told");
    task.abort();
    drop(emitter);
}
