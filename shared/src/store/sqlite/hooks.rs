//! Executions of hooks and the events they are for, in `hooks.db`.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Rows, params};

use super::{PRUNE_ROWS, SqliteStore};
use crate::events::Event;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::events::readable;
use crate::store::hooks::{
    ClaimedRun, HookCounts, HookStore, NewRun, PAGE_BYTES, RunInput, RunOutcome, RunQuery, RunRecord,
    SettledRun, event_key,
};

mod claim;
mod holder;
mod records;
mod settle;

#[async_trait]
impl HookStore for SqliteStore {
    async fn accept_events(
        &self,
        events: Vec<(Event, Vec<NewRun>)>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.hooks
            .write(move |conn| {
                let mut new = 0;
                for (event, runs) in events {
                    let sql = "INSERT OR IGNORE INTO hook_event (key, came_at, at, json)
                               VALUES (?1, ?2, ?3, ?4)";
                    let json = serde_json::to_string(&event)?;
                    let key = event_key(&event);
                    let added =
                        conn.prepare_cached(sql)?.execute(params![key, now.ns(), event.at.ns(), json])?;
                    if added == 0 {
                        continue;
                    }
                    new += 1;
                    for run in runs {
                        insert(conn, &run, &event.subject, now)?;
                    }
                }
                Ok(new)
            })
            .await
    }

    async fn queue_runs(&self, runs: Vec<NewRun>, now: Timestamp) -> Result<Vec<u64>, StoreError> {
        self.hooks
            .write(move |conn| {
                let mut numbers = Vec::with_capacity(runs.len());
                for run in runs {
                    let subject = match event(conn, &run.event)? {
                        Some(event) => event.subject,
                        None => String::new(),
                    };
                    numbers.push(insert(conn, &run, &subject, now)?);
                }
                Ok(numbers)
            })
            .await
    }

    async fn hold_runs(&self, node: &str, now: Timestamp, lease: Duration) -> Result<bool, StoreError> {
        let node = node.to_owned();
        let until = now.plus_ns(i64::try_from(lease.as_nanos()).unwrap_or(i64::MAX));
        self.hooks.write(move |conn| holder::hold(conn, &node, now, until)).await
    }

    async fn let_runs_go(&self, node: &str) -> Result<(), StoreError> {
        let node = node.to_owned();
        self.hooks.write(move |conn| holder::let_go(conn, &node)).await
    }

    async fn due_hooks(&self, now: Timestamp) -> Result<(Vec<String>, Option<Timestamp>), StoreError> {
        self.hooks.read(move |conn| claim::due(conn, now)).await
    }

    async fn claim_runs(
        &self,
        room: Vec<(String, usize)>,
        most: usize,
        node: &str,
        now: Timestamp,
    ) -> Result<Vec<ClaimedRun>, StoreError> {
        let node = node.to_owned();
        self.hooks.write(move |conn| claim::claim(conn, &room, most, &node, now)).await
    }

    async fn settle_runs(&self, settled: Vec<SettledRun>, now: Timestamp) -> Result<(), StoreError> {
        self.hooks
            .write(move |conn| settled.into_iter().try_for_each(|run| settle::settle(conn, run, now)))
            .await
    }

    async fn release_runs(&self, node: &str, now: Timestamp) -> Result<u64, StoreError> {
        let node = node.to_owned();
        self.hooks.write(move |conn| settle::release(conn, &node, now)).await
    }

    async fn runs(&self, query: RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        self.hooks.read(move |conn| records::list(conn, &query)).await
    }

    async fn one_run(&self, hook: &str, execution: u64) -> Result<Option<(RunRecord, RunInput)>, StoreError> {
        let hook = hook.to_owned();
        self.hooks.read(move |conn| records::one(conn, &hook, execution)).await
    }

    async fn hook_counts(&self) -> Result<Vec<HookCounts>, StoreError> {
        self.hooks.read(records::counts).await
    }

    async fn recorded_events(
        &self,
        since: Timestamp,
        until: Timestamp,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        self.hooks
            .read(move |conn| {
                let sql = "SELECT place, json FROM (
                               SELECT place, json, sum(length(json)) OVER (ORDER BY place) - length(json) AS above
                               FROM hook_event WHERE place > ?1 AND at >= ?2 AND at < ?3
                               ORDER BY place LIMIT ?4)
                           WHERE above < ?5 ORDER BY place";
                let asked = params![as_i64(after), since.ns(), until.ns(), limit as i64, PAGE_BYTES];
                events(conn.prepare_cached(sql)?.query(asked)?)
            })
            .await
    }

    async fn newest_events(&self, before: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        self.hooks
            .read(move |conn| {
                let sql = "SELECT place, json FROM (
                               SELECT place, json,
                                      sum(length(json)) OVER (ORDER BY place DESC) - length(json) AS above
                               FROM hook_event WHERE place < ?1 ORDER BY place DESC LIMIT ?2)
                           WHERE above < ?3 ORDER BY place DESC";
                events(conn.prepare_cached(sql)?.query(params![as_i64(before), limit as i64, PAGE_BYTES])?)
            })
            .await
    }

    async fn recorded_event(&self, key: &str) -> Result<Option<Event>, StoreError> {
        let key = key.to_owned();
        self.hooks.read(move |conn| event(conn, &key)).await
    }

    async fn dead_runs(
        &self,
        hook: &str,
        execution: Option<u64>,
        retry: Option<&str>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let (hook, retry) = (hook.to_owned(), retry.map(str::to_owned));
        self.hooks.write(move |conn| settle::dead(conn, &hook, execution, retry.as_deref(), now)).await
    }

    async fn forget_hook(&self, hook: &str) -> Result<(), StoreError> {
        let hook = hook.to_owned();
        self.hooks
            .write(move |conn| {
                conn.prepare_cached("DELETE FROM hook_run WHERE hook = ?1 AND state <> 'running'")?
                    .execute([&hook])?;
                conn.prepare_cached("DELETE FROM hook_count WHERE hook = ?1")?.execute([&hook])?;
                Ok(())
            })
            .await
    }

    async fn prune_recorded(&self, before: Timestamp, keep: u64) -> Result<u64, StoreError> {
        self.hooks
            .write_in_steps(PRUNE_ROWS, move |conn| {
                let sql = "DELETE FROM hook_event WHERE place IN (
                    SELECT place FROM hook_event e WHERE (came_at < ?1 OR place <= (
                        SELECT place FROM hook_event ORDER BY place DESC LIMIT 1 OFFSET ?2))
                    AND NOT EXISTS (SELECT 1 FROM hook_run r
                        WHERE r.event = e.key AND (r.state <> 'done' OR r.good = 0))
                    LIMIT ?3)";
                let keep = as_i64(keep);
                Ok(conn.prepare_cached(sql)?.execute(params![before.ns(), keep, PRUNE_ROWS as i64])?)
            })
            .await
    }
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Events with their places.
fn events(mut rows: Rows<'_>) -> Result<Vec<(u64, Event)>, StoreError> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (place, json): (i64, String) = (row.get(0)?, row.get(1)?);
        found.extend(readable(&json, place).map(|event| (place.unsigned_abs(), event)));
    }
    Ok(found)
}

/// An event on record.
fn event(conn: &Connection, key: &str) -> Result<Option<Event>, StoreError> {
    let found: Option<(i64, String)> = conn
        .prepare_cached("SELECT place, json FROM hook_event WHERE key = ?1")?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.and_then(|(place, json)| readable(&json, place)))
}

/// Queues an execution as a first try, or puts on record that it was left out.
fn insert(conn: &Connection, run: &NewRun, subject: &str, now: Timestamp) -> Result<u64, StoreError> {
    let input = run.input.as_ref().map(serde_json::to_string).transpose()?;
    let skipped = run.skipped.is_some();
    let state = if skipped { "done" } else { "queued" };
    let outcome = skipped.then_some(RunOutcome::Skipped);
    let sql = "INSERT INTO hook_run (hook, revision, event, subject, order_key, idempotency_key, attempt,
                   place, reason_for, by, state, outcome, good, queued_at, next_at, ended_at, input, given,
                   reason)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 0, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
    conn.prepare_cached(sql)?.execute(params![
        run.hook,
        as_i64(run.revision),
        run.event,
        subject,
        run.order_key,
        run.idempotency_key,
        run.trigger.name(),
        run.by,
        state,
        outcome.map(RunOutcome::name),
        outcome.map(RunOutcome::class),
        now.ns(),
        run.next_at.ns(),
        skipped.then_some(now.ns()),
        input,
        run.input.is_some(),
        run.skipped.as_deref().unwrap_or_default(),
    ])?;
    let number = conn.last_insert_rowid();
    conn.prepare_cached("UPDATE hook_run SET place = number WHERE number = ?1")?.execute([number])?;
    if skipped {
        settle::count(conn, &run.hook, RunOutcome::Skipped)?;
        settle::trim_skipped(conn, &run.hook)?;
    }
    Ok(number.unsigned_abs())
}
