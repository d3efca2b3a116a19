//! Avast's secure DNS by the question for its certificate (as seen on the wire).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

pub(super) static AVAST_SECURE_DNS: Dissector = Dissector {
    name: "AVASTSecureDNS",
    category: AppCategory::Network,
    breed: Breed::Safe,
    carrier: Carrier::Udp,
    first: |_| true,
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let ours = be32(bytes, 11) == Some(0x0001_3209)
        && bytes.get(15..).is_some_and(|name| name.starts_with(b"securedns"));
    if ours { Probe::Certain } else { Probe::No }
}

// The name is real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn its_certificate_is_asked_for() {
        let ask =
            [&hex("1234 0100 0001 0000 0000 00 00 01 32 09")[..], b"securedns\x05avast\x03com\0"].concat();
        assert_eq!(Run::new(udp(50_000, 443)).client(&ask), Verdict::Decided("AVASTSecureDNS"));
        assert_eq!(Run::new(udp(50_000, 443)).client(&ask[..20]), Verdict::Undecided);
    }
}
