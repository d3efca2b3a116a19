//! Google's QUIC before TLS: the public header up to version 43, and the tags of its hello (the
//! "QUIC Crypto" and "QUIC Wire Layout" documents of the Chromium project).

use super::version::Version;
use crate::l7::{be32, le16, le32};

/// Most tags read of one hello; there are about thirty kinds.
const MAX_TAGS: u16 = 64;
/// Furthest place of a hello in its packet: header, hash and the frame's own header.
const MAX_START: usize = 128;

/// Version of a packet with a public header that announces one, as clients' first packets do.
pub(super) fn public_version(bytes: &[u8]) -> Option<Version> {
    let flags = *bytes.first()?;
    // A version and a connection id of eight bytes; no reset, nothing reserved.
    if flags & 0x8b != 0x09 {
        return None;
    }
    let version = Version(be32(bytes, 9)?);
    version.has_own_hello().then_some(version).filter(|version| version.is_google())
}

/// What a hello says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chlo<'a> {
    pub(super) name: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
}

/// The hello somewhere at the beginning of `bytes`, as far as it is there.
pub(super) fn chlo(bytes: &[u8]) -> Option<Chlo<'_>> {
    let window = bytes.get(..MAX_START).unwrap_or(bytes);
    let start = window.windows(4).position(|tag| tag == b"CHLO")?;
    let message = bytes.get(start..)?;
    let tags = le16(message, 4).filter(|tags| (1..=MAX_TAGS).contains(tags))?;
    let values = message.get(8 + 8 * usize::from(tags)..)?;
    let (mut hello, mut begin) = (Chlo::default(), 0);
    for number in 0..usize::from(tags) {
        let at = 8 + 8 * number;
        let (tag, end) = (message.get(at..at + 4)?, le32(message, at + 4)? as usize);
        let value = values.get(begin..end);
        begin = end;
        match tag {
            b"SNI\0" => hello.name = value.filter(|name| !name.is_empty()),
            b"UAID" => hello.user_agent = value,
            _ => {}
        }
    }
    Some(hello)
}
