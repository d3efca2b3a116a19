//! Tuya's local protocol 3.1 to 3.5 by its markers (the tinytuya project's description).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

pub(super) static TUYA: Dissector = Dissector {
    name: "TUYA_LP",
    category: AppCategory::Iot,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 6668), (L4::UDP, 6666), (L4::UDP, 6667)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Where the length is, which counts what follows it; 3.5 has two reserved bytes before.
    let (end, length_at, behind) = match be32(bytes, 0) {
        Some(0x0000_55aa) => (0x0000_aa55, 12, 0),
        Some(0x0000_6699) => (0x0000_9966, 14, 4),
        _ => return Probe::No,
    };
    let length = be32(bytes, length_at).map(|length| length as usize + length_at + 4 + behind);
    let ends = bytes.len().checked_sub(4).and_then(|at| be32(bytes, at)) == Some(end);
    if length == Some(bytes.len()) || ends { Probe::Certain } else { Probe::No }
}

// A heartbeat put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn markers_and_length() {
        let beat = hex("000055aa 00000001 00000009 00000008 b051ab03 0000aa55");
        assert_eq!(Run::new(tcp(50_000, 9998)).client(&beat), Verdict::Decided("TUYA_LP"));
        assert_eq!(Run::new(udp(50_000, 9998)).client(&beat), Verdict::Decided("TUYA_LP"));
        assert_eq!(Run::new(tcp(50_000, 6668)).client(&beat[..22]), Verdict::Undecided);
    }
}
