//! A TCP connection, closed as soon as it stands.

use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Connects.
///
/// # Errors
/// Why it cannot.
pub async fn probe(to: SocketAddr) -> Result<(), String> {
    TcpStream::connect(to).await.map(drop).map_err(|error| format!("cannot connect to {to}: {error}"))
}
