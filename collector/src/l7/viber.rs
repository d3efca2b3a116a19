//! Viber's messages and calls over UDP (as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static VIBER: Dissector = Dissector {
    name: "Viber",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |_| true,
    ports: &[(L4::UDP, 5243), (L4::UDP, 7985), (L4::UDP, 7987)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let known = matches!(bytes.get(2..5), Some([3 | 9, 0, _] | [1, 0, 5])) && bytes.len() >= 12;
    if known && [5242, 5243, 4244, 7985, 7987].iter().any(|port| cx.has_port(*port)) {
        Probe::Certain
    } else {
        Probe::No
    }
}

// Kinds and ports are real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn kinds_of_packets_on_its_ports() {
        let open = hex("1234 03 00 01020304 05060708");
        assert_eq!(Run::new(udp(50_000, 7985)).client(&open), Verdict::Decided("Viber"));
        assert_eq!(Run::new(udp(50_000, 7986)).client(&open), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 7985)).client(&open[..11]), Verdict::Undecided);
    }
}
