//! What is stacked between a link header and IP: VLAN tags, LLC, MPLS labels, PPPoE, provider bridges.

use super::{BRIDGED, FIRST_ETHERTYPE, IPV4, IPV6, Link, MPLS, NO_NETWORK, VLAN, ethernet};
use crate::decode::span::Span;
use crate::decode::{DecodeError, Tunnel, TunnelKind, ip};

pub(super) const PPPOE_SESSION: u16 = 0x8864;
const MPLS_UPSTREAM: u16 = 0x8848;
/// I-tag of a provider backbone bridge (IEEE 802.1ah).
const BACKBONE: u16 = 0x88e7;
/// LLC and SNAP header of an EtherType in an 802.3 frame (RFC 1042) or of a bridge (802.1H).
const SNAP: [[u8; 6]; 2] = [[0xaa, 0xaa, 3, 0, 0, 0], [0xaa, 0xaa, 3, 0, 0, 0xf8]];
/// LLC header of IP itself (RFC 948).
const LLC_IP: [u8; 3] = [6, 6, 3];

/// Headers of one frame taken off at most.
const MAX_HEADERS: usize = 12;
/// Labels of one MPLS stack at most; real ones have up to ten.
const MAX_LABELS: usize = 16;

/// Takes off headers until IP, or something that is no header of these, is in front.
#[cold]
pub(in crate::decode) fn unstack(mut link: Link<'_>) -> Result<Link<'_>, DecodeError> {
    for _ in 0..MAX_HEADERS {
        link = match link.ethertype {
            VLAN | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => tag(link)?,
            MPLS | MPLS_UPSTREAM => labels(link)?,
            PPPOE_SESSION => return pppoe(link),
            BACKBONE => backbone(link)?,
            BRIDGED => bridged(link, link.rest, link.tunnel)?,
            length if length < FIRST_ETHERTYPE => return unstack_llc(link),
            _ => return Ok(link),
        };
        if link.is_ip() {
            return Ok(link);
        }
    }
    Err(DecodeError::LinkTooManyHeaders)
}

/// A VLAN tag (IEEE 802.1Q, 802.1ad, older double tags).
#[inline(always)]
pub(in crate::decode) fn tag(link: Link<'_>) -> Result<Link<'_>, DecodeError> {
    const CUT: DecodeError = DecodeError::VlanTooShort;
    let id = link.rest.be16(0).ok_or(CUT)? & 0x0fff;
    let ethertype = link.rest.be16(2).ok_or(CUT)?;
    // Id 0 only carries a priority.
    let vlans = match link.vlans {
        known if id == 0 => known,
        [0, _] => [id, 0],
        [outer, 0] => [outer, id],
        known => known,
    };
    Ok(Link { ethertype, vlans, rest: link.rest.skip(4).ok_or(CUT)?, ..link })
}

/// LLC in place of an EtherType; EtherType 0 when there is none inside.
fn unstack_llc(link: Link<'_>) -> Result<Link<'_>, DecodeError> {
    let none = Link { ethertype: 0, ..link };
    let bytes = link.rest.bytes;
    if SNAP.iter().any(|snap| bytes.starts_with(snap))
        && let (Some(ethertype), Some(rest)) = (link.rest.be16(6), link.rest.skip(8))
    {
        // Once only: behind SNAP stands an EtherType, or nothing that could be taken off.
        let inner = Link { ethertype, rest, ..link };
        return if ethertype < FIRST_ETHERTYPE { Ok(none) } else { unstack_snap(inner) };
    }
    match link.rest.skip(LLC_IP.len()) {
        Some(rest) if bytes.starts_with(&LLC_IP) => Ok(Link { ethertype: IPV4, rest, ..link }),
        _ => Ok(none),
    }
}

/// Behind SNAP: a tag at most, not another stack.
fn unstack_snap(link: Link<'_>) -> Result<Link<'_>, DecodeError> {
    if link.ethertype == VLAN { tag(link) } else { Ok(link) }
}

/// An Ethernet frame inside; its tags come after those outside.
fn bridged<'a>(link: Link<'a>, frame: Span<'a>, tunnel: Option<Tunnel>) -> Result<Link<'a>, DecodeError> {
    Ok(Link { vlans: link.vlans, tunnel, ..ethernet(frame)? })
}

/// Backbone service instance tag: four bytes, then the customer's frame from its addresses on.
fn backbone(link: Link<'_>) -> Result<Link<'_>, DecodeError> {
    const CUT: DecodeError = DecodeError::VlanTooShort;
    let id = link.rest.be32(0).ok_or(CUT)? & 0x00ff_ffff;
    let frame = link.rest.skip(4).ok_or(CUT)?;
    bridged(link, frame, Some(Tunnel { kind: TunnelKind::Pbb, id }))
}

/// A label stack (RFC 3032). What is below has no type: the first nibble tells (RFC 4928).
fn labels(link: Link<'_>) -> Result<Link<'_>, DecodeError> {
    let mut rest = link.rest;
    for _ in 0..MAX_LABELS {
        let entry = rest.be32(0).ok_or(DecodeError::MplsTooShort)?;
        rest = rest.skip(4).ok_or(DecodeError::MplsTooShort)?;
        if entry & 0x100 != 0 {
            let tunnel = Some(Tunnel { kind: TunnelKind::Mpls, id: entry >> 12 });
            return below_labels(Link { tunnel, rest, ..link });
        }
    }
    Err(DecodeError::MplsTooManyLabels)
}

fn below_labels(link: Link<'_>) -> Result<Link<'_>, DecodeError> {
    if let Some(ethertype) = ip::sane(link.rest) {
        return Ok(Link { ethertype, ..link });
    }
    let carries = |frame: Span<'_>| {
        let ethertype = frame.be16(12);
        ethertype.is_some_and(|t| matches!(t, IPV4 | IPV6 | MPLS | VLAN | 0x88a8 | PPPOE_SESSION))
    };
    let nibble = link.rest.byte(0).ok_or(DecodeError::MplsTooShort)? >> 4;
    // A pseudowire's control word begins with a nibble of 0 (RFC 4385); it may be left out.
    if nibble == 0
        && let Some(frame) = link.rest.skip(4).filter(|frame| carries(*frame))
    {
        return bridged(link, frame, link.tunnel);
    }
    if carries(link.rest) {
        return bridged(link, link.rest, link.tunnel);
    }
    let ethertype = match nibble {
        4 => IPV4,
        6 => IPV6,
        _ => NO_NETWORK,
    };
    Ok(Link { ethertype, ..link })
}

/// PPP over Ethernet, session stage (RFC 2516).
fn pppoe(link: Link<'_>) -> Result<Link<'_>, DecodeError> {
    let header: &[u8; 6] = link.rest.bytes.first_chunk().ok_or(DecodeError::PppoeTooShort)?;
    let rest = link.rest.skip(6).ok_or(DecodeError::PppoeTooShort)?;
    if header[0] != 0x11 {
        return Err(DecodeError::PppoeBadVersion);
    }
    let id = u32::from(u16::from_be_bytes([header[2], header[3]]));
    let length = u32::from(u16::from_be_bytes([header[4], header[5]]));
    if length > rest.wire && !rest.goes_on {
        return Err(DecodeError::PppoeBadLength);
    }
    let tunnel = Some(Tunnel { kind: TunnelKind::Pppoe, id });
    let inner = ppp(rest.limit(length)).ok_or(DecodeError::PppoeTooShort)?;
    // PPP's own control protocols stay what they were: PPPoE.
    let ethertype = if inner.is_ip() { inner.ethertype } else { PPPOE_SESSION };
    Ok(Link { ethertype, tunnel, rest: inner.rest, ..link })
}

/// PPP; address and control bytes (RFC 1662) are optional, so is the protocol's first byte
/// (RFC 1661 §6.5). [`NO_NETWORK`] for what is no IP and no MPLS; `None` when the header is cut off.
pub(in crate::decode) fn ppp(frame: Span<'_>) -> Option<Link<'_>> {
    let frame = if frame.bytes.starts_with(&[0xff, 3]) { frame.skip(2)? } else { frame };
    let (protocol, header) = match frame.byte(0)? {
        byte if byte & 1 != 0 => (u16::from(byte), 1),
        _ => (frame.be16(0)?, 2),
    };
    let ethertype = match protocol {
        0x21 => IPV4,
        0x57 => IPV6,
        0x281 => MPLS,
        _ => NO_NETWORK,
    };
    Some(Link::plain(ethertype, frame.skip(header)?))
}
