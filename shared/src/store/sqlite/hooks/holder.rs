//! Who runs executions: the one process that uses the file, unless one of another name did until just now.

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::Timestamp;
use crate::store::StoreError;

/// Says that `node` runs executions, unless another one does.
pub(super) fn hold(
    conn: &Connection,
    node: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "INSERT INTO hook_holder (one, node, until) VALUES (1, ?1, ?3)
               ON CONFLICT (one) DO UPDATE SET node = excluded.node, until = excluded.until
               WHERE hook_holder.node = excluded.node OR hook_holder.until <= ?2";
    Ok(conn.prepare_cached(sql)?.execute(params![node, now.ns(), until.ns()])? > 0)
}

/// Takes back that `node` runs executions.
pub(super) fn let_go(conn: &Connection, node: &str) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM hook_holder WHERE node = ?1")?.execute([node])?;
    Ok(())
}

/// Refuses when another one runs executions.
pub(super) fn check(conn: &Connection, node: &str) -> Result<(), StoreError> {
    let holder: Option<String> = conn
        .prepare_cached("SELECT node FROM hook_holder WHERE node <> ?1")?
        .query_row([node], |row| row.get(0))
        .optional()?;
    holder.map_or(Ok(()), |holder| Err(StoreError::HooksElsewhere { holder }))
}
