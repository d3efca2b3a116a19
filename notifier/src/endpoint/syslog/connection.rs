//! A connection to a daemon, which never answers.
//!
//! Nobody says that a line has arrived: what the daemon's machine has not confirmed when a connection ends is
//! lost with it. So lines that were written shortly before the end are kept and written again to the next
//! connection, soon or before what comes next. A daemon that says goodbye, as one does to a connection that
//! is idle, has read what came before; only what may have crossed with its goodbye is written again. Where a
//! connection breaks, that is all which may not have been confirmed: the system is told to end a connection
//! on which nothing is confirmed for a while, so that what is older has arrived at least at that machine.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::socket::{setsockopt, sockopt};
use shared::backoff::Backoff;
use shared::clock::Stopwatch;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, oneshot};

use super::transport::{TIMEOUT, no_progress};
use crate::endpoint::DeliveryError;
use crate::metrics;
use crate::target::Targets;
use crate::tls::Connector;

/// After how long without a confirmation the system ends a connection, in milliseconds.
const UNCONFIRMED_MS: u32 = 30_000;

/// What was written longer before a connection ends has arrived.
#[derive(Clone, Copy)]
pub(super) struct Recent {
    /// Where the daemon ends it.
    pub closed: Duration,
    /// Where it breaks.
    pub broken: Duration,
}

const RECENT: Recent = Recent { closed: Duration::from_secs(1), broken: Duration::from_secs(60) };

/// Lines that are kept, and their bytes, at most: the oldest go first.
pub(super) const MOST_LINES: usize = 1000;
pub(super) const MOST_BYTES: usize = 1 << 20;

/// How often a line is written again at most, to a daemon that ends every connection.
pub(super) const TIMES: u32 = 3;

/// How long after the end of a connection the next one is opened for what is owed, and after each that could
/// not be opened.
const PAUSES: Backoff = Backoff {
    base: Duration::from_millis(if cfg!(test) { 20 } else { 1000 }),
    cap: Duration::from_secs(if cfg!(test) { 1 } else { 60 }),
};

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
    recent: Recent,
    open: Option<Open>,
    kept: VecDeque<Kept>,
    /// Connections opened so far.
    opened: u64,
    /// Connections that could not be opened for what is owed.
    unopened: u64,
    /// Lines that may not have arrived and are written no more.
    given_up: usize,
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

    pub(super) fn keeping(far: Far, recent: Recent) -> Self {
        let (open, kept) = (None, VecDeque::new());
        Self(Arc::new(Mutex::new(State { far, recent, open, kept, opened: 0, unopened: 0, given_up: 0 })))
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

    /// Connections that could not be opened for what is owed, and lines given up.
    #[cfg(test)]
    pub async fn failures(&self) -> (u64, usize) {
        let state = self.0.lock().await;
        (state.unopened, state.given_up)
    }
}

impl State {
    /// Opens a connection when there is none, and writes what is owed.
    async fn open(&mut self, own: &Arc<Mutex<Self>>) -> Result<(), DeliveryError> {
        if self.open.is_some() {
            return Ok(());
        }
        // Also after a send that was broken off.
        self.ended(self.recent.broken);
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
            && (self.kept.len() > MOST_LINES
                || bytes > MOST_BYTES
                || oldest.since.elapsed() > self.recent.broken)
        {
            bytes -= oldest.bytes.len();
            self.kept.pop_front();
        }
    }

    /// What was written more recently than so is owed, unless that was said too often already.
    fn ended(&mut self, recent: Duration) {
        self.open = None;
        self.kept.retain(|kept| kept.owed || kept.since.elapsed() < recent);
        let before = self.kept.len();
        self.kept.retain(|kept| kept.owed || kept.times < TIMES);
        self.give_up(before - self.kept.len(), "every connection to it ends");
        self.kept.iter_mut().for_each(|kept| kept.owed = true);
    }

    fn give_up(&mut self, lines: usize, why: &str) {
        if lines > 0 {
            self.given_up += lines;
            metrics::syslog_given_up(lines);
            let host = &self.far.host;
            tracing::warn!(host, lines, why, "the last lines to a syslog daemon may not have arrived");
        }
    }

    /// Whether another connection is to be opened for what is owed.
    fn owes(&self) -> bool {
        self.open.is_none() && self.kept.iter().any(|kept| kept.owed)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let owed = self.kept.iter().filter(|kept| kept.owed).count();
        self.give_up(owed, "nothing more is sent there");
    }
}

/// Waits for the end of a connection, and writes what is owed then to another, tried ever more seldom. What
/// comes meanwhile opens one as well, and takes what is owed along.
fn watch(
    state: Weak<Mutex<State>>,
    number: u64,
    mut reader: ReadHalf<Box<dyn Stream>>,
    gone: oneshot::Receiver<()>,
) -> BoxFuture<'static, ()> {
    async move {
        // A daemon sends nothing; should it, that is thrown away.
        let mut scrap = [0; 256];
        let end = async {
            loop {
                match reader.read(&mut scrap).await {
                    Ok(0) => return true,
                    Ok(_) => {}
                    // Of TLS, an end without a goodbye of its own; the connection below it had one.
                    Err(error) => return error.kind() == std::io::ErrorKind::UnexpectedEof,
                }
            }
        };
        let closed = tokio::select! {
            closed = end => closed,
            _ = gone => return,
        };
        {
            let Some(state) = state.upgrade() else { return };
            let mut state = state.lock().await;
            if state.open.as_ref().is_none_or(|open| open.number != number) {
                return;
            }
            let recent = if closed { state.recent.closed } else { state.recent.broken };
            state.ended(recent);
            if !state.owes() {
                return;
            }
            tracing::debug!(
                lines = state.kept.len(),
                "a syslog connection has ended, the last lines are sent again"
            );
        }
        for tried in 1.. {
            tokio::time::sleep(PAUSES.bound(tried)).await;
            // Not held while nothing is done: whoever gives the endpoint up ends this as well.
            let Some(own) = state.upgrade() else { return };
            let mut state = own.lock().await;
            if !state.owes() {
                return;
            }
            let Err(error) = state.open(&own).await else { return };
            state.unopened += 1;
            tracing::debug!(%error, tried, "the last lines of a syslog connection cannot be sent again yet");
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
