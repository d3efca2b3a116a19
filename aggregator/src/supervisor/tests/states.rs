//! What leases, shards and nodes tell of their states.

use async_trait::async_trait;
use shared::bus::BusError;
use shared::clock::Clock;
use shared::events::{Emitter, Outlet, StateBody, config::EventsConfig};
use shared::lease::{Lease, Leases};
use shared::store::events::EventStore;
use shared::wire::heartbeat::Heartbeat;

use super::faults::FailsOnce;
use super::*;
use crate::config::MonitorConfig;

/// Tells events to a bus, through a store where there is one.
fn emitter(bus: &SharedBus, store: Option<&SqliteStore>) -> Emitter {
    let outlet = Outlet {
        bus: Arc::clone(bus),
        store: store.map(|store| Arc::new(store.clone()) as Arc<dyn EventStore>),
        subjects: Subjects::default(),
        clock: SystemClock::shared(),
        owner: "n1".to_owned(),
        source: "/s/n".to_owned(),
        answers: true,
        config: EventsConfig::default(),
    };
    Emitter::start(outlet).0
}

/// Waits until these have been told, in whatever order.
async fn told(events: &mut shared::bus::Consumer, wanted: &[&str]) {
    let mut left = wanted.to_vec();
    while !left.is_empty() {
        let queued = tokio::time::timeout(DEADLINE, events.next()).await;
        let queued = queued.unwrap_or_else(|_| panic!("{left:?} come")).unwrap();
        left.retain(|subject| *subject != queued.subject);
        queued.ack();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_and_shards_tell_when_they_come_and_go() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut events = bus.consume(Stream::Event, "test", "event.state.>").await.unwrap();
    let deps = AggregatorDeps { events: emitter(&bus, None), ..deps(&bus, &store) };
    let aggregator = spawn(deps).await.unwrap();
    told(&mut events, &["event.state.LEASE.TAKEN._.7", "event.state.SHARD.STARTED._.7"]).await;
    let stopping = tokio::spawn(stop(aggregator));
    told(&mut events, &["event.state.SHARD.STOPPED._.7", "event.state.LEASE.RELEASED._.7"]).await;
    stopping.await.unwrap();
}

/// Leases of which none is renewed any more, once that is said.
struct Loses(Arc<MemoryLeases>, std::sync::atomic::AtomicBool);

#[async_trait]
impl Leases for Loses {
    async fn take(&self, name: &str, holder: &str) -> Result<Option<Lease>, BusError> {
        match self.1.load(Ordering::SeqCst) {
            true => Ok(None),
            false => self.0.take(name, holder).await,
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<Option<Lease>, BusError> {
        match self.1.load(Ordering::SeqCst) {
            true => Ok(None),
            false => self.0.renew(lease).await,
        }
    }

    async fn give_up(&self, lease: &Lease) -> Result<(), BusError> {
        self.0.give_up(lease).await
    }

    async fn holder(&self, name: &str) -> Result<Option<String>, BusError> {
        self.0.holder(name).await
    }
}

/// What one of several aggregators is started with, whose leases last for a second.
fn one_of_several(known: AggregatorDeps, node: &str) -> AggregatorDeps {
    let monitor = MonitorConfig { enabled: false, ..MonitorConfig::default() };
    let config = AggregatorConfig { monitor, ..known.config.clone() };
    let times = Times::of(Duration::from_secs(1));
    AggregatorDeps { alone: false, node: node.to_owned(), times, config, ..known }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_lost_is_told_and_ends_its_shard() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut events = bus.consume(Stream::Event, "test", "event.state.>").await.unwrap();
    let loses = Arc::new(Loses(leases(), false.into()));
    let known = AggregatorDeps { events: emitter(&bus, None), ..deps(&bus, &store) };
    let known = AggregatorDeps { leases: Arc::clone(&loses) as Arc<dyn Leases>, ..known };
    let aggregator = spawn(one_of_several(known, "a")).await.unwrap();
    told(&mut events, &["event.state.LEASE.TAKEN._.7", "event.state.SHARD.STARTED._.7"]).await;
    loses.1.store(true, Ordering::SeqCst);
    told(&mut events, &["event.state.LEASE.LOST._.7", "event.state.SHARD.STOPPED._.7"]).await;
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_fails_is_told_and_started_again() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut events = bus.consume(Stream::Event, "test", "event.state.SHARD.>").await.unwrap();
    let mut deps = AggregatorDeps { events: emitter(&bus, None), ..deps(&bus, &store) };
    deps.alerts = FailsOnce::new(store.clone());
    // It asks the store too, and a shard is to be the one that fails.
    deps.config.monitor.enabled = false;
    let aggregator = spawn(deps).await.unwrap();
    // Its shard asks the store for what is engaged when the first delta comes.
    minute(&bus, 0, 10).await;
    let failed = loop {
        let queued = tokio::time::timeout(DEADLINE, events.next()).await.expect("an event comes").unwrap();
        let failed = queued.subject.strip_prefix("event.state.SHARD.FAILED._.").map(str::to_owned);
        queued.ack();
        if let Some(partition) = failed {
            break partition;
        }
    };
    told(&mut events, &[&format!("event.state.SHARD.STARTED._.{failed}")]).await;
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_aggregators_one_tells_that_a_node_has_gone_without_a_word() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut events = bus.consume(Stream::Event, "test", "event.state.COLLECTOR.>").await.unwrap();
    let (shared_leases, events_of) = (leases(), emitter(&bus, Some(&store)));
    let mut aggregators = Vec::new();
    for node in ["a", "b"] {
        let known = AggregatorDeps { events: events_of.clone(), ..deps(&bus, &store) };
        let known = AggregatorDeps { leases: Arc::clone(&shared_leases) as Arc<dyn Leases>, ..known };
        aggregators.push(spawn(one_of_several(known, node)).await.unwrap());
    }
    let word = || Heartbeat {
        node: "c".to_owned(),
        site: "s".to_owned(),
        role: "collector".to_owned(),
        run: 7,
        sent: SystemClock.now(),
        ..Heartbeat::default()
    };
    let say = async |word: Heartbeat| {
        bus.publish(&Subjects::default().heartbeat("c"), word.encode()).await.unwrap();
    };
    let presences = async |wanted: &str| {
        let known = async {
            loop {
                let known = store.presences().await.unwrap();
                if known.iter().any(|known| known.role == "collector" && known.state.name() == wanted) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, known).await.expect(wanted);
    };
    // Words that come before the aggregators have begun to listen are lost.
    let saying = async {
        loop {
            say(word()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = saying => {}
        () = presences("STARTED") => {}
    }
    // Silence: it is lost. Then it is heard again, and says that it goes.
    presences("LOST").await;
    say(word()).await;
    presences("STARTED").await;
    say(Heartbeat { leaves: true, ..word() }).await;
    presences("STOPPED").await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let queued = tokio::time::timeout(DEADLINE, events.next()).await.expect("an event comes").unwrap();
        let body: StateBody = serde_json::from_slice(&queued.payload).unwrap();
        seen.push((queued.subject.clone(), body.prev.unwrap().state));
        queued.ack();
    }
    let of = |state: &str, prev: &str| (format!("event.state.COLLECTOR.{state}.c"), prev.to_owned());
    assert_eq!(seen, [of("LOST._", "STARTED"), of("STARTED.BACK", "LOST")]);
    assert!(store.queued_events("n1", Timestamp::ZERO, 10).await.unwrap().is_empty(), "nobody tells more");
    for aggregator in aggregators {
        stop(aggregator).await;
    }
}
