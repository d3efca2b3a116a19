//! Events come in with what they let run.

use std::collections::HashSet;

use deadpool_postgres::Transaction;

use super::{Done, as_i64, count, settle};
use crate::events::Event;
use crate::model::Timestamp;
use crate::store::events::readable;
use crate::store::hooks::{NewRun, event_key};
use crate::store::postgres::pool::{Database, Failed, clean, column};

/// Records events that are new and queues what they let run; tells how many were new.
pub(super) async fn events(
    database: &Database,
    events: &[(Event, Vec<NewRun>)],
    now: Timestamp,
) -> Result<u64, Failed> {
    let keys = column(events, |(event, _)| clean(&event_key(event)).into_owned());
    let mut json = Vec::with_capacity(events.len());
    for (event, _) in events {
        json.push(serde_json::to_string(event)?);
    }
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    let sql = "INSERT INTO hook_event (key, came_at, at, json)
               SELECT e.key, $2::bigint, e.at, e.json
               FROM unnest($1::text[], $3::bigint[], $4::text[]) WITH ORDINALITY AS e (key, at, json, n)
               ORDER BY e.n ON CONFLICT (key) DO NOTHING RETURNING key";
    let sql = transaction.prepare_cached(sql).await?;
    let at = column(events, |(event, _)| event.at.ns());
    let added = transaction.query(&sql, &[&keys, &now.ns(), &at, &json]).await?;
    let mut new: HashSet<String> = added.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let number = new.len() as u64;
    let mut runs = Vec::new();
    for ((event, wanted), key) in events.iter().zip(&keys) {
        if new.remove(key) {
            runs.extend(wanted.iter().map(|run| (run, event.subject.clone())));
        }
    }
    queue(&transaction, &runs, now).await?;
    transaction.commit().await?;
    Ok(number)
}

/// Queues executions for events on record; gives their numbers.
pub(super) async fn runs(database: &Database, runs: &[NewRun], now: Timestamp) -> Result<Vec<u64>, Failed> {
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    // The server would not read all that JSON may hold, such as U+0000.
    let sql = "SELECT e.place, e.json
               FROM unnest($1::text[]) WITH ORDINALITY AS r (key, n) LEFT JOIN hook_event AS e ON e.key = r.key
               ORDER BY r.n";
    let rows = transaction.query(sql, &[&column(runs, |run| clean(&run.event))]).await?;
    let mut with = Vec::with_capacity(runs.len());
    for (run, row) in runs.iter().zip(&rows) {
        let (place, json): (Option<i64>, Option<&str>) = (row.try_get(0)?, row.try_get(1)?);
        let event = place.zip(json).and_then(|(place, json)| readable(json, place));
        with.push((run, event.map(|event| event.subject).unwrap_or_default()));
    }
    let numbers = queue(&transaction, &with, now).await?;
    transaction.commit().await?;
    Ok(numbers)
}

/// Queues executions as first tries, or puts on record that they were left out.
async fn queue(
    transaction: &Transaction<'_>,
    runs: &[(&NewRun, String)],
    now: Timestamp,
) -> Result<Vec<u64>, Failed> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let mut inputs = Vec::with_capacity(runs.len());
    for (run, _) in runs {
        inputs.push(run.input.as_ref().map(serde_json::to_string).transpose()?);
    }
    let sql =
        "INSERT INTO hook_run (number, place, hook, revision, event, subject, order_key, idempotency_key,
                   attempt, reason_for, asked_by, state, outcome, class, queued_at, next_at, ended_at, input,
                   given, reason)
               SELECT r.number, r.number, r.hook, r.revision, r.event, r.subject, r.order_key,
                   r.idempotency_key, 1, r.reason_for, r.asked_by,
                   CASE WHEN r.skipped IS NULL THEN 'queued' ELSE 'done' END,
                   CASE WHEN r.skipped IS NOT NULL THEN 'skipped' END,
                   CASE WHEN r.skipped IS NOT NULL THEN 2 END, $1::bigint, r.next_at,
                   CASE WHEN r.skipped IS NOT NULL THEN $1::bigint END, r.input, r.input IS NOT NULL,
                   coalesce(r.skipped, '')
               FROM (SELECT nextval('hook_run_number') AS number, t.* FROM
                        (SELECT * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                             $7::text[], $8::text[], $9::text[], $10::bigint[], $11::text[], $12::text[])
                         WITH ORDINALITY AS u (hook, revision, event, subject, order_key, idempotency_key,
                             reason_for, asked_by, next_at, input, skipped, n) ORDER BY n) AS t) AS r
               RETURNING number";
    let sql = transaction.prepare_cached(sql).await?;
    let added = transaction
        .query(
            &sql,
            &[
                &now.ns(),
                &column(runs, |(run, _)| clean(&run.hook)),
                &column(runs, |(run, _)| as_i64(run.revision)),
                &column(runs, |(run, _)| clean(&run.event)),
                &column(runs, |(_, subject)| clean(subject)),
                &column(runs, |(run, _)| clean(&run.order_key)),
                &column(runs, |(run, _)| clean(&run.idempotency_key)),
                &column(runs, |(run, _)| run.trigger.name()),
                &column(runs, |(run, _)| clean(&run.by)),
                &column(runs, |(run, _)| run.next_at.ns()),
                &inputs,
                &column(runs, |(run, _)| run.skipped.as_deref().map(clean)),
            ],
        )
        .await?;
    let mut numbers = added
        .iter()
        .map(|row| Ok(row.try_get::<_, i64>(0)?.unsigned_abs()))
        .collect::<Result<Vec<_>, Failed>>()?;
    numbers.sort_unstable();
    let mut left_out = Done::new();
    for (run, _) in runs.iter().filter(|(run, _)| run.skipped.is_some()) {
        left_out.entry(clean(&run.hook).into_owned()).or_default()[2] += 1;
    }
    count(transaction, &left_out).await?;
    for hook in left_out.keys() {
        settle::trim_skipped(transaction, hook).await?;
    }
    Ok(numbers)
}
