//! NAT-PMP (RFC 6886) and its successor PCP (RFC 6887).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const PORT: u16 = 5351;
/// Devices also announce changes there.
const ANNOUNCE_PORT: u16 = 5350;

pub(super) static NAT_PMP: Dissector = Dissector {
    name: "NAT-PMP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 0 | 2),
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if !cx.has_port(PORT) && !cx.has_port(ANNOUNCE_PORT) {
        return Probe::No;
    }
    let result_fits = be16(bytes, 2).is_some_and(|result| result <= 5);
    let known = match (bytes, bytes.len()) {
        ([0, 0, ..], 2) | ([0, 1 | 2, 0, 0, ..], 12) => true,
        ([0, 128, ..], 12) | ([0, 129 | 130, ..], 16) | ([0, 128..=130, ..], 8) => result_fits,
        // Announce, map, peer; a reply's top bit is set.
        ([2, kind, 0, result, ..], 24..=1100) => {
            kind & 0x7f <= 2 && bytes.len().is_multiple_of(4) && (*result == 0 || kind & 0x80 != 0)
        }
        _ => false,
    };
    if known { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn both_versions_on_their_port() {
        let map = hex("0002 0000 1f90 0000 00000e10");
        assert_eq!(Run::new(udp(40_000, 5351)).client(&map), Verdict::Decided("NAT-PMP"));
        assert_eq!(Run::new(udp(40_000, 5351)).client(&hex("0000")), Verdict::Decided("NAT-PMP"));
        assert_eq!(Run::new(udp(40_000, 5351)).client(&map[..11]), Verdict::Undecided);
        assert_eq!(Run::new(udp(40_000, 5352)).client(&map), Verdict::Undecided);
        let announce = hex("02 00 0000 00000000 00000000000000000000ffffc0000201");
        assert_eq!(Run::new(udp(40_000, 5351)).client(&announce), Verdict::Decided("NAT-PMP"));
    }
}
