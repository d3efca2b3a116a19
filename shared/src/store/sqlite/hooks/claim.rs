//! What may begin.

use rusqlite::{Connection, Row, params};

use super::{event, holder};
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::hooks::{ClaimedRun, NewRun, RunTrigger};

/// Hooks with something due, and when the next thing is due otherwise.
pub(super) fn due(conn: &Connection, now: Timestamp) -> Result<(Vec<String>, Option<Timestamp>), StoreError> {
    let mut hooks = conn.prepare_cached(
        "SELECT DISTINCT hook FROM hook_run WHERE state = 'queued' AND next_at <= ?1 ORDER BY hook",
    )?;
    let hooks = hooks.query_map([now.ns()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let next: Option<i64> = conn
        .prepare_cached("SELECT min(next_at) FROM hook_run WHERE state = 'queued' AND next_at > ?1")?
        .query_row([now.ns()], |row| row.get(0))?;
    Ok((hooks, next.map(Timestamp::from_ns)))
}

/// Begins the oldest executions whose turn it is: nothing earlier of the same order key is open.
pub(super) fn claim(
    conn: &Connection,
    room: &[(String, usize)],
    most: usize,
    node: &str,
    now: Timestamp,
) -> Result<Vec<ClaimedRun>, StoreError> {
    holder::check(conn, node)?;
    let mut claimed = Vec::new();
    let mut wanted = conn.prepare_cached(
        "SELECT number, hook, revision, event, order_key, idempotency_key, reason_for, by, next_at,
                CASE WHEN given THEN input END, attempt, queued_at
         FROM hook_run r
         WHERE hook = ?1 AND state = 'queued' AND next_at <= ?2 AND NOT EXISTS (
             SELECT 1 FROM hook_run o
             WHERE o.hook = r.hook AND o.order_key = r.order_key AND o.state <> 'done'
                 AND o.number <> r.number AND (o.state = 'running' OR o.place < r.place))
         ORDER BY place LIMIT ?3",
    )?;
    let mut begin = conn.prepare_cached(
        "UPDATE hook_run SET state = 'running', started_at = ?2, node = ?3 WHERE number = ?1",
    )?;
    for (hook, limit) in room {
        let limit = (*limit).min(most.saturating_sub(claimed.len()));
        let found: Vec<ClaimedRun> =
            wanted.query_map(params![hook, now.ns(), limit as i64], read)?.collect::<Result<_, _>>()?;
        for mut run in found {
            begin.execute(params![run.number as i64, now.ns(), node])?;
            run.recorded = event(conn, &run.run.event)?;
            claimed.push(run);
        }
    }
    Ok(claimed)
}

fn read(row: &Row<'_>) -> rusqlite::Result<ClaimedRun> {
    let input: Option<String> = row.get(9)?;
    let trigger: String = row.get(6)?;
    Ok(ClaimedRun {
        number: row.get::<_, i64>(0)?.unsigned_abs(),
        run: NewRun {
            hook: row.get(1)?,
            revision: row.get::<_, i64>(2)?.unsigned_abs(),
            event: row.get(3)?,
            order_key: row.get(4)?,
            idempotency_key: row.get(5)?,
            trigger: RunTrigger::parse(&trigger).unwrap_or(RunTrigger::Event),
            by: row.get(7)?,
            next_at: Timestamp::from_ns(row.get(8)?),
            input: input.and_then(|json| serde_json::from_str(&json).ok()),
            skipped: None,
        },
        attempt: row.get(10)?,
        queued_at: Timestamp::from_ns(row.get(11)?),
        recorded: None,
    })
}
