//! What scripts remember, in `ledger.db`.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::SqliteStore;
use crate::store::StoreError;
use crate::store::memory::{MemoryStore, Remembered};

#[async_trait]
impl MemoryStore for SqliteStore {
    async fn remembered(&self, partition: u32) -> Result<Vec<Remembered>, StoreError> {
        self.ledger
            .read(move |conn| {
                let sql = "SELECT site, ifid, script, key, value FROM memory WHERE part = ?1";
                let mut statement = conn.prepare_cached(sql)?;
                let rows = statement.query_map([partition], |row| {
                    let (site, ifid, script) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok(Remembered { partition, site, ifid, script, key: row.get(3)?, value: row.get(4)? })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn remember(&self, changes: Vec<Remembered>) -> Result<(), StoreError> {
        self.ledger.write(move |conn| changes.iter().try_for_each(|change| apply(conn, change))).await
    }
}

pub(super) fn apply(conn: &Connection, change: &Remembered) -> Result<(), StoreError> {
    let Remembered { partition, site, ifid, script, key, value } = change;
    match value {
        Some(value) => conn
            .prepare_cached(
                "INSERT OR REPLACE INTO memory (part, site, ifid, script, key, value)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![partition, site, ifid, script, key, value])?,
        None => conn
            .prepare_cached(
                "DELETE FROM memory WHERE part = ?1 AND site = ?2 AND ifid = ?3 AND script = ?4 AND key = ?5",
            )?
            .execute(params![partition, site, ifid, script, key])?,
    };
    Ok(())
}
