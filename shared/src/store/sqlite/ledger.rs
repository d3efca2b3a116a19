//! Deliveries, in `ledger.db`: accepted, claimed, settled, pruned.
//!
//! The order rule lives in the column `head`, see the schema: [`choose_head`] keeps it true whenever
//! a delivery leaves or comes back, and [`claim`] looks at nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{PRUNE_ROWS, SqliteStore};
use crate::model::{Severity, Timestamp};
use crate::store::{
    DeadLetter, Delivery, DeliveryRecord, EventKind, Ledger, LedgerAudit, LedgerEvent, Outcome,
    RecipientStats, StoreError,
};

mod letters;
mod notes;
mod settle;

/// How many of the oldest heads [`due`] looks at, per delivery wanted, before it asks the due index.
const WINDOW: usize = 8;

#[async_trait]
impl Ledger for SqliteStore {
    async fn accept(
        &self,
        events: Vec<LedgerEvent>,
        now: Timestamp,
        deadline: fn(Severity) -> Duration,
    ) -> Result<u64, StoreError> {
        self.ledger.write(move |conn| accept(conn, &events, now, deadline)).await
    }

    async fn claim(
        &self,
        recipient: &str,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let (recipient, owner) = (recipient.to_owned(), owner.to_owned());
        self.ledger.write(move |conn| claim(conn, &recipient, &owner, now, until, limit)).await
    }

    async fn settle(&self, results: Vec<(Delivery, Outcome)>, now: Timestamp) -> Result<(), StoreError> {
        self.ledger
            .write(move |conn| {
                results.iter().try_for_each(|(delivery, end)| settle::settle(conn, delivery, end, now))
            })
            .await
    }

    async fn behind(&self, delivery: &Delivery, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        let (recipient, event) = (delivery.recipient.clone(), delivery.event_id.clone());
        self.ledger.read(move |conn| letters::behind(conn, &recipient, &event, limit)).await
    }

    async fn next_due(&self, recipient: &str) -> Result<Option<Timestamp>, StoreError> {
        let recipient = recipient.to_owned();
        self.ledger.read(move |conn| next_due(conn, &recipient)).await
    }

    async fn release_claims(&self, owner: &str) -> Result<u64, StoreError> {
        let owner = owner.to_owned();
        self.ledger.write(move |conn| release_claims(conn, &owner)).await
    }

    async fn outstanding(&self) -> Result<u64, StoreError> {
        self.ledger
            .read(|conn| {
                let mut sum = conn.prepare_cached("SELECT coalesce(SUM(pending), 0) FROM lane")?;
                Ok(sum.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
            })
            .await
    }

    async fn stats(&self) -> Result<Vec<RecipientStats>, StoreError> {
        self.ledger.read(stats).await
    }

    async fn dead_letters(
        &self,
        recipient: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let recipient = recipient.map(str::to_owned);
        self.ledger.read(move |conn| letters::dead(conn, recipient, limit)).await
    }

    async fn replay_dead(
        &self,
        recipient: &str,
        event: Option<&str>,
        now: Timestamp,
        deadline: Duration,
    ) -> Result<u64, StoreError> {
        let (recipient, event) = (recipient.to_owned(), event.map(str::to_owned));
        let until = after(now, deadline);
        self.ledger.write(move |conn| letters::replay(conn, &recipient, event.as_deref(), now, until)).await
    }

    async fn discard_dead(&self, recipient: &str, event: Option<&str>) -> Result<u64, StoreError> {
        let (recipient, event) = (recipient.to_owned(), event.map(str::to_owned));
        self.ledger.write(move |conn| letters::discard(conn, &recipient, event.as_deref())).await
    }

    async fn deliveries(&self, event: &str) -> Result<Vec<DeliveryRecord>, StoreError> {
        let event = event.to_owned();
        self.ledger.read(move |conn| letters::deliveries(conn, &event)).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.ledger.write_in_steps(PRUNE_ROWS, move |conn| prune(conn, before)).await
    }

    async fn notes(&self, scope: &str) -> Result<BTreeMap<String, String>, StoreError> {
        let scope = scope.to_owned();
        self.ledger.read(move |conn| notes::all(conn, &scope)).await
    }

    async fn note(&self, scope: &str, changes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        let scope = scope.to_owned();
        self.ledger.write(move |conn| notes::change(conn, &scope, &changes)).await
    }

    async fn audit(&self, now: Timestamp) -> Result<LedgerAudit, StoreError> {
        self.ledger.read(move |conn| notes::audit(conn, now)).await
    }
}

fn after(now: Timestamp, wait: Duration) -> i64 {
    now.plus_ns(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)).ns()
}

fn accept(
    conn: &Connection,
    events: &[LedgerEvent],
    now: Timestamp,
    deadline: fn(Severity) -> Duration,
) -> Result<u64, StoreError> {
    let mut event = conn.prepare_cached(
        "INSERT INTO event (id, kind, order_key, severity, payload, traceparent, accepted_at, config_version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
    )?;
    let mut delivery = conn.prepare_cached(
        "INSERT INTO delivery (event_id, recipient, order_key, next_at, deadline, head)
         VALUES (?1, ?2, ?3, ?4, ?5, NOT EXISTS
             (SELECT 1 FROM delivery WHERE recipient = ?2 AND order_key = ?3 AND head = 1))
         ON CONFLICT (event_id, recipient) DO NOTHING",
    )?;
    let mut lane = conn.prepare_cached(
        "INSERT INTO lane (recipient, pending) VALUES (?1, 1)
         ON CONFLICT (recipient) DO UPDATE SET pending = pending + 1",
    )?;
    let mut added = 0;
    for e in events {
        let new = event.execute(params![
            e.id,
            e.kind.name(),
            e.order_key,
            e.severity.id(),
            e.payload,
            e.traceparent,
            now.ns(),
            e.config_version,
        ])?;
        if new == 0 {
            continue;
        }
        added += 1;
        let due = e.not_before.map_or(now, |at| at.max(now));
        let until = after(due, deadline(e.severity));
        for recipient in &e.recipients {
            // A recipient named twice gets it once.
            if delivery.execute(params![e.id, recipient, e.order_key, due.ns(), until])? > 0 {
                lane.execute([recipient])?;
            }
        }
    }
    Ok(added)
}

/// Makes the oldest unfinished delivery of the key its head, unless one is under way.
fn choose_head(conn: &Connection, recipient: &str, order_key: &str) -> Result<(), StoreError> {
    let mut step_down = conn.prepare_cached(
        "UPDATE delivery SET head = 0
         WHERE recipient = ?1 AND order_key = ?2 AND head = 1 AND state = 'pending'",
    )?;
    step_down.execute([recipient, order_key])?;
    let mut step_up = conn.prepare_cached(
        "UPDATE delivery SET head = 1
         WHERE seq = (SELECT MIN(seq) FROM delivery
                      WHERE recipient = ?1 AND order_key = ?2 AND finished_at IS NULL)
           AND NOT EXISTS (SELECT 1 FROM delivery WHERE recipient = ?1 AND order_key = ?2 AND head = 1)",
    )?;
    step_up.execute([recipient, order_key])?;
    Ok(())
}

fn claim(
    conn: &Connection,
    recipient: &str,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<Delivery>, StoreError> {
    let mut expire = conn.prepare_cached(
        "UPDATE delivery SET state = 'pending', claim_owner = NULL, claim_until = NULL
         WHERE recipient = ?1 AND state = 'claimed' AND claim_until <= ?2 RETURNING order_key",
    )?;
    let expired = expire.query_map(params![recipient, now.ns()], |row| row.get::<_, String>(0))?;
    for key in expired.collect::<Result<BTreeSet<_>, _>>()? {
        choose_head(conn, recipient, &key)?;
    }
    let mut take = conn.prepare_cached(
        "UPDATE delivery SET state = 'claimed', claim_owner = ?2, claim_until = ?3 WHERE seq = ?1",
    )?;
    let mut read = conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.seq = ?1"))?;
    let mut claimed = Vec::new();
    for seq in due(conn, recipient, now, limit)? {
        take.execute(params![seq, owner, until.ns()])?;
        let delivery = read.query_one([seq], |row| Ok(read_delivery(row)))??;
        claimed.push(Delivery { claimed_by: owner.to_owned(), ..delivery });
    }
    Ok(claimed)
}

/// The oldest heads that are due.
///
/// Mostly the oldest heads are the due ones, and walking them in order finds enough at once. When
/// many of them wait for a retry, those due are few, and sorting them is cheap. Both ways give the
/// same answer.
fn due(conn: &Connection, recipient: &str, now: Timestamp, limit: usize) -> Result<Vec<i64>, StoreError> {
    let window = i64::try_from(limit.saturating_mul(WINDOW)).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut oldest = conn.prepare_cached(
        "SELECT seq FROM
             (SELECT seq, next_at FROM delivery INDEXED BY delivery_oldest
              WHERE recipient = ?1 AND head = 1 AND state = 'pending' ORDER BY seq LIMIT ?4)
         WHERE next_at <= ?2 ORDER BY seq LIMIT ?3",
    )?;
    let found = oldest.query_map(params![recipient, now.ns(), limit, window], |row| row.get(0))?;
    let found = found.collect::<Result<Vec<i64>, _>>()?;
    if found.len() as i64 == limit {
        return Ok(found);
    }
    let mut all = conn.prepare_cached(
        "SELECT seq FROM delivery INDEXED BY delivery_due
         WHERE recipient = ?1 AND head = 1 AND state = 'pending' AND next_at <= ?2 ORDER BY seq LIMIT ?3",
    )?;
    let all = all.query_map(params![recipient, now.ns(), limit], |row| row.get(0))?;
    Ok(all.collect::<Result<Vec<i64>, _>>()?)
}

fn next_due(conn: &Connection, recipient: &str) -> Result<Option<Timestamp>, StoreError> {
    let mut earliest = conn.prepare_cached(
        "SELECT MIN(at) FROM
             (SELECT MIN(next_at) AS at FROM delivery WHERE recipient = ?1 AND head = 1 AND state = 'pending'
              UNION ALL
              SELECT MIN(claim_until) FROM delivery WHERE recipient = ?1 AND state = 'claimed')",
    )?;
    let at: Option<i64> = earliest.query_row([recipient], |row| row.get(0))?;
    Ok(at.map(Timestamp::from_ns))
}

fn release_claims(conn: &Connection, owner: &str) -> Result<u64, StoreError> {
    let mut release = conn.prepare_cached(
        "UPDATE delivery SET state = 'pending', claim_owner = NULL, claim_until = NULL
         WHERE state = 'claimed' AND claim_owner = ?1 RETURNING recipient, order_key",
    )?;
    let freed = release.query_map([owner], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let freed = freed.collect::<Result<Vec<(String, String)>, _>>()?;
    for (recipient, key) in &freed {
        choose_head(conn, recipient, key)?;
    }
    Ok(freed.len() as u64)
}

fn stats(conn: &Connection) -> Result<Vec<RecipientStats>, StoreError> {
    let mut lanes = conn.prepare_cached(
        "SELECT recipient, pending, delivered, dead, suppressed, merged, attempts, last_error FROM lane
         ORDER BY recipient",
    )?;
    let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let lanes = lanes.query_map([], |row| {
        Ok(RecipientStats {
            recipient: row.get(0)?,
            pending: count(row, 1)?,
            delivered: count(row, 2)?,
            dead: count(row, 3)?,
            suppressed: count(row, 4)?,
            merged: count(row, 5)?,
            attempts: count(row, 6)?,
            last_error: row.get(7)?,
        })
    })?;
    Ok(lanes.collect::<Result<Vec<_>, _>>()?)
}

fn prune(conn: &Connection, before: Timestamp) -> Result<usize, StoreError> {
    let mut prune = conn.prepare_cached(
        "DELETE FROM event WHERE id IN
             (SELECT id FROM event AS e WHERE accepted_at < ?1 AND NOT EXISTS
                  (SELECT 1 FROM delivery
                   WHERE event_id = e.id AND state NOT IN ('delivered', 'suppressed', 'merged')) LIMIT ?2)",
    )?;
    Ok(prune.execute(params![before.ns(), PRUNE_ROWS as i64])?)
}

/// What [`read_delivery`] reads.
const COLUMNS: &str = "d.event_id, d.recipient, e.kind, e.payload, e.traceparent, d.attempts, d.deadline,
    e.accepted_at FROM delivery AS d JOIN event AS e ON e.id = d.event_id";

fn read_delivery(row: &Row<'_>) -> Result<Delivery, StoreError> {
    let kind = EventKind::parse(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?;
    Ok(Delivery {
        event_id: row.get(0)?,
        recipient: row.get(1)?,
        kind,
        payload: row.get(3)?,
        traceparent: row.get(4)?,
        attempts: row.get(5)?,
        deadline: Timestamp::from_ns(row.get(6)?),
        accepted_at: Timestamp::from_ns(row.get(7)?),
        claimed_by: String::new(),
    })
}
