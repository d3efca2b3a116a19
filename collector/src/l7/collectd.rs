//! collectd's binary protocol (collectd wiki, "Binary protocol").

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, printable, walk};
use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static COLLECTD: Dissector = Dissector {
    name: "Collectd",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 0 | 2),
    ports: &[(L4::UDP, 25_826)],
    probe,
    dissect: name_only,
};

/// Length of a part, when it is one: strings end with a zero, numbers have eight bytes.
fn part(bytes: &[u8]) -> Option<usize> {
    let (kind, length) = (be16(bytes, 0)?, usize::from(be16(bytes, 2)?));
    let body = bytes.get(4..length)?;
    let sane = match kind {
        0 | 2..=5 | 0x100 => {
            body.split_last().is_some_and(|(end, text)| *end == 0 && (text.is_empty() || printable(text)))
        }
        1 | 7..=9 | 0x101 => length == 12,
        // A count, then a type and eight bytes for each value.
        6 => be16(bytes, 4).is_some_and(|count| length == 6 + 9 * usize::from(count)),
        // Signed: HMAC and user; encrypted: user, initial vector, checksum.
        0x200 => length > 36,
        0x210 => length > 42,
        _ => false,
    };
    sane.then_some(length)
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // The host, with at least one letter, or a signature, or what is encrypted.
    let host = be16(bytes, 0) == Some(0) && bytes.get(4).is_some_and(u8::is_ascii_graphic);
    let sealed = matches!(be16(bytes, 0), Some(0x200 | 0x210));
    if (host || sealed) && bytes.len() > 16 && walk(bytes, part) == Fit::Whole {
        Probe::Certain
    } else {
        Probe::No
    }
}

// Bytes put together after the wiki.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn parts_fill_the_datagram() {
        let bytes = [
            &hex("0000 0009")[..],
            b"host\0",
            &hex("0008 000c 1513 2c86 0000 0000 0002 0008"),
            b"cpu\0",
            &hex("0006 000f 0001 01 0000000000000040"),
        ]
        .concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&bytes), Verdict::Decided("Collectd"));
        for length in 1..bytes.len() {
            // Whole parts are a message, too.
            let whole = [21, 29].contains(&length);
            assert_eq!(Run::new(udp(50_000, 25_826)).client(&bytes[..length]) != Verdict::Undecided, whole);
        }
    }
}
