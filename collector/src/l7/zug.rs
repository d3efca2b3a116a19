//! ZUG, the consensus of the Casper network's nodes over UDP. There is no specification of the frames;
//! their head is read off the wire.

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, Probe, be16, name_only};

/// Follows the length.
const MAGIC: &[u8] = b"\x55\x47\x10";
/// Length, magic, three bytes, length of the rest.
const HEAD: usize = 10;

pub(super) static ZUG: Dissector = Dissector {
    name: "ZUG",
    category: AppCategory::CryptoCurrency,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |_| true,
    ports: &[],
    probe: |bytes, _| {
        let length = |at| be16(bytes, at).map(usize::from);
        let whole =
            length(0) == Some(bytes.len()) && length(8).is_some_and(|rest| rest <= bytes.len() - HEAD);
        if whole && bytes.get(2..5) == Some(MAGIC) { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // The head as on the wire, the rest made up.
    #[test]
    fn two_lengths_and_the_magic() {
        let frame = hex("0014 554710 aea041 0008 6ebc2a68b26e77740000");
        assert_eq!(frame.len(), 20);
        assert_eq!(Run::new(udp(50_000, 19_000)).client(&frame), Verdict::Decided("ZUG"));
        assert_eq!(Run::new(udp(50_000, 19_000)).client(&frame[..19]), Verdict::Undecided);
        let mut other = frame.clone();
        other[2] = 0x56;
        assert_eq!(Run::new(udp(50_000, 19_000)).client(&other), Verdict::Undecided);
    }
}
