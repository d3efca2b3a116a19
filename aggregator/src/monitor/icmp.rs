//! ICMP echo (RFC 792, RFC 4443), over the kernel's ping socket where this user may open one
//! (`net.ipv4.ping_group_range`), else over a raw socket (needs `CAP_NET_RAW`).

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shared::clock::Stopwatch;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Types of request and reply, and whether the kernel leaves the checksum to us.
struct Kind {
    request: u8,
    reply: u8,
    sums: bool,
}

const V4: Kind = Kind { request: 8, reply: 0, sums: true };
const V6: Kind = Kind { request: 128, reply: 129, sums: false };

/// Numbers the probes of this process.
static LAST: AtomicU32 = AtomicU32::new(0);

/// Sends one echo request; gives the time until its reply.
///
/// # Errors
/// Why it cannot be sent, or what came instead.
pub async fn probe(ip: IpAddr) -> Result<Duration, String> {
    let kind = if ip.is_ipv4() { &V4 } else { &V6 };
    let socket = open(ip)?;
    let failed = |error: std::io::Error| format!("cannot reach {ip}: {error}");
    socket.connect(SocketAddr::new(ip, 0)).await.map_err(failed)?;
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let token = token(number);
    let watch = Stopwatch::start();
    socket.send(&request(kind, number, &token)).await.map_err(failed)?;
    let mut answer = [0; 256];
    loop {
        let len = socket.recv(&mut answer).await.map_err(failed)?;
        if is_reply(kind, &answer[..len], &token) {
            return Ok(watch.elapsed());
        }
    }
}

/// A socket that sends and receives ICMP. Addressed by a UDP socket's calls, which are the same.
fn open(ip: IpAddr) -> Result<UdpSocket, String> {
    let (domain, protocol) = match ip {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))
        .or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)));
    let ready = |socket: Socket| {
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket.into())
    };
    socket.and_then(ready).map_err(|error| {
        format!("may not send ICMP ({error}): it needs CAP_NET_RAW or net.ipv4.ping_group_range")
    })
}

/// What tells our request from others: this process, and the number.
fn token(number: u32) -> [u8; 8] {
    let mut token = [0; 8];
    token[..4].copy_from_slice(&std::process::id().to_be_bytes());
    token[4..].copy_from_slice(&number.to_be_bytes());
    token
}

fn request(kind: &Kind, number: u32, token: &[u8; 8]) -> Vec<u8> {
    let sequence = (number as u16).to_be_bytes();
    let id = (std::process::id() as u16).to_be_bytes();
    let mut packet = vec![kind.request, 0, 0, 0, id[0], id[1], sequence[0], sequence[1]];
    packet.extend(token);
    if kind.sums {
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// The internet checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    !((sum + (sum >> 16)) as u16)
}

/// True for the reply to our request. A raw socket shows the header of IPv4 before it.
fn is_reply(kind: &Kind, packet: &[u8], token: &[u8; 8]) -> bool {
    let header = match packet.first() {
        Some(first) if kind.sums && first >> 4 == 4 => usize::from(first & 0x0f) * 4,
        _ => 0,
    };
    let Some(icmp) = packet.get(header..) else { return false };
    icmp.first() == Some(&kind.reply) && icmp.get(8..16) == Some(&token[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sums_up_to_nothing() {
        let packet = request(&V4, 7, &token(7));
        assert_eq!((packet[0], packet[6], packet[7], packet.len()), (8, 0, 7, 16));
        assert_eq!(checksum(&packet), 0, "RFC 1071 §1 (3)");
        assert_eq!(request(&V6, 7, &token(7))[2..4], [0, 0]);
    }

    #[test]
    fn only_the_reply_with_our_token_counts() {
        let reply = |kind: &Kind, token: &[u8]| [&[kind.reply, 0, 0, 0, 0, 0, 0, 0], token].concat();
        let ours = token(7);
        assert!(is_reply(&V4, &reply(&V4, &ours), &ours));
        let mut raw = vec![0x45; 20];
        raw.extend(reply(&V4, &ours));
        assert!(is_reply(&V4, &raw, &ours));
        assert!(is_reply(&V6, &reply(&V6, &ours), &ours));
        assert!(!is_reply(&V4, &reply(&V4, &token(8)), &ours));
        assert!(!is_reply(&V4, &request(&V4, 7, &ours), &ours), "our own request, on loopback");
        assert!(!is_reply(&V4, &[0x45], &ours) && !is_reply(&V4, &[], &ours));
    }
}
