//! Fingerprints of hellos: JA3 and JA3S (Salesforce, BSD-3), and JA4 of the client alone (FoxIO's
//! technical details of JA4, BSD-3).

use std::cell::RefCell;

use md5::{Digest, Md5};
use ring::digest;
use shared::model::flow::{self, TlsInfo};

use super::hello::{
    ClientHello, EXT_ALPN, EXT_SERVER_NAME, Over, TLS_1_3, extensions, is_grease, protocols, words,
};
use crate::l7::memo::Memo;

/// Most ciphers and most extensions that take part; no real client comes near.
const MAX_VALUES: usize = 256;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Notes the client's fingerprints.
pub(super) fn client(hello: &ClientHello<'_>, over: Over, tls: &mut TlsInfo) {
    let mut text = Text::default();
    tls.ja3 = ja3(hello, &mut text);
    tls.ja4 = ja4(hello, over, &mut text);
}

/// JA3S of a server's hello.
pub(super) fn server(legacy: u16, cipher: u16, all: &[u8]) -> flow::Text {
    let mut text = Text::default();
    text.number(legacy);
    text.push(b',');
    text.number(cipher);
    text.push(b',');
    text.dashed(extensions(all).map(|(kind, _)| kind));
    text.md5()
}

fn ja3(hello: &ClientHello<'_>, text: &mut Text) -> flow::Text {
    let real = |value: &u16| !is_grease(*value);
    text.end = 0;
    text.number(hello.legacy);
    text.push(b',');
    text.dashed(words(hello.ciphers).filter(real));
    text.push(b',');
    text.dashed(extensions(hello.extensions).map(|(kind, _)| kind).filter(real));
    text.push(b',');
    text.dashed(words(hello.groups).filter(real));
    text.push(b',');
    text.dashed(hello.points.iter().map(|point| u16::from(*point)));
    text.md5()
}

fn ja4(hello: &ClientHello<'_>, over: Over, text: &mut Text) -> flow::Text {
    let real = |value: &u16| !is_grease(*value);
    let mut values = Values::default();
    let cipher_count = words(hello.ciphers).filter(real).map(|cipher| values.push(cipher)).count();
    text.end = 0;
    text.commas(values.sorted().iter().copied());
    let ciphers = text.short_hash();

    values.count = 0;
    let kinds = extensions(hello.extensions).map(|(kind, _)| kind).filter(real);
    let extension_count = kinds
        .inspect(|kind| {
            if !matches!(*kind, EXT_SERVER_NAME | EXT_ALPN) {
                values.push(*kind);
            }
        })
        .count();
    text.end = 0;
    text.commas(values.sorted().iter().copied());
    if !hello.signatures.is_empty() {
        text.push(b'_');
        text.commas(words(hello.signatures).filter(real));
    }
    let kinds = text.short_hash();

    text.end = 0;
    text.push(match over {
        Over::Tcp => b't',
        Over::Dtls => b'd',
        Over::Quic => b'q',
    });
    text.extend(match hello.version {
        TLS_1_3 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        0xfeff => b"d1",
        0xfefd => b"d2",
        0xfefc => b"d3",
        _ => b"00",
    });
    text.push(if hello.has_name_extension { b'd' } else { b'i' });
    text.two_digits(cipher_count);
    text.two_digits(extension_count);
    text.extend(&first_and_last(protocols(hello.protocols).next().unwrap_or_default()));
    text.push(b'_');
    text.extend(&ciphers);
    text.push(b'_');
    text.extend(&kinds);
    text.remembered(|| flow::Text::from(std::str::from_utf8(text.bytes()).unwrap_or_default()))
}

/// First and last letter of a protocol's name; of its hexadecimal form when one is no letter.
fn first_and_last(name: &[u8]) -> [u8; 2] {
    match (name.first(), name.last()) {
        (Some(first), Some(last)) if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => {
            [*first, *last]
        }
        (Some(first), Some(last)) => [nibble(first >> 4), nibble(*last)],
        _ => *b"00",
    }
}

fn nibble(value: u8) -> u8 {
    HEX[usize::from(value & 0x0f)]
}

/// Values to sort, on the stack.
struct Values {
    values: [u16; MAX_VALUES],
    count: usize,
}

impl Default for Values {
    fn default() -> Self {
        Self { values: [0; MAX_VALUES], count: 0 }
    }
}

impl Values {
    fn push(&mut self, value: u16) {
        if let Some(place) = self.values.get_mut(self.count) {
            *place = value;
            self.count += 1;
        }
    }

    fn sorted(&mut self) -> &[u16] {
        let values = self.values.get_mut(..self.count).unwrap_or_default();
        values.sort_unstable();
        values
    }
}

/// Longest text that is hashed: all values in decimal with their separators.
const MAX_TEXT: usize = 3072;

/// Text under construction, on the stack; what does not fit is dropped.
struct Text {
    text: [u8; MAX_TEXT],
    end: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { text: [0; MAX_TEXT], end: 0 }
    }
}

impl Text {
    fn bytes(&self) -> &[u8] {
        self.text.get(..self.end).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.end) {
            *place = byte;
            self.end += 1;
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        if let Some(place) = self.text.get_mut(self.end..self.end + bytes.len()) {
            place.copy_from_slice(bytes);
            self.end += bytes.len();
        }
    }

    /// In decimal.
    fn number(&mut self, value: u16) {
        let mut divisor = 10_000;
        while divisor > 1 && value < divisor {
            divisor /= 10;
        }
        while divisor > 0 {
            self.push(b'0' + (value / divisor % 10) as u8);
            divisor /= 10;
        }
    }

    fn two_digits(&mut self, value: usize) {
        let value = value.min(99) as u8;
        self.extend(&[b'0' + value / 10, b'0' + value % 10]);
    }

    fn dashed(&mut self, values: impl Iterator<Item = u16>) {
        for (number, value) in values.enumerate() {
            if number > 0 {
                self.push(b'-');
            }
            self.number(value);
        }
    }

    fn commas(&mut self, values: impl Iterator<Item = u16>) {
        for (number, value) in values.enumerate() {
            if number > 0 {
                self.push(b',');
            }
            let [high, low] = value.to_be_bytes();
            self.extend(&[nibble(high >> 4), nibble(high), nibble(low >> 4), nibble(low)]);
        }
    }

    /// The first twelve digits of its SHA-256; zeros when it is empty.
    fn short_hash(&self) -> [u8; 12] {
        thread_local! {
            static RECENT: RefCell<Memo<[u8; 12]>> = RefCell::new(Memo::new());
        }
        let make = || {
            let mut digits = [b'0'; 12];
            let hash = digest::digest(&digest::SHA256, self.bytes());
            for (pair, byte) in digits.chunks_exact_mut(2).zip(hash.as_ref()) {
                pair.copy_from_slice(&[nibble(byte >> 4), nibble(*byte)]);
            }
            Some(digits)
        };
        let wanted =
            (self.end > 0).then(|| RECENT.with_borrow_mut(|recent| recent.get_or(self.bytes(), make)));
        wanted.flatten().unwrap_or([b'0'; 12])
    }

    fn md5(&self) -> flow::Text {
        self.remembered(|| md5(&[self.bytes()]))
    }

    /// What `make` makes of it. Few clients and servers make most of the hellos.
    fn remembered(&self, make: impl FnOnce() -> flow::Text) -> flow::Text {
        thread_local! {
            static RECENT: RefCell<Memo<flow::Text>> = RefCell::new(Memo::new());
        }
        RECENT.with_borrow_mut(|recent| recent.get_or(self.bytes(), || Some(make()))).unwrap_or_default()
    }
}

/// MD5 of all parts together, in hexadecimal.
pub(in crate::l7) fn md5(parts: &[&[u8]]) -> flow::Text {
    let mut hash = Md5::new();
    parts.iter().for_each(|part| hash.update(part));
    hex(&hash.finalize())
}

/// A hash of at most 32 bytes in hexadecimal.
pub(super) fn hex(hash: &[u8]) -> flow::Text {
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash) {
        pair.copy_from_slice(&[nibble(byte >> 4), nibble(*byte)]);
    }
    flow::Text::from(
        text.get(..2 * hash.len()).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[u16]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    /// The example of the specification: a hello of Chrome's.
    #[test]
    fn ja4_of_the_specification() {
        let ciphers = list(&[
            0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
            0x009c, 0x009d, 0x002f, 0x0035,
        ]);
        let kinds: [u16; 18] = [
            0x0a0a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012,
            0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x1a1a,
        ];
        let extensions: Vec<u8> =
            kinds.iter().flat_map(|kind| [&kind.to_be_bytes()[..], &[0, 0]].concat()).collect();
        let signatures = list(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]);
        let hello = ClientHello {
            version: TLS_1_3,
            ciphers: &ciphers,
            extensions: &extensions,
            signatures: &signatures,
            protocols: b"\x02h2\x08http/1.1",
            has_name_extension: true,
            ..ClientHello::default()
        };
        assert_eq!(&*ja4(&hello, Over::Tcp, &mut Text::default()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(
            &*ja4(&ClientHello::default(), Over::Quic, &mut Text::default()),
            "q00i000000_000000000000_000000000000"
        );
    }

    /// The example of the description of JA3.
    #[test]
    fn ja3_of_the_description() {
        let ciphers = list(&[47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4]);
        let extensions: Vec<u8> =
            [0_u16, 10, 11].iter().flat_map(|kind| [&kind.to_be_bytes()[..], &[0, 0]].concat()).collect();
        let groups = list(&[23, 24, 25]);
        let (ciphers, extensions, groups) = (&ciphers[..], &extensions[..], &groups[..]);
        let hello =
            ClientHello { legacy: 769, ciphers, extensions, groups, points: &[0], ..ClientHello::default() };
        assert_eq!(&*ja3(&hello, &mut Text::default()), "ada70206e40642a3e4461f35503241d5");
        assert_eq!(&*server(769, 47, &[0xff, 1, 0, 0]), "4192c0a946c5bd9b544b4656d9f624a4");
    }

    #[test]
    fn protocols_without_letters_are_told_in_hexadecimal() {
        assert_eq!(first_and_last(b"h2"), *b"h2");
        assert_eq!(first_and_last(b"http/1.1"), *b"h1");
        assert_eq!(first_and_last(b"\xab"), *b"ab");
        assert_eq!(first_and_last(b"0\xab\xcd1"), *b"01");
        assert_eq!(first_and_last(b"0\xab"), *b"3b");
        assert_eq!(first_and_last(b""), *b"00");
    }

    #[test]
    fn numbers_have_no_zeros_in_front() {
        let mut text = Text::default();
        text.dashed([0, 7, 10, 65_535, 1000].into_iter());
        assert_eq!(text.bytes(), b"0-7-10-65535-1000");
    }
}
