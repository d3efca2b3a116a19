//! TCP as seen from the middle: state, round trips, retransmissions (RFC 9293).

use shared::model::TcpState;
use shared::model::flow::{TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN};

use crate::decode::{Packet, TcpHeader};

/// What a segment turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Sent again.
    pub retransmission: bool,
    /// Fills a hole that a later segment left open.
    pub out_of_order: bool,
    /// Announces a zero window.
    pub zero_window: bool,
    /// Bytes missing between what was seen and it.
    pub missing: u32,
    /// Of one sent again, bytes at its start that were seen before.
    pub old: u32,
}

/// Whether a packet asks if the other side is still there: one byte that was sent before (RFC 9293
/// §3.8.4), and no application's.
pub(super) fn is_keepalive(packet: &Packet<'_>) -> bool {
    matches!(packet.payload, [0]) && packet.tcp.as_ref().is_some_and(|tcp| tcp.flags & TCP_PSH == 0)
}

/// Sequence numbers of one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// The number that follows what was seen.
    next: u32,
    /// The last hole: from (inclusive) to (exclusive); none when both are the same.
    hole: (u32, u32),
}

/// One TCP connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp {
    /// SYN to SYN/ACK in microseconds, 0 when unknown. Of other protocols: the first packet of the client
    /// to that of the server.
    rtt_server_us: u32,
    /// SYN/ACK to ACK in microseconds, 0 when unknown. Until the ACK: when the SYN/ACK came, in
    /// microseconds of the flow.
    rtt_client_us: u32,
    sides: [Side; 2],
    /// Where the connection stands.
    pub state: TcpState,
    marks: u8,
}

/// A number of the side was seen.
const STARTED: [u8; 2] = [1, 2];
/// The side closed its direction.
const FINISHED: [u8; 2] = [4, 8];
/// SYN, SYN/ACK and ACK were seen.
const HANDSHAKE: u8 = 16;

impl Tcp {
    /// One segment with `len` bytes of payload, `age_us` microseconds after the flow's first packet.
    pub fn on_segment(&mut self, tcp: &TcpHeader, len: u32, from_client: bool, age_us: u32) -> Segment {
        let side = usize::from(!from_client);
        self.advance(tcp, len, side, age_us);
        let mut segment = self.place(tcp, len, side);
        segment.zero_window = tcp.window == 0 && tcp.flags & (TCP_SYN | TCP_RST | TCP_FIN) == 0;
        segment
    }

    fn advance(&mut self, tcp: &TcpHeader, len: u32, side: usize, age_us: u32) {
        let has = |flag| tcp.flags & flag != 0;
        if has(TCP_RST) {
            self.state = TcpState::Reset;
            return;
        }
        if has(TCP_SYN) {
            match (has(TCP_ACK), self.state) {
                (false, TcpState::None) => self.state = TcpState::SynSent,
                (true, TcpState::None | TcpState::SynSent) => {
                    // The SYN was the flow's first packet: only then is a connection in this state.
                    if self.state == TcpState::SynSent {
                        self.rtt_server_us = age_us.max(1);
                    }
                    self.state = TcpState::SynReceived;
                    self.rtt_client_us = age_us;
                }
                _ => {}
            }
            return;
        }
        match self.state {
            TcpState::None => self.state = TcpState::Midstream,
            TcpState::SynReceived if side == 0 && has(TCP_ACK) => {
                self.state = TcpState::Established;
                if self.rtt_server_us > 0 {
                    self.marks |= HANDSHAKE;
                }
                self.rtt_client_us = age_us.saturating_sub(self.rtt_client_us).max(1);
            }
            TcpState::SynSent if len > 0 => self.state = TcpState::Midstream,
            _ => {}
        }
        if has(TCP_FIN) {
            self.marks |= FINISHED[side];
            let both = FINISHED.iter().all(|bit| self.marks & bit != 0);
            if self.state != TcpState::Reset {
                self.state = if both { TcpState::Closed } else { TcpState::Closing };
            }
        }
    }

    /// Sets what the flags of both directions say, where nothing else is known of the segments.
    pub(super) fn collect(&mut self, client: u8, server: u8) {
        let (state, handshake) = super::collected::tcp_state(client, server);
        self.state = state;
        if handshake {
            self.marks |= HANDSHAKE;
        }
    }

    /// SYN, SYN/ACK and ACK were seen.
    pub fn handshake_ok(&self) -> bool {
        self.marks & HANDSHAKE != 0
    }

    /// Notes when the first answer came, for protocols without a handshake.
    pub(super) fn answered(&mut self, age_us: u32) {
        self.rtt_server_us = age_us.max(1);
    }

    /// Microseconds from the first packet of the client to the first one of the server, where there is
    /// no handshake; 0 when unknown.
    pub fn reply_us(&self) -> u32 {
        if self.state == TcpState::None { self.rtt_server_us } else { 0 }
    }

    /// SYN to SYN/ACK in microseconds, 0 when unknown.
    pub fn rtt_server_us(&self) -> u32 {
        if self.state == TcpState::None { 0 } else { self.rtt_server_us }
    }

    /// SYN/ACK to ACK in microseconds, 0 when unknown.
    pub fn rtt_client_us(&self) -> u32 {
        let pending = matches!(self.state, TcpState::SynReceived) || !self.handshake_ok();
        if pending { 0 } else { self.rtt_client_us }
    }

    /// True when nothing more is to come but late copies.
    pub fn is_over(&self) -> bool {
        matches!(self.state, TcpState::Closed | TcpState::Reset)
    }

    fn place(&mut self, tcp: &TcpHeader, len: u32, number: usize) -> Segment {
        let mut segment = Segment::default();
        let flags = u32::from(tcp.flags & TCP_SYN != 0) + u32::from(tcp.flags & TCP_FIN != 0);
        let end = tcp.seq.wrapping_add(len).wrapping_add(flags);
        let side = &mut self.sides[number];
        if self.marks & STARTED[number] == 0 {
            self.marks |= STARTED[number];
            side.next = end;
            return segment;
        }
        if len + flags == 0 {
            return segment;
        }
        let keep_alive = len <= 1 && flags == 0 && tcp.seq == side.next.wrapping_sub(1);
        if keep_alive {
            return segment;
        }
        if before(tcp.seq, side.next) {
            let (from, to) = side.hole;
            if from != to && !before(tcp.seq, from) && before(tcp.seq, to) {
                segment.out_of_order = true;
                side.hole = if before(end, to) { (end, to) } else { (0, 0) };
            } else {
                segment.retransmission = true;
                segment.old = side.next.wrapping_sub(tcp.seq).min(len);
            }
            if before(side.next, end) {
                side.next = end;
            }
            return segment;
        }
        if before(side.next, tcp.seq) {
            side.hole = (side.next, tcp.seq);
            segment.missing = tcp.seq.wrapping_sub(side.next);
        }
        side.next = end;
        segment
    }
}

/// Sequence-number order modulo 2^32 (RFC 9293 §3.4).
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(seq: u32, flags: u8) -> TcpHeader {
        TcpHeader { seq, ack: 0, flags, window: 100 }
    }

    fn ms(ms: u32) -> u32 {
        ms * 1000
    }

    #[test]
    fn a_handshake_gives_both_round_trips() {
        let mut tcp = Tcp::default();
        tcp.on_segment(&segment(9, TCP_SYN), 0, true, ms(0));
        tcp.on_segment(&segment(99, TCP_SYN | TCP_ACK), 0, false, ms(30));
        tcp.on_segment(&segment(10, TCP_ACK), 0, true, ms(35));
        assert_eq!((tcp.state, tcp.handshake_ok()), (TcpState::Established, true));
        assert_eq!((tcp.rtt_server_us(), tcp.rtt_client_us()), (30_000, 5_000));
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
        assert_eq!(send(&mut tcp, 200), Segment { missing: 100, ..Segment::default() });
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
