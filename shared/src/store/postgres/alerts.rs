//! Alert history; the engaged set and the outbox are in `engaged.rs`.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::filter::Filter;
use super::pool::{Failed, clean, column, settled};
use super::{PRUNE_ROWS, PostgresStore, engaged};
use crate::model::query::{AlertQuery, Page, StoredAlert};
use crate::model::{Alert, Timestamp};
use crate::store::page::{page, page_limit};
use crate::store::{AlertMark, AlertStore, EngagedAlert, StoreError, Transition};

#[async_trait]
impl AlertStore for PostgresStore {
    async fn add_history(&self, alerts: Vec<Alert>) -> Result<u64, StoreError> {
        let json = alerts.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        settled(|| self.insert(&alerts, &json)).await
    }

    async fn history(&self, query: AlertQuery) -> Result<Page<StoredAlert>, StoreError> {
        let limit = page_limit(query.limit);
        let mut filter = conditions(query);
        let one_more = filter.bind(limit as i64 + 1);
        let sql = format!(
            "SELECT number, acknowledged, json, acknowledged_by, acknowledged_at, label, labelled_by, labelled_at
             FROM alert WHERE {} ORDER BY number DESC LIMIT {one_more}",
            filter.text()
        );
        let rows = filter.query(&self.database.get().await?, &sql).await?;
        Ok(page(rows.iter().map(stored).collect::<Result<_, _>>()?, limit))
    }

    async fn mark(
        &self,
        of: AlertQuery,
        mark: AlertMark,
        by: &str,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut filter = conditions(of);
        let which = filter.text();
        let by_and_at = |filter: &mut Filter| (filter.bind(clean(by).into_owned()), filter.bind(at.ns()));
        let (set, unless) = match &mark {
            AlertMark::Acknowledged => {
                let (by, at) = by_and_at(&mut filter);
                let set = format!("acknowledged = true, acknowledged_by = {by}, acknowledged_at = {at}");
                (set, "NOT acknowledged".to_owned())
            }
            AlertMark::NotAcknowledged => {
                let set = "acknowledged = false, acknowledged_by = NULL, acknowledged_at = NULL";
                (set.to_owned(), "acknowledged".to_owned())
            }
            AlertMark::Label(label) if label.is_empty() => {
                let set = "label = NULL, labelled_by = NULL, labelled_at = NULL";
                (set.to_owned(), "label IS NOT NULL".to_owned())
            }
            AlertMark::Label(label) => {
                let (by, at) = by_and_at(&mut filter);
                let label = filter.bind(clean(label).into_owned());
                let set = format!("label = {label}, labelled_by = {by}, labelled_at = {at}");
                (set, format!("label IS DISTINCT FROM {label}"))
            }
        };
        let limit = filter.bind(PRUNE_ROWS);
        let rows = format!("SELECT number FROM alert WHERE {which} AND {unless} LIMIT {limit}");
        self.in_steps(&filter, &format!("UPDATE alert SET {set} WHERE number IN ({rows})")).await
    }

    async fn delete_history(&self, of: AlertQuery) -> Result<u64, StoreError> {
        let mut filter = conditions(of);
        let which = filter.text();
        let limit = filter.bind(PRUNE_ROWS);
        let rows = format!("SELECT number FROM alert WHERE {which} LIMIT {limit}");
        self.in_steps(&filter, &format!("DELETE FROM alert WHERE number IN ({rows})")).await
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Result<(), StoreError> {
        let changes = engaged::Changes::of(transitions)?;
        settled(|| changes.apply(&self.database)).await
    }

    async fn engaged(&self, partition: Option<u32>) -> Result<Vec<EngagedAlert>, StoreError> {
        engaged::engaged(&self.database, partition).await
    }

    async fn outbox(&self, limit: usize) -> Result<Vec<(i64, Alert)>, StoreError> {
        engaged::outbox(&self.database, limit).await
    }

    async fn outbox_told(&self, numbers: Vec<i64>) -> Result<(), StoreError> {
        let told = "UPDATE outbox SET json = NULL WHERE number = ANY($1)";
        self.database.get().await?.execute(told, &[&numbers]).await?;
        Ok(())
    }

    async fn prune_history(&self, before: Timestamp) -> Result<u64, StoreError> {
        let of = |condition: &'static str| {
            let mut filter = Filter::default();
            filter.and(condition, Some(before.ns()));
            let (which, limit) = (filter.text(), filter.bind(PRUNE_ROWS));
            (filter, which, limit)
        };
        let (filter, which, limit) = of("json IS NULL AND tstamp < $?");
        let rows = format!("SELECT number FROM outbox WHERE {which} LIMIT {limit}");
        self.in_steps(&filter, &format!("DELETE FROM outbox WHERE number IN ({rows})")).await?;
        let (filter, which, limit) = of("tstamp < $?");
        let rows = format!("SELECT number FROM alert WHERE {which} LIMIT {limit}");
        self.in_steps(&filter, &format!("DELETE FROM alert WHERE number IN ({rows})")).await
    }
}

impl PostgresStore {
    async fn insert(&self, alerts: &[Alert], json: &[String]) -> Result<u64, Failed> {
        let sql =
            "INSERT INTO alert (id, action, tstamp, severity, category, entity, entity_value, alert_type,
                                      site, ifid, script, score, json)
                   SELECT a.id, a.action, a.tstamp, a.severity, a.category, a.entity, a.entity_value,
                          a.alert_type, a.site, a.ifid, a.script, a.score, a.json
                   FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                               $7::text[], $8::text[], $9::text[], $10::bigint[], $11::text[], $12::bigint[],
                               $13::text[]) WITH ORDINALITY
                        AS a (id, action, tstamp, severity, category, entity, entity_value, alert_type,
                              site, ifid, script, score, json, n)
                   ORDER BY a.n ON CONFLICT (id, action) DO NOTHING";
        let connection = self.database.get().await?;
        let statement = connection.prepare_cached(sql).await?;
        let added = connection
            .execute(
                &statement,
                &[
                    &column(alerts, |a| clean(&a.id)),
                    &column(alerts, |a| a.action.name()),
                    &column(alerts, |a| a.tstamp.ns()),
                    &column(alerts, |a| i64::from(a.severity.id())),
                    &column(alerts, |a| i64::from(a.category.id())),
                    &column(alerts, |a| i64::from(a.entity.id())),
                    &column(alerts, |a| clean(&a.entity_value)),
                    &column(alerts, |a| clean(&a.alert_type)),
                    &column(alerts, |a| clean(&a.site)),
                    &column(alerts, |a| i64::from(a.ifid)),
                    &column(alerts, |a| clean(&a.script)),
                    &column(alerts, |a| i64::from(a.score)),
                    &json,
                ],
            )
            .await?;
        Ok(added)
    }

    /// Repeats a statement that changes at most [`PRUNE_ROWS`] rows until it changes fewer; returns the
    /// rows of all.
    async fn in_steps(&self, filter: &Filter, sql: &str) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let rows = filter.execute(&self.database.get().await?, sql).await?;
            total += rows;
            if rows < PRUNE_ROWS.unsigned_abs() {
                return Ok(total);
            }
        }
    }
}

fn conditions(query: AlertQuery) -> Filter {
    let mut filter = Filter::default();
    let text = |text: Option<String>| text.map(|text| clean(&text).into_owned());
    filter.and("number = $?", query.row);
    filter.and("id = $?", text(query.id));
    filter.and("tstamp >= $?", query.from.map(Timestamp::ns));
    filter.and("tstamp < $?", query.to.map(Timestamp::ns));
    filter.and("severity >= $?", query.min_severity.map(|s| i64::from(s.id())));
    filter.and("entity = $?", query.entity.map(|e| i64::from(e.id())));
    filter.and("entity_value = $?", text(query.entity_value));
    filter.and("category = $?", query.category.map(|c| i64::from(c.id())));
    filter.and("alert_type = $?", text(query.alert_type));
    filter.and("action = $?", query.action.map(|a| a.name().to_owned()));
    filter.and("acknowledged = $?", query.acknowledged);
    filter.and("number < $?", query.before_row);
    filter
}

fn stored(row: &Row) -> Result<(i64, StoredAlert), StoreError> {
    let number = row.try_get(0)?;
    let time = |at: Option<i64>| at.map(Timestamp::from_ns);
    let stored = StoredAlert {
        row: number,
        acknowledged: row.try_get(1)?,
        acknowledged_by: row.try_get(3)?,
        acknowledged_at: time(row.try_get(4)?),
        label: row.try_get(5)?,
        labelled_by: row.try_get(6)?,
        labelled_at: time(row.try_get(7)?),
        alert: serde_json::from_str(row.try_get(2)?)?,
    };
    Ok((number, stored))
}
