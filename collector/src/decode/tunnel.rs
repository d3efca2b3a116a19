//! IP inside IP: what says so in its protocol number or by its UDP port.

mod gre;
mod udp;

use serde::{Deserialize, Serialize};
use shared::model::L4;

use super::link::{IPV4, IPV6, Link, MPLS, NO_NETWORK, ethernet, unstack};
use super::span::Span;
use super::{DecodeError, Packet};

/// Which packet of a tunnel counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tunnels {
    /// The innermost IP packet.
    #[default]
    Inner,
    /// The first IP packet behind the link header.
    Outer,
}

/// An encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TunnelKind {
    /// MPLS (RFC 3032); the id is the bottom label.
    Mpls,
    /// PPPoE (RFC 2516); the id is the session.
    Pppoe,
    /// Provider backbone bridge (IEEE 802.1ah); the id is the service instance.
    Pbb,
    /// IPv4 or IPv6 in IPv4 or IPv6 (RFC 2003, RFC 4213, RFC 2473); no id.
    IpInIp,
    /// GRE (RFC 2784, RFC 2890); the id is the key.
    Gre,
    /// PPTP's GRE (RFC 2637); the id is the call.
    Pptp,
    /// Mirrored Ethernet, types I to III; the id is the session.
    Erspan,
    /// EtherIP (RFC 3378); no id.
    EtherIp,
    /// VXLAN (RFC 7348); the id is the network.
    Vxlan,
    /// GENEVE (RFC 8926); the id is the network.
    Geneve,
    /// GTP-U (3GPP TS 29.281); the id is the tunnel endpoint.
    GtpU,
    /// Teredo (RFC 4380); no id.
    Teredo,
    /// L2TP version 2 (RFC 2661); the id is the tunnel in the upper and the session in the lower
    /// 16 bits.
    L2tp,
}

impl TunnelKind {
    /// The name, as people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mpls => "MPLS",
            Self::Pppoe => "PPPoE",
            Self::Pbb => "PBB",
            Self::IpInIp => "IP-in-IP",
            Self::Gre => "GRE",
            Self::Pptp => "PPTP",
            Self::Erspan => "ERSPAN",
            Self::EtherIp => "EtherIP",
            Self::Vxlan => "VXLAN",
            Self::Geneve => "GENEVE",
            Self::GtpU => "GTP-U",
            Self::Teredo => "Teredo",
            Self::L2tp => "L2TP",
        }
    }
}

/// The encapsulation around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tunnel {
    /// Which.
    pub kind: TunnelKind,
    /// Tells networks or sessions of that kind apart; 0 where it has no such number.
    pub id: u32,
}

impl Tunnel {
    fn of(kind: TunnelKind, id: u32) -> Option<Self> {
        Some(Self { kind, id })
    }
}

const IP_IN_IP: L4 = L4(4);
const IP6_IN_IP: L4 = L4(41);
const GRE: L4 = L4(47);
const ETHER_IP: L4 = L4(97);
const MPLS_IN_IP: L4 = L4(137);

/// True when a packet may carry another by its protocol and ports.
#[inline]
pub(super) fn possible(l4: L4, src_port: u16, dst_port: u16) -> bool {
    match l4 {
        L4::TCP => false,
        L4::UDP => udp::possible(src_port, dst_port),
        other => matches!(other, IP_IN_IP | IP6_IN_IP | GRE | ETHER_IP | MPLS_IN_IP),
    }
}

/// What `packet` carries, up to the inner IP header; `None` when that is no IP or when only the port
/// spoke for a tunnel. `span` is the packet's payload.
///
/// # Errors
/// What the protocol number, or a whole header of the tunnel's own, announces is malformed.
pub(super) fn open<'a>(packet: &Packet<'a>, span: Span<'a>) -> Result<Option<Link<'a>>, DecodeError> {
    let ip_in_ip = Tunnel::of(TunnelKind::IpInIp, 0);
    let link = match packet.l4 {
        // A port is no promise: what does not begin as the tunnel does is somebody else's payload.
        L4::UDP => return udp::open(packet.src_port, packet.dst_port, span),
        IP_IN_IP => Link { tunnel: ip_in_ip, ..Link::plain(IPV4, span) },
        IP6_IN_IP => Link { tunnel: ip_in_ip, ..Link::plain(IPV6, span) },
        GRE => gre::open(span)?,
        ETHER_IP => ether_ip(span)?,
        MPLS_IN_IP => Link::plain(MPLS, span),
        _ => return Ok(None),
    };
    let link = if link.is_ip() { link } else { unstack(link)? };
    Ok(link.is_ip().then_some(link))
}

/// Two bytes of which only the version counts, then an Ethernet frame.
fn ether_ip(span: Span<'_>) -> Result<Link<'_>, DecodeError> {
    const CUT: DecodeError = DecodeError::EtherIpTooShort;
    if span.byte(0).ok_or(CUT)? >> 4 != 3 {
        return Err(DecodeError::EtherIpBadVersion);
    }
    let tunnel = Tunnel::of(TunnelKind::EtherIp, 0);
    Ok(Link { tunnel, ..ethernet(span.skip(2).ok_or(CUT)?)? })
}

fn nothing(span: Span<'_>) -> Link<'_> {
    Link::plain(NO_NETWORK, span)
}
