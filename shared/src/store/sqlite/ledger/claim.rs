//! Which deliveries are under way: claimed, released, due.

use rusqlite::{Connection, params};

use super::{columns, read_delivery, totals};
use crate::model::Timestamp;
use crate::store::settling::{LOST, UNKNOWN};
use crate::store::{Delivery, StoreError};

/// How many of the first heads [`heads`] looks at, per delivery wanted, before it asks the due index.
const WINDOW: usize = 8;

/// How many are claimed at once.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// In all.
    pub limit: usize,
    /// Of these, by age.
    pub oldest: usize,
}

/// Makes the oldest unfinished delivery of the key its head, unless one is under way.
pub(super) fn choose_head(conn: &Connection, recipient: &str, order_key: &str) -> Result<(), StoreError> {
    let mut step_down = conn.prepare_cached(
        "UPDATE delivery SET head = 0
         WHERE recipient = ?1 AND order_key = ?2 AND head = 1 AND state = 'pending'",
    )?;
    step_down.execute([recipient, order_key])?;
    next_head(conn, recipient, order_key)
}

/// Makes the oldest unfinished delivery of a key without a head its head.
pub(super) fn next_head(conn: &Connection, recipient: &str, order_key: &str) -> Result<(), StoreError> {
    let mut step_up = conn.prepare_cached(
        "UPDATE delivery SET head = 1
         WHERE seq = (SELECT MIN(seq) FROM delivery
                      WHERE recipient = ?1 AND order_key = ?2 AND finished_at IS NULL)
           AND NOT EXISTS (SELECT 1 FROM delivery WHERE recipient = ?1 AND order_key = ?2 AND head = 1)",
    )?;
    step_up.execute([recipient, order_key])?;
    Ok(())
}

pub(super) fn claim(
    conn: &Connection,
    recipient: &str,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    share: Share,
) -> Result<Vec<Delivery>, StoreError> {
    lose(conn, Lost::Late(recipient), now)?;
    let mut take = conn.prepare_cached(
        "UPDATE delivery SET state = 'claimed', claim_owner = ?2, claim_until = ?3, claimed_at = ?4
         WHERE seq = ?1",
    )?;
    let mut read = conn.prepare_cached(&format!("SELECT {} WHERE d.seq = ?1", columns()))?;
    let mut claimed = Vec::new();
    for seq in due(conn, recipient, now, share)? {
        take.execute(params![seq, owner, until.ns(), now.ns()])?;
        let delivery = read.query_one([seq], |row| Ok(read_delivery(row)))??;
        claimed.push(Delivery { claimed_by: owner.to_owned(), ..delivery });
    }
    Ok(claimed)
}

/// Heads that are due, the gravest first: the oldest of all as far as they have a share, then the gravest.
fn due(conn: &Connection, recipient: &str, now: Timestamp, share: Share) -> Result<Vec<i64>, StoreError> {
    let oldest = heads(conn, &OLDEST, recipient, now, share.oldest.min(share.limit), &[])?;
    let taken: Vec<i64> = oldest.iter().map(|(seq, _)| *seq).collect();
    let mut found = heads(conn, &GRAVEST, recipient, now, share.limit - oldest.len(), &taken)?;
    found.extend(oldest);
    found.sort_unstable_by_key(|(seq, severity)| (std::cmp::Reverse(*severity), *seq));
    Ok(found.into_iter().map(|(seq, _)| seq).collect())
}

/// An order of heads: the first of them, of which those are taken that are due; and all that are due.
struct By {
    first: &'static str,
    all: &'static str,
}

/// In order of acceptance.
const OLDEST: By = By {
    first: "SELECT seq, severity FROM
                (SELECT seq, severity, next_at FROM delivery INDEXED BY delivery_oldest
                 WHERE recipient = ?1 AND head = 1 AND state = 'pending' ORDER BY seq LIMIT ?4)
            WHERE next_at <= ?2 ORDER BY seq LIMIT ?3",
    all: "SELECT seq, severity FROM delivery INDEXED BY delivery_due
          WHERE recipient = ?1 AND head = 1 AND state = 'pending' AND next_at <= ?2 ORDER BY seq LIMIT ?3",
};

/// In order of severity.
const GRAVEST: By = By {
    first: "SELECT seq, severity FROM
                (SELECT seq, severity, next_at FROM delivery INDEXED BY delivery_gravest
                 WHERE recipient = ?1 AND head = 1 AND state = 'pending' ORDER BY severity DESC, seq LIMIT ?4)
            WHERE next_at <= ?2 ORDER BY severity DESC, seq LIMIT ?3",
    all: "SELECT seq, severity FROM delivery INDEXED BY delivery_due
          WHERE recipient = ?1 AND head = 1 AND state = 'pending' AND next_at <= ?2
          ORDER BY severity DESC, seq LIMIT ?3",
};

/// The first heads in an order that are due and are not `taken`, with their severities.
///
/// Mostly the first heads are due, and walking them in order finds enough at once. When many of them
/// wait for a retry, those due are few, and sorting them is cheap. Both ways give the same answer.
fn heads(
    conn: &Connection,
    by: &By,
    recipient: &str,
    now: Timestamp,
    limit: usize,
    taken: &[i64],
) -> Result<Vec<(i64, u8)>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let most = limit.saturating_add(taken.len());
    let window = i64::try_from(most.saturating_mul(WINDOW)).unwrap_or(i64::MAX);
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let mut first = conn.prepare_cached(by.first)?;
    let found = first.query_map(params![recipient, now.ns(), most, window], read)?;
    let mut found = found.collect::<Result<Vec<(i64, u8)>, _>>()?;
    if (found.len() as i64) < most {
        let mut all = conn.prepare_cached(by.all)?;
        found = all.query_map(params![recipient, now.ns(), most], read)?.collect::<Result<_, _>>()?;
    }
    found.retain(|(seq, _)| !taken.contains(seq));
    found.truncate(limit);
    Ok(found)
}

pub(super) fn next_due(conn: &Connection, recipient: &str) -> Result<Option<Timestamp>, StoreError> {
    let mut earliest = conn.prepare_cached(
        "SELECT MIN(at) FROM
             (SELECT MIN(next_at) AS at FROM delivery WHERE recipient = ?1 AND head = 1 AND state = 'pending'
              UNION ALL
              SELECT MIN(claim_until) FROM delivery WHERE recipient = ?1 AND state = 'claimed')",
    )?;
    let at: Option<i64> = earliest.query_row([recipient], |row| row.get(0))?;
    Ok(at.map(Timestamp::from_ns))
}

/// Which claims are lost.
#[derive(Clone, Copy)]
pub(super) enum Lost<'a> {
    /// Those of this owner.
    Of(&'a str),
    /// Those of deliveries to this recipient that have run out.
    Late(&'a str),
}

/// A delivery whose claim is lost.
struct Loss {
    event_id: String,
    recipient: String,
    order_key: String,
    attempts: u32,
    started: Option<i64>,
}

/// Frees claims and notes a try of each of which nobody knows how it ended; returns how many.
pub(super) fn lose(conn: &Connection, which: Lost<'_>, now: Timestamp) -> Result<u64, StoreError> {
    let (which, of) = match which {
        Lost::Of(owner) => ("claim_owner = ?3", owner),
        Lost::Late(recipient) => ("recipient = ?3 AND claim_until <= ?1", recipient),
    };
    let mut free = conn.prepare_cached(&format!(
        "UPDATE delivery SET state = 'pending', claim_owner = NULL, claim_until = NULL, attempts = attempts + 1,
                             last_error = ?2
         WHERE state = 'claimed' AND {which}
         RETURNING event_id, recipient, order_key, attempts, claimed_at"
    ))?;
    let lost = free.query_map(params![now.ns(), LOST, of], |row| {
        Ok(Loss {
            event_id: row.get(0)?,
            recipient: row.get(1)?,
            order_key: row.get(2)?,
            attempts: row.get(3)?,
            started: row.get(4)?,
        })
    })?;
    let lost = lost.collect::<Result<Vec<_>, _>>()?;
    let mut note = conn.prepare_cached(
        "INSERT INTO attempt (event_id, recipient, n, at, outcome, reason, started)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for l in &lost {
        note.execute(params![l.event_id, l.recipient, l.attempts, now.ns(), UNKNOWN, LOST, l.started])?;
        totals::lost(conn, &l.recipient, LOST)?;
        choose_head(conn, &l.recipient, &l.order_key)?;
    }
    Ok(lost.len() as u64)
}

pub(super) fn release(conn: &Connection, owner: &str) -> Result<u64, StoreError> {
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
