//! Ended flows: copied in as they come, many batches at a time, a partition a day.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::pin::pin;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::SinkExt;
use tokio_postgres::error::SqlState;

use super::partitions::day_of;
use super::pool::{Failed, clean, column, settled};
use super::{PRUNE_ROWS, PostgresStore};
use crate::model::Timestamp;
use crate::model::query::{FlowQuery, Page};
use crate::store::page::{page, page_limit};
use crate::store::{FlowStore, KeyedFlows, StoreError, StoredFlow};

mod more;
mod places;
mod read;
mod row;
#[cfg(test)]
mod tests;

/// Times that flows are asked for while days are dropped.
const TRIES: u32 = 3;

/// Numbers that one value of `flow_block` stands for.
const BLOCK: i64 = 65_536;

#[async_trait]
impl FlowStore for PostgresStore {
    async fn add_flows(&self, batch_key: String, flows: Vec<StoredFlow>) -> Result<(), StoreError> {
        self.add_flow_batches(vec![KeyedFlows { key: batch_key, flows }]).await
    }

    async fn add_flow_batches(&self, batches: Vec<KeyedFlows>) -> Result<(), StoreError> {
        let places = places::of(&self.database, &batches).await?;
        let blocks = self.blocks(batches.iter().map(|batch| batch.flows.len()).sum()).await?;
        let prepared =
            tokio::task::spawn_blocking(move || Prepared::of(batches, &places, &blocks))
                .await
                .map_err(|error| StoreError::Statement(format!("flows cannot be serialized: {error}")))??;
        let days = prepared.iter().flat_map(|batch| &batch.days).copied().collect();
        self.partitions.make(&self.database, &days).await?;
        settled(|| self.copy(&prepared)).await
    }

    async fn flows(&self, query: FlowQuery) -> Result<Page<StoredFlow>, StoreError> {
        let limit = page_limit(query.limit);
        let mut connection = self.database.get().await?;
        for _ in 1..TRIES {
            match read::newest(&mut connection, &query, limit + 1, read::WALK).await {
                // A day was dropped that had been listed just before.
                Err(StoreError::Statement(why)) if why.contains(SqlState::UNDEFINED_TABLE.code()) => {}
                found => return Ok(page(found?, limit)),
            }
        }
        Ok(page(read::newest(&mut connection, &query, limit + 1, read::WALK).await?, limit))
    }

    async fn prune_flows(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.partitions.make_ahead(&self.database).await?;
        let keys = "DELETE FROM flow_batch WHERE key IN
                    (SELECT key FROM flow_batch WHERE newest < $1 LIMIT $2)";
        self.prune(keys, before).await?;
        let mut pruned = 0;
        for table in ["flow_other", "flow_record_other"] {
            let sql = format!(
                "DELETE FROM {table} WHERE number IN (SELECT number FROM {table} WHERE last_seen < $1 LIMIT $2)"
            );
            pruned += self.prune(&sql, before).await?;
        }
        Ok(pruned + self.partitions.drop_before(&self.database, before).await?)
    }
}

/// A batch, ready to be copied.
struct Prepared {
    key: String,
    newest: Timestamp,
    days: BTreeSet<i64>,
    rows: Bytes,
}

impl Prepared {
    /// One of those with the same key is enough.
    fn of(
        batches: Vec<KeyedFlows>,
        places: &BTreeMap<places::Name, i32>,
        blocks: &[i64],
    ) -> Result<Vec<Self>, StoreError> {
        let mut keys = HashSet::new();
        let mut numbers = blocks.iter().flat_map(|block| *block..*block + BLOCK);
        let mut prepared = Vec::with_capacity(batches.len());
        for KeyedFlows { key, flows } in batches {
            let key = clean(&key).into_owned();
            if keys.insert(key.clone()) {
                prepared.push(Self::one(key, flows, places, &mut numbers)?);
            }
        }
        Ok(prepared)
    }

    fn one(
        key: String,
        flows: Vec<StoredFlow>,
        places: &BTreeMap<places::Name, i32>,
        numbers: &mut impl Iterator<Item = i64>,
    ) -> Result<Self, StoreError> {
        let newest = flows.iter().map(|stored| stored.flow.last_seen).max().unwrap_or_default();
        let days = flows.iter().map(|stored| day_of(stored.flow.last_seen)).collect();
        let mut rows = BytesMut::with_capacity(flows.len() * 320);
        let missing = || StoreError::Statement("flows without a number or a place".to_owned());
        let mut place = None;
        for stored in flows {
            let of_last =
                place.take().filter(|((site, node), _)| *site == stored.site && *node == stored.node);
            let (name, number) = match of_last {
                Some(same) => same,
                None => {
                    let name = (stored.site.clone(), stored.node.clone());
                    let number = *places.get(&name).ok_or_else(missing)?;
                    (name, number)
                }
            };
            row::write(&mut rows, numbers.next().ok_or_else(missing)?, number, &stored)?;
            place = Some((name, number));
        }
        Ok(Self { key, newest, days, rows: rows.freeze() })
    }
}

/// Notes the keys that are new, which are given back.
async fn note(
    transaction: &deadpool_postgres::Transaction<'_>,
    batches: &[Prepared],
) -> Result<HashSet<String>, Failed> {
    // Two that add the same batches wait for each other in one order.
    let mut rows: Vec<(&str, i64)> = column(batches, |batch| (batch.key.as_str(), batch.newest.ns()));
    rows.sort_unstable();
    let sql = "INSERT INTO flow_batch (key, newest) SELECT * FROM unnest($1::text[], $2::bigint[])
               ON CONFLICT (key) DO NOTHING RETURNING key";
    let sql = transaction.prepare_cached(sql).await?;
    let (keys, newest) = (column(&rows, |row| row.0), column(&rows, |row| row.1));
    let new = transaction.query(&sql, &[&keys, &newest]).await?;
    new.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

impl PostgresStore {
    /// Numbers for so many rows. They are this call's alone, used or not.
    async fn blocks(&self, rows: usize) -> Result<Vec<i64>, StoreError> {
        let blocks = (rows as i64 + BLOCK - 1) / BLOCK;
        if blocks == 0 {
            return Ok(Vec::new());
        }
        let connection = self.database.get().await?;
        let sql = "SELECT nextval('flow_block') FROM generate_series(1, $1::bigint)";
        let rows = connection.query(&connection.prepare_cached(sql).await?, &[&blocks]).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    async fn copy(&self, batches: &[Prepared]) -> Result<(), Failed> {
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        let new = note(&transaction, batches).await?;
        let rows = batches.iter().filter(|batch| new.contains(&batch.key)).map(|batch| &batch.rows);
        let sql = format!("COPY flow_record ({}) FROM STDIN BINARY", row::COLUMNS);
        let sql = transaction.prepare_cached(&sql).await?;
        let mut sink = pin!(transaction.copy_in::<_, Bytes>(&sql).await?);
        sink.feed(row::HEAD).await?;
        for rows in rows.filter(|rows| !rows.is_empty()) {
            sink.feed(rows.clone()).await?;
        }
        sink.feed(row::TAIL).await?;
        sink.finish().await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Runs a statement that deletes a few rows until it finds no more.
    async fn prune(&self, sql: &str, before: Timestamp) -> Result<u64, StoreError> {
        let mut pruned = 0;
        loop {
            let step = self.database.get().await?.execute(sql, &[&before.ns(), &PRUNE_ROWS]).await?;
            pruned += step;
            if step < PRUNE_ROWS.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }
}
