//! Connections to the server: lent out, made again when they are lost, watched over.
//!
//! A statement is sent once. When its connection is lost before the answer, whoever asked gets an error
//! and decides; every write of the store may be repeated by its caller without being applied twice.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use tokio::sync::watch;
use tokio_postgres::error::SqlState;

use super::{PostgresConfig, config, tls};
use crate::backoff::{Backoff, unit_random};
use crate::clock::Stopwatch;
use crate::metrics;
use crate::store::{StoreError, StoreHealth};

/// Waits between tries to connect.
const CONNECT: Backoff = Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(2) };

/// Time between looks at a server that works, and at one that does not.
const LOOK: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(1)];

/// Tries of a transaction that the server has rolled back because of another one.
const TRIES: u32 = 12;

/// A connection; back in the pool when dropped.
pub(super) type Connection = deadpool_postgres::Client;

/// Why a transaction did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Server(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<serde_json::Error> for Failed {
    fn from(error: serde_json::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<Failed> for StoreError {
    fn from(error: Failed) -> Self {
        match error {
            Failed::Server(error) => error.into(),
            Failed::Store(error) => error,
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let passes = match error.code() {
            Some(code) if is_of_the_data(code) => return Self::Refused(describe(&error)),
            Some(code) => comes_back(code),
            None => {
                error.is_closed()
                    || std::error::Error::source(&error).is_some_and(|e| e.is::<std::io::Error>())
            }
        };
        match passes {
            true => Self::Unavailable(describe(&error)),
            false => Self::Statement(describe(&error)),
        }
    }
}

/// True for what a server says of values that it cannot take: their form, a constraint, their size.
fn is_of_the_data(code: &SqlState) -> bool {
    ["22", "23", "54"].iter().any(|class| code.code().starts_with(class))
}

/// True for what a server says that stops, starts, is full of connections or of data, or is not the one to
/// write to.
fn comes_back(code: &SqlState) -> bool {
    let known = [
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::DISK_FULL,
        SqlState::OUT_OF_MEMORY,
    ];
    code.code().starts_with("57P") || code.code().starts_with("08") || known.contains(code)
}

/// What the server or the driver says, in one line.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let more = [said.detail(), said.hint()].into_iter().flatten().map(|text| format!("; {text}"));
        return format!("{} ({}){}", said.message(), said.code().code(), more.collect::<String>());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The pool, with who watches it.
#[derive(Clone)]
pub(super) struct Database(Arc<Inner>);

struct Inner {
    pool: Pool,
    /// Hosts, database and user.
    name: String,
    patience: Duration,
    health: watch::Sender<StoreHealth>,
    watcher: tokio::task::AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Database {
    /// Connects once, to see that it can be done.
    ///
    /// # Errors
    /// [`StoreError::Open`] names server, database and user, and the cause.
    pub async fn open(settings: &PostgresConfig) -> Result<Self, StoreError> {
        let unnamed = |cause: String| StoreError::Open { path: "store.postgres".to_owned(), cause };
        let wrong = settings.check();
        if !wrong.is_empty() {
            return Err(unnamed(wrong.join("; ")));
        }
        let config = settings.connection().map_err(unnamed)?;
        let name = config::shown(&config);
        let cannot = |cause: String| StoreError::Open { path: name.clone(), cause };
        let tls = tls::connector(settings).map_err(cannot)?;
        let manager =
            Manager::from_config(config, tls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let patience = Duration::from_secs(settings.connect_timeout_s);
        let pool = Pool::builder(manager)
            .runtime(Runtime::Tokio1)
            .max_size(settings.pool_size)
            .wait_timeout(Some(patience))
            .create_timeout(Some(patience * 2))
            .build()
            .map_err(|e| cannot(e.to_string()))?;
        drop(pool.get().await.map_err(|error| cannot(explain(&error)))?);
        let (health, _) = watch::channel(StoreHealth::Working);
        let watcher = tokio::spawn(look_after(pool.clone(), health.clone())).abort_handle();
        Ok(Self(Arc::new(Inner { pool, name, patience, health, watcher })))
    }

    /// A connection. Where there is none, it is tried again for as long as connecting may take: nothing
    /// has been sent yet.
    ///
    /// # Errors
    /// Names the server and why it cannot be reached.
    pub async fn get(&self) -> Result<Connection, StoreError> {
        let begun = Stopwatch::start();
        for attempt in 1.. {
            let error = match self.0.pool.get().await {
                Ok(connection) => return Ok(connection),
                Err(PoolError::Closed) => return Err(StoreError::Closed),
                Err(error) => error,
            };
            metrics::store_connection_failed();
            let wait = CONNECT.wait(attempt, unit_random(u64::from(attempt) ^ u64::from(std::process::id())));
            let patient = begun.elapsed() + wait < self.0.patience && passes(&error);
            if !patient {
                return Err(StoreError::Unavailable(format!("{}: {}", self.0.name, explain(&error))));
            }
            tokio::time::sleep(wait).await;
        }
        Err(StoreError::Closed)
    }

    /// What is said of the server in messages.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Callers that wait for a connection.
    pub fn waiting(&self) -> u64 {
        self.0.pool.status().waiting as u64
    }

    /// How the server does.
    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        self.0.health.subscribe()
    }

    /// Closes every connection that is not lent out, and lends no more.
    pub fn close(&self) {
        self.0.watcher.abort();
        self.0.pool.close();
    }
}

/// Counts the times that a transaction gave way.
static TURN: AtomicU64 = AtomicU64::new(0);

/// Runs a transaction again that the server has rolled back in favour of another one; whatever else goes
/// wrong is the caller's.
pub(super) async fn settled<T, F>(mut work: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Failed>>,
{
    for attempt in 1.. {
        let error = match work().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if !matches!(&error, Failed::Server(error) if gave_way(error)) || attempt >= TRIES {
            return Err(error.into());
        }
        step_aside(attempt).await;
    }
    Err(StoreError::Closed)
}

/// True when the server has rolled a transaction back in favour of another one, or would have let it wait
/// for longer than it asked to.
pub(super) fn gave_way(error: &tokio_postgres::Error) -> bool {
    let known =
        [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE, SqlState::LOCK_NOT_AVAILABLE];
    error.code().is_some_and(|code| known.contains(code))
}

/// Waits a little before what gave way is tried again.
pub(super) async fn step_aside(attempt: u32) {
    // Those who got into each other's way must not wait for equally long, nor hardly at all.
    let random = unit_random(TURN.fetch_add(1, Ordering::Relaxed));
    tokio::time::sleep(CONNECT.bound(attempt).mul_f64(0.5 + random / 2.0)).await;
}

/// Text as the server takes it: it knows no character 0.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

/// One column of many rows.
pub(super) fn column<'a, R, T>(rows: &'a [R], of: impl FnMut(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

/// True for what may pass by itself within seconds; a wrong password does not.
fn passes(error: &PoolError) -> bool {
    match error {
        PoolError::Backend(error) => error.code().is_none_or(comes_back),
        _ => false,
    }
}

fn explain(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => describe(error),
        PoolError::Timeout(_) => "no connection within the time that connecting may take".to_owned(),
        other => other.to_string(),
    }
}

/// Looks from time to time whether the server takes writes. Connections to one that does not are given
/// up, so that the next goes to whoever does.
async fn look_after(pool: Pool, health: watch::Sender<StoreHealth>) {
    loop {
        let works = *health.borrow() == StoreHealth::Working;
        tokio::time::sleep(LOOK[usize::from(!works)]).await;
        let found = match writable(&pool).await {
            Ok(true) => StoreHealth::Working,
            Ok(false) => {
                pool.retain(|_, _| false);
                StoreHealth::Failing("the server is read-only".to_owned())
            }
            // All connections are lent out: it works hard.
            Err(PoolError::Timeout(_)) if works => StoreHealth::Working,
            Err(PoolError::Closed) => return,
            Err(error) => StoreHealth::Failing(explain(&error)),
        };
        health.send_if_modified(|known| {
            // The cause may change a little at each look; that is no news.
            let news = std::mem::discriminant(known) != std::mem::discriminant(&found);
            if news {
                match &found {
                    StoreHealth::Working => tracing::info!("the store works again"),
                    StoreHealth::Failing(cause) => tracing::error!(cause, "the store fails"),
                }
                *known = found;
            }
            news
        });
    }
}

async fn writable(pool: &Pool) -> Result<bool, PoolError> {
    let connection = pool.get().await?;
    let row = connection
        .query_one("SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'", &[])
        .await?;
    Ok(row.try_get(0)?)
}
