//! What is known of a flow once no more comes: a guess of its protocol, and status bits.

use shared::model::status::FlowStatus;
use shared::model::{L4, L7Source, TcpState};

use super::{Flow, Marks};
use crate::l7::{self, ProtocolId};

/// Where QUIC's packets after the first ones show nothing that others would not.
const QUIC_PORT: u16 = 443;

impl Flow {
    /// Ends detection: what the layer-4 protocol or the port suggests, or unknown.
    pub(in crate::flow) fn give_up(&mut self) {
        if self.marks.has(Marks::DECIDED) {
            return;
        }
        let (client_port, server_port) = self.ports();
        // Who has seen the payload and refused it is not guessed, unless what it has seen may be the
        // middle of a conversation in which nothing tells it any more.
        let midway = match self.l4() {
            L4::TCP => self.cli2srv.syns == 0,
            _ => server_port == QUIC_PORT,
        };
        let refused = |protocol: &ProtocolId| self.payloads > 0 && !midway && protocol.dissector().is_some();
        let guess =
            l7::guess_by_port(self.l4(), client_port, server_port).filter(|protocol| !refused(protocol));
        match (l7::by_l4(self.l4()), guess) {
            (Some(protocol), _) => self.decide(protocol, L7Source::L4),
            (None, Some(protocol)) => self.decide(protocol, L7Source::PortGuess),
            (None, None) => {
                self.decide(ProtocolId::UNKNOWN, L7Source::Unknown);
                if self.marks.has(Marks::RANDOM) {
                    self.status |= FlowStatus::FullyEncrypted.bit();
                }
            }
        }
    }

    /// Sets the status bits that only the end of a flow shows.
    pub(in crate::flow) fn conclude(&mut self) {
        let collected = self.collected().is_some();
        let mut set = |status: FlowStatus, on: bool| {
            if on {
                self.status |= status.bit();
            }
        };
        let packets = self.cli2srv.packets + self.srv2cli.packets;
        let goodput = self.cli2srv.goodput_bytes + self.srv2cli.goodput_bytes;
        let bytes = self.cli2srv.bytes + self.srv2cli.bytes;
        set(FlowStatus::Unidirectional, self.srv2cli.packets == 0 && self.cli2srv.packets > 0);
        set(FlowStatus::PeriodicBeacon, self.gaps.is_beacon(packets, self.last_seen.since(self.first_seen)));
        if self.key.l4() != L4::TCP {
            return;
        }
        if collected {
            return self.conclude_collected();
        }
        let handshake = self.tcp.handshake_ok();
        let reset = self.tcp.state == TcpState::Reset;
        set(FlowStatus::TcpUnanswered, self.tcp.state == TcpState::SynSent);
        set(FlowStatus::TcpRefused, reset && goodput == 0 && !handshake);
        set(FlowStatus::TcpReset, reset && (handshake || goodput != 0));
        set(FlowStatus::NoDataExchanged, handshake && goodput == 0);
        // Opened and dropped at once, without a word from the client.
        let quick = self.last_seen.since(self.first_seen) < 2 * shared::model::time::NS_PER_S;
        set(FlowStatus::ProbingAttempt, handshake && self.cli2srv.goodput_bytes == 0 && reset && quick);
        // ntopng's limit of 60 % on flows that are large enough for headers not to count.
        set(FlowStatus::LowGoodput, bytes >= 100_000 && goodput * 100 < bytes * 60);
        let issues = [self.cli2srv, self.srv2cli]
            .iter()
            .map(|c| u64::from(c.retransmissions) + u64::from(c.out_of_order) + u64::from(c.zero_windows))
            .sum::<u64>();
        // A share of 15 %, as ntopng's tcp_packets_issues, on flows long enough to tell.
        set(FlowStatus::TcpIssues, packets >= 20 && issues * 100 >= packets * 15);
    }
}
