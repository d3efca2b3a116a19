//! Tunnels over UDP. Only the port speaks for them, so everything else must fit: the tunnel's own
//! header and an inner IP header that makes sense in the room there is. `None` is not an error: only who
//! has the tunnel's own header and then says that IP follows can be wrong about that.

use super::{Tunnel, TunnelKind};
use crate::decode::link::{BRIDGED, IPV4, IPV6, Link, MPLS, ethernet, ppp, unstack};
use crate::decode::{DecodeError, ip, span::Span};

const L2TP: u16 = 1701;
const GTP_U: u16 = 2152;
const TEREDO: u16 = 3544;
const GRE_IN_UDP: u16 = 4754;
const VXLAN: u16 = 4789;
/// VXLAN with another header's type in its last flag byte (draft-ietf-nvo3-vxlan-gpe).
const VXLAN_GPE: u16 = 4790;
/// What Linux took for VXLAN before IANA gave it a port.
const VXLAN_LINUX: u16 = 8472;
const GENEVE: u16 = 6081;
const MPLS_IN_UDP: u16 = 6635;

#[inline]
pub(super) fn possible(src_port: u16, dst_port: u16) -> bool {
    matches!(
        dst_port,
        L2TP | GTP_U | TEREDO | GRE_IN_UDP | VXLAN | VXLAN_GPE | VXLAN_LINUX | GENEVE | MPLS_IN_UDP
    ) || matches!(src_port, L2TP | GTP_U | TEREDO)
}

/// # Errors
/// A whole header of the tunnel's own announces IP, and there is none.
pub(super) fn open(src_port: u16, dst_port: u16, span: Span<'_>) -> Result<Option<Link<'_>>, DecodeError> {
    let by_port = |port| match port {
        L2TP => Ok(l2tp(span)),
        GTP_U => gtp(span),
        TEREDO => Ok(teredo(span)),
        _ => Ok(None),
    };
    let link = match dst_port {
        VXLAN | VXLAN_LINUX => vxlan(span),
        VXLAN_GPE => vxlan_gpe(span),
        GENEVE => geneve(span),
        MPLS_IN_UDP => Some(Link::plain(MPLS, span)),
        GRE_IN_UDP => super::gre::open(span).ok(),
        port => match by_port(port)? {
            None => by_port(src_port)?,
            found => found,
        },
    };
    let Some(link) = link else { return Ok(None) };
    let link = if link.is_ip() { link } else { unstack(link).unwrap_or(super::nothing(span)) };
    if ip::sane(link.rest) == Some(link.ethertype) {
        return Ok(Some(link));
    }
    match bad_inner(link.tunnel.map(|tunnel| tunnel.kind)).filter(|_| link.is_ip() && !link.rest.is_cut()) {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// What is wrong when a tunnel carries what its header says to be IP and is not. The others say too little
/// for that.
fn bad_inner(kind: Option<TunnelKind>) -> Option<DecodeError> {
    match kind? {
        TunnelKind::Vxlan => Some(DecodeError::VxlanBadInner),
        TunnelKind::Geneve => Some(DecodeError::GeneveBadInner),
        TunnelKind::GtpU => Some(DecodeError::GtpUBadInner),
        TunnelKind::L2tp => Some(DecodeError::L2tpBadInner),
        TunnelKind::Teredo => Some(DecodeError::TeredoBadInner),
        _ => None,
    }
}

/// Flags with the bit for a valid network id, which is three bytes at 4 (RFC 7348 §5).
fn vxlan(span: Span<'_>) -> Option<Link<'_>> {
    if span.byte(0)? & 0x08 == 0 {
        return None;
    }
    let tunnel = Tunnel::of(TunnelKind::Vxlan, span.be32(4)? >> 8);
    Some(Link { tunnel, ..ethernet(span.skip(8)?).ok()? })
}

fn vxlan_gpe(span: Span<'_>) -> Option<Link<'_>> {
    const HAS_NEXT: u8 = 0x04;
    let tunnel = Tunnel::of(TunnelKind::Vxlan, span.be32(4)? >> 8);
    let rest = span.skip(8)?;
    match span.byte(3)? {
        1 | 2 if span.byte(0)? & HAS_NEXT != 0 => Some(Link { tunnel, ..Link::plain(ip::sane(rest)?, rest) }),
        _ => vxlan(span),
    }
}

/// Version 0, options in words of four bytes, the payload's EtherType (RFC 8926 §3.4).
fn geneve(span: Span<'_>) -> Option<Link<'_>> {
    const CONTROL: u8 = 0x80;
    let (first, flags) = (span.byte(0)?, span.byte(1)?);
    if first >> 6 != 0 || flags & CONTROL != 0 {
        return None;
    }
    let tunnel = Tunnel::of(TunnelKind::Geneve, span.be32(4)? >> 8);
    let rest = span.skip(8 + usize::from(first & 0x3f) * 4)?;
    match span.be16(2)? {
        BRIDGED => Some(Link { tunnel, ..ethernet(rest).ok()? }),
        ethertype => Some(Link { tunnel, ..Link::plain(ethertype, rest) }),
    }
}

/// Version 1, user data, and a chain of extension headers when a flag says so (3GPP TS 29.281 §5).
/// Everything else on the port is signalling.
fn gtp(span: Span<'_>) -> Result<Option<Link<'_>>, DecodeError> {
    const USER_DATA: u8 = 255;
    let header = || Some((span.byte(0)?, span.byte(1)?, u32::from(span.be16(2)?), span.be32(4)?));
    let Some((flags, kind, length, id)) = header() else { return Ok(None) };
    // Version 1, not GTP'; the spare bit is not looked at.
    if flags >> 5 != 1 || flags & 0x10 == 0 || kind != USER_DATA {
        return Ok(None);
    }
    let rest = span.skip(8).filter(|rest| length <= rest.wire || rest.goes_on);
    let extended = flags & 7 != 0;
    let rest = rest.map(|rest| rest.limit(length));
    let rest =
        rest.and_then(|rest| if extended { behind_extensions(rest, flags & 4 != 0) } else { Some(rest) });
    let Some(rest) = rest else {
        return if span.is_cut() { Ok(None) } else { Err(DecodeError::GtpUBadLength) };
    };
    // What it carries is said elsewhere: IP of either version, Ethernet, PPP.
    let ethertype = match rest.byte(0).map(|first| first >> 4) {
        Some(4) => IPV4,
        Some(6) => IPV6,
        _ => return Ok(None),
    };
    Ok(Some(Link { tunnel: Tunnel::of(TunnelKind::GtpU, id), ..Link::plain(ethertype, rest) }))
}

/// What is behind the optional fields and the chain of extension headers.
fn behind_extensions(span: Span<'_>, any: bool) -> Option<Span<'_>> {
    const MAX_EXTENSIONS: usize = 8;
    // Sequence and N-PDU numbers stand there whichever flag is set; so does the next type.
    let mut next = if any { span.byte(3)? } else { 0 };
    let mut rest = span.skip(4)?;
    let mut passed = 0;
    while next != 0 {
        let length = usize::from(rest.byte(0)?) * 4;
        passed += 1;
        if length == 0 || passed > MAX_EXTENSIONS {
            return None;
        }
        next = rest.byte(length - 1)?;
        rest = rest.skip(length)?;
    }
    Some(rest)
}

/// IPv6, behind authentication and origin indication where they are sent (RFC 4380 §5.1.1). One end
/// has a Teredo address, or the client asks for one from a link-local address.
fn teredo(span: Span<'_>) -> Option<Link<'_>> {
    const AUTHENTICATION: u16 = 1;
    const ORIGIN: u16 = 0;
    let mut rest = span;
    if rest.be16(0)? == AUTHENTICATION {
        let texts = usize::from(rest.byte(2)?) + usize::from(rest.byte(3)?);
        // Nonce and confirmation.
        rest = rest.skip(4 + texts + 8 + 1)?;
    }
    if rest.be16(0)? == ORIGIN {
        rest = rest.skip(8)?;
    }
    let (src, dst) = (rest.be32(8)?, rest.be32(24)?);
    let is_teredo = |prefix: u32| prefix == 0x2001_0000;
    let is_link_local = |prefix: u32| prefix >> 22 == 0xfe80_0000 >> 22;
    let fits = is_teredo(src) || is_teredo(dst) || is_link_local(src);
    // Told by its addresses, so that it must be one.
    fits.then(|| Link { tunnel: Tunnel::of(TunnelKind::Teredo, 0), ..Link::plain(IPV6, rest) })
}

/// Data messages of version 2 (RFC 2661 §3.1), which carry PPP; control stays what it is.
fn l2tp(span: Span<'_>) -> Option<Link<'_>> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    let flags = span.be16(0)?;
    if flags & CONTROL != 0 || flags & 0x000f != 2 {
        return None;
    }
    let mut at = 2;
    let mut end = span.wire;
    if flags & LENGTH != 0 {
        end = u32::from(span.be16(at)?);
        at += 2;
    }
    let id = span.be32(at)?;
    at += 4;
    if flags & SEQUENCE != 0 {
        at += 4;
    }
    if flags & OFFSET != 0 {
        at += 2 + usize::from(span.be16(at)?);
    }
    Some(Link { tunnel: Tunnel::of(TunnelKind::L2tp, id), ..ppp(span.limit(end).skip(at)?)? })
}
