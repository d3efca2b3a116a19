//! Bidirectional Forwarding Detection between neighbours (RFC 5880, RFC 5881, RFC 5883, RFC 7130).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

/// Single hop, echo, several hops, micro sessions.
const PORTS: [u16; 4] = [3784, 3785, 4784, 6784];
const ECHO_PORT: u16 = 3785;

pub(super) static BFD: Dissector = Dissector {
    name: "BFD",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte >> 5, 0 | 1),
    ports: &[(L4::UDP, 3784), (L4::UDP, 3785), (L4::UDP, 4784), (L4::UDP, 6784)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let at_home = PORTS.iter().any(|port| cx.has_port(*port));
    let &[version, _, multiplier, length, ..] = bytes else {
        return Probe::No;
    };
    let known = matches!(version >> 5, 0 | 1)
        && multiplier != 0
        && length >= 24
        && usize::from(length) == bytes.len();
    // Echoes are what their sender likes (RFC 5881 §4).
    match (at_home && known, cx.server_port == ECHO_PORT) {
        (true, _) => Probe::Certain,
        (false, true) => Probe::Maybe,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // Composed after the RFC; tshark reads it so.
    const DOWN: &str = "20 40 03 18 00000001 00000000 000f4240 000f4240 00000000";

    #[test]
    fn a_session_that_is_down() {
        assert_eq!(Run::new(udp(49_152, 3784)).client(&hex(DOWN)), Verdict::Decided("BFD"));
        assert_eq!(Run::new(udp(49_152, 3784)).client(&hex(DOWN)[..23]), Verdict::Undecided);
        assert_eq!(Run::new(udp(49_152, 3783)).client(&hex(DOWN)), Verdict::Undecided);
    }
}
