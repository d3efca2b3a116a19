//! Messages that were compressed for a narrow line: zstd (RFC 8878), told by its magic number.
//!
//! No message of `flowhook.proto` begins with these four bytes, so nothing else needs to say that one is
//! compressed, and it may go through spools, streams and other sites as it is.

use std::borrow::Cow;

use zstd::zstd_safe;

use super::WireError;
use crate::bus::MAX_MESSAGE;

/// What a frame begins with (RFC 8878 section 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The fastest level: higher ones take more time than they save bytes of summaries.
const LEVEL: i32 = 1;

/// The message compressed, with its length; as it is when that gains nothing.
pub fn compress(message: bytes::Bytes) -> bytes::Bytes {
    match zstd::bulk::compress(&message, LEVEL) {
        Ok(packed) if packed.len() < message.len() => packed.into(),
        _ => message,
    }
}

/// The message as it was before it was compressed, if it was.
///
/// # Errors
/// [`WireError`] when it is damaged, does not say its length, or is larger than any message may be.
pub fn plain<'a>(message: &'a [u8], what: &'static str) -> Result<Cow<'a, [u8]>, WireError> {
    if !message.starts_with(&MAGIC) {
        return Ok(Cow::Borrowed(message));
    }
    let length = match zstd_safe::get_frame_content_size(message) {
        Ok(Some(length)) => usize::try_from(length).unwrap_or(usize::MAX),
        Ok(None) => return Err(WireError::malformed(what, "compressed without its length")),
        Err(error) => return Err(WireError::malformed(what, error)),
    };
    if length > MAX_MESSAGE {
        let cause = format!("compressed, and of {length} bytes, more than {MAX_MESSAGE}");
        return Err(WireError::malformed(what, cause));
    }
    let plain = zstd::bulk::decompress(message, length);
    plain.map(Cow::Owned).map_err(|error| WireError::malformed(what, format!("cannot decompress: {error}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::delta::Delta;

    #[test]
    fn what_was_compressed_comes_back_and_what_gains_nothing_stays() {
        let long = bytes::Bytes::from(b"flow after flow, ".repeat(1000));
        let packed = compress(long.clone());
        assert!(packed.len() < 200, "{}", packed.len());
        assert_eq!(plain(&packed, "test").unwrap(), &long[..]);
        assert_eq!(compress(bytes::Bytes::from_static(b"ab")), &b"ab"[..]);
        assert_eq!(plain(b"", "test").unwrap(), &b""[..]);
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_opened() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 30], 1).unwrap();
        let error = plain(&bomb, "delta").unwrap_err().to_string();
        assert!(error.contains("1073741824 bytes, more than"), "{error}");
        // One that hides its length.
        let mut hidden = Vec::new();
        zstd::stream::copy_encode(&vec![0; 1 << 20][..], &mut hidden, 1).unwrap();
        let error = plain(&hidden, "delta").unwrap_err().to_string();
        assert!(error.contains("without its length"), "{error}");
    }

    #[test]
    fn a_frame_that_says_less_than_it_holds_is_refused() {
        let mut frame = zstd::bulk::compress(&vec![7; 5000], 1).unwrap();
        // A single segment whose length has two bytes: RFC 8878 section 3.1.1.1.4, less 256.
        assert_eq!(frame[4] >> 5, 0b011, "{:x}", frame[4]);
        frame[5..7].copy_from_slice(&(1000_u16 - 256).to_le_bytes());
        assert!(plain(&frame, "delta").is_err());
    }

    proptest! {
        #[test]
        fn damage_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            bytes.splice(0..0, MAGIC);
            let _ = plain(&bytes, "test");
            prop_assert!(Delta::decode(&bytes).is_err());
        }
    }
}
