//! RakNet, which many games are built on (the RakNet sources; wiki.vg's "Raknet Protocol").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

/// Marks messages outside of a connection.
const MAGIC: &[u8] =
    &[0x00, 0xff, 0xff, 0x00, 0xfe, 0xfe, 0xfe, 0xfe, 0xfd, 0xfd, 0xfd, 0xfd, 0x12, 0x34, 0x56, 0x78];

pub(super) static RAKNET: Dissector = Dissector {
    name: "RakNet",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 0x01 | 0x02 | 0x05..=0x08 | 0x19 | 0x1a | 0x1c),
    ports: &[(L4::UDP, 19_132), (L4::UDP, 19_133)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let at = match bytes.first() {
        // Ping: behind the time; pong: behind the time and the server's number.
        Some(0x01 | 0x02) => 9,
        Some(0x1c) => 17,
        // Asks for a connection and the answers; another version.
        Some(0x05..=0x08) => 1,
        Some(0x19) => 2,
        _ => return Probe::No,
    };
    if bytes.get(at..).is_some_and(|rest| rest.starts_with(MAGIC)) { Probe::Certain } else { Probe::No }
}

// Messages of the wiki.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    /// Composed by hand after RakNet's offline messages: nothing that was recorded.
    #[test]
    fn the_magic_has_its_place() {
        let ping = [&[1, 0, 0, 0, 0, 0, 0, 0, 9][..], MAGIC, &[7; 8]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&ping), Verdict::Decided("RakNet"));
        let open = [&[5][..], MAGIC, &[11], &[0; 40]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&open), Verdict::Decided("RakNet"));
        assert_eq!(Run::new(udp(50_000, 19_132)).client(&open[..16]), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 19_132)).client(&ping[1..]), Verdict::Undecided);
    }
}
