//! One live flow, in 224 bytes.

mod end;

use shared::model::flow::{DirectionCounters, L7Info, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{HostKey, L4, L7Source, Timestamp};

use super::collected::Collected;
use super::gaps::Gaps;
use super::holes::Holes;
use super::key::{FlowKey, StoredKey};
use super::marks::Marks;
use super::names::{NameId, Names};
use super::opening::Opening;
use super::tcp::{Moment, Segment, Tcp};
use crate::decode::{Fragment, Packet};
use crate::l7::{self, ProtocolId};

/// What was counted in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direction {
    /// Bytes on the wire.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Bytes of layer-4 payload.
    pub goodput_bytes: u64,
    /// TCP segments sent again.
    pub retransmissions: u32,
    /// TCP segments out of order.
    pub out_of_order: u32,
    /// Announcements of a zero window, at most 65,535.
    pub zero_windows: u16,
    /// TCP connection requests (SYN without ACK), modulo 2^16.
    pub syns: u16,
    /// TCP resets, modulo 2^16.
    pub resets: u16,
    /// TCP flags seen, or-ed together.
    pub tcp_flags: u8,
    /// Type of service or traffic class of the first packet.
    pub tos: u8,
}

impl Direction {
    pub(super) fn counters(&self) -> DirectionCounters {
        DirectionCounters {
            packets: self.packets,
            bytes: self.bytes,
            goodput_bytes: self.goodput_bytes,
            retransmissions: self.retransmissions,
            out_of_order: self.out_of_order,
            zero_windows: self.zero_windows.into(),
            tcp_flags: self.tcp_flags,
            resets: self.resets,
            tos: self.tos,
            // Those lie among the flow's marks, and with its connection.
            ip_flags: 0,
            lost: 0,
        }
    }
}

/// What only some flows have.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Decoded application data.
    pub info: L7Info,
    /// Sum of the scores of alerts.
    pub score: u32,
    /// Score of the weightiest of them; `None` when there is none.
    pub top_score: Option<u32>,
    /// Seconds for which the conversation had gone on before, when the active timeout cut it.
    pub earlier_s: u32,
    /// Alerts already raised, by hash of script and type.
    pub alerts: Vec<u64>,
    /// Types of alerts already raised, the first of them.
    pub alert_types: Vec<String>,
    /// What an exporter says, when the flow was collected.
    pub(super) collected: Option<Box<Collected>>,
}

/// One live flow. Its owner, the table, keeps time and place.
#[derive(Clone, Debug)]
pub struct Flow {
    pub(super) key: StoredKey,
    /// Number on the interface, from 1; 0 is a vacant place.
    pub id: u64,
    /// Time of the first packet.
    pub first_seen: Timestamp,
    /// Time of the last packet.
    pub last_seen: Timestamp,
    /// Status bits.
    pub status: StatusBits,
    /// Status bits at the last invocation of a hook.
    pub(super) status_told: StatusBits,
    /// What only some flows have.
    pub extra: Option<Box<Extra>>,
    /// Client to server.
    pub cli2srv: Direction,
    /// Server to client.
    pub srv2cli: Direction,
    /// TCP; its state stays `none` for other protocols.
    pub tcp: Tcp,
    pub(super) gaps: Gaps,
    /// Place in the list of flows that the summary has not seen, plus one; 0 for none.
    pub(super) touched: u32,
    /// Place of the detection's memory, plus one; 0 for none.
    pub(super) scratch: u32,
    /// Layer-7 protocol.
    pub(super) l7: ProtocolId,
    /// The protocol with its application.
    pub(super) name: NameId,
    /// Base intervals told by `periodicUpdate`, modulo 2^16.
    pub(super) ticks_told: u16,
    /// Hardware addresses of client and server by number.
    pub(super) macs: [u16; 2],
    pub(super) marks: Marks,
    /// How the protocol was found.
    pub l7_source: L7Source,
    /// Payload-bearing packets, counted up to 255.
    pub(super) payloads: u8,
    pub(super) icmp: (u8, u8),
}

impl Flow {
    /// A flow that begins with `packet`, going `forward` through its key.
    pub(super) fn begin(id: u64, key: &FlowKey, forward: bool, packet: &Packet<'_>, now: Timestamp) -> Self {
        let mut marks = Marks::default();
        marks.set(Marks::CLIENT_IS_LOW, Opening::of_packet(packet).by_client() == forward);
        marks.set(Marks::ICMP, packet.icmp.is_some());
        Self {
            key: StoredKey::new(key),
            id,
            first_seen: now,
            last_seen: now,
            status: 0,
            status_told: 0,
            extra: None,
            cli2srv: Direction::default(),
            srv2cli: Direction::default(),
            tcp: Tcp::default(),
            gaps: Gaps::default(),
            touched: 0,
            scratch: 0,
            l7: ProtocolId::UNKNOWN,
            name: NameId::default(),
            ticks_told: 0,
            macs: [0; 2],
            marks,
            l7_source: L7Source::Unknown,
            payloads: 0,
            icmp: packet.icmp.unwrap_or_default(),
        }
    }

    /// Counts a packet and says what its segment turned out to be.
    pub(super) fn count(
        &mut self,
        packet: &Packet<'_>,
        from_client: bool,
        now: Timestamp,
        holes: &mut Holes,
    ) -> Segment {
        if self.packets() > 0 {
            self.gaps.add(now.since(self.last_seen));
        }
        self.last_seen = now.max(self.last_seen);
        self.marks.add_ip_flags(packet.ip_flags, from_client);
        let at = Moment { now, begun: self.first_seen };
        // Its handshake tells more of TCP.
        if !from_client && self.srv2cli.packets == 0 && self.cli2srv.packets > 0 && packet.l4 != L4::TCP {
            self.tcp.answered(at.age_us());
        }
        let direction = if from_client { &mut self.cli2srv } else { &mut self.srv2cli };
        if direction.packets == 0 {
            direction.tos = packet.tos;
        }
        if packet.fragment != Fragment::None {
            self.marks.set(Marks::FRAGMENTED, true);
            let others = packet.overtaking;
            direction.packets += u64::from(others.packets);
            direction.bytes += u64::from(others.bytes);
            direction.goodput_bytes += u64::from(others.payload);
            if packet.length == 0 {
                return Segment::default();
            }
        }
        direction.packets += 1;
        direction.bytes += u64::from(packet.length);
        direction.goodput_bytes += u64::from(packet.payload_len);
        let Some(header) = &packet.tcp else { return Segment::default() };
        direction.tcp_flags |= header.flags;
        let asks = header.flags & (TCP_SYN | TCP_ACK) == TCP_SYN;
        direction.syns = direction.syns.wrapping_add(asks.into());
        direction.resets = direction.resets.wrapping_add((header.flags & TCP_RST != 0).into());
        let segment = self.tcp.on_segment(header, packet.payload_len, from_client, at, holes);
        direction.retransmissions = direction.retransmissions.saturating_add(segment.retransmission.into());
        direction.out_of_order = direction.out_of_order.saturating_add(segment.out_of_order.into());
        direction.zero_windows = direction.zero_windows.saturating_add(segment.zero_window.into());
        if segment.zero_window {
            self.status |= FlowStatus::ZeroWindow.bit();
        }
        segment
    }

    /// Packets of both directions.
    pub fn packets(&self) -> u64 {
        self.cli2srv.packets + self.srv2cli.packets
    }

    fn goodput(&self) -> u64 {
        self.cli2srv.goodput_bytes + self.srv2cli.goodput_bytes
    }

    /// True when the client is the key's low end.
    pub fn client_is_low(&self) -> bool {
        self.marks.has(Marks::CLIENT_IS_LOW)
    }

    /// The key.
    pub fn key(&self) -> FlowKey {
        self.key.get()
    }

    /// Client and server.
    pub fn host_keys(&self) -> [HostKey; 2] {
        let (ips, vlan) = self.key.ips();
        let [low, high] = ips.map(|ip| HostKey::new(ip, vlan));
        if self.client_is_low() { [low, high] } else { [high, low] }
    }

    /// Layer-4 protocol.
    pub fn l4(&self) -> L4 {
        self.key.l4()
    }

    /// Layer-7 protocol; `None` until decided or given up.
    pub fn l7(&self) -> Option<ProtocolId> {
        self.marks.has(Marks::DECIDED).then_some(self.l7)
    }

    /// The protocol with its application; that of `Unknown` until decided.
    pub fn name(&self) -> NameId {
        self.name
    }

    /// Decoded application data, as far as known.
    pub fn info(&self) -> Option<&L7Info> {
        self.extra.as_deref().map(|extra| &extra.info)
    }

    /// Names the flow's protocol.
    pub(super) fn decide(&mut self, protocol: ProtocolId, source: L7Source) {
        self.l7 = protocol;
        self.name = Names::plain(protocol);
        self.l7_source = source;
        self.marks.set(Marks::DECIDED, true);
        if source == L7Source::Payload && protocol.breed() == shared::model::Breed::Unsafe {
            self.status |= FlowStatus::UnsafeProtocol.bit();
        }
        let (client_port, server_port) = self.ports();
        if source == L7Source::Payload
            && l7::is_standard_port(protocol, self.l4(), server_port) == Some(false)
            && l7::is_standard_port(protocol, self.l4(), client_port) != Some(true)
        {
            self.status |= FlowStatus::NonStandardPort.bit();
        }
    }

    /// True when the client asked for a TCP connection that never was established.
    pub fn connection_failed(&self) -> bool {
        self.l4() == L4::TCP && self.cli2srv.syns > 0 && !self.tcp.handshake_ok() && self.goodput() == 0
    }

    /// DNS questions, errors and answers seen.
    pub fn dns_counts(&self) -> [u32; 3] {
        let dns = self.info().and_then(|info| info.dns.as_ref());
        dns.map_or([0; 3], |dns| [dns.queries, dns.errors, dns.replies])
    }

    /// The name of the server that the client said: of TLS, HTTP, or the one asked of DNS.
    pub fn server_name(&self) -> Option<&str> {
        let info = self.info()?;
        let tls = info.tls.as_ref().map(|tls| &tls.sni);
        let http = info.http.as_ref().map(|http| &http.host);
        let dns = info.dns.as_ref().map(|dns| &dns.query);
        [tls, http, dns].into_iter().flatten().map(|name| &**name).find(|name| !name.is_empty())
    }

    /// The client said FIN although there was no connection.
    pub fn is_fin_scan(&self) -> bool {
        let flags = self.cli2srv.tcp_flags;
        let odd = flags & TCP_FIN != 0 && flags & (TCP_SYN | TCP_ACK) == 0;
        self.l4() == L4::TCP && odd && self.goodput() == 0
    }

    /// Client's and server's port.
    pub fn ports(&self) -> (u16, u16) {
        let [low, high] = self.key.ports();
        if self.client_is_low() { (low, high) } else { (high, low) }
    }

    /// Makes the flow its own successor, after the active timeout: a new flow of the same
    /// conversation, which keeps what is known of its protocol.
    pub(super) fn succeed(&self, id: u64, now: Timestamp) -> Self {
        let mut marks = self.marks;
        for bit in [Marks::BEGUN, Marks::FAILED, Marks::DETECTED, Marks::ALL_IP_FLAGS] {
            marks.set(bit, false);
        }
        let info = self.info().filter(|info| **info != L7Info::default()).cloned();
        let collected = self.collected().map(|collected| Box::new(collected.succeed(now)));
        let before = self.extra.as_ref().map_or(0, |extra| extra.earlier_s);
        let part = now.since(self.first_seen) / shared::model::time::NS_PER_S;
        let earlier_s = before.saturating_add(u32::try_from(part).unwrap_or(u32::MAX));
        let info = info.unwrap_or_default();
        let extra = Some(Box::new(Extra { info, earlier_s, collected, ..Extra::default() }));
        Self {
            id,
            first_seen: now,
            last_seen: now,
            status: 0,
            status_told: 0,
            extra,
            cli2srv: Direction::default(),
            srv2cli: Direction::default(),
            gaps: Gaps::default(),
            touched: 0,
            scratch: 0,
            ticks_told: 0,
            tcp: self.tcp.succeed(),
            marks,
            ..self.clone()
        }
    }

    /// Tells `protocolDetected`; true when it had not been told before.
    pub fn take_detection(&mut self) -> bool {
        let told = self.marks.has(Marks::DETECTED);
        self.marks.set(Marks::DETECTED, true);
        !told
    }

    /// Tells the status; the bits at the last invocation when they differ from now.
    pub fn take_status_change(&mut self) -> Option<u64> {
        let old = std::mem::replace(&mut self.status_told, self.status);
        (self.status != old).then_some(old)
    }

    /// A vacant place.
    pub(super) fn vacant() -> Self {
        Self {
            key: StoredKey::default(),
            id: 0,
            first_seen: Timestamp::ZERO,
            last_seen: Timestamp::ZERO,
            status: 0,
            status_told: 0,
            extra: None,
            cli2srv: Direction::default(),
            srv2cli: Direction::default(),
            tcp: Tcp::default(),
            gaps: Gaps::default(),
            touched: 0,
            scratch: 0,
            l7: ProtocolId::UNKNOWN,
            name: NameId::default(),
            ticks_told: 0,
            macs: [0; 2],
            marks: Marks::default(),
            l7_source: L7Source::Unknown,
            payloads: 0,
            icmp: (0, 0),
        }
    }
}
