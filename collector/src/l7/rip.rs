//! Routes by RIP versions 1 and 2 (RFC 2453) and RIPng (RFC 2080).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const RIP_PORT: u16 = 520;
const RIPNG_PORT: u16 = 521;

pub(super) static RIP: Dissector = Dissector {
    name: "RIP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 1..=10),
    ports: &[(L4::UDP, RIP_PORT), (L4::UDP, RIPNG_PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Head of four bytes, entries of twenty.
    let entries = bytes.len() >= 24 && bytes.len() % 20 == 4;
    let known = match bytes {
        [1..=10, 1 | 2, 0, 0, high, low, ..] if cx.has_port(RIP_PORT) => {
            matches!([*high, *low], [0, 0 | 2] | [0xff, 0xff])
        }
        [1 | 2, 1, 0, 0, ..] => cx.has_port(RIPNG_PORT),
        _ => false,
    };
    if known && entries { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // Composed after the RFC; tshark reads it so.
    const ASKS: &str = "01 02 0000 0000 0000 00000000 00000000 00000000 00000010";

    #[test]
    fn a_question_for_all_routes() {
        assert_eq!(Run::new(udp(520, 520)).client(&hex(ASKS)), Verdict::Decided("RIP"));
        assert_eq!(Run::new(udp(520, 520)).client(&hex(ASKS)[..23]), Verdict::Undecided);
        assert_eq!(Run::new(udp(519, 519)).client(&hex(ASKS)), Verdict::Undecided);
    }
}
