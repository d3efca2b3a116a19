//! From `ledger.db` to the outbox in `hooks.db`: events that are written in one transaction with what they
//! tell of. Whatever happens in between, an event is queued once, by its id.

use rusqlite::{Connection, params};

use super::SqliteStore;
use super::events::queue;
use crate::metrics;
use crate::store::StoreError;
use crate::store::events::{Outgoing, PENDING, readable};

/// Events that are carried over at once.
const STEP: usize = 256;

/// Keeps events in `ledger.db`; true when there are any.
pub(super) fn keep(conn: &Connection, outgoing: &Outgoing) -> Result<bool, StoreError> {
    let mut statement = conn.prepare_cached("INSERT INTO event_handover (owner, json) VALUES (?1, ?2)")?;
    let events = outgoing.events.iter().map(|event| (outgoing.owner.as_str(), event));
    let pending = outgoing.pending.iter().map(|event| (PENDING, event));
    let mut any = false;
    for (owner, event) in events.chain(pending) {
        statement.execute(params![owner, serde_json::to_string(event)?])?;
        any = true;
    }
    Ok(any)
}

impl SqliteStore {
    /// Queues what is kept, in order, and forgets it when it is queued.
    pub(super) async fn carry_over(&self) -> Result<(), StoreError> {
        loop {
            let kept: Vec<(i64, String, String)> = self
                .ledger
                .read(|conn| {
                    let sql = "SELECT number, owner, json FROM event_handover ORDER BY number LIMIT ?1";
                    let mut statement = conn.prepare_cached(sql)?;
                    let rows = statement
                        .query_map([STEP as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                    Ok(rows.collect::<Result<_, _>>()?)
                })
                .await?;
            let Some(last) = kept.last().map(|(number, ..)| *number) else { return Ok(()) };
            let queued = move |conn: &Connection| {
                for (number, owner, json) in kept {
                    match readable(&json, number) {
                        Some(event) => queue(conn, &owner, event)?,
                        None => metrics::event_lost(),
                    }
                }
                Ok(())
            };
            self.hooks.write(queued).await?;
            let forget = "DELETE FROM event_handover WHERE number <= ?1";
            self.ledger.write(move |conn| Ok(conn.prepare_cached(forget)?.execute([last])?)).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Event;
    use crate::model::Timestamp;
    use crate::store::events::EventStore;

    fn event(id: &str) -> Event {
        Event {
            id: id.to_owned(),
            subject: "event.item.s.k".to_owned(),
            key: "k".to_owned(),
            sequence: 0,
            at: Timestamp::ZERO,
            source: "/main/n".to_owned(),
            depth: 0,
            traceparent: None,
            body: serde_json::Value::Null,
        }
    }

    /// Two carry over at once: what is kept between them is not forgotten with what both have seen.
    #[tokio::test]
    async fn no_number_is_given_twice() {
        let store = SqliteStore::in_memory().unwrap();
        let keep_one = |id: &str| {
            let events = vec![event(id)];
            let outgoing = Outgoing { owner: "n".to_owned(), events, pending: None };
            store.ledger.write(move |conn| keep(conn, &outgoing))
        };
        let last = "SELECT max(number) FROM event_handover";
        keep_one("first").await.unwrap();
        let number =
            || store.ledger.read(move |conn| Ok(conn.query_row(last, [], |row| row.get::<_, i64>(0))?));
        let seen = number().await.unwrap();
        store.carry_over().await.unwrap();
        keep_one("second").await.unwrap();
        assert!(number().await.unwrap() > seen, "who saw the first forgets it alone");
        let queued = store.queued_events("n", Timestamp::ZERO, 10).await.unwrap();
        assert_eq!(
            queued.iter().map(|(_, event)| event.id.as_str()).collect::<Vec<_>>(),
            ["first", "second"]
        );
    }
}
