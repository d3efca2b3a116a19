//! Two aggregators share the partitions over a real server; one dies, and nobody can tell from the
//! outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use shared::bus::Bus;
use shared::bus::nats::{NatsBus, NatsConfig};
use shared::bus::test_server::NatsServer;
use shared::lease::Leases;
use shared::model::{Entity, Granularity, HostCounters, HostKey};
use shared::store::StoreError;
use shared::store::partitions::{PartitionStore, Saved, Step};
use shared::store::series::{SeriesQuery, SeriesStore};
use shared::wire::delta::HostDelta;

use super::*;
use crate::live::HostQuery;

/// How long leases last here.
const SHORT: Duration = Duration::from_secs(4);

const INTERFACES: u32 = 8;
const SECONDS: i64 = 310;
const HALF: i64 = 150;

/// The store of an aggregator that dies: nothing reaches it any more, and nothing is answered.
struct Mortal {
    store: SqliteStore,
    dead: AtomicBool,
    refused: AtomicU64,
}

impl Mortal {
    fn new(store: &SqliteStore) -> Arc<Self> {
        Arc::new(Self { store: store.clone(), dead: AtomicBool::new(false), refused: AtomicU64::new(0) })
    }

    async fn alive(&self) {
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl PartitionStore for Mortal {
    async fn saved(&self, partition: u32) -> Result<Option<Saved>, StoreError> {
        self.alive().await;
        self.store.saved(partition).await
    }

    async fn claim(&self, partition: u32, fence: u64) -> Result<Saved, StoreError> {
        self.alive().await;
        self.store.claim(partition, fence).await
    }

    async fn commit(&self, step: Step) -> Result<(), StoreError> {
        self.alive().await;
        let done = self.store.commit(step).await;
        if matches!(done, Err(StoreError::StaleFence { .. })) {
            self.refused.fetch_add(1, Ordering::SeqCst);
        }
        done
    }

    async fn highest_fence(&self) -> Result<u64, StoreError> {
        self.store.highest_fence().await
    }
}

/// A group of aggregators under one prefix of a server.
struct Group {
    server: String,
    prefix: &'static str,
    store: SqliteStore,
    bus: Arc<NatsBus>,
}

impl Group {
    async fn new(server: &NatsServer, prefix: &'static str) -> Self {
        let bus = connect(&server.url, prefix).await;
        Self { server: server.url.clone(), prefix, store: SqliteStore::in_memory().unwrap(), bus }
    }

    /// Starts an aggregator with a connection of its own.
    async fn start(&self, node: &str, leases: Option<Arc<dyn Leases>>) -> (Aggregator, Arc<Mortal>) {
        let bus = connect(&self.server, self.prefix).await;
        let mortal = Mortal::new(&self.store);
        // Who is blind is deaf too.
        let group = if leases.is_some() { "deaf" } else { "all" };
        let leases = leases.unwrap_or_else(|| bus.leases("all", SHORT, shared::wire::partition::PARTITIONS));
        let bus: SharedBus = bus;
        let known = deps(&bus, &self.store);
        let own = AggregatorDeps {
            subjects: Subjects::new(self.prefix),
            partitions: Arc::clone(&mortal) as Arc<dyn PartitionStore>,
            leases,
            alone: false,
            group: group.to_owned(),
            run: node.len() as u64,
            times: Times::of(SHORT),
            node: node.to_owned(),
            config: AggregatorConfig {
                snapshot_s: 1,
                // What is stored here is years old.
                time_series: crate::config::TimeSeriesConfig { min_days: 0, ..Default::default() },
                monitor: crate::config::MonitorConfig { enabled: false, ..Default::default() },
                ..known.config.clone()
            },
            ..known
        };
        (spawn(own).await.unwrap(), mortal)
    }

    async fn put(&self, seconds: std::ops::Range<i64>) {
        let subjects = Subjects::new(self.prefix);
        let mut receipts = Vec::new();
        for second in seconds {
            for ifid in 0..INTERFACES {
                let delta = of_second(ifid, second);
                let p = &delta.producer;
                let subject = subjects.delta(&p.site, partition::of_interface(&p.site, ifid), &p.node, ifid);
                let id = format!("{ifid}/{second}");
                receipts.push(self.bus.append(&subject, &id, delta.encode()).await.unwrap());
            }
        }
        for receipt in receipts {
            receipt.stored().await.unwrap();
        }
    }

    /// Everything that came of it: alerts told, series, and live counters.
    async fn outcome(&self, aggregators: &[&Aggregator]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let last = Timestamp::from_secs(START + SECONDS);
        until("all deltas are applied", async || {
            let mut rows = BTreeMap::new();
            for aggregator in aggregators {
                for row in aggregator.live.interfaces().await.rows {
                    rows.insert(row.ifid, row.watermark);
                }
            }
            rows.len() == INTERFACES as usize && rows.values().all(|at| *at == last)
        })
        .await;
        until("all alerts are told", async || outbox_is_empty(&self.store).await).await;
        let subjects = Subjects::new(self.prefix);
        let mut consumer = self.bus.consume(Stream::Alert, "checker", &subjects.all("al")).await.unwrap();
        let mut alerts = BTreeSet::new();
        while let Ok(Some(queued)) = tokio::time::timeout(Duration::from_millis(500), consumer.next()).await {
            let text = String::from_utf8(queued.payload.to_vec()).unwrap();
            assert!(alerts.insert(text.clone()), "told twice: {text}");
            queued.ack();
        }
        let mut series = Vec::new();
        for host in 0..5 {
            let query = SeriesQuery {
                entity: Entity::Host,
                value: format!("10.0.0.{host}"),
                site: None,
                ifid: None,
                period: Granularity::Min,
                from: Timestamp::ZERO,
                to: Timestamp::MAX,
                limit: 1000,
            };
            series.extend(self.store.series(query).await.unwrap().iter().map(|s| format!("{s:?}")));
        }
        let mut live = BTreeSet::new();
        for aggregator in aggregators {
            let query = HostQuery { limit: 1000, ..HostQuery::default() };
            let (hosts, _) = aggregator.live.hosts(query).await;
            live.extend(hosts.rows.iter().map(|row| serde_json::to_string(row).unwrap()));
        }
        (alerts.into_iter().collect(), series, live.into_iter().collect())
    }
}

const START: i64 = 1_700_000_040;

async fn outbox_is_empty(store: &SqliteStore) -> bool {
    crate::outbox::is_empty(store).await
}

async fn connect(server: &str, prefix: &str) -> Arc<NatsBus> {
    let (servers, prefix) = (vec![server.to_owned()], prefix.to_owned());
    NatsBus::connect(NatsConfig { servers, prefix, ..NatsConfig::default() }).await.unwrap()
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let waits = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waits)
        .await
        .unwrap_or_else(|_| panic!("not within 60 s: {what}"));
}

/// A second of an interface: hosts that are busy in some minutes, and an interface that falls silent.
fn of_second(ifid: u32, second: i64) -> Delta {
    let from = Timestamp::from_secs(START + second);
    let minute = second / 60;
    let bytes = |host: i64| if (minute + host + i64::from(ifid)) % 3 == 0 { 100_000 } else { 1000 };
    let host = |host: i64| HostDelta {
        key: HostKey::new(format!("10.0.0.{host}").parse().unwrap(), 0),
        mac: None,
        local: true,
        last_seen: from,
        counters: HostCounters { bytes_sent: bytes(host), packets_sent: 1, ..HostCounters::default() },
    };
    let silent = minute == 2 && ifid.is_multiple_of(2);
    let hosts: Vec<HostDelta> = if silent { Vec::new() } else { (0..5).map(host).collect() };
    let mut delta = of_minute("s", second as u64, hosts.len() as u64);
    delta.producer.ifid = ifid;
    (delta.from, delta.to, delta.watermark) = (from, from.plus_secs(1), from.plus_secs(1));
    delta.hosts = hosts;
    delta
}

fn held(aggregator: &Aggregator) -> usize {
    aggregator.live.shards().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_tell_from_the_outcome_that_one_of_two_aggregators_died() {
    let Some(server) = NatsServer::start("nobody_can_tell").await else { return };
    let calm = Group::new(&server, "calm").await;
    let (alone, _) = calm.start("alone", None).await;
    calm.put(0..SECONDS).await;
    let expected = calm.outcome(&[&alone]).await;
    assert!(expected.0.len() >= 8 && expected.1.len() > 30, "{} {}", expected.0.len(), expected.1.len());
    stop(alone).await;

    let group = Group::new(&server, "group").await;
    let (first, mortal) = group.start("first", None).await;
    let (second, _) = group.start("second", None).await;
    until("both hold some", async || held(&first) > 8 && held(&first) + held(&second) == 64).await;
    group.put(0..HALF).await;
    until("both are at work", async || {
        let hooks = async |a: &Aggregator| a.report().await.hooks.get("min").copied().unwrap_or(0);
        hooks(&first).await > 0 && hooks(&second).await > 0
    })
    .await;
    // As kill -9: nothing is put away, nothing given up.
    mortal.dead.store(true, Ordering::SeqCst);
    first.actor.kill();
    group.put(HALF..SECONDS).await;
    let outcome = group.outcome(&[&second]).await;
    assert_eq!(outcome.0, expected.0, "alerts");
    assert!(outcome.1 == expected.1, "series");
    assert_eq!(outcome.2, expected.2, "live counters");

    // A third one comes, and the second hands everything over when it stops. Meanwhile each of them
    // answers for both.
    let (third, _) = group.start("third", None).await;
    until("both hold some", async || held(&third) > 8 && held(&second) + held(&third) == 64).await;
    until("either knows everything", async || {
        let (of_second, of_third) = (second.live.interfaces().await, third.live.interfaces().await);
        let ids = |rows: &[crate::live::InterfaceRow]| rows.iter().map(|row| row.ifid).collect::<Vec<_>>();
        let all: Vec<u32> = (0..INTERFACES).collect();
        of_second.missing.is_empty()
            && of_third.missing.is_empty()
            && (ids(&of_second.rows), ids(&of_third.rows)) == (all.clone(), all)
    })
    .await;
    let page = HostQuery { limit: 7, ..HostQuery::default() };
    let (first_page, next) = third.live.hosts(page.clone()).await;
    let after = crate::live::parse_cursor(&next.unwrap());
    let (second_page, _) = second.live.hosts(HostQuery { after, ..page }).await;
    let mut both: Vec<String> = first_page
        .rows
        .iter()
        .chain(&second_page.rows)
        .map(|row| serde_json::to_string(row).unwrap())
        .collect();
    let mut in_order = expected.2.clone();
    in_order.sort_by_key(|row| {
        let row: crate::live::HostRow = serde_json::from_str(row).unwrap();
        (row.ifid, row.host)
    });
    assert_eq!(both.len(), 14);
    assert_eq!(std::mem::take(&mut both), in_order[..14], "pages go over both");
    stop(second).await;
    until("the third holds all", async || held(&third) == 64).await;
    assert_eq!(group.outcome(&[&third]).await.2, expected.2, "live counters moved twice");
    stop(third).await;
}

/// Leases that are always there: their holder does not know that it has lost them.
struct Blind(Arc<dyn Leases>);

#[async_trait]
impl Leases for Blind {
    async fn take(
        &self,
        name: &str,
        holder: &str,
    ) -> Result<Option<shared::lease::Lease>, shared::bus::BusError> {
        self.0.take(name, holder).await
    }

    async fn renew(
        &self,
        lease: &shared::lease::Lease,
    ) -> Result<Option<shared::lease::Lease>, shared::bus::BusError> {
        Ok(Some(lease.clone()))
    }

    async fn give_up(&self, lease: &shared::lease::Lease) -> Result<(), shared::bus::BusError> {
        self.0.give_up(lease).await
    }

    async fn holder(&self, name: &str) -> Result<Option<String>, shared::bus::BusError> {
        self.0.holder(name).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_know_that_it_lost_its_leases_is_refused_and_lets_go() {
    let Some(server) = NatsServer::start("one_that_does_not_know").await else { return };
    let group = Group::new(&server, "blind").await;
    let leases =
        connect(&server.url, "blind").await.leases("all", SHORT, shared::wire::partition::PARTITIONS);
    let (blind, mortal) = group.start("blind", Some(Arc::new(Blind(leases)))).await;
    until("it holds all", async || held(&blind) == 64).await;
    group.put(0..130).await;
    let (second, _) = group.start("second", None).await;
    // Its leases run out, and the second one takes all of them although the first works on.
    until("the second holds all", async || held(&second) == 64).await;
    group.put(130..SECONDS).await;
    until("a write under an old fence was refused", async || mortal.refused.load(Ordering::SeqCst) > 0).await;
    let outcome = group.outcome(&[&second, &blind]).await;
    let calm = Group::new(&server, "calm2").await;
    let (alone, _) = calm.start("alone", None).await;
    calm.put(0..SECONDS).await;
    let expected = calm.outcome(&[&alone]).await;
    assert_eq!(outcome.0, expected.0, "alerts");
    assert!(outcome.1 == expected.1, "series");
    for aggregator in [second, blind, alone] {
        stop(aggregator).await;
    }
}
