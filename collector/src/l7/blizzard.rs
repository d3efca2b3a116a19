//! Blizzard's games: World of Warcraft (WoWDev's "Login Protocol"), StarCraft II (its first packet as seen
//! on the wire), Warcraft III (BNETDocs).

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, le16, name_only};

/// What StarCraft II opens its connection with.
const STARCRAFT_OPENS: &[u8] = &[0x4a, 0x00, 0x00, 0x0a, 0x66, 0x02, 0x0a, 0xed, 0x2d, 0x66];

pub(super) static WORLD_OF_WARCRAFT: Dissector = Dissector {
    name: "WorldOfWarcraft",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 0 | b'0' | b'W'),
    ports: &[(L4::TCP, 3724)],
    probe: probe_wow,
    dissect: name_only,
};

pub(super) static STARCRAFT: Dissector = Dissector {
    name: "Starcraft",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 0x4a | 0x09 | 0x0a | 1..=4),
    ports: &[(L4::TCP, 1119), (L4::UDP, 1119)],
    probe: probe_starcraft,
    dissect: name_only,
};

pub(super) static WARCRAFT3: Dissector = Dissector {
    name: "Warcraft3",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Either,
    first: |byte| byte == 0xf7,
    ports: &[(L4::TCP, 6112), (L4::UDP, 6112)],
    probe: probe_warcraft3,
    dissect: name_only,
};

fn probe_wow(bytes: &[u8], _: &L7Context) -> Probe {
    // Challenge or reconnection, version, length, game, its version, platform and system turned around.
    let login = matches!(bytes, [0 | 2, 0..=8, ..])
        && le16(bytes, 2).is_some_and(|length| usize::from(length) + 4 == bytes.len())
        && bytes.get(4..8) == Some(b"WoW\0");
    let hello: &[u8] = b"WORLD OF WARCRAFT CONNECTION";
    let realm = bytes.starts_with(hello) || bytes.get(2..).is_some_and(|rest| rest.starts_with(hello));
    if login || realm { Probe::Certain } else { Probe::No }
}

fn probe_starcraft(bytes: &[u8], cx: &L7Context) -> Probe {
    match bytes {
        _ if cx.l4 == L4::TCP && bytes.starts_with(STARCRAFT_OPENS) => Probe::Certain,
        // How far away is a server? Numbered question and answer.
        [9 | 10, 1..=9] | [1 | 3] | [2 | 4, _, _, _, _, _, _] if cx.l4 == L4::UDP && cx.has_port(1119) => {
            Probe::Maybe
        }
        _ => Probe::No,
    }
}

fn probe_warcraft3(bytes: &[u8], cx: &L7Context) -> Probe {
    let message = |bytes: &[u8]| {
        let known = matches!(bytes, [0xf7, 0x01..=0x48, ..]);
        le16(bytes, 2).map(usize::from).filter(|length| known && *length >= 4)
    };
    match walk(bytes, message) {
        Fit::Whole if cx.has_port(6112) => Probe::Certain,
        Fit::Whole => Probe::Maybe,
        _ => Probe::No,
    }
}

// Bytes put together after the documents.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn world_of_warcraft() {
        let body =
            [b"WoW\0", &hex("01 0c 01 f316 36387800 6e695700 53556e65 3c000000 c0000201 01 41")[..]].concat();
        let login = [&[0, 8, body.len() as u8, 0][..], &body].concat();
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&login), Verdict::Decided("WorldOfWarcraft"));
        assert_eq!(Run::new(tcp(50_000, 3724)).client(&login[..30]), Verdict::Undecided);
        let realm = b"\x00\x30WORLD OF WARCRAFT CONNECTION - SERVER TO CLIENT\0";
        assert_eq!(Run::new(tcp(50_000, 8085)).server(realm), Verdict::Decided("WorldOfWarcraft"));
    }

    #[test]
    fn starcraft() {
        assert_eq!(Run::new(tcp(50_000, 1119)).client(STARCRAFT_OPENS), Verdict::Decided("Starcraft"));
        assert_eq!(Run::new(tcp(50_000, 1119)).client(&STARCRAFT_OPENS[..9]), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 1119)).client(&[9, 1]), Verdict::Decided("Starcraft"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&[9, 1]), Verdict::Undecided);
    }

    #[test]
    fn warcraft3() {
        let search = hex("f72f1000 50583357 1a000000 00000000");
        assert_eq!(Run::new(udp(50_000, 6112)).client(&search), Verdict::Decided("Warcraft3"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&search), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 6112)).client(&search[..15]), Verdict::Undecided);
    }
}
