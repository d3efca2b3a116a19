//! Small games and engines whose first packet has a shape of its own: MapleStory and Among Us (their
//! communities' descriptions), CryEngine's network (as seen on the wire), Yojimbo (netcode.io's standard).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, le16, le32, name_only};

pub(super) static MAPLE_STORY: Dissector = Dissector {
    name: "MapleStory",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 0x0d..=0x12),
    ports: &[(L4::TCP, 8484)],
    probe: probe_maple_story,
    dissect: name_only,
};

pub(super) static AMONG_US: Dissector = Dissector {
    name: "AmongUs",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 8,
    ports: &[(L4::UDP, 22_023)],
    probe: probe_among_us,
    dissect: name_only,
};

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

pub(super) static YOJIMBO: Dissector = Dissector {
    name: "Yojimbo",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[],
    probe: |bytes, _| {
        let request = bytes.get(1..).is_some_and(|rest| rest.starts_with(b"NETCODE 1.0"));
        if request { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

/// The server greets: length, version, patch in text, two vectors, locale.
fn probe_maple_story(bytes: &[u8], _: &L7Context) -> Probe {
    let fits = le16(bytes, 0).is_some_and(|length| usize::from(length) + 2 == bytes.len());
    let version = le16(bytes, 2).is_some_and(|version| (20..=400).contains(&version));
    let patch = le16(bytes, 4).map(usize::from).filter(|length| *length <= 3);
    let text =
        patch.and_then(|length| bytes.get(6..6 + length)).is_some_and(|t| t.iter().all(u8::is_ascii_digit));
    let locale = patch.is_some_and(|length| bytes.len() == 15 + length)
        && bytes.last().is_some_and(|locale| (1..=9).contains(locale));
    if fits && version && text && locale { Probe::Certain } else { Probe::No }
}

/// Hazel's hello: the first number, its version, the game's broadcast version.
fn probe_among_us(bytes: &[u8], _: &L7Context) -> Probe {
    let hello = bytes.starts_with(&[8]) && be16(bytes, 1) == Some(1) && bytes.get(3) == Some(&0);
    let version = le32(bytes, 4).is_some_and(|version| (50_000_000..54_000_000).contains(&version));
    if hello && version { Probe::Certain } else { Probe::No }
}

/// Opens a context: a kind and numbers that do not change.
fn probe_cry_network(bytes: &[u8], _: &L7Context) -> Probe {
    let numbers = le32(bytes, 16) == Some(1) && le32(bytes, 20) == Some(7);
    let more = bytes.get(24) == Some(&3) && le32(bytes, 25) == Some(7);
    if bytes.first() == Some(&0x3c) && numbers && more { Probe::Certain } else { Probe::No }
}

// Bytes put together after the descriptions.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn maple_story() {
        let greeting = hex("0e00 5300 0100 31 4672b301 52307801 08");
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&greeting), Verdict::Decided("MapleStory"));
        assert_eq!(Run::new(tcp(50_000, 8484)).server(&greeting[..15]), Verdict::Undecided);
    }

    #[test]
    fn among_us() {
        let hello = hex("08 0001 00 80d90203 03 616263");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&hello), Verdict::Decided("AmongUs"));
        assert_eq!(Run::new(udp(50_000, 22_023)).client(&hello[..7]), Verdict::Undecided);
    }

    #[test]
    fn yojimbo_and_cry_network() {
        let request = [&[0][..], b"NETCODE 1.02\0", &[0; 20]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&request), Verdict::Decided("Yojimbo"));
        let open = hex("3c0000080000000000000000000000000100000007000000030700000001000000");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&open), Verdict::Decided("CryNetwork"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&open[..28]), Verdict::Undecided);
    }
}
