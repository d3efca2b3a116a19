//! Cisco's Hot Standby Router Protocol, versions 0 (RFC 2281) and 1 to 4 (Wireshark's description).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const PORTS: [u16; 2] = [1985, 2029];

pub(super) static HSRP: Dissector = Dissector {
    name: "HSRP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte <= 4,
    ports: &[(L4::UDP, 1985), (L4::UDP, 2029)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let known = match bytes {
        // Version 0: hello, coup, resign, advertisement; states are powers of two.
        [0, 0..=2, 0 | 1 | 2 | 4 | 8 | 16, ..] => bytes.len() >= 20,
        [0, 3, ..] => bytes.len() >= 16,
        // Version 2: a group's state, 40 bytes long, leads the elements.
        [1, 40, 2, ..] => bytes.len() >= 42,
        [1..=4, length, ..] => bytes.len() == 2 + usize::from(*length) && *length >= 6,
        _ => false,
    };
    if known && PORTS.iter().any(|port| cx.has_port(*port)) { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // Composed after the RFC; tshark reads it so.
    const HELLO: &str = "00 00 10 03 0a 78 01 00 636973636f000000 c0a80001";

    #[test]
    fn a_hello_on_its_port() {
        assert_eq!(Run::new(udp(1985, 1985)).client(&hex(HELLO)), Verdict::Decided("HSRP"));
        assert_eq!(Run::new(udp(1985, 1985)).client(&hex(HELLO)[..19]), Verdict::Undecided);
        assert_eq!(Run::new(udp(1984, 1984)).client(&hex(HELLO)), Verdict::Undecided);
    }
}
