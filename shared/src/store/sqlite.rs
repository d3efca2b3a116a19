//! The embedded store: four SQLite files in one folder.
//!
//! `ledger.db` keeps what must not be lost (alerts, engaged set, outbox, deliveries) and waits for
//! the disk at each commit; `hooks.db` keeps events to tell, sessions, and executions of hooks, and waits
//! likewise; `flows.db` keeps flow records and `series.db` time series, and both may lose the last moments
//! on power loss, never their consistency. Each has one thread that writes and one that reads, see
//! `sqlite/worker.rs`.

use std::path::Path;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::store::{Store, StoreError, StoreHealth};

mod alerts;
mod connection;
mod documents;
mod events;
mod filter;
mod flows;
mod handover;
mod hooks;
mod ledger;
mod memory;
mod partitions;
mod presence;
mod series;
mod worker;

use connection::{Database, Durability, Schema};

/// The schema of `ledger.db`, oldest step first.
const LEDGER: Schema = Schema {
    file: "ledger.db",
    steps: &[
        include_str!("migrations/sqlite/ledger_001.sql"),
        include_str!("migrations/sqlite/ledger_002.sql"),
        include_str!("migrations/sqlite/ledger_003.sql"),
        include_str!("migrations/sqlite/ledger_004.sql"),
        include_str!("migrations/sqlite/ledger_005.sql"),
        include_str!("migrations/sqlite/ledger_006.sql"),
        include_str!("migrations/sqlite/ledger_007.sql"),
        include_str!("migrations/sqlite/ledger_008.sql"),
        include_str!("migrations/sqlite/ledger_009.sql"),
    ],
};
/// The schema of `flows.db`, oldest step first.
const FLOWS: Schema = Schema { file: "flows.db", steps: &[include_str!("migrations/sqlite/flows_001.sql")] };
/// The schema of `series.db`, oldest step first.
const SERIES: Schema =
    Schema { file: "series.db", steps: &[include_str!("migrations/sqlite/series_001.sql")] };

/// The schema of `hooks.db`, oldest step first.
const HOOKS: Schema = Schema {
    file: "hooks.db",
    steps: &[
        include_str!("migrations/sqlite/hooks_001.sql"),
        include_str!("migrations/sqlite/hooks_002.sql"),
        include_str!("migrations/sqlite/hooks_003.sql"),
        include_str!("migrations/sqlite/hooks_004.sql"),
        include_str!("migrations/sqlite/hooks_005.sql"),
    ],
};

/// Rows that one transaction of a prune deletes at most, so that other writes get their turn.
const PRUNE_ROWS: usize = 2000;

/// All stores in one folder; clones share the same files and threads.
///
/// The threads end with the last clone, or with [`Store::close`].
#[derive(Clone)]
pub struct SqliteStore {
    ledger: Database,
    flows: Database,
    series: Database,
    hooks: Database,
}

impl SqliteStore {
    /// Opens or creates the store in `dir`, which is created when missing. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the path that cannot be used, [`StoreError::TooNew`] a file that a
    /// later version has written.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(|cause| connection::cannot_open(dir, cause))?;
        let ledger = Database::open(dir, &LEDGER, Durability::Full)?;
        let flows = Database::open(dir, &FLOWS, Durability::Normal)?;
        let series = Database::open(dir, &SERIES, Durability::Normal)?;
        let hooks = Database::open(dir, &HOOKS, Durability::Full)?;
        Ok(Self { ledger, flows, series, hooks })
    }

    /// A store in memory that ends with its last clone.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the system refuses memory or threads.
    pub fn in_memory() -> Result<Self, StoreError> {
        let [ledger, flows, series, hooks] = [&LEDGER, &FLOWS, &SERIES, &HOOKS].map(Database::in_memory);
        Ok(Self { ledger: ledger?, flows: flows?, series: series?, hooks: hooks? })
    }

    /// Transactions committed to the ledger since it was opened; many writes may share one.
    pub fn ledger_commits(&self) -> u64 {
        self.ledger.commits()
    }
}

#[async_trait]
impl Store for SqliteStore {
    /// That of the ledger, which shares its disk with the others.
    fn health(&self) -> Option<watch::Receiver<StoreHealth>> {
        Some(self.ledger.health())
    }

    fn waiting(&self) -> u64 {
        [&self.ledger, &self.flows, &self.series].into_iter().map(Database::waiting).sum()
    }

    /// Also writes the logs back into the files, and ends the threads.
    async fn close(&self) {
        self.ledger.close().await;
        self.flows.close().await;
        self.series.close().await;
        self.hooks.close().await;
    }
}

#[cfg(test)]
mod tests;
