//! A cluster in which things break: its processes and servers, what goes in, and what must hold afterwards.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::bus::SharedBus;
use shared::bus::nats::{NatsBus, NatsConfig};
use shared::bus::test_server::NatsServer;
use shared::clock::Stopwatch;
use shared::store::postgres::test_server::PostgresServer;

use super::left::{WATCH, is_refused};
use super::load::{self, Exporter, Stalls, now};
use super::servers::Three;
use super::site::{NAME, Role, Servers};
use super::{Event, Fault, Fault::*};
use crate::support::http::{Recorder, ask, get_json};
use crate::support::{free_port, wait_for};

/// Alerts of the storm.
pub const STORM: usize = 1500;

/// What came within so many seconds before a collector is killed it may not have counted where others see it,
/// and what within so many more was of flows that had not ended, or were on their way.
const UNTOLD_S: [f64; 2] = [3.0, 10.0];

/// The servers of the bus.
pub enum Bus {
    /// One.
    One(NatsServer),
    /// Three with copies.
    Three(Three),
}

/// A fault that was done: to which of two, and in which seconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub(super) fault: Fault,
    pub(super) victim: usize,
    pub(super) from: f64,
    pub(super) to: f64,
}

/// Everything that can be hurt, and what goes in meanwhile.
pub struct World {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) servers: Bus,
    pub(super) postgres: PostgresServer,
    pub(super) standby: Option<PostgresServer>,
    pub(super) aggregators: [Role; 2],
    pub(super) notifiers: [Role; 2],
    pub(super) collector: Role,
    pub(super) recorder: Recorder,
    pub(super) exporter: Arc<Exporter>,
    pub(super) exporting: Option<std::thread::JoinHandle<()>>,
    pub(super) bus: SharedBus,
    pub(super) producing: tokio::task::JoinHandle<i64>,
    pub(super) reading: tokio::task::JoinHandle<()>,
    pub(super) storms: Vec<tokio::task::JoinHandle<()>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) upto: Arc<AtomicU64>,
    pub(super) stalls: Stalls,
    pub(super) done: Vec<Done>,
    /// Servers of the bus that are hurt now.
    pub(super) hurt: Vec<usize>,
    /// Flows sent while nobody took them, or that a killed collector may not have told of: those not counted,
    /// those not stored.
    pub(super) lost: [u64; 2],
    pub(super) sent_before: [u64; 2],
}

impl World {
    /// Starts everything. `None`, said loudly, where a server is not installed.
    pub fn start(runtime: tokio::runtime::Runtime, servers: Bus, with_standby: bool) -> Option<Self> {
        let postgres = crate::cluster_store::postgres_server(&runtime, NAME)?;
        runtime.block_on(postgres.database(NAME));
        let standby = with_standby.then(|| runtime.block_on(postgres.standby(NAME)));
        let recorder = Recorder::answering(|number, _| if is_refused(number) { 503 } else { 200 });
        let url = postgres.url(NAME);
        let places = match &servers {
            Bus::One(server) => vec![server.url["nats://".len()..].to_owned()],
            Bus::Three(three) => three.places(),
        };
        let replicas = places.len();
        let at = Servers {
            nats: places.clone(),
            replicas,
            postgres: [Some(&postgres), standby.as_ref()].into_iter().flatten().map(|p| p.port()).collect(),
            login: url["postgresql://".len()..].split("127.0.0.1").next()?.to_owned(),
        };
        let up = |role: &Role| {
            let health = format!("{}/health", role.url());
            wait_for("the API", 60, || ask("GET", &health).filter(|(status, _)| *status == 200));
        };
        let a = Role::start("aggregator", "a", &at, &recorder, "");
        up(&a);
        runtime.block_on(postgres.sql(NAME, WATCH));
        let b = Role::start("aggregator", "b", &at, &recorder, "");
        up(&b);
        let n = Role::start("notifier", "n", &at, &recorder, "");
        let m = Role::start("notifier", "m", &at, &recorder, "[notifier.hooks]\nenabled = false\n");
        let port = free_port();
        let listen = format!(
            "[collector]\nflow_idle_s = 1\n[[collector.interface]]\nname = \"far0\"\nlisten = \"udp://127.0.0.1:{port}\"\n"
        );
        let collector = Role::start("collector", "f", &at, &recorder, &listen);
        wait_for("all processes", 40, || {
            (get_json(&format!("{}/nodes", a.url()))["items"].as_array()?.len() == 5).then_some(())
        });
        let (exporter, exporting) = Exporter::start(port);
        let stop = Arc::new(AtomicBool::new(false));
        let (upto, stalls) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let bus = runtime.block_on(connect(&places[..1]));
        let producing =
            runtime.spawn(load::summaries(Arc::clone(&bus), Arc::clone(&stop), Arc::clone(&stalls)));
        let reading = runtime.spawn(load::ordered(Arc::clone(&bus), Arc::clone(&upto)));
        Some(Self {
            runtime,
            servers,
            postgres,
            standby,
            aggregators: [a, b],
            notifiers: [n, m],
            collector,
            recorder,
            exporter,
            exporting: Some(exporting),
            bus,
            producing,
            reading,
            storms: Vec::new(),
            stop,
            upto,
            stalls,
            done: Vec::new(),
            hurt: Vec::new(),
            lost: [0; 2],
            sent_before: [0; 2],
        })
    }

    fn begin(&mut self, fault: Fault, victim: usize) {
        let aggregator = &mut self.aggregators[victim];
        match fault {
            KillAggregator => aggregator.kill(),
            PauseAggregator => aggregator.pause(true),
            LeaveAggregator => aggregator.leave(),
            CutBus => aggregator.bus.cut(false),
            CutBusOneWay => aggregator.bus.cut(true),
            CutStore => aggregator.store.cut(false),
            KillNats | KillLeader | KillTwo | KillAll | PauseLeader | CutFirst => self.hurt_servers(fault),
            KillPostgres | Promote => self.postgres.kill(),
            StopPostgres => self.postgres.stop_immediately(),
            KillNotifier => self.notifiers[victim].kill(),
            CutCollector => self.collector.bus.cut(false),
            KillCollector => {
                self.collector.kill();
                self.sent_before = UNTOLD_S.map(|seconds| self.exporter.sent_before(seconds));
            }
            Storm if self.storms.is_empty() => {
                self.storms.push(self.runtime.spawn(load::storm(Arc::clone(&self.bus), STORM)));
            }
            Storm => {}
            Flood => self.exporter.rate.store(20, Ordering::SeqCst),
        }
    }

    fn hurt_servers(&mut self, fault: Fault) {
        let three = match &mut self.servers {
            Bus::One(server) => return server.kill(),
            Bus::Three(three) => three,
        };
        let leader = three.leader(&format!("{}_DELTA", NAME.to_uppercase()));
        self.hurt = match fault {
            KillTwo => vec![leader, (leader + 1) % 3],
            KillAll => vec![0, 1, 2],
            CutFirst => vec![0],
            _ => vec![leader],
        };
        for place in &self.hurt {
            match fault {
                PauseLeader => three.pause(*place, true),
                CutFirst => three.cut(*place, true),
                _ => three.kill(*place),
            }
        }
    }

    fn end(&mut self, fault: Fault, victim: usize) {
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
            KillNats | KillLeader | KillTwo | KillAll | PauseLeader | CutFirst => self.heal_servers(fault),
            KillPostgres | StopPostgres => self.runtime.block_on(self.postgres.restart()),
            Promote => {
                if let Some(standby) = self.standby.take() {
                    self.runtime.block_on(standby.promote());
                    self.postgres = standby;
                }
            }
            KillNotifier => self.notifiers[victim].run(),
            CutCollector => self.collector.bus.heal(),
            KillCollector => {
                let started = self.collector.log().matches("started").count();
                self.collector.run();
                wait_for("the collector again", 20, || {
                    (self.collector.log().matches("started").count() > started).then_some(())
                });
                let sent = self.exporter.sent.load(Ordering::SeqCst);
                for (lost, before) in self.lost.iter_mut().zip(self.sent_before) {
                    *lost += sent - before;
                }
            }
            Storm => {}
            Flood => self.exporter.rate.store(2, Ordering::SeqCst),
        }
    }

    fn heal_servers(&mut self, fault: Fault) {
        let three = match &mut self.servers {
            Bus::One(server) => return self.runtime.block_on(server.restart()),
            Bus::Three(three) => three,
        };
        for place in std::mem::take(&mut self.hurt) {
            match fault {
                PauseLeader => three.pause(place, false),
                CutFirst => three.cut(place, false),
                _ => three.run(place),
            }
        }
    }

    /// Lets everything happen that is planned.
    pub fn suffer(&mut self, plan: &[Event]) {
        let clock = Stopwatch::start();
        let mut moments: Vec<(u64, bool, usize)> = (0..plan.len())
            .flat_map(|number| [(plan[number].begin, true, number), (plan[number].end, false, number)])
            .collect();
        moments.sort_by_key(|(at, ..)| *at);
        let mut begun = vec![0.0; plan.len()];
        for (at, begins, number) in moments {
            self.wait_until(&clock, at);
            let Event { fault, victim, .. } = plan[number];
            if begins {
                begun[number] = now();
                self.begin(fault, victim);
            } else {
                self.end(fault, victim);
                self.done.push(Done { fault, victim, from: begun[number], to: now() });
            }
        }
    }

    /// One fault after the other, each for so many seconds, and the servers well again in between.
    pub fn suffer_in_turn(&mut self, faults: &[(Fault, u64)]) {
        for (fault, seconds) in faults {
            self.wait_until(&Stopwatch::start(), 2000);
            let from = now();
            self.begin(*fault, 0);
            self.wait_until(&Stopwatch::start(), seconds * 1000);
            self.end(*fault, 0);
            self.done.push(Done { fault: *fault, victim: 0, from, to: now() });
            if let Bus::Three(three) = &self.servers {
                three.healthy();
            }
        }
    }

    fn wait_until(&mut self, clock: &Stopwatch, ms: u64) {
        while clock.elapsed() < Duration::from_millis(ms) {
            std::thread::park_timeout(Duration::from_millis(100));
            self.roles().for_each(Role::look_after);
        }
    }

    /// All processes.
    pub(super) fn roles(&mut self) -> impl Iterator<Item = &mut Role> {
        self.aggregators.iter_mut().chain(&mut self.notifiers).chain([&mut self.collector])
    }
}

/// A connection of the test's own, at first to these; streams are made by others.
async fn connect(places: &[String]) -> SharedBus {
    let config = NatsConfig {
        servers: places.iter().map(|place| format!("nats://{place}")).collect(),
        prefix: NAME.to_owned(),
        create_streams: Some(false),
        ..NatsConfig::default()
    };
    NatsBus::connect(config).await.unwrap()
}
