//! Ended flows: copied in as they come, a partition a day.

use std::collections::BTreeSet;
use std::pin::pin;

use async_trait::async_trait;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

use super::filter::Filter;
use super::partitions::day_of;
use super::pool::{Failed, clean, settled};
use super::{PRUNE_ROWS, PostgresStore};
use crate::model::Timestamp;
use crate::model::query::{FlowQuery, Page};
use crate::store::page::{page, page_limit};
use crate::store::{FlowStore, StoreError, StoredFlow};

/// Columns of a flow, in the order in which they are copied.
const COLUMNS: &str = "last_seen, ifid, client_ip, server_ip, client_port, server_port, l7, json";
const TYPES: [Type; 8] =
    [Type::INT8, Type::INT8, Type::INET, Type::INET, Type::INT4, Type::INT4, Type::TEXT, Type::TEXT];

#[async_trait]
impl FlowStore for PostgresStore {
    async fn add_flows(&self, batch_key: String, flows: Vec<StoredFlow>) -> Result<(), StoreError> {
        let json = flows.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        let days: BTreeSet<i64> = flows.iter().map(|stored| day_of(stored.flow.last_seen)).collect();
        self.partitions.make(&self.database, &days).await?;
        settled(|| self.copy(&batch_key, &flows, &json)).await
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

impl PostgresStore {
    async fn copy(&self, key: &str, flows: &[StoredFlow], json: &[String]) -> Result<(), Failed> {
        let newest = flows.iter().map(|stored| stored.flow.last_seen).max().unwrap_or_default();
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        let sql = "INSERT INTO flow_batch (key, newest) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
        let sql = transaction.prepare_cached(sql).await?;
        if transaction.execute(&sql, &[&clean(key), &newest.ns()]).await? == 0 {
            return Ok(());
        }
        let sink = transaction.copy_in(&format!("COPY flow ({COLUMNS}) FROM STDIN BINARY")).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &TYPES));
        for (StoredFlow { flow, .. }, json) in flows.iter().zip(json) {
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
        writer.finish().await?;
        transaction.commit().await?;
        Ok(())
    }
}
