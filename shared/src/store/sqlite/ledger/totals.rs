//! Totals per recipient.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use crate::model::Timestamp;
use crate::store::settling::{DEAD, DELIVERED, End, SUPPRESSED};
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

/// Counts what a recipient is owed.
pub(super) fn owed(conn: &Connection, recipient: &str, more: i64) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO lane (recipient, pending) VALUES (?1, ?2)
         ON CONFLICT (recipient) DO UPDATE SET pending = pending + excluded.pending",
    )?
    .execute(params![recipient, more])?;
    Ok(())
}

/// Counts a try of which nobody knows how it ended.
pub(super) fn lost(conn: &Connection, recipient: &str, why: &str) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE lane SET attempts = attempts + 1, failed = failed + 1, last_error = ?2 WHERE recipient = ?1",
    )?
    .execute([recipient, why])?;
    Ok(())
}

/// How tries of one recipient ended, counted together.
#[derive(Default)]
pub(super) struct Ends {
    attempts: i64,
    failed: i64,
    last_error: Option<String>,
    delivered: i64,
    dead: i64,
    suppressed: i64,
    merged: i64,
    finished: i64,
    succeeded: bool,
}

impl Ends {
    /// A try was made.
    pub fn tried(&mut self, end: &End) {
        self.attempts += 1;
        self.failed += i64::from(!end.is_delivered());
        self.succeeded |= end.is_delivered();
        self.last_error = end.reason().map(str::to_owned);
    }

    /// A delivery is over.
    pub fn finished(&mut self, end: &End) {
        self.finished += 1;
        match end.name() {
            DELIVERED => self.delivered += 1,
            DEAD => self.dead += 1,
            SUPPRESSED => self.suppressed += 1,
            _ => self.merged += 1,
        }
    }

    /// Adds them to the recipient's totals.
    pub fn add(&self, conn: &Connection, recipient: &str, now: Timestamp) -> Result<(), StoreError> {
        conn.prepare_cached(
            "UPDATE lane SET attempts = attempts + ?2, failed = failed + ?3,
                             last_error = CASE WHEN ?2 > 0 THEN ?4 ELSE last_error END,
                             last_success = CASE WHEN ?5 THEN ?6 ELSE last_success END,
                             pending = pending - ?7, delivered = delivered + ?8, dead = dead + ?9,
                             suppressed = suppressed + ?10, merged = merged + ?11 WHERE recipient = ?1",
        )?
        .execute(params![
            recipient,
            self.attempts,
            self.failed,
            self.last_error,
            self.succeeded,
            now.ns(),
            self.finished,
            self.delivered,
            self.dead,
            self.suppressed,
            self.merged,
        ])?;
        Ok(())
    }
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
