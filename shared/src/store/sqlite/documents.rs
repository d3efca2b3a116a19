//! Documents and their versions, in `ledger.db`. The version with the highest revision is in force.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteStore, handover};
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::documents::{Change, Document, DocumentKind, DocumentStore, Put, Tell};

#[async_trait]
impl DocumentStore for SqliteStore {
    async fn change_and_tell(&self, change: Change, tell: Tell) -> Result<Put, StoreError> {
        let (put, told) = self.ledger.write(move |conn| make(conn, change, &tell)).await?;
        if told {
            crate::failpoint::hit("event.after_change");
            if let Err(error) = self.carry_over().await {
                tracing::warn!(%error, "events of a change are not in the outbox yet");
            }
        }
        Ok(put)
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

/// Makes a change; true when events of it are to be carried over.
fn make(conn: &Connection, change: Change, tell: &Tell) -> Result<(Put, bool), StoreError> {
    let Change { kind, name, value, expected, by, at } = change;
    let sql = "SELECT kind, name, value, revision, by, at FROM document WHERE kind = ?1 AND name = ?2
               ORDER BY revision DESC LIMIT 1";
    let last = conn.prepare_cached(sql)?.query_row(params![kind.name(), name], read).optional()?;
    let there = last.as_ref().filter(|last| !last.value.is_null()).map_or(0, |last| last.revision);
    if expected.is_some_and(|expected| expected != there) || (value.is_none() && there == 0) {
        return Ok((Put::Conflict(there), false));
    }
    let revision = last.as_ref().map_or(0, |last| last.revision) + 1;
    let json = value.as_ref().map(serde_json::to_string).transpose()?;
    conn.prepare_cached(
        "INSERT INTO document (kind, name, revision, value, by, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![kind.name(), name, revision as i64, json, by, at.ns()])?;
    let document = Document { kind, name, value: value.unwrap_or_default(), revision, by, at };
    let told = handover::keep(conn, &tell(&document, last.as_ref()))?;
    Ok((Put::Done(document), told))
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
