//! Files over multicast (FLUTE, RFC 6726, over LCT, RFC 5651): by the table of files.

use shared::model::{AppCategory, Breed};

use super::frames::has;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static FLUTE: Dissector = Dissector {
    name: "FLUTE",
    category: AppCategory::FileTransfer,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte >> 4 == 1,
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Version 1, the header's length in words; the table is XML.
    let header = bytes.get(2).map(|words| usize::from(*words) * 4).filter(|header| *header >= 12);
    let table = header.and_then(|header| bytes.get(header..)).is_some_and(|rest| has(rest, b"<FDT-Instance"));
    if table { Probe::Certain } else { Probe::No }
}

// Put together after RFC 6726.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn the_table_of_files_tells_it() {
        let table = b"<?xml version=\"1.0\"?><FDT-Instance Expires=\"3906187200\"></FDT-Instance>";
        let packet = [&hex("10a0 0400 00000000 0001 0000 00000000 00000000")[..], table].concat();
        assert_eq!(Run::new(udp(50_000, 4001)).client(&packet), Verdict::Decided("FLUTE"));
        assert_eq!(Run::new(udp(50_000, 4001)).client(&packet[..30]), Verdict::Undecided);
    }
}
