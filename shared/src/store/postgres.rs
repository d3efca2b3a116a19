//! The store of a cluster: one PostgreSQL database that every process of every role shares.
//!
//! A commit has reached the server's disk when it is answered. Whoever writes may be one of many, so each
//! transaction locks what it decides by: a lane's row in the ledger, an interface's series, a document.
//! Locks are taken in one order everywhere; where the server still finds two that wait for each other, it
//! rolls one back, and that one is run again.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::store::{Store, StoreError, StoreHealth};

mod alerts;
mod config;
mod documents;
mod engaged;
mod events;
mod filter;
mod flows;
mod hooks;
mod ledger;
mod memory;
mod migrate;
mod partitions;
mod pool;
mod presence;
mod series;
mod steps;
pub mod test_server;
#[cfg(test)]
mod tests;
mod tls;

pub use config::PostgresConfig;

use partitions::Partitions;
use pool::Database;

/// Rows that one transaction of a prune deletes at most, so that it holds locks for a moment only.
const PRUNE_ROWS: i64 = 5000;

/// All stores on one server; clones share the same connections.
#[derive(Clone)]
pub struct PostgresStore {
    database: Database,
    partitions: Partitions,
}

impl PostgresStore {
    /// Connects, and makes the schema or brings it forward.
    ///
    /// # Errors
    /// [`StoreError::Open`] names server, database and user, and what is wrong; [`StoreError::TooNew`]
    /// tells that a later release has changed the schema.
    pub async fn open(config: &PostgresConfig) -> Result<Self, StoreError> {
        Self::open_with(config, migrate::STEPS).await
    }

    async fn open_with(config: &PostgresConfig, steps: &[migrate::Step]) -> Result<Self, StoreError> {
        let database = Database::open(config).await?;
        migrate::migrate(&database, &config.schema, steps).await?;
        let partitions = Partitions::default();
        partitions.make_ahead(&database).await?;
        Ok(Self { database, partitions })
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn health(&self) -> Option<watch::Receiver<StoreHealth>> {
        Some(self.database.health())
    }

    fn waiting(&self) -> u64 {
        self.database.waiting()
    }

    async fn close(&self) {
        self.database.close();
    }
}
