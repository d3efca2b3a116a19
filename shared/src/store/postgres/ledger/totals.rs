//! Totals per recipient.

use std::collections::BTreeMap;

use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use crate::model::Timestamp;
use crate::store::postgres::pool::{Database, Failed, clean, column};
use crate::store::{RecipientStats, StoreError};

/// In one statement, so that all counts are of one moment.
pub(super) async fn stats(database: &Database) -> Result<Vec<RecipientStats>, StoreError> {
    let sql =
        "SELECT l.recipient, l.pending, l.delivered, l.dead, l.suppressed, l.merged, l.attempts, l.failed,
                      l.last_success, l.last_error, d.reason, d.count
               FROM lane AS l LEFT JOIN dropped AS d ON d.recipient = l.recipient
               ORDER BY l.recipient, d.reason";
    let rows = database.get().await?.query(sql, &[]).await?;
    let count = |row: &Row, column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    let mut all: Vec<RecipientStats> = Vec::new();
    for row in &rows {
        let recipient: String = row.try_get(0)?;
        if all.last().is_none_or(|last| last.recipient != recipient) {
            all.push(RecipientStats {
                recipient,
                pending: count(row, 1)?,
                delivered: count(row, 2)?,
                dead: count(row, 3)?,
                suppressed: count(row, 4)?,
                merged: count(row, 5)?,
                attempts: count(row, 6)?,
                failed: count(row, 7)?,
                dropped: BTreeMap::new(),
                last_success: row.try_get::<_, Option<i64>>(8)?.map(Timestamp::from_ns),
                last_error: row.try_get(9)?,
            });
        }
        if let (Some(last), Some(reason)) = (all.last_mut(), row.try_get::<_, Option<String>>(10)?) {
            last.dropped.insert(reason, count(row, 11)?);
        }
    }
    Ok(all)
}

/// Adds to what recipients are not told, by recipient and reason. The lanes are locked before: in order of
/// its keys, this locks no two transactions against each other.
pub(super) async fn dropped(
    transaction: &Transaction<'_>,
    counts: &BTreeMap<(&str, &str), i64>,
) -> Result<(), Failed> {
    if counts.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = counts.iter().collect();
    let recipients = column(&rows, |((recipient, _), _)| clean(recipient));
    let lanes =
        "INSERT INTO lane (recipient) SELECT DISTINCT name FROM unnest($1::text[]) AS name ORDER BY name
                 ON CONFLICT (recipient) DO NOTHING";
    let lanes = transaction.prepare_cached(lanes).await?;
    transaction.execute(&lanes, &[&recipients]).await?;
    let sql = "INSERT INTO dropped AS d (recipient, reason, count)
               SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
               ON CONFLICT (recipient, reason) DO UPDATE SET count = d.count + excluded.count";
    let sql = transaction.prepare_cached(sql).await?;
    let (reasons, counts) = (column(&rows, |((_, reason), _)| *reason), column(&rows, |(_, count)| **count));
    transaction.execute(&sql, &[&recipients, &reasons, &counts]).await?;
    Ok(())
}
