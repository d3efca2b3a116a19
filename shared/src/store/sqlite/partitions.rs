//! Partitions with their fences and states, in `ledger.db`.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteStore, alerts, memory};
use crate::model::Position;
use crate::store::StoreError;
use crate::store::partitions::{PartitionStore, Saved, Snapshot, Step};
use crate::store::series::SeriesStore;

#[async_trait]
impl PartitionStore for SqliteStore {
    async fn saved(&self, partition: u32) -> Result<Option<Saved>, StoreError> {
        self.ledger.read(move |conn| saved(conn, partition)).await
    }

    async fn claim(&self, partition: u32, fence: u64) -> Result<Saved, StoreError> {
        self.ledger
            .write(move |conn| {
                conn.prepare_cached(
                    "INSERT INTO partition (part, fence) VALUES (?1, ?2)
                     ON CONFLICT (part) DO UPDATE SET fence = excluded.fence WHERE fence < excluded.fence",
                )?
                .execute(params![partition, fence.cast_signed()])?;
                let saved = saved(conn, partition)?.unwrap_or_default();
                check(partition, fence, saved.fence)?;
                Ok(saved)
            })
            .await
    }

    async fn commit(&self, step: Step) -> Result<(), StoreError> {
        let changes = alerts::changes(step.transitions)?;
        let Step { partition, fence, .. } = step;
        if !step.samples.is_empty() {
            let known = self.saved(partition).await?.unwrap_or_default();
            check(partition, fence, known.fence)?;
        }
        // Another file cannot be in one transaction with the ledger. A step that is done again brings the
        // same batches, which are added once.
        for batch in step.samples {
            self.add_samples(batch).await?;
        }
        let Step { at, remembered, state, .. } = step;
        self.ledger
            .write(move |conn| {
                let known = conn
                    .prepare_cached("SELECT fence FROM partition WHERE part = ?1")?
                    .query_row([partition], |row| row.get::<_, i64>(0))
                    .optional()?;
                check(partition, fence, known.map_or(0, i64::cast_unsigned))?;
                changes.iter().try_for_each(|change| change.apply(conn))?;
                remembered.iter().try_for_each(|change| memory::apply(conn, change))?;
                conn.prepare_cached(
                    "INSERT INTO partition (part, fence, done_stream, done_sequence) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (part) DO UPDATE SET fence = excluded.fence,
                     done_stream = excluded.done_stream, done_sequence = excluded.done_sequence",
                )?
                .execute(params![
                    partition,
                    fence.cast_signed(),
                    at.stream,
                    at.sequence.cast_signed()
                ])?;
                if let Some(state) = state {
                    conn.prepare_cached(
                        "UPDATE partition SET state_stream = ?2, state_sequence = ?3, state = ?4
                         WHERE part = ?1",
                    )?
                    .execute(params![
                        partition,
                        at.stream,
                        at.sequence.cast_signed(),
                        state
                    ])?;
                }
                Ok(())
            })
            .await
    }

    async fn highest_fence(&self) -> Result<u64, StoreError> {
        self.ledger
            .read(|conn| {
                let mut highest = conn.prepare_cached("SELECT MAX(fence) FROM partition")?;
                let highest: Option<i64> = highest.query_row([], |row| row.get(0))?;
                Ok(highest.map_or(0, i64::cast_unsigned))
            })
            .await
    }
}

fn check(partition: u32, fence: u64, current: u64) -> Result<(), StoreError> {
    if fence < current {
        return Err(StoreError::StaleFence { partition, fence, current });
    }
    Ok(())
}

fn saved(conn: &Connection, partition: u32) -> Result<Option<Saved>, StoreError> {
    let position = |stream, sequence: i64| Position { stream, sequence: sequence.cast_unsigned() };
    let mut row = conn.prepare_cached(
        "SELECT fence, done_stream, done_sequence, state_stream, state_sequence, state
         FROM partition WHERE part = ?1",
    )?;
    let saved = row.query_row([partition], |row| {
        let snapshot = match row.get::<_, Option<Vec<u8>>>(5)? {
            Some(state) => Some(Snapshot { at: position(row.get(3)?, row.get(4)?), state }),
            None => None,
        };
        let fence = row.get::<_, i64>(0)?.cast_unsigned();
        Ok(Saved { fence, done: position(row.get(1)?, row.get(2)?), snapshot })
    });
    Ok(saved.optional()?)
}
