//! Link headers (tcpdump.org/linktypes.html): what carries the packet, and between whom.

use shared::model::pool::Mac;

use super::{DecodeError, be16};
use crate::capture::LinkType;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;

/// Smaller values are the length of an IEEE 802.3 frame.
const FIRST_ETHERTYPE: u16 = 0x0600;
/// LLC and SNAP header of an EtherType in an 802.3 frame (RFC 1042).
const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];
/// `ARPHRD_ETHER` of cooked captures: the address is a MAC.
const ARPHRD_ETHER: u16 = 1;

/// What lies behind the link header.
pub(super) struct Link<'a> {
    pub(super) ethertype: u16,
    pub(super) vlan: u16,
    pub(super) src: Option<Mac>,
    pub(super) dst: Option<Mac>,
    pub(super) rest: &'a [u8],
}

impl<'a> Link<'a> {
    fn plain(ethertype: u16, rest: &'a [u8]) -> Self {
        Self { ethertype, vlan: 0, src: None, dst: None, rest }
    }
}

pub(super) fn decode(link: LinkType, frame: &[u8]) -> Result<Link<'_>, DecodeError> {
    match link {
        LinkType::ETHERNET => ethernet(frame),
        LinkType::LINUX_SLL => cooked_v1(frame),
        LinkType::LINUX_SLL2 => cooked_v2(frame),
        LinkType::RAW | LinkType::DLT_RAW => raw(frame),
        LinkType::IPV4 => Ok(Link::plain(IPV4, frame)),
        LinkType::IPV6 => Ok(Link::plain(IPV6, frame)),
        LinkType::NULL | LinkType::LOOP => loopback(frame),
        LinkType::PPP => ppp(frame),
        LinkType::C_HDLC => {
            let ethertype = be16(frame, 2).ok_or(DecodeError::LinkTooShort)?;
            tagged(Link::plain(ethertype, behind(frame, 4)))
        }
        _ => Err(DecodeError::UnsupportedLink),
    }
}

fn behind(frame: &[u8], header: usize) -> &[u8] {
    frame.get(header..).unwrap_or_default()
}

fn mac(frame: &[u8], at: usize) -> Option<Mac> {
    frame.get(at..)?.first_chunk().copied()
}

fn ethernet(frame: &[u8]) -> Result<Link<'_>, DecodeError> {
    let ethertype = be16(frame, 12).ok_or(DecodeError::EthernetTooShort)?;
    let (dst, src) = (mac(frame, 0), mac(frame, 6));
    tagged(Link { ethertype, vlan: 0, src, dst, rest: behind(frame, 14) })
}

/// Takes off VLAN tags (IEEE 802.1Q, 802.1ad, older double tags) and the SNAP header.
fn tagged(mut link: Link<'_>) -> Result<Link<'_>, DecodeError> {
    while matches!(link.ethertype, 0x8100 | 0x88a8 | 0x9100 | 0x9200) {
        let control = be16(link.rest, 0).ok_or(DecodeError::VlanTooShort)?;
        link.ethertype = be16(link.rest, 2).ok_or(DecodeError::VlanTooShort)?;
        link.rest = behind(link.rest, 4);
        // Id 0 only carries a priority.
        if link.vlan == 0 {
            link.vlan = control & 0x0fff;
        }
    }
    if link.ethertype < FIRST_ETHERTYPE {
        let inner = if link.rest.starts_with(&SNAP) { be16(link.rest, SNAP.len()) } else { None };
        link.ethertype = inner.unwrap_or(0);
        link.rest = behind(link.rest, SNAP.len() + 2);
    }
    Ok(link)
}

fn cooked_v1(frame: &[u8]) -> Result<Link<'_>, DecodeError> {
    let ethertype = be16(frame, 14).ok_or(DecodeError::LinkTooShort)?;
    let is_mac = be16(frame, 2) == Some(ARPHRD_ETHER) && be16(frame, 4) == Some(6);
    let src = if is_mac { mac(frame, 6) } else { None };
    tagged(Link { ethertype, vlan: 0, src, dst: None, rest: behind(frame, 16) })
}

fn cooked_v2(frame: &[u8]) -> Result<Link<'_>, DecodeError> {
    const HEADER: usize = 20;
    if frame.len() < HEADER {
        return Err(DecodeError::LinkTooShort);
    }
    let ethertype = be16(frame, 0).ok_or(DecodeError::LinkTooShort)?;
    let is_mac = be16(frame, 8) == Some(ARPHRD_ETHER) && frame.get(11) == Some(&6);
    let src = if is_mac { mac(frame, 12) } else { None };
    tagged(Link { ethertype, vlan: 0, src, dst: None, rest: behind(frame, HEADER) })
}

fn raw(frame: &[u8]) -> Result<Link<'_>, DecodeError> {
    match frame.first().map(|byte| byte >> 4) {
        Some(4) => Ok(Link::plain(IPV4, frame)),
        Some(6) => Ok(Link::plain(IPV6, frame)),
        Some(_) => Err(DecodeError::Ipv4BadVersion),
        None => Err(DecodeError::LinkTooShort),
    }
}

/// The family is in the order of the capturing machine or the network's; families are small, so
/// the zero bytes tell. IPv6 has a number of its own on nearly every BSD.
fn loopback(frame: &[u8]) -> Result<Link<'_>, DecodeError> {
    let raw = *frame.first_chunk::<4>().ok_or(DecodeError::LinkTooShort)?;
    let (big, little) = (u32::from_be_bytes(raw), u32::from_le_bytes(raw));
    Ok(match big.min(little) {
        2 => Link::plain(IPV4, behind(frame, 4)),
        10 | 24 | 28 | 30 => Link::plain(IPV6, behind(frame, 4)),
        _ => Link::plain(0, behind(frame, 4)),
    })
}

/// Address and control bytes (RFC 1662) are optional, so is the protocol's first byte (RFC 1661 §6.5).
fn ppp(frame: &[u8]) -> Result<Link<'_>, DecodeError> {
    let frame = frame.strip_prefix(&[0xff, 3]).unwrap_or(frame);
    let (protocol, header) = match frame.first() {
        Some(byte) if byte & 1 != 0 => (u16::from(*byte), 1),
        _ => (be16(frame, 0).ok_or(DecodeError::LinkTooShort)?, 2),
    };
    let ethertype = match protocol {
        0x21 => IPV4,
        0x57 => IPV6,
        _ => 0,
    };
    Ok(Link::plain(ethertype, behind(frame, header)))
}
