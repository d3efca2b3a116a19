//! Ubiquiti's device discovery (Rapid7's description of UDP 10001).

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

/// Version, command, length.
const HEADER: usize = 4;

pub(super) static UBNTAC2: Dissector = Dissector {
    name: "UBNTAC2",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 1 | 2),
    ports: &[(L4::UDP, 10_001)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else { return Probe::No };
    if be16(header, 2).map(usize::from) != Some(rest.len()) {
        return Probe::No;
    }
    if rest.is_empty() {
        return if matches!(header, [1, 0, ..] | [2, 8, ..]) { Probe::Maybe } else { Probe::No };
    }
    // Kind, length, value.
    let item = |bytes: &[u8]| Some(usize::from(be16(bytes, 1)?) + 3);
    let known = matches!(header, [1, 0, ..] | [2, 0..=11, ..]) && matches!(rest.first(), Some(1..=0x2f));
    if known && rest.len() > 8 && walk(rest, item) == Fit::Whole { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn items_fill_the_datagram() {
        let answer = hex("02060011 02000a 802aa8010203 c0000201 010001 ff");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&answer), Verdict::Decided("UBNTAC2"));
        assert_eq!(Run::new(udp(50_000, 10_001)).client(&hex("01000000")), Verdict::Decided("UBNTAC2"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&hex("01000000")), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 10_001)).client(&answer[..20]), Verdict::Undecided);
    }
}
