//! One live flow.

use std::sync::Arc;

use shared::model::flow::{DirectionCounters, FlowSide, L7Info, TCP_ACK, TCP_RST, TCP_SYN};
use shared::model::pool::Mac;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{FlowEnd, FlowRecord, L4, L7Source, LocalNetworks, TcpState, Timestamp};

use super::key::FlowKey;
use super::tcp::{Segment, Tcp};
use crate::decode::Packet;
use crate::l7::{self, L7Context, L7State, ProtocolId, Verdict};

/// What was counted in one direction, beyond what a record shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direction {
    /// The counters of the record.
    pub counters: DirectionCounters,
    /// TCP connection requests (SYN without ACK).
    pub syns: u32,
    /// TCP resets.
    pub resets: u32,
}

/// Totals already passed on to the summary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reported {
    /// Client to server.
    pub cli2srv: Direction,
    /// Server to client.
    pub srv2cli: Direction,
    /// DNS questions and errors.
    pub dns: (u32, u32),
    /// The flow's beginning was counted.
    pub begun: bool,
    /// That the connection failed was counted.
    pub failed: bool,
}

/// One live flow. Its owner, the table, keeps time and place.
#[derive(Debug)]
pub struct Flow {
    /// Number on the interface, from 1.
    pub id: u64,
    /// Its key.
    pub key: FlowKey,
    /// True when the client is the key's low end.
    pub client_is_low: bool,
    /// Client to server.
    pub cli2srv: Direction,
    /// Server to client.
    pub srv2cli: Direction,
    /// Time of the first packet.
    pub first_seen: Timestamp,
    /// Time of the last packet.
    pub last_seen: Timestamp,
    /// TCP; its state stays `none` for other protocols.
    pub tcp: Tcp,
    /// Layer-7 protocol; `None` until decided or given up.
    pub l7: Option<ProtocolId>,
    /// How it was found.
    pub l7_source: L7Source,
    /// Decoded application data.
    pub info: Option<Box<L7Info>>,
    /// Status bits.
    pub status: StatusBits,
    /// Sum of the scores of alerts.
    pub score: u32,
    /// Alerts already raised, by hash of script and type.
    pub alerts: Vec<u64>,
    /// What the summary has.
    pub reported: Reported,
    /// True while the flow is on the summary's list.
    pub touched: bool,
    pub(super) macs: (Option<Mac>, Option<Mac>),
    pub(super) icmp: Option<(u8, u8)>,
    pub(super) detector: Option<Box<L7State>>,
    pub(super) payloads: u32,
    pub(super) last_payload: Timestamp,
    /// Status bits at the last invocation of a hook.
    pub(super) status_told: StatusBits,
    /// `protocolDetected` was told.
    pub(super) detected: bool,
    /// Base intervals told by `periodicUpdate`.
    pub(super) ticks_told: u64,
}

impl Flow {
    /// A flow that begins with `packet`, going `forward` through its key.
    pub fn begin(id: u64, key: FlowKey, forward: bool, packet: &Packet<'_>, now: Timestamp) -> Self {
        let from_client = opens(packet);
        Self {
            id,
            key,
            client_is_low: from_client == forward,
            cli2srv: Direction::default(),
            srv2cli: Direction::default(),
            first_seen: now,
            last_seen: now,
            tcp: Tcp::default(),
            l7: None,
            l7_source: L7Source::Unknown,
            info: None,
            status: 0,
            score: 0,
            alerts: Vec::new(),
            reported: Reported::default(),
            touched: false,
            macs: (None, None),
            icmp: packet.icmp,
            detector: Some(Box::new(L7State::new())),
            payloads: 0,
            last_payload: now,
            status_told: 0,
            detected: false,
            ticks_told: 0,
        }
    }

    /// Counts a packet and reads its payload.
    pub fn on_packet(&mut self, packet: &Packet<'_>, forward: bool, now: Timestamp) {
        let from_client = forward == self.client_is_low;
        self.last_seen = now.max(self.last_seen);
        let segment = self.count(packet, from_client, now);
        // A copy would be joined to the message it belongs to a second time.
        if packet.payload_len > 0 && self.detector.is_some() && !segment.retransmission {
            self.last_payload = now;
            self.read_payload(packet, from_client, now);
        } else if self.l7.is_none()
            && let Some(name) = l7::by_l4(self.key.l4())
        {
            self.decide(name, L7Source::L4);
        }
    }

    fn count(&mut self, packet: &Packet<'_>, from_client: bool, now: Timestamp) -> Segment {
        let (direction, mac) = match from_client {
            true => (&mut self.cli2srv, &mut self.macs.0),
            false => (&mut self.srv2cli, &mut self.macs.1),
        };
        if mac.is_none() {
            *mac = packet.src_mac;
        }
        let counters = &mut direction.counters;
        counters.packets += 1;
        counters.bytes += u64::from(packet.length);
        counters.goodput_bytes += u64::from(packet.payload_len);
        let Some(header) = &packet.tcp else { return Segment::default() };
        counters.tcp_flags |= header.flags;
        direction.syns += u32::from(header.flags & (TCP_SYN | TCP_ACK) == TCP_SYN);
        direction.resets += u32::from(header.flags & TCP_RST != 0);
        let segment = self.tcp.on_segment(header, packet.payload_len, from_client, now);
        let counters = &mut direction.counters;
        counters.retransmissions += u32::from(segment.retransmission);
        counters.out_of_order += u32::from(segment.out_of_order);
        counters.zero_windows += u32::from(segment.zero_window);
        segment
    }

    fn read_payload(&mut self, packet: &Packet<'_>, from_client: bool, now: Timestamp) {
        let (client_port, server_port) = self.ports();
        self.payloads += 1;
        let (client, server) = match from_client {
            true => (packet.src, packet.dst),
            false => (packet.dst, packet.src),
        };
        let context = L7Context {
            l4: self.key.l4(),
            client,
            server,
            client_port,
            server_port,
            from_client,
            packets_seen: self.payloads,
            at_s: now.secs(),
        };
        let Some(detector) = &mut self.detector else { return };
        let mut info = self.info.take().unwrap_or_default();
        let verdict = detector.on_payload(packet.payload, &context, &mut info, &mut self.status);
        self.info = (*info != L7Info::default()).then_some(info);
        match verdict {
            Verdict::Undecided if self.payloads >= l7::MAX_PAYLOADS => self.give_up(),
            Verdict::Undecided | Verdict::Reading => {}
            Verdict::Decided(_) => {
                if let Some(protocol) = self.detector.as_ref().and_then(|detector| detector.protocol()) {
                    self.decide(protocol, L7Source::Payload);
                }
            }
            Verdict::Done => self.detector = None,
        }
    }

    fn decide(&mut self, protocol: ProtocolId, source: L7Source) {
        self.l7 = Some(protocol);
        self.l7_source = source;
        let (client_port, server_port) = self.ports();
        if source == L7Source::Payload
            && l7::is_standard_port(protocol, self.key.l4(), server_port) == Some(false)
            && l7::is_standard_port(protocol, self.key.l4(), client_port) != Some(true)
        {
            self.status |= FlowStatus::NonStandardPort.bit();
        }
        if source != L7Source::Payload {
            self.detector = None;
        }
    }

    /// Ends detection: what the layer-4 protocol or the port suggests, or unknown.
    pub fn give_up(&mut self) {
        if self.l7.is_some() {
            return;
        }
        let (client_port, server_port) = self.ports();
        let guess = l7::guess_by_port(self.key.l4(), client_port, server_port);
        match (l7::by_l4(self.key.l4()), guess) {
            (Some(name), _) => self.decide(name, L7Source::L4),
            (None, Some(name)) => self.decide(name, L7Source::PortGuess),
            (None, None) => self.decide(ProtocolId::UNKNOWN, L7Source::Unknown),
        }
    }

    /// Sets the status bits that only the end of a flow shows.
    pub fn conclude(&mut self) {
        let answered = self.srv2cli.counters.packets > 0;
        if !answered && self.cli2srv.counters.packets > 0 {
            self.status |= FlowStatus::Unidirectional.bit();
        }
        if self.key.l4() != L4::TCP {
            return;
        }
        let goodput = self.cli2srv.counters.goodput_bytes + self.srv2cli.counters.goodput_bytes;
        let reset = self.tcp.state == TcpState::Reset;
        if self.tcp.state == TcpState::SynSent {
            self.status |= FlowStatus::TcpUnanswered.bit();
        }
        if reset && goodput == 0 && !self.tcp.handshake_ok {
            self.status |= FlowStatus::TcpRefused.bit();
        } else if reset {
            self.status |= FlowStatus::TcpReset.bit();
        }
        if self.tcp.handshake_ok && goodput == 0 {
            self.status |= FlowStatus::NoDataExchanged.bit();
        }
        let packets = self.cli2srv.counters.packets + self.srv2cli.counters.packets;
        let issues = [self.cli2srv.counters, self.srv2cli.counters]
            .iter()
            .map(|c| u64::from(c.retransmissions) + u64::from(c.out_of_order) + u64::from(c.zero_windows))
            .sum::<u64>();
        // A share of 15 %, as ntopng's tcp_packets_issues, on flows long enough to tell.
        if packets >= 20 && issues * 100 >= packets * 15 {
            self.status |= FlowStatus::TcpIssues.bit();
        }
    }

    /// True when the client asked for a TCP connection that never was established.
    pub fn connection_failed(&self) -> bool {
        self.key.l4() == L4::TCP && self.cli2srv.syns > 0 && !self.tcp.handshake_ok && {
            let goodput = self.cli2srv.counters.goodput_bytes + self.srv2cli.counters.goodput_bytes;
            goodput == 0
        }
    }

    /// DNS questions and errors seen.
    pub fn dns_counts(&self) -> (u32, u32) {
        let dns = self.info.as_deref().and_then(|info| info.dns.as_ref());
        dns.map_or((0, 0), |dns| (dns.queries, dns.errors))
    }

    /// Hardware addresses of client and server, where seen.
    pub fn macs(&self) -> (Option<Mac>, Option<Mac>) {
        self.macs
    }

    /// Client's and server's port.
    pub fn ports(&self) -> (u16, u16) {
        let (low, high) = (self.key.low().1, self.key.high().1);
        if self.client_is_low { (low, high) } else { (high, low) }
    }

    /// Makes the flow its own successor, after the active timeout: a new flow of the same
    /// conversation, which keeps what is known of its protocol.
    pub(super) fn succeed(&self, id: u64, now: Timestamp) -> Self {
        Self {
            id,
            key: self.key,
            client_is_low: self.client_is_low,
            cli2srv: Direction::default(),
            srv2cli: Direction::default(),
            first_seen: now,
            last_seen: now,
            tcp: self.tcp.clone(),
            l7: self.l7,
            l7_source: self.l7_source,
            info: self.info.clone(),
            status: 0,
            score: 0,
            alerts: Vec::new(),
            reported: Reported { dns: self.dns_counts(), ..Reported::default() },
            touched: false,
            macs: self.macs,
            icmp: self.icmp,
            detector: None,
            payloads: self.payloads,
            last_payload: now,
            status_told: 0,
            detected: false,
            ticks_told: 0,
        }
    }

    /// The flow as hooks, records and the API show it.
    pub fn record(&self, ifid: u32, networks: &LocalNetworks, end: Option<FlowEnd>) -> FlowRecord {
        let (low, high) = (self.key.low(), self.key.high());
        let (client, server) = if self.client_is_low { (low, high) } else { (high, low) };
        let side = |(ip, port), mac| FlowSide { ip, port, mac, local: networks.is_local(ip) };
        FlowRecord {
            id: self.id,
            ifid,
            vlan: self.key.vlan(),
            l4: self.key.l4(),
            client: side(client, self.macs.0),
            server: side(server, self.macs.1),
            cli2srv: self.cli2srv.counters,
            srv2cli: self.srv2cli.counters,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            icmp: self.icmp,
            tcp_state: self.tcp.state,
            handshake_ok: self.tcp.handshake_ok,
            rtt_server_us: self.tcp.rtt_server_us,
            rtt_client_us: self.tcp.rtt_client_us,
            l7: Arc::from(self.l7.unwrap_or_default().name()),
            l7_source: self.l7_source,
            info: self.info.as_deref().cloned().unwrap_or_default(),
            status: self.status,
            score: self.score,
            collected: false,
            end,
        }
    }
}

/// True when `packet`, the first of its flow, comes from the client.
///
/// A SYN/ACK comes from the server. Without a handshake, the end with a port below 1024 is the
/// server when the other has one above.
fn opens(packet: &Packet<'_>) -> bool {
    match &packet.tcp {
        Some(tcp) if tcp.flags & TCP_SYN != 0 => tcp.flags & TCP_ACK == 0,
        Some(_) => !(packet.src_port < 1024 && packet.dst_port >= 1024),
        None => true,
    }
}
