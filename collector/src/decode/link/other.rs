//! Link types that wrap another or that are rare (tcpdump.org/linktypes.html).

use super::{IPV4, IPV6, Link, NO_NETWORK, of_family, of_type};
use crate::capture::LinkType;
use crate::decode::DecodeError;
use crate::decode::span::Span;

const CUT: DecodeError = DecodeError::LinkTooShort;

fn little16(frame: Span<'_>, at: usize) -> Result<u16, DecodeError> {
    frame.be16(at).map(u16::swap_bytes).ok_or(CUT)
}

fn little32(frame: Span<'_>, at: usize) -> Result<u32, DecodeError> {
    frame.be32(at).map(u32::swap_bytes).ok_or(CUT)
}

/// What is behind a header that names the link type within.
fn within(link: u32, rest: Span<'_>) -> Result<Link<'_>, DecodeError> {
    let link = u16::try_from(link).map(LinkType).unwrap_or(LinkType::PPI);
    // One wrapper in another would be without end.
    if matches!(link, LinkType::PPI | LinkType::PKTAP) {
        return Err(DecodeError::UnsupportedLink);
    }
    of_type(link, rest)
}

/// Per-packet information: little-endian, with its own length and the type within.
pub(super) fn ppi(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    let length = usize::from(little16(frame, 2)?);
    if length < 8 {
        return Err(DecodeError::LinkBadHeader);
    }
    within(little32(frame, 4)?, frame.skip(length).ok_or(CUT)?)
}

/// Apple's metadata: little-endian, with its own length and the type within.
pub(super) fn pktap(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    let (length, link) = (little32(frame, 0)?, little32(frame, 8)?);
    if length < 12 {
        return Err(DecodeError::LinkBadHeader);
    }
    within(link, frame.skip(length as usize).ok_or(CUT)?)
}

/// Netfilter's log: attributes of type, length and value, the packet in one of them. They are in
/// the order of the machine that captured; types are small, so the zero byte tells.
pub(super) fn nflog(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    const PAYLOAD: u16 = 9;
    const HEADER: usize = 4;
    let family = u32::from(frame.byte(0).ok_or(CUT)?);
    let mut rest = frame.skip(HEADER).ok_or(CUT)?;
    while let (Some(length), Some(kind)) = (rest.be16(0), rest.be16(2)) {
        let little = kind & 0xff != kind;
        let (length, kind) = if little { (length.swap_bytes(), kind.swap_bytes()) } else { (length, kind) };
        let length = usize::from(length);
        if length < HEADER {
            return Err(DecodeError::LinkBadHeader);
        }
        if kind == PAYLOAD {
            let packet = rest.limit(length as u32).skip(HEADER).ok_or(CUT)?;
            return Ok(Link::plain(of_family(family), packet));
        }
        rest = rest.skip(length.next_multiple_of(4)).ok_or(CUT)?;
    }
    // Logged without the packet.
    Ok(Link::plain(NO_NETWORK, rest))
}

/// BSD's `enc`: the address family in the machine's order, SPI and flags.
pub(super) fn enc(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    let rest = frame.skip(12).ok_or(CUT)?;
    let family = frame.be32(0).ok_or(CUT)?;
    Ok(Link::plain(of_family(family.min(family.swap_bytes())), rest))
}

/// Frame relay: an address of two to four bytes, control, and a network protocol (RFC 2427).
pub(super) fn frame_relay(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    const UNNUMBERED: u8 = 3;
    // The last byte of the address is odd.
    let address = frame.bytes.iter().take(4).position(|byte| byte & 1 != 0).ok_or(CUT)? + 1;
    let rest = frame.skip(address).ok_or(CUT)?;
    match (rest.byte(0).ok_or(CUT)?, rest.byte(1).ok_or(CUT)?) {
        (UNNUMBERED, 0xcc) => Ok(Link::plain(IPV4, rest.skip(2).ok_or(CUT)?)),
        (UNNUMBERED, 0x8e) => Ok(Link::plain(IPV6, rest.skip(2).ok_or(CUT)?)),
        // Padding, then SNAP.
        (UNNUMBERED, 0) if rest.byte(2) == Some(0x80) => {
            Ok(Link::plain(rest.be16(6).ok_or(CUT)?, rest.skip(8).ok_or(CUT)?))
        }
        // Cisco's own: an EtherType straight behind the address.
        (high, low) if high >= 6 => {
            Ok(Link::plain(u16::from_be_bytes([high, low]), rest.skip(2).ok_or(CUT)?))
        }
        _ => Ok(Link::plain(NO_NETWORK, rest)),
    }
}
