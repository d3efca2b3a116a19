//! The outbox of events and the sessions of profiles, in `hooks.db`.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::{PRUNE_ROWS, SqliteStore};
use crate::events::Event;
use crate::metrics;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::events::{CALL_NS, EventStore, Outgoing, PENDING, Presence, readable, readable_rows};
use crate::store::hooks::PAGE_BYTES;

#[async_trait]
impl EventStore for SqliteStore {
    async fn queue_events(&self, owner: &str, events: Vec<Event>) -> Result<(), StoreError> {
        let owner = owner.to_owned();
        self.hooks
            .write(move |conn| events.into_iter().try_for_each(|event| queue(conn, &owner, event)))
            .await
    }

    async fn queued_events(
        &self,
        owner: &str,
        left_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<(i64, Event)>, StoreError> {
        self.carry_over().await?;
        let owner = owner.to_owned();
        let (events, lost) = self
            .hooks
            .read(move |conn| {
                let sql = "SELECT number, json FROM (
                               SELECT number, json, sum(length(json)) OVER (ORDER BY number) - length(json) AS above
                               FROM event_outbox WHERE json IS NOT NULL
                                   AND (owner = ?1 OR at < ?2 - CASE owner WHEN ?5 THEN ?6 ELSE 0 END)
                               ORDER BY number LIMIT ?3)
                           WHERE above < ?4 ORDER BY number";
                let mut statement = conn.prepare_cached(sql)?;
                let asked = params![owner, left_before.ns(), limit as i64, PAGE_BYTES, PENDING, CALL_NS];
                let rows = statement.query_map(asked, |row| Ok((row.get(0)?, row.get(1)?)))?;
                let rows: Vec<(i64, String)> = rows.collect::<Result<_, _>>()?;
                Ok(readable_rows(rows))
            })
            .await?;
        if !lost.is_empty() {
            lost.iter().for_each(|_| metrics::event_lost());
            self.events_told(lost).await?;
        }
        Ok(events)
    }

    async fn adopt_calls(&self, owner: &str, source: &str, started: Timestamp) -> Result<u64, StoreError> {
        self.carry_over().await?;
        let (owner, source) = (owner.to_owned(), source.to_owned());
        self.hooks
            .write(move |conn| {
                let sql = "UPDATE event_outbox SET owner = ?1
                           WHERE json IS NOT NULL AND owner = ?2 AND source = ?3 AND at < ?4";
                let adopted = params![owner, PENDING, source, started.ns()];
                Ok(conn.prepare_cached(sql)?.execute(adopted)? as u64)
            })
            .await
    }

    async fn events_told(&self, numbers: Vec<i64>) -> Result<(), StoreError> {
        self.hooks
            .write(move |conn| {
                let mut statement =
                    conn.prepare_cached("UPDATE event_outbox SET json = NULL WHERE number = ?1")?;
                for number in numbers {
                    statement.execute([number])?;
                }
                Ok(())
            })
            .await
    }

    async fn prune_told(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.hooks
            .write_in_steps(PRUNE_ROWS, move |conn| {
                let sql = "DELETE FROM event_outbox WHERE number IN (
                               SELECT number FROM event_outbox WHERE json IS NULL AND at < ?1 LIMIT ?2)";
                let told = conn.prepare_cached(sql)?.execute(params![before.ns(), PRUNE_ROWS as i64])?;
                let sql = "DELETE FROM event_sequence WHERE key IN (
                               SELECT key FROM event_sequence WHERE at < ?1 LIMIT ?2)";
                conn.prepare_cached(sql)?.execute(params![before.ns(), PRUNE_ROWS as i64])?;
                let sql = "DELETE FROM presence WHERE state <> 'STARTED' AND at < ?1";
                conn.prepare_cached(sql)?.execute([before.ns()])?;
                Ok(told)
            })
            .await
    }

    async fn renew_session(&self, profile: &str, until: Timestamp) -> Result<(), StoreError> {
        let profile = profile.to_owned();
        self.hooks
            .write(move |conn| {
                let sql = "INSERT INTO session (profile, until) VALUES (?1, ?2)
                           ON CONFLICT (profile) DO UPDATE SET until = max(until, excluded.until)";
                conn.prepare_cached(sql)?.execute(params![profile, until.ns()])?;
                Ok(())
            })
            .await
    }

    async fn end_session(&self, profile: &str) -> Result<bool, StoreError> {
        let profile = profile.to_owned();
        self.hooks
            .write(move |conn| {
                Ok(conn.prepare_cached("DELETE FROM session WHERE profile = ?1")?.execute([profile])? > 0)
            })
            .await
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
        self.turn(before, after, at, outgoing).await
    }

    async fn sessions(&self, now: Timestamp) -> Result<Vec<(String, Timestamp)>, StoreError> {
        self.hooks
            .read(move |conn| {
                let sql = "SELECT profile, until FROM session WHERE until > ?1 ORDER BY profile";
                let mut statement = conn.prepare_cached(sql)?;
                let rows = statement
                    .query_map([now.ns()], |row| Ok((row.get(0)?, Timestamp::from_ns(row.get(1)?))))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }
}

/// Queues an event, unless it is known.
pub(super) fn queue(conn: &Connection, owner: &str, mut event: Event) -> Result<(), StoreError> {
    let known: Option<(i64, String, Option<String>)> = conn
        .prepare_cached("SELECT number, owner, json FROM event_outbox WHERE source = ?1 AND id = ?2")?
        .query_row(params![event.source, event.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if let Some((number, of, json)) = known {
        if let Some(pending) = json.filter(|_| of == PENDING) {
            event.sequence = readable(&pending, number).map_or(0, |pending| pending.sequence);
            let sql = "UPDATE event_outbox SET owner = ?2, at = ?3, json = ?4 WHERE number = ?1";
            let json = serde_json::to_string(&event)?;
            conn.prepare_cached(sql)?.execute(params![number, owner, event.at.ns(), json])?;
        }
        return Ok(());
    }
    let sql = "INSERT INTO event_sequence (key, last, at) VALUES (?1, 1, ?2)
               ON CONFLICT (key) DO UPDATE SET last = last + 1, at = excluded.at RETURNING last";
    let number: i64 =
        conn.prepare_cached(sql)?.query_row(params![event.key, event.at.ns()], |row| row.get(0))?;
    event.sequence = number.unsigned_abs();
    let json = serde_json::to_string(&event)?;
    let sql = "INSERT INTO event_outbox (source, id, at, json, owner) VALUES (?1, ?2, ?3, ?4, ?5)";
    conn.prepare_cached(sql)?.execute(params![event.source, event.id, event.at.ns(), json, owner])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::hooks::HookStore;

    #[tokio::test]
    async fn a_row_that_cannot_be_read_does_not_hold_up_the_others() {
        let store = SqliteStore::in_memory().unwrap();
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        let good = r#"{"id":"good","subject":"event.item.s.k","key":"k","sequence":1,"at":"1970-01-01T00:00:01Z",
                       "source":"/s/n","body":1}"#;
        let rows = [("bad", deep), ("good", good.to_owned())];
        let write = move |conn: &Connection| {
            for (id, json) in rows {
                let sql =
                    "INSERT INTO event_outbox (source, id, at, json, owner) VALUES ('/s/n', ?1, 1, ?2, 'n')";
                conn.execute(sql, params![id, json])?;
                let sql = "INSERT INTO hook_event (key, came_at, at, json) VALUES (?1, 1, 1, ?2)";
                conn.execute(sql, params![id, json])?;
            }
            Ok(())
        };
        store.hooks.write(write).await.unwrap();
        for _ in 0..2 {
            let queued = store.queued_events("n", Timestamp::ZERO, 10).await.unwrap();
            assert_eq!(queued.iter().map(|(_, event)| event.id.as_str()).collect::<Vec<_>>(), ["good"]);
        }
        let left = "SELECT count(*) FROM event_outbox WHERE json IS NOT NULL";
        let left = store.hooks.read(move |conn| Ok(conn.query_row(left, [], |row| row.get::<_, i64>(0))?));
        assert_eq!(left.await.unwrap(), 1, "it is not read again and again");
        assert_eq!(store.newest_events(u64::MAX, 10).await.unwrap().len(), 1);
        assert_eq!(store.recorded_event("bad").await.unwrap(), None);
    }
}
