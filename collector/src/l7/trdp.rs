//! What the cars of a train tell each other (TRDP, IEC 61375-2-3 annex A).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

/// Process data, and messages.
const KINDS: &[&[u8]] = &[b"Pd", b"Pp", b"Pr", b"Pe", b"Mn", b"Mr", b"Mp", b"Mq", b"Mc", b"Me"];

pub(super) static TRDP: Dissector = Dissector {
    name: "TRDP",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |_| true,
    ports: &[(L4::UDP, 17_224), (L4::UDP, 17_225), (L4::TCP, 17_225)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Sequence, version 1, kind in two letters, identifier, and how long the data are.
    let kind = bytes.get(6..8).is_some_and(|kind| KINDS.contains(&kind));
    let header = if bytes.get(6) == Some(&b'P') { 40 } else { 116 };
    let length = be32(bytes, 20).and_then(|length| usize::try_from(length).ok());
    let fits = length.is_some_and(|length| length <= 65_535 && length + header <= bytes.len() + 3);
    if kind && fits && bytes.get(4) == Some(&1) { Probe::Certain } else { Probe::No }
}

// Put together after the standard.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn process_data() {
        let mut data =
            hex("00000001 0100 5064 000003e8 00000000 00000000 00000004 00000000 00000000 00000000");
        data.extend(hex("deadbeef 01020304"));
        assert_eq!(Run::new(udp(50_000, 17_224)).client(&data), Verdict::Decided("TRDP"));
        data[7] = b'x';
        assert_eq!(Run::new(udp(50_000, 17_224)).client(&data), Verdict::Undecided);
    }
}
