//! How a try ends: the attempt on record, the delivery's next state, the totals, the next head.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::claim::{choose_head, next_head};
use super::totals::{self, Ends};
use crate::model::Timestamp;
use crate::store::settling::{End, answer};
use crate::store::{Delivery, Outcome, StoreError};

/// A delivery as it stands.
struct Standing {
    seq: i64,
    order_key: String,
    attempts: u32,
    deadline: i64,
    unfinished: bool,
    claimed_at: Option<i64>,
    severity: u8,
    head: bool,
}

/// Records tries; deliveries that are not known are left out.
pub(super) fn settle(
    conn: &Connection,
    results: &[(Delivery, Outcome)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut totals: BTreeMap<&str, Ends> = BTreeMap::new();
    for (delivery, outcome) in results {
        settle_one(conn, delivery, outcome, now, totals.entry(&delivery.recipient).or_default())?;
    }
    totals.iter().try_for_each(|(recipient, ends)| ends.add(conn, recipient, now))
}

fn settle_one(
    conn: &Connection,
    delivery: &Delivery,
    outcome: &Outcome,
    now: Timestamp,
    ends: &mut Ends,
) -> Result<(), StoreError> {
    let mut find = conn.prepare_cached(
        "SELECT seq, order_key, attempts, deadline, finished_at IS NULL
             AND (coalesce(claim_owner, ?3) = ?3 OR ?3 = ''), claimed_at, severity, head FROM delivery
         WHERE event_id = ?1 AND recipient = ?2",
    )?;
    let found = find
        .query_row([&delivery.event_id, &delivery.recipient, &delivery.claimed_by], |row| {
            Ok(Standing {
                seq: row.get(0)?,
                order_key: row.get(1)?,
                attempts: row.get(2)?,
                deadline: row.get(3)?,
                unfinished: row.get(4)?,
                claimed_at: row.get(5)?,
                severity: row.get(6)?,
                head: row.get(7)?,
            })
        })
        .optional()?;
    let Some(is) = found else { return Ok(()) };
    let seq = is.seq;
    let end = End::of(outcome, now, Timestamp::from_ns(is.deadline));
    let (name, reason) = (end.name(), end.reason());
    let recipient = &delivery.recipient;
    let attempts = is.attempts + u32::from(end.is_attempt());
    if end.is_attempt() {
        conn.prepare_cached(
            "INSERT INTO attempt (event_id, recipient, n, at, outcome, reason, started, answer)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            delivery.event_id,
            recipient,
            attempts,
            now.ns(),
            name,
            reason,
            // Another's claim says nothing about this try.
            is.claimed_at.filter(|_| is.unfinished),
            answer(outcome),
        ])?;
        ends.tried(&end);
    }
    // Whoever's claim ran out may still report; what is finished, or another's by now, stays as it is.
    if !is.unfinished {
        if end.is_attempt() {
            conn.prepare_cached("UPDATE delivery SET attempts = ?2 WHERE seq = ?1")?
                .execute(params![seq, attempts])?;
        }
        return Ok(());
    }
    match &end {
        End::Again { at, reason, later, .. } => {
            conn.prepare_cached(
                "UPDATE delivery SET state = 'pending', next_at = ?2, claim_owner = NULL, claim_until = NULL,
                                     last_error = coalesce(?3, last_error), attempts = ?4,
                                     deadline = deadline + iif(?5, ?2 - next_at, 0) WHERE seq = ?1",
            )?
            .execute(params![seq, at.ns(), reason, attempts, later])?;
        }
        End::Finished { .. } => {
            conn.prepare_cached(
                "UPDATE delivery SET state = ?2, head = 0, finished_at = ?3, claim_owner = NULL,
                                     claim_until = NULL, last_error = ?4, attempts = ?5 WHERE seq = ?1",
            )?
            .execute(params![seq, name, now.ns(), reason, attempts])?;
            ends.finished(&end);
        }
    }
    if let Some(why) = end.dropped() {
        totals::dropped(conn, recipient, why)?;
    }
    if let Outcome::Diverted { to, .. } = outcome {
        divert(conn, delivery, to, &is, now)?;
    }
    match end {
        // It was the only head of its key.
        End::Finished { .. } if is.head => next_head(conn, recipient, &is.order_key),
        _ => choose_head(conn, recipient, &is.order_key),
    }
}

/// Owes the event to another recipient too, for as long as it was owed to the first.
fn divert(
    conn: &Connection,
    delivery: &Delivery,
    to: &str,
    is: &Standing,
    now: Timestamp,
) -> Result<(), StoreError> {
    let until = now.plus_ns(delivery.deadline.since(delivery.accepted_at).max(0));
    let added = conn
        .prepare_cached(
            "INSERT INTO delivery (event_id, recipient, order_key, next_at, deadline, severity, head)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, NOT EXISTS
                 (SELECT 1 FROM delivery WHERE recipient = ?2 AND order_key = ?3 AND head = 1))
             ON CONFLICT (event_id, recipient) DO NOTHING",
        )?
        .execute(params![delivery.event_id, to, is.order_key, now.ns(), until.ns(), is.severity])?;
    if added > 0 {
        totals::owed(conn, to, 1)?;
    }
    Ok(())
}
