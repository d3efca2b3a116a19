//! Notes beside deliveries, and the search for what must not be.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::model::Timestamp;
use crate::store::{LedgerAudit, StoreError};

/// Seconds after which a claim that ran out should have been taken up.
const FORGOTTEN_SECS: i64 = 600;

/// Seconds within which an event was accepted whose deliveries are looked for.
const RECENT_SECS: i64 = 3600;

pub(super) fn all(conn: &Connection, scope: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let mut find = conn.prepare_cached("SELECT key, value FROM note WHERE scope = ?1")?;
    let found = find.query_map([scope], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn change(
    conn: &Connection,
    scope: &str,
    changes: &[(String, Option<String>)],
) -> Result<(), StoreError> {
    let mut set = conn.prepare_cached(
        "INSERT INTO note (scope, key, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value",
    )?;
    let mut forget = conn.prepare_cached("DELETE FROM note WHERE scope = ?1 AND key = ?2")?;
    for (key, value) in changes {
        match value {
            Some(value) => set.execute(params![scope, key, value])?,
            None => forget.execute(params![scope, key])?,
        };
    }
    Ok(())
}

pub(super) fn audit(conn: &Connection, now: Timestamp) -> Result<LedgerAudit, StoreError> {
    let count = |sql: &str, arguments: &[i64]| -> Result<u64, StoreError> {
        let mut counting = conn.prepare_cached(sql)?;
        let count = counting.query_row(rusqlite::params_from_iter(arguments), |row| row.get::<_, i64>(0))?;
        Ok(count.unsigned_abs())
    };
    Ok(LedgerAudit {
        stuck_keys: count(
            "SELECT COUNT(*) FROM (SELECT DISTINCT recipient, order_key FROM delivery WHERE finished_at IS NULL)
             AS open WHERE NOT EXISTS (SELECT 1 FROM delivery AS d
                 WHERE d.recipient = open.recipient AND d.order_key = open.order_key AND d.head = 1)",
            &[],
        )?,
        forgotten_claims: count(
            "SELECT COUNT(*) FROM delivery WHERE state = 'claimed' AND claim_until < ?1",
            &[now.plus_secs(-FORGOTTEN_SECS).ns()],
        )?,
        wrong_totals: count(
            "SELECT COUNT(*) FROM lane WHERE pending <> (SELECT COUNT(*) FROM delivery
                 WHERE delivery.recipient = lane.recipient AND finished_at IS NULL)
             OR dead <> (SELECT COUNT(*) FROM delivery
                 WHERE delivery.recipient = lane.recipient AND state = 'dead')",
            &[],
        )?,
        lost_deliveries: count(
            "SELECT COUNT(*) FROM event AS e WHERE accepted_at > ?1
             AND owed > (SELECT COUNT(*) FROM delivery WHERE event_id = e.id)",
            &[now.plus_secs(-RECENT_SECS).ns()],
        )?,
        // What was given up and brought back is older than what is under way, rightly.
        out_of_order: count(
            "SELECT COUNT(*) FROM delivery AS new WHERE new.state = 'claimed' AND EXISTS
                 (SELECT 1 FROM delivery AS old
                  WHERE old.recipient = new.recipient AND old.order_key = new.order_key
                    AND old.seq < new.seq AND old.finished_at IS NULL AND NOT EXISTS
                        (SELECT 1 FROM attempt
                         WHERE event_id = old.event_id AND recipient = old.recipient AND outcome = 'dead'))",
            &[],
        )?,
    })
}
