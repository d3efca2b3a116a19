//! Collectors: a wire that goes on whatever happens, and the real publisher with its spool.

use std::sync::Arc;
use std::time::Duration;

use collector::flow_alert::{Place, interface_alert};
use collector::pipeline::Item;
use collector::publisher;
use collector::publisher::spooling::SpoolPlan;
use shared::model::{HostCounters, HostKey, InterfaceCounters, NetworkCounters, Severity, Timestamp};
use shared::wire::delta::{Delta, HostDelta, InterfaceDelta, NetworkDelta, Producer};
use shared::wire::subject::Subjects;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bus::NodeBus;
use crate::world::World;

/// Seconds between two summaries.
pub const EVERY_S: i64 = 5;

/// How long the wire is looked at.
pub const SECONDS: i64 = 300;

/// 2023-11-14T22:14:00Z.
pub const START: i64 = 1_700_000_040;

/// The collectors' names; each has one interface, numbered by its place.
pub const NODES: [&str; 2] = ["c0", "c1"];

pub fn interfaces() -> impl Iterator<Item = (&'static str, u32)> {
    (0..NODES.len() as u32).map(|ifid| ("s", ifid))
}

fn mixed(seed: i64, of: u64) -> u64 {
    (shared::backoff::unit_random(seed.unsigned_abs()) * of as f64) as u64
}

/// What an interface has counted from a second of the wire on.
pub fn delta(ifid: u32, epoch: u64, sequence: u64, at: i64) -> Delta {
    let from = Timestamp::from_secs(START + at);
    let busy = |host: i64| if mixed(at / 60 + host + 7 * i64::from(ifid), 2) > 0 { 500 } else { 20 };
    let host = |host: i64| HostDelta {
        key: HostKey::new(format!("10.0.0.{host}").parse().unwrap(), 0),
        mac: None,
        local: true,
        last_seen: from,
        counters: HostCounters { bytes_sent: busy(host), packets_sent: 1, ..HostCounters::default() },
    };
    let hosts: Vec<HostDelta> = (0..4).filter(|n| mixed(at + n, 4) > 0).map(host).collect();
    let bytes = hosts.iter().map(|host| host.counters.bytes_sent).sum();
    let counters = InterfaceCounters { bytes, packets: hosts.len() as u64, ..InterfaceCounters::default() };
    let network = NetworkDelta {
        network: "10.0.0.0/8".parse().unwrap(),
        counters: NetworkCounters { bytes_egress: bytes, ..NetworkCounters::default() },
    };
    Delta {
        producer: Producer {
            site: "s".into(),
            node: NODES[ifid as usize].into(),
            ifid,
            interface: "eth0".into(),
            epoch,
            sequence,
        },
        from,
        to: from.plus_secs(EVERY_S),
        watermark: from.plus_secs(EVERY_S),
        interface: InterfaceDelta { counters, ..InterfaceDelta::default() },
        hosts,
        networks: vec![network],
        ..Delta::default()
    }
}

/// Which run of a node begins now, by its own clock, right or wrong.
pub fn epoch(world: &World, node: &str) -> u64 {
    let now = START + world.now().as_secs() as i64 + world.trouble(node).clock_s;
    collector::epoch::begin(&world.dir.path().join("state").join(node), Timestamp::from_secs(now)).unwrap()
}

/// One run of a collector, from second `from` of the wire on; it dies with the set.
pub fn start(world: &Arc<World>, node: &'static str, run: u64, from: i64) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let ifid = NODES.iter().position(|known| *known == node).unwrap() as u32;
    let place = Place { site: "s".into(), node: node.into(), ifid, interface: "eth0".into() };
    let (items, batches) = mpsc::channel(publisher::CREDIT);
    let (counted, told, clocked) = (Arc::clone(world), place.clone(), Arc::clone(world));
    let plan = SpoolPlan {
        dir: world.dir.path().join(node),
        max_bytes: 1 << 20,
        count: Arc::new(move |kind, count| {
            *counted.lock().counts.entry(kind.to_owned()).or_default() += count;
        }),
        alert: Arc::new(move |kind, text| {
            let now = Timestamp::from_secs(
                clocked.now().as_secs() as i64 + clocked.trouble(told.node.as_str()).clock_s,
            );
            interface_alert(&told, kind, Severity::Error, text, now)
        }),
    };
    let bus = NodeBus::shared(world, node);
    tasks.spawn_local(async move {
        // Each second node compresses.
        let compress = ifid.is_multiple_of(2);
        publisher::run(bus, Subjects::default(), compress, batches, Some(plan)).await;
    });
    let world = Arc::clone(world);
    tasks.spawn_local(async move {
        let mut sequence = 0;
        let mut at = from;
        while at < SECONDS {
            // The wire does not wait: what passes while the process sleeps is dropped by the kernel.
            let due = Duration::from_secs((at + EVERY_S) as u64);
            tokio::time::sleep(due.saturating_sub(world.now())).await;
            world.awake(node).await;
            sequence += 1;
            let delta = delta(ifid, run, sequence, at);
            let id = format!("s/{node}/{ifid}/{run}/{sequence}");
            world.lock().traffic.insert(id.clone(), (ifid, at));
            let mut batch = vec![id];
            let mut out = vec![Item::Delta(Box::new(delta))];
            if at % 20 == 0 {
                let now = Timestamp::from_secs(START + at);
                let alert = interface_alert(&place, "noticed", Severity::Error, format!("at {at}"), now);
                batch.push(alert.transition_id());
                out.push(Item::Alert(Box::new(alert)));
            }
            let now = world.now();
            let handed = batch.into_iter().map(|id| (now, id));
            world.lock().handed.entry((node, run)).or_default().extend(handed);
            if items.send(out).await.is_err() {
                return;
            }
            at += EVERY_S;
        }
        // The process lives on until it is killed; its publisher sends what is on disk.
        std::future::pending::<()>().await;
    });
    tasks
}

/// Where the wire is.
pub fn wire(world: &World) -> i64 {
    (world.now().as_secs() as i64 / EVERY_S * EVERY_S).min(SECONDS)
}
