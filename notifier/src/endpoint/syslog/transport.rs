//! How lines get to a syslog daemon.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::tls::Connector;

/// How long connecting, and writing a batch, may take each.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How lines are parted on a stream (RFC 6587 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Each line ends with a line feed.
    Newline,
    /// Each line is preceded by its length.
    OctetCounted,
}

impl Framing {
    fn join(self, lines: &[String]) -> Vec<u8> {
        let frame = |line: &String| match self {
            Self::Newline => format!("{line}\n"),
            Self::OctetCounted => format!("{} {line}", line.len()),
        };
        lines.iter().map(frame).collect::<String>().into_bytes()
    }
}

/// A connection of the `syslog` crate to this machine's daemon, datagram or stream.
type LocalLogger = syslog::Logger<syslog::LoggerBackend, ()>;

/// A connection, private or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A way to a daemon.
pub enum Transport {
    /// A socket of this machine.
    Local {
        /// Where; the usual places when `None`.
        path: Option<PathBuf>,
        /// The open socket.
        logger: Arc<Mutex<Option<LocalLogger>>>,
    },
    /// Datagrams.
    Udp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A connection that is kept open.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// How lines are parted.
        framing: Framing,
        /// Makes it private.
        tls: Option<Connector>,
        /// The open connection.
        stream: tokio::sync::Mutex<Option<Box<dyn Stream>>>,
    },
}

impl Transport {
    /// To this machine's daemon.
    pub fn local(path: Option<PathBuf>) -> Self {
        Self::Local { path, logger: Arc::default() }
    }

    /// By datagrams.
    pub fn udp(host: String, port: u16) -> Self {
        Self::Udp { host, port }
    }

    /// By a connection.
    pub fn tcp(host: String, port: u16, framing: Framing) -> Self {
        Self::Tcp { host, port, framing, tls: None, stream: tokio::sync::Mutex::default() }
    }

    /// By a private connection.
    pub fn tls(host: String, port: u16, framing: Framing, tls: Connector) -> Self {
        Self::Tcp { host, port, framing, tls: Some(tls), stream: tokio::sync::Mutex::default() }
    }

    /// The target, for people.
    pub fn target(&self) -> String {
        match self {
            Self::Local { path: None, .. } => "the local syslog daemon".to_owned(),
            Self::Local { path: Some(path), .. } => format!("local syslog socket {}", path.display()),
            Self::Udp { host, port } => format!("udp {host}:{port}"),
            Self::Tcp { host, port, tls: None, .. } => format!("tcp {host}:{port}"),
            Self::Tcp { host, port, tls: Some(_), .. } => format!("tls {host}:{port}"),
        }
    }

    /// Sends lines, all or an error.
    ///
    /// # Errors
    /// Names the target and the cause.
    pub async fn send(&self, lines: Vec<String>) -> Result<(), String> {
        if lines.is_empty() {
            return Ok(());
        }
        let sent = match self {
            Self::Local { path, logger } => send_local(path.clone(), Arc::clone(logger), lines).await,
            Self::Udp { host, port } => {
                match tokio::time::timeout(TIMEOUT, send_udp(host, *port, &lines)).await {
                    Ok(sent) => sent.map_err(|e| e.to_string()),
                    Err(late) => Err(no_progress(late)),
                }
            }
            Self::Tcp { host, port, framing, tls, stream } => {
                let mut stream = stream.lock().await;
                // Taken out, so that a send that is broken off leaves no half-written line behind.
                let open = match stream.take() {
                    Some(mut open) => (!is_closed(&mut open).await).then_some(open),
                    None => None,
                };
                let sent = send_stream(open, host, *port, tls.as_ref(), framing.join(&lines)).await;
                sent.map(|open| *stream = Some(open))
            }
        };
        sent.map_err(|cause| format!("cannot send to {}: {cause}", self.target()))
    }
}

fn no_progress(_: tokio::time::error::Elapsed) -> String {
    format!("no progress within {TIMEOUT:?}")
}

async fn send_udp(host: &str, port: u16, lines: &[String]) -> std::io::Result<()> {
    let target = first_address(host, port).await?;
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // Not connected: whether an ICMP error comes back in time is chance, and chance decides nothing.
    let socket = UdpSocket::bind(any).await?;
    for line in lines {
        socket.send_to(line.as_bytes(), target).await?;
    }
    Ok(())
}

async fn first_address(host: &str, port: u16) -> std::io::Result<SocketAddr> {
    let mut found = tokio::net::lookup_host((host, port)).await?;
    found.next().ok_or_else(|| std::io::Error::other("the name has no address"))
}

async fn connect(host: &str, port: u16, tls: Option<&Connector>) -> Result<Box<dyn Stream>, String> {
    let stream = TcpStream::connect((host, port)).await.map_err(|e| e.to_string())?;
    Ok(match tls {
        Some(tls) => Box::new(tls.connect(host, stream).await?),
        None => Box::new(stream),
    })
}

/// Writes to the open connection, or to a new one, and gives it back.
async fn send_stream(
    open: Option<Box<dyn Stream>>,
    host: &str,
    port: u16,
    tls: Option<&Connector>,
    bytes: Vec<u8>,
) -> Result<Box<dyn Stream>, String> {
    let mut stream = match open {
        Some(open) => open,
        None => tokio::time::timeout(TIMEOUT, connect(host, port, tls)).await.map_err(no_progress)??,
    };
    let write = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    tokio::time::timeout(TIMEOUT, write).await.map_err(no_progress)?.map_err(|e| e.to_string())?;
    Ok(stream)
}

/// True when the peer has closed or the connection is broken; it still takes one write then, and
/// loses it. A daemon sends nothing; should it, that is thrown away.
pub async fn is_closed(stream: &mut Box<dyn Stream>) -> bool {
    let mut scrap = [0; 256];
    loop {
        match futures::poll!(std::pin::pin!(stream.read(&mut scrap))) {
            std::task::Poll::Pending => return false,
            std::task::Poll::Ready(Ok(0) | Err(_)) => return true,
            std::task::Poll::Ready(Ok(_)) => {}
        }
    }
}

/// Writes to a local socket, whose writes block, on a thread that may. A write that hangs holds the
/// lock, so that no second thread ever hangs beside it.
async fn send_local(
    path: Option<PathBuf>,
    logger: Arc<Mutex<Option<LocalLogger>>>,
    lines: Vec<String>,
) -> Result<(), String> {
    let write = tokio::task::spawn_blocking(move || {
        let mut logger = match logger.try_lock() {
            Ok(logger) => logger,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err("an earlier write still hangs".to_owned()),
        };
        let written = write_local(path.as_deref(), &mut logger, &lines);
        if written.is_err() {
            *logger = None;
        }
        written
    });
    match tokio::time::timeout(TIMEOUT, write).await {
        Ok(written) => written.map_err(|e| e.to_string())?,
        Err(late) => Err(no_progress(late)),
    }
}

fn write_local(
    path: Option<&std::path::Path>,
    logger: &mut Option<LocalLogger>,
    lines: &[String],
) -> Result<(), String> {
    let open = match logger {
        Some(open) => open,
        None => {
            let opened = match path {
                Some(path) => syslog::unix_custom((), path),
                None => syslog::unix(()),
            };
            logger.insert(opened.map_err(|e| e.to_string())?)
        }
    };
    for line in lines {
        // One write is one message: the crate frames it as the socket's type wants.
        let written = open.backend.write(line.as_bytes()).map_err(|e| e.to_string())?;
        if written < line.len() {
            return Err("the daemon took only a part of a line".to_owned());
        }
    }
    Ok(())
}
