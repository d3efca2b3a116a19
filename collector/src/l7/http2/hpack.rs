//! The fields of a header block (HPACK, RFC 7541), of the first block of a connection: fields that stand
//! for earlier ones of the same block, which hardly anybody sends, are passed over.

use std::borrow::Cow;

/// Fields read of a block at most.
const MAX_FIELDS: usize = 128;

/// Not what the grammar allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A field's name and value.
pub(super) type Field<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The fields of a block in their order; ends at one that is cut.
pub(super) fn fields(block: &[u8]) -> impl Iterator<Item = Result<Field<'_>, Malformed>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            match field(&mut rest) {
                Some(Ok(Some(field))) => return Some(Ok(field)),
                Some(Ok(None)) => {}
                Some(Err(malformed)) => {
                    rest = &[];
                    return Some(Err(malformed));
                }
                None => rest = &[],
            }
        }
        None
    })
    .take(MAX_FIELDS)
}

/// Reads one representation (§6) off the front; `None` when it is cut, nothing in it when it is no field
/// or stands for one that is not known.
fn field<'a>(rest: &mut &'a [u8]) -> Option<Result<Option<Field<'a>>, Malformed>> {
    let first = *rest.first()?;
    let (indexed, bits) = match first {
        0x80.. => (true, 7),
        0x40.. => (false, 6),
        0x20.. => {
            // The table's size changes.
            number(rest, 5)?;
            return Some(Ok(None));
        }
        _ => (false, 4),
    };
    let index = number(rest, bits)?;
    if indexed {
        let known = STATIC.get(index.wrapping_sub(1));
        let known = known.map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()));
        return Some(if index == 0 { Err(Malformed) } else { Ok(known) });
    }
    let name = match index {
        0 => Some(text(rest)?),
        _ => STATIC.get(index - 1).map(|(name, _)| Ok(name.as_bytes().into())),
    };
    let value = text(rest)?;
    Some(match (name.transpose(), value) {
        (Ok(name), Ok(value)) => Ok(name.map(|name| (name, value))),
        _ => Err(Malformed),
    })
}

/// A number whose first `bits` bits are the last of the first byte (§5.1). Too large ones are as large as
/// can be, so that nothing has that length.
fn number(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let (first, mut behind) = rest.split_first()?;
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        for shift in (0..).step_by(7) {
            let (byte, after) = behind.split_first()?;
            behind = after;
            let part = usize::from(byte & 0x7f);
            value = if shift < 28 { value + (part << shift) } else { usize::MAX >> 1 };
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = behind;
    Some(value)
}

/// A text, as it is or in the Huffman code (§5.2).
fn text<'a>(rest: &mut &'a [u8]) -> Option<Result<Cow<'a, [u8]>, Malformed>> {
    let coded = rest.first()? & 0x80 != 0;
    let length = number(rest, 7)?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(if coded { unpack(text).map(Cow::from) } else { Ok(text.into()) })
}

/// The Huffman code (appendix B): the bytes whose codes have so many bits, in the order of their codes.
/// Each code is one more than that before it, and codes grow longer by zeros, so that this says them all.
const CODES: [(u32, &[u8]); 21] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, b"\\\xc3\xd0"),
    (20, b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"),
    (21, b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"),
    (22, b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9"),
    (
        23,
        b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef",
    ),
    (24, b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"),
    (25, b"\xc7\xcf\xea\xeb"),
    (26, b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff"),
    (27, b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe"),
    (
        28,
        b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9",
    ),
    (30, b"\n\r\x16"),
];

/// Takes the Huffman code off. What is left over at the end is less than a byte, all ones.
fn unpack(coded: &[u8]) -> Result<Vec<u8>, Malformed> {
    // Bits that wait, the next one foremost, and how many.
    let (mut bits, mut count) = (0_u64, 0_u32);
    let mut bytes = coded.iter();
    let mut text = Vec::with_capacity(coded.len() * 3 / 2);
    loop {
        while let Some(byte) = bytes.as_slice().first().filter(|_| count <= 56) {
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
            bytes.next();
        }
        match next(bits) {
            Some((byte, length)) if length <= count => {
                text.push(byte);
                bits <<= length;
                count -= length;
            }
            _ if count < 8 && bits == !(u64::MAX >> count) => return Ok(text),
            _ => return Err(Malformed),
        }
    }
}

/// The byte whose code the bits begin with, and the code's length.
fn next(bits: u64) -> Option<(u8, u32)> {
    let (mut code, mut before) = (0, 0);
    for (length, symbols) in CODES {
        code <<= length - before;
        before = length;
        let place = (bits >> (64 - length)).wrapping_sub(code) as usize;
        if let Some(byte) = symbols.get(place) {
            return Some((*byte, length));
        }
        code += symbols.len() as u64;
    }
    None
}

/// Fields known from the start (appendix A).
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::tests::{hex, recorded};

    fn texts(block: &[u8]) -> Vec<(String, String)> {
        let text = |bytes: Cow<'_, [u8]>| String::from_utf8(bytes.into_owned()).unwrap();
        fields(block).map(Result::unwrap).map(|(name, value)| (text(name), text(value))).collect()
    }

    /// Encoded by the Python package hpack.
    const ENCODED: &str = include_str!("hpack.txt");

    #[test]
    fn fields_of_another_encoder_are_read() {
        let wanted = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/a/index.html?x=~{1}"),
            (":authority", "www.example.com"),
            ("user-agent", "curl/7.88.1"),
            ("accept", "*/*"),
            ("x-odd", "ü"),
        ];
        for label in ["plain", "huffman"] {
            let block = recorded(ENCODED, label).remove(0);
            let found = texts(&block);
            let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(found, wanted, "{label}");
            for cut in 0..block.len() {
                assert!(texts(&block[..cut]).len() < wanted.len(), "{label} {cut}");
            }
        }
    }

    #[test]
    fn every_byte_has_its_code() {
        let coded = recorded(ENCODED, "bytes").remove(0);
        assert_eq!(unpack(&coded), Ok((0..=255).collect()));
        assert_eq!(CODES.iter().map(|(_, symbols)| symbols.len()).sum::<usize>(), 256);
    }

    /// The examples of RFC 7541, appendices C.2.1, C.2.2, C.2.3, C.2.4 and C.4.1.
    #[test]
    fn examples_of_the_standard() {
        for (block, name, value) in [
            ("400a 637573746f6d2d6b6579 0d 637573746f6d2d686561646572", "custom-key", "custom-header"),
            ("040c 2f73616d706c652f70617468", ":path", "/sample/path"),
            ("1008 70617373776f7264 06 736563726574", "password", "secret"),
            ("82", ":method", "GET"),
            ("418c f1e3c2e5f23a6ba0ab90f4ff", ":authority", "www.example.com"),
            // The table's size first (§6.3).
            ("20 82", ":method", "GET"),
        ] {
            assert_eq!(texts(&hex(block)), [(name.to_owned(), value.to_owned())], "{block}");
        }
    }

    #[test]
    fn what_the_grammar_forbids_ends_the_block() {
        for block in ["80", "0085 ffffffffff 0161", "0081 00 0161", "0082 1fff 0161"] {
            let block = hex(block);
            let last = fields(&block).last();
            assert_eq!(last, Some(Err(Malformed)), "{block:x?}");
        }
        // An index of the table that grows, and lengths beyond all bounds.
        for block in ["be", "7f 8080808080808080 01 61", "00 7f ffffffffffff7f 61"] {
            assert_eq!(fields(&hex(block)).count(), 0, "{block}");
        }
        assert_eq!(fields(&[0x82; 1000]).count(), MAX_FIELDS);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(block in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let text: usize = fields(&block).flatten().map(|(name, value)| name.len() + value.len()).sum();
            proptest::prop_assert!(text <= block.len() * 64);
        }
    }
}
