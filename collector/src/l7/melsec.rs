//! Mitsubishi's MELSEC/SLMP in its binary 3E and 4E frames (Mitsubishi, "SLMP Reference Manual").

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, be16, le16, name_only};

pub(super) static MELSEC: Dissector = Dissector {
    name: "MELSEC",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 0x50 | 0x54 | 0xd0 | 0xd4),
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Frames with a serial number have it, and two zeros, before the route.
    let route = match be16(bytes, 0) {
        Some(0x5000 | 0xd000) => 2,
        Some(0x5400 | 0xd400) if be16(bytes, 4) == Some(0) => 6,
        _ => return Probe::No,
    };
    // Network and station, the processor's number, again a station.
    let own = matches!(bytes.get(route..), Some([0..=239, _, 0xff | 0xe0..=0xe3, 0x03, 0..=31, ..]));
    let fits = le16(bytes, route + 5).is_some_and(|length| usize::from(length) + route + 7 == bytes.len());
    if own && fits { Probe::Certain } else { Probe::No }
}

// A batch read as the manual has it.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn lengths_agree() {
        let read = hex("5000 00 ff ff03 00 0c00 1000 0104 0000 640000 a8 0100");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&read), Verdict::Decided("MELSEC"));
        assert_eq!(
            Run::new(tcp(50_000, 9999)).server(&hex("d000 00 ff ff03 00 0400 0000 3412")),
            Verdict::Decided("MELSEC")
        );
        assert_eq!(Run::new(tcp(50_000, 5007)).client(&read[..20]), Verdict::Undecided);
    }
}
