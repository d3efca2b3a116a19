//! The embedded store: three SQLite files in one folder.
//!
//! `ledger.db` keeps what must not be lost (alerts, engaged set, outbox, deliveries) and waits for
//! the disk at each commit; `flows.db` keeps flow records and `series.db` time series, and both may lose
//! the last moments on power loss, never their consistency. Each has one thread that writes and one that reads, see `sqlite/worker.rs`.

use std::path::Path;

use crate::store::StoreError;

mod alerts;
mod connection;
mod documents;
mod filter;
mod flows;
mod ledger;
mod memory;
mod partitions;
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
    ],
};
/// The schema of `flows.db`, oldest step first.
const FLOWS: Schema = Schema { file: "flows.db", steps: &[include_str!("migrations/sqlite/flows_001.sql")] };
/// The schema of `series.db`, oldest step first.
const SERIES: Schema =
    Schema { file: "series.db", steps: &[include_str!("migrations/sqlite/series_001.sql")] };

/// Rows that one transaction of a prune deletes at most, so that other writes get their turn.
const PRUNE_ROWS: usize = 2000;

/// All stores in one folder; clones share the same files and threads.
///
/// The threads end with the last clone, or with [`SqliteStore::close`].
#[derive(Clone)]
pub struct SqliteStore {
    ledger: Database,
    flows: Database,
    series: Database,
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
        Ok(Self { ledger, flows, series })
    }

    /// A store in memory that ends with its last clone.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the system refuses memory or threads.
    pub fn in_memory() -> Result<Self, StoreError> {
        let [ledger, flows, series] = [&LEDGER, &FLOWS, &SERIES].map(Database::in_memory);
        Ok(Self { ledger: ledger?, flows: flows?, series: series? })
    }

    /// Transactions committed to the ledger since it was opened; many writes may share one.
    pub fn ledger_commits(&self) -> u64 {
        self.ledger.commits()
    }

    /// Waits until everything asked before is done, writes the logs back into the files and ends the
    /// threads. Whatever is asked afterwards gets [`StoreError::Closed`].
    pub async fn close(&self) {
        self.ledger.close().await;
        self.flows.close().await;
        self.series.close().await;
    }
}

#[cfg(test)]
mod tests;
