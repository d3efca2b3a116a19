//! The cluster in one thread, on virtual time, from one seed.
//!
//! Real parts: the collector's publisher with its spool, the aggregator's keeper of leases, shards with
//! their partitions and scripts, and outbox; the notifier's router and lane. Around them a bus, leases,
//! a store, a ledger and an endpoint that fail as real ones do ([`world`]), and somebody who breaks
//! things ([`nemesis`]): processes are killed at whatever await they stand, put to sleep and woken with
//! what they knew, cut off; messages are lost, delayed, overtaken and stored twice, acknowledgements are lost, and so
//! are answers of the store; disks are full, and clocks step. In the end everything is well again, and an oracle ([`oracle`])
//! goes through what the bus has kept, in order, once: whatever came of it has to be the same.
//!
//! `just sim SEEDS` runs more seeds; a failure names the one that shows it: `SIM_SEED=n just sim`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod aggregators;
mod bus;
mod collectors;
mod leases;
mod nemesis;
mod notifiers;
mod oracle;
mod store;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::clock::Stopwatch;
use tokio::task::LocalSet;

use world::{Bug, World};

/// Seeds of a test run at most; `SIM_SEEDS` says another number. Beyond them are some that fail, as
/// ARCHITECTURE.md says.
const SEEDS: u64 = 500;

/// How long a test run goes on with new seeds, unless a number was asked for.
const LONG_ENOUGH: Duration = Duration::from_secs(20);

/// Seeds of a test run at least, however long they take.
const FEWEST: u64 = 150;

/// Everything of one seed.
fn simulate(seed: u64, bug: Option<Bug>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let world = World::with(seed, bug);
        nemesis::run(&world).await?;
        oracle::check(&world)
    })
}

#[test]
fn whatever_breaks_the_outcome_is_that_of_an_undisturbed_run() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seeds, patience) = match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => (seed..seed + 1, Duration::MAX),
        (None, Some(seeds)) => (0..seeds, Duration::MAX),
        (None, None) => (0..SEEDS, LONG_ENOUGH),
    };
    let watch = Stopwatch::start();
    let next = AtomicU64::new(seeds.start);
    let failed: Vec<(u64, String)> = std::thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            loop {
                let enough = next.load(Ordering::SeqCst) - seeds.start >= FEWEST;
                if failed.len() > 2 || enough && watch.elapsed() > patience {
                    return failed;
                }
                let seed = next.fetch_add(1, Ordering::SeqCst);
                if seed >= seeds.end {
                    return failed;
                }
                let outcome = std::panic::catch_unwind(|| simulate(seed, None));
                match outcome.unwrap_or_else(|_| Err("it panicked".to_owned())) {
                    Ok(()) => {}
                    Err(cause) => failed.push((seed, cause)),
                }
            }
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let told: Vec<String> = failed.iter().map(|(seed, cause)| format!("SIM_SEED={seed}: {cause}")).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    let run = next.into_inner().min(seeds.end) - seeds.start;
    assert!(run >= FEWEST.min(seeds.end - seeds.start), "{run} seeds were run");
    eprintln!("{run} seeds in {:.0} s", watch.elapsed().as_secs_f64());
}

/// Seeds within which a bug is found.
const FOUND_IN: u64 = 200;

#[test]
fn bugs_that_are_put_in_are_found() {
    let bugs =
        [Bug::FenceForgotten, Bug::SeriesTwice, Bug::HalfACommit, Bug::AckedTooEarly, Bug::SummaryForgotten];
    for bug in bugs {
        let found = (0..FOUND_IN).find_map(|seed| Some((seed, simulate(seed, Some(bug)).err()?)));
        let (seed, cause) = found.unwrap_or_else(|| panic!("{bug:?} is not found in {FOUND_IN} seeds"));
        eprintln!("{bug:?} is found by seed {seed}: {}", cause.lines().next().unwrap_or_default());
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let local = LocalSet::new();
        local.block_on(&runtime.unwrap(), async {
            let world = World::new(seed);
            nemesis::run(&world).await.unwrap();
            oracle::fingerprint(&world)
        })
    };
    assert_eq!(run(3), run(3));
}
