//! The Label Distribution Protocol of MPLS (RFC 5036).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static LDP: Dissector = Dissector {
    name: "LDP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == 0,
    ports: &[(L4::UDP, 646), (L4::TCP, 646)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Version, length of what follows, identifier; then a message with its own length.
    let (Some(1), Some(length), Some(kind), Some(inner)) =
        (be16(bytes, 0), be16(bytes, 2).map(usize::from), be16(bytes, 10), be16(bytes, 12).map(usize::from))
    else {
        return Probe::No;
    };
    let known =
        matches!(kind & 0x7fff, 0x0001 | 0x0100 | 0x0200..=0x0202 | 0x0300 | 0x0301 | 0x0400..=0x0404);
    if known && length + 4 == bytes.len() && length >= 10 + inner { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    // Composed after the RFC; tshark reads it so.
    const HELLO: &str = "0001 001e c0000201 0000 0100 0014 00000000 0400 0004 000f 0000 0401 0004 c0000201";

    #[test]
    fn a_hello_over_either_carrier() {
        assert_eq!(Run::new(udp(646, 646)).client(&hex(HELLO)), Verdict::Decided("LDP"));
        assert_eq!(Run::new(tcp(40_000, 646)).client(&hex(HELLO)), Verdict::Decided("LDP"));
        assert_eq!(Run::new(udp(646, 646)).client(&hex(HELLO)[..33]), Verdict::Undecided);
    }
}
