//! Deliveries: accepted, claimed, settled, pruned, by as many notifiers as there are.
//!
//! Whoever adds deliveries, ends them or moves the mark of the head holds the lane's row; lanes are locked
//! in the order of their names. Claiming needs no lane: it takes rows that nobody else has locked.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::pool::{Failed, clean, column, settled};
use super::{PRUNE_ROWS, PostgresStore};
use crate::model::{Severity, Timestamp};
use crate::store::{
    DeadLetter, Delivery, DeliveryRecord, EventKind, Ledger, LedgerAudit, LedgerEvent, Outcome,
    RecipientStats, StoreError,
};

mod claim;
mod letters;
mod notes;
mod settle;
mod totals;

#[async_trait]
impl Ledger for PostgresStore {
    async fn accept(
        &self,
        events: Vec<LedgerEvent>,
        now: Timestamp,
        deadline: fn(Severity) -> Duration,
    ) -> Result<u64, StoreError> {
        settled(|| self.accept_once(&events, now, deadline)).await
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
        self.claim_due(recipient, owner, (now, until), limit, oldest).await
    }

    async fn settle(&self, results: Vec<(Delivery, Outcome)>, now: Timestamp) -> Result<(), StoreError> {
        settled(|| self.settle_once(&results, now)).await
    }

    async fn behind(&self, delivery: &Delivery, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        letters::behind(&self.database, delivery, limit).await
    }

    async fn next_due(&self, recipient: &str) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT least(
                       (SELECT min(next_at) FROM delivery WHERE recipient = $1 AND head AND state = 'pending'),
                       (SELECT min(claim_until) FROM delivery WHERE recipient = $1 AND state = 'claimed'))";
        let connection = self.database.get().await?;
        let sql = connection.prepare_cached(sql).await?;
        let at: Option<i64> = connection.query_one(&sql, &[&clean(recipient)]).await?.try_get(0)?;
        Ok(at.map(Timestamp::from_ns))
    }

    async fn release_claims(&self, owner: &str) -> Result<u64, StoreError> {
        settled(|| self.release(owner)).await
    }

    async fn lose_claims(&self, owner: &str, now: Timestamp) -> Result<u64, StoreError> {
        settled(|| self.lose(owner, now)).await
    }

    async fn outstanding(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(sum(pending), 0)::bigint FROM lane";
        let sum: i64 = self.database.get().await?.query_one(sql, &[]).await?.try_get(0)?;
        Ok(sum.unsigned_abs())
    }

    async fn stats(&self) -> Result<Vec<RecipientStats>, StoreError> {
        totals::stats(&self.database).await
    }

    async fn dead_letters(
        &self,
        recipient: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        letters::dead(&self.database, recipient, limit).await
    }

    async fn replay_dead(
        &self,
        recipient: &str,
        event: Option<&str>,
        now: Timestamp,
        deadline: Duration,
    ) -> Result<u64, StoreError> {
        let until = after(now, deadline);
        settled(|| letters::replay(&self.database, recipient, event, now, until)).await
    }

    async fn discard_dead(&self, recipient: &str, event: Option<&str>) -> Result<u64, StoreError> {
        settled(|| letters::discard(&self.database, recipient, event)).await
    }

    async fn deliveries(&self, event: &str) -> Result<Vec<DeliveryRecord>, StoreError> {
        letters::deliveries(&self.database, event).await
    }

    async fn payload(&self, event: &str) -> Result<Option<(EventKind, String)>, StoreError> {
        letters::payload(&self.database, event).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = "DELETE FROM event WHERE id IN
                       (SELECT id FROM event AS e WHERE accepted_at < $1 AND NOT EXISTS
                            (SELECT 1 FROM delivery
                             WHERE event_id = e.id AND state NOT IN ('delivered', 'suppressed', 'merged'))
                        LIMIT $2)";
        let mut total = 0;
        loop {
            let step = settled(|| async {
                let connection = self.database.get().await?;
                Ok(connection.execute(sql, &[&before.ns(), &PRUNE_ROWS]).await?)
            });
            let rows = step.await?;
            total += rows;
            if rows < PRUNE_ROWS.unsigned_abs() {
                return Ok(total);
            }
        }
    }

    async fn notes(&self, scope: &str) -> Result<BTreeMap<String, String>, StoreError> {
        notes::all(&self.database, scope).await
    }

    async fn note(&self, scope: &str, changes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        settled(|| notes::change(&self.database, scope, &changes)).await
    }

    async fn audit(&self, now: Timestamp) -> Result<LedgerAudit, StoreError> {
        notes::audit(&self.database, now).await
    }
}

fn after(now: Timestamp, wait: Duration) -> i64 {
    now.plus_ns(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)).ns()
}

/// A delivery to be owed.
struct Owed<'a> {
    event_id: &'a str,
    recipient: &'a str,
    order_key: &'a str,
    next_at: i64,
    deadline: i64,
    severity: i64,
}

impl PostgresStore {
    async fn accept_once(
        &self,
        events: &[LedgerEvent],
        now: Timestamp,
        deadline: fn(Severity) -> Duration,
    ) -> Result<u64, Failed> {
        // Of two with the same id the first counts. By id, so that whoever accepts the same waits for this
        // one instead of both for each other.
        let mut firsts: BTreeMap<&str, &LedgerEvent> = BTreeMap::new();
        for event in events {
            firsts.entry(&event.id).or_insert(event);
        }
        let rows: Vec<&LedgerEvent> = firsts.into_values().collect();
        if rows.is_empty() {
            return Ok(0);
        }
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        let sql = "INSERT INTO event (id, kind, order_key, severity, payload, traceparent, accepted_at, config_version, owed)
                   SELECT e.id, e.kind, e.order_key, e.severity, e.payload, e.traceparent, $8::bigint, e.config_version, e.owed
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $9::bigint[])
                        WITH ORDINALITY
                        AS e (id, kind, order_key, severity, payload, traceparent, config_version, owed, n)
                   ORDER BY e.n ON CONFLICT (id) DO NOTHING RETURNING id";
        let sql = transaction.prepare_cached(sql).await?;
        let added = transaction
            .query(
                &sql,
                &[
                    &column(&rows, |e| clean(&e.id)),
                    &column(&rows, |e| e.kind.name()),
                    &column(&rows, |e| clean(&e.order_key)),
                    &column(&rows, |e| i64::from(e.severity.id())),
                    &column(&rows, |e| clean(&e.payload)),
                    &column(&rows, |e| e.traceparent.as_deref().map(clean)),
                    &column(&rows, |e| clean(&e.config_version)),
                    &now.ns(),
                    &column(&rows, |e| e.recipients.iter().collect::<BTreeSet<_>>().len() as i64),
                ],
            )
            .await?;
        let mut new: HashSet<String> = added.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let count = new.len() as u64;
        let (mut owed, mut spared) = (Vec::new(), BTreeMap::new());
        for event in events.iter().filter(|event| new.remove(&*clean(&event.id))) {
            let mut named = BTreeSet::new();
            let due = event.not_before.map_or(now, |at| at.max(now));
            // A recipient named twice gets it once.
            for recipient in event.recipients.iter().filter(|name| named.insert(*name)) {
                owed.push(Owed {
                    event_id: &event.id,
                    recipient,
                    order_key: &event.order_key,
                    next_at: due.ns(),
                    deadline: after(due, deadline(event.severity)),
                    severity: event.severity.id().into(),
                });
            }
            for (recipient, why) in &event.spared {
                *spared.entry((recipient.as_str(), why.name())).or_default() += 1;
            }
        }
        owe(&transaction, &owed).await?;
        totals::dropped(&transaction, &spared).await?;
        transaction.commit().await?;
        Ok(count)
    }
}

/// Locks lanes until the transaction ends.
async fn lock(transaction: &Transaction<'_>, recipients: &[&str]) -> Result<(), Failed> {
    let sql = "SELECT 1 FROM lane WHERE recipient = ANY($1) ORDER BY recipient FOR UPDATE";
    let sql = transaction.prepare_cached(sql).await?;
    transaction.execute(&sql, &[&recipients]).await?;
    Ok(())
}

/// Adds deliveries in their order; one that is there already is left alone.
async fn owe(transaction: &Transaction<'_>, owed: &[Owed<'_>]) -> Result<(), Failed> {
    if owed.is_empty() {
        return Ok(());
    }
    let names: BTreeSet<_> = owed.iter().map(|o| clean(o.recipient)).collect();
    let names: Vec<_> = names.into_iter().collect();
    // Also locks the lanes, which may not be there yet.
    let sql = "INSERT INTO lane (recipient) SELECT name FROM unnest($1::text[]) AS name ORDER BY name
               ON CONFLICT (recipient) DO UPDATE SET pending = lane.pending";
    let sql = transaction.prepare_cached(sql).await?;
    transaction.execute(&sql, &[&names]).await?;
    // Of several with the same key only the first of all can be the head.
    let mut seen = HashSet::new();
    let first = column(owed, |o| seen.insert((o.recipient, o.order_key)));
    let sql = "WITH added AS (
                   INSERT INTO delivery (event_id, recipient, order_key, next_at, deadline, severity, head)
                   SELECT o.event_id, o.recipient, o.order_key, o.next_at, o.deadline, o.severity, o.first AND NOT EXISTS
                       (SELECT 1 FROM delivery AS d
                        WHERE d.recipient = o.recipient AND d.order_key = o.order_key AND d.head)
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::bigint[])
                        WITH ORDINALITY AS o (event_id, recipient, order_key, next_at, deadline, first, severity, n)
                   ORDER BY o.n ON CONFLICT (event_id, recipient) DO NOTHING RETURNING recipient)
               UPDATE lane SET pending = pending + new.count
               FROM (SELECT recipient, count(*) AS count FROM added GROUP BY recipient) AS new
               WHERE lane.recipient = new.recipient";
    let sql = transaction.prepare_cached(sql).await?;
    transaction
        .execute(
            &sql,
            &[
                &column(owed, |o| clean(o.event_id)),
                &column(owed, |o| clean(o.recipient)),
                &column(owed, |o| clean(o.order_key)),
                &column(owed, |o| o.next_at),
                &column(owed, |o| o.deadline),
                &first,
                &column(owed, |o| o.severity),
            ],
        )
        .await?;
    Ok(())
}

/// Recipient and order key of rows that tell them in this order.
fn keys(rows: &[Row]) -> Result<Vec<(String, String)>, Failed> {
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Makes the oldest unfinished delivery of each key its head, unless one is under way.
async fn choose_heads(transaction: &Transaction<'_>, keys: &[(String, String)]) -> Result<(), Failed> {
    if keys.is_empty() {
        return Ok(());
    }
    let (recipients, orders) = (column(keys, |k| &*k.0), column(keys, |k| &*k.1));
    let down = "UPDATE delivery AS d SET head = false
                FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS k (recipient, order_key)
                WHERE d.recipient = k.recipient AND d.order_key = k.order_key AND d.head AND d.state = 'pending'";
    let up = "UPDATE delivery SET head = true WHERE seq IN
                  (SELECT (SELECT min(seq) FROM delivery AS d WHERE d.recipient = k.recipient
                           AND d.order_key = k.order_key AND d.finished_at IS NULL)
                   FROM unnest($1::text[], $2::text[]) AS k (recipient, order_key)
                   WHERE NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.recipient = k.recipient
                                     AND d.order_key = k.order_key AND d.head))";
    for sql in [down, up] {
        let sql = transaction.prepare_cached(sql).await?;
        transaction.execute(&sql, &[&recipients, &orders]).await?;
    }
    Ok(())
}

fn read_delivery(row: &Row) -> Result<Delivery, StoreError> {
    let kind = EventKind::parse(row.try_get(2)?)?;
    Ok(Delivery {
        event_id: row.try_get(0)?,
        recipient: row.try_get(1)?,
        kind,
        payload: row.try_get(3)?,
        traceparent: row.try_get(4)?,
        attempts: attempts(row, 5)?,
        deadline: Timestamp::from_ns(row.try_get(6)?),
        accepted_at: Timestamp::from_ns(row.try_get(7)?),
        maybe_told: row.try_get(8)?,
        claimed_by: String::new(),
    })
}

fn attempts(row: &Row, column: usize) -> Result<u32, tokio_postgres::Error> {
    Ok(u32::try_from(row.try_get::<_, i64>(column)?).unwrap_or(u32::MAX))
}
