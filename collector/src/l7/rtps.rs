//! RTPS, which DDS and ROS 2 speak (OMG, "The Real-time Publish-Subscribe Protocol").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static RTPS: Dissector = Dissector {
    name: "RTPS",
    category: AppCategory::Iot,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == b'R',
    ports: &[(L4::UDP, 7400), (L4::UDP, 7410)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Version; then vendor, sender, submessages.
    let header = matches!(bytes, [b'R', b'T', b'P', b'S' | b'X', 1 | 2, 0..=9, ..]) && bytes.len() >= 20;
    if header { Probe::Certain } else { Probe::No }
}

// A header put together after the specification.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn header() {
        let hello = hex("52545053 0203 010f 010f4d04 00000000 00000000");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&hello), Verdict::Decided("RTPS"));
        assert_eq!(Run::new(udp(50_000, 7400)).client(&hello[..19]), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 7400)).client(b"RTPSession and so on"), Verdict::Undecided);
    }
}
