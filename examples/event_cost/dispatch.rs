//! How soon hooks begin after their event was published.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use notifier::NotifierDeps;
use shared::bus::SharedBus;
use shared::clock::{Clock, SystemClock};
use shared::events::{Emitter, Event, cloud};
use shared::hook::{Hook, HookKind, Order, Retention};
use shared::model::Timestamp;
use shared::settings::Settings;
use shared::store::hooks::{HookStore, RunQuery, RunRecord};
use shared::store::sqlite::SqliteStore;
use shared::wire::subject::{EventSubject, Subjects};

/// Seconds of events at a steady rate.
const SECONDS: u64 = 10;

/// Milliseconds from an event's publication to the begin of its hook: the middle and the 99th percentile.
/// Nobody may have used the prefix before.
pub async fn measure(bus: SharedBus, prefix: &str, kind: HookKind, rate: u64) -> (f64, f64) {
    let subjects = Subjects::new(prefix);
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path()).expect("a store");
    let argument = match kind {
        HookKind::Exec => program(folder.path()),
        _ => "1".to_owned(),
    };
    let hook = Hook {
        subjects: vec!["event.item.>".to_owned()],
        order: Order::None,
        concurrency: 64,
        keep: Retention { success: 100_000, failure: 10 },
        ..Hook::new(kind, &argument)
    };
    let hooks = BTreeMap::from([("h".to_owned(), (1, hook))]);
    let settings = Settings { hooks: Arc::new(hooks), edits_known: true, ..Settings::default() };
    let config = format!("[hooks]\nconcurrency = 64\ndir = {:?}", folder.path());
    let (settings, followed) = tokio::sync::watch::channel(Arc::new(settings));
    let deps = NotifierDeps {
        sealer: Arc::new(shared::seal::Sealer::of_nobody().expect("a key")),
        bus: Arc::clone(&bus),
        ledger: Arc::new(store.clone()),
        hooks: Arc::new(store.clone()),
        events: Emitter::quiet(),
        clock: SystemClock::shared(),
        subjects: subjects.clone(),
        settings: followed,
        config: toml::from_str(&config).expect("a configuration"),
        site: "bench".to_owned(),
        owner: "n".to_owned(),
        instance: String::new(),
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (actor, _) = notifier::spawn(deps).await.expect("a notifier");
    let mut beat = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
    for number in 0..rate * SECONDS {
        beat.tick().await;
        publish(&bus, &subjects, number).await;
    }
    let query = RunQuery { hook: Some("h".to_owned()), limit: 1_000_000, ..RunQuery::default() };
    let runs = loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let runs = store.runs(query.clone()).await.expect("records");
        // Another try of what failed is no event's begin.
        let first = runs.into_iter().filter(|run| run.attempt == 1 && run.ended_at.is_some());
        let first: Vec<RunRecord> = first.collect();
        if first.len() as u64 >= rate * SECONDS {
            break first;
        }
    };
    actor.stop_and_wait(None, None).await.expect("stopped");
    drop(settings);
    let mut waited: Vec<i64> = runs.iter().filter_map(waited).collect();
    assert_eq!(waited.len() as u64, rate * SECONDS, "each event has run its hook once");
    waited.sort_unstable();
    let at = |part: f64| waited.get((waited.len() as f64 * part) as usize).copied().unwrap_or(0) as f64 / 1e6;
    (at(0.5), at(0.99))
}

/// A program that ends at once, and well: of failures few records are kept.
fn program(folder: &std::path::Path) -> String {
    let path = folder.join("ends.sh");
    std::fs::write(&path, "#!/bin/sh\nexit 0\n").expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    "ends.sh".to_owned()
}

/// Publishes an item whose id says when.
async fn publish(bus: &SharedBus, subjects: &Subjects, number: u64) {
    let subject = EventSubject::Item { service: "s".to_owned(), node: "n".to_owned() };
    let at = SystemClock.now();
    let event = Event {
        id: format!("{number}-{}", at.ns()),
        subject: subject.to_string(),
        key: subject.key(),
        sequence: 0,
        at,
        source: "/bench".to_owned(),
        depth: 0,
        traceparent: None,
        body: serde_json::json!({ "kind": "item", "payload": number }),
    };
    let data = event.body.to_string();
    let told = subjects.event(&subject);
    let appended = bus.append_with(&told, &event.id, cloud::headers(&event), data.into()).await;
    drop(appended.expect("appended"));
}

/// Nanoseconds that an execution waited since its event was published.
fn waited(run: &RunRecord) -> Option<i64> {
    let published = run.event.rsplit_once('-')?.1.parse().ok()?;
    Some(run.started_at?.since(Timestamp::from_ns(published)))
}
