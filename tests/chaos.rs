//! Clusters of real processes and servers in which things break, one after the other and some at once, as a
//! seed says; afterwards everything that was kept and delivered is looked through.
//!
//! `just chaos SEED ROUNDS` does more of it than a run of the tests. What happens:
//! processes of each role killed (SIGKILL) or stopped where they stand (SIGSTOP), both servers killed, ways
//! between processes and servers cut, both ways and one way, aggregators that go and come, summaries that
//! come twice, a storm of alerts, and a flood of hosts; of three nats-servers one, two and all killed, one
//! stopped where it stands and one cut off; a PostgreSQL that ends at once and one whose standby is promoted.

mod check;
mod check_tests;
mod disks;
mod left;
mod link;
mod load;
mod servers;
mod settle;
mod site;
mod world;

use servers::Three;
use site::NAME;
use world::{Bus, World};

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
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
    KillLeader,
    KillTwo,
    KillAll,
    PauseLeader,
    CutFirst,
    StopPostgres,
    Promote,
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

/// Those of three servers of the bus: what leads the stream of summaries is hurt, or one more, or all, or
/// the one that the test itself is connected to is cut off, for longer than anybody may wait for it.
const OF_THREE: [(Fault, u64); 5] =
    [(KillLeader, 5), (KillTwo, 5), (KillAll, 3), (PauseLeader, 8), (CutFirst, 35)];

/// Those of a PostgreSQL with a standby, whose end is that the standby takes its place.
const OF_STANDBY: [(Fault, u64); 3] = [(KillPostgres, 2), (StopPostgres, 2), (Promote, 10)];

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
pub struct Event {
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

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Seed and number of rounds.
fn asked() -> (u64, u64) {
    let seed = number("CHAOS_SEED").unwrap_or(1);
    eprintln!("CHAOS_SEED={seed}");
    (seed, number("CHAOS_ROUNDS").unwrap_or(1))
}

#[test]
fn whatever_breaks_nothing_is_lost_counted_twice_or_told_under_two_keys() {
    let (seed, rounds) = asked();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(nats) = crate::cluster::nats_server(NAME) else { return };
    let Some(mut world) = World::start(runtime, Bus::One(nats), false) else { return };
    world.suffer(&plan(seed, rounds));
    world.settle();
}

#[test]
fn of_three_servers_one_or_two_or_all_may_go() {
    let (seed, rounds) = asked();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(three) = Three::start() else { return };
    let Some(mut world) = World::start(runtime, Bus::Three(three), false) else { return };
    let mut chance = Chance(seed);
    for _ in 0..rounds {
        let mut faults = chance.shuffled(&OF_THREE);
        // Before the others make the test's connection go elsewhere.
        faults.sort_by_key(|(fault, _)| *fault != CutFirst);
        world.suffer_in_turn(&faults);
    }
    world.settle();
}

#[test]
fn a_standby_that_takes_the_place_of_the_store_has_everything() {
    asked();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(nats) = crate::cluster::nats_server(NAME) else { return };
    let Some(mut world) = World::start(runtime, Bus::One(nats), true) else { return };
    world.suffer_in_turn(&OF_STANDBY);
    world.settle();
}
