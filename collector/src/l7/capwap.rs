//! CAPWAP between wireless access points and their controller (RFC 5415).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

const CONTROL_PORT: u16 = 5246;
const DATA_PORT: u16 = 5247;
/// Words of the shortest header, and of one with an address and wireless information.
const HEADER_WORDS: std::ops::RangeInclusive<usize> = 2..=10;

pub(super) static CAPWAP: Dissector = Dissector {
    name: "CAPWAP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte <= 1,
    ports: &[(L4::UDP, CONTROL_PORT), (L4::UDP, DATA_PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    match bytes {
        // DTLS behind four bytes.
        [1, 0, 0, 0, 20..=23, 0xfe, 0xff | 0xfd, ..] => Probe::Certain,
        [0, second, ..] => {
            let words = usize::from(second >> 3);
            let header = 4 * words;
            let known = HEADER_WORDS.contains(&words) && bytes.len() > header;
            if known && control(bytes.get(header..).unwrap_or_default()) {
                Probe::Certain
            } else if known && cx.has_port(DATA_PORT) {
                Probe::Maybe
            } else {
                Probe::No
            }
        }
        _ => Probe::No,
    }
}

/// A message kind (of the base protocol or of 802.11), a sequence, the length of what follows, flags.
fn control(message: &[u8]) -> bool {
    let kind = be32(message, 0).is_some_and(|kind| matches!(kind, 1..=26 | 3_398_913 | 3_398_914));
    let length = be16(message, 5).map(usize::from);
    // Some count from the length field itself, others from behind it.
    kind && length.is_some_and(|length| length + 5 == message.len() || length + 8 == message.len())
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    /// Composed by hand after RFC 5415 §4: nothing that was recorded.
    #[test]
    fn discovery_and_secured_control() {
        let discovery = hex("00 10 0000 00000000 00000001 00 0008 00 0014 0001 00");
        assert_eq!(Run::new(udp(40_000, 5246)).client(&discovery), Verdict::Decided("CAPWAP"));
        assert_eq!(Run::new(udp(40_000, 5246)).client(&discovery[..19]), Verdict::Undecided);
        let secured = hex("01000000 16 feff 0000");
        assert_eq!(Run::new(udp(40_000, 12_223)).client(&secured), Verdict::Decided("CAPWAP"));
        let data = hex("00 10 0200 00000000 0801");
        assert_eq!(Run::new(udp(40_000, 5247)).client(&data), Verdict::Decided("CAPWAP"));
        assert_eq!(Run::new(udp(40_000, 5248)).client(&data), Verdict::Undecided);
    }
}
