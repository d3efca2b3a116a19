//! A flow, or a part of one, as an exporter reports it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use shared::model::pool::Mac;
use shared::model::{L4, Timestamp};

/// Packets or bytes that one record is believed to count: 256 TiB, an hour of 600 Gbit/s. So bounded,
/// counters of many flows can be added up.
const MOST: u64 = 1 << 48;

/// Packets and bytes of one direction, sampling already scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets; for sFlow bytes of frames.
    pub bytes: u64,
}

/// Why the exporter reported the flow (`flowEndReason`, RFC 5102 §5.11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// No packet for the exporter's idle timeout.
    Idle,
    /// It goes on; the exporter's active timeout passed.
    Active,
    /// FIN or RST.
    Closed,
    /// The exporter stopped, or was made to.
    Forced,
    /// The exporter ran out of room.
    Resources,
}

impl EndReason {
    /// By its number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Idle),
            2 => Some(Self::Active),
            3 => Some(Self::Closed),
            4 => Some(Self::Forced),
            5 => Some(Self::Resources),
            _ => None,
        }
    }

    /// True when the exporter will say no more about this flow.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Idle | Self::Closed)
    }
}

/// One record of an exporter. The direction is that of the packets it counts: `src` sent the
/// `forward` ones, and `reverse` is what came back, where the exporter reports both in one record
/// (RFC 5103).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedFlow {
    /// Who reports it: sender of the datagram, for sFlow the agent's address.
    pub exporter: IpAddr,
    /// NetFlow v9 source id, IPFIX observation domain, v5 engine type and id, sFlow sub-agent.
    pub domain: u32,
    /// SNMP index of the interface that the packets came in by, 0 when unknown.
    pub input: u32,
    /// SNMP index of the interface that they left by, 0 when unknown.
    pub output: u32,
    /// One packet of this many was looked at; the counters are already multiplied by it. 1 when all
    /// were, or when the exporter says nothing.
    pub sampling: u32,
    /// Sender.
    pub src: IpAddr,
    /// Receiver.
    pub dst: IpAddr,
    /// Sender's port, 0 without.
    pub src_port: u16,
    /// Receiver's port, 0 without.
    pub dst_port: u16,
    /// Layer-4 protocol.
    pub l4: L4,
    /// TCP flags of the forward packets, or-ed.
    pub tcp_flags: u8,
    /// TCP flags of the reverse packets, or-ed.
    pub reverse_tcp_flags: u8,
    /// IPv4 type of service or IPv6 traffic class.
    pub tos: u8,
    /// VLAN id, 0 when untagged or unknown.
    pub vlan: u16,
    /// Sender's hardware address.
    pub src_mac: Option<Mac>,
    /// Receiver's hardware address.
    pub dst_mac: Option<Mac>,
    /// ICMP or ICMPv6 type and code.
    pub icmp: Option<(u8, u8)>,
    /// Sent by `src`.
    pub forward: Counters,
    /// Sent by `dst`.
    pub reverse: Counters,
    /// The counters are totals since the flow's begin instead of since its last record.
    pub totals: bool,
    /// Time of the first packet.
    pub first: Timestamp,
    /// Time of the last packet.
    pub last: Timestamp,
    /// Next hop.
    pub next_hop: Option<IpAddr>,
    /// Autonomous system of the sender, 0 when unknown.
    pub src_as: u32,
    /// Autonomous system of the receiver, 0 when unknown.
    pub dst_as: u32,
    /// What the exporter calls the application.
    pub application: Option<Arc<str>>,
    /// Why the exporter reports it.
    pub end: Option<EndReason>,
    /// Whether `src` opened the conversation, where the exporter says so (`biflowDirection`,
    /// RFC 5103 §6.3).
    pub src_is_client: Option<bool>,
}

impl CollectedFlow {
    /// A record in which nothing is known yet.
    pub fn of(exporter: IpAddr, domain: u32) -> Self {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            exporter,
            domain,
            input: 0,
            output: 0,
            sampling: 1,
            src: nobody,
            dst: nobody,
            src_port: 0,
            dst_port: 0,
            l4: L4(0),
            tcp_flags: 0,
            reverse_tcp_flags: 0,
            tos: 0,
            vlan: 0,
            src_mac: None,
            dst_mac: None,
            icmp: None,
            forward: Counters::default(),
            reverse: Counters::default(),
            totals: false,
            first: Timestamp::ZERO,
            last: Timestamp::ZERO,
            next_hop: None,
            src_as: 0,
            dst_as: 0,
            application: None,
            end: None,
            src_is_client: None,
        }
    }

    /// Multiplies the counters by `rate`, one packet of which was looked at.
    pub fn scale(&mut self, rate: u32) {
        if rate <= 1 {
            return;
        }
        self.sampling = rate;
        let rate = u64::from(rate);
        for counters in [&mut self.forward, &mut self.reverse] {
            counters.packets = counters.packets.saturating_mul(rate);
            counters.bytes = counters.bytes.saturating_mul(rate);
        }
    }

    /// Puts ICMP's type and code, which exporters write into the destination port, in their place.
    pub fn settle_icmp(&mut self) {
        if matches!(self.l4, L4::ICMP | L4::ICMPV6) {
            let [kind, code] = self.dst_port.to_be_bytes();
            self.icmp = self.icmp.or(Some((kind, code)));
            self.src_port = 0;
            self.dst_port = 0;
        }
    }

    /// Makes both ends of one family: a record may leave an end out, or have been put together wrongly.
    /// IPv4 beside IPv6 is written as IPv6 writes it (RFC 4291 §2.5.5.2).
    pub fn settle_addresses(&mut self) {
        let wide = |ip: &mut IpAddr| {
            *ip = match *ip {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv6Addr::UNSPECIFIED.into(),
                IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
                ip => ip,
            };
        };
        if self.src.is_ipv6() != self.dst.is_ipv6() {
            wide(&mut self.src);
            wide(&mut self.dst);
        }
    }

    /// Keeps the counters at what can be believed; false when they were not.
    pub fn settle_counters(&mut self) -> bool {
        let mut plausible = true;
        let Self { forward, reverse, .. } = self;
        for counter in [&mut forward.packets, &mut forward.bytes, &mut reverse.packets, &mut reverse.bytes] {
            plausible &= *counter <= MOST;
            *counter = (*counter).min(MOST);
        }
        plausible
    }

    /// Keeps `last` at or before `event`, and `first` at or before `last`.
    ///
    /// Returns false, and moves both so that the flow ends at `event`, when the flow would have ended
    /// more than `oldest_ns` before the exporter told of it: its times are then of another clock.
    pub fn settle_times(&mut self, event: Timestamp, oldest_ns: i64) -> bool {
        let age = event.since(self.last);
        if age > oldest_ns {
            let duration = self.last.since(self.first).clamp(0, oldest_ns);
            self.last = event;
            self.first = event.plus_ns(-duration);
            return false;
        }
        self.last = self.last.min(event);
        self.first = self.first.min(self.last);
        true
    }
}
