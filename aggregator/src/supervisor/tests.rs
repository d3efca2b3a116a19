//! The role as a whole: deltas on the bus become alerts on the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::bus::memory::{MemoryBus, MemoryConfig};
use shared::bus::{Queued, SharedBus, Stream};
use shared::clock::SystemClock;
use shared::lease::memory::MemoryLeases;
use shared::model::{Alert, AlertAction, InterfaceCounters, LocalNetworks, Timestamp};
use shared::script::registry::ScriptSetup;
use shared::script::source::builtin;
use shared::store::AlertStore;
use shared::store::sqlite::SqliteStore;
use shared::wire::delta::{Delta, InterfaceDelta, Producer};
use shared::wire::partition;
use shared::wire::subject::Subjects;

use super::{Aggregator, AggregatorDeps, AggregatorError, spawn};
use crate::config::{AggregatorConfig, ApiConfig};
use crate::keeper::Times;

mod faults;
mod http;
mod long_run;
mod others;
mod parts;
mod states;
mod takeover;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn bus() -> SharedBus {
    MemoryBus::new(MemoryConfig::default())
}

async fn start(bus: &SharedBus, store: &SqliteStore) -> Aggregator {
    spawn(deps(bus, store)).await.unwrap()
}

pub(crate) fn deps(bus: &SharedBus, store: &SqliteStore) -> AggregatorDeps {
    AggregatorDeps {
        bus: Arc::clone(bus),
        documents: Arc::new(store.clone()),
        sealer: Arc::new(shared::seal::Sealer::of_nobody().unwrap()),
        file_settings: Default::default(),
        settings: tokio::sync::watch::channel(Arc::default()).1,
        alerts: Arc::new(store.clone()),
        flows: Arc::new(store.clone()),
        memory: Arc::new(store.clone()),
        series: Arc::new(store.clone()),
        sessions: Arc::new(store.clone()),
        events: shared::events::Emitter::quiet(),
        clock: SystemClock::shared(),
        subjects: Subjects::default(),
        networks: Arc::new(LocalNetworks::default()),
        config: AggregatorConfig {
            api: ApiConfig { enabled: false, ..ApiConfig::default() },
            // What tests store is older than any retention.
            flow_retention_days: 0,
            alert_retention_days: 0,
            ..AggregatorConfig::default()
        },
        scripts: ScriptSetup { sources: builtin(), ..ScriptSetup::default() }.into(),
        partitions: Arc::new(store.clone()),
        leases: leases(),
        group: "all".to_owned(),
        alone: true,
        run: 1,
        times: Times::default(),
        site: "s".to_owned(),
        node: "n".to_owned(),
        levels: Arc::new(Vec::new),
        metrics_text: Arc::new(|| "up 1\n".to_owned()),
    }
}

/// Leases whose fences are higher than those of earlier aggregators.
fn leases() -> Arc<MemoryLeases> {
    static FENCE: AtomicU64 = AtomicU64::new(0);
    MemoryLeases::new(SystemClock::shared(), FENCE.fetch_add(1000, Ordering::SeqCst))
}

/// The delta of a minute in which an interface saw so many packets.
async fn minute(bus: &SharedBus, number: u64, packets: u64) {
    put(bus, &of_minute("s", number, packets)).await;
}

async fn put(bus: &SharedBus, delta: &Delta) {
    let producer = &delta.producer;
    let partition = partition::of_interface(&producer.site, producer.ifid);
    let subject = Subjects::default().delta(&producer.site, partition, &producer.node, producer.ifid);
    let id = format!("{}/{}/{}", producer.site, producer.ifid, producer.sequence);
    let receipt = bus.append(&subject, &id, delta.encode()).await.unwrap();
    tokio::time::timeout(DEADLINE, receipt.stored()).await.expect("the shard acknowledges").unwrap();
}

fn of_minute(site: &str, number: u64, packets: u64) -> Delta {
    let from = Timestamp::from_secs(1_700_000_040 + 60 * number as i64);
    Delta {
        producer: Producer {
            site: site.into(),
            node: "n".into(),
            ifid: 0,
            interface: "eth0".into(),
            epoch: 1,
            sequence: number + 1,
        },
        from,
        to: from.plus_secs(60),
        watermark: from.plus_secs(60),
        end_of_stream: false,
        interface: InterfaceDelta {
            counters: InterfaceCounters { packets, ..InterfaceCounters::default() },
            ..InterfaceDelta::default()
        },
        contacts: Vec::new(),
        categories: Vec::new(),
        facts: Vec::new(),
        hosts: Vec::new(),
        networks: Vec::new(),
        traceparent: None,
    }
}

pub(crate) async fn next(alerts: &mut shared::bus::Consumer) -> Alert {
    let queued: Queued =
        tokio::time::timeout(DEADLINE, alerts.next()).await.expect("an alert comes").unwrap();
    let alert = serde_json::from_slice(&queued.payload).unwrap();
    queued.ack();
    alert
}

pub(crate) async fn stop(aggregator: Aggregator) {
    aggregator.actor.stop(None);
    tokio::time::timeout(DEADLINE, aggregator.handle).await.expect("it stops").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_engages_an_alert_that_survives_a_restart_and_is_released_under_its_id() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut alerts = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
    let aggregator = start(&bus, &store).await;
    minute(&bus, 0, 10).await;
    minute(&bus, 1, 0).await;
    let engaged = next(&mut alerts).await;
    assert_eq!((engaged.alert_type.as_str(), engaged.action), ("no_activity", AlertAction::Engage));
    assert_eq!(aggregator.report().await.alerts["no_activity"]["engage"], 1);
    stop(aggregator).await;
    assert_eq!(store.engaged(None).await.unwrap().len(), 1, "a stop releases nothing");

    let aggregator = start(&bus, &store).await;
    minute(&bus, 2, 5).await;
    let released = next(&mut alerts).await;
    assert_eq!((released.action, &released.id), (AlertAction::Release, &engaged.id));
    assert_eq!(released.engaged_at, Some(engaged.tstamp));
    assert!(store.engaged(None).await.unwrap().is_empty());
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_delta_is_counted_and_harms_nobody() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut alerts = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
    let aggregator = start(&bus, &store).await;
    let subject = Subjects::default().delta("s", partition::of_interface("s", 0), "n", 0);
    let receipt = bus.append(&subject, "bad", "\u{ff}no delta".into()).await.unwrap();
    tokio::time::timeout(DEADLINE, receipt.stored()).await.expect("it is acknowledged").unwrap();
    minute(&bus, 0, 10).await;
    let report = aggregator.report().await;
    assert_eq!(report.errors["deltas_malformed"], 1);
    let told = next(&mut alerts).await;
    assert_eq!((told.alert_type.as_str(), told.node.as_str()), ("message_refused", "n"));
    stop(aggregator).await;
}
