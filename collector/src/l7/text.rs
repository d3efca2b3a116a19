//! Helpers of the protocols that talk in lines, and strings off the wire.

use std::net::IpAddr;

use shared::model::flow::Text;

/// Longest string kept, in bytes.
pub(super) const MAX_TEXT: usize = 256;

/// A string off the wire: invalid UTF-8 replaced, at most `max` bytes, cut between characters.
pub(super) fn wire_text(bytes: &[u8], max: usize) -> Text {
    // One byte more than wanted, so that a character cut here is dropped and not replaced.
    let bytes = bytes.get(..max + 4).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Text::from(cut(text, max)),
        Err(_) => Text::from(cut(&String::from_utf8_lossy(bytes), max)),
    }
}

/// The same in lower case, for names that compare without case.
pub(super) fn wire_name(bytes: &[u8]) -> Text {
    let mut lower = [0; MAX_TEXT + 4];
    let lower = lower.get_mut(..bytes.len().min(MAX_TEXT + 4)).unwrap_or_default();
    lower.iter_mut().zip(bytes).for_each(|(to, from)| *to = from.to_ascii_lowercase());
    wire_text(lower, MAX_TEXT)
}

fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

/// The lines of `bytes` without their ends; the last one may be unfinished.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The first line and what follows, or `None` while the line has no end.
pub(super) fn first_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let (line, rest) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

/// Whether `line` begins with `word`, whatever the case.
pub(super) fn starts(line: &[u8], word: &[u8]) -> bool {
    line.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

/// Whether `line` is `word`, alone or with arguments, whatever the case.
pub(super) fn is_command(line: &[u8], word: &[u8]) -> bool {
    starts(line, word) && line.get(word.len()).is_none_or(|next| matches!(next, b' ' | b'\r'))
}

/// Whether `word` is somewhere in `line`, whatever the case.
pub(super) fn contains(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// The three-digit reply code of FTP and SMTP at the start of `line`.
pub(super) fn reply_code(line: &[u8]) -> Option<u16> {
    let digits: &[u8; 3] = line.first_chunk()?;
    let follows = line.get(3).is_none_or(|next| matches!(next, b' ' | b'-' | b'\r'));
    if !follows || !digits.iter().all(u8::is_ascii_digit) || !(b'1'..=b'5').contains(&digits[0]) {
        return None;
    }
    Some(digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

/// A host without the port behind it.
pub(super) fn without_port(host: &str) -> &str {
    let port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    host.rsplit_once(':').filter(|(_, after)| port(after)).map_or(host, |(name, _)| name)
}

/// Whether a host, with or without port, is an address literal.
pub(super) fn is_address(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.split(']').next().is_some_and(|address| address.parse::<IpAddr>().is_ok());
    }
    host.parse::<IpAddr>().is_ok() || without_port(host).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_made_valid() {
        assert_eq!(&*wire_text("aéé".as_bytes(), 4), "aé");
        assert_eq!(&*wire_text(b"a\xffb", 10), "a\u{fffd}b");
        assert_eq!(wire_text(&[0xff; 400], 256).len(), 255);
        assert_eq!(&*wire_name(b"WWW.Example.COM"), "www.example.com");
    }

    #[test]
    fn addresses_are_told_from_names() {
        for host in ["10.0.0.1", "10.0.0.1:80", "[::1]", "[2001:db8::1]:8080", "::1"] {
            assert!(is_address(host), "{host}");
        }
        for host in ["example.com", "10.0.0.1.nip.io", "", "[", ":80", "host:80"] {
            assert!(!is_address(host), "{host}");
        }
    }

    #[test]
    fn ports_are_taken_off() {
        for (host, name) in [("a.example:80", "a.example"), ("a.example", "a.example"), ("[::1]:8", "[::1]")]
        {
            assert_eq!(without_port(host), name);
        }
        assert_eq!((without_port("[2001:db8::a]"), without_port("a:b")), ("[2001:db8::a]", "a:b"));
    }

    #[test]
    fn reply_codes_need_three_digits_and_an_end() {
        assert_eq!(reply_code(b"220 ready"), Some(220));
        assert_eq!(reply_code(b"220-more"), Some(220));
        assert_eq!(reply_code(b"221"), Some(221));
        for line in [&b"2200 x"[..], b"22", b"", b"920 x", b"2x0 y"] {
            assert_eq!(reply_code(line), None);
        }
    }
}
