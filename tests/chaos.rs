//! A cluster of real processes and servers in which things break, one after the other and some at once, as
//! a seed says; afterwards everything that was kept and delivered is looked through.
//!
//! `just chaos SEED ROUNDS` does more of it than a run of the tests. What happens:
//! processes of each role killed (SIGKILL) or stopped where they stand (SIGSTOP), both servers killed, ways
//! between processes and servers cut, both ways and one way, aggregators that go and come, summaries that
//! come twice, a storm of alerts, and a flood of hosts.

mod check;
mod load;
mod site;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shared::bus::test_server::NatsServer;
use shared::clock::{Clock, Stopwatch, SystemClock};
use shared::store::postgres::test_server::PostgresServer;

use crate::support::http::{Recorder, ask, get_json};
use crate::support::{free_port, wait_for};
use crate::takeover::{counted, packets};
use load::Exporter;
use site::{NAME, Role, Servers};

/// Alerts of the storm.
const STORM: usize = 1500;

/// Seconds after which what a killed aggregator held is another's, and how much longer it may take where the
/// machine has much else to do.
const TAKEOVER_S: f64 = 15.0;
const BUSY_S: f64 = 5.0;

/// The most memory that a process may have had, of a program built for tests, in KiB.
const PEAK_KIB: u64 = 400 << 10;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    KillAggregator,
    PauseAggregator,
    LeaveAggregator,
    CutBus,
    CutBusOneWay,
    CutStore,
    KillNats,
    KillPostgres,
    KillNotifier,
    CutCollector,
    KillCollector,
    Storm,
    Flood,
}

use Fault::*;

/// Faults of aggregators, and for how many seconds each lasts: long enough that a lease is lost.
const OF_AGGREGATORS: [(Fault, u64); 6] = [
    (KillAggregator, 5),
    (PauseAggregator, 12),
    (LeaveAggregator, 3),
    (CutBus, 9),
    (CutBusOneWay, 9),
    (CutStore, 4),
];

/// The others, which go on at the same time.
const OF_OTHERS: [(Fault, u64); 7] = [
    (KillNats, 2),
    (KillPostgres, 2),
    (KillNotifier, 2),
    (CutCollector, 6),
    (KillCollector, 2),
    (Storm, 1),
    (Flood, 2),
];

/// Numbers from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn shuffled<T: Copy>(&mut self, of: &[T]) -> Vec<T> {
        let mut left = of.to_vec();
        (0..of.len()).map(|_| left.swap_remove(self.below(left.len() as u64) as usize)).collect()
    }
}

/// A fault, from when until when, in milliseconds since the begin, and which of two it hurts.
#[derive(Clone, Copy, Debug)]
struct Event {
    fault: Fault,
    begin: u64,
    end: u64,
    victim: usize,
}

/// Every fault once a round, in an order of its own; those of aggregators one after the other, and first a
/// kill while both of them have held their share for a while.
fn plan(seed: u64, rounds: u64) -> Vec<Event> {
    let mut chance = Chance(seed);
    let mut events = Vec::new();
    for lane in [&OF_AGGREGATORS[..], &OF_OTHERS[..]] {
        let mut at = 0;
        for _ in 0..rounds {
            let mut faults = chance.shuffled(lane);
            faults.sort_by_key(|(fault, _)| *fault != KillAggregator);
            for (fault, seconds) in faults {
                let calm = if fault == KillAggregator { 6000 } else { 1000 };
                let begin = at + calm + chance.below(2000);
                let end = begin + seconds * 1000;
                events.push(Event { fault, begin, end, victim: chance.below(2) as usize });
                // Who takes over is left in peace for as long as that may take.
                at = if fault == KillAggregator { begin + 18_000 } else { end };
            }
        }
    }
    events
}

/// Everything that can be hurt.
struct World {
    runtime: tokio::runtime::Runtime,
    nats: NatsServer,
    postgres: PostgresServer,
    aggregators: [Role; 2],
    notifiers: [Role; 2],
    collector: Role,
    exporter: Arc<Exporter>,
    storms: Vec<tokio::task::JoinHandle<()>>,
    /// Flows sent while nobody took them, or that a killed collector may not have told of.
    lost: u64,
    sent_before: u64,
}

impl World {
    fn begin(&mut self, event: Event) {
        let Event { fault, victim, .. } = event;
        let aggregator = &mut self.aggregators[victim];
        match fault {
            KillAggregator => aggregator.kill(),
            PauseAggregator => aggregator.pause(true),
            LeaveAggregator => aggregator.leave(),
            CutBus => aggregator.bus.cut(false),
            CutBusOneWay => aggregator.bus.cut(true),
            CutStore => aggregator.store.cut(false),
            KillNats => self.nats.kill(),
            KillPostgres => self.postgres.kill(),
            KillNotifier => self.notifiers[victim].kill(),
            CutCollector => self.collector.bus.cut(false),
            KillCollector => {
                self.collector.kill();
                self.sent_before = self.exporter.sent.load(Ordering::SeqCst);
            }
            Storm if self.storms.is_empty() => {
                let bus = self.runtime.block_on(crate::cluster::connect(&self.nats.url, NAME));
                self.storms.push(self.runtime.spawn(load::storm(bus, STORM)));
            }
            Storm => {}
            Flood => self.exporter.rate.store(20, Ordering::SeqCst),
        }
    }

    fn end(&mut self, event: Event) {
        let Event { fault, victim, .. } = event;
        let aggregator = &mut self.aggregators[victim];
        match fault {
            KillAggregator => aggregator.run(),
            LeaveAggregator => {
                aggregator.has_left();
                aggregator.run();
            }
            PauseAggregator => aggregator.pause(false),
            CutBus | CutBusOneWay => aggregator.bus.heal(),
            CutStore => aggregator.store.heal(),
            KillNats => self.runtime.block_on(self.nats.restart()),
            KillPostgres => self.runtime.block_on(self.postgres.restart()),
            KillNotifier => self.notifiers[victim].run(),
            CutCollector => self.collector.bus.heal(),
            KillCollector => {
                self.collector.run();
                let log = self.collector.log();
                let started = log.matches("started").count();
                wait_for("the collector again", 20, || {
                    (self.collector.log().matches("started").count() > started).then_some(())
                });
                // What came within the last seconds before the kill may not have been told of.
                let unheard = self.exporter.sent.load(Ordering::SeqCst) - self.sent_before;
                self.lost += unheard + 3 * 10 * u64::from(self.exporter.rate.load(Ordering::SeqCst)) * 30;
            }
            Storm => {}
            Flood => self.exporter.rate.store(2, Ordering::SeqCst),
        }
    }

    /// Lets everything happen that is planned; gives when each fault began, in seconds since the epoch.
    fn suffer(&mut self, plan: &[Event]) -> Vec<(Event, f64)> {
        let clock = Stopwatch::start();
        let mut moments: Vec<(u64, bool, Event)> =
            plan.iter().flat_map(|event| [(event.begin, true, *event), (event.end, false, *event)]).collect();
        moments.sort_by_key(|(at, ..)| *at);
        let mut begun = Vec::new();
        for (at, begins, event) in moments {
            while clock.elapsed() < Duration::from_millis(at) {
                std::thread::park_timeout(Duration::from_millis(100));
                self.roles().for_each(Role::look_after);
            }
            if begins {
                begun.push((event, SystemClock.now().ns() as f64 / 1e9));
                self.begin(event);
            } else {
                self.end(event);
            }
        }
        begun
    }

    fn roles(&mut self) -> impl Iterator<Item = &mut Role> {
        self.aggregators.iter_mut().chain(&mut self.notifiers).chain([&mut self.collector])
    }
}

#[test]
fn whatever_breaks_nothing_is_lost_counted_twice_or_told_under_two_keys() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("CHAOS_SEED").unwrap_or(1);
    let plan = plan(seed, number("CHAOS_ROUNDS").unwrap_or(1));
    eprintln!("CHAOS_SEED={seed}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(nats) = crate::cluster::nats_server(NAME) else { return };
    let Some(postgres) = crate::cluster_store::postgres_server(&runtime, NAME) else { return };
    runtime.block_on(postgres.database(NAME));
    let recorder = Recorder::answering(|number, _| if number % 11 == 5 { 503 } else { 200 });
    let url = postgres.url(NAME);
    let servers = Servers {
        nats: nats.url.rsplit(':').next().unwrap().parse().unwrap(),
        postgres: postgres.port(),
        login: url["postgresql://".len()..].split("127.0.0.1").next().unwrap().to_owned(),
    };
    let up = |role: &Role| {
        let health = format!("{}/health", role.url());
        wait_for("the API", 60, || ask("GET", &health).filter(|(status, _)| *status == 200));
    };
    let a = Role::start("aggregator", "a", &servers, &recorder, "");
    up(&a);
    runtime.block_on(postgres.sql(NAME, check::WATCH));
    let b = Role::start("aggregator", "b", &servers, &recorder, "");
    up(&b);
    let n = Role::start("notifier", "n", &servers, &recorder, "");
    let m = Role::start("notifier", "m", &servers, &recorder, "[notifier.hooks]\nenabled = false\n");
    let exported = free_port();
    let listen =
        format!("[[collector.interface]]\nname = \"far0\"\nlisten = \"udp://127.0.0.1:{exported}\"\n");
    let collector = Role::start("collector", "f", &servers, &recorder, &listen);
    wait_for("all processes", 40, || {
        (get_json(&format!("{}/nodes", a.url()))["items"].as_array()?.len() == 5).then_some(())
    });

    let (exporter, exporting) = Exporter::start(exported);
    let stop = Arc::new(AtomicBool::new(false));
    let bus = runtime.block_on(crate::cluster::connect(&nats.url, NAME));
    let producing = runtime.spawn(load::summaries(Arc::clone(&bus), Arc::clone(&stop)));
    let mut world = World {
        runtime,
        nats,
        postgres,
        aggregators: [a, b],
        notifiers: [n, m],
        collector,
        exporter,
        storms: Vec::new(),
        lost: 0,
        sent_before: 0,
    };
    let begun = world.suffer(&plan);
    world.exporter.stop();
    exporting.join().unwrap();
    stop.store(true, Ordering::SeqCst);
    let seconds = world.runtime.block_on(producing).unwrap();
    for storm in std::mem::take(&mut world.storms) {
        world.runtime.block_on(storm).unwrap();
    }

    wait_for("all aggregators", 40, || {
        world.roles().for_each(Role::look_after);
        let up = |role: &Role| ask("GET", &format!("{}/health", role.url())).is_some_and(|(s, _)| s == 200);
        world.aggregators.iter().all(up).then_some(())
    });

    // Everything that was sent is counted once, by whoever is asked.
    let expected = counted(u64::try_from(seconds).unwrap());
    for role in &world.aggregators {
        counted_in_time(role, &expected);
    }
    let sent = world.exporter.sent.load(Ordering::SeqCst);
    let far = || {
        let interfaces = get_json(&format!("{}/interfaces", world.aggregators[0].url()));
        let row = interfaces["items"].as_array()?.iter().find(|row| row["site"] == "far")?.clone();
        Some((row["stats"]["packets"].as_u64()?, row["stats"]["drops"].as_u64()?, row))
    };
    wait_for("the flows of the exporter", 60, || {
        far().filter(|(packets, drops, _)| packets + drops + world.lost >= sent)
    });
    let (packets, drops, row) = far().unwrap();
    assert!(packets <= sent, "{packets} of {sent} flows: {row}");
    eprintln!("flows: {sent} sent, {packets} counted, {drops} dropped, at most {} lost by kills", world.lost);

    // Scripts told what they tell in a calm run, each once.
    let wanted = check::expected(seconds);
    let told = world.runtime.block_on(check::told(&bus, wanted.len()));
    assert_eq!(told.values().cloned().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(told.len(), wanted.len(), "under one id each");

    // Every alert arrived, each time under the same key.
    let stormed = (0..STORM).map(|number| load::stormy(number).transition_id());
    let alerts: BTreeSet<String> = told.keys().cloned().chain(stormed).collect();
    wait_for("every alert at the endpoint", 60, || {
        let arrived = check::arrived(&recorder);
        alerts.iter().all(|id| arrived.contains_key(id)).then_some(())
    });
    wait_for("nothing owed", 60, || (check::owed(&world.aggregators[0].url())? == 0).then_some(()));
    let arrived = check::arrived(&recorder);
    for (id, keys) in &arrived {
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 1, "{id} came under several keys: {keys:?}");
    }
    let again: usize = arrived.values().map(|keys| keys.len() - 1).sum();
    eprintln!("alerts: {} arrived, {again} of them came again under their keys", arrived.len());

    // Nothing was taken of who had lost a partition, and what a killed one held was soon another's.
    let writes = world.runtime.block_on(check::writes(&world.postgres));
    check::fences(&writes);
    for (event, at) in begun.iter().filter(|(event, _)| event.fault == KillAggregator) {
        let overlap = |other: &Event| {
            let (begin, end) = (event.begin.max(other.begin), (event.begin + 15_000).min(other.end));
            matches!(other.fault, KillNats | KillPostgres).then(|| end.saturating_sub(begin)).unwrap_or(0)
        };
        // Nobody can take over what both servers are away for, nor while they come back.
        let away: u64 = plan.iter().map(|other| (overlap(other) > 0) as u64 * (overlap(other) + 5000)).sum();
        let took = check::takeovers(&writes, world.aggregators[event.victim].name, *at);
        let longest = took.iter().copied().fold(0.0, f64::max);
        assert!(!took.is_empty(), "{} held nothing when it was killed", world.aggregators[event.victim].name);
        eprintln!(
            "takeover: {} partitions, the last after {longest:.1} s, servers away {away} ms",
            took.len()
        );
        assert!(longest <= TAKEOVER_S + BUSY_S + away as f64 / 1000.0, "{took:?}");
    }
    let refused: usize =
        world.aggregators.iter().map(|role| role.log().matches("is another's: fence").count()).sum();
    eprintln!("writes: {} of partitions, {refused} refused", writes.len());
    for role in world.roles() {
        role.look();
        eprintln!("memory: {} had {} MiB at most", role.name, role.peak_kib >> 10);
        assert!(role.peak_kib > 0 && role.peak_kib < PEAK_KIB, "{}: {} KiB", role.name, role.peak_kib);
    }
}

/// Waits until an aggregator says that this was counted, and nothing is missing.
fn counted_in_time(role: &Role, expected: &[u64]) {
    let known = std::cell::RefCell::new(None);
    let counted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("everything counted", 60, || {
            *known.borrow_mut() = ask("GET", &format!("{}/interfaces", role.url()));
            (packets(&role.url())? == expected).then_some(())
        });
    }));
    assert!(counted.is_ok(), "{} has to count {expected:?} and says {:?}", role.name, known.borrow());
}
