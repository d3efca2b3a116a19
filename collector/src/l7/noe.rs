//! Alcatel's telephones (UA over UDP, New Office Environment; Wireshark's description).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static NOE: Dissector = Dissector {
    name: "NOE",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte <= 7,
    ports: &[(L4::UDP, 32_512), (L4::UDP, 32_640)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let at_home = cx.has_port(32_512) || cx.has_port(32_640);
    match bytes {
        // Connect with its version and windows, and acknowledgements of connect, release and life.
        [0..=5] if at_home => Probe::Maybe,
        [7, 0, ..] if at_home && bytes.len() >= 5 => Probe::Certain,
        [7, ..] if at_home && bytes.len() >= 5 => Probe::Maybe,
        [0, kind, length, ..]
            if at_home && (1..=6).contains(kind) && usize::from(*length) + 3 <= bytes.len() =>
        {
            Probe::Certain
        }
        _ => Probe::No,
    }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn telephones_on_their_ports() {
        let connect = hex("00 01 01 01 02 01 0a 03 01 14");
        assert_eq!(Run::new(udp(32_512, 32_640)).client(&connect), Verdict::Decided("NOE"));
        assert_eq!(Run::new(udp(32_512, 32_640)).client(&hex("07 0001 0002 01")), Verdict::Decided("NOE"));
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&connect), Verdict::Undecided);
    }
}
