//! What events and hooks cost: over NATS and through the outbox, hooks dispatched, filters matched.
//!
//! `event_cost [EVENTS]`: 20,000 unless told. Needs a nats-server on the path for its first figure.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a tool for benches")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use notifier::NotifierDeps;
use serde_json::json;
use shared::bus::memory::{MemoryBus, MemoryConfig};
use shared::bus::nats::{NatsBus, NatsConfig};
use shared::bus::test_server::NatsServer;
use shared::bus::{SharedBus, Stream, WHOLE_STREAM};
use shared::clock::{Stopwatch, SystemClock};
use shared::events::config::EventsConfig;
use shared::events::{Draft, Emitter, Outlet};
use shared::hook::{Hook, HookKind, Order, Retention};
use shared::settings::Settings;
use shared::store::hooks::{HookStore, RunQuery};
use shared::store::sqlite::SqliteStore;
use shared::wire::subject::{EventSubject, Filters, Subjects};

/// Hooks whose filters are compared.
const HOOKS: usize = 10_000;

/// Events a second while dispatch is measured.
const RATE: u64 = 1000;

/// Seconds of it.
const SECONDS: u64 = 10;

fn main() {
    let events = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20_000);
    filters();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        over_nats(events).await;
        through_the_outbox(events).await;
        dispatch().await;
    });
}

/// Finds the hooks of an event among many.
fn filters() {
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
    let each = watch.elapsed().as_nanos() / rounds as u128;
    println!("{HOOKS} filters: {each} ns an event ({found} matches)");
}

/// Flow events: published at most once, no outbox.
async fn over_nats(events: u64) {
    let Some(server) = NatsServer::start("event_cost").await else { return };
    let config = NatsConfig { servers: vec![server.url.clone()], ..NatsConfig::default() };
    let bus: SharedBus = NatsBus::connect(config).await.expect("the server takes connections");
    let subject = EventSubject::Flow { hook: "flowEnd".to_owned(), ifid: 0 }.to_string();
    let payload = bytes::Bytes::from(json!({ "bytes": 1, "text": "x".repeat(200) }).to_string());
    let watch = Stopwatch::start();
    for _ in 0..events {
        bus.publish(&subject, payload.clone()).await.expect("published");
    }
    bus.flush().await.expect("flushed");
    println!("flow events over NATS: {:.0}/s", events as f64 / watch.elapsed().as_secs_f64());
}

/// State events: stored, told, acknowledged, forgotten.
async fn through_the_outbox(events: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path()).expect("a store");
    let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
    let mut told = bus.consume(Stream::Event, "bench", WHOLE_STREAM).await.expect("a consumer");
    let (emitter, task) = Emitter::start(Outlet {
        bus,
        store: Some(Arc::new(store.clone())),
        subjects: Subjects::default(),
        clock: SystemClock::shared(),
        owner: "n1".to_owned(),
        source: "/bench/n".to_owned(),
        config: EventsConfig::default(),
    });
    let watch = Stopwatch::start();
    let telling = tokio::spawn(async move {
        for number in 0..events / 100 {
            let draft = |n| Draft::state("HOST", &format!("{number}-{n}"), "ACTIVE", None, json!({ "n": n }));
            emitter.record((0..100).map(draft).collect()).await;
        }
    });
    for _ in 0..events / 100 * 100 {
        told.next().await.expect("an event").ack();
    }
    println!("events through the outbox: {:.0}/s", events as f64 / watch.elapsed().as_secs_f64());
    telling.await.expect("told");
    task.abort();
}

/// From an event on the bus to the begin of a Rhai hook, at a steady rate.
async fn dispatch() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path()).expect("a store");
    let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
    let hook = Hook {
        subjects: vec!["event.item.>".to_owned()],
        order: Order::None,
        concurrency: 64,
        keep: Retention { success: 10_000, failure: 10 },
        ..Hook::new(HookKind::RhaiCode, "1")
    };
    let hooks = BTreeMap::from([("h".to_owned(), (1, hook))]);
    let settings = Settings { hooks: Arc::new(hooks), edits_known: true, ..Settings::default() };
    let deps = NotifierDeps {
        sealer: Arc::new(shared::seal::Sealer::of_nobody().expect("a key")),
        bus: Arc::clone(&bus),
        ledger: Arc::new(store.clone()),
        hooks: Arc::new(store.clone()),
        events: Emitter::quiet(),
        clock: SystemClock::shared(),
        subjects: Subjects::default(),
        settings: tokio::sync::watch::channel(Arc::new(settings)).1,
        config: toml::from_str("[hooks]\nconcurrency = 64").expect("a configuration"),
        site: "bench".to_owned(),
        owner: "n".to_owned(),
        instance: String::new(),
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (actor, _) = notifier::spawn(deps).await.expect("a notifier");
    let subject = EventSubject::Item { service: "s".to_owned(), node: "n".to_owned() }.to_string();
    let mut beat = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
    for number in 0..RATE * SECONDS {
        beat.tick().await;
        bus.append(&subject, &number.to_string(), number.to_string().into()).await.expect("appended");
    }
    let query = RunQuery { hook: Some("h".to_owned()), limit: 100_000, ..RunQuery::default() };
    let waited: Vec<i64> = loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let runs = store.clone().runs(query.clone()).await.expect("records");
        if runs.iter().filter(|run| run.ended_at.is_some()).count() as u64 >= RATE * SECONDS {
            let begun = runs.iter().filter_map(|run| Some(run.started_at?.since(run.queued_at)));
            break begun.collect();
        }
    };
    let mut waited = waited;
    waited.sort_unstable();
    let at = |part: f64| waited.get((waited.len() as f64 * part) as usize).copied().unwrap_or(0) as f64 / 1e6;
    println!("Rhai hooks at {RATE} events/s: begun after {:.1} ms (p50), {:.1} ms (p99)", at(0.5), at(0.99));
    actor.stop_and_wait(None, None).await.expect("stopped");
}
