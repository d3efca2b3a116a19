//! Link headers (tcpdump.org/linktypes.html): what carries the packet, and between whom.

mod other;
mod stack;
mod wireless;

use shared::model::pool::Mac;

use super::span::Span;
use super::{DecodeError, Packet, Tunnel};
use crate::capture::LinkType;

pub(super) use stack::{ppp, tag, unstack};

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
/// A VLAN tag of IEEE 802.1Q.
pub(super) const VLAN: u16 = 0x8100;
pub(super) const MPLS: u16 = 0x8847;
/// Ethernet in what is no Ethernet (RFC 1701 §4, RFC 7637).
pub(super) const BRIDGED: u16 = 0x6558;
/// No network packet and nothing to take off: stands where an EtherType is asked for and there is
/// none, since 0 is looked into as LLC. IEEE reserves the number.
pub(super) const NO_NETWORK: u16 = 0xffff;
/// An EtherType from this on; smaller values are the length of an IEEE 802.3 frame.
const FIRST_ETHERTYPE: u16 = 0x0600;
/// `ARPHRD_ETHER` of cooked captures: the address is a MAC.
const ARPHRD_ETHER: u16 = 1;

/// What lies behind the link header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    /// EtherType of `rest`; [`NO_NETWORK`] or below [`FIRST_ETHERTYPE`] when it has none.
    pub(super) ethertype: u16,
    /// The outermost VLAN id and the next, 0 where there is none.
    pub(super) vlans: [u16; 2],
    pub(super) src: Option<Mac>,
    pub(super) dst: Option<Mac>,
    /// The innermost encapsulation taken off.
    pub(super) tunnel: Option<Tunnel>,
    pub(super) rest: Span<'a>,
}

impl<'a> Link<'a> {
    pub(super) fn plain(ethertype: u16, rest: Span<'a>) -> Self {
        Self { ethertype, vlans: [0; 2], src: None, dst: None, tunnel: None, rest }
    }

    /// The same within `outer`, whose VLANs come first and whose MACs stand where it has none.
    pub(super) fn inside(self, outer: &Packet<'_>) -> Self {
        let [first, second] = self.vlans;
        let vlans = match (outer.vlan, outer.inner_vlan) {
            (0, _) => [first, second],
            (id, 0) => [id, first],
            both => both.into(),
        };
        // A link header inside has both addresses or none.
        let (src, dst) =
            if self.dst.is_some() { (self.src, self.dst) } else { (outer.src_mac, outer.dst_mac) };
        Self { vlans, src, dst, ..self }
    }

    pub(super) fn is_ip(&self) -> bool {
        matches!(self.ethertype, IPV4 | IPV6)
    }
}

/// Takes off everything in front of the IP header; the EtherType of the result is final.
#[inline(always)]
pub(super) fn decode(link: LinkType, frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    let link = if link == LinkType::ETHERNET { ethernet(frame)? } else { of_type(link, frame)? };
    if link.is_ip() { Ok(link) } else { unstack(link) }
}

/// The header of one Ethernet frame, nothing behind it.
#[inline(always)]
pub(super) fn ethernet(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    const CUT: DecodeError = DecodeError::EthernetTooShort;
    let header: &[u8; 14] = frame.bytes.first_chunk().ok_or(CUT)?;
    Ok(Link {
        ethertype: u16::from_be_bytes([header[12], header[13]]),
        vlans: [0; 2],
        src: mac(header, 6),
        dst: mac(header, 0),
        tunnel: None,
        rest: frame.skip(14).ok_or(CUT)?,
    })
}

fn mac(frame: &[u8], at: usize) -> Option<Mac> {
    frame.get(at..)?.first_chunk().copied()
}

#[cold]
fn of_type(link: LinkType, frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    const CUT: DecodeError = DecodeError::LinkTooShort;
    match link {
        LinkType::ETHERNET => ethernet(frame),
        LinkType::LINUX_SLL => cooked_v1(frame),
        LinkType::LINUX_SLL2 => cooked_v2(frame),
        LinkType::RAW | LinkType::DLT_RAW | LinkType::DLT_RAW_OPENBSD => raw(frame),
        LinkType::IPV4 => Ok(Link::plain(IPV4, frame)),
        LinkType::IPV6 => Ok(Link::plain(IPV6, frame)),
        LinkType::NULL | LinkType::LOOP => loopback(frame),
        LinkType::PPP | LinkType::PPP_HDLC => ppp(frame).ok_or(CUT),
        LinkType::PPP_WITH_DIR => frame.skip(1).and_then(ppp).ok_or(CUT),
        LinkType::PPP_ETHER => Ok(Link::plain(stack::PPPOE_SESSION, frame)),
        LinkType::C_HDLC => c_hdlc(frame),
        LinkType::C_HDLC_WITH_DIR => c_hdlc(frame.skip(1).ok_or(CUT)?),
        LinkType::MPLS => Ok(Link::plain(MPLS, frame)),
        LinkType::IEEE802_11 => wireless::plain(frame),
        LinkType::RADIOTAP => wireless::radiotap(frame),
        LinkType::PRISM => wireless::plain(frame.skip(144).ok_or(CUT)?),
        LinkType::AVS => wireless::avs(frame),
        LinkType::PPI => other::ppi(frame),
        LinkType::PKTAP => other::pktap(frame),
        LinkType::NFLOG => other::nflog(frame),
        LinkType::ENC => other::enc(frame),
        LinkType::FRELAY => other::frame_relay(frame),
        LinkType::NETANALYZER => ethernet(frame.skip(4).ok_or(CUT)?),
        LinkType::ATM_RFC1483 => Ok(Link::plain(0, frame)),
        LinkType::IP_OVER_FC => Ok(Link::plain(0, frame.skip(16).ok_or(CUT)?)),
        LinkType::FDDI => Ok(Link::plain(0, frame.skip(13).ok_or(CUT)?)),
        LinkType::FIREWIRE => Ok(Link::plain(frame.be16(16).ok_or(CUT)?, frame.skip(18).ok_or(CUT)?)),
        _ => Err(DecodeError::UnsupportedLink),
    }
}

fn cooked_v1(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    const CUT: DecodeError = DecodeError::LinkTooShort;
    let rest = frame.skip(16).ok_or(CUT)?;
    let is_mac = frame.be16(2) == Some(ARPHRD_ETHER) && frame.be16(4) == Some(6);
    let src = if is_mac { mac(frame.bytes, 6) } else { None };
    Ok(Link { src, ..Link::plain(frame.be16(14).ok_or(CUT)?, rest) })
}

fn cooked_v2(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    const CUT: DecodeError = DecodeError::LinkTooShort;
    let rest = frame.skip(20).ok_or(CUT)?;
    let is_mac = frame.be16(8) == Some(ARPHRD_ETHER) && frame.byte(11) == Some(6);
    let src = if is_mac { mac(frame.bytes, 12) } else { None };
    Ok(Link { src, ..Link::plain(frame.be16(0).ok_or(CUT)?, rest) })
}

fn raw(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    match frame.byte(0).map(|byte| byte >> 4) {
        Some(4) => Ok(Link::plain(IPV4, frame)),
        Some(6) => Ok(Link::plain(IPV6, frame)),
        Some(_) => Err(DecodeError::Ipv4BadVersion),
        None => Err(DecodeError::LinkTooShort),
    }
}

/// The family is in the order of the capturing machine or the network's; families are small, so
/// the zero bytes tell.
fn loopback(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    let raw = *frame.bytes.first_chunk::<4>().ok_or(DecodeError::LinkTooShort)?;
    let rest = frame.skip(4).ok_or(DecodeError::LinkTooShort)?;
    let family = u32::from_be_bytes(raw).min(u32::from_le_bytes(raw));
    Ok(Link::plain(of_family(family), rest))
}

/// EtherType of an address family; IPv6 has a number of its own on nearly every system.
fn of_family(family: u32) -> u16 {
    match family {
        2 => IPV4,
        10 | 24 | 28 | 30 => IPV6,
        _ => NO_NETWORK,
    }
}

fn c_hdlc(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    const CUT: DecodeError = DecodeError::LinkTooShort;
    Ok(Link::plain(frame.be16(2).ok_or(CUT)?, frame.skip(4).ok_or(CUT)?))
}
