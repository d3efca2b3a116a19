//! Dead letters, and deliveries as operators look at them.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::{attempts, choose_heads, keys, lock, read_delivery};
use crate::model::Timestamp;
use crate::store::postgres::filter::Filter;
use crate::store::postgres::pool::{Database, Failed, clean};
use crate::store::settling::MAY_HAVE_ARRIVED;
use crate::store::{Attempt, DeadLetter, Delivery, DeliveryRecord, EventKind, StoreError};

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
    let decided = "UPDATE event SET owed = owed - 1 WHERE id IN
                       (SELECT event_id FROM delivery
                        WHERE recipient = $1 AND state = 'dead' AND ($2::text IS NULL OR event_id = $2))";
    transaction.execute(decided, &[&recipient, &event]).await?;
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
    let sql = format!(
        "SELECT d.event_id, d.recipient, e.kind, e.payload, e.traceparent, d.attempts, d.deadline,
                      e.accepted_at, d.attempts > 0 AND EXISTS
                          (SELECT 1 FROM attempt AS a WHERE a.event_id = d.event_id
                               AND a.recipient = d.recipient AND {MAY_HAVE_ARRIVED})
               FROM delivery AS d JOIN event AS e ON e.id = d.event_id
               JOIN delivery AS before ON before.recipient = d.recipient
                    AND before.order_key = d.order_key AND before.seq < d.seq
               WHERE before.event_id = $2 AND before.recipient = $1 AND d.finished_at IS NULL
               ORDER BY d.seq LIMIT $3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let connection = database.get().await?;
    let sql = connection.prepare_cached(&sql).await?;
    let rows =
        connection.query(&sql, &[&clean(&delivery.recipient), &clean(&delivery.event_id), &limit]).await?;
    rows.iter().map(read_delivery).collect()
}

/// What an event says.
pub(super) async fn payload(
    database: &Database,
    event: &str,
) -> Result<Option<(EventKind, String)>, StoreError> {
    let sql = "SELECT kind, payload FROM event WHERE id = $1";
    let Some(row) = database.get().await?.query_opt(sql, &[&clean(event)]).await? else { return Ok(None) };
    Ok(Some((EventKind::parse(row.try_get(0)?)?, row.try_get(1)?)))
}

/// The deliveries of one event and of what follows from it, by event and recipient.
pub(super) async fn deliveries(database: &Database, event: &str) -> Result<Vec<DeliveryRecord>, StoreError> {
    let connection = database.get().await?;
    // What follows from an event has its id, `#`, and more; `$` is the character after that.
    let of = "event_id = $1 OR event_id > $1 || '#' AND event_id < $1 || '$'";
    let mut tries: HashMap<(String, String), Vec<Attempt>> = HashMap::new();
    let sql = format!(
        "SELECT event_id, recipient, started, at, outcome, reason, answer FROM attempt WHERE {of}
         ORDER BY event_id, recipient, n"
    );
    for row in connection.query(sql.as_str(), &[&clean(event)]).await? {
        let (started, at) = (row.try_get(2)?, row.try_get(3)?);
        let attempt = Attempt::kept(started, at, row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
        tries.entry((row.try_get(0)?, row.try_get(1)?)).or_default().push(attempt);
    }
    let sql = format!(
        "SELECT d.recipient, d.state, e.accepted_at, e.config_version, d.next_at, d.finished_at, d.last_error,
                d.event_id
         FROM (SELECT * FROM delivery WHERE {of}) AS d JOIN event AS e ON e.id = d.event_id
         ORDER BY d.event_id, d.recipient"
    );
    let rows = connection.query(sql.as_str(), &[&clean(event)]).await?;
    let mut read = |row: &Row| {
        let (event_id, recipient): (String, String) = (row.try_get(7)?, row.try_get(0)?);
        let finished_at = row.try_get::<_, Option<i64>>(5)?.map(Timestamp::from_ns);
        let next_at = Timestamp::from_ns(row.try_get(4)?);
        let of = (event_id, recipient);
        Ok(DeliveryRecord {
            state: row.try_get(1)?,
            accepted_at: Timestamp::from_ns(row.try_get(2)?),
            config_version: row.try_get(3)?,
            reason: row.try_get(6)?,
            next_at: finished_at.is_none().then_some(next_at),
            finished_at,
            attempts: tries.remove(&of).unwrap_or_default(),
            event_id: of.0,
            recipient: of.1,
        })
    };
    rows.iter().map(&mut read).collect()
}
