//! From a captured frame to addresses, ports and payload.
//!
//! Pure and, once the first fragment has come, allocation-free. A header that its own length fields
//! contradict is an error to count by kind, never a panic; a frame that is fine but carries no IP is
//! [`Decoded::NotIp`]. Tags, labels and sessions below the first IP header are always taken off;
//! tunnels above it as [`Tunnels`] says.

#![forbid(unsafe_code)]

pub mod arp;
mod config;
mod error;
mod fragments;
mod ip;
mod link;
mod span;
mod transport;
mod tunnel;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use shared::model::pool::Mac;
use shared::model::{L4, Timestamp};

use crate::capture::{LinkType, PacketDesc};

pub use config::{DecoderConfig, DecoderStats};
pub use error::DecodeError;
pub use fragments::Overtaking;
pub use tunnel::{Tunnel, TunnelKind, Tunnels};

use fragments::{Fragments, Key, Later};
use ip::Network;
use link::Link;
use span::Span;
use transport::Transport;

/// Tunnels in each other opened at most.
pub const MAX_TUNNELS: u32 = 6;

/// A frame's contents.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded<'a> {
    /// An IP packet.
    Packet(Packet<'a>),
    /// Well formed as far as the link layer goes, but no IP: ARP, LLDP, …; the EtherType, or 0 when
    /// the frame has none (spanning tree, other LLC).
    NotIp(u16),
    /// A later fragment that waits for the first one of its datagram, whose packet will count it
    /// ([`Packet::overtaking`]).
    Waits,
}

/// An IP packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet<'a> {
    /// Time of capture.
    pub ts: Timestamp,
    /// Bytes on the wire, link header included.
    pub length: u32,
    /// Sender's hardware address, where the innermost link header tells it.
    pub src_mac: Option<Mac>,
    /// Receiver's hardware address, where the innermost link header tells it.
    pub dst_mac: Option<Mac>,
    /// Outermost VLAN id, 0 when untagged or only priority-tagged.
    pub vlan: u16,
    /// The VLAN id inside that one, 0 when there is none.
    pub inner_vlan: u16,
    /// The innermost encapsulation around the packet: a tunnel, a label stack, a session.
    pub tunnel: Option<Tunnel>,
    /// Sender.
    pub src: IpAddr,
    /// Receiver.
    pub dst: IpAddr,
    /// Layer-4 protocol.
    pub l4: L4,
    /// Sender's port; 0 without ports and in later fragments whose first was not seen.
    pub src_port: u16,
    /// Receiver's port; 0 without ports and in later fragments whose first was not seen.
    pub dst_port: u16,
    /// IPv4 type of service or IPv6 traffic class: DSCP in the upper six bits, ECN in the lower two.
    pub tos: u8,
    /// IP flags ([`IP_DF`](shared::model::flow::IP_DF), [`IP_MF`](shared::model::flow::IP_MF)).
    pub ip_flags: u8,
    /// IPv4 time to live or IPv6 hop limit.
    pub ttl: u8,
    /// Whether the packet is a fragment. A later fragment of a tunnel's packet has the addresses
    /// and ports of the inner packet that its first fragment showed.
    pub fragment: Fragment,
    /// Later fragments of the same datagram that came before this packet and are counted with it. A
    /// packet of length 0 stands for those whose first never came ([`Decoder::take_overdue`]).
    pub overtaking: Overtaking,
    /// TCP header; `None` otherwise and in later fragments.
    pub tcp: Option<TcpHeader>,
    /// ICMP or ICMPv6 type and code.
    pub icmp: Option<(u8, u8)>,
    /// Captured layer-4 payload without link padding; empty in later fragments, whose bytes are the
    /// middle of something.
    pub payload: &'a [u8],
    /// Bytes of layer-4 payload on the wire by the IP length, also when the capture cut them off;
    /// never more than the frame had room for.
    pub payload_len: u32,
    /// What is malformed about a packet that is one all the same: a length beyond the frame, or a
    /// tunnel whose inner packet is broken, so that the outer one stands.
    pub flaw: Option<DecodeError>,
}

impl Packet<'_> {
    /// A packet without layer-4 header and payload; tests and generators fill in the rest.
    pub fn new(ts: Timestamp, length: u32, src: IpAddr, dst: IpAddr, l4: L4) -> Self {
        Self {
            ts,
            length,
            src_mac: None,
            dst_mac: None,
            vlan: 0,
            inner_vlan: 0,
            tunnel: None,
            src,
            dst,
            l4,
            src_port: 0,
            dst_port: 0,
            tos: 0,
            ip_flags: 0,
            ttl: 64,
            fragment: Fragment::None,
            overtaking: Overtaking::default(),
            tcp: None,
            icmp: None,
            payload: &[],
            payload_len: 0,
            flaw: None,
        }
    }
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

/// Decodes the frames of one source, in the order of capture.
#[derive(Debug)]
pub struct Decoder {
    tunnels: Tunnels,
    fragments: Fragments,
    stats: DecoderStats,
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new(config: DecoderConfig) -> Self {
        Self {
            tunnels: config.tunnels,
            fragments: Fragments::new(config.max_fragments, config.seed, config.patient),
            stats: DecoderStats::default(),
        }
    }

    /// Counters so far.
    pub fn stats(&self) -> DecoderStats {
        DecoderStats { fragments_evicted: self.fragments.evicted, ..self.stats }
    }

    /// Gives up waiting for fragments that are overdue at `now`, or for `all`.
    pub fn sweep(&mut self, now: Timestamp, all: bool) {
        self.fragments.sweep(now, all);
    }

    /// Fragments that waited for their first one in vain: one packet without ports and of length 0
    /// stands for all of a datagram.
    pub fn take_overdue(&mut self) -> Option<Packet<'static>> {
        let packet = self.fragments.take_overdue()?;
        self.stats.fragments_orphaned += u64::from(packet.overtaking.packets);
        Some(packet)
    }

    /// Decodes a captured frame.
    ///
    /// # Errors
    ///
    /// The first header that is cut off or contradicts itself, up to the first packet's layer 4.
    pub fn decode<'a>(&mut self, desc: &PacketDesc, frame: &'a [u8]) -> Result<Decoded<'a>, DecodeError> {
        let frame = Span::new(frame, desc.length);
        // Nearly all frames are IP straight behind Ethernet. Their way is kept free of everything
        // else, so that no header goes through memory before it lies in the packet.
        if desc.link == LinkType::ETHERNET {
            let link = link::ethernet(frame)?;
            if link.is_ip() {
                return self.packet(desc, &link, 0);
            }
            if link.ethertype == link::VLAN {
                return self.tagged(desc, frame);
            }
        }
        self.stacked(desc, frame)
    }

    /// [`Self::decode`] for Ethernet with a VLAN tag, which mirror ports send.
    #[inline(never)]
    fn tagged<'a>(&mut self, desc: &PacketDesc, frame: Span<'a>) -> Result<Decoded<'a>, DecodeError> {
        let link = link::tag(link::ethernet(frame)?)?;
        if link.is_ip() { self.packet(desc, &link, 0) } else { self.stacked(desc, frame) }
    }

    /// [`Self::decode`] for frames of other link types, and with several tags, labels or sessions.
    #[inline(never)]
    fn stacked<'a>(&mut self, desc: &PacketDesc, frame: Span<'a>) -> Result<Decoded<'a>, DecodeError> {
        let link = link::decode(desc.link, frame)?;
        match link.ethertype {
            link::IPV4 | link::IPV6 => self.nested(desc, &link, 0),
            link::NO_NETWORK => Ok(Decoded::NotIp(0)),
            other => Ok(Decoded::NotIp(other)),
        }
    }

    /// The IP packet behind `link`, or the innermost one that it carries.
    #[inline(always)]
    fn packet<'a>(
        &mut self,
        desc: &PacketDesc,
        link: &Link<'a>,
        depth: u32,
    ) -> Result<Decoded<'a>, DecodeError> {
        // Twice the same: what the two versions share then needs no place where they meet.
        if link.ethertype == link::IPV4 {
            let network = ip::v4(link.rest)?;
            let transport = transport::decode(&network)?;
            if is_plain(&network, &transport) {
                return Ok(Decoded::Packet(assemble(desc, link, &network, &transport)));
            }
        } else {
            let network = ip::v6(link.rest)?;
            let transport = transport::decode(&network)?;
            if is_plain(&network, &transport) {
                return Ok(Decoded::Packet(assemble(desc, link, &network, &transport)));
            }
        }
        self.unusual(desc, link, depth)
    }

    /// [`Self::packet`] where time is not so short.
    #[inline(never)]
    fn nested<'a>(
        &mut self,
        desc: &PacketDesc,
        link: &Link<'a>,
        depth: u32,
    ) -> Result<Decoded<'a>, DecodeError> {
        self.packet(desc, link, depth)
    }

    /// A fragment, or a packet that may carry another.
    #[inline(never)]
    fn unusual<'a>(
        &mut self,
        desc: &PacketDesc,
        link: &Link<'a>,
        depth: u32,
    ) -> Result<Decoded<'a>, DecodeError> {
        let network = if link.ethertype == link::IPV4 { ip::v4(link.rest)? } else { ip::v6(link.rest)? };
        let transport = transport::decode(&network)?;
        let mut packet = assemble(desc, link, &network, &transport);
        self.stats.fragments += u64::from(network.fragment != Fragment::None);
        let packet = match network.fragment {
            Fragment::Later => match self.fragments.later(&mut packet, &network) {
                Later::Known => Some(packet),
                Later::Waits => None,
                Later::Orphan => {
                    self.stats.fragments_orphaned += 1;
                    Some(packet)
                }
            },
            Fragment::First => {
                let key = Key::of(&packet, &network);
                self.inner(desc, packet, &network, depth).map(|packet| {
                    let overtaking = self.fragments.first(key, &packet, &network);
                    Packet { overtaking: packet.overtaking.and(overtaking), ..packet }
                })
            }
            Fragment::None => self.inner(desc, packet, &network, depth),
        };
        Ok(packet.map_or(Decoded::Waits, Decoded::Packet))
    }

    /// The packet that `outer` carries, or `outer` itself; `None` when that is a fragment which waits.
    fn inner<'a>(
        &mut self,
        desc: &PacketDesc,
        outer: Packet<'a>,
        network: &Network<'a>,
        depth: u32,
    ) -> Option<Packet<'a>> {
        if self.tunnels == Tunnels::Outer || !tunnel::possible(outer.l4, outer.src_port, outer.dst_port) {
            return Some(outer);
        }
        let goes_on = network.rest.goes_on || network.fragment == Fragment::First;
        let span = Span { goes_on, ..Span::new(outer.payload, outer.payload_len) };
        let opened = match tunnel::open(&outer, span) {
            Ok(None) => return Some(outer),
            Ok(Some(_)) if depth >= MAX_TUNNELS => Err(DecodeError::TunnelTooDeep),
            Ok(Some(link)) => Ok(link),
            Err(error) => Err(error),
        };
        let inner = opened.and_then(|link| self.nested(desc, &link.inside(&outer), depth + 1));
        Some(match inner {
            Ok(Decoded::Packet(inner)) => {
                self.stats.tunnelled += u64::from(depth == 0);
                Packet { flaw: inner.flaw.or(outer.flaw), ..inner }
            }
            Ok(Decoded::NotIp(_)) => outer,
            Ok(Decoded::Waits) => return None,
            Err(error) => Packet { flaw: Some(error), ..outer },
        })
    }
}

/// No fragment, and nothing that could be a tunnel.
#[inline(always)]
fn is_plain(network: &Network<'_>, transport: &Transport<'_>) -> bool {
    network.fragment == Fragment::None
        && !tunnel::possible(network.l4, transport.src_port, transport.dst_port)
}

#[inline(always)]
fn assemble<'a>(
    desc: &PacketDesc,
    link: &Link<'a>,
    network: &Network<'a>,
    transport: &Transport<'a>,
) -> Packet<'a> {
    Packet {
        ts: desc.ts,
        length: desc.length,
        src_mac: link.src,
        dst_mac: link.dst,
        vlan: link.vlans[0],
        inner_vlan: link.vlans[1],
        tunnel: link.tunnel,
        src: network.src,
        dst: network.dst,
        l4: network.l4,
        src_port: transport.src_port,
        dst_port: transport.dst_port,
        tos: network.tos,
        ip_flags: network.flags,
        ttl: network.ttl,
        fragment: network.fragment,
        overtaking: Overtaking::default(),
        tcp: transport.tcp,
        icmp: transport.icmp,
        payload: transport.payload,
        payload_len: transport.payload_len,
        flaw: network.flaw,
    }
}
