//! Receives log lines: one a datagram (RFC 5426), and over TCP one after the other, each either after
//! its length or before a line feed (RFC 6587 §3.4).

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::Line;
use super::parse::MAX_LINE;
use crate::metrics;

/// Connections at once at most; others wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// A connection that says nothing for so long is closed.
const SILENCE: Duration = Duration::from_secs(3600);

/// How long to wait after an error that may pass.
const RETRY: Duration = Duration::from_millis(200);

/// Both sockets, of the same port.
pub struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
    /// Where they listen.
    pub address: SocketAddr,
}

impl Sockets {
    /// Begins to listen.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let tcp = TcpListener::bind(address)?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address)?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        Ok(Self { udp, tcp, address })
    }

    /// The same sockets once more: nothing is lost while who listens is started again.
    ///
    /// # Errors
    /// What the system says.
    pub fn again(&self) -> std::io::Result<Self> {
        Ok(Self { udp: self.udp.try_clone()?, tcp: self.tcp.try_clone()?, address: self.address })
    }

    /// The sockets in this runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&self) -> std::io::Result<(tokio::net::UdpSocket, tokio::net::TcpListener)> {
        let Self { udp, tcp, .. } = self.again()?;
        Ok((tokio::net::UdpSocket::from_std(udp)?, tokio::net::TcpListener::from_std(tcp)?))
    }
}

/// Receives datagrams until nobody wants lines any more. Those that find no place are lost and counted.
pub async fn udp(socket: tokio::net::UdpSocket, lines: Sender<Line>) {
    // One byte more shows that a line is too long.
    let mut buffer = vec![0; MAX_LINE + 1];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, from)) => {
                let line = Line { source: from.ip().to_canonical(), bytes: buffer[..len].to_vec() };
                match lines.try_send(line) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => metrics::log_lines("lost", 1),
                    Err(TrySendError::Closed(_)) => return,
                }
            }
            Err(error) => {
                tracing::warn!(%error, "log lines cannot be received");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Accepts connections until nobody wants lines any more.
pub async fn tcp(listener: tokio::net::TcpListener, lines: Sender<Line>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while !lines.is_closed() {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let lines = lines.clone();
                tokio::spawn(async move {
                    connection(stream, from.ip().to_canonical(), &lines).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for log lines cannot be accepted");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Takes the lines of one connection; a sender that is too fast waits.
async fn connection(stream: TcpStream, source: IpAddr, lines: &Sender<Line>) {
    let mut stream = BufReader::new(stream);
    loop {
        match tokio::time::timeout(SILENCE, next(&mut stream)).await {
            Ok(Ok(Some(bytes))) => {
                if lines.send(Line { source, bytes }).await.is_err() {
                    return;
                }
            }
            // The end, an error, or silence.
            _ => return,
        }
    }
}

/// The next line; one that is too long comes as far as it is read, and the rest is passed over.
async fn next(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match stream.fill_buf().await?.first() {
        None => return Ok(None),
        // A length, which begins with no zero, and a blank; a line begins with `<`.
        Some(b'1'..=b'9') => {
            let mut length = Vec::new();
            (&mut *stream).take(8).read_until(b' ', &mut length).await?;
            let length = length.strip_suffix(b" ").and_then(|length| std::str::from_utf8(length).ok());
            let wrong = || std::io::Error::new(std::io::ErrorKind::InvalidData, "no length of a log line");
            let length: u64 = length.and_then(|length| length.parse().ok()).ok_or_else(wrong)?;
            let kept = length.min(MAX_LINE as u64 + 1);
            (&mut *stream).take(kept).read_to_end(&mut bytes).await?;
            tokio::io::copy(&mut (&mut *stream).take(length - kept), &mut tokio::io::sink()).await?;
        }
        Some(_) => {
            (&mut *stream).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes).await?;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            } else if bytes.len() > MAX_LINE {
                pass_over(stream).await?;
            }
        }
    }
    Ok(Some(bytes))
}

/// Reads up to the next line feed, and keeps nothing of it.
async fn pass_over(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<()> {
    loop {
        let buffer = stream.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(());
        }
        let (len, end) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        stream.consume(len);
        if end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut stream: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(Some(line)) = next(&mut stream).await {
            lines.push(String::from_utf8(line).unwrap());
        }
        lines
    }

    #[tokio::test]
    async fn lines_come_after_their_length_or_before_a_line_feed() {
        assert_eq!(all(b"<1>a\n<2>b\n\n<3>c").await, ["<1>a", "<2>b", "", "<3>c"]);
        assert_eq!(all(b"4 <1>a7 <2>\nb c4 <3>d").await, ["<1>a", "<2>\nb c", "<3>d"]);
        assert_eq!(all(b"4 <1>a12345678901 x").await, ["<1>a"], "no length: the connection ends");
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_costs_no_more_than_itself() {
        let long = "x".repeat(3 * MAX_LINE);
        for text in [format!("<1>{long}\n<2>b\n"), format!("{} <1>{long}4 <2>b", long.len() + 3)] {
            let lines = all(text.as_bytes()).await;
            assert_eq!((lines.len(), lines[0].len(), lines[1].as_str()), (2, MAX_LINE + 1, "<2>b"));
        }
    }
}
