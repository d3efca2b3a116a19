//! Totals per recipient.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};

use crate::model::Timestamp;
use crate::store::{Dropped, RecipientStats, StoreError};

pub(super) fn stats(conn: &Connection) -> Result<Vec<RecipientStats>, StoreError> {
    let mut dropped: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut counts = conn.prepare_cached("SELECT recipient, reason, count FROM dropped")?;
    let mut rows = counts.query([])?;
    while let Some(row) = rows.next()? {
        dropped.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs());
    }
    let mut lanes = conn.prepare_cached(
        "SELECT recipient, pending, delivered, dead, suppressed, merged, attempts, failed, last_success,
                last_error FROM lane ORDER BY recipient",
    )?;
    let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let lanes = lanes.query_map([], |row| {
        let recipient: String = row.get(0)?;
        Ok(RecipientStats {
            dropped: dropped.remove(&recipient).unwrap_or_default(),
            recipient,
            pending: count(row, 1)?,
            delivered: count(row, 2)?,
            dead: count(row, 3)?,
            suppressed: count(row, 4)?,
            merged: count(row, 5)?,
            attempts: count(row, 6)?,
            failed: count(row, 7)?,
            last_success: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_ns),
            last_error: row.get(9)?,
        })
    })?;
    Ok(lanes.collect::<Result<Vec<_>, _>>()?)
}

/// Counts what a recipient is not told.
pub(super) fn dropped(conn: &Connection, recipient: &str, why: Dropped) -> Result<(), StoreError> {
    conn.prepare_cached("INSERT INTO lane (recipient) VALUES (?1) ON CONFLICT (recipient) DO NOTHING")?
        .execute([recipient])?;
    conn.prepare_cached(
        "INSERT INTO dropped (recipient, reason, count) VALUES (?1, ?2, 1)
         ON CONFLICT (recipient, reason) DO UPDATE SET count = count + 1",
    )?
    .execute([recipient, why.name()])?;
    Ok(())
}
