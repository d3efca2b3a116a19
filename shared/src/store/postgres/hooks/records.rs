//! Reading records.

use tokio_postgres::Row;

use super::as_i64;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::hooks::{
    HookCounts, RunInput, RunOutcome, RunQuery, RunRecord, RunState, RunTrigger, SHORT, shortened,
};
use crate::store::postgres::filter::Filter;
use crate::store::postgres::pool::{Database, clean};

const COLUMNS: &str = "number, hook, revision, event, subject, order_key, idempotency_key, attempt,
    reason_for, asked_by, state, outcome, dead, queued_at, next_at, started_at, ended_at, exit_code, signal,
    command, node, reason, cpu_ms, max_rss_kib, stdout_bytes, stderr_bytes,
    length(stdout)::bigint, length(stderr)::bigint";

/// What a program was given and wrote, whole, and the same in a list: cut by the server, so that a list of
/// large records costs no more than a list of small ones.
const WHOLE: &str = "input, stdout, stderr";
const CUT: &str = "CASE WHEN input IS NOT NULL THEN
        json_build_object('arguments', input::json -> 'arguments', 'stdin', '')::text END,
    substr(stdout, 1, 1024), substr(stderr, 1, 1024)";

/// Records, newest first.
pub(super) async fn list(database: &Database, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
    let text = |text: &Option<String>| text.as_deref().map(|text| clean(text).into_owned());
    let mut filter = Filter::default();
    filter.and("hook = $?", text(&query.hook));
    filter.and("event = $?", text(&query.event));
    filter.and("outcome = $?", query.outcome.map(RunOutcome::name));
    filter.and("(class > 0) = $?", query.good);
    filter.and("dead = $?", query.dead);
    filter.and("state = $?", query.state.map(RunState::name));
    filter.and("queued_at >= $?", query.since.map(Timestamp::ns));
    filter.and("queued_at < $?", query.until.map(Timestamp::ns));
    filter.and("number < $?", query.before.map(as_i64));
    let limit = filter.bind(as_i64(query.limit as u64));
    let sql = format!(
        "SELECT {COLUMNS}, {CUT} FROM hook_run WHERE {} ORDER BY number DESC LIMIT {limit}",
        filter.text()
    );
    let mut records = Vec::new();
    for row in filter.query(&database.get().await?, &sql).await? {
        let (mut record, _) = read(&row)?;
        record.arguments = shortened(&record.arguments, SHORT);
        records.push(record);
    }
    Ok(records)
}

/// One record with what was given.
pub(super) async fn one(
    database: &Database,
    hook: &str,
    execution: u64,
) -> Result<Option<(RunRecord, RunInput)>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, {WHOLE} FROM hook_run WHERE number = $1 AND hook = $2");
    let connection = database.get().await?;
    let row = connection.query_opt(sql.as_str(), &[&as_i64(execution), &clean(hook)]).await?;
    row.as_ref().map(read).transpose()
}

/// What hooks have done.
pub(super) async fn counts(database: &Database) -> Result<Vec<HookCounts>, StoreError> {
    let sql = "WITH open AS (
                   SELECT hook, count(*) FILTER (WHERE state = 'queued') AS queued,
                          count(*) FILTER (WHERE state = 'running') AS running,
                          count(*) FILTER (WHERE dead) AS dead
                   FROM hook_run WHERE state <> 'done' OR dead GROUP BY hook),
               names AS (SELECT hook FROM open UNION SELECT hook FROM hook_count)
               SELECT n.hook, coalesce(o.queued, 0), coalesce(o.running, 0), coalesce(c.success, 0),
                      coalesce(c.failure, 0), coalesce(c.skipped, 0), coalesce(o.dead, 0)
               FROM names AS n LEFT JOIN open AS o USING (hook) LEFT JOIN hook_count AS c USING (hook)
               ORDER BY n.hook";
    let rows = database.get().await?.query(sql, &[]).await?;
    let read = |row: &Row| {
        let number = |place| row.try_get::<_, i64>(place).map(i64::unsigned_abs);
        Ok(HookCounts {
            hook: row.try_get(0)?,
            queued: number(1)?,
            running: number(2)?,
            success: number(3)?,
            failure: number(4)?,
            skipped: number(5)?,
            dead: number(6)?,
        })
    };
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<(RunRecord, RunInput), StoreError> {
    let number = |place| row.try_get::<_, i64>(place).map(i64::unsigned_abs);
    let maybe = |place| row.try_get::<_, Option<i64>>(place).map(|n| n.map(i64::unsigned_abs));
    let time = |place| row.try_get::<_, Option<i64>>(place).map(|at| at.map(Timestamp::from_ns));
    let input: Option<&str> = row.try_get(28)?;
    let input: RunInput = input.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let bytes = |place| row.try_get::<_, Option<Vec<u8>>>(place).map(Option::unwrap_or_default);
    let (stdout_bytes, stderr_bytes) = (number(24)?, number(25)?);
    let (stdout_kept, stderr_kept) = (maybe(26)?.unwrap_or(0), maybe(27)?.unwrap_or(0));
    let record = RunRecord {
        execution: number(0)?,
        hook: row.try_get(1)?,
        revision: number(2)?,
        event: row.try_get(3)?,
        subject: row.try_get(4)?,
        order_key: row.try_get(5)?,
        idempotency_key: row.try_get(6)?,
        attempt: super::attempt(row, 7)?,
        trigger: RunTrigger::parse(row.try_get(8)?).unwrap_or(RunTrigger::Event),
        by: row.try_get(9)?,
        state: RunState::parse(row.try_get(10)?).unwrap_or(RunState::Done),
        outcome: row.try_get::<_, Option<&str>>(11)?.and_then(RunOutcome::parse),
        dead: row.try_get(12)?,
        queued_at: time(13)?.unwrap_or(Timestamp::ZERO),
        next_at: time(14)?.unwrap_or(Timestamp::ZERO),
        started_at: time(15)?,
        ended_at: time(16)?,
        exit_code: row.try_get(17)?,
        signal: row.try_get(18)?,
        command: row.try_get(19)?,
        arguments: input.arguments.clone(),
        stdout_truncated: stdout_bytes > stdout_kept,
        stdout: bytes(29)?,
        stdout_bytes,
        stderr_truncated: stderr_bytes > stderr_kept,
        stderr: bytes(30)?,
        stderr_bytes,
        cpu_ms: maybe(22)?,
        max_rss_kib: maybe(23)?,
        node: row.try_get(20)?,
        reason: row.try_get(21)?,
    };
    Ok((record, input))
}
