//! HCL (Lotus) Notes' NRPC by its first packet (as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static LOTUS_NOTES: Dissector = Dissector {
    name: "LotusNotes",
    category: AppCategory::Collaborative,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| true,
    ports: &[(L4::TCP, 1352)],
    probe,
    dissect: name_only,
};

/// What follows the first bytes, which count.
const OPENS: &[u8] = &[0x00, 0x00, 0x02, 0x00, 0x00, 0x40, 0x02, 0x0f];

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if bytes.get(6..).is_some_and(|rest| rest.starts_with(OPENS)) { Probe::Certain } else { Probe::No }
}

// The start is real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn the_first_packet() {
        let open = hex("78000000 0100 0000020000400 20f 0500");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&open), Verdict::Decided("LotusNotes"));
        assert_eq!(Run::new(tcp(50_000, 1352)).client(&open[..13]), Verdict::Undecided);
    }
}
