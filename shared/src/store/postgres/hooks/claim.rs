//! What may begin.

use tokio_postgres::Row;

use super::{as_i64, check_holder};
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::events::readable;
use crate::store::hooks::{ClaimedRun, NewRun, RunTrigger};
use crate::store::postgres::pool::{Database, Failed, clean};

/// Hooks with something due, and when the next thing is due otherwise.
pub(super) async fn due(
    database: &Database,
    now: Timestamp,
) -> Result<(Vec<String>, Option<Timestamp>), StoreError> {
    let connection = database.get().await?;
    let hooks = "SELECT DISTINCT hook FROM hook_run WHERE state = 'queued' AND next_at <= $1 ORDER BY hook";
    let hooks = connection.prepare_cached(hooks).await?;
    let hooks = connection.query(&hooks, &[&now.ns()]).await?;
    let next = "SELECT min(next_at) FROM hook_run WHERE state = 'queued' AND next_at > $1";
    let next = connection.prepare_cached(next).await?;
    let next: Option<i64> = connection.query_one(&next, &[&now.ns()]).await?.try_get(0)?;
    let hooks = hooks.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok((hooks, next.map(Timestamp::from_ns)))
}

/// Begins the oldest executions whose turn it is: nothing earlier of the same order key is open.
pub(super) async fn claim(
    database: &Database,
    room: &[(String, usize)],
    most: usize,
    node: &str,
    now: Timestamp,
) -> Result<Vec<ClaimedRun>, Failed> {
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    check_holder(&transaction, node).await?;
    let sql = "WITH due AS (
                   SELECT number FROM hook_run AS r
                   WHERE hook = $1 AND state = 'queued' AND next_at <= $2 AND NOT EXISTS (
                       SELECT 1 FROM hook_run AS o
                       WHERE o.hook = r.hook AND o.order_key = r.order_key AND o.state <> 'done'
                           AND o.number <> r.number AND (o.state = 'running' OR o.place < r.place))
                   ORDER BY place LIMIT $3 FOR UPDATE),
               begun AS (
                   UPDATE hook_run AS r SET state = 'running', started_at = $2, node = $4
                   FROM due WHERE r.number = due.number RETURNING r.*)
               SELECT b.number, b.hook, b.revision, b.event, b.order_key, b.idempotency_key, b.reason_for,
                      b.asked_by, b.next_at, CASE WHEN b.given THEN b.input END, b.attempt, b.queued_at, e.json
               FROM begun AS b LEFT JOIN hook_event AS e ON e.key = b.event ORDER BY b.place";
    let sql = transaction.prepare_cached(sql).await?;
    let mut claimed = Vec::new();
    for (hook, limit) in room {
        let limit = (*limit).min(most.saturating_sub(claimed.len()));
        if limit == 0 {
            break;
        }
        let asked = (clean(hook), as_i64(limit as u64), clean(node));
        let rows = transaction.query(&sql, &[&asked.0, &now.ns(), &asked.1, &asked.2]).await?;
        for row in &rows {
            claimed.push(read(row)?);
        }
    }
    transaction.commit().await?;
    Ok(claimed)
}

fn read(row: &Row) -> Result<ClaimedRun, Failed> {
    let number = |place| row.try_get::<_, i64>(place).map(i64::unsigned_abs);
    let input: Option<&str> = row.try_get(9)?;
    let event: Option<&str> = row.try_get(12)?;
    Ok(ClaimedRun {
        number: number(0)?,
        run: NewRun {
            hook: row.try_get(1)?,
            revision: number(2)?,
            event: row.try_get(3)?,
            order_key: row.try_get(4)?,
            idempotency_key: row.try_get(5)?,
            trigger: RunTrigger::parse(row.try_get(6)?).unwrap_or(RunTrigger::Event),
            by: row.try_get(7)?,
            next_at: Timestamp::from_ns(row.try_get(8)?),
            input: input.and_then(|json| serde_json::from_str(json).ok()),
            skipped: None,
        },
        attempt: super::attempt(row, 10)?,
        queued_at: Timestamp::from_ns(row.try_get(11)?),
        recorded: event.and_then(|json| readable(json, row.try_get(0).unwrap_or(0))),
    })
}
