//! Documents and their versions, in `ledger.db`. The version with the highest revision is in force.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::documents::{Change, Document, DocumentKind, DocumentStore, Put};

#[async_trait]
impl DocumentStore for SqliteStore {
    async fn change(&self, change: Change) -> Result<Put, StoreError> {
        self.ledger.write(move |conn| make(conn, change)).await
    }

    async fn documents(&self, kind: Option<DocumentKind>) -> Result<Vec<Document>, StoreError> {
        self.ledger
            .read(move |conn| {
                let sql = "SELECT kind, name, value, max(revision), by, at FROM document
                           WHERE ?1 IS NULL OR kind = ?1 GROUP BY kind, name ORDER BY kind, name";
                let mut statement = conn.prepare_cached(sql)?;
                let rows = statement.query_map(params![kind.map(DocumentKind::name)], read)?;
                let rows: Vec<Document> = rows.collect::<Result<_, _>>()?;
                Ok(rows.into_iter().filter(|document| !document.value.is_null()).collect())
            })
            .await
    }

    async fn versions(
        &self,
        kind: DocumentKind,
        name: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let name = name.to_owned();
        self.ledger
            .read(move |conn| {
                let sql = "SELECT kind, name, value, revision, by, at FROM document
                           WHERE kind = ?1 AND name = ?2 ORDER BY revision DESC LIMIT ?3";
                let mut statement = conn.prepare_cached(sql)?;
                let rows = statement.query_map(params![kind.name(), name, limit as i64], read)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }
}

fn make(conn: &Connection, change: Change) -> Result<Put, StoreError> {
    let Change { kind, name, value, expected, by, at } = change;
    let sql = "SELECT revision, value IS NULL FROM document WHERE kind = ?1 AND name = ?2
               ORDER BY revision DESC LIMIT 1";
    let last: Option<(u64, bool)> = conn
        .prepare_cached(sql)?
        .query_row(params![kind.name(), name], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))
        .optional()?;
    let there = last.filter(|(_, deleted)| !deleted).map_or(0, |(revision, _)| revision);
    if expected.is_some_and(|expected| expected != there) || (value.is_none() && there == 0) {
        return Ok(Put::Conflict(there));
    }
    let revision = last.map_or(0, |(revision, _)| revision) + 1;
    let json = value.as_ref().map(serde_json::to_string).transpose()?;
    conn.prepare_cached(
        "INSERT INTO document (kind, name, revision, value, by, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![kind.name(), name, revision as i64, json, by, at.ns()])?;
    Ok(Put::Done(Document { kind, name, value: value.unwrap_or_default(), revision, by, at }))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Document> {
    let wrong = |column, cause: String| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, cause.into())
    };
    let kind: String = row.get(0)?;
    let value: Option<String> = row.get(2)?;
    let value = value.map(|text| serde_json::from_str(&text)).transpose();
    Ok(Document {
        kind: DocumentKind::parse(&kind).ok_or_else(|| wrong(0, format!("unknown kind {kind}")))?,
        name: row.get(1)?,
        value: value.map_err(|e| wrong(2, e.to_string()))?.unwrap_or_default(),
        revision: row.get::<_, i64>(3)?.unsigned_abs(),
        by: row.get(4)?,
        at: Timestamp::from_ns(row.get(5)?),
    })
}
