//! From a captured frame to addresses, ports and payload.
//!
//! Pure and allocation-free. A header that its own length fields contradict is an error to count by
//! kind, never a panic; a frame that is fine but carries no IP is [`Decoded::NotIp`].

#![forbid(unsafe_code)]

mod ip;
mod link;
mod transport;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use shared::model::pool::Mac;
use shared::model::{L4, Timestamp};

use crate::capture::PacketDesc;

/// A frame's contents.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded<'a> {
    /// An IP packet.
    Packet(Packet<'a>),
    /// Well formed as far as the link layer goes, but no IP: ARP, LLDP, …; the EtherType, or 0 when
    /// the frame has none (spanning tree, other LLC).
    NotIp(u16),
}

/// An IP packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet<'a> {
    /// Time of capture.
    pub ts: Timestamp,
    /// Bytes on the wire, link header included.
    pub length: u32,
    /// Sender's hardware address, where the link tells it.
    pub src_mac: Option<Mac>,
    /// Receiver's hardware address, where the link tells it.
    pub dst_mac: Option<Mac>,
    /// Outermost VLAN id, 0 when untagged or only priority-tagged.
    pub vlan: u16,
    /// Sender.
    pub src: IpAddr,
    /// Receiver.
    pub dst: IpAddr,
    /// Layer-4 protocol.
    pub l4: L4,
    /// Sender's port; 0 without ports and in later fragments.
    pub src_port: u16,
    /// Receiver's port; 0 without ports and in later fragments.
    pub dst_port: u16,
    /// IPv4 time to live or IPv6 hop limit.
    pub ttl: u8,
    /// Whether the packet is a fragment.
    pub fragment: Fragment,
    /// TCP header; `None` otherwise and in later fragments.
    pub tcp: Option<TcpHeader>,
    /// ICMP or ICMPv6 type and code.
    pub icmp: Option<(u8, u8)>,
    /// Captured layer-4 payload without link padding; empty in later fragments, whose bytes are the
    /// middle of something.
    pub payload: &'a [u8],
    /// Bytes of layer-4 payload on the wire by the IP length, also when the capture cut them off.
    pub payload_len: u32,
}

/// Whether a packet is an IP fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragment {
    /// A whole packet.
    #[default]
    None,
    /// The first fragment: it has the layer-4 header.
    First,
    /// A later fragment, without layer-4 header.
    Later,
}

/// What flow tracking needs of a TCP header (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpHeader {
    /// Sequence number of the first payload byte, or of SYN.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// The eight flags CWR to FIN.
    pub flags: u8,
    /// Window as sent, not scaled.
    pub window: u16,
}

/// How a frame breaks its own grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DecodeError {
    /// A link type that is not decoded.
    UnsupportedLink,
    /// Shorter than an Ethernet header.
    EthernetTooShort,
    /// Ends inside a VLAN tag.
    VlanTooShort,
    /// Shorter than the link header of another type.
    LinkTooShort,
    /// Ends inside the IPv4 header.
    Ipv4TooShort,
    /// Announced as IPv4 but of another version.
    Ipv4BadVersion,
    /// IPv4 header length below 20.
    Ipv4BadHeaderLength,
    /// IPv4 total length below the header's.
    Ipv4BadTotalLength,
    /// Ends inside the IPv6 header.
    Ipv6TooShort,
    /// Announced as IPv6 but of another version.
    Ipv6BadVersion,
    /// Ends inside an IPv6 extension header.
    Ipv6ExtensionTooShort,
    /// A chain of more extension headers than anybody sends.
    Ipv6TooManyExtensions,
    /// Ends inside the TCP header.
    TcpTooShort,
    /// TCP data offset below 20 or beyond the packet.
    TcpBadOffset,
    /// Ends inside the UDP header.
    UdpTooShort,
    /// UDP length below 8 or beyond the packet.
    UdpBadLength,
    /// Ends inside the ICMP header.
    IcmpTooShort,
    /// Ends inside the SCTP header.
    SctpTooShort,
}

impl DecodeError {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::UnsupportedLink,
        Self::EthernetTooShort,
        Self::VlanTooShort,
        Self::LinkTooShort,
        Self::Ipv4TooShort,
        Self::Ipv4BadVersion,
        Self::Ipv4BadHeaderLength,
        Self::Ipv4BadTotalLength,
        Self::Ipv6TooShort,
        Self::Ipv6BadVersion,
        Self::Ipv6ExtensionTooShort,
        Self::Ipv6TooManyExtensions,
        Self::TcpTooShort,
        Self::TcpBadOffset,
        Self::UdpTooShort,
        Self::UdpBadLength,
        Self::IcmpTooShort,
        Self::SctpTooShort,
    ];

    /// The snake-case name, for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnsupportedLink => "unsupported_link",
            Self::EthernetTooShort => "ethernet_too_short",
            Self::VlanTooShort => "vlan_too_short",
            Self::LinkTooShort => "link_too_short",
            Self::Ipv4TooShort => "ipv4_too_short",
            Self::Ipv4BadVersion => "ipv4_bad_version",
            Self::Ipv4BadHeaderLength => "ipv4_bad_header_length",
            Self::Ipv4BadTotalLength => "ipv4_bad_total_length",
            Self::Ipv6TooShort => "ipv6_too_short",
            Self::Ipv6BadVersion => "ipv6_bad_version",
            Self::Ipv6ExtensionTooShort => "ipv6_extension_too_short",
            Self::Ipv6TooManyExtensions => "ipv6_too_many_extensions",
            Self::TcpTooShort => "tcp_too_short",
            Self::TcpBadOffset => "tcp_bad_offset",
            Self::UdpTooShort => "udp_too_short",
            Self::UdpBadLength => "udp_bad_length",
            Self::IcmpTooShort => "icmp_too_short",
            Self::SctpTooShort => "sctp_too_short",
        }
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for DecodeError {}

/// Decodes a captured frame.
///
/// # Errors
///
/// The first header that is cut off or contradicts itself.
pub fn decode<'a>(desc: &PacketDesc, frame: &'a [u8]) -> Result<Decoded<'a>, DecodeError> {
    let link = link::decode(desc.link, frame)?;
    let network = match link.ethertype {
        link::IPV4 => ip::v4(link.rest)?,
        link::IPV6 => ip::v6(link.rest)?,
        other => return Ok(Decoded::NotIp(other)),
    };
    // A length of 0 is left to the sending machine's network card; the wire then tells it.
    let behind_link = (frame.len() - link.rest.len()) as u32;
    let wire = network.length.unwrap_or_else(|| desc.length.saturating_sub(behind_link + network.headers));
    let captured = &network.rest[..network.rest.len().min(wire as usize)];
    let transport = transport::decode(network.l4, network.fragment, captured, wire)?;
    Ok(Decoded::Packet(Packet {
        ts: desc.ts,
        length: desc.length,
        src_mac: link.src,
        dst_mac: link.dst,
        vlan: link.vlan,
        src: network.src,
        dst: network.dst,
        l4: network.l4,
        src_port: transport.src_port,
        dst_port: transport.dst_port,
        ttl: network.ttl,
        fragment: network.fragment,
        tcp: transport.tcp,
        icmp: transport.icmp,
        payload: transport.payload,
        payload_len: transport.payload_len,
    }))
}

/// Big-endian 16 bits at `at`.
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|raw| u16::from_be_bytes(*raw))
}

/// Big-endian 32 bits at `at`.
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_be_bytes(*raw))
}
