//! Memcached: text, meta and binary protocols over TCP, text with a frame header over UDP (memcached's
//! doc/protocol.txt and its "BinaryProtocolRevamped").

use shared::model::{AppCategory, Breed, L4};

use super::frames::printable;
use super::text::first_line;
use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

/// Header of a binary message.
const HEADER: usize = 24;
/// Request number, number of this datagram, how many there are, two bytes of zero.
const UDP_HEADER: usize = 8;
const MAX_KEY: usize = 250;

pub(super) static MEMCACHED: Dissector = Dissector {
    name: "Memcached",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |_| true,
    ports: &[(L4::TCP, 11_211), (L4::UDP, 11_211)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 == L4::UDP {
        let (Some(number), Some(count), Some(0)) = (be16(bytes, 2), be16(bytes, 4), be16(bytes, 6)) else {
            return Probe::No;
        };
        let inner = bytes.get(UDP_HEADER..).unwrap_or_default();
        return match text(inner) {
            _ if number >= count || count > 1024 => Probe::No,
            // The header is evidence of its own.
            Probe::Maybe => Probe::Certain,
            other => other,
        };
    }
    match bytes.first() {
        Some(0x80 | 0x81) => binary(bytes),
        _ => text(bytes),
    }
}

fn binary(bytes: &[u8]) -> Probe {
    let (Some(opcode), Some(key), Some(extras), Some(kind)) =
        (bytes.get(1), be16(bytes, 2), bytes.get(4), bytes.get(5))
    else {
        return Probe::No;
    };
    let Some(body) = be32(bytes, 8).map(|body| body as usize) else { return Probe::No };
    let parts = usize::from(key) + usize::from(*extras);
    let sane = *opcode <= 0x48 && usize::from(key) <= MAX_KEY && *extras <= 24 && *kind == 0 && parts <= body;
    match body.checked_add(HEADER) {
        Some(length) if sane && length == bytes.len() => Probe::Certain,
        Some(length) if sane && length < 1 << 20 && bytes.len() >= HEADER => Probe::Maybe,
        _ => Probe::No,
    }
}

fn text(bytes: &[u8]) -> Probe {
    let Some((line, _)) = first_line(bytes) else { return Probe::No };
    if !bytes.get(line.len()..).is_some_and(|end| end.starts_with(b"\r\n")) || !printable(line) {
        return Probe::No;
    }
    let words = || line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    // Commands are in small letters, replies in capitals.
    if line.first().is_some_and(u8::is_ascii_lowercase) { request(words()) } else { reply(words()) }
}

fn request<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Probe {
    let name = words.next().unwrap_or_default();
    let key = words.next();
    if key.is_some_and(|key| key.len() > MAX_KEY) {
        return Probe::No;
    }
    let numbers = words.by_ref().take_while(|word| number(word)).count();
    match (name, key) {
        (b"set" | b"add" | b"replace" | b"append" | b"prepend", Some(_)) if numbers == 3 => Probe::Certain,
        (b"cas", Some(_)) if numbers == 4 => Probe::Certain,
        (b"get" | b"gets" | b"delete" | b"incr" | b"decr" | b"touch", Some(_)) => Probe::Maybe,
        (b"gat" | b"gats", Some(time)) if number(time) => Probe::Maybe,
        (b"mg" | b"ms" | b"md" | b"ma" | b"me", Some(_)) | (b"mn", None) => Probe::Maybe,
        (b"flush_all" | b"verbosity" | b"stats", _) | (b"version" | b"quit", None) => Probe::Maybe,
        _ => Probe::No,
    }
}

fn reply<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Probe {
    let name = words.next().unwrap_or_default();
    let rest = words.by_ref().take(4).collect::<Words>();
    match (name, rest.count) {
        (b"VALUE", 3 | 4) if rest.numbers + 1 >= rest.count => Probe::Certain,
        (b"STAT", 2..) => Probe::Certain,
        (b"STORED" | b"NOT_STORED" | b"NOT_FOUND" | b"DELETED" | b"TOUCHED", 0) => Probe::Certain,
        (b"END" | b"EXISTS" | b"ERROR" | b"OK" | b"EN" | b"MN", 0) | (b"HD" | b"VA", _) => Probe::Maybe,
        (b"VERSION" | b"CLIENT_ERROR" | b"SERVER_ERROR", 1..) => Probe::Maybe,
        _ => Probe::No,
    }
}

#[derive(Default)]
struct Words {
    count: usize,
    numbers: usize,
}

impl<'a> FromIterator<&'a [u8]> for Words {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(words: I) -> Self {
        words.into_iter().fold(Self::default(), |words, word| Self {
            count: words.count + 1,
            numbers: words.numbers + usize::from(number(word)),
        })
    }
}

fn number(word: &[u8]) -> bool {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    !digits.is_empty() && digits.len() <= 20 && digits.iter().all(u8::is_ascii_digit)
}

// Bytes recorded at a socket of memcached 1.6.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn text() {
        let client = |port, bytes: &[u8]| Run::new(tcp(50_000, port)).client(bytes);
        assert_eq!(client(9999, b"set k 0 0 3\r\nabc\r\n"), Verdict::Decided("Memcached"));
        assert_eq!(client(9999, b"get k\r\n"), Verdict::Undecided);
        assert_eq!(client(11_211, b"get k\r\n"), Verdict::Decided("Memcached"));
        assert_eq!(client(11_211, b"get me out\n"), Verdict::Undecided);
        let server = |bytes: &[u8]| Run::new(tcp(50_000, 9999)).server(bytes);
        assert_eq!(server(b"STAT pid 9207\r\nSTAT uptime 5\r\n"), Verdict::Decided("Memcached"));
        assert_eq!(server(b"VALUE k 0 3\r\nabc\r\nEND\r\n"), Verdict::Decided("Memcached"));
        assert_eq!(server(b"VALUE of a thing\r\n"), Verdict::Undecided);
    }

    #[test]
    fn binary() {
        let ask = hex("800b000000000000000000000000000000000000 00000000");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&ask), Verdict::Decided("Memcached"));
        let answer = hex("810b00000000000000000006000000000000000000000000312e362e3138");
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&answer), Verdict::Decided("Memcached"));
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&answer[..29]), Verdict::Undecided);
    }

    #[test]
    fn datagrams_have_a_header() {
        let ask = hex("000100000001000076657273696f6e0d0a");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&ask), Verdict::Decided("Memcached"));
        let answer = hex("000100000001000056455253494f4e20312e362e31380d0a");
        assert_eq!(Run::new(udp(50_000, 9999)).server(&answer), Verdict::Decided("Memcached"));
        assert_eq!(Run::new(udp(50_000, 11_211)).client(&ask[8..]), Verdict::Undecided);
    }
}
