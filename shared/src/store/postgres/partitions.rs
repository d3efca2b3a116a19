//! The partitions of the tables of flows: a UTC day each, made ahead and on demand, dropped whole.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::error::SqlState;

use super::pool::{Connection, Database, describe};
use crate::model::Timestamp;
use crate::store::StoreError;

pub(super) const DAY_NS: i64 = 86_400_000_000_000;

/// Days that are made before they come.
const AHEAD: i64 = 3;

/// The table that flows are written into.
pub(super) const RECORDS: &str = "flow_record";

/// The table that the release before wrote into: its days only go.
const EARLIER: &str = "flow";

/// Rows of a day after which the server looks at what is new: it makes the filters by which addresses are
/// found. Until then a search reads those rows.
const NOT_FILTERED: u32 = 200_000;

/// Days that have a partition at most: a query opens them all, and flows may come with any time.
/// Flows of further days go where those without a day are.
const MOST: i64 = 1000;

/// The UTC day of a time, counted from the epoch.
pub(super) fn day_of(time: Timestamp) -> i64 {
    time.ns().div_euclid(DAY_NS)
}

/// Days that are known to have a partition, or to need none.
#[derive(Clone, Default)]
pub(super) struct Partitions(Arc<Mutex<BTreeSet<i64>>>);

impl Partitions {
    /// Makes the partitions of today and of the next days.
    pub async fn make_ahead(&self, database: &Database) -> Result<(), StoreError> {
        let sql = "SELECT extract(epoch FROM now())::bigint";
        let now: i64 = database.get().await?.query_one(sql, &[]).await?.try_get(0)?;
        let today = day_of(Timestamp::from_secs(now));
        self.make(database, &(today..=today + AHEAD).collect()).await
    }

    /// Makes the partitions of these days where they are missing.
    pub async fn make(&self, database: &Database, days: &BTreeSet<i64>) -> Result<(), StoreError> {
        let missing: Vec<i64> = days.difference(&self.known()).copied().collect();
        for day in missing {
            make_one(database, day).await?;
            self.known().insert(day);
        }
        Ok(())
    }

    /// Drops the days that are over before `before`; returns how many rows that were.
    pub async fn drop_before(&self, database: &Database, before: Timestamp) -> Result<u64, StoreError> {
        let mut dropped = 0;
        for table in [EARLIER, RECORDS] {
            let partitions = partitions(&database.get().await?, table).await?;
            for Partition { name, bounds } in partitions {
                let Some((begin, _)) = bounds.filter(|(_, end)| *end <= before.ns()) else { continue };
                if table == RECORDS {
                    // From now on its day has to be made again before anything goes there.
                    self.known().remove(&(begin / DAY_NS));
                }
                dropped += drop_one(database, &name).await?;
            }
        }
        Ok(dropped)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a table.
pub(super) struct Partition {
    pub name: String,
    /// The times at which it begins and ends; none for the one without.
    pub bounds: Option<(i64, i64)>,
}

/// The partitions of a table.
pub(super) async fn partitions(connection: &Connection, table: &str) -> Result<Vec<Partition>, StoreError> {
    let sql = "SELECT oid::regclass::text, pg_get_expr(relpartbound, oid) FROM pg_class
               JOIN pg_inherits ON inhrelid = oid WHERE inhparent = $1::text::regclass";
    let rows = connection.query(sql, &[&table]).await?;
    let of = |row: &tokio_postgres::Row| {
        Ok(Partition { name: row.try_get(0)?, bounds: bounds_in(row.try_get(1)?) })
    };
    rows.iter().map(of).collect()
}

/// The bounds of a partition in the words of the server.
fn bounds_in(words: &str) -> Option<(i64, i64)> {
    let mut quoted = words.split('\'').skip(1).step_by(2).map(|number| number.parse().ok());
    Some((quoted.next()??, quoted.next()??))
}

async fn make_one(database: &Database, day: i64) -> Result<(), StoreError> {
    let (begin, end) = (day.saturating_mul(DAY_NS), (day + 1).saturating_mul(DAY_NS));
    let name = format!("{RECORDS}_{}", Timestamp::from_ns(begin).date_utc().replace('-', ""));
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    // One at a time: two that make the same would not see each other.
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('flowhook flow partitions', 0))";
    transaction.execute(lock, &[]).await?;
    let sql = "SELECT to_regclass($1) IS NOT NULL,
                      (SELECT count(*) FROM pg_inherits WHERE inhparent = $2::text::regclass)";
    let row = transaction.query_one(sql, &[&name, &RECORDS]).await?;
    if row.try_get(0)? {
        return Ok(());
    }
    if row.try_get::<_, i64>(1)? > MOST {
        tracing::warn!(
            name,
            most = MOST,
            "no more partitions are made for flows; they go into flow_record_other"
        );
        return Ok(());
    }
    let sql = format!(
        "CREATE TABLE {name} PARTITION OF {RECORDS} FOR VALUES FROM ({begin}) TO ({end})
         WITH (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = {NOT_FILTERED})"
    );
    match transaction.batch_execute(&sql).await {
        Ok(()) => Ok(transaction.commit().await?),
        // Flows of that day are among those without a partition already, and the next will join them.
        Err(error) if error.code() == Some(&SqlState::CHECK_VIOLATION) => {
            tracing::warn!(name, cause = describe(&error), "this day gets no partition");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Rows of a dropped day that are counted, at most: counting all of a large one takes longer than a
/// statement may.
const COUNTED: i64 = 100_000;

/// Drops a partition unless somebody reads for long; then the next prune does. Returns how many rows that
/// were, as far as they are counted.
async fn drop_one(database: &Database, name: &str) -> Result<u64, StoreError> {
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    transaction.batch_execute("SET LOCAL lock_timeout = '2s'").await?;
    let count = format!("SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT {COUNTED}) AS counted");
    let rows: i64 = match transaction.query_one(&count, &[]).await {
        Ok(row) => row.try_get(0)?,
        // Another aggregator was faster.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    match transaction.batch_execute(&format!("DROP TABLE IF EXISTS {name}")).await {
        Ok(()) => {
            transaction.commit().await?;
            Ok(rows.unsigned_abs())
        }
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            tracing::warn!(name, "a day of old flows is being read and stays until the next prune");
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
}
