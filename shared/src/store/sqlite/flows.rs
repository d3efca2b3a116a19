//! Ended flows, in `flows.db`.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::filter::Filter;
use super::{PRUNE_ROWS, SqliteStore};
use crate::model::Timestamp;
use crate::model::query::{FlowQuery, Page};
use crate::store::page::{page, page_limit};
use crate::store::{FlowStore, KeyedFlows, StoreError, StoredFlow};

#[async_trait]
impl FlowStore for SqliteStore {
    async fn add_flows(&self, batch_key: String, flows: Vec<StoredFlow>) -> Result<(), StoreError> {
        self.add_flow_batches(vec![KeyedFlows { key: batch_key, flows }]).await
    }

    async fn add_flow_batches(&self, batches: Vec<KeyedFlows>) -> Result<(), StoreError> {
        // Serialized by another thread than the one that writes, and than those that answer others.
        let batches = tokio::task::spawn_blocking(move || serialized(batches))
            .await
            .map_err(|error| StoreError::Statement(format!("flows cannot be serialized: {error}")))??;
        self.flows
            .write(move |conn| {
                batches.iter().try_for_each(|(batch, json)| add_flows(conn, &batch.key, &batch.flows, json))
            })
            .await
    }

    async fn flows(&self, query: FlowQuery) -> Result<Page<StoredFlow>, StoreError> {
        self.flows.read(move |conn| flows(conn, query)).await
    }

    async fn prune_flows(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.flows.write_in_steps(PRUNE_ROWS, move |conn| prune_batches(conn, before)).await?;
        self.flows.write_in_steps(PRUNE_ROWS, move |conn| prune_flows(conn, before)).await
    }
}

fn serialized(batches: Vec<KeyedFlows>) -> Result<Vec<(KeyedFlows, Vec<String>)>, StoreError> {
    let of = |batch: KeyedFlows| {
        let json = batch.flows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        Ok((batch, json))
    };
    batches.into_iter().map(of).collect()
}

fn add_flows(conn: &Connection, key: &str, flows: &[StoredFlow], json: &[String]) -> Result<(), StoreError> {
    let newest = flows.iter().map(|stored| stored.flow.last_seen).max().unwrap_or_default();
    let mut batch =
        conn.prepare_cached("INSERT INTO batch (key, newest) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING")?;
    if batch.execute(params![key, newest.ns()])? == 0 {
        return Ok(());
    }
    let mut insert = conn.prepare_cached(
        "INSERT INTO flow (last_seen, ifid, client_ip, server_ip, client_port, server_port, l7, json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (StoredFlow { flow, .. }, json) in flows.iter().zip(json) {
        insert.execute(params![
            flow.last_seen.ns(),
            flow.ifid,
            flow.client.ip.to_string(),
            flow.server.ip.to_string(),
            flow.client.port,
            flow.server.port,
            &*flow.l7,
            json,
        ])?;
    }
    Ok(())
}

fn flows(conn: &Connection, query: FlowQuery) -> Result<Page<StoredFlow>, StoreError> {
    let limit = page_limit(query.limit);
    let mut filter = Filter::default();
    filter.and("last_seen >= :from", ":from", query.from.map(Timestamp::ns));
    filter.and("last_seen < :to", ":to", query.to.map(Timestamp::ns));
    filter.and("ifid = :ifid", ":ifid", query.ifid);
    filter.and("(client_port = :port OR server_port = :port)", ":port", query.port);
    // The whole name, the protocol before the dot, or the application behind it.
    let named = "(l7 = :l7 COLLATE NOCASE OR l7 LIKE :l7 || '.%' OR l7 LIKE '%.' || :l7)";
    filter.and(named, ":l7", query.l7);
    filter.and("row < :after", ":after", query.after);
    filter.bind(":limit", limit as i64 + 1);
    let rest = filter.text();
    let numbers = match query.host {
        // Two index walks, newest first, merged: a busy host's page costs no sort of all its flows.
        Some(host) => {
            filter.bind(":host", host.to_string());
            format!(
                "SELECT row FROM flow WHERE client_ip = :host AND {rest}
                 UNION SELECT row FROM flow WHERE server_ip = :host AND {rest}"
            )
        }
        None => format!("SELECT row FROM flow WHERE {rest}"),
    };
    let sql = format!(
        "SELECT row, json FROM flow WHERE row IN ({numbers} ORDER BY row DESC LIMIT :limit) ORDER BY row DESC"
    );
    let rows = filter.query(conn, &sql, |row| {
        let stored = serde_json::from_str(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
        Ok((row.get(0)?, stored))
    })?;
    Ok(page(rows, limit))
}

fn prune_batches(conn: &Connection, before: Timestamp) -> Result<usize, StoreError> {
    let mut prune = conn.prepare_cached(
        "DELETE FROM batch WHERE key IN (SELECT key FROM batch WHERE newest < ?1 LIMIT ?2)",
    )?;
    Ok(prune.execute(params![before.ns(), PRUNE_ROWS as i64])?)
}

fn prune_flows(conn: &Connection, before: Timestamp) -> Result<usize, StoreError> {
    let mut prune = conn.prepare_cached(
        "DELETE FROM flow WHERE row IN (SELECT row FROM flow WHERE last_seen < ?1 LIMIT ?2)",
    )?;
    Ok(prune.execute(params![before.ns(), PRUNE_ROWS as i64])?)
}
