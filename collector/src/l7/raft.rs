//! Raft as dqlite and LXD speak it (canonical/raft, uv_tcp's preamble and uv_encoding's messages).

use shared::model::{AppCategory, Breed};

use super::frames::{le64, printable};
use super::{Carrier, Dissector, L7Context, Probe, name_only};

/// Version, number of the server, length of its address.
const PREAMBLE: usize = 24;

pub(super) static RAFT: Dissector = Dissector {
    name: "Raft",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 1,
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let (Some(1), Some(length)) = (le64(bytes, 0), le64(bytes, 16)) else { return Probe::No };
    let address = usize::try_from(length)
        .ok()
        .filter(|length| *length <= 256)
        .and_then(|length| bytes.get(PREAMBLE..)?.get(..length));
    let plausible = address.is_some_and(|padded| {
        let text = padded.split(|byte| *byte == 0).next().unwrap_or_default();
        length.is_multiple_of(8) && printable(text) && text.contains(&b':')
    });
    if plausible { Probe::Certain } else { Probe::No }
}

// Bytes put together after the source.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn the_preamble_has_an_address() {
        let hello =
            [&hex("0100000000000000 0300000000000000 1000000000000000")[..], b"10.0.0.3:9001\0\0\0"].concat();
        assert_eq!(Run::new(tcp(50_000, 9002)).client(&hello), Verdict::Decided("Raft"));
        assert_eq!(Run::new(tcp(50_000, 9002)).client(&hello[..38]), Verdict::Undecided);
    }
}
