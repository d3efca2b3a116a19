//! Nintendo's consoles among each other (as seen on the wire).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, Probe, be32, name_only};

const MAGIC: u32 = 0x32ab_9864;

pub(super) static NINTENDO: Dissector = Dissector {
    name: "Nintendo",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 0x32,
    ports: &[],
    probe: |bytes, _| match be32(bytes, 0) {
        Some(MAGIC) if bytes.len() >= 16 => Probe::Certain,
        _ => Probe::No,
    },
    dissect: name_only,
};

// The magic is real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn magic() {
        let console = hex("32ab9864 02000000 00000000 00000000");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&console), Verdict::Decided("Nintendo"));
    }
}
