//! Long headers (RFC 8999 §5.1, RFC 9000 §17.2; one byte for both lengths before draft 22).

use crate::l7::be32;

use super::version::Version;

/// Longest connection id of the known versions.
const MAX_ID: usize = 20;

/// What all versions have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids<'a> {
    pub(super) first: u8,
    pub(super) version: Version,
    pub(super) destination: &'a [u8],
    /// Where what the version defines begins.
    pub(super) end: usize,
}

/// Version and connection ids of the packet at the start of `bytes`.
pub(super) fn ids(bytes: &[u8]) -> Option<Ids<'_>> {
    let first = *bytes.first().filter(|first| *first & 0x80 != 0)?;
    let version = Version(be32(bytes, 1)?);
    let lengths = *bytes.get(5)?;
    if version.packs_lengths() {
        let length = |bits: u8| if bits == 0 { 0 } else { usize::from(bits) + 3 };
        let (destination, source) = (length(lengths >> 4), length(lengths & 0x0f));
        let end = 6 + destination + source;
        bytes.get(..end)?;
        return Some(Ids { first, version, destination: bytes.get(6..6 + destination)?, end });
    }
    let length = usize::from(lengths);
    let destination = bytes.get(6..6 + length)?;
    let source = usize::from(*bytes.get(6 + length)?);
    let end = 7 + length + source;
    bytes.get(..end)?;
    (length <= MAX_ID && source <= MAX_ID).then_some(Ids { first, version, destination, end })
}

/// A packet with a long header and a length of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long<'a> {
    pub(super) version: Version,
    /// It is an Initial one.
    pub(super) is_initial: bool,
    pub(super) destination: &'a [u8],
    /// Where the packet number begins.
    pub(super) number_at: usize,
    /// The packet alone.
    pub(super) bytes: &'a [u8],
    /// What follows in the datagram.
    pub(super) rest: &'a [u8],
}

/// Integer of variable length (RFC 9000 §16) and where it ends.
pub(super) fn integer(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let first = *bytes.get(at)?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(at + 1..at + length)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, at + length))
}

/// The packet at the start of `bytes`; `None` for those without a length (Retry, negotiation, short).
pub(super) fn long(bytes: &[u8]) -> Option<Long<'_>> {
    let Ids { first, version, destination, end } = ids(bytes)?;
    let kind = first >> 4 & 0x03;
    let is_initial = kind == version.initial_type();
    let is_retry = kind == (version.initial_type() + 3) % 4;
    if first & 0x40 == 0 || is_retry || !version.is_known() {
        return None;
    }
    let mut at = end;
    if is_initial {
        let (token, end) = integer(bytes, at)?;
        at = end.checked_add(usize::try_from(token).ok()?)?;
    }
    let (length, number_at) = integer(bytes, at)?;
    let (bytes, rest) = bytes.split_at_checked(number_at.checked_add(usize::try_from(length).ok()?)?)?;
    Some(Long { version, is_initial, destination, number_at, bytes, rest })
}
