//! IPv4 (RFC 791) and IPv6 (RFC 8200).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shared::model::L4;
use shared::model::flow::{IP_DF, IP_MF};

use super::link::{IPV4, IPV6};
use super::span::Span;
use super::{DecodeError, Fragment};

/// IPv6 extension headers in one packet; real packets have one or two.
const MAX_EXTENSIONS: usize = 8;

/// What lies behind the IP headers.
pub(super) struct Network<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) l4: L4,
    pub(super) ttl: u8,
    pub(super) tos: u8,
    /// As the record has them: [`IP_DF`], [`IP_MF`].
    pub(super) flags: u8,
    pub(super) fragment: Fragment,
    /// Identification, shared by the fragments of a datagram.
    pub(super) id: u32,
    /// Where in the datagram's payload this fragment begins, in bytes.
    pub(super) offset: u32,
    /// No fragment follows.
    pub(super) last: bool,
    /// Bytes behind the headers by the length field, even when the frame has no room for them.
    pub(super) claimed: u32,
    /// A flaw that does not keep the packet from being one.
    pub(super) flaw: Option<DecodeError>,
    /// What lies behind the headers, without link padding.
    pub(super) rest: Span<'a>,
}

fn fragment(units: u16, more: bool) -> Fragment {
    match (units, more) {
        (0, false) => Fragment::None,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}

#[inline(always)]
pub(super) fn v4(span: Span<'_>) -> Result<Network<'_>, DecodeError> {
    let first = *span.bytes.first().ok_or(DecodeError::Ipv4TooShort)?;
    if first >> 4 != 4 {
        return Err(DecodeError::Ipv4BadVersion);
    }
    let header = usize::from(first & 0x0f) * 4;
    if header < 20 {
        return Err(DecodeError::Ipv4BadHeaderLength);
    }
    let fixed: &[u8; 20] = span.bytes.first_chunk().ok_or(DecodeError::Ipv4TooShort)?;
    let rest = span.skip(header).ok_or(DecodeError::Ipv4TooShort)?;
    let total = u16::from_be_bytes([fixed[2], fixed[3]]);
    let claimed = match usize::from(total) {
        // Left to the sending machine's network card; the wire then tells it.
        0 => rest.wire,
        n if n < header => return Err(DecodeError::Ipv4BadTotalLength),
        n => (n - header) as u32,
    };
    let beyond = claimed > rest.wire && !span.goes_on;
    let flags = u16::from_be_bytes([fixed[6], fixed[7]]);
    let (units, more) = (flags & 0x1fff, flags & 0x2000 != 0);
    Ok(Network {
        src: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]).into(),
        dst: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]).into(),
        l4: L4(fixed[9]),
        ttl: fixed[8],
        tos: fixed[1],
        flags: fixed[6] >> 5 & (IP_DF | IP_MF),
        fragment: fragment(units, more),
        id: u32::from(u16::from_be_bytes([fixed[4], fixed[5]])),
        offset: u32::from(units) * 8,
        last: !more,
        claimed,
        flaw: beyond.then_some(DecodeError::Ipv4LengthBeyondFrame),
        rest: rest.limit(claimed),
    })
}

#[inline(always)]
pub(super) fn v6(span: Span<'_>) -> Result<Network<'_>, DecodeError> {
    if span.bytes.first().is_some_and(|first| first >> 4 != 6) {
        return Err(DecodeError::Ipv6BadVersion);
    }
    let fixed: &[u8; 40] = span.bytes.first_chunk().ok_or(DecodeError::Ipv6TooShort)?;
    let address = |at: usize| {
        let raw = fixed.get(at..).and_then(<[u8]>::first_chunk::<16>).copied().unwrap_or_default();
        IpAddr::from(Ipv6Addr::from(raw))
    };
    let mut network = Network {
        src: address(8),
        dst: address(24),
        l4: L4(fixed[6]),
        ttl: fixed[7],
        tos: (fixed[0] << 4) | (fixed[1] >> 4),
        flags: 0,
        fragment: Fragment::None,
        id: 0,
        offset: 0,
        last: true,
        claimed: 0,
        flaw: None,
        rest: span.skip(40).ok_or(DecodeError::Ipv6TooShort)?,
    };
    let behind_fixed = network.rest.bytes.len();
    if !matches!(network.l4, L4::TCP | L4::UDP | L4::ICMPV6) {
        extensions(&mut network)?;
    }
    let extensions = (behind_fixed - network.rest.bytes.len()) as u32;
    network.claimed = match u32::from(u16::from_be_bytes([fixed[4], fixed[5]])) {
        // A jumbogram (RFC 2675), or left to the network card.
        0 if network.l4.0 != NO_NEXT => network.rest.wire,
        n => n.checked_sub(extensions).ok_or(DecodeError::Ipv6ExtensionTooShort)?,
    };
    if network.claimed > network.rest.wire && !span.goes_on {
        network.flaw = Some(DecodeError::Ipv6LengthBeyondFrame);
    }
    network.rest = network.rest.limit(network.claimed);
    Ok(network)
}

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT: u8 = 59;

/// Passes the extension headers.
#[cold]
fn extensions(network: &mut Network<'_>) -> Result<(), DecodeError> {
    const CUT: DecodeError = DecodeError::Ipv6ExtensionTooShort;
    let mut passed = 0;
    // Behind a later fragment's header there is no header any more, whatever it names.
    while network.fragment != Fragment::Later
        && let Some(length) = extension_length(network.l4.0, network.rest.bytes)?
    {
        passed += 1;
        if passed > MAX_EXTENSIONS {
            return Err(DecodeError::Ipv6TooManyExtensions);
        }
        let rest = network.rest;
        if network.l4.0 == FRAGMENT {
            let field = rest.be16(2).ok_or(CUT)?;
            network.fragment = fragment(field >> 3, field & 1 != 0);
            network.offset = u32::from(field & 0xfff8);
            network.last = field & 1 == 0;
            network.flags = field as u8 & IP_MF;
            network.id = rest.be32(4).ok_or(CUT)?;
        }
        network.l4 = L4(rest.byte(0).ok_or(CUT)?);
        network.rest = rest.skip(length).ok_or(CUT)?;
    }
    Ok(())
}

/// Length in bytes of the extension header of kind `next`; `None` when it is no extension header.
fn extension_length(next: u8, rest: &[u8]) -> Result<Option<usize>, DecodeError> {
    let units = || rest.get(1).map(|n| usize::from(*n)).ok_or(DecodeError::Ipv6ExtensionTooShort);
    Ok(match next {
        // Hop-by-hop, routing, destination options, mobility, HIP, shim6.
        0 | 43 | 60 | 135 | 139 | 140 => Some((units()? + 1) * 8),
        FRAGMENT => Some(8),
        AUTHENTICATION => Some((units()? + 2) * 4),
        _ => None,
    })
}

/// The EtherType of the IP packet that `span` holds, when its header makes sense there: for
/// payload that only a port or a guess says to be IP.
pub(super) fn sane(span: Span<'_>) -> Option<u16> {
    let fits = |length: u32| length <= span.wire || span.goes_on;
    match span.byte(0)? >> 4 {
        4 => {
            let fixed: &[u8; 20] = span.bytes.first_chunk()?;
            let header = u32::from(fixed[0] & 0x0f) * 4;
            let total = u32::from(u16::from_be_bytes([fixed[2], fixed[3]]));
            (header >= 20 && (total == 0 || (total >= header && fits(total)))).then_some(IPV4)
        }
        6 => {
            let fixed: &[u8; 40] = span.bytes.first_chunk()?;
            fits(40 + u32::from(u16::from_be_bytes([fixed[4], fixed[5]]))).then_some(IPV6)
        }
        _ => None,
    }
}
