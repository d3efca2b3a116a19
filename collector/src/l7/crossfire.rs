//! The game CrossFire by the packet that joins (as seen on the wire).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

pub(super) static CROSSFIRE: Dissector = Dissector {
    name: "Crossfire",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 0xc7,
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let ours = be32(bytes, 0) == Some(0xc7d9_1999)
        && be16(bytes, 4) == Some(0x0200)
        && be16(bytes, 22) == Some(0x7d00)
        && bytes.len() == 25;
    if ours { Probe::Certain } else { Probe::No }
}

// The numbers are real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_player_joins() {
        let join = hex("c7d91999 0200 00000000000000000000000000000000 7d00 00");
        assert_eq!(Run::new(udp(50_000, 13_008)).client(&join), Verdict::Decided("Crossfire"));
        assert_eq!(Run::new(udp(50_000, 13_008)).client(&join[..24]), Verdict::Undecided);
    }
}
