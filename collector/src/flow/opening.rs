//! Who opened a conversation, by the first that is seen of it: a packet, or an exporter's record.

use std::net::IpAddr;

use shared::model::L4;
use shared::model::flow::{TCP_ACK, TCP_RST, TCP_SYN};

use crate::decode::Packet;
use crate::ingest::CollectedFlow;
use crate::l7;

/// The smallest port that systems give to clients by default.
const FIRST_EPHEMERAL: u16 = 32_768;
/// Ports below are services': those from here to 1024 some clients take for themselves, who prove with
/// them that they are privileged (NFS, rsh).
const FIRST_RESERVED: u16 = 512;
/// Ports below need privileges, so that a client rarely has one.
const FIRST_FREE: u16 = 1024;

/// What is seen of a conversation first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'a> {
    /// The sender asks for the connection (true), or answers or refuses it (false).
    handshake: Option<bool>,
    l4: L4,
    icmp: Option<(u8, u8)>,
    src_port: u16,
    dst_port: u16,
    dst: IpAddr,
    payload: &'a [u8],
    /// It may well be the conversation's very first packet: whoever sends it then opens it.
    may_be_first: bool,
}

impl<'a> Opening<'a> {
    pub(super) fn of_packet(packet: &Packet<'a>) -> Self {
        let handshake = packet.tcp.as_ref().and_then(|tcp| {
            let has = |flag| tcp.flags & flag != 0;
            // Only the refusal of a request has no number of its own (RFC 9293 §3.10.7.1).
            let refuses = has(TCP_RST) && has(TCP_ACK) && tcp.seq == 0;
            if has(TCP_SYN) { Some(!has(TCP_ACK)) } else { refuses.then_some(false) }
        });
        Self {
            handshake,
            l4: packet.l4,
            icmp: packet.icmp,
            src_port: packet.src_port,
            dst_port: packet.dst_port,
            dst: packet.dst,
            payload: packet.payload,
            may_be_first: packet.l4 != L4::TCP,
        }
    }

    /// A record sums up a direction: only flags of a connection that got no further than its first
    /// packet tell who sent it.
    pub(super) fn of_record(record: &CollectedFlow) -> Self {
        let flags = record.tcp_flags;
        let asks = flags & (TCP_SYN | TCP_ACK) == TCP_SYN;
        let refuses = flags & (TCP_SYN | TCP_RST) == TCP_RST && record.forward.packets <= 1;
        let by_flags = if asks { Some(true) } else { refuses.then_some(false) };
        Self {
            handshake: record.src_is_client.or(by_flags.filter(|_| record.l4 == L4::TCP)),
            l4: record.l4,
            icmp: record.icmp,
            src_port: record.src_port,
            dst_port: record.dst_port,
            dst: record.dst,
            payload: &[],
            may_be_first: false,
        }
    }

    /// Whether the sender opened the conversation: by its handshake, by the type of an ICMP message, by
    /// what it says; else the end with the port of a service is the server, or the one with a port that
    /// no client gets, or the lower one.
    pub(super) fn by_client(&self) -> bool {
        if let Some(told) = self.handshake {
            return told;
        }
        // Nobody at a group asks.
        if self.dst.is_multicast() || self.dst == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
            return true;
        }
        match (self.l4, self.icmp) {
            // Answers: echo, timestamp, address mask.
            (L4::ICMP, Some((0 | 14 | 18, _))) => return false,
            // Echo, neighbour and router answers.
            (L4::ICMPV6, Some((129 | 134 | 136, _))) => return false,
            _ => {}
        }
        if let Some(told) = speaker(self.payload).filter(|_| self.l4 == L4::TCP) {
            return told;
        }
        self.by_ports()
    }

    fn by_ports(&self) -> bool {
        let (src, dst) = (self.src_port, self.dst_port);
        // Most flows, without a look at a table.
        let service = |port| (1..FIRST_RESERVED).contains(&port);
        match (service(src), service(dst)) {
            (true, false) if dst >= FIRST_FREE => return false,
            (false, true) if src >= FIRST_FREE => return true,
            _ => {}
        }
        let known = |port| l7::guess_by_port(self.l4, 0, port).is_some();
        let privileged = |port| (1..FIRST_FREE).contains(&port);
        match (known(src), known(dst)) {
            // Who speaks first from a service's port may yet be a client that was given it.
            (true, false) if !self.may_be_first || dst >= FIRST_EPHEMERAL => return false,
            (false, true) => return true,
            _ if self.may_be_first => return !(privileged(src) && dst >= FIRST_FREE),
            _ => {}
        }
        match (src < FIRST_EPHEMERAL, dst < FIRST_EPHEMERAL) {
            (true, false) => false,
            (false, true) => true,
            // Two services, or two clients: the lower is the server, and of equals the receiver.
            _ => src >= dst,
        }
    }
}

/// Whether a payload is a client's (true) or a server's; most of the middle of a stream tell neither.
fn speaker(payload: &[u8]) -> Option<bool> {
    match payload {
        [b'H', b'T', b'T', b'P', b'/', b'1', ..] => Some(false),
        [b'G', b'E', b'T', b' ', ..] | [b'P', b'O', b'S', b'T', b' ', ..] => Some(true),
        // A TLS hello (RFC 8446 §4).
        [0x16, 3, _, _, _, 1, ..] => Some(true),
        [0x16, 3, _, _, _, 2, ..] => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use shared::model::Timestamp;

    use super::*;
    use crate::decode::TcpHeader;

    fn packet(l4: L4, src_port: u16, dst_port: u16) -> Packet<'static> {
        let [src, dst] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        Packet { src_port, dst_port, ..Packet::new(Timestamp::ZERO, 100, src, dst, l4) }
    }

    fn tcp(src: u16, dst: u16, flags: u8, seq: u32, payload: &'static [u8]) -> bool {
        let tcp = Some(TcpHeader { seq, ack: 7, flags, window: 100 });
        Opening::of_packet(&Packet { tcp, payload, ..packet(L4::TCP, src, dst) }).by_client()
    }

    fn udp(src: u16, dst: u16) -> bool {
        Opening::of_packet(&packet(L4::UDP, src, dst)).by_client()
    }

    #[test]
    fn a_handshake_tells_whatever_the_ports_are() {
        assert!(tcp(80, 50_000, TCP_SYN, 1, b""));
        assert!(!tcp(50_000, 80, TCP_SYN | TCP_ACK, 1, b""));
        assert!(!tcp(50_000, 40_000, TCP_RST | TCP_ACK, 0, b""), "a refusal");
        assert!(tcp(45_000, 443, TCP_RST | TCP_ACK, 77, b""), "a reset in the middle");
    }

    #[test]
    fn in_the_middle_of_a_connection_the_port_of_a_service_tells() {
        assert!(!tcp(5432, 45_000, TCP_ACK, 1, b""));
        assert!(tcp(45_000, 5432, TCP_ACK, 1, b""));
        assert!(!tcp(2049, 800, TCP_ACK, 1, b""), "NFS, and a client with a reserved port");
        assert!(!tcp(9_999, 45_000, TCP_ACK, 1, b""), "no client gets such a port");
        assert!(!tcp(40_000, 45_000, TCP_ACK, 1, b""));
        assert!(!udp(53, 45_000) && udp(45_000, 53) && !udp(1900, 45_000));
        assert!(udp(40_000, 45_000) && udp(45_000, 40_000), "without a hint the first one asks");
        assert!(!udp(700, 45_000) && udp(20_123, 45_000));
    }

    #[test]
    fn in_the_middle_of_a_connection_what_is_said_goes_before_ports() {
        assert!(!tcp(8080, 45_000, TCP_ACK, 1, b"HTTP/1.1 200 OK\r\n"));
        assert!(!tcp(45_000, 8080, TCP_ACK, 1, b"HTTP/1.1 200 OK\r\n"), "a port that was forwarded");
        assert!(tcp(8080, 45_000, TCP_ACK, 1, b"GET / HTTP/1.1\r\n"));
        assert!(!tcp(45_000, 40_000, TCP_ACK, 1, &[0x16, 3, 3, 0, 80, 2, 0, 0, 76, 3, 3]));
    }

    #[test]
    fn an_answer_that_comes_first_is_the_servers() {
        let icmp =
            |l4, kind| Opening::of_packet(&Packet { icmp: Some((kind, 0)), ..packet(l4, 0, 0) }).by_client();
        assert!(icmp(L4::ICMP, 8) && !icmp(L4::ICMP, 0) && icmp(L4::ICMP, 3));
        assert!(icmp(L4::ICMPV6, 128) && !icmp(L4::ICMPV6, 129));
        let offer = Packet { dst: [255; 4].into(), ..packet(L4::UDP, 67, 68) };
        assert!(Opening::of_packet(&offer).by_client(), "nobody at a group asks");
    }
}
