//! The schema: made, brought forward, or refused.

use super::pool::{Connection, Database, describe, gave_way, step_aside};
use crate::store::StoreError;

/// The oldest server that has all that the statements use.
const OLDEST_SERVER: i64 = 130_000;

/// How often a step gives way.
const TRIES: u32 = 60;

/// One step of the schema; the first leads to version 1.
pub(super) struct Step {
    /// What it does.
    pub sql: &'static str,
    /// The oldest version of the schema whose programs still work after it. A step that only adds names
    /// the version before it or an older one, so that both releases run together during an upgrade; one
    /// that changes what is there names its own version.
    pub usable_from: i64,
}

/// Every step, oldest first.
pub(super) const STEPS: &[Step] = &[
    Step { sql: include_str!("../migrations/postgres/001.sql"), usable_from: 1 },
    Step { sql: include_str!("../migrations/postgres/002.sql"), usable_from: 1 },
    Step { sql: include_str!("../migrations/postgres/003.sql"), usable_from: 1 },
    Step { sql: include_str!("../migrations/postgres/004.sql"), usable_from: 1 },
    Step { sql: include_str!("../migrations/postgres/005.sql"), usable_from: 1 },
    Step { sql: include_str!("../migrations/postgres/006.sql"), usable_from: 1 },
    Step { sql: include_str!("../migrations/postgres/007.sql"), usable_from: 1 },
];

/// Brings the schema to the version of `steps`, each missing step in a transaction of its own, one process
/// at a time. Programs of the release before go on meanwhile: a step that gets into their way gives way and
/// is tried again.
///
/// # Errors
/// [`StoreError::Open`] tells what the server refuses; [`StoreError::TooNew`] that a later release has
/// changed the schema in a way that this one cannot work with.
pub(super) async fn migrate(database: &Database, schema: &str, steps: &[Step]) -> Result<(), StoreError> {
    let cannot = |cause: String| StoreError::Open { path: database.name().to_owned(), cause };
    let mut connection = database.get().await.map_err(|error| cannot(error.to_string()))?;
    let failed = |error: tokio_postgres::Error| cannot(describe(&error));
    let row = connection.query_one("SELECT current_setting('server_version_num')::bigint", &[]).await;
    let server: i64 = row.and_then(|row| row.try_get(0)).map_err(failed)?;
    if server < OLDEST_SERVER {
        let (has, needs) = (server / 10_000, OLDEST_SERVER / 10_000);
        return Err(cannot(format!("the server is PostgreSQL {has}, {needs} or later is needed")));
    }
    let known = steps.len() as i64;
    let mut attempt = 0;
    loop {
        // Without a lock first: most starts find all as it should be, and may then do with fewer rights.
        if let Some((found, usable_from)) = version(&connection, schema).await.map_err(failed)?
            && !(0..known).contains(&found)
        {
            return match found {
                ..0 => Err(cannot(format!("schema version {found} is none of ours"))),
                _ => accept(database.name(), found, usable_from, known),
            };
        }
        match next_step(&mut connection, schema, steps).await {
            Ok(()) => attempt = 0,
            Err(error) if gave_way(&error) && attempt < TRIES => {
                attempt += 1;
                tracing::info!(
                    schema,
                    attempt,
                    cause = describe(&error),
                    "the schema is in use, trying again"
                );
                step_aside(attempt).await;
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Takes the first step that is missing, if another process has not done so meanwhile.
async fn next_step(
    connection: &mut Connection,
    schema: &str,
    steps: &[Step],
) -> Result<(), tokio_postgres::Error> {
    let transaction = connection.transaction().await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    transaction.execute(lock, &[&format!("flowhook schema {schema}")]).await?;
    // Whoever wants a table that a step waits for waits behind the step.
    let prepare = format!(
        "SET LOCAL lock_timeout = '2s';
         CREATE SCHEMA IF NOT EXISTS {schema};
         CREATE TABLE IF NOT EXISTS schema_version (
             version     bigint PRIMARY KEY,
             usable_from bigint NOT NULL,
             at          timestamptz NOT NULL DEFAULT now()
         );"
    );
    transaction.batch_execute(&prepare).await?;
    let (found, _) = newest(&transaction).await?;
    if let Some(step) = usize::try_from(found).ok().and_then(|found| steps.get(found)) {
        transaction.batch_execute(step.sql).await?;
        let (version, note) =
            (found + 1, "INSERT INTO schema_version (version, usable_from) VALUES ($1, $2)");
        transaction.execute(note, &[&version, &step.usable_from]).await?;
        transaction.commit().await?;
        tracing::info!(version, schema, "the store's schema was brought forward");
    }
    Ok(())
}

/// A schema of a later release is used when that release says that it can be.
fn accept(name: &str, found: i64, usable_from: i64, known: i64) -> Result<(), StoreError> {
    if found <= known {
        return Ok(());
    }
    if usable_from > known {
        return Err(StoreError::TooNew { path: name.to_owned(), found, known });
    }
    tracing::warn!(
        found,
        known,
        "the store's schema is of a later release, which says that this one may use it"
    );
    Ok(())
}

/// Version of the schema and the oldest that may use it; none where there is no schema yet.
async fn version(connection: &Connection, schema: &str) -> Result<Option<(i64, i64)>, tokio_postgres::Error> {
    let there = "SELECT to_regclass($1) IS NOT NULL";
    let there = connection.query_one(there, &[&format!("{schema}.schema_version")]).await?;
    match there.try_get(0)? {
        true => Ok(Some(newest(connection).await?)),
        false => Ok(None),
    }
}

/// Every step since has its say in who may use the schema.
async fn newest(client: &impl deadpool_postgres::GenericClient) -> Result<(i64, i64), tokio_postgres::Error> {
    let sql = "SELECT coalesce(max(version), 0), coalesce(max(usable_from), 0) FROM schema_version";
    let row = client.query_one(sql, &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
