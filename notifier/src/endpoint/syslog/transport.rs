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

use crate::endpoint::DeliveryError;
use crate::target::Targets;
use crate::tls::Connector;

/// How long connecting, and writing a batch, may take each.
const TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 5 });

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
        /// Where it may go.
        targets: Targets,
    },
    /// A connection that is kept open.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Where it may go.
        targets: Targets,
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
        Self::Udp { host, port, targets: Targets::any() }
    }

    /// By a connection.
    pub fn tcp(host: String, port: u16, framing: Framing) -> Self {
        Self::Tcp {
            host,
            port,
            targets: Targets::any(),
            framing,
            tls: None,
            stream: tokio::sync::Mutex::default(),
        }
    }

    /// By a private connection.
    pub fn tls(host: String, port: u16, framing: Framing, tls: Connector) -> Self {
        Self::Tcp {
            host,
            port,
            targets: Targets::any(),
            framing,
            tls: Some(tls),
            stream: tokio::sync::Mutex::default(),
        }
    }

    /// The same, to these targets alone.
    pub fn within(mut self, allowed: &Targets) -> Self {
        match &mut self {
            Self::Local { .. } => {}
            Self::Udp { targets, .. } | Self::Tcp { targets, .. } => targets.clone_from(allowed),
        }
        self
    }

    /// The target, for people.
    pub fn target(&self) -> String {
        match self {
            Self::Local { path: None, .. } => "the local syslog daemon".to_owned(),
            Self::Local { path: Some(path), .. } => format!("local syslog socket {}", path.display()),
            Self::Udp { host, port, .. } => format!("udp {host}:{port}"),
            Self::Tcp { host, port, tls: None, .. } => format!("tcp {host}:{port}"),
            Self::Tcp { host, port, tls: Some(_), .. } => format!("tls {host}:{port}"),
        }
    }

    /// Sends lines, all or an error.
    ///
    /// # Errors
    /// [`DeliveryError`] names the target and the cause; only a target that is not allowed is permanent.
    pub async fn send(&self, lines: Vec<String>) -> Result<(), DeliveryError> {
        if lines.is_empty() {
            return Ok(());
        }
        let sent = match self {
            Self::Local { path, logger } => {
                send_local(path.clone(), Arc::clone(logger), lines).await.map_err(DeliveryError::retry)
            }
            Self::Udp { host, port, targets } => {
                let send = async {
                    let found = targets.resolve(host, *port).await?;
                    send_udp(&found, &lines).await.map_err(DeliveryError::retry)
                };
                tokio::time::timeout(TIMEOUT, send).await.unwrap_or_else(|late| Err(no_progress(late)))
            }
            Self::Tcp { host, port, targets, framing, tls, stream } => {
                let mut stream = stream.lock().await;
                // Taken out, so that a send that is broken off leaves no half-written line behind.
                let open = match stream.take() {
                    Some(mut open) => (!is_closed(&mut open).await).then_some(open),
                    None => None,
                };
                let far = (host.as_str(), *port, targets);
                let sent = send_stream(open, far, tls.as_ref(), framing.join(&lines)).await;
                sent.map(|open| *stream = Some(open))
            }
        };
        let told = |cause: String| format!("cannot send to {}: {cause}", self.target());
        sent.map_err(|error| match error {
            DeliveryError::Permanent { reason } => DeliveryError::Permanent { reason: told(reason) },
            error => DeliveryError::retry(told(error.to_string())),
        })
    }
}

fn no_progress(_: tokio::time::error::Elapsed) -> DeliveryError {
    DeliveryError::retry(format!("no progress within {TIMEOUT:?}"))
}

async fn send_udp(found: &[SocketAddr], lines: &[String]) -> std::io::Result<()> {
    let target = *found.first().ok_or_else(|| std::io::Error::other("the name has no address"))?;
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

async fn connect(
    (host, port, targets): (&str, u16, &Targets),
    tls: Option<&Connector>,
) -> Result<Box<dyn Stream>, DeliveryError> {
    let found = targets.resolve(host, port).await?;
    let stream = TcpStream::connect(found.as_slice()).await.map_err(DeliveryError::retry)?;
    Ok(match tls {
        Some(tls) => Box::new(tls.connect(host, stream).await.map_err(DeliveryError::retry)?),
        None => Box::new(stream),
    })
}

/// Writes to the open connection, or to a new one, and gives it back.
async fn send_stream(
    open: Option<Box<dyn Stream>>,
    far: (&str, u16, &Targets),
    tls: Option<&Connector>,
    bytes: Vec<u8>,
) -> Result<Box<dyn Stream>, DeliveryError> {
    let mut stream = match open {
        Some(open) => open,
        None => tokio::time::timeout(TIMEOUT, connect(far, tls)).await.map_err(no_progress)??,
    };
    let write = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    tokio::time::timeout(TIMEOUT, write).await.map_err(no_progress)?.map_err(DeliveryError::retry)?;
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
        Err(late) => Err(no_progress(late).to_string()),
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
