//! Z39.50, libraries' search (ANSI/NISO Z39.50-2003 §4.1: BER, one application PDU a message).

use shared::model::{AppCategory, Breed, L4};

use super::ber;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static Z3950: Dissector = Dissector {
    name: "Z3950",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 0xb4..=0xbf),
    ports: &[(L4::TCP, 210)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // The initialize request or its answer, whose first element is a reference or the version.
    let whole = ber::element(bytes).filter(|pdu| pdu.whole && pdu.rest.is_empty() && pdu.body.len() > 8);
    match (bytes.first(), whole.and_then(|pdu| pdu.body.first())) {
        (Some(0xb4 | 0xb5), Some(0x82 | 0x83)) => Probe::Certain,
        (Some(0xb6..=0xbf), Some(_)) if cx.has_port(210) => Probe::Maybe,
        _ => Probe::No,
    }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn sessions_begin_with_initialize() {
        let ask = hex("b4 14 830200c0 840203ff 8504 00100000 8604 00100000");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&ask), Verdict::Decided("Z3950"));
        let mut run = Run::new(tcp(50_000, 210));
        assert_eq!(run.client(&ask[..20]), Verdict::Undecided);
        let other = hex("b4 0c 300a 0201 01 0405 7075626c69");
        assert_eq!(Run::new(tcp(50_000, 210)).client(&other), Verdict::Undecided);
    }
}
