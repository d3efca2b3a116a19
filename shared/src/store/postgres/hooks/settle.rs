//! How executions end, and what follows.

use std::collections::BTreeMap;

use deadpool_postgres::Transaction;

use super::{Done, as_i64, check_holder, count};
use crate::model::Timestamp;
use crate::store::hooks::{KEEP_DEAD, KEEP_SKIPPED, RunOutcome, RunResult, RunTrigger, SettledRun};
use crate::store::postgres::pool::{Database, Failed, clean};

/// Ends executions; those that are done already stay as they are.
pub(super) async fn settle(database: &Database, runs: &[SettledRun], now: Timestamp) -> Result<(), Failed> {
    let sql = "UPDATE hook_run SET state = 'done', outcome = $2, class = $3, dead = $4, ended_at = $5,
                   exit_code = $6, signal = $7, command = $8, input = $9, stdout = $10, stdout_bytes = $11,
                   stderr = $12, stderr_bytes = $13, cpu_ms = $14, max_rss_kib = $15, reason = $16,
                   revision = $17
               WHERE number = $1 AND state = 'running' RETURNING hook";
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    let statement = transaction.prepare_cached(sql).await?;
    let (mut done, mut keep) = (Done::new(), BTreeMap::new());
    for run in runs {
        let outcome = run.result.outcome.unwrap_or(RunOutcome::Failure);
        let number = as_i64(run.number);
        let RunResult { exit_code, signal, stdout, stdout_bytes, stderr, stderr_bytes, .. } = &run.result;
        let row = transaction
            .query_opt(
                &statement,
                &[
                    &number,
                    &outcome.name(),
                    &outcome.class(),
                    &run.dead,
                    &now.ns(),
                    exit_code,
                    signal,
                    &clean(&run.result.command),
                    &serde_json::to_string(&run.result.input)?,
                    stdout,
                    &as_i64(*stdout_bytes),
                    stderr,
                    &as_i64(*stderr_bytes),
                    &run.result.cpu_ms.map(as_i64),
                    &run.result.max_rss_kib.map(as_i64),
                    &clean(&run.result.reason),
                    &as_i64(run.revision),
                ],
            )
            .await?;
        let Some(row) = row else { continue };
        let hook: String = row.try_get(0)?;
        add(&mut done, &hook, outcome);
        keep.insert(hook, run.keep);
        if let Some(at) = run.again_at {
            again(&transaction, &[number], at, now).await?;
        }
    }
    count(&transaction, &done).await?;
    for (hook, (good, other)) in &keep {
        trim(&transaction, hook, false, RunOutcome::Success.class(), i64::from(*good)).await?;
        trim(&transaction, hook, false, RunOutcome::Failure.class(), i64::from(*other)).await?;
        trim(&transaction, hook, true, RunOutcome::Failure.class(), KEEP_DEAD).await?;
        trim_skipped(&transaction, hook).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// One more of this outcome.
fn add(done: &mut Done, hook: &str, outcome: RunOutcome) {
    let place = match outcome {
        RunOutcome::Success => 0,
        RunOutcome::Failure | RunOutcome::Timeout | RunOutcome::Killed => 1,
        RunOutcome::Skipped => 2,
    };
    done.entry(hook.to_owned()).or_default()[place] += 1;
}

/// Forgets what was left out of a hook but for the newest.
pub(super) async fn trim_skipped(transaction: &Transaction<'_>, hook: &str) -> Result<(), Failed> {
    trim(transaction, hook, false, RunOutcome::Skipped.class(), KEEP_SKIPPED).await
}

/// Forgets a hook's records of one class but for the newest.
async fn trim(
    transaction: &Transaction<'_>,
    hook: &str,
    dead: bool,
    class: i64,
    keep: i64,
) -> Result<(), Failed> {
    let sql = "DELETE FROM hook_run WHERE hook = $1 AND state = 'done' AND dead = $2 AND class = $3
                   AND number <= (SELECT number FROM hook_run
                       WHERE hook = $1 AND state = 'done' AND dead = $2 AND class = $3
                       ORDER BY number DESC LIMIT 1 OFFSET $4)";
    let sql = transaction.prepare_cached(sql).await?;
    transaction.execute(&sql, &[&hook, &dead, &class, &keep]).await?;
    Ok(())
}

/// Queues the next tries in the place of executions.
async fn again(
    transaction: &Transaction<'_>,
    numbers: &[i64],
    at: Timestamp,
    now: Timestamp,
) -> Result<(), Failed> {
    let sql = "INSERT INTO hook_run (hook, revision, event, subject, order_key, idempotency_key, attempt,
                   place, reason_for, asked_by, state, queued_at, next_at, input, given)
               SELECT hook, revision, event, subject, order_key, idempotency_key, attempt + 1, place,
                   reason_for, asked_by, 'queued', $3, $2, CASE WHEN given THEN input END, given
               FROM hook_run WHERE number = ANY($1) ORDER BY number";
    let sql = transaction.prepare_cached(sql).await?;
    transaction.execute(&sql, &[&numbers, &at.ns(), &now.ns()]).await?;
    Ok(())
}

/// Ends what was left running, and queues each again.
pub(super) async fn release(database: &Database, node: &str, now: Timestamp) -> Result<u64, Failed> {
    let sql = "UPDATE hook_run SET state = 'done', outcome = 'killed', class = 0, ended_at = $1,
                   reason = 'the node ended meanwhile'
               WHERE state = 'running' RETURNING number, hook";
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    check_holder(&transaction, node).await?;
    let (mut done, mut numbers) = (Done::new(), Vec::new());
    for row in transaction.query(sql, &[&now.ns()]).await? {
        numbers.push(row.try_get::<_, i64>(0)?);
        add(&mut done, row.try_get(1)?, RunOutcome::Killed);
    }
    count(&transaction, &done).await?;
    again(&transaction, &numbers, now, now).await?;
    transaction.commit().await?;
    Ok(numbers.len() as u64)
}

/// Gives dead letters back to be tried again for `retry`, or forgets them where it is nobody. One whose
/// event is kept no longer could not run: it stays a dead letter.
pub(super) async fn dead(
    database: &Database,
    hook: &str,
    execution: Option<u64>,
    retry: Option<&str>,
    now: Timestamp,
) -> Result<u64, Failed> {
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    let sql = "SELECT number FROM hook_run AS r
               WHERE hook = $1 AND state = 'done' AND dead AND ($2::bigint IS NULL OR number = $2)
                   AND (NOT $3 OR EXISTS (SELECT 1 FROM hook_event AS e WHERE e.key = r.event))
               ORDER BY number FOR UPDATE";
    let found = transaction.query(sql, &[&clean(hook), &execution.map(as_i64), &retry.is_some()]).await?;
    let found: Vec<i64> = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    match retry {
        Some(by) => {
            let sql = "INSERT INTO hook_run (hook, revision, event, subject, order_key, idempotency_key,
                           attempt, place, reason_for, asked_by, state, queued_at, next_at)
                       SELECT hook, revision, event, subject, order_key, idempotency_key, attempt + 1, place,
                           $2, $4, 'queued', $3, $3
                       FROM hook_run WHERE number = ANY($1) ORDER BY number";
            let trigger = RunTrigger::Retry.name();
            transaction.execute(sql, &[&found, &trigger, &now.ns(), &clean(by)]).await?;
            let sql = "UPDATE hook_run SET dead = false WHERE number = ANY($1)";
            transaction.execute(sql, &[&found]).await?;
        }
        None => {
            transaction.execute("DELETE FROM hook_run WHERE number = ANY($1)", &[&found]).await?;
        }
    }
    transaction.commit().await?;
    Ok(found.len() as u64)
}
