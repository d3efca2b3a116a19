//! A connection to a daemon, which never answers.
//!
//! Nobody says that a line has arrived: what the daemon's machine has not confirmed when a connection ends is
//! lost with it. So lines that were written shortly before the end are kept and written again to the next
//! connection, at once or before what comes next. The system is told to end a connection on which nothing is
//! confirmed for a while, so that what is older has arrived at least at that machine.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::socket::{setsockopt, sockopt};
use shared::clock::Stopwatch;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, oneshot};

use super::transport::{TIMEOUT, no_progress};
use crate::endpoint::DeliveryError;
use crate::target::Targets;
use crate::tls::Connector;

/// After how long without a confirmation the system ends a connection, in milliseconds.
const UNCONFIRMED_MS: u32 = 30_000;

/// What was written longer than this before a connection ends has arrived.
const RECENT: Duration = Duration::from_secs(60);

/// Lines that are kept, and their bytes, at most: the oldest go first.
const MOST_LINES: usize = 1000;
const MOST_BYTES: usize = 1 << 20;

/// How often a line is written again at most, to a daemon that ends every connection.
const TIMES: u32 = 3;

/// How long after the end of a connection the next one is opened for what is kept.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });

/// A stream, private or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where a daemon is.
pub struct Far {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Where it may be.
    pub targets: Targets,
    /// Makes the connection private.
    pub tls: Option<Connector>,
}

/// A connection that is kept open, and opened again when it ends.
pub struct Connection(Arc<Mutex<State>>);

struct State {
    far: Far,
    recent: Duration,
    open: Option<Open>,
    kept: VecDeque<Kept>,
    /// Connections opened so far.
    opened: u64,
}

struct Open {
    writer: WriteHalf<Box<dyn Stream>>,
    number: u64,
    /// Whoever watches the other half ends when this is dropped.
    _watched: oneshot::Sender<()>,
}

/// A line that was written.
struct Kept {
    bytes: Vec<u8>,
    since: Stopwatch,
    times: u32,
    /// The connection that it was written to has ended.
    owed: bool,
}

impl Connection {
    /// To this daemon; opened when something is to be sent.
    pub fn new(far: Far) -> Self {
        Self::keeping(far, RECENT)
    }

    pub(super) fn keeping(far: Far, recent: Duration) -> Self {
        Self(Arc::new(Mutex::new(State { far, recent, open: None, kept: VecDeque::new(), opened: 0 })))
    }

    /// Writes lines, all or an error, after what is owed from a connection that has ended.
    ///
    /// # Errors
    /// [`DeliveryError`]: what is not allowed is permanent.
    pub async fn send(&self, lines: Vec<Vec<u8>>) -> Result<(), DeliveryError> {
        let mut state = self.0.lock().await;
        state.open(&self.0).await?;
        state.write(lines.concat()).await?;
        state.keep(lines);
        Ok(())
    }

    /// True while there is a connection.
    #[cfg(test)]
    pub async fn is_open(&self) -> bool {
        self.0.lock().await.open.is_some()
    }
}

impl State {
    /// Opens a connection when there is none, and writes what is owed.
    async fn open(&mut self, own: &Arc<Mutex<Self>>) -> Result<(), DeliveryError> {
        if self.open.is_some() {
            return Ok(());
        }
        // Also after a send that was broken off.
        self.ended();
        let stream = tokio::time::timeout(TIMEOUT, connect(&self.far)).await.map_err(no_progress)??;
        let (reader, writer) = tokio::io::split(stream);
        let (watched, gone) = oneshot::channel();
        self.opened += 1;
        self.open = Some(Open { writer, number: self.opened, _watched: watched });
        tokio::spawn(watch(Arc::downgrade(own), self.opened, reader, gone));
        let owed = self.kept.iter().filter(|kept| kept.owed).flat_map(|kept| kept.bytes.iter().copied());
        let owed: Vec<u8> = owed.collect();
        if !owed.is_empty() {
            self.write(owed).await?;
            for kept in self.kept.iter_mut().filter(|kept| kept.owed) {
                (kept.owed, kept.since, kept.times) = (false, Stopwatch::start(), kept.times + 1);
            }
        }
        Ok(())
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), DeliveryError> {
        // Taken out, so that a write that is broken off leaves no half-written line behind.
        let Some(mut open) = self.open.take() else {
            return Err(DeliveryError::retry("the connection has ended"));
        };
        let write = async {
            open.writer.write_all(&bytes).await?;
            open.writer.flush().await
        };
        tokio::time::timeout(TIMEOUT, write).await.map_err(no_progress)?.map_err(DeliveryError::retry)?;
        self.open = Some(open);
        Ok(())
    }

    fn keep(&mut self, lines: Vec<Vec<u8>>) {
        let kept = |bytes| Kept { bytes, since: Stopwatch::start(), times: 0, owed: false };
        self.kept.extend(lines.into_iter().map(kept));
        let mut bytes: usize = self.kept.iter().map(|kept| kept.bytes.len()).sum();
        while let Some(oldest) = self.kept.front()
            && (self.kept.len() > MOST_LINES || bytes > MOST_BYTES || oldest.since.elapsed() > self.recent)
        {
            bytes -= oldest.bytes.len();
            self.kept.pop_front();
        }
    }

    /// What was written shortly before now is owed.
    fn ended(&mut self) {
        self.open = None;
        let recent = self.recent;
        self.kept.retain(|kept| kept.owed || (kept.times < TIMES && kept.since.elapsed() < recent));
        self.kept.iter_mut().for_each(|kept| kept.owed = true);
    }
}

/// Waits for the end of a connection, and writes what is owed then to another. Where that fails, it is
/// written before what comes next.
fn watch(
    state: Weak<Mutex<State>>,
    number: u64,
    mut reader: ReadHalf<Box<dyn Stream>>,
    gone: oneshot::Receiver<()>,
) -> BoxFuture<'static, ()> {
    async move {
        // A daemon sends nothing; should it, that is thrown away.
        let mut scrap = [0; 256];
        let end = async { while let Ok(1..) = reader.read(&mut scrap).await {} };
        tokio::select! {
            () = end => {}
            _ = gone => return,
        }
        let Some(state) = state.upgrade() else { return };
        {
            let mut state = state.lock().await;
            if state.open.as_ref().is_none_or(|open| open.number != number) {
                return;
            }
            state.ended();
            if state.kept.is_empty() {
                return;
            }
            tracing::debug!(lines = state.kept.len(), "a syslog connection has ended, the last lines are sent again");
        }
        tokio::time::sleep(PAUSE).await;
        if let Err(error) = state.lock().await.open(&state).await {
            tracing::debug!(%error, "the last lines of a syslog connection are sent again with what comes next");
        }
    }
    .boxed()
}

async fn connect(far: &Far) -> Result<Box<dyn Stream>, DeliveryError> {
    let found = far.targets.resolve(&far.host, far.port).await?;
    let stream = TcpStream::connect(found.as_slice()).await.map_err(DeliveryError::retry)?;
    if let Err(error) = setsockopt(&stream, sockopt::TcpUserTimeout, &UNCONFIRMED_MS) {
        tracing::debug!(%error, "a connection that is not confirmed lasts as long as the system says");
    }
    Ok(match &far.tls {
        Some(tls) => Box::new(tls.connect(&far.host, stream).await.map_err(DeliveryError::retry)?),
        None => Box::new(stream),
    })
}
