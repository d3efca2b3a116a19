//! TCP as seen from the middle: state, round trips, retransmissions (RFC 9293).

use shared::model::flow::{TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN};
use shared::model::{TcpState, Timestamp};

use super::holes::{Holes, Lent, before};
use crate::decode::{Packet, TcpHeader};

/// What a segment turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Sent again: seen before, or it fills a hole later than something that was merely overtaken would.
    pub retransmission: bool,
    /// Fills a hole that a later segment left open a moment ago.
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

/// A jump farther than the largest window (RFC 7323 §2.3) is another stream, and no hole.
const LARGEST_WINDOW: u32 = 1 << 30;

/// What is overtaken comes within a round trip; so long after where that is not known.
const OVERTAKEN_US: u32 = 3000;

/// When a segment came, and when its flow began.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// The flow's first packet.
    pub begun: Timestamp,
}

impl Moment {
    /// Microseconds since the flow's first packet.
    pub(super) fn age_us(self) -> u32 {
        u32::try_from(self.now.since(self.begun).max(0) / 1000).unwrap_or(u32::MAX)
    }

    /// Microseconds by a clock that wraps.
    fn us(self) -> u32 {
        (self.now.ns() / 1000) as u32
    }
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
    /// Of each direction, the number that follows what was seen.
    next: [u32; 2],
    /// Segments of each direction that are missing for good, saturating.
    lost: [u32; 2],
    /// What is missing and may come.
    holes: Lent,
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
    /// One segment with `len` bytes of payload.
    pub(super) fn on_segment(
        &mut self,
        tcp: &TcpHeader,
        len: u32,
        from_client: bool,
        at: Moment,
        holes: &mut Holes,
    ) -> Segment {
        let side = usize::from(!from_client);
        self.advance(tcp, len, side, at);
        let mut segment = self.place(tcp, len, side, at, holes);
        if self.holes.is_any() && tcp.flags & TCP_ACK != 0 {
            let lost = holes.acknowledged(&mut self.holes, 1 - side, tcp.ack);
            self.lose(1 - side, lost);
        }
        segment.zero_window = tcp.window == 0 && tcp.flags & (TCP_SYN | TCP_RST | TCP_FIN) == 0;
        segment
    }

    /// Counts what is missing as lost: nothing more is to come.
    pub(super) fn give_up_holes(&mut self, holes: &mut Holes) {
        for (side, lost) in holes.give_up(&mut self.holes).into_iter().enumerate() {
            self.lose(side, lost);
        }
    }

    /// Whether something is missing that may come.
    pub(super) fn has_holes(&self) -> bool {
        self.holes.is_any()
    }

    /// The connection as a new flow goes on with it, which has lost nothing yet.
    pub(super) fn succeed(&self) -> Self {
        Self { lost: [0; 2], holes: Lent::default(), ..*self }
    }

    /// Segments of client and server that are missing for good.
    pub fn lost(&self) -> [u32; 2] {
        self.lost
    }

    fn lose(&mut self, side: usize, segments: u32) {
        self.lost[side] = self.lost[side].saturating_add(segments);
    }

    fn advance(&mut self, tcp: &TcpHeader, len: u32, side: usize, at: Moment) {
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
                        self.rtt_server_us = at.age_us().max(1);
                    }
                    self.state = TcpState::SynReceived;
                    self.rtt_client_us = at.age_us();
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
                self.rtt_client_us = at.age_us().saturating_sub(self.rtt_client_us).max(1);
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

    fn place(&mut self, tcp: &TcpHeader, len: u32, side: usize, at: Moment, holes: &mut Holes) -> Segment {
        let mut segment = Segment::default();
        let begins = tcp.flags & TCP_SYN != 0;
        let flags = u32::from(begins) + u32::from(tcp.flags & TCP_FIN != 0);
        let end = tcp.seq.wrapping_add(len).wrapping_add(flags);
        let next = self.next[side];
        if self.marks & STARTED[side] == 0 {
            self.marks |= STARTED[side];
            self.next[side] = end;
            return segment;
        }
        if len + flags == 0 {
            return segment;
        }
        let keep_alive = len <= 1 && flags == 0 && tcp.seq == next.wrapping_sub(1);
        if keep_alive {
            return segment;
        }
        if before(tcp.seq, next) {
            if before(next, end) {
                self.next[side] = end;
            }
            let filled = holes.fill(&mut self.holes, side, tcp.seq, end);
            self.lose(side, filled.lost);
            let late = |opened_us: u32| at.us().wrapping_sub(opened_us) > self.overtaken_us();
            segment.out_of_order = filled.opened_us.is_some_and(|opened| !late(opened));
            segment.retransmission = !segment.out_of_order;
            if filled.opened_us.is_none() {
                segment.old = next.wrapping_sub(tcp.seq).min(len);
            }
            return segment;
        }
        let jump = tcp.seq.wrapping_sub(next);
        if jump > 0 && !begins && jump < LARGEST_WINDOW {
            segment.missing = jump;
            let lost = holes.open(&mut self.holes, side, next, tcp.seq, at.us());
            self.lose(side, lost);
        }
        self.next[side] = end;
        segment
    }

    /// How long after what overtook it a segment comes that was not sent again.
    fn overtaken_us(&self) -> u32 {
        match self.rtt_server_us().saturating_add(self.rtt_client_us()) {
            trip if self.handshake_ok() => trip,
            _ => OVERTAKEN_US,
        }
    }
}

#[cfg(test)]
mod tests;
