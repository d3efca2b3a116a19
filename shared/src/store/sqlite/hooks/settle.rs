//! How executions end, and what follows.

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::hooks::{KEEP_DEAD, KEEP_SKIPPED, RunOutcome, RunResult, RunTrigger, SettledRun};

/// Ends an execution; one that is done already stays as it is.
pub(super) fn settle(conn: &Connection, settled: SettledRun, now: Timestamp) -> Result<(), StoreError> {
    let SettledRun { number, revision, result, again_at, dead, keep } = settled;
    let outcome = result.outcome.unwrap_or(RunOutcome::Failure);
    let number = number as i64;
    let sql = "UPDATE hook_run SET state = 'done', outcome = ?2, good = ?3, dead = ?4, ended_at = ?5,
                   exit_code = ?6, signal = ?7, command = ?8, input = ?9, stdout = ?10, stdout_bytes = ?11,
                   stderr = ?12, stderr_bytes = ?13, cpu_ms = ?14, max_rss_kib = ?15, reason = ?16,
                   revision = ?17
               WHERE number = ?1 AND state = 'running' RETURNING hook";
    let RunResult { exit_code, signal, stdout, stdout_bytes, stderr, stderr_bytes, .. } = &result;
    let hook: Option<String> = conn
        .prepare_cached(sql)?
        .query_row(
            params![
                number,
                outcome.name(),
                outcome.class(),
                dead,
                now.ns(),
                exit_code,
                signal,
                result.command,
                serde_json::to_string(&result.input)?,
                stdout,
                *stdout_bytes as i64,
                stderr,
                *stderr_bytes as i64,
                result.cpu_ms.map(|ms| ms as i64),
                result.max_rss_kib.map(|kib| kib as i64),
                result.reason,
                super::as_i64(revision),
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(hook) = hook else { return Ok(()) };
    count(conn, &hook, outcome)?;
    if let Some(at) = again_at {
        again(conn, number, at, now)?;
    }
    let (good, other) = keep;
    trim(conn, &hook, 0, RunOutcome::Success.class(), i64::from(good))?;
    trim(conn, &hook, 0, RunOutcome::Failure.class(), i64::from(other))?;
    trim(conn, &hook, 1, RunOutcome::Failure.class(), KEEP_DEAD)?;
    trim_skipped(conn, &hook)
}

/// Forgets what was left out of a hook but for the newest.
pub(super) fn trim_skipped(conn: &Connection, hook: &str) -> Result<(), StoreError> {
    trim(conn, hook, 0, RunOutcome::Skipped.class(), KEEP_SKIPPED)
}

/// Forgets a hook's records of one class but for the newest.
fn trim(conn: &Connection, hook: &str, dead: i64, class: i64, keep: i64) -> Result<(), StoreError> {
    conn.prepare_cached(
        "DELETE FROM hook_run WHERE hook = ?1 AND state = 'done' AND dead = ?2 AND good = ?3
             AND number <= (SELECT number FROM hook_run
                 WHERE hook = ?1 AND state = 'done' AND dead = ?2 AND good = ?3
                 ORDER BY number DESC LIMIT 1 OFFSET ?4)",
    )?
    .execute(params![hook, dead, class, keep])?;
    Ok(())
}

/// Queues the next try in the place of an execution.
fn again(conn: &Connection, number: i64, at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO hook_run (hook, revision, event, subject, order_key, idempotency_key, attempt, place,
             reason_for, by, state, queued_at, next_at, input, given)
         SELECT hook, revision, event, subject, order_key, idempotency_key, attempt + 1, place, reason_for, by,
             'queued', ?3, ?2, CASE WHEN given THEN input END, given
         FROM hook_run WHERE number = ?1",
    )?
    .execute(params![number, at.ns(), now.ns()])?;
    Ok(())
}

/// Adds one to what a hook has done.
pub(super) fn count(conn: &Connection, hook: &str, outcome: RunOutcome) -> Result<(), StoreError> {
    let (success, failure, skipped) = match outcome {
        RunOutcome::Success => (1, 0, 0),
        RunOutcome::Failure | RunOutcome::Timeout | RunOutcome::Killed => (0, 1, 0),
        RunOutcome::Skipped => (0, 0, 1),
    };
    conn.prepare_cached(
        "INSERT INTO hook_count (hook, success, failure, skipped) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (hook) DO UPDATE SET success = success + excluded.success,
             failure = failure + excluded.failure, skipped = skipped + excluded.skipped",
    )?
    .execute(params![hook, success, failure, skipped])?;
    Ok(())
}

/// Ends what was left running, and queues each again.
pub(super) fn release(conn: &Connection, node: &str, now: Timestamp) -> Result<u64, StoreError> {
    super::holder::check(conn, node)?;
    let mut left = conn.prepare_cached(
        "UPDATE hook_run SET state = 'done', outcome = 'killed', good = 0, ended_at = ?1,
             reason = 'the node ended meanwhile'
         WHERE state = 'running' RETURNING number, hook",
    )?;
    let left: Vec<(i64, String)> =
        left.query_map([now.ns()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (number, hook) in &left {
        count(conn, hook, RunOutcome::Killed)?;
        again(conn, *number, now, now)?;
    }
    Ok(left.len() as u64)
}

/// Gives dead letters back to be tried again for `retry`, or forgets them where it is nobody. One whose
/// event is kept no longer could not run: it stays a dead letter.
pub(super) fn dead(
    conn: &Connection,
    hook: &str,
    execution: Option<u64>,
    retry: Option<&str>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let execution = execution.map(|number| number as i64);
    let mut found = conn.prepare_cached(
        "SELECT number FROM hook_run
         WHERE hook = ?1 AND state = 'done' AND dead = 1 AND (?2 IS NULL OR number = ?2)
             AND (NOT ?3 OR EXISTS (SELECT 1 FROM hook_event e WHERE e.key = hook_run.event))
         ORDER BY number",
    )?;
    let found: Vec<i64> = found
        .query_map(params![hook, execution, retry.is_some()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for number in &found {
        if let Some(by) = retry {
            conn.prepare_cached(
                "INSERT INTO hook_run (hook, revision, event, subject, order_key, idempotency_key, attempt,
                     place, reason_for, by, state, queued_at, next_at)
                 SELECT hook, revision, event, subject, order_key, idempotency_key, attempt + 1, place, ?2, ?4,
                     'queued', ?3, ?3
                 FROM hook_run WHERE number = ?1",
            )?
            .execute(params![number, RunTrigger::Retry.name(), now.ns(), by])?;
            conn.prepare_cached("UPDATE hook_run SET dead = 0 WHERE number = ?1")?.execute([number])?;
        } else {
            conn.prepare_cached("DELETE FROM hook_run WHERE number = ?1")?.execute([number])?;
        }
    }
    Ok(found.len() as u64)
}
