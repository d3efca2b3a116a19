//! Dead letters, and deliveries as operators look at them.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::{choose_head, columns, read_delivery};
use crate::model::Timestamp;
use crate::store::sqlite::filter::Filter;
use crate::store::{Attempt, DeadLetter, Delivery, DeliveryRecord, EventKind, StoreError};

/// Dead letters, newest first.
pub(super) fn dead(
    conn: &Connection,
    recipient: Option<String>,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let mut filter = Filter::default();
    filter.and("recipient = :recipient", ":recipient", recipient);
    filter.bind(":limit", i64::try_from(limit).unwrap_or(i64::MAX));
    let sql = format!(
        "SELECT event_id, recipient, coalesce(last_error, ''), attempts, finished_at FROM delivery
         WHERE state = 'dead' AND {} ORDER BY finished_at DESC, seq DESC LIMIT :limit",
        filter.text()
    );
    filter.query(conn, &sql, |row| {
        Ok(DeadLetter {
            event_id: row.get(0)?,
            recipient: row.get(1)?,
            reason: row.get(2)?,
            attempts: row.get(3)?,
            died_at: Timestamp::from_ns(row.get(4)?),
        })
    })
}

/// Makes dead letters due again.
pub(super) fn replay(
    conn: &Connection,
    recipient: &str,
    event: Option<&str>,
    now: Timestamp,
    until: i64,
) -> Result<u64, StoreError> {
    let mut revive = conn.prepare_cached(
        "UPDATE delivery SET state = 'pending', finished_at = NULL, next_at = ?2, deadline = ?3
         WHERE recipient = ?1 AND state = 'dead' AND (?4 IS NULL OR event_id = ?4) RETURNING order_key",
    )?;
    let keys = revive.query_map(params![recipient, now.ns(), until, event], |row| row.get(0))?;
    let keys = keys.collect::<Result<Vec<String>, _>>()?;
    for key in keys.iter().collect::<BTreeSet<_>>() {
        choose_head(conn, recipient, key)?;
    }
    conn.prepare_cached("UPDATE lane SET pending = pending + ?2, dead = dead - ?2 WHERE recipient = ?1")?
        .execute(params![recipient, keys.len() as i64])?;
    Ok(keys.len() as u64)
}

/// Forgets dead letters with their tries.
pub(super) fn discard(conn: &Connection, recipient: &str, event: Option<&str>) -> Result<u64, StoreError> {
    conn.prepare_cached(
        "DELETE FROM attempt WHERE recipient = ?1 AND event_id IN
             (SELECT event_id FROM delivery
              WHERE recipient = ?1 AND state = 'dead' AND (?2 IS NULL OR event_id = ?2))",
    )?
    .execute(params![recipient, event])?;
    conn.prepare_cached(
        "UPDATE event SET owed = owed - 1 WHERE id IN
             (SELECT event_id FROM delivery
              WHERE recipient = ?1 AND state = 'dead' AND (?2 IS NULL OR event_id = ?2))",
    )?
    .execute(params![recipient, event])?;
    let gone = conn
        .prepare_cached(
            "DELETE FROM delivery WHERE recipient = ?1 AND state = 'dead' AND (?2 IS NULL OR event_id = ?2)",
        )?
        .execute(params![recipient, event])?;
    conn.prepare_cached("UPDATE lane SET dead = dead - ?2 WHERE recipient = ?1")?
        .execute(params![recipient, gone as i64])?;
    Ok(gone as u64)
}

/// Those that wait behind a delivery in its order key, oldest first.
pub(super) fn behind(
    conn: &Connection,
    recipient: &str,
    event: &str,
    limit: usize,
) -> Result<Vec<Delivery>, StoreError> {
    let mut find = conn.prepare_cached(&format!(
        "SELECT {} JOIN delivery AS before
             ON before.recipient = d.recipient AND before.order_key = d.order_key AND before.seq < d.seq
         WHERE before.event_id = ?2 AND before.recipient = ?1 AND d.finished_at IS NULL
         ORDER BY d.seq LIMIT ?3",
        columns()
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut found = find.query(params![recipient, event, limit])?;
    let mut deliveries = Vec::new();
    while let Some(row) = found.next()? {
        deliveries.push(read_delivery(row)?);
    }
    Ok(deliveries)
}

/// What an event says.
pub(super) fn payload(conn: &Connection, event: &str) -> Result<Option<(EventKind, String)>, StoreError> {
    let mut find = conn.prepare_cached("SELECT kind, payload FROM event WHERE id = ?1")?;
    let found = find.query_row([event], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).optional()?;
    found.map(|(kind, payload)| Ok((EventKind::parse(&kind)?, payload))).transpose()
}

/// The deliveries of one event and of what follows from it, by event and recipient.
pub(super) fn deliveries(conn: &Connection, event: &str) -> Result<Vec<DeliveryRecord>, StoreError> {
    let mut find = conn.prepare_cached(
        "SELECT d.recipient, d.state, e.accepted_at, e.config_version, d.next_at, d.finished_at, d.last_error,
                d.event_id
         FROM delivery AS d JOIN event AS e ON e.id = d.event_id
         WHERE d.event_id = ?1 OR d.event_id > ?1 || '#' AND d.event_id < ?1 || '$'
         ORDER BY d.event_id, d.recipient",
    )?;
    let found = find.query_map([event], |row| {
        let finished_at = row.get::<_, Option<i64>>(5)?.map(Timestamp::from_ns);
        let next_at = Timestamp::from_ns(row.get(4)?);
        Ok(DeliveryRecord {
            event_id: row.get(7)?,
            recipient: row.get(0)?,
            state: row.get(1)?,
            accepted_at: Timestamp::from_ns(row.get(2)?),
            config_version: row.get(3)?,
            reason: row.get(6)?,
            next_at: finished_at.is_none().then_some(next_at),
            finished_at,
            attempts: Vec::new(),
        })
    })?;
    let mut tries = conn.prepare_cached(
        "SELECT started, at, outcome, reason, answer FROM attempt
         WHERE event_id = ?1 AND recipient = ?2 ORDER BY n",
    )?;
    let mut records = Vec::new();
    for record in found {
        let record: DeliveryRecord = record?;
        let attempts = tries.query_map([&record.event_id, &record.recipient], |row| {
            Ok(Attempt::kept(row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?;
        records.push(DeliveryRecord { attempts: attempts.collect::<Result<_, _>>()?, ..record });
    }
    Ok(records)
}
