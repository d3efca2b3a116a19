//! Helpers of the protocols whose messages say how long they are.

/// Most messages looked at in one payload.
const MAX_MESSAGES: usize = 256;

/// How a payload divides into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Whole messages to the last byte.
    Whole,
    /// Whole messages, at least one, then the start of one more.
    Cut,
    /// Something that is no message, or none that is whole.
    No,
}

/// Walks the messages in `bytes`; `length` tells the length of the message that a slice begins with,
/// its header included, or `None` for something else.
pub(super) fn walk(bytes: &[u8], length: impl Fn(&[u8]) -> Option<usize>) -> Fit {
    let mut rest = bytes;
    for number in 0..MAX_MESSAGES {
        if rest.is_empty() {
            return if number == 0 { Fit::No } else { Fit::Whole };
        }
        let Some(length) = length(rest).filter(|length| *length > 0) else { return Fit::No };
        let Some(behind) = rest.get(length..) else {
            return if number == 0 { Fit::No } else { Fit::Cut };
        };
        rest = behind;
    }
    Fit::Cut
}

/// Little-endian 24 bits at `at`.
pub(super) fn le24(bytes: &[u8], at: usize) -> Option<u32> {
    let raw: &[u8; 3] = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes([raw[0], raw[1], raw[2], 0]))
}

/// Big-endian 64 bits at `at`.
pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|raw| u64::from_be_bytes(*raw))
}

/// Little-endian 64 bits at `at`.
pub(super) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|raw| u64::from_le_bytes(*raw))
}

/// Whether `needle` is in `bytes` as it stands.
pub(super) fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Whether the bytes are printable ASCII, at least one.
pub(super) fn printable(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// Whether `bytes[range]` is there and nothing but zeros.
pub(super) fn zeros(bytes: &[u8], range: std::ops::Range<usize>) -> bool {
    bytes.get(range).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fill_a_payload_or_are_cut() {
        let length = |bytes: &[u8]| bytes.first().map(|length| usize::from(*length));
        assert_eq!(walk(&[2, 0, 1], length), Fit::Whole);
        assert_eq!(walk(&[2, 0, 3, 0], length), Fit::Cut);
        assert_eq!(walk(&[3, 0], length), Fit::No);
        assert_eq!(walk(&[0], length), Fit::No);
        assert_eq!(walk(&[], length), Fit::No);
    }

    #[test]
    fn numbers_are_read_within_bounds() {
        assert_eq!((le24(&[1, 2, 3], 0), le24(&[1, 2, 3], 1)), (Some(0x03_0201), None));
        assert_eq!(be64(&[0, 0, 0, 0, 0, 0, 0, 9], 0), Some(9));
        assert_eq!(le64(&[9, 0, 0, 0, 0, 0, 0], 0), None);
        assert!(zeros(&[1, 0, 0], 1..3) && !zeros(&[1, 0, 0], 1..4));
    }
}
