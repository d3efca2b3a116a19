//! The game Armagetron Advanced (its sources, network/nNetwork: descriptor, number, words, sender).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

pub(super) static ARMAGETRON: Dissector = Dissector {
    name: "Armagetron",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[(L4::UDP, 4534)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Asks to log in: descriptor, no number yet, words of data, then no sender.
    let login = be32(bytes, 0) == Some(0x000b_0000)
        && be16(bytes, 4).is_some_and(|words| words > 0 && usize::from(words) * 2 + 8 == bytes.len());
    let nobody = bytes.ends_with(&[0, 0]);
    if login && nobody { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_player_logs_in() {
        let login = hex("000b 0000 0003 0008 0001 0002 0000");
        assert_eq!(Run::new(udp(50_000, 4534)).client(&login), Verdict::Decided("Armagetron"));
        assert_eq!(Run::new(udp(50_000, 4534)).client(&login[..12]), Verdict::Undecided);
    }
}
