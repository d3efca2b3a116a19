//! SOME/IP in vehicles (AUTOSAR, "SOME/IP Protocol Specification").

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

pub(super) static SOMEIP: Dissector = Dissector {
    name: "SOMEIP",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |_| true,
    ports: &[(L4::UDP, 30_490), (L4::UDP, 30_491), (L4::UDP, 30_501), (L4::TCP, 30_491), (L4::TCP, 30_501)],
    probe,
    dissect: name_only,
};

/// Service and method, length, client and session, versions, kind, result.
fn message(bytes: &[u8]) -> Option<usize> {
    let length = be32(bytes, 4).filter(|length| (8..1 << 20).contains(length))?;
    let [version, _, kind, result] = bytes.get(12..16)? else { return None };
    let known = matches!(kind & !0x20, 0..=2 | 0x40..=0x42 | 0x80 | 0x81 | 0xc0 | 0xc1);
    let sane = *version == 1 && known && *result <= 0x20 && be32(bytes, 0)? != 0;
    sane.then_some(length as usize + 8)
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if walk(bytes, message) == Fit::Whole { Probe::Certain } else { Probe::No }
}

// A notification of service discovery, put together after the specification.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn lengths_agree() {
        let notice = hex("ffff8100 00000010 00000001 01 01 02 00 c0000000 00000000");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&notice), Verdict::Decided("SOMEIP"));
        assert_eq!(Run::new(udp(50_000, 30_490)).client(&notice[..23]), Verdict::Undecided);
        assert_eq!(
            Run::new(udp(50_000, 30_490)).client(&hex("ffff8100 00000008 00000001 02 01 02 00")),
            Verdict::Undecided
        );
    }
}
