//! Discord's voice by its search for the own address (Discord's developer documentation, "IP Discovery").

use shared::model::{AppCategory, Breed};

use super::frames::zeros;
use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static DISCORD: Dissector = Dissector {
    name: "Discord",
    category: AppCategory::Collaborative,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[],
    probe: probe_discord,
    dissect: name_only,
};

/// Kind, length, number of the stream, address in text, port.
fn probe_discord(bytes: &[u8], _: &L7Context) -> Probe {
    let fits = bytes.len() == 74 && be16(bytes, 2) == Some(70);
    let sane = match be16(bytes, 0) {
        Some(1) => zeros(bytes, 8..74),
        Some(2) => bytes.get(8).is_some_and(u8::is_ascii_hexdigit) && zeros(bytes, 56..72),
        _ => false,
    };
    if fits && sane { Probe::Certain } else { Probe::No }
}

// Bytes put together after the documentation.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn discord() {
        let ask = [&hex("0001 0046 00012345")[..], &[0; 66]].concat();
        assert_eq!(Run::new(udp(50_000, 50_004)).client(&ask), Verdict::Decided("Discord"));
        let answer = [&hex("0002 0046 00012345")[..], b"192.0.2.1", &[0; 55], &[0xc3, 0x50]].concat();
        assert_eq!(Run::new(udp(50_000, 50_004)).server(&answer), Verdict::Decided("Discord"));
        assert_eq!(Run::new(udp(50_000, 50_004)).client(&ask[..73]), Verdict::Undecided);
    }
}
