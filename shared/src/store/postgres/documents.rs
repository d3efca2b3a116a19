//! Documents and their versions. The version with the highest revision is in force.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::PostgresStore;
use super::events::queue;
use super::pool::{Failed, clean, settled};
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::documents::{Change, Document, DocumentKind, DocumentStore, Put, Tell};
use crate::store::events::{Outgoing, PENDING};

#[async_trait]
impl DocumentStore for PostgresStore {
    async fn change_and_tell(&self, change: Change, tell: Tell) -> Result<Put, StoreError> {
        settled(|| self.make(&change, &tell)).await
    }

    async fn documents(&self, kind: Option<DocumentKind>) -> Result<Vec<Document>, StoreError> {
        // Kinds that only a later release knows are left out.
        let kinds: Vec<&str> = match kind {
            Some(kind) => vec![kind.name()],
            None => DocumentKind::ALL.map(DocumentKind::name).to_vec(),
        };
        let sql = "SELECT DISTINCT ON (kind, name) kind, name, value, revision, by, at FROM document
                   WHERE kind = ANY($1) ORDER BY kind, name, revision DESC";
        let rows = self.database.get().await?.query(sql, &[&kinds]).await?;
        let rows: Vec<Document> = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(rows.into_iter().filter(|document| !document.value.is_null()).collect())
    }

    async fn versions(
        &self,
        kind: DocumentKind,
        name: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let sql = "SELECT kind, name, value, revision, by, at FROM document
                   WHERE kind = $1 AND name = $2 ORDER BY revision DESC LIMIT $3";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.database.get().await?.query(sql, &[&kind.name(), &clean(name), &limit]).await?;
        rows.iter().map(read).collect()
    }
}

impl PostgresStore {
    async fn make(&self, change: &Change, tell: &Tell) -> Result<Put, Failed> {
        let Change { kind, value, expected, at, .. } = change;
        let (name, by) = (clean(&change.name), clean(&change.by));
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        // There may be no row yet that could be locked.
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        transaction.execute(lock, &[&format!("flowhook document {}/{name}", kind.name())]).await?;
        let sql = "SELECT kind, name, value, revision, by, at FROM document WHERE kind = $1 AND name = $2
                   ORDER BY revision DESC LIMIT 1";
        let last = transaction.query_opt(sql, &[&kind.name(), &name]).await?;
        let last = last.as_ref().map(read).transpose()?;
        let there = last.as_ref().filter(|last| !last.value.is_null()).map_or(0, |last| last.revision);
        if expected.is_some_and(|expected| expected != there) || (value.is_none() && there == 0) {
            return Ok(Put::Conflict(there));
        }
        let revision = last.as_ref().map_or(0, |last| last.revision) + 1;
        let json = value.as_ref().map(serde_json::to_string).transpose()?;
        let sql =
            "INSERT INTO document (kind, name, revision, value, by, at) VALUES ($1, $2, $3, $4, $5, $6)";
        transaction
            .execute(sql, &[&kind.name(), &name, &revision.cast_signed(), &json, &by, &at.ns()])
            .await?;
        let value = value.clone().unwrap_or_default();
        let (name, by) = (name.into_owned(), by.into_owned());
        let document = Document { kind: *kind, name, value, revision, by, at: *at };
        let Outgoing { owner, events, pending } = tell(&document, last.as_ref());
        queue(&transaction, &owner, &events).await?;
        queue(&transaction, PENDING, pending.as_slice()).await?;
        transaction.commit().await?;
        if !events.is_empty() || pending.is_some() {
            crate::failpoint::hit("event.after_change");
        }
        Ok(Put::Done(document))
    }
}

fn read(row: &Row) -> Result<Document, StoreError> {
    let kind: &str = row.try_get(0)?;
    let value: Option<&str> = row.try_get(2)?;
    Ok(Document {
        kind: DocumentKind::parse(kind)
            .ok_or_else(|| StoreError::Statement(format!("unknown kind of document '{kind}'")))?,
        name: row.try_get(1)?,
        value: value.map(serde_json::from_str).transpose()?.unwrap_or_default(),
        revision: row.try_get::<_, i64>(3)?.unsigned_abs(),
        by: row.try_get(4)?,
        at: Timestamp::from_ns(row.try_get(5)?),
    })
}
