//! A bus that goes away and comes back, in process and as a real server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use shared::bus::memory::{MemoryBus, MemoryConfig};
use shared::bus::nats::{NatsBus, NatsConfig};
use shared::bus::test_server::NatsServer;
use shared::bus::{Bus, Consumer, Headers, Receipt, Stream, Subscription};
use shared::model::Timestamp;
use shared::wire::subject::Subjects;

use super::*;
use crate::flow_alert::{self, Place as Where};

/// A bus that takes nothing while it is away, as a server that does not answer.
struct Away {
    inner: SharedBus,
    away: AtomicBool,
}

#[async_trait]
impl Bus for Away {
    async fn publish_with(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<(), BusError> {
        self.inner.publish_with(subject, headers, payload).await
    }

    async fn subscribe(&self, filter: &str) -> Result<Subscription, BusError> {
        self.inner.subscribe(filter).await
    }

    async fn subscribe_in(&self, group: &str, filter: &str) -> Result<Subscription, BusError> {
        self.inner.subscribe_in(group, filter).await
    }

    async fn request(&self, subject: &str, payload: Bytes, timeout: Duration) -> Result<Bytes, BusError> {
        self.inner.request(subject, payload, timeout).await
    }

    async fn append_with(
        &self,
        subject: &str,
        id: &str,
        headers: Headers,
        payload: Bytes,
    ) -> Result<Receipt, BusError> {
        if self.away.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.append_with(subject, id, headers, payload).await
    }

    async fn consume(&self, stream: Stream, name: &str, filter: &str) -> Result<Consumer, BusError> {
        self.inner.consume(stream, name, filter).await
    }

    fn outstanding(&self) -> Option<u64> {
        self.inner.outstanding()
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.inner.flush().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

fn plan(dir: &Path, max_bytes: u64) -> (SpoolPlan, Counts) {
    let counts = Counts::default();
    let counted = Arc::clone(&counts);
    let place = Where { site: "s".into(), node: "n".into(), ifid: 0, interface: "eth0".into() };
    let plan = SpoolPlan {
        dir: dir.to_owned(),
        max_bytes,
        count: Arc::new(move |kind, count| {
            if count > 0 {
                *counted.lock().unwrap().entry(kind.to_owned()).or_default() += count;
            }
        }),
        alert: Arc::new(move |kind, text| {
            let now = Timestamp::from_secs(1);
            flow_alert::interface_alert(&place, kind, shared::model::Severity::Error, text, now)
        }),
    };
    (plan, counts)
}

fn open(bus: &SharedBus, plan: SpoolPlan) -> Spooling {
    Spooling::open(bus, &Writer { subjects: Subjects::default(), compress: false }, plan).unwrap()
}

fn message(kind: Kind, number: usize) -> Message {
    let subjects = Subjects::default();
    let subject = match kind {
        Kind::Delta => subjects.delta("s", 1, "n", 0),
        Kind::Flows => subjects.flows("s", "n", 0),
        Kind::Alert => format!("al.v1.s.host.error.{number}"),
        Kind::Post => subjects.post("s"),
    };
    Message { kind, subject, id: format!("{}/{number}", kind.name()), payload: vec![7; 1000].into() }
}

/// Acknowledges what comes for a stream, and notes payload sizes by sequence of coming.
fn reader(mut consumer: Consumer) -> Arc<Mutex<Vec<String>>> {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Some(queued) = consumer.next().await {
            kept.lock().unwrap().push(String::from_utf8_lossy(&queued.payload).into_owned());
            queued.ack();
        }
    });
    seen
}

fn numbered(kind: Kind, number: usize) -> Message {
    Message { payload: Bytes::from(format!("{}-{number:05}", kind.name())), ..message(kind, number) }
}

async fn readers(bus: &SharedBus) -> BTreeMap<&'static str, Arc<Mutex<Vec<String>>>> {
    let mut readers = BTreeMap::new();
    for (name, stream) in [("delta", Stream::Delta), ("flows", Stream::Flow), ("alert", Stream::Alert)] {
        let filter = Subjects::default().all(stream.kind());
        readers.insert(name, reader(bus.consume(stream, "test", &filter).await.unwrap()));
    }
    readers
}

async fn settle(spooling: &mut Spooling) {
    let empty = async {
        while !(spooling.urgent.is_empty() && spooling.bulk.is_empty()) {
            spooling.progress().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), empty).await.expect("everything is sent");
}

fn named(kind: Kind, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{}-{number:05}", kind.name())).collect()
}

fn away() -> (Arc<Away>, SharedBus) {
    let inner: SharedBus = MemoryBus::new(MemoryConfig::default());
    let away = Arc::new(Away { inner, away: AtomicBool::new(false) });
    (Arc::clone(&away), away)
}

#[tokio::test(start_paused = true)]
async fn what_the_bus_does_not_take_is_on_disk_and_comes_in_order_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (switch, bus) = away();
    let seen = readers(&bus).await;
    let (plan, counts) = plan(dir.path(), 1 << 20);
    let mut spooling = open(&bus, plan.clone());
    for number in 0..300 {
        if number == 100 {
            settle(&mut spooling).await;
            switch.away.store(true, Ordering::SeqCst);
        }
        for kind in [Kind::Delta, Kind::Flows, Kind::Alert] {
            let before = tokio::time::Instant::now();
            spooling.send(numbered(kind, number)).await;
            assert!(before.elapsed() <= PATIENCE * 2, "nobody waits for a bus that is away");
        }
    }
    assert!(spooling.bulk.spool.records() >= 400 - 2 * IN_FLIGHT as u64);
    switch.away.store(false, Ordering::SeqCst);
    settle(&mut spooling).await;
    for (kind, name) in [(Kind::Delta, "delta"), (Kind::Flows, "flows"), (Kind::Alert, "alert")] {
        assert_eq!(*seen[name].lock().unwrap(), named(kind, 0..300));
    }
    assert!(counts.lock().unwrap().is_empty(), "{counts:?}");
    assert_eq!(spooling.bulk.spool.bytes(), 0);
    // And then it sends straight again.
    spooling.send(numbered(Kind::Delta, 300)).await;
    assert!(spooling.bulk.spool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_left_on_disk_is_sent_by_the_next_one_first() {
    let dir = tempfile::tempdir().unwrap();
    let (switch, bus) = away();
    let seen = readers(&bus).await;
    let (plan, _) = plan(dir.path(), 1 << 20);
    switch.away.store(true, Ordering::SeqCst);
    let mut spooling = open(&bus, plan.clone());
    for number in 0..50 {
        spooling.send(numbered(Kind::Delta, number)).await;
        spooling.send(numbered(Kind::Alert, number)).await;
    }
    assert!(
        Spooling::open(&bus, &Writer { subjects: Subjects::default(), compress: false }, plan.clone())
            .is_err(),
        "it is in use"
    );
    // Nothing is put away: the process is gone.
    drop(spooling);
    switch.away.store(false, Ordering::SeqCst);
    let mut spooling = open(&bus, plan);
    for number in 50..60 {
        spooling.send(numbered(Kind::Delta, number)).await;
    }
    settle(&mut spooling).await;
    assert_eq!(*seen["delta"].lock().unwrap(), named(Kind::Delta, 0..60));
    assert_eq!(*seen["alert"].lock().unwrap(), named(Kind::Alert, 0..50));
}

#[tokio::test(start_paused = true)]
async fn without_room_flow_records_go_first_then_the_oldest_and_alerts_never() {
    let dir = tempfile::tempdir().unwrap();
    let (switch, bus) = away();
    let seen = readers(&bus).await;
    let (plan, counts) = plan(dir.path(), 16_000);
    switch.away.store(true, Ordering::SeqCst);
    let mut spooling = open(&bus, plan);
    for number in 0..1000 {
        for kind in [Kind::Delta, Kind::Flows, Kind::Alert] {
            spooling.send(numbered(kind, number)).await;
        }
        assert!(spooling.bulk.spool.bytes() <= 16_000);
    }
    switch.away.store(false, Ordering::SeqCst);
    settle(&mut spooling).await;
    let counts = counts.lock().unwrap().clone();
    let (deltas, flows) = (seen["delta"].lock().unwrap().clone(), seen["flows"].lock().unwrap().clone());
    // A record that was under way when its segment was dropped may come all the same.
    let known = counts["spool_dropped"] + (deltas.len() + flows.len()) as u64 + counts["flow_batches_shed"];
    assert!((2000..2000 + BATCH.0 as u64).contains(&known), "{known} of 2000");
    assert!(flows.len() < deltas.len() / 10, "{} {}", flows.len(), deltas.len());
    let gaps = deltas.windows(2).rposition(|pair| !follows(pair)).map_or(0, |place| place + 1);
    assert!(gaps <= BATCH.0, "{gaps} came from before a gap");
    let newest = &deltas[gaps..];
    assert_eq!(newest, named(Kind::Delta, 1000 - newest.len()..1000), "the newest are there without a gap");
    let alerts = seen["alert"].lock().unwrap().clone();
    let own: Vec<&String> = alerts.iter().filter(|text| text.starts_with("alert-")).collect();
    assert_eq!(own.len(), 1000);
    let told: Vec<&String> = alerts.iter().filter(|text| !text.starts_with("alert-")).collect();
    let says = |place: usize, what: &str| told[place].contains(what);
    assert!(told.len() == 2 && says(0, "flow_records_shed") && says(1, "spool_full"), "{told:?}");
}

/// The disk takes nothing new, as a full one.
#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_nothing_holds_nothing_up_when_the_bus_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (switch, bus) = away();
    let seen = readers(&bus).await;
    let (plan, counts) = plan(dir.path(), 1 << 20);
    switch.away.store(true, Ordering::SeqCst);
    let mut spooling = open(&bus, plan);
    for number in 0..50 {
        spooling.send(numbered(Kind::Delta, number)).await;
    }
    std::fs::remove_dir_all(dir.path().join("urgent")).unwrap();
    {
        let mut alert = std::pin::pin!(spooling.send(numbered(Kind::Alert, 0)));
        assert!(tokio::time::timeout(Duration::from_secs(60), &mut alert).await.is_err(), "there is no way");
        switch.away.store(false, Ordering::SeqCst);
        tokio::time::timeout(Duration::from_secs(60), &mut alert).await.expect("the bus is back");
    }
    assert_eq!(*seen["alert"].lock().unwrap(), named(Kind::Alert, 0..1));
    settle(&mut spooling).await;
    assert_eq!(*seen["delta"].lock().unwrap(), named(Kind::Delta, 0..50));
    assert!(counts.lock().unwrap().is_empty(), "{counts:?}");
}

/// True of two names of which the second has the next number.
fn follows(pair: &[String]) -> bool {
    let number = |name: &String| name.rsplit('-').next().and_then(|text| text.parse::<u32>().ok());
    matches!((number(&pair[0]), number(&pair[1])), (Some(a), Some(b)) if b == a + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_that_is_stopped_and_started_again_misses_nothing() {
    let Some(mut server) = NatsServer::start("a_real_server_that_is_stopped").await else { return };
    let config = NatsConfig { servers: vec![server.url.clone()], ..NatsConfig::default() };
    let bus: SharedBus = NatsBus::connect(config).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (plan, counts) = plan(dir.path(), 1 << 24);
    let mut spooling = open(&bus, plan.clone());
    for number in 0..200 {
        if number == 50 {
            server.kill();
        }
        for kind in [Kind::Delta, Kind::Alert] {
            spooling.send(numbered(kind, number)).await;
        }
    }
    assert!(!spooling.bulk.spool.is_empty() && !spooling.urgent.spool.is_empty());
    // A collector that is killed meanwhile leaves its spool; the next one sends it.
    drop(spooling);
    let mut spooling = open(&bus, plan);
    server.restart().await;
    let sent = async {
        while !(spooling.urgent.is_empty() && spooling.bulk.is_empty()) {
            spooling.progress().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), sent).await.expect("everything is sent");
    for (stream, kind) in [(Stream::Delta, Kind::Delta), (Stream::Alert, Kind::Alert)] {
        let filter = Subjects::default().all(stream.kind());
        let mut consumer = bus.consume(stream, "test", &filter).await.unwrap();
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 200 {
            let next = tokio::time::timeout(Duration::from_secs(20), consumer.next()).await;
            let queued = next.unwrap_or_else(|_| panic!("{kind:?}: {} of 200", seen.len())).unwrap();
            seen.insert(String::from_utf8_lossy(&queued.payload).into_owned());
            queued.ack();
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), named(kind, 0..200));
    }
    assert!(counts.lock().unwrap().is_empty(), "{counts:?}");
    bus.close().await;
}
