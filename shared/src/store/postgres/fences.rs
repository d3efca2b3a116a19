//! Partitions of aggregators with their fences and states.

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::pool::{Failed, settled};
use super::{PostgresStore, engaged, memory, series};
use crate::model::Position;
use crate::store::StoreError;
use crate::store::partitions::{PartitionStore, Saved, Snapshot, Step};

const COLUMNS: &str = "fence, done_stream, done_sequence, state_stream, state_sequence, state";

#[async_trait]
impl PartitionStore for PostgresStore {
    async fn saved(&self, partition: u32) -> Result<Option<Saved>, StoreError> {
        let connection = self.database.get().await?;
        let sql = format!("SELECT {COLUMNS} FROM partition_state WHERE part = $1");
        let sql = connection.prepare_cached(&sql).await?;
        let row = connection.query_opt(&sql, &[&i64::from(partition)]).await?;
        Ok(row.map(|row| saved(&row)).transpose()?)
    }

    async fn claim(&self, partition: u32, fence: u64) -> Result<Saved, StoreError> {
        settled(|| async {
            let mut connection = self.database.get().await?;
            let transaction = connection.transaction().await?;
            let sql = "INSERT INTO partition_state AS known (part, fence) VALUES ($1, $2)
                       ON CONFLICT (part) DO UPDATE SET fence = excluded.fence WHERE known.fence < excluded.fence";
            let sql = transaction.prepare_cached(sql).await?;
            transaction.execute(&sql, &[&i64::from(partition), &fence.cast_signed()]).await?;
            let sql = format!("SELECT {COLUMNS} FROM partition_state WHERE part = $1 FOR UPDATE");
            let sql = transaction.prepare_cached(&sql).await?;
            let saved = saved(&transaction.query_one(&sql, &[&i64::from(partition)]).await?)?;
            check(partition, fence, saved.fence)?;
            transaction.commit().await?;
            Ok(saved)
        })
        .await
    }

    async fn commit(&self, step: Step) -> Result<(), StoreError> {
        let changes = engaged::Changes::of(step.transitions.clone())?;
        settled(|| async {
            let mut connection = self.database.get().await?;
            let transaction = connection.transaction().await?;
            // From here on to the end nobody else can claim it.
            fence(&transaction, &step).await?;
            changes.apply_in(&transaction).await?;
            memory::write_in(&transaction, &step.remembered).await?;
            for batch in &step.samples {
                series::add_in(&transaction, batch).await?;
            }
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn highest_fence(&self) -> Result<u64, StoreError> {
        let connection = self.database.get().await?;
        let row = connection.query_one("SELECT max(fence) FROM partition_state", &[]).await?;
        Ok(row.try_get::<_, Option<i64>>(0)?.map_or(0, i64::cast_unsigned))
    }
}

/// Notes how far the partition has come, unless it is another's.
async fn fence(transaction: &Transaction<'_>, step: &Step) -> Result<(), Failed> {
    let Step { partition, fence, at, state, .. } = step;
    let sql = "SELECT fence FROM partition_state WHERE part = $1 FOR UPDATE";
    let sql = transaction.prepare_cached(sql).await?;
    let known = transaction.query_opt(&sql, &[&i64::from(*partition)]).await?;
    let known = known.map(|row| row.try_get::<_, i64>(0)).transpose()?;
    check(*partition, *fence, known.map_or(0, i64::cast_unsigned))?;
    let (part, fence) = (i64::from(*partition), fence.cast_signed());
    let sequence = at.sequence.cast_signed();
    let sql = "INSERT INTO partition_state (part, fence, done_stream, done_sequence) VALUES ($1, $2, $3, $4)
               ON CONFLICT (part) DO UPDATE SET fence = excluded.fence, done_stream = excluded.done_stream,
               done_sequence = excluded.done_sequence";
    let sql = transaction.prepare_cached(sql).await?;
    transaction.execute(&sql, &[&part, &fence, &at.stream, &sequence]).await?;
    if let Some(state) = state {
        let sql =
            "UPDATE partition_state SET state_stream = $2, state_sequence = $3, state = $4 WHERE part = $1";
        let sql = transaction.prepare_cached(sql).await?;
        transaction.execute(&sql, &[&part, &at.stream, &sequence, state]).await?;
    }
    Ok(())
}

fn check(partition: u32, fence: u64, current: u64) -> Result<(), StoreError> {
    if fence < current {
        return Err(StoreError::StaleFence { partition, fence, current });
    }
    Ok(())
}

fn saved(row: &Row) -> Result<Saved, tokio_postgres::Error> {
    let position = |stream, sequence: i64| Position { stream, sequence: sequence.cast_unsigned() };
    let snapshot = match row.try_get::<_, Option<Vec<u8>>>(5)? {
        Some(state) => Some(Snapshot { at: position(row.try_get(3)?, row.try_get(4)?), state }),
        None => None,
    };
    let fence = row.try_get::<_, i64>(0)?.cast_unsigned();
    Ok(Saved { fence, done: position(row.try_get(1)?, row.try_get(2)?), snapshot })
}
