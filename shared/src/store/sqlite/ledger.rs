//! Deliveries, in `ledger.db`: accepted, claimed, settled, pruned.
//!
//! The order rule lives in the column `head`, see the schema: [`choose_head`] keeps it true whenever
//! a delivery leaves or comes back, and a claim looks at nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{PRUNE_ROWS, SqliteStore};
use crate::model::{Severity, Timestamp};
use crate::store::settling::MAY_HAVE_ARRIVED;
use crate::store::{
    DeadLetter, Delivery, DeliveryRecord, EventKind, Ledger, LedgerAudit, LedgerEvent, Outcome,
    RecipientStats, StoreError,
};

mod claim;
mod letters;
mod notes;
mod settle;
mod totals;

use claim::{Lost, Share, choose_head};

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
        oldest: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let (recipient, owner) = (recipient.to_owned(), owner.to_owned());
        let share = Share { limit, oldest };
        self.ledger.write(move |conn| claim::claim(conn, &recipient, &owner, now, until, share)).await
    }

    async fn settle(&self, results: Vec<(Delivery, Outcome)>, now: Timestamp) -> Result<(), StoreError> {
        self.ledger.write(move |conn| settle::settle(conn, &results, now)).await
    }

    async fn behind(&self, delivery: &Delivery, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        let (recipient, event) = (delivery.recipient.clone(), delivery.event_id.clone());
        self.ledger.read(move |conn| letters::behind(conn, &recipient, &event, limit)).await
    }

    async fn next_due(&self, recipient: &str) -> Result<Option<Timestamp>, StoreError> {
        let recipient = recipient.to_owned();
        self.ledger.read(move |conn| claim::next_due(conn, &recipient)).await
    }

    async fn release_claims(&self, owner: &str) -> Result<u64, StoreError> {
        let owner = owner.to_owned();
        self.ledger.write(move |conn| claim::release(conn, &owner)).await
    }

    async fn lose_claims(&self, owner: &str, now: Timestamp) -> Result<u64, StoreError> {
        let owner = owner.to_owned();
        self.ledger.write(move |conn| claim::lose(conn, Lost::Of(&owner), now)).await
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
        self.ledger.read(totals::stats).await
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

    async fn payload(&self, event: &str) -> Result<Option<(EventKind, String)>, StoreError> {
        let event = event.to_owned();
        self.ledger.read(move |conn| letters::payload(conn, &event)).await
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
        "INSERT INTO event (id, kind, order_key, severity, payload, traceparent, accepted_at, config_version, owed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
    )?;
    let mut delivery = conn.prepare_cached(
        "INSERT INTO delivery (event_id, recipient, order_key, next_at, deadline, severity, head)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, NOT EXISTS
             (SELECT 1 FROM delivery WHERE recipient = ?2 AND order_key = ?3 AND head = 1))
         ON CONFLICT (event_id, recipient) DO NOTHING",
    )?;
    let mut pending: BTreeMap<&str, i64> = BTreeMap::new();
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
            e.recipients.iter().collect::<BTreeSet<_>>().len() as i64,
        ])?;
        if new == 0 {
            continue;
        }
        added += 1;
        let due = e.not_before.map_or(now, |at| at.max(now));
        let until = after(due, deadline(e.severity));
        for recipient in &e.recipients {
            // A recipient named twice gets it once.
            let new =
                delivery.execute(params![e.id, recipient, e.order_key, due.ns(), until, e.severity.id()])?;
            if new > 0 {
                *pending.entry(recipient).or_default() += 1;
            }
        }
        for (recipient, why) in &e.spared {
            totals::dropped(conn, recipient, *why)?;
        }
    }
    for (recipient, more) in pending {
        totals::owed(conn, recipient, more)?;
    }
    Ok(added)
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

/// What [`read_delivery`] reads, and where it is.
fn columns() -> String {
    format!(
        "d.event_id, d.recipient, e.kind, e.payload, e.traceparent, d.attempts, d.deadline, e.accepted_at,
         d.attempts > 0 AND EXISTS (SELECT 1 FROM attempt AS a
             WHERE a.event_id = d.event_id AND a.recipient = d.recipient AND {MAY_HAVE_ARRIVED})
         FROM delivery AS d JOIN event AS e ON e.id = d.event_id"
    )
}

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
        maybe_told: row.get(8)?,
        claimed_by: String::new(),
    })
}
