//! The outbox of events and the sessions of profiles.
//!
//! Every process tells its own events; what one that is no more has left is told by any other after a while.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::pool::{Failed, clean, column, settled};
use super::{PRUNE_ROWS, PostgresStore};
use crate::events::Event;
use crate::metrics;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::events::{CALL_NS, EventStore, Outgoing, PENDING, Presence, readable, readable_rows};
use crate::store::hooks::PAGE_BYTES;

#[async_trait]
impl EventStore for PostgresStore {
    async fn queue_events(&self, owner: &str, events: Vec<Event>) -> Result<(), StoreError> {
        settled(|| self.queue_once(owner, &events)).await
    }

    async fn queued_events(
        &self,
        owner: &str,
        left_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<(i64, Event)>, StoreError> {
        let sql = "SELECT number, json FROM (
                       SELECT number, json, sum(length(json)) OVER (ORDER BY number) - length(json) AS above
                       FROM event_outbox WHERE json IS NOT NULL
                           AND (owner = $1 OR at < $2 - CASE owner WHEN $5::text THEN $6::bigint ELSE 0 END)
                       ORDER BY number LIMIT $3) page
                   WHERE above < $4 ORDER BY number";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let connection = self.database.get().await?;
        let sql = connection.prepare_cached(sql).await?;
        let asked: [&(dyn ToSql + Sync); 6] =
            [&clean(owner), &left_before.ns(), &limit, &PAGE_BYTES, &PENDING, &CALL_NS];
        let rows = connection.query(&sql, &asked).await?;
        let rows = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let (events, lost) = readable_rows(rows.collect::<Result<_, tokio_postgres::Error>>()?);
        if !lost.is_empty() {
            lost.iter().for_each(|_| metrics::event_lost());
            self.events_told(lost).await?;
        }
        Ok(events)
    }

    async fn adopt_calls(&self, owner: &str, source: &str, started: Timestamp) -> Result<u64, StoreError> {
        let sql = "UPDATE event_outbox SET owner = $1
                   WHERE json IS NOT NULL AND owner = $2 AND source = $3 AND at < $4";
        settled(|| async {
            let connection = self.database.get().await?;
            let sql = connection.prepare_cached(sql).await?;
            Ok(connection.execute(&sql, &[&clean(owner), &PENDING, &clean(source), &started.ns()]).await?)
        })
        .await
    }

    async fn events_told(&self, numbers: Vec<i64>) -> Result<(), StoreError> {
        let sql = "UPDATE event_outbox SET json = NULL WHERE number IN
                       (SELECT number FROM event_outbox WHERE number = ANY($1) ORDER BY number FOR UPDATE)";
        settled(|| async {
            let connection = self.database.get().await?;
            connection.execute(&connection.prepare_cached(sql).await?, &[&numbers]).await?;
            Ok(())
        })
        .await
    }

    async fn prune_told(&self, before: Timestamp) -> Result<u64, StoreError> {
        let ids = "DELETE FROM event_outbox WHERE number IN
                       (SELECT number FROM event_outbox WHERE json IS NULL AND at < $1
                        ORDER BY number LIMIT $2 FOR UPDATE SKIP LOCKED)";
        let gone = "DELETE FROM presence WHERE state <> 'STARTED' AND at < $1";
        settled(|| async { Ok(self.database.get().await?.execute(gone, &[&before.ns()]).await?) }).await?;
        let keys = "DELETE FROM event_sequence WHERE key IN
                        (SELECT key FROM event_sequence WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
        let mut total = 0;
        loop {
            let step = settled(|| async {
                let connection = self.database.get().await?;
                let forgotten = connection.execute(ids, &[&before.ns(), &PRUNE_ROWS]).await?;
                Ok((forgotten, connection.execute(keys, &[&before.ns(), &PRUNE_ROWS]).await?))
            });
            let (ids, keys) = step.await?;
            total += ids;
            if ids.max(keys) < PRUNE_ROWS.unsigned_abs() {
                return Ok(total);
            }
        }
    }

    async fn renew_session(&self, profile: &str, until: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO session AS known (profile, until) VALUES ($1, $2)
                   ON CONFLICT (profile) DO UPDATE SET until = greatest(known.until, excluded.until)";
        self.database.get().await?.execute(sql, &[&clean(profile), &until.ns()]).await?;
        Ok(())
    }

    async fn end_session(&self, profile: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM session WHERE profile = $1";
        Ok(self.database.get().await?.execute(sql, &[&clean(profile)]).await? > 0)
    }

    async fn presences(&self) -> Result<Vec<Presence>, StoreError> {
        self.known_presences().await
    }

    async fn turn_presence(
        &self,
        before: Option<Presence>,
        after: Presence,
        at: Timestamp,
        outgoing: Outgoing,
    ) -> Result<bool, StoreError> {
        settled(|| self.turn(before.as_ref(), &after, at, &outgoing)).await
    }

    async fn sessions(&self, now: Timestamp) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let sql = "SELECT profile, until FROM session WHERE until > $1 ORDER BY profile";
        let rows = self.database.get().await?.query(sql, &[&now.ns()]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, Timestamp::from_ns(row.try_get(1)?)))).collect()
    }
}

impl PostgresStore {
    async fn queue_once(&self, owner: &str, events: &[Event]) -> Result<(), Failed> {
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        queue(&transaction, owner, events).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Queues events that are not known.
pub(super) async fn queue(
    transaction: &Transaction<'_>,
    owner: &str,
    events: &[Event],
) -> Result<(), Failed> {
    if events.is_empty() {
        return Ok(());
    }
    let sql = "SELECT source, id, CASE WHEN owner = $3::text THEN json END FROM event_outbox
                   WHERE (source, id) IN (SELECT * FROM unnest($1::text[], $2::text[]))";
    let sql = transaction.prepare_cached(sql).await?;
    let names = [column(events, |e| clean(&e.source)), column(events, |e| clean(&e.id))];
    let found = transaction.query(&sql, &[&names[0], &names[1], &PENDING]).await?;
    let mut known: BTreeSet<(String, String)> = found
        .iter()
        .map(|row| Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_, _>>()?;
    let mut is_new =
        |event: &&Event| known.insert((clean(&event.source).into_owned(), clean(&event.id).into_owned()));
    replace_pending(transaction, owner, events, &found).await?;
    let new: Vec<&Event> = events.iter().filter(&mut is_new).collect();
    if new.is_empty() {
        return Ok(());
    }
    // In the order of the keys, so that no two wait for each other.
    let mut keys: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for event in &new {
        let (count, at) = keys.entry(clean(&event.key).into_owned()).or_default();
        (*count, *at) = (*count + 1, (*at).max(event.at.ns()));
    }
    let rows: Vec<_> = keys.iter().collect();
    let sql = "INSERT INTO event_sequence AS known (key, last, at)
                   SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
                   ON CONFLICT (key) DO UPDATE
                   SET last = known.last + excluded.last, at = greatest(known.at, excluded.at)
                   RETURNING key, last";
    let sql = transaction.prepare_cached(sql).await?;
    let given = transaction
        .query(
            &sql,
            &[
                &column(&rows, |(key, _)| key.as_str()),
                &column(&rows, |(_, (count, _))| *count),
                &column(&rows, |(_, (_, at))| *at),
            ],
        )
        .await?;
    // The next number of each key.
    let mut next: BTreeMap<String, i64> = BTreeMap::new();
    for row in &given {
        let (key, last): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let count = keys.get(&key).map_or(0, |(count, _)| *count);
        next.insert(key, last - count + 1);
    }
    let mut json = Vec::with_capacity(new.len());
    for event in &new {
        let number = next.entry(clean(&event.key).into_owned()).or_insert(1);
        let event = Event { sequence: number.unsigned_abs(), ..(*event).clone() };
        json.push(serde_json::to_string(&event)?);
        *number += 1;
    }
    // Of two processes that queue the same at the same time, the first counts.
    let sql = "INSERT INTO event_outbox (owner, source, id, at, json)
                   SELECT $5::text, e.source, e.id, e.at, e.json
                   FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) WITH ORDINALITY
                        AS e (source, id, at, json, n)
                   ORDER BY e.n ON CONFLICT (source, id) DO NOTHING";
    let sql = transaction.prepare_cached(sql).await?;
    transaction
        .execute(
            &sql,
            &[
                &column(&new, |e| clean(&e.source)),
                &column(&new, |e| clean(&e.id)),
                &column(&new, |e| e.at.ns()),
                &json,
                &clean(owner),
            ],
        )
        .await?;
    Ok(())
}

/// Puts how calls ended in the place of what was written of them before.
async fn replace_pending(
    transaction: &Transaction<'_>,
    owner: &str,
    events: &[Event],
    found: &[Row],
) -> Result<(), Failed> {
    for row in found {
        let (source, id, pending): (&str, &str, Option<&str>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let of = |event: &&Event| clean(&event.source) == source && clean(&event.id) == id;
        let (Some(pending), Some(event)) = (pending, events.iter().find(of)) else { continue };
        let sequence = readable(pending, 0).map_or(0, |pending| pending.sequence);
        let json = serde_json::to_string(&Event { sequence, ..event.clone() })?;
        let sql = "UPDATE event_outbox SET owner = $3, at = $4, json = $5
                   WHERE source = $1 AND id = $2 AND json IS NOT NULL";
        transaction.execute(sql, &[&source, &id, &clean(owner), &event.at.ns(), &json]).await?;
    }
    Ok(())
}
