//! QQ's OICQ (Wireshark's description).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

/// Not told to the table of ports: much else is on it.
const PORT: u16 = 8000;

pub(super) static OICQ: Dissector = Dissector {
    name: "OICQ",
    category: AppCategory::Chat,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 2,
    ports: &[],
    probe: probe_oicq,
    dissect: name_only,
};

/// Mark, version, command, number, user; ends with a mark.
fn probe_oicq(bytes: &[u8], cx: &L7Context) -> Probe {
    let command = be16(bytes, 3).is_some_and(|command| (1..0x0400).contains(&command));
    let version = be16(bytes, 1).is_some_and(|version| (0x0100..0x4000).contains(&version));
    let user = be32(bytes, 7).is_some_and(|user| user >= 10_000);
    let ends = bytes.first() == Some(&2) && bytes.last() == Some(&3) && bytes.len() > 11;
    if command && version && user && ends && cx.has_port(PORT) { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn oicq_needs_its_port() {
        let alive = hex("02 1a25 0058 4b1d 075bcd15 0102030405 03");
        assert_eq!(Run::new(udp(50_000, 8000)).client(&alive), Verdict::Decided("OICQ"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&alive), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 8000)).client(&alive[..16]), Verdict::Undecided);
    }
}
