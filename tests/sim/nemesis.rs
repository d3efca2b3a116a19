//! Breaks things at times that the seed says, then makes everything well and waits until all is quiet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shared::wire::partition;
use tokio::task::JoinSet;

use crate::collectors::{self, NODES, SECONDS};
use crate::world::{Shared, World};
use crate::{aggregators, notifiers};

const AGGREGATORS: [&str; 2] = ["a0", "a1"];
const NOTIFIERS: [&str; 2] = ["n0", "n1"];

/// How long the last of it may take once everything is well.
const QUIET: Duration = Duration::from_secs(600);

struct Cluster {
    world: Arc<World>,
    runs: u64,
    /// The last run of each collector.
    run_of: BTreeMap<&'static str, u64>,
    processes: BTreeMap<&'static str, JoinSet<()>>,
}

impl Cluster {
    fn start(&mut self, node: &'static str) {
        self.runs += 1;
        let process = match node.as_bytes()[0] {
            b'a' => aggregators::start(&self.world, node, self.runs),
            b'c' => {
                let epoch = collectors::epoch(&self.world, node);
                self.run_of.insert(node, epoch);
                collectors::start(&self.world, node, epoch, collectors::wire(&self.world))
            }
            _ => notifiers::start(&self.world, node),
        };
        self.processes.insert(node, process);
    }

    /// As kill -9, at whatever await it stands.
    fn kill(&mut self, node: &'static str) {
        if let Some(mut process) = self.processes.remove(node) {
            process.abort_all();
            if let Some(run) = self.run_of.get(node) {
                let now = self.world.now();
                self.world.lock().killed.insert((node, *run), now);
            }
        }
    }

    fn any(&self) -> &'static str {
        let all: Vec<_> = AGGREGATORS.into_iter().chain(NODES).chain(NOTIFIERS).collect();
        // Aggregators twice as often: there is most to break.
        let place = self.world.draw(all.len() as u64 + 2) as usize;
        all[place % all.len()]
    }
}

/// Runs everything of one seed.
pub async fn run(world: &Arc<World>) -> Result<(), String> {
    let mut cluster =
        Cluster { world: Arc::clone(world), runs: 0, run_of: BTreeMap::new(), processes: BTreeMap::new() };
    for node in AGGREGATORS.into_iter().chain(NOTIFIERS).chain(NODES) {
        cluster.start(node);
    }
    // When things end: what to do then.
    let mut ends: Vec<(Duration, &'static str, u64)> = Vec::new();
    let last = Duration::from_secs(SECONDS as u64);
    while world.now() < last {
        tokio::time::sleep(Duration::from_millis(500 + world.draw(500))).await;
        let now = world.now();
        let (over, later): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(at, ..)| *at <= now);
        ends = later;
        for (_, node, what) in over {
            end(&mut cluster, node, what);
        }
        if world.draw(100) < 7 && ends.len() < 4 {
            let (node, what) = (cluster.any(), world.draw(8));
            begin(&mut cluster, node, what);
            let lasts = Duration::from_millis(500 + world.draw(40_000));
            ends.push((now + lasts, node, what));
        }
    }
    for (_, node, what) in ends {
        end(&mut cluster, node, what);
    }
    heal(&mut cluster);
    until(world, "told and delivered", is_quiet).await?;
    // Whatever is late by now would come; shards go through what is left.
    tokio::time::sleep(Duration::from_secs(60)).await;
    until(world, "told and delivered", is_quiet).await?;
    world.lock().leave = true;
    until(world, "put away", is_put_away).await?;
    cluster.processes.clear();
    Ok(())
}

async fn until(world: &World, what: &str, condition: impl Fn(&World) -> bool) -> Result<(), String> {
    let waits = async {
        while !condition(world) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let waited = tokio::time::timeout(QUIET, waits).await;
    waited.map_err(|_| format!("not {what}: {}", state(&world.lock())))
}

fn begin(cluster: &mut Cluster, node: &'static str, what: u64) {
    let world = Arc::clone(&cluster.world);
    match what {
        0 | 1 => cluster.kill(node),
        2 => world.set(node, |trouble| trouble.asleep = true),
        3 => world.set(node, |trouble| trouble.cut = true),
        4 => world.set(node, |trouble| trouble.no_store = true),
        5 => world.lock().leases_away = true,
        6 => world.set(node, |trouble| trouble.full = true),
        _ => {
            let step = world.draw(7200) as i64 - 3600;
            world.set(node, |trouble| trouble.clock_s = step);
        }
    }
}

fn end(cluster: &mut Cluster, node: &'static str, what: u64) {
    let world = Arc::clone(&cluster.world);
    match what {
        0 | 1 => {
            if !cluster.processes.contains_key(node) {
                cluster.start(node);
            }
        }
        2 => world.set(node, |trouble| trouble.asleep = false),
        3 => world.set(node, |trouble| trouble.cut = false),
        4 => world.set(node, |trouble| trouble.no_store = false),
        5 => world.lock().leases_away = false,
        6 => world.set(node, |trouble| trouble.full = false),
        _ => world.set(node, |trouble| trouble.clock_s = 0),
    }
}

fn heal(cluster: &mut Cluster) {
    {
        let mut shared = cluster.world.lock();
        (shared.faults, shared.leases_away) = (0, false);
        shared.troubles.clear();
    }
    for node in AGGREGATORS.into_iter().chain(NOTIFIERS).chain(NODES) {
        if !cluster.processes.contains_key(node) {
            cluster.start(node);
        }
    }
}

/// Everything handed over is on the bus, told and delivered.
fn is_quiet(world: &World) -> bool {
    let shared = world.lock();
    let spooled = NODES.into_iter().any(|node| {
        let lanes = ["urgent", "bulk"].map(|lane| world.dir.path().join(node).join(lane));
        lanes.iter().any(|lane| std::fs::read_dir(lane).is_ok_and(|mut files| files.next().is_some()))
    });
    let untold = shared.tables.outbox.values().any(|(_, alert)| alert.is_some());
    let owed = shared.deliveries.owed.iter().any(|owed| !owed.done);
    !spooled && !untold && !owed
}

/// The state of each partition is kept as it is after its last delta.
fn is_put_away(world: &World) -> bool {
    let shared = world.lock();
    collectors::interfaces().all(|(site, ifid)| {
        let partition = partition::of_interface(site, ifid);
        let subject = format!(".{partition}.");
        let log = &shared.streams.logs["dl"].messages;
        let last = log.iter().rposition(|(of, ..)| of.contains(&subject)).map_or(0, |place| place as u64 + 1);
        let kept = shared.tables.partitions.get(&partition).and_then(|saved| saved.snapshot.as_ref());
        kept.is_some_and(|kept| kept.at.sequence == last)
    })
}

fn state(shared: &Shared) -> String {
    let kept: Vec<_> = shared
        .tables
        .partitions
        .iter()
        .map(|(p, saved)| (p, saved.fence, saved.done, saved.snapshot.as_ref().map(|s| s.at)))
        .collect();
    let owed = shared.deliveries.owed.iter().filter(|owed| !owed.done).count();
    let untold = shared.tables.outbox.values().filter(|(_, alert)| alert.is_some()).count();
    let log = shared.streams.logs.get("dl").map_or(0, |log| log.messages.len());
    format!("{log} deltas, kept {kept:?}, {owed} owed, {untold} untold")
}
