//! TCP as seen from the middle: state, round trips, retransmissions (RFC 9293).

use shared::model::flow::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};
use shared::model::{TcpState, Timestamp};

use crate::decode::TcpHeader;

/// What a segment turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Sent again.
    pub retransmission: bool,
    /// Fills a hole that a later segment left open.
    pub out_of_order: bool,
    /// Announces a zero window.
    pub zero_window: bool,
}

/// Sequence numbers of one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    next: Option<u32>,
    /// The last hole: from (inclusive) to (exclusive).
    hole: Option<(u32, u32)>,
    fin: bool,
}

/// One TCP connection.
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    /// Where the connection stands.
    pub state: TcpState,
    /// SYN, SYN/ACK and ACK were seen.
    pub handshake_ok: bool,
    /// SYN to SYN/ACK in microseconds, 0 when unknown.
    pub rtt_server_us: u32,
    /// SYN/ACK to ACK in microseconds, 0 when unknown.
    pub rtt_client_us: u32,
    syn_at: Timestamp,
    syn_ack_at: Timestamp,
    client: Side,
    server: Side,
}

impl Tcp {
    /// One segment with `len` bytes of payload.
    pub fn on_segment(&mut self, tcp: &TcpHeader, len: u32, from_client: bool, at: Timestamp) -> Segment {
        self.advance(tcp, len, from_client, at);
        let side = if from_client { &mut self.client } else { &mut self.server };
        let mut segment = side.place(tcp, len);
        segment.zero_window = tcp.window == 0 && tcp.flags & (TCP_SYN | TCP_RST | TCP_FIN) == 0;
        segment
    }

    fn advance(&mut self, tcp: &TcpHeader, len: u32, from_client: bool, at: Timestamp) {
        let has = |flag| tcp.flags & flag != 0;
        if has(TCP_RST) {
            self.state = TcpState::Reset;
            return;
        }
        if has(TCP_SYN) {
            match (has(TCP_ACK), self.state) {
                (false, TcpState::None) => {
                    self.state = TcpState::SynSent;
                    self.syn_at = at;
                }
                (true, TcpState::None | TcpState::SynSent) => {
                    if self.state == TcpState::SynSent {
                        self.rtt_server_us = micros(at.since(self.syn_at));
                    }
                    self.state = TcpState::SynReceived;
                    self.syn_ack_at = at;
                }
                _ => {}
            }
            return;
        }
        match self.state {
            TcpState::None => self.state = TcpState::Midstream,
            TcpState::SynReceived if from_client && has(TCP_ACK) => {
                self.state = TcpState::Established;
                self.handshake_ok = self.syn_at != Timestamp::ZERO;
                self.rtt_client_us = micros(at.since(self.syn_ack_at));
            }
            TcpState::SynSent if len > 0 => self.state = TcpState::Midstream,
            _ => {}
        }
        if has(TCP_FIN) {
            let side = if from_client { &mut self.client } else { &mut self.server };
            side.fin = true;
            if self.state != TcpState::Reset {
                let both = self.client.fin && self.server.fin;
                self.state = if both { TcpState::Closed } else { TcpState::Closing };
            }
        }
    }

    /// True when nothing more is to come but late copies.
    pub fn is_over(&self) -> bool {
        matches!(self.state, TcpState::Closed | TcpState::Reset)
    }
}

impl Side {
    fn place(&mut self, tcp: &TcpHeader, len: u32) -> Segment {
        let mut segment = Segment::default();
        let marks = u32::from(tcp.flags & TCP_SYN != 0) + u32::from(tcp.flags & TCP_FIN != 0);
        let end = tcp.seq.wrapping_add(len).wrapping_add(marks);
        let Some(next) = self.next else {
            self.next = Some(end);
            return segment;
        };
        if len + marks == 0 {
            return segment;
        }
        let keep_alive = len <= 1 && marks == 0 && tcp.seq == next.wrapping_sub(1);
        if keep_alive {
            return segment;
        }
        if before(tcp.seq, next) {
            let in_hole = self.hole.is_some_and(|(from, to)| !before(tcp.seq, from) && before(tcp.seq, to));
            if in_hole {
                segment.out_of_order = true;
                self.hole = self.hole.map(|(_, to)| (end, to)).filter(|(from, to)| before(*from, *to));
            } else {
                segment.retransmission = true;
            }
            if before(next, end) {
                self.next = Some(end);
            }
            return segment;
        }
        if before(next, tcp.seq) {
            self.hole = Some((next, tcp.seq));
        }
        self.next = Some(end);
        segment
    }
}

/// Sequence-number order modulo 2^32 (RFC 9293 §3.4).
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

fn micros(ns: i64) -> u32 {
    u32::try_from((ns / 1000).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(seq: u32, flags: u8) -> TcpHeader {
        TcpHeader { seq, ack: 0, flags, window: 100 }
    }

    fn ms(ms: i64) -> Timestamp {
        Timestamp::from_ns(ms * 1_000_000)
    }

    #[test]
    fn a_handshake_gives_both_round_trips() {
        let mut tcp = Tcp::default();
        tcp.on_segment(&segment(9, TCP_SYN), 0, true, ms(1));
        tcp.on_segment(&segment(99, TCP_SYN | TCP_ACK), 0, false, ms(31));
        tcp.on_segment(&segment(10, TCP_ACK), 0, true, ms(36));
        assert_eq!((tcp.state, tcp.handshake_ok), (TcpState::Established, true));
        assert_eq!((tcp.rtt_server_us, tcp.rtt_client_us), (30_000, 5_000));
    }

    #[test]
    fn both_fins_close_and_one_does_not() {
        let mut tcp = Tcp::default();
        tcp.on_segment(&segment(1, TCP_ACK), 10, true, ms(1));
        tcp.on_segment(&segment(11, TCP_FIN | TCP_ACK), 0, true, ms(2));
        assert_eq!(tcp.state, TcpState::Closing);
        tcp.on_segment(&segment(1, TCP_FIN | TCP_ACK), 0, false, ms(3));
        assert!(tcp.is_over());
    }

    #[test]
    fn a_copy_is_a_retransmission_and_a_late_segment_is_out_of_order() {
        let mut tcp = Tcp::default();
        let send = |tcp: &mut Tcp, seq| tcp.on_segment(&segment(seq, TCP_ACK), 100, true, ms(1));
        assert_eq!(send(&mut tcp, 0), Segment::default());
        assert!(send(&mut tcp, 0).retransmission);
        assert_eq!(send(&mut tcp, 200), Segment::default(), "100..200 is missing");
        assert!(send(&mut tcp, 100).out_of_order);
        assert!(send(&mut tcp, 100).retransmission);
    }

    #[test]
    fn sequence_numbers_wrap_and_keep_alives_are_not_copies() {
        let mut tcp = Tcp::default();
        tcp.on_segment(&segment(u32::MAX - 49, TCP_ACK), 100, true, ms(1));
        assert_eq!(tcp.on_segment(&segment(50, TCP_ACK), 10, true, ms(2)), Segment::default());
        assert_eq!(tcp.on_segment(&segment(59, TCP_ACK), 1, true, ms(3)), Segment::default());
    }
}
