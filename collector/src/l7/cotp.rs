//! ISO transport over TCP (RFC 1006, X.224), which S7comm and MMS use.

use super::be16;

/// What a data packet carries.
pub(super) fn data(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(be16(bytes, 2)?);
    // Of what TCP cut apart the beginning is enough.
    let packet = if length <= bytes.len() { bytes.get(..length)? } else { bytes };
    let [3, 0, _, _, 2, 0xf0, 0 | 0x80, rest @ ..] = packet else { return None };
    Some(rest)
}
