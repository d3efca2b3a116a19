//! Datagrams kept to be read together: of a message that came in several.
//!
//! A dissector that answers [`Want::Longer`](super::Want::Longer) over UDP gets, with the next datagram
//! of that direction, all of them in one buffer, which [`datagrams`] takes apart again.

/// Leads a buffer of several datagrams. A real one that begins like this is read as such a buffer,
/// which tells its sender's lies as well as any other of its datagrams would.
const MARK: [u8; 8] = *b"\0several";

/// Adds a datagram; false when the buffer would grow beyond `max` bytes.
pub(super) fn add(buffer: &mut Vec<u8>, datagram: &[u8], max: usize) -> bool {
    let Ok(length) = u16::try_from(datagram.len()) else { return false };
    if buffer.len() + MARK.len() + 2 + datagram.len() > max {
        return false;
    }
    if buffer.is_empty() {
        buffer.extend(MARK);
    }
    buffer.extend(length.to_be_bytes());
    buffer.extend_from_slice(datagram);
    true
}

/// The datagrams of a payload, in the order they came: one, unless it is a buffer of several.
pub(super) fn datagrams(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (single, mut several) = match payload.strip_prefix(&MARK) {
        Some(several) => (None, several),
        None => (Some(payload), &[][..]),
    };
    single.into_iter().chain(std::iter::from_fn(move || {
        let (length, rest) = several.split_first_chunk()?;
        let (datagram, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        several = rest;
        Some(datagram)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_out_again() {
        let mut buffer = Vec::new();
        assert!(add(&mut buffer, b"one", 40) && add(&mut buffer, b"", 40) && add(&mut buffer, b"three", 40));
        assert_eq!(datagrams(&buffer).collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        assert!(!add(&mut buffer, &[0; 30], 40));
        assert_eq!(datagrams(&buffer).count(), 3);
        assert_eq!(datagrams(b"plain").collect::<Vec<_>>(), [b"plain"]);
    }
}
