//! Opening a database file: settings, schema version, and the threads that serve it.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::worker::Worker;
use crate::store::{StoreError, StoreHealth};

/// How long a statement waits for another process that writes the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of log (4 KiB each) after which SQLite writes it back into the file.
const CHECKPOINT_PAGES: u32 = 4000;
/// Bytes of log kept on disk after it was written back.
const LOG_BYTES: u32 = 64 << 20;
/// Statements kept prepared by one connection; more than there are in the code.
const STATEMENTS: usize = 64;
/// Memory that a writing connection keeps pages in, in KiB.
const WRITER_CACHE_KIB: i32 = 16 << 10;

/// A database file and the steps that make its schema; step `n` leads to version `n + 1`.
pub(super) struct Schema {
    pub file: &'static str,
    pub steps: &'static [&'static str],
}

/// What a commit waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The disk: a committed row survives power loss.
    Full,
    /// The kernel: a committed row survives kill -9; power loss may take the last ones.
    Normal,
}

/// One database with its threads. In memory, one thread both writes and reads.
#[derive(Clone)]
pub(super) struct Database {
    writer: Worker,
    reader: Worker,
}

impl Database {
    /// Opens or creates the file of `schema` in `dir`.
    pub fn open(dir: &Path, schema: &Schema, durability: Durability) -> Result<Self, StoreError> {
        let path = dir.join(schema.file);
        let writer = writing_connection(&path, schema, durability)?;
        let reader = Connection::open(&path)
            .and_then(|conn| {
                configure(&conn)?;
                conn.pragma_update(None, "query_only", true)?;
                Ok(conn)
            })
            .map_err(|cause| cannot_open(&path, cause))?;
        let name = schema.file.trim_end_matches(".db");
        // Thread names are cut after 15 bytes on Linux.
        let start = |suffix: &str, conn| {
            Worker::start(&format!("{name}-{suffix}"), conn).map_err(|cause| cannot_open(&path, cause))
        };
        Ok(Self { writer: start("write", writer)?, reader: start("read", reader)? })
    }

    /// An empty database in memory.
    pub fn in_memory(schema: &Schema) -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let mut conn = Connection::open_in_memory().map_err(|cause| cannot_open(path, cause))?;
        configure(&conn).map_err(|cause| cannot_open(path, cause))?;
        migrate(&mut conn, schema, path)?;
        let worker = Worker::start("memory-store", conn).map_err(|cause| cannot_open(path, cause))?;
        Ok(Self { writer: worker.clone(), reader: worker })
    }

    /// See [`Worker::write`].
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.write(work).await
    }

    /// See [`Worker::read`]; sees everything whose write has been answered.
    pub async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.reader.read(work).await
    }

    /// Repeats a write that does at most `step` rows until it did fewer; returns the rows of all.
    pub async fn write_in_steps<F>(&self, step: usize, work: F) -> Result<u64, StoreError>
    where
        F: Fn(&Connection) -> Result<usize, StoreError> + Clone + Send + 'static,
    {
        let mut total = 0;
        loop {
            let rows = self.write(work.clone()).await?;
            total += rows as u64;
            if rows < step {
                return Ok(total);
            }
        }
    }

    /// See [`Worker::health`].
    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        self.writer.health()
    }

    /// Calls that wait for their turn.
    pub fn waiting(&self) -> u64 {
        self.writer.waiting() + self.reader.waiting()
    }

    /// Transactions committed since opening.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Ends the threads when all that was asked before is done; the reader first, since the log is
    /// written back whole only when nobody reads it.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// The error of a path that cannot be used.
pub(super) fn cannot_open(path: &Path, cause: impl std::fmt::Display) -> StoreError {
    StoreError::Open { path: path.display().to_string(), cause: cause.to_string() }
}

fn writing_connection(
    path: &Path,
    schema: &Schema,
    durability: Durability,
) -> Result<Connection, StoreError> {
    let opened = Connection::open(path).and_then(|conn| {
        configure(&conn)?;
        // SQLite stays in its old mode without an error where the file system cannot do the new one;
        // that is slower, but as safe.
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        let level = if durability == Durability::Full { "FULL" } else { "NORMAL" };
        conn.pragma_update(None, "synchronous", level)?;
        conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        conn.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
        conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        // What undoes a savepoint is at most a few hundred pages, and a file for it costs more than they do.
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(conn)
    });
    let mut conn = opened.map_err(|cause| cannot_open(path, cause))?;
    migrate(&mut conn, schema, path)?;
    Ok(conn)
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // Plans follow the statement alone. Otherwise nearly every statement that a partial index serves is planned
    // anew for each value that is bound to it, which costs more than to run it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "foreign_keys", true)
}

/// Brings the schema to the latest version, all steps in one transaction.
fn migrate(conn: &mut Connection, schema: &Schema, path: &Path) -> Result<(), StoreError> {
    let known = schema.steps.len() as i64;
    let failed = |cause: rusqlite::Error| cannot_open(path, cause);
    // Read under the lock: another process may be migrating the same file.
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found: i64 =
        transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if found > known {
        return Err(StoreError::TooNew { path: path.display().to_string(), found, known });
    }
    let missing = usize::try_from(found).ok().and_then(|done| schema.steps.get(done..));
    let missing =
        missing.ok_or_else(|| cannot_open(path, format!("schema version {found} is none of ours")))?;
    for step in missing {
        transaction.execute_batch(step).map_err(failed)?;
    }
    if !missing.is_empty() {
        transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    const ONE: &str = "CREATE TABLE one (a INTEGER);";
    const TWO: &str = "ALTER TABLE one ADD COLUMN b INTEGER; INSERT INTO one VALUES (1, 2);";

    fn version(conn: &Connection) -> i64 {
        conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    fn step_to(conn: &mut Connection, steps: &'static [&'static str]) -> Result<(), StoreError> {
        migrate(conn, &Schema { file: "x.db", steps }, Path::new("x.db"))
    }

    #[test]
    fn each_step_runs_once_from_whatever_version_there_is() {
        let mut conn = Connection::open_in_memory().unwrap();
        step_to(&mut conn, &[ONE]).unwrap();
        assert_eq!(version(&conn), 1);
        step_to(&mut conn, &[ONE, TWO]).unwrap();
        step_to(&mut conn, &[ONE, TWO]).unwrap();
        assert_eq!(version(&conn), 2);
        let rows: i64 = conn.query_row("SELECT COUNT(*) FROM one WHERE b = 2", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let mut conn = Connection::open_in_memory().unwrap();
        let error = step_to(&mut conn, &[ONE, "CREATE TABLE two (;"]).unwrap_err();
        assert!(matches!(error, StoreError::Open { .. }), "{error}");
        assert_eq!(version(&conn), 0);
        assert!(conn.prepare("SELECT * FROM one").is_err());
    }

    #[test]
    fn a_statement_is_planned_once_whatever_is_bound_to_it() {
        let conn = Connection::open_in_memory().unwrap();
        configure(&conn).unwrap();
        let schema = "CREATE TABLE one (a TEXT, b INTEGER); CREATE INDEX some ON one (a) WHERE b = 1;";
        conn.execute_batch(schema).unwrap();
        let mut asked = conn.prepare("SELECT a FROM one WHERE a = ?1 AND b = 1").unwrap();
        for value in ["x", "y", "z"] {
            assert!(!asked.exists([value]).unwrap());
        }
        assert_eq!(asked.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn a_negative_version_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.pragma_update(None, "user_version", -1).unwrap();
        assert!(step_to(&mut conn, &[ONE]).unwrap_err().to_string().contains("version -1"));
    }
}
