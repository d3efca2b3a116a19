//! Roughtime (draft-ietf-ntp-roughtime).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, le32, name_only};

pub(super) static ROUGHTIME: Dissector = Dissector {
    name: "Roughtime",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == b'R',
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let length = le32(bytes, 8).is_some_and(|length| length.is_multiple_of(4));
    if bytes.starts_with(b"ROUGHTIM") && length { Probe::Certain } else { Probe::No }
}

// A message's start put together after the draft.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn magic() {
        let ask = [b"ROUGHTIM", &hex("04000000 00000000")[..]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&ask), Verdict::Decided("Roughtime"));
        assert_eq!(Run::new(udp(50_000, 2002)).client(&ask[..11]), Verdict::Undecided);
    }
}
