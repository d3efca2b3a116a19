//! Dead letters, and deliveries as operators look at them.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::{attempts, choose_heads, keys, lock, read_delivery};
use crate::model::Timestamp;
use crate::store::postgres::filter::Filter;
use crate::store::postgres::pool::{Database, Failed, clean};
use crate::store::{Attempt, DeadLetter, Delivery, DeliveryRecord, StoreError};

/// Dead letters, newest first.
pub(super) async fn dead(
    database: &Database,
    recipient: Option<&str>,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let mut filter = Filter::default();
    filter.and("recipient = $?", recipient.map(|name| clean(name).into_owned()));
    let limit = filter.bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let sql = format!(
        "SELECT event_id, recipient, coalesce(last_error, ''), attempts, finished_at FROM delivery
         WHERE state = 'dead' AND {} ORDER BY finished_at DESC, seq DESC LIMIT {limit}",
        filter.text()
    );
    let read = |row: &Row| {
        Ok(DeadLetter {
            event_id: row.try_get(0)?,
            recipient: row.try_get(1)?,
            reason: row.try_get(2)?,
            attempts: attempts(row, 3)?,
            died_at: Timestamp::from_ns(row.try_get(4)?),
        })
    };
    filter.query(&database.get().await?, &sql).await?.iter().map(read).collect()
}

/// Makes dead letters due again.
pub(super) async fn replay(
    database: &Database,
    recipient: &str,
    event: Option<&str>,
    now: Timestamp,
    until: i64,
) -> Result<u64, Failed> {
    let (recipient, event) = (clean(recipient), event.map(clean));
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    lock(&transaction, &[&*recipient]).await?;
    let sql = "UPDATE delivery SET state = 'pending', finished_at = NULL, next_at = $2, deadline = $3
               WHERE recipient = $1 AND state = 'dead' AND ($4::text IS NULL OR event_id = $4)
               RETURNING recipient, order_key";
    let revived = keys(&transaction.query(sql, &[&recipient, &now.ns(), &until, &event]).await?)?;
    choose_heads(&transaction, &revived).await?;
    let sql = "UPDATE lane SET pending = pending + $2, dead = dead - $2 WHERE recipient = $1";
    transaction.execute(sql, &[&recipient, &(revived.len() as i64)]).await?;
    transaction.commit().await?;
    Ok(revived.len() as u64)
}

/// Forgets dead letters with their tries.
pub(super) async fn discard(
    database: &Database,
    recipient: &str,
    event: Option<&str>,
) -> Result<u64, Failed> {
    let (recipient, event) = (clean(recipient), event.map(clean));
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    lock(&transaction, &[&*recipient]).await?;
    let tries = "DELETE FROM attempt WHERE recipient = $1 AND event_id IN
                     (SELECT event_id FROM delivery
                      WHERE recipient = $1 AND state = 'dead' AND ($2::text IS NULL OR event_id = $2))";
    transaction.execute(tries, &[&recipient, &event]).await?;
    let letters = "DELETE FROM delivery
                   WHERE recipient = $1 AND state = 'dead' AND ($2::text IS NULL OR event_id = $2)";
    let gone = transaction.execute(letters, &[&recipient, &event]).await?;
    let sql = "UPDATE lane SET dead = dead - $2 WHERE recipient = $1";
    transaction.execute(sql, &[&recipient, &(gone as i64)]).await?;
    transaction.commit().await?;
    Ok(gone)
}

/// Those that wait behind a delivery in its order key, oldest first.
pub(super) async fn behind(
    database: &Database,
    delivery: &Delivery,
    limit: usize,
) -> Result<Vec<Delivery>, StoreError> {
    let sql = "SELECT d.event_id, d.recipient, e.kind, e.payload, e.traceparent, d.attempts, d.deadline,
                      e.accepted_at
               FROM delivery AS d JOIN event AS e ON e.id = d.event_id
               JOIN delivery AS before ON before.recipient = d.recipient
                    AND before.order_key = d.order_key AND before.seq < d.seq
               WHERE before.event_id = $2 AND before.recipient = $1 AND d.finished_at IS NULL
               ORDER BY d.seq LIMIT $3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let connection = database.get().await?;
    let sql = connection.prepare_cached(sql).await?;
    let rows =
        connection.query(&sql, &[&clean(&delivery.recipient), &clean(&delivery.event_id), &limit]).await?;
    rows.iter().map(read_delivery).collect()
}

/// The deliveries of one event, by recipient.
pub(super) async fn deliveries(database: &Database, event: &str) -> Result<Vec<DeliveryRecord>, StoreError> {
    let connection = database.get().await?;
    let mut tries: HashMap<String, Vec<Attempt>> = HashMap::new();
    let sql = "SELECT recipient, at, outcome, reason FROM attempt WHERE event_id = $1 ORDER BY recipient, n";
    for row in connection.query(sql, &[&clean(event)]).await? {
        let at = Timestamp::from_ns(row.try_get(1)?);
        let attempt = Attempt { at, outcome: row.try_get(2)?, reason: row.try_get(3)? };
        tries.entry(row.try_get(0)?).or_default().push(attempt);
    }
    let sql = "SELECT d.recipient, d.state, e.accepted_at, e.config_version, d.next_at, d.finished_at, d.last_error
               FROM delivery AS d JOIN event AS e ON e.id = d.event_id WHERE d.event_id = $1 ORDER BY d.recipient";
    let rows = connection.query(sql, &[&clean(event)]).await?;
    let read = |row: &Row| {
        let recipient: String = row.try_get(0)?;
        let finished_at = row.try_get::<_, Option<i64>>(5)?.map(Timestamp::from_ns);
        let next_at = Timestamp::from_ns(row.try_get(4)?);
        Ok(DeliveryRecord {
            event_id: event.to_owned(),
            state: row.try_get(1)?,
            accepted_at: Timestamp::from_ns(row.try_get(2)?),
            config_version: row.try_get(3)?,
            reason: row.try_get(6)?,
            next_at: finished_at.is_none().then_some(next_at),
            finished_at,
            attempts: tries.get(&recipient).cloned().unwrap_or_default(),
            recipient,
        })
    };
    rows.iter().map(read).collect()
}
