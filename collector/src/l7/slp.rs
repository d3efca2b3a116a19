//! Service location protocol, versions 1 and 2 (RFC 2165, RFC 2608).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

const PORT: u16 = 427;

pub(super) static SLP: Dissector = Dissector {
    name: "Service_Location_Protocol",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 1 | 2),
    ports: &[(L4::UDP, PORT), (L4::TCP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let known = match bytes {
        // Length of 24 bits, flags of which three are known, and a language.
        [2, 1..=11, ..] => {
            let length = be32(bytes, 1).map(|word| (word & 0xff_ffff) as usize);
            let language = be16(bytes, 12).map(usize::from).and_then(|size| bytes.get(14..14 + size));
            let legible = language.is_some_and(|tag| {
                (1..=16).contains(&tag.len()) && tag.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            });
            // A stream's message may go on in the next segment.
            let fits = length
                .is_some_and(|length| length == bytes.len() || (cx.l4 == L4::TCP && length > bytes.len()));
            legible && fits && be16(bytes, 5).is_some_and(|flags| flags & 0x1fff == 0)
        }
        [1, 1..=11, ..] => {
            cx.has_port(PORT) && be16(bytes, 2).map(usize::from) == Some(bytes.len()) && bytes.len() >= 12
        }
        _ => false,
    };
    if known { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // Composed after RFC 2608 §8.1; tshark reads it so: who offers services?
    const ASKED: &str =
        "020100002f200000000012340002656e00000015736572766963653a736572766963652d6167656e74000000000000";

    #[test]
    fn version_2_says_length_and_language() {
        let asked = hex(ASKED);
        assert_eq!(Run::new(udp(40_000, 1427)).client(&asked), Verdict::Decided("Service_Location_Protocol"));
        for cut in 1..asked.len() {
            assert_eq!(Run::new(udp(40_000, 427)).client(&asked[..cut]), Verdict::Undecided);
        }
    }

    #[test]
    fn version_1_counts_on_its_port() {
        let asked = hex("01 01 000c 00 00 656e 0003 1234");
        assert_eq!(Run::new(udp(40_000, 427)).client(&asked), Verdict::Decided("Service_Location_Protocol"));
        assert_eq!(Run::new(udp(40_000, 428)).client(&asked), Verdict::Undecided);
    }
}
