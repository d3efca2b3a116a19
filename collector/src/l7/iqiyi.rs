//! iQIYI's and PPStream's network of viewers (as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, le16, name_only};

pub(super) static IQIYI: Dissector = Dissector {
    name: "iQIYI",
    category: AppCategory::Streaming,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |_| true,
    ports: &[(L4::UDP, 17_788)],
    probe,
    dissect: name_only,
};

const MAGICS: [u32; 2] = [0x4474_717a, 0x5575_177a];

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let fits = le16(bytes, 2).map(usize::from) == Some(bytes.len());
    if fits && be32(bytes, 4).is_some_and(|magic| MAGICS.contains(&magic)) {
        Probe::Certain
    } else {
        Probe::No
    }
}

// The start is real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn magic_and_length() {
        let bytes = hex("1c40 0c00 4474717a a4f82bb7");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&bytes), Verdict::Decided("iQIYI"));
        assert_eq!(Run::new(udp(50_000, 17_788)).client(&bytes[..11]), Verdict::Undecided);
    }
}
