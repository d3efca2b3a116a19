//! A thread that owns a connection and does what it is asked, in order.
//!
//! Writes that wait together are committed together: at `synchronous=FULL` a commit costs
//! milliseconds and a row microseconds. Each write runs in a savepoint of its own, so that one that
//! fails takes no other with it, and nobody is answered before the commit.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use crate::store::{StoreError, StoreHealth};

/// Jobs that may wait; whoever asks for more waits for room.
const QUEUE: usize = 256;
/// Jobs that share a transaction at most; bounds how long the first of them waits for its answer.
const GROUP: usize = 64;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => Self::Disk(error.to_string()),
            Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
                Self::Refused(error.to_string())
            }
            _ => Self::Statement(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Statement(format!("stored JSON: {error}"))
    }
}

/// Work and where its answer goes, with their types erased.
trait Job: Send {
    /// Does the work; false when it failed and what it wrote has to be undone.
    fn run(&mut self, conn: &Connection) -> bool;
    /// Answers; `failed` says why the transaction around it did not commit.
    fn finish(self: Box<Self>, failed: Option<&StoreError>);
    /// What the disk said, where the work failed because of it.
    fn disk_error(&self) -> Option<&str>;
    /// True when nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
}

struct Call<T, F> {
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, conn: &Connection) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        // The savepoint undoes what a panicking job wrote, so nothing half-done is seen afterwards.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(conn)))
            .unwrap_or_else(|panic| Err(StoreError::Statement(format!("panic: {}", panic_text(&*panic)))));
        let worked = outcome.is_ok();
        self.outcome = Some(outcome);
        worked
    }

    fn finish(self: Box<Self>, failed: Option<&StoreError>) {
        let answer = match (self.outcome, failed) {
            (Some(Err(own)), _) => Err(own),
            (_, Some(StoreError::Disk(cause))) => Err(StoreError::Disk(cause.clone())),
            (_, Some(cause)) => Err(StoreError::Statement(cause.to_string())),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(StoreError::Closed),
        };
        // Whoever asked may have gone; a write that is done stays done.
        let _ = self.reply.send(answer);
    }

    fn disk_error(&self) -> Option<&str> {
        match &self.outcome {
            Some(Err(StoreError::Disk(cause))) => Some(cause),
            _ => None,
        }
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

enum Command {
    Write(Box<dyn Job>),
    Read(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// Handle of one thread; the thread ends with the last handle.
#[derive(Clone)]
pub(super) struct Worker {
    queue: mpsc::Sender<Command>,
    commits: Arc<AtomicU64>,
    health: watch::Sender<StoreHealth>,
}

impl Worker {
    /// Starts a thread called `name` that owns `conn`.
    pub fn start(name: &str, conn: Connection) -> io::Result<Self> {
        let (queue, commands) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let health = watch::Sender::new(StoreHealth::Working);
        let (counter, telling) = (Arc::clone(&commits), health.clone());
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(conn, commands, &counter, &telling))?;
        Ok(Self { queue, commits, health })
    }

    /// Runs `work` in a transaction and answers once that is committed. A caller that stops waiting
    /// does not stop the work.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.call(work, Command::Write).await
    }

    /// Runs `work` outside of any transaction.
    pub async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.call(work, Command::Read).await
    }

    async fn call<T, F>(&self, work: F, wrap: fn(Box<dyn Job>) -> Command) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call { work: Some(work), outcome: None, reply };
        self.queue.send(wrap(Box::new(call))).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Ends the thread when all that was asked before is done.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.queue.send(Command::Close(reply)).await.is_ok() {
            // An error means that another close came first.
            let _ = done.await;
        }
    }

    /// Failing since a write met a disk that is full or broken, working again since the next commit.
    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        self.health.subscribe()
    }

    /// Calls that wait for their turn.
    pub fn waiting(&self) -> u64 {
        (self.queue.max_capacity() - self.queue.capacity()) as u64
    }

    /// Transactions committed so far.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

fn serve(
    mut conn: Connection,
    mut commands: mpsc::Receiver<Command>,
    commits: &AtomicU64,
    health: &watch::Sender<StoreHealth>,
) {
    while let Some(first) = commands.blocking_recv() {
        let mut writes = Vec::new();
        let mut reads = Vec::new();
        let mut close = None;
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Write(job) => writes.push(job),
                Command::Read(job) => reads.push(job),
                Command::Close(reply) => close = Some(reply),
            }
            let full = writes.len() >= GROUP || close.is_some();
            next = if full { None } else { commands.try_recv().ok() };
        }
        run_writes(&mut conn, writes, commits, health);
        for mut job in reads.into_iter().filter(|job| !job.is_abandoned()) {
            job.run(&conn);
            job.finish(None);
        }
        if let Some(reply) = close {
            finish(conn);
            // Closed first and emptied until every sender with a place in the queue has used it:
            // a command that came after a mere drop would lie there, and its sender wait for ever.
            commands.close();
            while commands.blocking_recv().is_some() {}
            let _ = reply.send(());
            return;
        }
    }
    finish(conn);
}

/// Writes the log back into the file and closes it.
fn finish(conn: Connection) {
    let is_reader = conn.pragma_query_value(None, "query_only", |row| row.get::<_, bool>(0)).unwrap_or(false);
    if !is_reader {
        // A reader of another process may be in the way; then the log stays and is read back later.
        let busy = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        if !matches!(busy, Ok(false)) {
            tracing::warn!(result = ?busy, "store log not written back, it is kept beside the file");
        }
    }
    if let Err((_, error)) = conn.close() {
        tracing::warn!(%error, "store not closed cleanly");
    }
}

fn run_writes(
    conn: &mut Connection,
    jobs: Vec<Box<dyn Job>>,
    commits: &AtomicU64,
    health: &watch::Sender<StoreHealth>,
) {
    let mut waiting = jobs.into_iter();
    // More than one round only when the database itself gives up a transaction half-way.
    while waiting.len() > 0 {
        let mut ran = Vec::with_capacity(waiting.len());
        let failed = transact(conn, &mut waiting, &mut ran).err();
        if failed.is_none() {
            commits.fetch_add(1, Ordering::Relaxed);
        }
        let of_all = match &failed {
            Some(StoreError::Disk(cause)) => Some(cause.as_str()),
            _ => None,
        };
        match of_all.or_else(|| ran.iter().find_map(|job| job.disk_error())) {
            Some(cause) => {
                let failing = StoreHealth::Failing(cause.to_owned());
                health.send_if_modified(|health| {
                    let fails = *health == StoreHealth::Working;
                    if fails {
                        *health = failing;
                    }
                    fails
                });
            }
            None if failed.is_none() => {
                health.send_if_modified(|health| {
                    let failed = *health != StoreHealth::Working;
                    *health = StoreHealth::Working;
                    failed
                });
            }
            None => {}
        }
        for job in ran {
            job.finish(failed.as_ref());
        }
    }
}

/// Runs waiting jobs in one transaction and moves them into `ran`; on an error all of `ran` is undone.
fn transact(
    conn: &mut Connection,
    waiting: &mut impl Iterator<Item = Box<dyn Job>>,
    ran: &mut Vec<Box<dyn Job>>,
) -> Result<(), StoreError> {
    let mut transaction = match conn.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            ran.extend(waiting);
            return Err(error.into());
        }
    };
    for job in waiting {
        ran.push(job);
        let Some(job) = ran.last_mut() else { continue };
        let savepoint = transaction.savepoint()?;
        let ended = if job.run(&savepoint) { savepoint.commit() } else { savepoint.finish() };
        // Some failures (disk full, I/O error) make SQLite roll back everything, not just the savepoint.
        if transaction.is_autocommit() {
            let cause = ran.last().and_then(|job| job.disk_error()).map(str::to_owned);
            let given_up = || StoreError::Statement("transaction given up by the database".to_owned());
            return Err(cause.map_or_else(given_up, StoreError::Disk));
        }
        ended?;
    }
    Ok(transaction.commit()?)
}
