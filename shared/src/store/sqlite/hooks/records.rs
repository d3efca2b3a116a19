//! Reading records.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::hooks::{
    HookCounts, RunInput, RunOutcome, RunQuery, RunRecord, RunState, RunTrigger, SHORT, shortened,
};

const COLUMNS: &str = "number, hook, revision, event, subject, order_key, idempotency_key, attempt,
    reason_for, by, state, outcome, dead, queued_at, next_at, started_at, ended_at, exit_code, signal,
    command, node, reason, cpu_ms, max_rss_kib, stdout_bytes, stderr_bytes, length(stdout), length(stderr)";

/// What a program was given and wrote, whole, and the same in a list: cut by the database, so that a list
/// of large records costs no more than a list of small ones.
const WHOLE: &str = "input, stdout, stderr";
const CUT: &str = "json_object('arguments', json_extract(input, '$.arguments'), 'stdin', ''),
    substr(stdout, 1, 1024), substr(stderr, 1, 1024)";

pub(super) fn list(conn: &Connection, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, {CUT} FROM hook_run WHERE (:hook IS NULL OR hook = :hook)
             AND (:event IS NULL OR event = :event) AND (:outcome IS NULL OR outcome = :outcome)
             AND (:good IS NULL OR (good > 0) = :good) AND (:dead IS NULL OR dead = :dead)
             AND (:state IS NULL OR state = :state) AND (:since IS NULL OR queued_at >= :since)
             AND (:until IS NULL OR queued_at < :until) AND (:before IS NULL OR number < :before)
         ORDER BY number DESC LIMIT :limit"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(
        named_params! {
            ":hook": query.hook,
            ":event": query.event,
            ":outcome": query.outcome.map(RunOutcome::name),
            ":good": query.good,
            ":dead": query.dead,
            ":state": query.state.map(RunState::name),
            ":since": query.since.map(Timestamp::ns),
            ":until": query.until.map(Timestamp::ns),
            ":before": query.before.map(super::as_i64),
            ":limit": query.limit as i64,
        },
        read,
    )?;
    let mut records = Vec::new();
    for row in rows {
        let (mut record, _) = row?;
        record.arguments = shortened(&record.arguments, SHORT);
        records.push(record);
    }
    Ok(records)
}

pub(super) fn one(
    conn: &Connection,
    hook: &str,
    execution: u64,
) -> Result<Option<(RunRecord, RunInput)>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, {WHOLE} FROM hook_run WHERE number = ?1 AND hook = ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    Ok(statement.query_row(params![super::as_i64(execution), hook], read).optional()?)
}

pub(super) fn counts(conn: &Connection) -> Result<Vec<HookCounts>, StoreError> {
    let mut statement = conn.prepare_cached(
        "WITH open AS (SELECT hook, sum(state = 'queued') AS queued, sum(state = 'running') AS running,
                 sum(dead) AS dead FROM hook_run WHERE state <> 'done' OR dead = 1 GROUP BY hook),
              names AS (SELECT hook FROM open UNION SELECT hook FROM hook_count)
         SELECT n.hook, coalesce(o.queued, 0), coalesce(o.running, 0), coalesce(c.success, 0),
                coalesce(c.failure, 0), coalesce(c.skipped, 0), coalesce(o.dead, 0)
         FROM names n LEFT JOIN open o USING (hook) LEFT JOIN hook_count c USING (hook) ORDER BY n.hook",
    )?;
    let rows = statement.query_map([], |row| {
        let number = |place| row.get::<_, i64>(place).map(i64::unsigned_abs);
        Ok(HookCounts {
            hook: row.get(0)?,
            queued: number(1)?,
            running: number(2)?,
            success: number(3)?,
            failure: number(4)?,
            skipped: number(5)?,
            dead: number(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<(RunRecord, RunInput)> {
    let number = |place| row.get::<_, i64>(place).map(i64::unsigned_abs);
    let maybe = |place| row.get::<_, Option<i64>>(place).map(|n| n.map(i64::unsigned_abs));
    let time = |place| row.get::<_, Option<i64>>(place).map(|at| at.map(Timestamp::from_ns));
    let text = |place| row.get::<_, String>(place);
    let input: Option<String> = row.get(28)?;
    let input: RunInput = input.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    let outcome: Option<String> = row.get(11)?;
    let stdout: Vec<u8> = row.get::<_, Option<Vec<u8>>>(29)?.unwrap_or_default();
    let stderr: Vec<u8> = row.get::<_, Option<Vec<u8>>>(30)?.unwrap_or_default();
    let (stdout_bytes, stderr_bytes) = (number(24)?, number(25)?);
    let (stdout_kept, stderr_kept) = (maybe(26)?.unwrap_or(0), maybe(27)?.unwrap_or(0));
    let record = RunRecord {
        execution: number(0)?,
        hook: text(1)?,
        revision: number(2)?,
        event: text(3)?,
        subject: text(4)?,
        order_key: text(5)?,
        idempotency_key: text(6)?,
        attempt: row.get(7)?,
        trigger: RunTrigger::parse(&text(8)?).unwrap_or(RunTrigger::Event),
        by: text(9)?,
        state: RunState::parse(&text(10)?).unwrap_or(RunState::Done),
        outcome: outcome.and_then(|name| RunOutcome::parse(&name)),
        dead: row.get(12)?,
        queued_at: Timestamp::from_ns(row.get(13)?),
        next_at: Timestamp::from_ns(row.get(14)?),
        started_at: time(15)?,
        ended_at: time(16)?,
        exit_code: row.get(17)?,
        signal: row.get(18)?,
        command: text(19)?,
        arguments: input.arguments.clone(),
        stdout_truncated: stdout_bytes > stdout_kept,
        stdout,
        stdout_bytes,
        stderr_truncated: stderr_bytes > stderr_kept,
        stderr,
        stderr_bytes,
        cpu_ms: maybe(22)?,
        max_rss_kib: maybe(23)?,
        node: text(20)?,
        reason: text(21)?,
    };
    Ok((record, input))
}
