//! What scripts remember.

use std::collections::BTreeMap;

use async_trait::async_trait;
use deadpool_postgres::Transaction;

use super::PostgresStore;
use super::pool::{Failed, clean, column, settled};
use crate::store::StoreError;
use crate::store::memory::{MemoryStore, Remembered};

#[async_trait]
impl MemoryStore for PostgresStore {
    async fn remembered(&self, partition: u32) -> Result<Vec<Remembered>, StoreError> {
        let sql = "SELECT site, ifid, script, key, value FROM memory WHERE part = $1";
        let connection = self.database.get().await?;
        let sql = connection.prepare_cached(sql).await?;
        let rows = connection.query(&sql, &[&i64::from(partition)]).await?;
        let read = |row: &tokio_postgres::Row| {
            let ifid: i64 = row.try_get(1)?;
            let ifid = u32::try_from(ifid)
                .map_err(|_| StoreError::Statement(format!("a script's memory is of interface {ifid}")))?;
            let (site, script) = (row.try_get(0)?, row.try_get(2)?);
            let (key, value) = (row.try_get(3)?, row.try_get(4)?);
            Ok(Remembered { partition, site, ifid, script, key, value })
        };
        rows.iter().map(read).collect()
    }

    async fn remember(&self, changes: Vec<Remembered>) -> Result<(), StoreError> {
        settled(|| self.write(&changes)).await
    }
}

impl PostgresStore {
    async fn write(&self, changes: &[Remembered]) -> Result<(), Failed> {
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        remember_in(&transaction, changes).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Remembers within a transaction.
pub(super) async fn remember_in(transaction: &Transaction<'_>, changes: &[Remembered]) -> Result<(), Failed> {
    // The last word on each counts; in order of the keys, so that rows are locked alike by all.
    let last: BTreeMap<_, _> =
        changes.iter().map(|c| ((c.partition, &c.site, c.ifid, &c.script, &c.key), c)).collect();
    let (kept, forgotten): (Vec<&Remembered>, Vec<&Remembered>) =
        last.into_values().partition(|change| change.value.is_some());
    let (kept, forgotten) = (kept.as_slice(), forgotten.as_slice());
    if !kept.is_empty() {
        let sql = "INSERT INTO memory (part, site, ifid, script, key, value)
                   SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[])
                   ON CONFLICT (part, site, ifid, script, key) DO UPDATE SET value = excluded.value";
        let sql = transaction.prepare_cached(sql).await?;
        let values = column(kept, |c| clean(c.value.as_deref().unwrap_or_default()));
        let (parts, sites, ifids, scripts, keys) = columns(kept);
        transaction.execute(&sql, &[&parts, &sites, &ifids, &scripts, &keys, &values]).await?;
    }
    if !forgotten.is_empty() {
        let sql = "DELETE FROM memory USING
                       unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[])
                       AS old (part, site, ifid, script, key)
                   WHERE memory.part = old.part AND memory.site = old.site AND memory.ifid = old.ifid
                     AND memory.script = old.script AND memory.key = old.key";
        let sql = transaction.prepare_cached(sql).await?;
        let (parts, sites, ifids, scripts, keys) = columns(forgotten);
        transaction.execute(&sql, &[&parts, &sites, &ifids, &scripts, &keys]).await?;
    }
    Ok(())
}

type Text<'a> = std::borrow::Cow<'a, str>;

/// The key of each row, by column: partition, site, interface, script, key.
type Keys<'a> = (Vec<i64>, Vec<Text<'a>>, Vec<i64>, Vec<Text<'a>>, Vec<Text<'a>>);

fn columns<'a>(rows: &[&'a Remembered]) -> Keys<'a> {
    let text = |of: fn(&Remembered) -> &str| rows.iter().map(|row| clean(of(row))).collect();
    let parts = column(rows, |c| i64::from(c.partition));
    let ifids = column(rows, |c| i64::from(c.ifid));
    (parts, text(|c| &c.site), ifids, text(|c| &c.script), text(|c| &c.key))
}
