//! How lines get to a syslog daemon.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::UdpSocket;

use super::connection::{Connection, Far};
use crate::endpoint::DeliveryError;
use crate::target::Targets;

/// How long connecting, and writing a batch, may take each.
pub(super) const TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 5 });

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
    fn frame(self, line: &str) -> Vec<u8> {
        match self {
            Self::Newline => format!("{line}\n"),
            Self::OctetCounted => format!("{} {line}", line.len()),
        }
        .into_bytes()
    }
}

/// A connection of the `syslog` crate to this machine's daemon, datagram or stream.
type LocalLogger = syslog::Logger<syslog::LoggerBackend, ()>;

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
        /// The connection.
        connection: Connection,
        /// How lines are parted.
        framing: Framing,
        /// The target, for people.
        target: String,
    },
}

impl Transport {
    /// To this machine's daemon.
    pub fn local(path: Option<PathBuf>) -> Self {
        Self::Local { path, logger: Arc::default() }
    }

    /// By datagrams.
    pub fn udp(host: String, port: u16, targets: &Targets) -> Self {
        Self::Udp { host, port, targets: targets.clone() }
    }

    /// By a connection.
    pub fn tcp(far: Far, framing: Framing) -> Self {
        let protocol = if far.tls.is_some() { "tls" } else { "tcp" };
        let target = format!("{protocol} {}:{}", far.host, far.port);
        Self::Tcp { connection: Connection::new(far), framing, target }
    }

    /// The target, for people.
    pub fn target(&self) -> String {
        match self {
            Self::Local { path: None, .. } => "the local syslog daemon".to_owned(),
            Self::Local { path: Some(path), .. } => format!("local syslog socket {}", path.display()),
            Self::Udp { host, port, .. } => format!("udp {host}:{port}"),
            Self::Tcp { target, .. } => target.clone(),
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
            Self::Tcp { connection, framing, .. } => {
                connection.send(lines.iter().map(|line| framing.frame(line)).collect()).await
            }
        };
        let told = |cause: String| format!("cannot send to {}: {cause}", self.target());
        sent.map_err(|error| match error {
            DeliveryError::Permanent { reason } => DeliveryError::Permanent { reason: told(reason) },
            error => DeliveryError::retry(told(error.to_string())),
        })
    }
}

pub(super) fn no_progress(_: tokio::time::error::Elapsed) -> DeliveryError {
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
