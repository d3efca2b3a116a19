//! Games that talk in packets without a connection, marked by four bytes of ones: Quake 1 to 3 and their
//! descendants (id Software's sources), Valve's Source and GoldSrc (Valve Developer Community, "Server
//! queries").

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::starts;
use super::{Carrier, Dissector, L7Context, Probe, Want, be16, name_only};

const MARK: &[u8] = &[0xff; 4];
/// What Quake 2, 3 and their descendants say in the clear.
const WORDS: &[&[u8]] = &[
    b"getinfo",
    b"getstatus",
    b"getchallenge",
    b"getservers",
    b"getKeyAuthorize",
    b"ipAuthorize",
    b"infoResponse\n",
    b"statusResponse\n",
    b"getserversResponse",
    b"challengeResponse",
    b"connectResponse",
    b"heartbeat ",
    b"connect ",
    b"print\n",
    b"rcon ",
];

pub(super) static QUAKE: Dissector = Dissector {
    name: "Quake",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 0xff | 0x80),
    ports: &[(L4::UDP, 27_960), (L4::UDP, 26_000), (L4::UDP, 27_910)],
    probe: probe_quake,
    dissect: dissect_quake,
};

pub(super) static SOURCE_ENGINE: Dissector = Dissector {
    name: "Source_Engine",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 0xff,
    ports: &[(L4::UDP, 27_015)],
    probe: probe_source,
    dissect: name_only,
};

pub(super) static HALF_LIFE_2: Dissector = Dissector {
    name: "HalfLife2",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 0xff,
    ports: &[],
    probe: probe_half_life,
    dissect: name_only,
};

fn probe_quake(bytes: &[u8], _: &L7Context) -> Probe {
    if let Some(text) = bytes.strip_prefix(MARK) {
        return if WORDS.iter().any(|word| text.starts_with(word)) { Probe::Certain } else { Probe::No };
    }
    // The first Quake: a control packet's length, the request, the game.
    let control = bytes.starts_with(&[0x80, 0]) && be16(bytes, 2).map(usize::from) == Some(bytes.len());
    if control && matches!(bytes.get(4..), Some([1 | 2, b'Q', b'U', b'A', b'K', b'E', 0, ..])) {
        Probe::Certain
    } else {
        Probe::No
    }
}

fn dissect_quake(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    // Remote control carries its password.
    if bytes.get(MARK.len()..).is_some_and(|text| starts(text, b"rcon ")) {
        *status |= FlowStatus::ClearTextCredentials.bit();
    }
    Want::Next
}

fn probe_source(bytes: &[u8], _: &L7Context) -> Probe {
    let Some([kind, body @ ..]) = bytes.strip_prefix(MARK) else { return Probe::No };
    let challenge = body.len() == 4;
    match kind {
        b'T' if body.starts_with(b"Source Engine Query\0") => Probe::Certain,
        // Players, rules; a challenge; their answers.
        b'U' | b'V' | b'W' if challenge || (*kind == b'W' && body.is_empty()) => Probe::Maybe,
        b'A' if challenge => Probe::Maybe,
        // Version, then the server's name.
        b'I' if body.len() > 12 && body.iter().skip(1).any(|byte| *byte == 0) => Probe::Maybe,
        b'D' | b'E' if body.len() >= 2 => Probe::Maybe,
        _ => Probe::No,
    }
}

fn probe_half_life(bytes: &[u8], _: &L7Context) -> Probe {
    let Some([kind, ..]) = bytes.strip_prefix(MARK) else { return Probe::No };
    if bytes.len() < 20 || !bytes.ends_with(b"000\0") {
        return Probe::No;
    }
    // Asks for a challenge: a number, then ten zeros in text.
    if *kind == b'q' && bytes.ends_with(b"0000000000\0") { Probe::Certain } else { Probe::Maybe }
}

// Packets of the documents.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    fn packet(text: &[u8]) -> Vec<u8> {
        [MARK, text].concat()
    }

    #[test]
    fn quake() {
        assert_eq!(Run::new(udp(50_000, 9999)).client(&packet(b"getstatus\n")), Verdict::Decided("Quake"));
        let mut run = Run::new(udp(50_000, 27_960));
        run.client(&packet(b"rcon secret map q3dm17"));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
        let first = hex("8000000c 01 5155414b4500 03");
        assert_eq!(Run::new(udp(50_000, 26_000)).client(&first), Verdict::Decided("Quake"));
        assert_eq!(Run::new(udp(50_000, 26_000)).client(&first[..11]), Verdict::Undecided);
    }

    #[test]
    fn source() {
        let info = packet(b"TSource Engine Query\0");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&info), Verdict::Decided("Source_Engine"));
        assert_eq!(
            Run::new(udp(50_000, 27_015)).client(&packet(b"U\xff\xff\xff\xff")),
            Verdict::Decided("Source_Engine")
        );
        let mut run = Run::new(udp(50_000, 9999));
        assert_eq!(run.client(&packet(b"V\xff\xff\xff\xff")), Verdict::Undecided);
        assert_eq!(run.server(&packet(b"A\x4b\xa1\xd5\x22")), Verdict::Decided("Source_Engine"));
        assert_eq!(Run::new(udp(50_000, 27_015)).client(&info[..10]), Verdict::Undecided);
    }

    #[test]
    fn half_life_2() {
        let ask = packet(b"q\x01\x02\x03\x040000000000\0");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&ask), Verdict::Decided("HalfLife2"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&ask[..19]), Verdict::Undecided);
    }
}
