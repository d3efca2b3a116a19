//! CryEngine's network by the packet that opens a context (as seen on the wire).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, le32, name_only};

pub(super) static CRY_NETWORK: Dissector = Dissector {
    name: "CryNetwork",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 0x3c,
    ports: &[],
    probe: probe_cry_network,
    dissect: name_only,
};

/// Opens a context: a kind and numbers that do not change.
fn probe_cry_network(bytes: &[u8], _: &L7Context) -> Probe {
    let numbers = le32(bytes, 16) == Some(1) && le32(bytes, 20) == Some(7);
    let more = bytes.get(24) == Some(&3) && le32(bytes, 25) == Some(7);
    if bytes.first() == Some(&0x3c) && numbers && more { Probe::Certain } else { Probe::No }
}

// The numbers are real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_context_opens() {
        let open = hex("3c0000080000000000000000000000000100000007000000030700000001000000");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&open), Verdict::Decided("CryNetwork"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&open[..28]), Verdict::Undecided);
    }
}
