//! Time series.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use futures::TryStreamExt;
use tokio_postgres::Row;

use super::filter::Filter;
use super::pool::{Connection, Failed, clean, column, settled};
use super::{PRUNE_ROWS, PostgresStore};
use crate::model::metric::{Metric, Metrics};
use crate::model::packed::Packed;
use crate::model::{Granularity, Timestamp};
use crate::store::StoreError;
use crate::store::series::{
    ElementId, MAX_POINTS, Point, SampleBatch, Series, SeriesQuery, SeriesStore, TopQuery,
};

#[async_trait]
impl SeriesStore for PostgresStore {
    async fn add_samples(&self, batch: SampleBatch) -> Result<(), StoreError> {
        settled(|| self.add(&batch)).await
    }

    async fn series(&self, query: SeriesQuery) -> Result<Vec<Series>, StoreError> {
        let connection = self.database.get().await?;
        let sql = "SELECT number, site, ifid FROM element WHERE entity = $1 AND value = $2
                   AND ($3::text IS NULL OR site = $3) AND ($4::bigint IS NULL OR ifid = $4) ORDER BY site, ifid";
        let site = query.site.as_deref().map(clean);
        let (entity, ifid) = (i64::from(query.entity.id()), query.ifid.map(i64::from));
        let rows = connection.query(sql, &[&entity, &clean(&query.value), &site, &ifid]).await?;
        let mut all = Vec::new();
        for row in rows {
            let points = points(&connection, &query, row.try_get(0)?).await?;
            all.push(Series { site: row.try_get(1)?, ifid: interface(&row, 2)?, points });
        }
        Ok(all)
    }

    async fn top(&self, query: TopQuery) -> Result<Vec<(ElementId, u64)>, StoreError> {
        let mut filter = Filter::default();
        filter.and("period = $?", Some(query.period.seconds()));
        filter.and("at > $?", Some(query.from.ns()));
        filter.and("at <= $?", Some(query.to.ns()));
        filter.and("entity = $?", Some(i64::from(query.entity.id())));
        filter.and("site = $?", query.site.as_deref().map(|site| clean(site).into_owned()));
        filter.and("ifid = $?", query.ifid.map(i64::from));
        let sql = format!(
            "SELECT element, counters FROM sample JOIN element ON number = element WHERE {}",
            filter.text()
        );
        let connection = self.database.get().await?;
        let mut sums: HashMap<i64, u64> = HashMap::new();
        {
            // Row by row: there may be millions.
            let mut rows = pin!(connection.query_raw(&sql, filter.values()).await?);
            while let Some(row) = rows.try_next().await? {
                let counted = Packed::from_bytes(row.try_get(1)?);
                let counted = counted.values().filter(|(place, _)| query.places.contains(place));
                let sum = sums.entry(row.try_get(0)?).or_default();
                *sum = counted.fold(*sum, |sum, (_, value)| sum.saturating_add(value));
            }
        }
        let mut sums: Vec<(i64, u64)> = sums.into_iter().filter(|(_, sum)| *sum > 0).collect();
        // Of equal ones the older element first, so that the answer is the same every time.
        sums.sort_unstable_by_key(|(element, sum)| (std::cmp::Reverse(*sum), *element));
        sums.truncate(query.limit);
        let numbers = column(&sums, |(number, _)| *number);
        let sql = "SELECT number, site, ifid, value FROM element WHERE number = ANY($1)";
        let mut named = HashMap::new();
        for row in connection.query(sql, &[&numbers]).await? {
            let (site, ifid) = (row.try_get(1)?, interface(&row, 2)?);
            let element = ElementId { site, ifid, entity: query.entity, value: row.try_get(3)? };
            named.insert(row.try_get::<_, i64>(0)?, element);
        }
        Ok(sums.into_iter().filter_map(|(number, sum)| Some((named.remove(&number)?, sum))).collect())
    }

    async fn prune_series(&self, period: Granularity, before: Timestamp) -> Result<u64, StoreError> {
        if period == Granularity::Min {
            let keys = "DELETE FROM series_batch WHERE key IN
                        (SELECT key FROM series_batch WHERE at < $1 LIMIT $2)";
            while self.database.get().await?.execute(keys, &[&before.ns(), &PRUNE_ROWS]).await?
                == PRUNE_ROWS.unsigned_abs()
            {}
        }
        let mut pruned = 0;
        for table in ["metric", "sample"] {
            let sql = format!(
                "DELETE FROM {table} WHERE ctid = ANY (ARRAY
                 (SELECT ctid FROM {table} WHERE period = $1 AND at < $2 LIMIT $3))"
            );
            pruned = 0;
            loop {
                let connection = self.database.get().await?;
                let step = connection.execute(&sql, &[&period.seconds(), &before.ns(), &PRUNE_ROWS]).await?;
                pruned += step;
                if step < PRUNE_ROWS.unsigned_abs() {
                    break;
                }
            }
        }
        if period == Granularity::Day {
            while self.forget_elements().await? == PRUNE_ROWS.unsigned_abs() {}
        }
        Ok(pruned)
    }
}

/// Held shared by who adds samples, and alone by who forgets elements.
const ELEMENTS: &str = "hashtextextended('flowhook elements', 0)";

impl PostgresStore {
    /// Forgets some elements that have nothing: the longest kept has been pruned.
    async fn forget_elements(&self) -> Result<u64, StoreError> {
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        transaction.execute(&format!("SELECT pg_advisory_xact_lock({ELEMENTS})"), &[]).await?;
        let sql = "DELETE FROM element WHERE number IN (SELECT number FROM element
                   WHERE NOT EXISTS (SELECT 1 FROM sample WHERE element = number)
                   AND NOT EXISTS (SELECT 1 FROM metric WHERE element = number) LIMIT $1)";
        let forgotten = transaction.execute(sql, &[&PRUNE_ROWS]).await?;
        transaction.commit().await?;
        Ok(forgotten)
    }

    async fn add(&self, batch: &SampleBatch) -> Result<(), Failed> {
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        add_in(&transaction, batch).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Adds a batch that has not been added yet.
pub(super) async fn add_in(transaction: &Transaction<'_>, batch: &SampleBatch) -> Result<(), Failed> {
    let at = batch.windows.first().map_or(Timestamp::ZERO, |(_, at)| *at);
    let sql = "INSERT INTO series_batch (key, at) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
    let sql = transaction.prepare_cached(sql).await?;
    if transaction.execute(&sql, &[&clean(&batch.key), &at.ns()]).await? == 0 {
        return Ok(());
    }
    // Whoever adds to the same interface comes after this one: what is there is read, added to and
    // written.
    transaction.execute(&format!("SELECT pg_advisory_xact_lock_shared({ELEMENTS})"), &[]).await?;
    let interfaces: BTreeSet<_> = batch.samples.iter().map(|s| (&s.element.site, s.element.ifid)).collect();
    for (site, ifid) in interfaces {
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        transaction.execute(lock, &[&format!("flowhook series {ifid}/{}", clean(site))]).await?;
    }
    let mut sums: BTreeMap<&ElementId, (Packed, Metrics)> = BTreeMap::new();
    for sample in &batch.samples {
        let (counters, metrics) = sums.entry(&sample.element).or_default();
        *counters = counters.plus(&sample.counters);
        for (name, metric) in &sample.metrics {
            metrics.entry(name.clone()).or_insert(Metric { sum: 0.0, count: 0, ..*metric }).add(metric);
        }
    }
    let elements: Vec<&ElementId> = sums.keys().copied().collect();
    let numbers = numbers(transaction, &elements).await?;
    let mut rows = Vec::new();
    for ((counters, metrics), number) in sums.values().zip(numbers) {
        rows.extend(batch.windows.iter().map(|(period, at)| Window {
            element: number,
            period: period.seconds(),
            at: at.ns(),
            counters,
            metrics,
        }));
    }
    rows.sort_unstable_by_key(Window::key);
    add_counters(transaction, &rows).await?;
    add_metrics(transaction, &rows).await
}

/// What one element counted in one window.
struct Window<'a> {
    element: i64,
    period: i64,
    at: i64,
    counters: &'a Packed,
    metrics: &'a Metrics,
}

impl Window<'_> {
    fn key(&self) -> (i64, i64, i64) {
        (self.element, self.period, self.at)
    }
}

/// The numbers of elements, in their order; those that have none get one.
async fn numbers(transaction: &Transaction<'_>, elements: &[&ElementId]) -> Result<Vec<i64>, Failed> {
    let entities = column(elements, |e| i64::from(e.entity.id()));
    let values = column(elements, |e| clean(&e.value));
    let sites = column(elements, |e| clean(&e.site));
    let ifids = column(elements, |e| i64::from(e.ifid));
    let find = "SELECT element.number FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])
                    WITH ORDINALITY AS of (entity, value, site, ifid, n)
                LEFT JOIN element USING (entity, value, site, ifid) ORDER BY n";
    let make = "INSERT INTO element (entity, value, site, ifid)
                SELECT of.* FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])
                    AS of (entity, value, site, ifid)
                WHERE NOT EXISTS (SELECT 1 FROM element AS known WHERE known.entity = of.entity
                    AND known.value = of.value AND known.site = of.site AND known.ifid = of.ifid)
                ON CONFLICT DO NOTHING";
    let find = transaction.prepare_cached(find).await?;
    for made in [false, true] {
        let rows = transaction.query(&find, &[&entities, &values, &sites, &ifids]).await?;
        let found: Vec<Option<i64>> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        if let Some(all) = found.into_iter().collect() {
            return Ok(all);
        }
        if !made {
            let make = transaction.prepare_cached(make).await?;
            transaction.execute(&make, &[&entities, &values, &sites, &ifids]).await?;
        }
    }
    Err(StoreError::Statement("an element has no number".to_owned()).into())
}

async fn add_counters(transaction: &Transaction<'_>, windows: &[Window<'_>]) -> Result<(), Failed> {
    let rows: Vec<&Window<'_>> = windows.iter().filter(|w| !w.counters.is_empty()).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let elements = column(&rows, |w| w.element);
    let periods = column(&rows, |w| w.period);
    let times = column(&rows, |w| w.at);
    let sql = "SELECT element, period, at, counters FROM sample
               JOIN unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS of (element, period, at)
               USING (element, period, at)";
    let sql = transaction.prepare_cached(sql).await?;
    let mut before: HashMap<(i64, i64, i64), Packed> = HashMap::new();
    for row in transaction.query(&sql, &[&elements, &periods, &times]).await? {
        let key = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        before.insert(key, Packed::from_bytes(row.try_get(3)?));
    }
    let sum = |w: &&Window<'_>| match before.get(&w.key()) {
        Some(before) => before.plus(w.counters).bytes().to_vec(),
        None => w.counters.bytes().to_vec(),
    };
    let counters: Vec<Vec<u8>> = rows.iter().map(sum).collect();
    let sql = "INSERT INTO sample (element, period, at, counters)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])
               ON CONFLICT (element, period, at) DO UPDATE SET counters = excluded.counters";
    let sql = transaction.prepare_cached(sql).await?;
    transaction.execute(&sql, &[&elements, &periods, &times, &counters]).await?;
    Ok(())
}

async fn add_metrics(transaction: &Transaction<'_>, windows: &[Window<'_>]) -> Result<(), Failed> {
    let rows: Vec<_> =
        windows.iter().flat_map(|w| w.metrics.iter().map(move |(name, m)| (w, name, m))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO metric (element, period, at, name, gauge, sum, count)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::boolean[],
                                    $6::double precision[], $7::bigint[])
               ON CONFLICT (element, period, at, name) DO UPDATE
               SET gauge = excluded.gauge, sum = metric.sum + excluded.sum, count = metric.count + excluded.count";
    let sql = transaction.prepare_cached(sql).await?;
    transaction
        .execute(
            &sql,
            &[
                &column(&rows, |(w, ..)| w.element),
                &column(&rows, |(w, ..)| w.period),
                &column(&rows, |(w, ..)| w.at),
                &column(&rows, |(_, name, _)| clean(name)),
                &column(&rows, |(.., m)| m.gauge),
                &column(&rows, |(.., m)| m.sum),
                &column(&rows, |(.., m)| m.count.cast_signed()),
            ],
        )
        .await?;
    Ok(())
}

async fn points(
    connection: &Connection,
    query: &SeriesQuery,
    element: i64,
) -> Result<Vec<Point>, StoreError> {
    let most = query.limit.clamp(1, MAX_POINTS);
    let (period, from, to, limit) = (query.period.seconds(), query.from.ns(), query.to.ns(), most as i64);
    let mut points: BTreeMap<i64, Point> = BTreeMap::new();
    let point =
        |at| Point { at: Timestamp::from_ns(at), counters: Packed::default(), metrics: Metrics::new() };
    let sql = "SELECT at, counters FROM sample WHERE element = $1 AND period = $2 AND at > $3 AND at <= $4
               ORDER BY at DESC LIMIT $5";
    for row in connection.query(sql, &[&element, &period, &from, &to, &limit]).await? {
        let at = row.try_get(0)?;
        points.entry(at).or_insert_with(|| point(at)).counters = Packed::from_bytes(row.try_get(1)?);
    }
    let sql = "SELECT at, name, gauge, sum, count FROM metric
               WHERE element = $1 AND period = $2 AND at > $3 AND at <= $4 AND at IN
               (SELECT DISTINCT at FROM metric WHERE element = $1 AND period = $2 AND at > $3 AND at <= $4
                ORDER BY at DESC LIMIT $5)";
    for row in connection.query(sql, &[&element, &period, &from, &to, &limit]).await? {
        let at = row.try_get(0)?;
        let count = row.try_get::<_, i64>(4)?.cast_unsigned();
        let metric = Metric { gauge: row.try_get(2)?, sum: row.try_get(3)?, count };
        points.entry(at).or_insert_with(|| point(at)).metrics.insert(row.try_get(1)?, metric);
    }
    let excess = points.len().saturating_sub(most);
    Ok(points.into_values().skip(excess).collect())
}

fn interface(row: &Row, column: usize) -> Result<u32, StoreError> {
    let ifid: i64 = row.try_get(column)?;
    u32::try_from(ifid).map_err(|_| StoreError::Statement(format!("a series is of interface {ifid}")))
}
