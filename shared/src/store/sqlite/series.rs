//! Time series, in `series.db`.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::filter::Filter;
use super::{PRUNE_ROWS, SqliteStore};
use crate::model::metric::{Metric, Metrics};
use crate::model::packed::Packed;
use crate::model::{Entity, Granularity, Timestamp};
use crate::store::StoreError;
use crate::store::series::{
    ElementId, MAX_POINTS, Point, Sample, SampleBatch, Series, SeriesQuery, SeriesStore, TopQuery,
};

#[async_trait]
impl SeriesStore for SqliteStore {
    async fn add_samples(&self, batch: SampleBatch) -> Result<(), StoreError> {
        self.series.write(move |conn| add_batch(conn, &batch)).await
    }

    async fn series(&self, query: SeriesQuery) -> Result<Vec<Series>, StoreError> {
        self.series.read(move |conn| series(conn, &query)).await
    }

    async fn top(&self, query: TopQuery) -> Result<Vec<(ElementId, u64)>, StoreError> {
        self.series.read(move |conn| top(conn, query)).await
    }

    async fn prune_series(&self, period: Granularity, before: Timestamp) -> Result<u64, StoreError> {
        if period == Granularity::Min {
            let prune = "DELETE FROM batch WHERE key IN (SELECT key FROM batch WHERE at < ?1 LIMIT ?2)";
            let batches = move |conn: &Connection| {
                Ok(conn.prepare_cached(prune)?.execute(params![before.ns(), PRUNE_ROWS as i64])?)
            };
            self.series.write_in_steps(PRUNE_ROWS, batches).await?;
        }
        let of = move |table: &str| {
            format!(
                "DELETE FROM {table} WHERE (element, period, at) IN
                 (SELECT element, period, at FROM {table} WHERE period = ?1 AND at < ?2 LIMIT ?3)"
            )
        };
        let mut pruned = 0;
        for sql in [of("metric"), of("sample")] {
            let step = move |conn: &Connection| {
                let mut prune = conn.prepare_cached(&sql)?;
                Ok(prune.execute(params![period.seconds(), before.ns(), PRUNE_ROWS as i64])?)
            };
            pruned = self.series.write_in_steps(PRUNE_ROWS, step).await?;
        }
        if period == Granularity::Day {
            // The longest kept: an element without anything is forgotten.
            let prune = "DELETE FROM element WHERE number IN (SELECT number FROM element
                 WHERE NOT EXISTS (SELECT 1 FROM sample WHERE element = number)
                 AND NOT EXISTS (SELECT 1 FROM metric WHERE element = number) LIMIT ?1)";
            let elements =
                move |conn: &Connection| Ok(conn.prepare_cached(prune)?.execute([PRUNE_ROWS as i64])?);
            self.series.write_in_steps(PRUNE_ROWS, elements).await?;
        }
        Ok(pruned)
    }
}

fn add_batch(conn: &Connection, batch: &SampleBatch) -> Result<(), StoreError> {
    let at = batch.windows.first().map_or(Timestamp::ZERO, |(_, at)| *at);
    let mut note =
        conn.prepare_cached("INSERT INTO batch (key, at) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING")?;
    if note.execute(params![batch.key, at.ns()])? == 0 {
        return Ok(());
    }
    for sample in &batch.samples {
        let element = number(conn, &sample.element)?;
        for (period, at) in &batch.windows {
            add_sample(conn, element, *period, *at, sample)?;
        }
    }
    Ok(())
}

/// The number of an element, which gets one when it has none.
fn number(conn: &Connection, element: &ElementId) -> Result<i64, StoreError> {
    let ElementId { site, ifid, entity, value } = element;
    let key = params![*entity as u8, value, site, ifid];
    let known = conn
        .prepare_cached(
            "SELECT number FROM element WHERE entity = ?1 AND value = ?2 AND site = ?3 AND ifid = ?4",
        )?
        .query_row(key, |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    conn.prepare_cached("INSERT INTO element (entity, value, site, ifid) VALUES (?1, ?2, ?3, ?4)")?
        .execute(key)?;
    Ok(conn.last_insert_rowid())
}

fn add_sample(
    conn: &Connection,
    element: i64,
    period: Granularity,
    at: Timestamp,
    sample: &Sample,
) -> Result<(), StoreError> {
    let (period, at) = (period.seconds(), at.ns());
    if !sample.counters.is_empty() {
        let before: Option<Vec<u8>> = conn
            .prepare_cached("SELECT counters FROM sample WHERE element = ?1 AND period = ?2 AND at = ?3")?
            .query_row(params![element, period, at], |row| row.get(0))
            .optional()?;
        let sum = before.map(|before| Packed::from_bytes(&before).plus(&sample.counters));
        let counters = sum.as_ref().unwrap_or(&sample.counters).bytes();
        conn.prepare_cached(
            "INSERT OR REPLACE INTO sample (element, period, at, counters) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![element, period, at, counters])?;
    }
    for (name, Metric { gauge, sum, count }) in &sample.metrics {
        conn.prepare_cached(
            "INSERT INTO metric (element, period, at, name, gauge, sum, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (element, period, at, name)
             DO UPDATE SET gauge = excluded.gauge, sum = sum + excluded.sum, count = count + excluded.count",
        )?
        .execute(params![element, period, at, name, gauge, sum, count.cast_signed()])?;
    }
    Ok(())
}

fn series(conn: &Connection, query: &SeriesQuery) -> Result<Vec<Series>, StoreError> {
    let mut elements = conn.prepare_cached(
        "SELECT number, site, ifid FROM element WHERE entity = ?1 AND value = ?2
         AND (?3 IS NULL OR site = ?3) AND (?4 IS NULL OR ifid = ?4) ORDER BY site, ifid",
    )?;
    let key = params![query.entity as u8, query.value, query.site, query.ifid];
    let elements = elements.query_map(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let elements: Vec<(i64, String, u32)> = elements.collect::<Result<_, _>>()?;
    let read = |(number, site, ifid)| Ok(Series { site, ifid, points: points(conn, query, number)? });
    elements.into_iter().map(read).collect()
}

fn points(conn: &Connection, query: &SeriesQuery, element: i64) -> Result<Vec<Point>, StoreError> {
    let limit = query.limit.clamp(1, MAX_POINTS) as i64;
    let windows = params![element, query.period.seconds(), query.from.ns(), query.to.ns(), limit];
    let mut points: BTreeMap<i64, Point> = BTreeMap::new();
    let point =
        |at| Point { at: Timestamp::from_ns(at), counters: Packed::default(), metrics: Metrics::new() };
    let mut counters = conn.prepare_cached(
        "SELECT at, counters FROM sample WHERE element = ?1 AND period = ?2 AND at > ?3 AND at <= ?4
         ORDER BY at DESC LIMIT ?5",
    )?;
    let mut rows = counters.query(windows)?;
    while let Some(row) = rows.next()? {
        let at = row.get(0)?;
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        points.entry(at).or_insert_with(|| point(at)).counters = Packed::from_bytes(bytes);
    }
    let mut metrics = conn.prepare_cached(
        "SELECT at, name, gauge, sum, count FROM metric
         WHERE element = ?1 AND period = ?2 AND at > ?3 AND at <= ?4 AND at IN
         (SELECT DISTINCT at FROM metric WHERE element = ?1 AND period = ?2 AND at > ?3 AND at <= ?4
          ORDER BY at DESC LIMIT ?5)",
    )?;
    let mut rows = metrics.query(windows)?;
    while let Some(row) = rows.next()? {
        let at = row.get(0)?;
        let count = row.get::<_, i64>(4)?.cast_unsigned();
        let metric = Metric { gauge: row.get(2)?, sum: row.get(3)?, count };
        points.entry(at).or_insert_with(|| point(at)).metrics.insert(row.get(1)?, metric);
    }
    let excess = points.len().saturating_sub(query.limit.clamp(1, MAX_POINTS));
    Ok(points.into_values().skip(excess).collect())
}

fn top(conn: &Connection, query: TopQuery) -> Result<Vec<(ElementId, u64)>, StoreError> {
    let mut filter = Filter::default();
    filter.and("period = :period", ":period", Some(query.period.seconds()));
    filter.and("at > :from", ":from", Some(query.from.ns()));
    filter.and("at <= :to", ":to", Some(query.to.ns()));
    filter.and("entity = :entity", ":entity", Some(query.entity as i64));
    filter.and("site = :site", ":site", query.site);
    filter.and("ifid = :ifid", ":ifid", query.ifid);
    let sql = format!(
        "SELECT element, counters FROM sample JOIN element ON number = element WHERE {}",
        filter.text()
    );
    let mut sums: HashMap<i64, u64> = HashMap::new();
    filter.query(conn, &sql, |row| {
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let counted = Packed::from_bytes(bytes);
        let counted = counted.values().filter(|(place, _)| query.places.contains(place));
        let sum = sums.entry(row.get(0)?).or_default();
        *sum = counted.fold(*sum, |sum, (_, value)| sum.saturating_add(value));
        Ok(())
    })?;
    let mut sums: Vec<(i64, u64)> = sums.into_iter().filter(|(_, sum)| *sum > 0).collect();
    // Of equal ones the older element first, so that the answer is the same every time.
    sums.sort_unstable_by_key(|(element, sum)| (std::cmp::Reverse(*sum), *element));
    sums.truncate(query.limit);
    let mut named = conn.prepare_cached("SELECT site, ifid, value FROM element WHERE number = ?1")?;
    let entity: Entity = query.entity;
    let mut name = |(number, sum)| {
        let element = named.query_row([number], |row| {
            Ok(ElementId { site: row.get(0)?, ifid: row.get(1)?, entity, value: row.get(2)? })
        })?;
        Ok((element, sum))
    };
    sums.into_iter().map(&mut name).collect()
}
