//! A flow: the packets of one conversation, both directions.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::app::{AppCategory, Breed};
use super::geo::{FlowGeo, GeoPlace};
use super::host::HostKey;
pub use super::l7_info::{
    Announced, ControlInfo, DnsInfo, HttpInfo, L7Info, SshInfo, Text, TlsCertificate, TlsInfo,
};
use super::pool::Mac;
use super::status::StatusBits;
use super::time::Timestamp;

mod l4;

pub use l4::L4;

/// How a flow's layer-7 protocol was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum L7Source {
    /// Not decided, or given up.
    #[default]
    Unknown,
    /// A dissector recognised the payload.
    Payload,
    /// Only the port suggests it.
    PortGuess,
    /// The layer-4 protocol itself says it (ICMP, OSPF, …).
    L4,
    /// The exporter of a collected flow says it.
    Collected,
    /// Another flow announced this one: the data connection of a file transfer, the sound of a call.
    Announced,
}

/// Where a TCP connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TcpState {
    /// Not TCP.
    #[default]
    None,
    /// SYN seen.
    SynSent,
    /// SYN and SYN/ACK seen.
    SynReceived,
    /// Three-way handshake seen.
    Established,
    /// Payload seen, but not the handshake.
    Midstream,
    /// One FIN seen.
    Closing,
    /// Both FINs seen.
    Closed,
    /// Reset.
    Reset,
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlowEnd {
    /// No packet for the idle timeout.
    Idle,
    /// FIN or RST, and the linger time passed.
    Closed,
    /// Older than the active timeout; its successor goes on.
    Active,
    /// The table was full.
    Evicted,
    /// The collector stopped.
    Shutdown,
    /// The capture file ended.
    EndOfFile,
}

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DirectionCounters {
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire, link header included.
    pub bytes: u64,
    /// Bytes of layer-4 payload.
    pub goodput_bytes: u64,
    /// TCP: segments sent again.
    pub retransmissions: u32,
    /// TCP: segments out of order.
    pub out_of_order: u32,
    /// TCP: announcements of a zero window.
    pub zero_windows: u32,
    /// TCP flags seen, or-ed together.
    pub tcp_flags: u8,
    /// TCP: resets, modulo 2^16.
    #[serde(default)]
    pub resets: u16,
    /// IPv4 type of service or IPv6 traffic class of the first packet: DSCP in the upper six bits, ECN
    /// in the lower two.
    #[serde(default)]
    pub tos: u8,
    /// IP flags seen, or-ed together ([`IP_DF`], [`IP_MF`]).
    #[serde(default)]
    pub ip_flags: u8,
    /// TCP: segments that are missing for good, of 1460 bytes each: others behind them were seen, and
    /// they came before neither their acknowledgement nor the flow's end.
    #[serde(default)]
    pub lost: u32,
}

/// Do not fragment: as the flag lies in the IPv4 header (RFC 791 §3.1).
pub const IP_DF: u8 = 2;
/// More fragments follow (RFC 791 §3.1, RFC 8200 §4.5).
pub const IP_MF: u8 = 1;

/// One side of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowSide {
    /// Address.
    pub ip: IpAddr,
    /// Port, 0 where the protocol has none.
    pub port: u16,
    /// Hardware address seen with it on the wire.
    #[serde(with = "mac_serde", default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// True when a local network holds the address.
    pub local: bool,
}

mod mac_serde {
    use super::Mac;
    use crate::model::pool::{mac_text, parse_mac};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(mac: &Option<Mac>, serializer: S) -> Result<S::Ok, S::Error> {
        match mac {
            Some(mac) => serializer.serialize_str(&mac_text(mac)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Mac>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.and_then(|t| parse_mac(&t)))
    }
}

/// What an exporter tells about a collected flow, beyond what packets would have told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportInfo {
    /// Address of the exporter.
    pub exporter: IpAddr,
    /// SNMP index of the interface that the client's packets came in by, 0 when unknown.
    #[serde(default)]
    pub input: u32,
    /// SNMP index of the interface that they left by, 0 when unknown.
    #[serde(default)]
    pub output: u32,
    /// One packet of this many was looked at; the flow's counters are already multiplied by it.
    #[serde(default)]
    pub sampling: u32,
    /// What the exporter calls the application; empty when it does not say.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub application: Arc<str>,
    /// IPv4 type of service or IPv6 traffic class of the first record.
    #[serde(default)]
    pub tos: u8,
    /// Next hop of the client's packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<IpAddr>,
    /// Autonomous system of the client, 0 when unknown.
    #[serde(default)]
    pub client_as: u32,
    /// Autonomous system of the server, 0 when unknown.
    #[serde(default)]
    pub server_as: u32,
}

/// A snapshot of a flow: what hooks read, what ends in the flow store, what the API shows.
///
/// `client` is who opened the conversation, `server` who was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// Number of the flow on its interface since the collector started, from 1.
    pub id: u64,
    /// Interface id.
    pub ifid: u32,
    /// Outermost VLAN id, 0 when untagged.
    pub vlan: u16,
    /// The VLAN id inside that one, 0 when there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inner_vlan: u16,
    /// Layer-4 protocol.
    pub l4: L4,
    /// Who opened the conversation.
    pub client: FlowSide,
    /// Who was asked.
    pub server: FlowSide,
    /// Client to server.
    pub cli2srv: DirectionCounters,
    /// Server to client.
    pub srv2cli: DirectionCounters,
    /// Time of the first packet.
    pub first_seen: Timestamp,
    /// Time of the last packet.
    pub last_seen: Timestamp,
    /// ICMP and ICMPv6: type and code of the first packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<(u8, u8)>,
    /// TCP state.
    pub tcp_state: TcpState,
    /// True when the three-way handshake was seen.
    pub handshake_ok: bool,
    /// Time from SYN to SYN/ACK in microseconds, 0 when unknown: the server's side of the path.
    pub rtt_server_us: u32,
    /// Time from SYN/ACK to ACK in microseconds, 0 when unknown: the client's side of the path.
    pub rtt_client_us: u32,
    /// Time from the first packet of the client to the first one of the server in microseconds, 0
    /// when unknown. Not for TCP, whose handshake tells more.
    #[serde(default)]
    pub reply_us: u32,
    /// Shortest time between two packets, whichever way they went, in microseconds.
    #[serde(default)]
    pub gap_min_us: u32,
    /// Longest time between two packets in microseconds.
    #[serde(default)]
    pub gap_max_us: u32,
    /// Standard deviation of the time between packets in microseconds.
    #[serde(default)]
    pub gap_deviation_us: u32,
    /// True when some packet was an IP fragment.
    #[serde(default)]
    pub fragmented: bool,
    /// Layer-7 protocol name, such as `DNS`; `Unknown` when not found.
    pub l7: Arc<str>,
    /// What the protocol or application is for.
    #[serde(default)]
    pub l7_category: AppCategory,
    /// How far it is to be trusted.
    #[serde(default)]
    pub l7_breed: Breed,
    /// How it was found.
    pub l7_source: L7Source,
    /// Decoded application data.
    pub info: L7Info,
    /// Status bits.
    pub status: StatusBits,
    /// Sum of the scores of alerts on the flow.
    pub score: u32,
    /// Score of the weightiest of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub top_score: u32,
    /// Payload-bearing packets that were looked at for the protocol, up to 255.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub l7_payloads: u32,
    /// True when the flow was collected from an exporter instead of packets.
    pub collected: bool,
    /// Who exported it and what else the exporter says, for collected flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Box<ExportInfo>>,
    /// Seconds for which its conversation had gone on before, when the active timeout cut it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub earlier_s: u32,
    /// Where both sides are, as far as databases say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geo: Option<Box<FlowGeo>>,
    /// Why it ended; `None` while it lives.
    pub end: Option<FlowEnd>,
}

fn is_zero<N: PartialEq + Default>(number: &N) -> bool {
    *number == N::default()
}

impl FlowRecord {
    /// Where the client is.
    pub fn client_place(&self) -> Option<&GeoPlace> {
        self.geo.as_ref()?.client.as_deref()
    }

    /// Where the server is.
    pub fn server_place(&self) -> Option<&GeoPlace> {
        self.geo.as_ref()?.server.as_deref()
    }

    /// The client as a host.
    pub fn client_host(&self) -> HostKey {
        HostKey::new(self.client.ip, self.vlan)
    }

    /// The server as a host.
    pub fn server_host(&self) -> HostKey {
        HostKey::new(self.server.ip, self.vlan)
    }

    /// Layer-7 protocol without the application: `TLS` of `TLS.YouTube`.
    pub fn l7_master(&self) -> &str {
        self.l7.split_once('.').map_or(&*self.l7, |(master, _)| master)
    }

    /// Application without the protocol: `YouTube` of `TLS.YouTube`; empty when none is known.
    pub fn l7_app(&self) -> &str {
        self.l7.split_once('.').map_or("", |(_, app)| app)
    }

    /// True when `name` is the flow's protocol, its application, or both with a dot between,
    /// whatever the case.
    pub fn speaks(&self, name: &str) -> bool {
        [&*self.l7, self.l7_master(), self.l7_app()].iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Bytes of both directions.
    pub fn bytes(&self) -> u64 {
        self.cli2srv.bytes + self.srv2cli.bytes
    }

    /// Packets of both directions.
    pub fn packets(&self) -> u64 {
        self.cli2srv.packets + self.srv2cli.packets
    }

    /// Community ID version 1 with seed 0 (github.com/corelight/community-id-spec).
    ///
    /// Empty for the impossible flow between an IPv4 and an IPv6 address.
    pub fn community_id(&self) -> String {
        const SCTP: L4 = L4(132);
        let (client, server) = match self.l4 {
            L4::ICMP | L4::ICMPV6 => {
                self.icmp.map_or((None, None), |(t, c)| (Some(t.into()), Some(c.into())))
            }
            L4::TCP | L4::UDP | SCTP => (Some(self.client.port), Some(self.server.port)),
            _ => (None, None),
        };
        // The message is the flow's first. An answer that was seen first came from the server, unless it
        // went to a group.
        let answers = match (self.l4, self.icmp) {
            (L4::ICMP, Some((0 | 14 | 18, _))) | (L4::ICMPV6, Some((129 | 134 | 136, _))) => {
                !self.server.ip.is_multicast()
            }
            _ => false,
        };
        let (from, to) = if answers { (&self.server, &self.client) } else { (&self.client, &self.server) };
        community_id::calculate_community_id(0, from.ip, to.ip, client, server, self.l4.0, false)
            .unwrap_or_default()
    }

    /// Mean time between packets in microseconds; 0 for a single packet.
    pub fn gap_mean_us(&self) -> u64 {
        let gaps = self.packets().saturating_sub(1);
        let duration_us = u64::try_from(self.last_seen.since(self.first_seen) / 1000).unwrap_or(0);
        duration_us.checked_div(gaps).unwrap_or(0)
    }

    /// The flow in one line: `client:port server:port`, with VLAN when tagged.
    pub fn label(&self) -> String {
        let mut label = String::with_capacity(48);
        self.name_end(&self.client, &mut label);
        label.push(' ');
        self.name_end(&self.server, &mut label);
        label
    }

    fn name_end(&self, side: &FlowSide, into: &mut String) {
        use std::fmt::Write;
        let host = HostKey::new(side.ip, self.vlan);
        // Writing to a text does not fail.
        let _ = match (side.port, side.ip) {
            (0, _) => write!(into, "{host}"),
            (port, IpAddr::V6(_)) => write!(into, "[{host}]:{port}"),
            (port, IpAddr::V4(_)) => write!(into, "{host}:{port}"),
        };
    }
}

/// TCP FIN flag (RFC 9293 §3.1).
pub const TCP_FIN: u8 = 0x01;
/// TCP SYN flag.
pub const TCP_SYN: u8 = 0x02;
/// TCP RST flag.
pub const TCP_RST: u8 = 0x04;
/// TCP PSH flag.
pub const TCP_PSH: u8 = 0x08;
/// TCP ACK flag.
pub const TCP_ACK: u8 = 0x10;
