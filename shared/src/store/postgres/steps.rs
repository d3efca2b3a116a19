//! Partitions of the aggregators with their fences and states, and what their steps cause.

use async_trait::async_trait;

use super::pool::{Connection, Failed, settled};
use super::{PostgresStore, engaged, memory, series};
use crate::model::Position;
use crate::store::StoreError;
use crate::store::partitions::{PartitionStore, Saved, Snapshot, Step};

#[async_trait]
impl PartitionStore for PostgresStore {
    async fn saved(&self, partition: u32) -> Result<Option<Saved>, StoreError> {
        let connection = self.database.get().await?;
        Ok(saved(&connection, partition).await?)
    }

    async fn claim(&self, partition: u32, fence: u64) -> Result<Saved, StoreError> {
        let connection = self.database.get().await?;
        let sql = "INSERT INTO partition AS known (part, fence) VALUES ($1, $2)
                   ON CONFLICT (part) DO UPDATE SET fence = excluded.fence WHERE known.fence < excluded.fence";
        connection.execute(sql, &[&i64::from(partition), &fence.cast_signed()]).await?;
        let saved = saved(&connection, partition).await?.unwrap_or_default();
        check(partition, fence, saved.fence)?;
        Ok(saved)
    }

    async fn commit(&self, step: Step) -> Result<(), StoreError> {
        let changes = engaged::Changes::of(step.transitions.clone())?;
        settled(|| self.write_step(&step, &changes)).await
    }

    async fn highest_fence(&self) -> Result<u64, StoreError> {
        let row = self.database.get().await?.query_one("SELECT max(fence) FROM partition", &[]).await?;
        Ok(row.try_get::<_, Option<i64>>(0)?.map_or(0, i64::cast_unsigned))
    }
}

impl PostgresStore {
    async fn write_step(&self, step: &Step, changes: &engaged::Changes) -> Result<(), Failed> {
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        let (part, fence) = (i64::from(step.partition), step.fence.cast_signed());
        let sql = "INSERT INTO partition (part, fence) VALUES ($1, $2) ON CONFLICT (part) DO NOTHING";
        transaction.execute(&transaction.prepare_cached(sql).await?, &[&part, &fence]).await?;
        // Nobody claims the partition while the row is locked.
        let sql = "SELECT fence FROM partition WHERE part = $1 FOR UPDATE";
        let row = transaction.query_one(&transaction.prepare_cached(sql).await?, &[&part]).await?;
        check(step.partition, step.fence, row.try_get::<_, i64>(0)?.cast_unsigned())?;
        // Their keys keep batches from being added twice, also by whoever holds the partition next.
        for batch in &step.samples {
            series::add_in(&transaction, batch).await?;
        }
        changes.apply_in(&transaction).await?;
        memory::remember_in(&transaction, &step.remembered).await?;
        let (stream, sequence) = (step.at.stream, step.at.sequence.cast_signed());
        let sql = "UPDATE partition SET fence = $2, done_stream = $3, done_sequence = $4 WHERE part = $1";
        let statement = transaction.prepare_cached(sql).await?;
        transaction.execute(&statement, &[&part, &fence, &stream, &sequence]).await?;
        if let Some(state) = &step.state {
            let sql =
                "UPDATE partition SET state_stream = $2, state_sequence = $3, state = $4 WHERE part = $1";
            let statement = transaction.prepare_cached(sql).await?;
            transaction.execute(&statement, &[&part, &stream, &sequence, state]).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

fn check(partition: u32, fence: u64, current: u64) -> Result<(), StoreError> {
    if fence < current {
        return Err(StoreError::StaleFence { partition, fence, current });
    }
    Ok(())
}

async fn saved(client: &Connection, partition: u32) -> Result<Option<Saved>, Failed> {
    let sql = "SELECT fence, done_stream, done_sequence, state_stream, state_sequence, state
               FROM partition WHERE part = $1";
    let Some(row) = client.query_opt(sql, &[&i64::from(partition)]).await? else { return Ok(None) };
    let position =
        |stream, sequence: Option<i64>| Position { stream, sequence: sequence.unwrap_or(0).cast_unsigned() };
    let state = row.try_get::<_, Option<Vec<u8>>>(5)?;
    let stream = row.try_get::<_, Option<i64>>(3)?.unwrap_or(0);
    let at = position(stream, row.try_get(4)?);
    Ok(Some(Saved {
        fence: row.try_get::<_, i64>(0)?.cast_unsigned(),
        done: position(row.try_get(1)?, Some(row.try_get(2)?)),
        snapshot: state.map(|state| Snapshot { at, state }),
    }))
}
