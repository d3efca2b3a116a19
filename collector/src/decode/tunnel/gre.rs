//! GRE: version 0 (RFC 2784, RFC 2890), version 1 of PPTP (RFC 2637), ERSPAN inside
//! (draft-foschiano-erspan-03).

use super::{Tunnel, TunnelKind, nothing};
use crate::decode::DecodeError;
use crate::decode::link::{IPV4, Link, ethernet, ppp};
use crate::decode::{ip, span::Span};

const CUT: DecodeError = DecodeError::GreTooShort;

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
/// Version 1 only.
const ACKNOWLEDGE: u16 = 0x0080;

const PPP: u16 = 0x880b;
const ERSPAN_2: u16 = 0x88be;
const ERSPAN_3: u16 = 0x22eb;
/// Web cache redirection: a header of four bytes may stand before IP.
const WCCP: u16 = 0x883e;

pub(super) fn open(span: Span<'_>) -> Result<Link<'_>, DecodeError> {
    let (flags, protocol) = (span.be16(0).ok_or(CUT)?, span.be16(2).ok_or(CUT)?);
    match flags & 7 {
        0 => version_0(span, flags, protocol),
        1 => pptp(span, flags),
        _ => Err(DecodeError::GreBadVersion),
    }
}

fn version_0(span: Span<'_>, flags: u16, protocol: u16) -> Result<Link<'_>, DecodeError> {
    // Source routes (RFC 1701) were given up long ago; their packets stay whole.
    if flags & ROUTING != 0 {
        return Ok(nothing(span));
    }
    let mut header = 4;
    if flags & CHECKSUM != 0 {
        header += 4;
    }
    let mut key = 0;
    if flags & KEY != 0 {
        key = span.be32(header).ok_or(CUT)?;
        header += 4;
    }
    if flags & SEQUENCE != 0 {
        header += 4;
    }
    let rest = span.skip(header).ok_or(CUT)?;
    let tunnel = Tunnel::of(TunnelKind::Gre, key);
    match protocol {
        // Without sequence number it is type I, which has no header of its own.
        ERSPAN_2 if flags & SEQUENCE == 0 => {
            Ok(Link { tunnel: Tunnel::of(TunnelKind::Erspan, 0), ..ethernet(rest)? })
        }
        ERSPAN_2 => erspan(rest, 8),
        ERSPAN_3 => erspan(rest, 12),
        PPP => Ok(Link { tunnel, ..ppp(rest).ok_or(CUT)? }),
        WCCP => {
            let is_ip = ip::sane(rest) == Some(IPV4);
            let rest = if is_ip { rest } else { rest.skip(4).ok_or(CUT)? };
            Ok(Link { tunnel, ..Link::plain(IPV4, rest) })
        }
        // A keep-alive carries nothing.
        0 => Ok(nothing(rest)),
        ethertype => Ok(Link { tunnel, ..Link::plain(ethertype, rest) }),
    }
}

/// The mirrored frame behind a header of `fixed` bytes.
fn erspan(span: Span<'_>, fixed: usize) -> Result<Link<'_>, DecodeError> {
    const CUT: DecodeError = DecodeError::ErspanTooShort;
    const TYPE_3: usize = 12;
    let tunnel = Tunnel::of(TunnelKind::Erspan, u32::from(span.be16(2).ok_or(CUT)? & 0x03ff));
    let rest = span.skip(fixed).ok_or(CUT)?;
    if fixed < TYPE_3 {
        return Ok(Link { tunnel, ..ethernet(rest)? });
    }
    let word = span.be16(10).ok_or(CUT)?;
    // The platform's own eight bytes follow when the lowest bit says so.
    let rest = if word & 1 != 0 { rest.skip(8).ok_or(CUT)? } else { rest };
    match (word >> 10) & 0x1f {
        0 => Ok(Link { tunnel, ..ethernet(rest)? }),
        2 => Ok(Link { tunnel, ..Link::plain(ip::sane(rest).unwrap_or(IPV4), rest) }),
        _ => Ok(nothing(rest)),
    }
}

fn pptp(span: Span<'_>, flags: u16) -> Result<Link<'_>, DecodeError> {
    let (length, call) = (span.be16(4).ok_or(CUT)?, span.be16(6).ok_or(CUT)?);
    // Without sequence number there is no payload, only an acknowledgement.
    if flags & SEQUENCE == 0 || length == 0 {
        return Ok(nothing(span));
    }
    let header = if flags & ACKNOWLEDGE != 0 { 16 } else { 12 };
    let rest = span.skip(header).ok_or(CUT)?.limit(length.into());
    let tunnel = Tunnel::of(TunnelKind::Pptp, call.into());
    Ok(Link { tunnel, ..ppp(rest).ok_or(CUT)? })
}
