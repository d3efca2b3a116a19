//! MikroTik's discovery of neighbours (help.mikrotik.com, "Neighbor discovery"; as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static MNDP: Dissector = Dissector {
    name: "MikroTik",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |_| true,
    ports: &[(L4::UDP, 5678)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if !cx.has_port(5678) {
        return Probe::No;
    }
    // A sequence, then elements: kind and length; the first is the hardware address.
    let first = be16(bytes, 4).zip(be16(bytes, 6)) == Some((1, 6));
    let ours = bytes == [0; 4] || (first && bytes.len() >= 14);
    if ours { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn neighbours_are_asked_and_answer() {
        assert_eq!(Run::new(udp(5678, 5678)).client(&[0; 4]), Verdict::Decided("MikroTik"));
        let answer = hex("00000001 0001 0006 020000000001 0005 0002 6131");
        assert_eq!(Run::new(udp(5678, 5678)).client(&answer), Verdict::Decided("MikroTik"));
        assert_eq!(Run::new(udp(5678, 5679)).client(&answer[..12]), Verdict::Undecided);
    }
}
