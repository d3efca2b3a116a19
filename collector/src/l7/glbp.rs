//! Cisco's Gateway Load Balancing Protocol (Wireshark's description).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const PORT: u16 = 3222;

pub(super) static GLBP: Dissector = Dissector {
    name: "GLBP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 1,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // A head of twelve bytes, then elements with kind and length.
    let element = bytes.get(12..14).is_some_and(|element| matches!(element, [1..=4, length] if *length >= 8));
    if element && cx.has_port(PORT) && bytes.get(1) == Some(&0) { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_head_and_an_element_on_its_port() {
        // Composed after the description.
        let hello = hex("01 00 0001 0000 001122334455 01 1c 0020");
        assert_eq!(Run::new(udp(3222, 3222)).client(&hello), Verdict::Decided("GLBP"));
        assert_eq!(Run::new(udp(3222, 3222)).client(&hello[..13]), Verdict::Undecided);
        assert_eq!(Run::new(udp(3223, 3223)).client(&hello), Verdict::Undecided);
    }
}
