//! IPv4 (RFC 791) and IPv6 (RFC 8200).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shared::model::L4;

use super::{DecodeError, Fragment, be16};

/// IPv6 extension headers in one packet; real packets have one or two.
const MAX_EXTENSIONS: usize = 8;

/// What lies behind the IP headers.
pub(super) struct Network<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) l4: L4,
    pub(super) ttl: u8,
    pub(super) fragment: Fragment,
    /// Bytes of IP headers, extensions included.
    pub(super) headers: u32,
    /// Bytes behind the headers by the length field; `None` when the field is 0.
    pub(super) length: Option<u32>,
    /// Captured bytes behind the headers, link padding included.
    pub(super) rest: &'a [u8],
}

fn fragment(offset: u16, more: bool) -> Fragment {
    match (offset, more) {
        (0, false) => Fragment::None,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}

pub(super) fn v4(bytes: &[u8]) -> Result<Network<'_>, DecodeError> {
    let first = *bytes.first().ok_or(DecodeError::Ipv4TooShort)?;
    if first >> 4 != 4 {
        return Err(DecodeError::Ipv4BadVersion);
    }
    let header = usize::from(first & 0x0f) * 4;
    if header < 20 {
        return Err(DecodeError::Ipv4BadHeaderLength);
    }
    let fixed: &[u8; 20] = bytes.first_chunk().ok_or(DecodeError::Ipv4TooShort)?;
    let rest = bytes.get(header..).ok_or(DecodeError::Ipv4TooShort)?;
    let total = u16::from_be_bytes([fixed[2], fixed[3]]);
    let length = match usize::from(total) {
        0 => None,
        n if n < header => return Err(DecodeError::Ipv4BadTotalLength),
        n => Some((n - header) as u32),
    };
    let flags = u16::from_be_bytes([fixed[6], fixed[7]]);
    Ok(Network {
        src: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]).into(),
        dst: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]).into(),
        l4: L4(fixed[9]),
        ttl: fixed[8],
        fragment: fragment(flags & 0x1fff, flags & 0x2000 != 0),
        headers: header as u32,
        length,
        rest,
    })
}

pub(super) fn v6(bytes: &[u8]) -> Result<Network<'_>, DecodeError> {
    if bytes.first().is_some_and(|first| first >> 4 != 6) {
        return Err(DecodeError::Ipv6BadVersion);
    }
    let (fixed, mut rest) = bytes.split_first_chunk::<40>().ok_or(DecodeError::Ipv6TooShort)?;
    let address = |at: usize| {
        let raw = fixed.get(at..).and_then(<[u8]>::first_chunk::<16>).copied().unwrap_or_default();
        IpAddr::from(Ipv6Addr::from(raw))
    };
    let mut next = fixed[6];
    let mut state = Fragment::None;
    let mut extensions = 0;
    // Behind a later fragment's header there is no header any more, whatever `next` says.
    while state != Fragment::Later
        && let Some(length) = extension_length(next, rest)?
    {
        extensions += 1;
        if extensions > MAX_EXTENSIONS {
            return Err(DecodeError::Ipv6TooManyExtensions);
        }
        if next == FRAGMENT {
            let field = be16(rest, 2).ok_or(DecodeError::Ipv6ExtensionTooShort)?;
            state = fragment(field >> 3, field & 1 != 0);
        }
        next = *rest.first().ok_or(DecodeError::Ipv6ExtensionTooShort)?;
        rest = rest.get(length..).ok_or(DecodeError::Ipv6ExtensionTooShort)?;
    }
    let headers = bytes.len() - rest.len();
    let length = match u32::from(u16::from_be_bytes([fixed[4], fixed[5]])) {
        0 if next != NO_NEXT => None,
        n => Some(n.checked_sub((headers - 40) as u32).ok_or(DecodeError::Ipv6ExtensionTooShort)?),
    };
    Ok(Network {
        src: address(8),
        dst: address(24),
        l4: L4(next),
        ttl: fixed[7],
        fragment: state,
        headers: headers as u32,
        length,
        rest,
    })
}

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT: u8 = 59;

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
