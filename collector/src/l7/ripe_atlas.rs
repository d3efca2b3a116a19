//! RIPE Atlas' probes when they trace a way (they say so in what they send).

use shared::model::{AppCategory, Breed};

use super::frames::has;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static RIPE_ATLAS: Dissector = Dissector {
    name: "Ripe_Atlas",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |_| true,
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // The ports of traceroute (IANA).
    let traces = (33_434..=33_700).contains(&cx.server_port) && bytes.len() >= 40;
    if traces && has(bytes.get(..64).unwrap_or(bytes), b"http://atlas.ripe.net") {
        Probe::Certain
    } else {
        Probe::No
    }
}

// The sentence is real.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn probes_say_who_they_are() {
        let packet = [&hex("00000001")[..], b"http://atlas.ripe.net Atlas says Hi!\0\0"].concat();
        assert_eq!(Run::new(udp(50_000, 33_434)).client(&packet), Verdict::Decided("Ripe_Atlas"));
        assert_eq!(Run::new(udp(50_000, 33_434)).client(&packet[..30]), Verdict::Undecided);
    }
}
