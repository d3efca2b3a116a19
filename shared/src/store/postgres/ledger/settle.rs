//! How tries end: the attempts on record, the deliveries' next states, the totals, the next heads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deadpool_postgres::Transaction;

use super::{Owed, attempts, choose_heads, lock, owe, totals};
use crate::model::Timestamp;
use crate::store::postgres::PostgresStore;
use crate::store::postgres::pool::{Failed, clean, column};
use crate::store::settling::{End, answer};
use crate::store::{Delivery, Outcome};

/// A delivery as it stands.
struct Standing {
    seq: i64,
    order_key: String,
    attempts: u32,
    deadline: Timestamp,
    unfinished: bool,
    claimed_at: Option<i64>,
    severity: i64,
}

/// A row of `attempt`.
struct Tried<'a> {
    event_id: &'a str,
    recipient: &'a str,
    n: i64,
    outcome: &'static str,
    reason: Option<String>,
    started: Option<i64>,
    answer: Option<String>,
}

/// What a delivery becomes: the state it is in, and what goes with it.
struct Becomes {
    seq: i64,
    state: &'static str,
    next_at: Option<i64>,
    /// Its deadline moves with the time at which it is due.
    later: bool,
    finished: bool,
    reason: Option<String>,
}

/// What is added to a lane.
#[derive(Default)]
struct Totals {
    finished: i64,
    delivered: i64,
    dead: i64,
    suppressed: i64,
    merged: i64,
    attempts: i64,
    failed: i64,
    succeeded: bool,
    last_error: Option<String>,
}

impl Totals {
    /// The total of deliveries that end in a state.
    fn of(&mut self, state: &str) -> &mut i64 {
        match state {
            "delivered" => &mut self.delivered,
            "suppressed" => &mut self.suppressed,
            "merged" => &mut self.merged,
            _ => &mut self.dead,
        }
    }
}

type Key<'a> = (&'a str, &'a str);

impl PostgresStore {
    pub(super) async fn settle_once(
        &self,
        results: &[(Delivery, Outcome)],
        now: Timestamp,
    ) -> Result<(), Failed> {
        let mut lanes: BTreeSet<&str> = results.iter().map(|(d, _)| &*d.recipient).collect();
        lanes.extend(results.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Diverted { to, .. } => Some(&**to),
            _ => None,
        }));
        if lanes.is_empty() {
            return Ok(());
        }
        let lanes: Vec<&str> = lanes.into_iter().collect();
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        lock(&transaction, &lanes).await?;
        let mut known = standing(&transaction, results).await?;
        let mut tried: Vec<Tried<'_>> = Vec::new();
        let mut becomes: BTreeMap<i64, Becomes> = BTreeMap::new();
        let mut totals: BTreeMap<&str, Totals> = BTreeMap::new();
        let mut diverted: Vec<(&Delivery, &str, String, i64)> = Vec::new();
        let mut untold: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        let mut moved: BTreeSet<(String, String)> = BTreeSet::new();
        for (delivery, outcome) in results {
            // One that is not known is left out.
            let Some(is) = known.get_mut(&key(delivery)) else { continue };
            let end = End::of(outcome, now, is.deadline);
            let reason = end.reason().map(|text| clean(text).into_owned());
            let (event_id, recipient) = key(delivery);
            let total = totals.entry(recipient).or_default();
            if end.is_attempt() {
                is.attempts = is.attempts.saturating_add(1);
                let n = i64::from(is.attempts);
                // Another's claim says nothing about this try.
                let started = is.claimed_at.filter(|_| is.unfinished);
                let answer = answer(outcome).map(|text| clean(text).into_owned());
                let (outcome, why) = (end.name(), reason.clone());
                tried.push(Tried { event_id, recipient, n, outcome, reason: why, started, answer });
                total.attempts += 1;
                total.failed += i64::from(!end.is_delivered());
                total.succeeded |= end.is_delivered();
                total.last_error.clone_from(&reason);
            }
            // Whoever's claim ran out may still report; what is finished, or another's by now, stays as it is.
            if !is.unfinished {
                continue;
            }
            if let Some(why) = end.dropped() {
                *untold.entry((recipient, why.name())).or_default() += 1;
            }
            let (state, next_at, later) = match &end {
                End::Again { at, later, .. } => ("pending", Some(at.ns()), *later),
                End::Finished { .. } => (end.name(), None, false),
            };
            is.unfinished = next_at.is_some();
            if !is.unfinished {
                total.finished += 1;
                *total.of(state) += 1;
            }
            let finished = !is.unfinished;
            becomes.insert(is.seq, Becomes { seq: is.seq, state, next_at, later, finished, reason });
            if let Outcome::Diverted { to, .. } = outcome {
                diverted.push((delivery, to, is.order_key.clone(), is.severity));
            }
            moved.insert((recipient.to_owned(), is.order_key.clone()));
        }
        note(&transaction, &tried, now).await?;
        change(&transaction, &becomes.into_values().collect::<Vec<_>>(), &known, now).await?;
        add_up(&transaction, &totals, now).await?;
        // The event is owed to another recipient for as long as it was owed to the first.
        let owed = column(&diverted, |(delivery, to, order_key, severity)| Owed {
            event_id: &delivery.event_id,
            recipient: to,
            order_key,
            next_at: now.ns(),
            deadline: now.plus_ns(delivery.deadline.since(delivery.accepted_at).max(0)).ns(),
            severity: *severity,
        });
        owe(&transaction, &owed).await?;
        totals::dropped(&transaction, &untold).await?;
        choose_heads(&transaction, &moved.into_iter().collect::<Vec<_>>()).await?;
        transaction.commit().await?;
        Ok(())
    }
}

fn key(delivery: &Delivery) -> Key<'_> {
    (&delivery.event_id, &delivery.recipient)
}

/// The deliveries as they stand, locked.
async fn standing<'a>(
    transaction: &Transaction<'_>,
    results: &'a [(Delivery, Outcome)],
) -> Result<HashMap<Key<'a>, Standing>, Failed> {
    let events = column(results, |(d, _)| clean(&d.event_id));
    let recipients = column(results, |(d, _)| clean(&d.recipient));
    let owners = column(results, |(d, _)| clean(&d.claimed_by));
    let sql = "SELECT of.n, d.seq, d.order_key, d.attempts, d.deadline,
                      d.finished_at IS NULL AND (coalesce(d.claim_owner, of.owner) = of.owner OR of.owner = ''),
                      d.claimed_at, d.severity
               FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS of (event_id, recipient, owner, n)
               JOIN delivery AS d ON d.event_id = of.event_id AND d.recipient = of.recipient
               ORDER BY d.seq FOR UPDATE OF d";
    let sql = transaction.prepare_cached(sql).await?;
    let mut known = HashMap::new();
    for row in transaction.query(&sql, &[&events, &recipients, &owners]).await? {
        let place = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0).saturating_sub(1);
        let Some((delivery, _)) = results.get(place) else { continue };
        let is = Standing {
            seq: row.try_get(1)?,
            order_key: row.try_get(2)?,
            attempts: attempts(&row, 3)?,
            deadline: Timestamp::from_ns(row.try_get(4)?),
            unfinished: row.try_get(5)?,
            claimed_at: row.try_get(6)?,
            severity: row.try_get(7)?,
        };
        known.insert(key(delivery), is);
    }
    Ok(known)
}

async fn note(transaction: &Transaction<'_>, tried: &[Tried<'_>], now: Timestamp) -> Result<(), Failed> {
    let sql = "INSERT INTO attempt (event_id, recipient, n, at, outcome, reason, started, answer)
               SELECT t.event_id, t.recipient, t.n, $6::bigint, t.outcome, t.reason, t.started, t.answer
               FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $7::bigint[], $8::text[])
                    AS t (event_id, recipient, n, outcome, reason, started, answer)";
    let sql = transaction.prepare_cached(sql).await?;
    transaction
        .execute(
            &sql,
            &[
                &column(tried, |t| clean(t.event_id)),
                &column(tried, |t| clean(t.recipient)),
                &column(tried, |t| t.n),
                &column(tried, |t| t.outcome),
                &column(tried, |t| t.reason.as_deref()),
                &now.ns(),
                &column(tried, |t| t.started),
                &column(tried, |t| t.answer.as_deref()),
            ],
        )
        .await?;
    Ok(())
}

/// Writes states, and the tries of all.
async fn change(
    transaction: &Transaction<'_>,
    becomes: &[Becomes],
    known: &HashMap<Key<'_>, Standing>,
    now: Timestamp,
) -> Result<(), Failed> {
    let standing: Vec<&Standing> = known.values().collect();
    let sql = "UPDATE delivery AS d SET attempts = t.attempts
               FROM unnest($1::bigint[], $2::bigint[]) AS t (seq, attempts) WHERE d.seq = t.seq";
    let sql = transaction.prepare_cached(sql).await?;
    let tries = column(&standing, |s| i64::from(s.attempts));
    transaction.execute(&sql, &[&column(&standing, |s| s.seq), &tries]).await?;
    let sql = "UPDATE delivery AS d
               SET state = b.state, next_at = coalesce(b.next_at, d.next_at), deadline = CASE WHEN b.later THEN d.deadline + b.next_at - d.next_at ELSE d.deadline END, head = d.head AND NOT b.finished,
                   finished_at = CASE WHEN b.finished THEN $6::bigint END, last_error = CASE WHEN b.finished THEN b.reason ELSE coalesce(b.reason, d.last_error) END,
                   claim_owner = NULL, claim_until = NULL
               FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::boolean[], $5::text[], $7::boolean[])
                    AS b (seq, state, next_at, finished, reason, later)
               WHERE d.seq = b.seq";
    let sql = transaction.prepare_cached(sql).await?;
    transaction
        .execute(
            &sql,
            &[
                &column(becomes, |b| b.seq),
                &column(becomes, |b| b.state),
                &column(becomes, |b| b.next_at),
                &column(becomes, |b| b.finished),
                &column(becomes, |b| b.reason.as_deref()),
                &now.ns(),
                &column(becomes, |b| b.later),
            ],
        )
        .await?;
    Ok(())
}

async fn add_up(
    transaction: &Transaction<'_>,
    totals: &BTreeMap<&str, Totals>,
    now: Timestamp,
) -> Result<(), Failed> {
    let rows: Vec<(&&str, &Totals)> = totals.iter().collect();
    let sql = "UPDATE lane SET pending = pending - t.finished, delivered = lane.delivered + t.delivered,
                               dead = lane.dead + t.dead, suppressed = lane.suppressed + t.suppressed,
                               merged = lane.merged + t.merged, attempts = lane.attempts + t.attempts,
                               failed = lane.failed + t.failed,
                               last_success = CASE WHEN t.succeeded THEN $11::bigint ELSE lane.last_success END,
                               last_error = CASE WHEN t.attempts > 0 THEN t.last_error ELSE lane.last_error END
               FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                           $7::bigint[], $8::text[], $9::bigint[], $10::boolean[])
                    AS t (recipient, finished, delivered, dead, suppressed, merged, attempts, last_error,
                          failed, succeeded)
               WHERE lane.recipient = t.recipient";
    let sql = transaction.prepare_cached(sql).await?;
    transaction
        .execute(
            &sql,
            &[
                &column(&rows, |(name, _)| clean(name)),
                &column(&rows, |(_, t)| t.finished),
                &column(&rows, |(_, t)| t.delivered),
                &column(&rows, |(_, t)| t.dead),
                &column(&rows, |(_, t)| t.suppressed),
                &column(&rows, |(_, t)| t.merged),
                &column(&rows, |(_, t)| t.attempts),
                &column(&rows, |(_, t)| t.last_error.as_deref()),
                &column(&rows, |(_, t)| t.failed),
                &column(&rows, |(_, t)| t.succeeded),
                &now.ns(),
            ],
        )
        .await?;
    Ok(())
}
