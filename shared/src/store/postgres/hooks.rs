//! Executions of hooks and the events they are for.
//!
//! One notifier at a time runs executions: it holds the row of `hook_holder`, which each of its transactions
//! that begins or releases some reads under a lock. Whoever wants to hold it next waits for that.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::pool::{Failed, clean, column, settled};
use super::{PRUNE_ROWS, PostgresStore};
use crate::events::Event;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::events::readable;
use crate::store::hooks::{
    ClaimedRun, HookCounts, HookStore, NewRun, PAGE_BYTES, RunInput, RunQuery, RunRecord, SettledRun,
};

mod accept;
mod claim;
mod records;
mod settle;

#[async_trait]
impl HookStore for PostgresStore {
    async fn accept_events(
        &self,
        events: Vec<(Event, Vec<NewRun>)>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        settled(|| accept::events(&self.database, &events, now)).await
    }

    async fn queue_runs(&self, runs: Vec<NewRun>, now: Timestamp) -> Result<Vec<u64>, StoreError> {
        settled(|| accept::runs(&self.database, &runs, now)).await
    }

    async fn hold_runs(&self, node: &str, _now: Timestamp, lease: Duration) -> Result<bool, StoreError> {
        let sql =
            "WITH server AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint AS now)
                   INSERT INTO hook_holder AS known (one, node, until) SELECT 1, $1, now + $2 FROM server
                   ON CONFLICT (one) DO UPDATE SET node = excluded.node, until = excluded.until
                   WHERE known.node = excluded.node OR known.until <= (SELECT now FROM server)";
        let lease = i64::try_from(lease.as_nanos()).unwrap_or(i64::MAX / 2);
        Ok(self.database.get().await?.execute(sql, &[&clean(node), &lease]).await? > 0)
    }

    async fn let_runs_go(&self, node: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM hook_holder WHERE node = $1";
        self.database.get().await?.execute(sql, &[&clean(node)]).await?;
        Ok(())
    }

    async fn due_hooks(&self, now: Timestamp) -> Result<(Vec<String>, Option<Timestamp>), StoreError> {
        claim::due(&self.database, now).await
    }

    async fn claim_runs(
        &self,
        room: Vec<(String, usize)>,
        most: usize,
        node: &str,
        now: Timestamp,
    ) -> Result<Vec<ClaimedRun>, StoreError> {
        settled(|| claim::claim(&self.database, &room, most, node, now)).await
    }

    async fn settle_runs(&self, runs: Vec<SettledRun>, now: Timestamp) -> Result<(), StoreError> {
        settled(|| settle::settle(&self.database, &runs, now)).await
    }

    async fn release_runs(&self, node: &str, now: Timestamp) -> Result<u64, StoreError> {
        settled(|| settle::release(&self.database, node, now)).await
    }

    async fn runs(&self, query: RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        records::list(&self.database, &query).await
    }

    async fn one_run(&self, hook: &str, execution: u64) -> Result<Option<(RunRecord, RunInput)>, StoreError> {
        records::one(&self.database, hook, execution).await
    }

    async fn hook_counts(&self) -> Result<Vec<HookCounts>, StoreError> {
        records::counts(&self.database).await
    }

    async fn recorded_events(
        &self,
        since: Timestamp,
        until: Timestamp,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        let sql = "SELECT place, json FROM (
                       SELECT place, json, sum(length(json)) OVER (ORDER BY place) - length(json) AS above
                       FROM hook_event WHERE place > $1 AND at >= $2 AND at < $3 ORDER BY place LIMIT $4) page
                   WHERE above < $5 ORDER BY place";
        let connection = self.database.get().await?;
        let asked = (as_i64(after), as_i64(limit as u64));
        let rows =
            connection.query(sql, &[&asked.0, &since.ns(), &until.ns(), &asked.1, &PAGE_BYTES]).await?;
        rows.iter().filter_map(|row| event(row).transpose()).collect()
    }

    async fn newest_events(&self, before: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        let sql = "SELECT place, json FROM (
                       SELECT place, json, sum(length(json)) OVER (ORDER BY place DESC) - length(json) AS above
                       FROM hook_event WHERE place < $1 ORDER BY place DESC LIMIT $2) page
                   WHERE above < $3 ORDER BY place DESC";
        let connection = self.database.get().await?;
        let rows = connection.query(sql, &[&as_i64(before), &as_i64(limit as u64), &PAGE_BYTES]).await?;
        rows.iter().filter_map(|row| event(row).transpose()).collect()
    }

    async fn recorded_event(&self, key: &str) -> Result<Option<Event>, StoreError> {
        let sql = "SELECT place, json FROM hook_event WHERE key = $1";
        let row = self.database.get().await?.query_opt(sql, &[&clean(key)]).await?;
        Ok(row.as_ref().map(event).transpose()?.flatten().map(|(_, event)| event))
    }

    async fn dead_runs(
        &self,
        hook: &str,
        execution: Option<u64>,
        retry: Option<&str>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        settled(|| settle::dead(&self.database, hook, execution, retry, now)).await
    }

    async fn forget_hook(&self, hook: &str) -> Result<(), StoreError> {
        settled(|| async {
            let mut connection = self.database.get().await?;
            let transaction = connection.transaction().await?;
            let hook = clean(hook);
            let runs = "DELETE FROM hook_run WHERE hook = $1 AND state <> 'running'";
            transaction.execute(runs, &[&hook]).await?;
            transaction.execute("DELETE FROM hook_count WHERE hook = $1", &[&hook]).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn prune_recorded(&self, before: Timestamp, keep: u64) -> Result<u64, StoreError> {
        let sql = "DELETE FROM hook_event WHERE place IN (
                       SELECT place FROM hook_event AS e WHERE (came_at < $1 OR place <= (
                           SELECT place FROM hook_event ORDER BY place DESC LIMIT 1 OFFSET $2))
                       AND NOT EXISTS (SELECT 1 FROM hook_run AS r
                           WHERE r.event = e.key AND (r.state <> 'done' OR r.class = 0))
                       LIMIT $3)";
        let mut total = 0;
        loop {
            let step = settled(|| async {
                let connection = self.database.get().await?;
                Ok(connection.execute(sql, &[&before.ns(), &as_i64(keep), &PRUNE_ROWS]).await?)
            });
            let rows = step.await?;
            total += rows;
            if rows < PRUNE_ROWS.unsigned_abs() {
                return Ok(total);
            }
        }
    }
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An event with its place.
fn event(row: &Row) -> Result<Option<(u64, Event)>, StoreError> {
    let place: i64 = row.try_get(0)?;
    Ok(readable(row.try_get(1)?, place).map(|event| (place.unsigned_abs(), event)))
}

/// Refuses when another one runs executions; until the transaction ends nobody else can come to.
async fn check_holder(transaction: &Transaction<'_>, node: &str) -> Result<(), Failed> {
    let sql = transaction.prepare_cached("SELECT node FROM hook_holder FOR SHARE").await?;
    let row = transaction.query_opt(&sql, &[]).await?;
    let holder: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    match holder {
        Some(holder) if holder != clean(node) => Err(StoreError::HooksElsewhere { holder }.into()),
        _ => Ok(()),
    }
}

/// What hooks have done, to be added to their counts: successes, failures, left out.
type Done = std::collections::BTreeMap<String, [i64; 3]>;

/// Adds to the counts, in the order of the names.
async fn count(transaction: &Transaction<'_>, done: &Done) -> Result<(), Failed> {
    if done.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = done.iter().collect();
    let sql = "INSERT INTO hook_count AS known (hook, success, failure, skipped)
               SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
               ON CONFLICT (hook) DO UPDATE SET success = known.success + excluded.success,
                   failure = known.failure + excluded.failure, skipped = known.skipped + excluded.skipped";
    let sql = transaction.prepare_cached(sql).await?;
    let hooks = column(&rows, |(hook, _)| hook.as_str());
    let [success, failure, skipped] = [0, 1, 2].map(|of| column(&rows, |(_, counts)| counts[of]));
    transaction.execute(&sql, &[&hooks, &success, &failure, &skipped]).await?;
    Ok(())
}

fn attempt(row: &Row, column: usize) -> Result<u32, tokio_postgres::Error> {
    Ok(u32::try_from(row.try_get::<_, i64>(column)?).unwrap_or(u32::MAX))
}
