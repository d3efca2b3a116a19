//! IEEE 802.11, alone and behind the headers that capture cards write (radiotap.org).

use super::{Link, NO_NETWORK, mac};
use crate::decode::DecodeError;
use crate::decode::span::Span;

const CUT: DecodeError = DecodeError::LinkTooShort;

/// A bare frame.
pub(super) fn plain(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    data(frame, false)
}

/// A frame behind an AVS header, which says its own length.
pub(super) fn avs(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    let length = frame.be32(4).ok_or(CUT)?;
    if length < 8 {
        return Err(DecodeError::LinkBadHeader);
    }
    data(frame.skip(length as usize).ok_or(CUT)?, false)
}

/// A frame behind a radiotap header; little-endian.
pub(super) fn radiotap(frame: Span<'_>) -> Result<Link<'_>, DecodeError> {
    /// One more word of presence bits follows.
    const MORE: u32 = 1 << 31;
    const HAS_TIME: u32 = 1;
    const HAS_FLAGS: u32 = 2;
    const PADDED: u8 = 0x20;
    const BAD_CHECKSUM: u8 = 0x40;
    let word = |at: usize| frame.be32(at).map(u32::swap_bytes).ok_or(CUT);
    let length = usize::from(frame.be16(2).ok_or(CUT)?.swap_bytes());
    if frame.byte(0) != Some(0) || length < 8 {
        return Err(DecodeError::LinkBadHeader);
    }
    let rest = frame.skip(length).ok_or(CUT)?;
    let present = word(4)?;
    let mut at = 8;
    let mut last = present;
    while last & MORE != 0 && at + 4 <= length {
        last = word(at)?;
        at += 4;
    }
    if present & HAS_TIME != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    let flags = if present & HAS_FLAGS != 0 && at < length { frame.byte(at).unwrap_or(0) } else { 0 };
    if flags & BAD_CHECKSUM != 0 {
        return Err(DecodeError::WirelessBadChecksum);
    }
    data(rest, flags & PADDED != 0)
}

/// A data frame (IEEE 802.11 §9.3.2); any other frame, and what is encrypted, carries no network
/// packet. `padded`: the header is filled to a multiple of four bytes.
fn data(frame: Span<'_>, padded: bool) -> Result<Link<'_>, DecodeError> {
    let (kind, flags) = (frame.byte(0).ok_or(CUT)?, frame.byte(1).ok_or(CUT)?);
    let (is_data, without_body, qos) = (kind & 0x0c == 0x08, kind & 0x40 != 0, kind & 0x80 != 0);
    let (to_ds, from_ds, protected, order) =
        (flags & 1 != 0, flags & 2 != 0, flags & 0x40 != 0, flags & 0x80 != 0);
    if !is_data || without_body || protected || kind & 3 != 0 {
        return Ok(Link::plain(NO_NETWORK, frame));
    }
    let mut header = 24;
    // Where the addresses of sender and receiver are.
    let (src, dst) = match (to_ds, from_ds) {
        (false, false) => (10, 4),
        (false, true) => (16, 4),
        (true, false) => (10, 16),
        (true, true) => {
            header += 6;
            (24, 16)
        }
    };
    let mut aggregate = false;
    if qos {
        aggregate = frame.byte(header).ok_or(CUT)? & 0x80 != 0;
        header += if order { 6 } else { 2 };
    }
    if padded {
        header = header.next_multiple_of(4);
    }
    // Of an aggregate the first packet is read; each has addresses and a length of its own.
    if aggregate {
        header += 14;
    }
    let rest = frame.skip(header).ok_or(CUT)?;
    Ok(Link { src: mac(frame.bytes, src), dst: mac(frame.bytes, dst), ..Link::plain(0, rest) })
}
