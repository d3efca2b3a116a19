//! Ended flows: copied in as they come, a partition a day.

use std::collections::{BTreeSet, HashSet};
use std::pin::pin;

use async_trait::async_trait;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

use super::filter::Filter;
use super::partitions::day_of;
use super::pool::{Failed, clean, column, settled};
use super::{PRUNE_ROWS, PostgresStore};
use crate::model::Timestamp;
use crate::model::query::{FlowQuery, Page};
use crate::store::page::{page, page_limit};
use crate::store::{FlowStore, KeyedFlows, StoreError, StoredFlow};

/// Columns of a flow, in the order in which they are copied.
const COLUMNS: &str = "last_seen, ifid, client_ip, server_ip, client_port, server_port, l7, json";
const TYPES: [Type; 8] =
    [Type::INT8, Type::INT8, Type::INET, Type::INET, Type::INT4, Type::INT4, Type::TEXT, Type::TEXT];

#[async_trait]
impl FlowStore for PostgresStore {
    async fn add_flows(&self, batch_key: String, flows: Vec<StoredFlow>) -> Result<(), StoreError> {
        self.add_flow_batches(vec![KeyedFlows { key: batch_key, flows }]).await
    }

    async fn add_flow_batches(&self, batches: Vec<KeyedFlows>) -> Result<(), StoreError> {
        let prepared = tokio::task::spawn_blocking(move || prepared(batches))
            .await
            .map_err(|error| StoreError::Statement(format!("flows cannot be serialized: {error}")))??;
        let flows = prepared.iter().flat_map(|batch| &batch.flows);
        let days: BTreeSet<i64> = flows.map(|stored| day_of(stored.flow.last_seen)).collect();
        self.partitions.make(&self.database, &days).await?;
        settled(|| self.copy(&prepared)).await
    }

    async fn flows(&self, query: FlowQuery) -> Result<Page<StoredFlow>, StoreError> {
        let limit = page_limit(query.limit);
        let mut filter = Filter::default();
        filter.and("last_seen >= $?", query.from.map(Timestamp::ns));
        filter.and("last_seen < $?", query.to.map(Timestamp::ns));
        filter.and("ifid = $?", query.ifid.map(i64::from));
        filter.and("(client_port = $? OR server_port = $?)", query.port.map(i32::from));
        // The whole name, the protocol before the dot, or the application behind it.
        let l7 = query.l7.map(|name| clean(&name).to_lowercase());
        filter.and(
            "(lower(l7) = $?::text OR starts_with(lower(l7), $?::text || '.')
              OR right(lower(l7), length($?::text) + 1) = '.' || $?::text)",
            l7,
        );
        filter.and("number < $?", query.after);
        let rest = filter.text();
        let one_more = filter.bind(limit as i64 + 1);
        let sql = match query.host {
            // Two index walks, newest first, merged: a busy host's page costs no sort of all its flows.
            Some(host) => {
                let host = filter.bind(host);
                let of = |side: &str| {
                    format!(
                        "(SELECT number, json FROM flow WHERE {side} = {host} AND {rest}
                          ORDER BY number DESC LIMIT {one_more})"
                    )
                };
                format!(
                    "SELECT DISTINCT ON (number) number, json FROM ({} UNION ALL {}) AS either
                     ORDER BY number DESC LIMIT {one_more}",
                    of("client_ip"),
                    of("server_ip")
                )
            }
            None => {
                format!("SELECT number, json FROM flow WHERE {rest} ORDER BY number DESC LIMIT {one_more}")
            }
        };
        let rows = filter.query(&self.database.get().await?, &sql).await?;
        let read = |row: &tokio_postgres::Row| -> Result<(i64, StoredFlow), StoreError> {
            Ok((row.try_get(0)?, serde_json::from_str(row.try_get(1)?)?))
        };
        Ok(page(rows.iter().map(read).collect::<Result<_, _>>()?, limit))
    }

    async fn prune_flows(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.partitions.make_ahead(&self.database).await?;
        let keys = "DELETE FROM flow_batch WHERE key IN
                    (SELECT key FROM flow_batch WHERE newest < $1 LIMIT $2)";
        let other = "DELETE FROM flow_other WHERE number IN
                     (SELECT number FROM flow_other WHERE last_seen < $1 LIMIT $2)";
        let mut pruned = 0;
        for sql in [keys, other] {
            pruned = 0;
            loop {
                let step = self.database.get().await?.execute(sql, &[&before.ns(), &PRUNE_ROWS]).await?;
                pruned += step;
                if step < PRUNE_ROWS.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(pruned + self.partitions.drop_before(&self.database, before).await?)
    }
}

/// A batch, ready to be copied.
struct Prepared {
    key: String,
    flows: Vec<StoredFlow>,
    json: Vec<String>,
}

/// One of those with the same key is enough.
fn prepared(batches: Vec<KeyedFlows>) -> Result<Vec<Prepared>, StoreError> {
    let mut keys = HashSet::new();
    let mut prepared = Vec::with_capacity(batches.len());
    for KeyedFlows { key, flows } in batches {
        let key = clean(&key).into_owned();
        if keys.insert(key.clone()) {
            let json = flows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
            prepared.push(Prepared { key, flows, json });
        }
    }
    Ok(prepared)
}

/// Notes the keys that are new, which are given back.
async fn note(
    transaction: &deadpool_postgres::Transaction<'_>,
    batches: &[Prepared],
) -> Result<HashSet<String>, Failed> {
    // Two that add the same batches wait for each other in one order.
    let mut rows: Vec<(&str, i64)> = column(batches, |batch| {
        let newest = batch.flows.iter().map(|stored| stored.flow.last_seen).max().unwrap_or_default();
        (batch.key.as_str(), newest.ns())
    });
    rows.sort_unstable();
    let sql = "INSERT INTO flow_batch (key, newest) SELECT * FROM unnest($1::text[], $2::bigint[])
               ON CONFLICT (key) DO NOTHING RETURNING key";
    let sql = transaction.prepare_cached(sql).await?;
    let (keys, newest) = (column(&rows, |row| row.0), column(&rows, |row| row.1));
    let new = transaction.query(&sql, &[&keys, &newest]).await?;
    new.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

impl PostgresStore {
    async fn copy(&self, batches: &[Prepared]) -> Result<(), Failed> {
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        let new = note(&transaction, batches).await?;
        let sql = transaction.prepare_cached(&format!("COPY flow ({COLUMNS}) FROM STDIN BINARY")).await?;
        let sink = transaction.copy_in(&sql).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &TYPES));
        for batch in batches.iter().filter(|batch| new.contains(&batch.key)) {
            for (StoredFlow { flow, .. }, json) in batch.flows.iter().zip(&batch.json) {
                let (client, server) = (&flow.client, &flow.server);
                writer
                    .as_mut()
                    .write(&[
                        &flow.last_seen.ns(),
                        &i64::from(flow.ifid),
                        &client.ip,
                        &server.ip,
                        &i32::from(client.port),
                        &i32::from(server.port),
                        &clean(&flow.l7),
                        json,
                    ])
                    .await?;
            }
        }
        writer.finish().await?;
        transaction.commit().await?;
        Ok(())
    }
}
