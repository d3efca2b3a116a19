//! Meters on networks (ANSI C12.22, IEEE 1703: an ACSE association with an EPSEM message inside).

use shared::model::{AppCategory, Breed, L4};

use super::ber;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static C1222: Dissector = Dissector {
    name: "ANSI_C1222",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == 0x60,
    ports: &[(L4::TCP, 1153), (L4::UDP, 1153)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let pdu = ber::element(bytes).filter(|pdu| pdu.whole && pdu.rest.is_empty());
    let first = pdu.and_then(|pdu| pdu.body.first());
    let known = matches!(first, Some(0x80 | 0xa1 | 0xa2 | 0xa4 | 0xa6 | 0xa7 | 0xa8 | 0xbe));
    if known && cx.has_port(1153) { Probe::Certain } else { Probe::No }
}

// Put together after the standard.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn an_association_on_its_port() {
        let read = hex("60 16 a203 800101 a803 020101 be0a 2808 8106 90 04 30 0001 00");
        assert_eq!(Run::new(tcp(50_000, 1153)).client(&read), Verdict::Decided("ANSI_C1222"));
        assert_eq!(Run::new(tcp(50_000, 1154)).client(&read), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 1153)).client(&read[..9]), Verdict::Undecided);
    }
}
