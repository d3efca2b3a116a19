//! What all nodes share, and what is wrong with each of them at the moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use shared::backoff::unit_random;
use shared::lease::Lease;
use tokio::time::Instant;

use crate::bus::Streams;
use crate::notifiers::Deliveries;
use crate::store::Tables;

/// A node's troubles.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// It sleeps: whatever it waits for, it goes on only when it is woken.
    pub asleep: bool,
    /// It reaches neither bus nor leases.
    pub cut: bool,
    /// It does not reach the store.
    pub no_store: bool,
    /// The disk of its store is full.
    pub full: bool,
    /// Its clock is off by so many seconds.
    pub clock_s: i64,
}

/// A fault that is put in on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    /// The store takes what comes under an older fence.
    FenceForgotten,
    /// The store knows no key of a batch of series.
    SeriesTwice,
    /// A commit that is taken has not written its alerts.
    HalfACommit,
    /// A notifier acknowledges an alert before it is on record.
    AckedTooEarly,
    /// An aggregator takes a summary for known that is not.
    SummaryForgotten,
}

/// Everything that outlives processes.
#[derive(Default)]
pub struct Shared {
    draws: u64,
    /// How often a call fails, of a thousand; 0 when everything is well again.
    pub faults: u64,
    /// Leases are given out by nobody.
    pub leases_away: bool,
    /// Aggregators put their states away and go.
    pub leave: bool,
    pub troubles: BTreeMap<String, Trouble>,
    pub streams: Streams,
    pub leases: BTreeMap<String, (Lease, Instant2)>,
    pub last_revision: u64,
    pub tables: Tables,
    pub deliveries: Deliveries,
    /// Summaries and alerts that each run of a collector has handed to its publisher, and when.
    pub handed: BTreeMap<(&'static str, u64), Vec<(Duration, String)>>,
    /// Of each summary by its id, of which interface it is and from which second of the wire on.
    pub traffic: BTreeMap<String, (u32, i64)>,
    /// Runs of collectors that were killed, and when.
    pub killed: BTreeMap<(&'static str, u64), Duration>,
    /// What collectors counted.
    pub counts: BTreeMap<String, u64>,
}

/// When something was, without a default of its own.
pub type Instant2 = Option<Instant>;

/// The world of one seed.
pub struct World {
    seed: u64,
    bug: Option<Bug>,
    began: Instant,
    shared: Mutex<Shared>,
    /// Where collectors spool; outlives them.
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new(seed: u64) -> Arc<Self> {
        Self::with(seed, None)
    }

    /// One in which something is wrong on purpose.
    pub fn with(seed: u64, bug: Option<Bug>) -> Arc<Self> {
        // In memory where there is such a folder: a simulation writes much that nobody needs.
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let shared = Mutex::new(Shared { faults: 15, ..Shared::default() });
        Arc::new(Self { seed, bug, began: Instant::now(), shared, dir: dir.unwrap() })
    }

    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// True for a bug that is put in.
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Virtual time since the begin.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A number below `of`; the next one of this seed.
    pub fn draw(&self, of: u64) -> u64 {
        let mut shared = self.lock();
        shared.draws += 1;
        let place = self.seed.wrapping_mul(1_000_003).wrapping_add(shared.draws);
        ((unit_random(place) * of as f64) as u64).min(of.saturating_sub(1))
    }

    /// True for `of` in a thousand, while things go wrong at all.
    pub fn fails(&self, times: u64) -> bool {
        let faults = self.lock().faults;
        faults > 0 && self.draw(1000) < faults * times
    }

    pub async fn sleep_ms(&self, up_to: u64) {
        let ms = self.draw(up_to.max(1));
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    pub fn trouble(&self, node: &str) -> Trouble {
        self.lock().troubles.get(node).copied().unwrap_or_default()
    }

    pub fn set(&self, node: &str, change: impl FnOnce(&mut Trouble)) {
        change(self.lock().troubles.entry(node.to_owned()).or_default());
    }

    /// Waits until a node is not hindered in this way; of everything it does, this is the way in and out.
    pub async fn until(&self, node: &str, hindered: impl Fn(Trouble) -> bool) {
        while hindered(self.trouble(node)) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub async fn awake(&self, node: &str) {
        self.until(node, |trouble| trouble.asleep).await;
    }

    /// A way over the network.
    pub async fn way(&self, node: &str) {
        self.sleep_ms(30).await;
        self.until(node, |trouble| trouble.asleep || trouble.cut).await;
    }
}
