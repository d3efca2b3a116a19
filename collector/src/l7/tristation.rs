//! Programming of Triconex safety controllers (public analyses of the TRITON attack): kind, length, data and a checksum.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, le16, name_only};

/// Kind, length and checksum.
const FRAME: usize = 6;

pub(super) static TRISTATION: Dissector = Dissector {
    name: "TriStation",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| (1..=11).contains(&byte),
    ports: &[(L4::UDP, 1502)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let kind = matches!(le16(bytes, 0), Some(1..=11));
    let whole = le16(bytes, 2).is_some_and(|length| usize::from(length) + FRAME == bytes.len());
    if kind && whole && cx.has_port(1502) { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn frames_on_its_port() {
        let connect = hex("0100 0000 1234");
        assert_eq!(Run::new(udp(1502, 1502)).client(&connect), Verdict::Decided("TriStation"));
        assert_eq!(Run::new(udp(1503, 1503)).client(&connect), Verdict::Undecided);
        assert_eq!(Run::new(udp(1502, 1502)).client(&connect[..5]), Verdict::Undecided);
    }
}
