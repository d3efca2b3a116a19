//! Which deliveries are under way: claimed and released.

use deadpool_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::{choose_heads, keys, lock, read_delivery};
use crate::model::Timestamp;
use crate::store::postgres::PostgresStore;
use crate::store::postgres::pool::{Failed, clean, column, settled};
use crate::store::settling::{LOST, MAY_HAVE_ARRIVED, UNKNOWN};
use crate::store::{Delivery, StoreError};

impl PostgresStore {
    /// Claims heads that are due, from `(now, until)`: the oldest of all as far as they have a share, then
    /// the gravest. The rows stay locked until the statement ends, and whoever claims at the same time
    /// skips them.
    pub(super) async fn claim_due(
        &self,
        recipient: &str,
        owner: &str,
        (now, until): (Timestamp, Timestamp),
        limit: usize,
        oldest: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        settled(|| self.expire(recipient, now)).await?;
        let sql = format!(
            "WITH oldest AS (
                       SELECT seq FROM delivery
                       WHERE recipient = $1 AND head AND state = 'pending' AND next_at <= $2
                       ORDER BY seq LIMIT $6 FOR UPDATE SKIP LOCKED),
                   gravest AS (
                       SELECT seq FROM delivery
                       WHERE recipient = $1 AND head AND state = 'pending' AND next_at <= $2
                         AND NOT seq = ANY (SELECT seq FROM oldest)
                       ORDER BY severity DESC, seq LIMIT $5 - (SELECT count(*) FROM oldest)
                       FOR UPDATE SKIP LOCKED),
                   due AS (SELECT seq FROM oldest UNION ALL SELECT seq FROM gravest),
                   taken AS (
                       UPDATE delivery AS d
                       SET state = 'claimed', claim_owner = $3, claim_until = $4, claimed_at = $2
                       FROM due WHERE d.seq = due.seq
                       RETURNING d.seq, d.event_id, d.recipient, d.attempts, d.deadline, d.severity)
                   SELECT t.event_id, t.recipient, e.kind, e.payload, e.traceparent, t.attempts, t.deadline,
                          e.accepted_at, t.attempts > 0 AND EXISTS
                              (SELECT 1 FROM attempt AS a WHERE a.event_id = t.event_id
                                   AND a.recipient = t.recipient AND {MAY_HAVE_ARRIVED})
                   FROM taken AS t JOIN event AS e ON e.id = t.event_id ORDER BY t.severity DESC, t.seq"
        );
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (limit, oldest) = (whole(limit), whole(oldest.min(limit)));
        let connection = self.database.get().await?;
        let sql = connection.prepare_cached(&sql).await?;
        let claimed = connection
            .query(&sql, &[&clean(recipient), &now.ns(), &clean(owner), &until.ns(), &limit, &oldest])
            .await?;
        let ours = |row| Ok(Delivery { claimed_by: owner.to_owned(), ..read_delivery(row)? });
        claimed.iter().map(ours).collect()
    }

    /// Loses claims that have run out.
    async fn expire(&self, recipient: &str, now: Timestamp) -> Result<(), Failed> {
        let recipient = clean(recipient);
        let mut connection = self.database.get().await?;
        let look = "SELECT EXISTS (SELECT 1 FROM delivery
                    WHERE recipient = $1 AND state = 'claimed' AND claim_until <= $2)";
        let look = connection.prepare_cached(look).await?;
        if !connection.query_one(&look, &[&recipient, &now.ns()]).await?.try_get::<_, bool>(0)? {
            return Ok(());
        }
        let transaction = connection.transaction().await?;
        lock(&transaction, &[&*recipient]).await?;
        lost(&transaction, "recipient = $3 AND claim_until <= $1", now, &[&recipient]).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn lose(&self, owner: &str, now: Timestamp) -> Result<u64, Failed> {
        let owner = clean(owner);
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        let lanes = lanes_of(&transaction, &owner).await?;
        let which = "claim_owner = $3 AND recipient = ANY($4)";
        let freed = lost(&transaction, which, now, &[&owner, &lanes]).await?;
        transaction.commit().await?;
        Ok(freed)
    }

    pub(super) async fn release(&self, owner: &str) -> Result<u64, Failed> {
        let owner = clean(owner);
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        let lanes = lanes_of(&transaction, &owner).await?;
        let sql = "UPDATE delivery SET state = 'pending', claim_owner = NULL, claim_until = NULL
                   WHERE state = 'claimed' AND claim_owner = $1 AND recipient = ANY($2)
                   RETURNING recipient, order_key";
        let freed = keys(&transaction.query(sql, &[&owner, &lanes]).await?)?;
        choose_heads(&transaction, &freed).await?;
        transaction.commit().await?;
        Ok(freed.len() as u64)
    }
}

/// The lanes in which an owner has claims, locked.
async fn lanes_of(transaction: &Transaction<'_>, owner: &str) -> Result<Vec<String>, Failed> {
    let whose = "SELECT DISTINCT recipient FROM delivery WHERE state = 'claimed' AND claim_owner = $1";
    let lanes = transaction.query(whose, &[&owner]).await?;
    let lanes: Vec<String> = lanes.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    lock(transaction, &column(&lanes, |lane| &**lane)).await?;
    Ok(lanes)
}

/// Frees claims in lanes that are locked and notes a try of each of which nobody knows how it ended; returns
/// how many. `which` says whose, by `more` from `$3` on; `$1` is now.
async fn lost(
    transaction: &Transaction<'_>,
    which: &str,
    now: Timestamp,
    more: &[&(dyn ToSql + Sync)],
) -> Result<u64, Failed> {
    let sql = format!(
        "WITH lost AS (
             UPDATE delivery SET state = 'pending', claim_owner = NULL, claim_until = NULL,
                                 attempts = attempts + 1, last_error = $2
             WHERE state = 'claimed' AND {which}
             RETURNING event_id, recipient, order_key, attempts, claimed_at),
         tried AS (
             INSERT INTO attempt (event_id, recipient, n, at, outcome, reason, started)
             SELECT event_id, recipient, attempts, $1::bigint, '{UNKNOWN}', $2, claimed_at FROM lost),
         counted AS (
             UPDATE lane SET attempts = lane.attempts + n.count, failed = lane.failed + n.count, last_error = $2
             FROM (SELECT recipient, count(*) AS count FROM lost GROUP BY recipient) AS n
             WHERE lane.recipient = n.recipient)
         SELECT recipient, order_key FROM lost"
    );
    let now = now.ns();
    let arguments = [&[&now as &(dyn ToSql + Sync), &LOST], more].concat();
    let freed = keys(&transaction.query(sql.as_str(), &arguments).await?)?;
    choose_heads(transaction, &freed).await?;
    Ok(freed.len() as u64)
}
