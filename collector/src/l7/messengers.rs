//! Messengers with a protocol of their own: WhatsApp (the Noise handshake's prologue as its open clients
//! send it), Telegram (core.telegram.org/mtproto/mtproto-transports, those that are not obfuscated), QQ's OICQ
//! (Wireshark's description), Discord's voice (its developer documentation, "IP Discovery").

use shared::model::{AppCategory, Breed, L4};

use super::frames::zeros;
use super::{Carrier, Dissector, L7Context, Probe, be16, be32, le32, name_only};

pub(super) static WHATSAPP: Dissector = Dissector {
    name: "WhatsApp",
    category: AppCategory::Chat,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, b'W' | b'E'),
    ports: &[],
    probe: probe_whatsapp,
    dissect: name_only,
};

pub(super) static TELEGRAM: Dissector = Dissector {
    name: "Telegram",
    category: AppCategory::Chat,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| true,
    ports: &[],
    probe: probe_telegram,
    dissect: name_only,
};

pub(super) static OICQ: Dissector = Dissector {
    name: "OICQ",
    category: AppCategory::Chat,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 2,
    ports: &[(L4::UDP, 8000)],
    probe: probe_oicq,
    dissect: name_only,
};

pub(super) static DISCORD: Dissector = Dissector {
    name: "Discord",
    category: AppCategory::Collaborative,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[],
    probe: probe_discord,
    dissect: name_only,
};

/// From 2010 to 2040, seconds since the epoch.
const TELEGRAM_TIMES: std::ops::Range<u32> = 1_262_304_000..2_208_988_800;

/// Name, version, dictionary; then a length in three bytes. Routing information may come before.
fn probe_whatsapp(bytes: &[u8], _: &L7Context) -> Probe {
    let rest = match bytes {
        [b'E', b'D', 0, 1, 0, high, low, rest @ ..] => {
            rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default()
        }
        _ => bytes,
    };
    match rest {
        [b'W', b'A', 1..=9, 0..=9, 0, high, low, frame @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if frame.len() == length || frame.is_empty() { Probe::Certain } else { Probe::No }
        }
        [b'W', b'A', 1..=9, 0..=9] => Probe::Maybe,
        _ => Probe::No,
    }
}

/// The first message of a connection, in one of the framings.
fn probe_telegram(bytes: &[u8], _: &L7Context) -> Probe {
    let fits = |at: usize, extra: usize| {
        le32(bytes, at)
            .is_some_and(|length| (40..1 << 16).contains(&length) && length as usize + extra == bytes.len())
    };
    // No key yet; the message's number has the time in its upper half.
    let opens = |at: usize| {
        zeros(bytes, at..at + 8) && le32(bytes, at + 12).is_some_and(|time| TELEGRAM_TIMES.contains(&time))
    };
    let ours = match bytes {
        [0xef, words @ 1..=0x7e, ..] => usize::from(*words) * 4 + 2 == bytes.len() && opens(2),
        [0xee, 0xee, 0xee, 0xee, ..] | [0xdd, 0xdd, 0xdd, 0xdd, ..] => fits(4, 8) && opens(8),
        // In full: length, number, checksum at the end.
        _ => fits(0, 0) && le32(bytes, 4) == Some(0) && opens(8),
    };
    if ours { Probe::Certain } else { Probe::No }
}

/// Mark, version, command, number, user; ends with a mark.
fn probe_oicq(bytes: &[u8], _: &L7Context) -> Probe {
    let command = be16(bytes, 3).is_some_and(|command| (1..0x0400).contains(&command));
    let version = be16(bytes, 1).is_some_and(|version| (0x0100..0x4000).contains(&version));
    let user = be32(bytes, 7).is_some_and(|user| user >= 10_000);
    let ends = bytes.first() == Some(&2) && bytes.last() == Some(&3) && bytes.len() > 11;
    if command && version && user && ends { Probe::Maybe } else { Probe::No }
}

/// Kind, length, number of the stream, address in text, port.
fn probe_discord(bytes: &[u8], _: &L7Context) -> Probe {
    let fits = bytes.len() == 74 && be16(bytes, 2) == Some(70);
    let sane = match be16(bytes, 0) {
        Some(1) => zeros(bytes, 8..74),
        Some(2) => bytes.get(8).is_some_and(u8::is_ascii_hexdigit) && zeros(bytes, 56..72),
        _ => false,
    };
    if fits && sane { Probe::Certain } else { Probe::No }
}

// Bytes put together after the documents.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn whatsapp() {
        let hello = [b"WA\x06\x03", &hex("000024 12220a20")[..], &[7; 32]].concat();
        assert_eq!(Run::new(tcp(50_000, 443)).client(&hello), Verdict::Decided("WhatsApp"));
        let routed = [b"ED\0\x01", &hex("000004 08021204")[..], &hello].concat();
        assert_eq!(Run::new(tcp(50_000, 443)).client(&routed), Verdict::Decided("WhatsApp"));
        assert_eq!(Run::new(tcp(50_000, 443)).client(&hello[..20]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 443)).client(b"WAS IST DAS"), Verdict::Undecided);
    }

    #[test]
    fn telegram() {
        let message = [&[0; 8][..], &hex("01020304 00905569 14000000 f18e7ebe"), &[5; 16]].concat();
        let length = message.len() as u8;
        let short = [&[0xef, length / 4][..], &message].concat();
        assert_eq!(Run::new(tcp(50_000, 443)).client(&short), Verdict::Decided("Telegram"));
        let middle = [&[0xee, 0xee, 0xee, 0xee, length, 0, 0, 0][..], &message].concat();
        assert_eq!(Run::new(tcp(50_000, 443)).client(&middle), Verdict::Decided("Telegram"));
        assert_eq!(Run::new(tcp(50_000, 443)).client(&middle[..40]), Verdict::Undecided);
    }

    #[test]
    fn oicq_needs_its_port() {
        let alive = hex("02 1a25 0058 4b1d 075bcd15 0102030405 03");
        assert_eq!(Run::new(udp(50_000, 8000)).client(&alive), Verdict::Decided("OICQ"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&alive), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 8000)).client(&alive[..16]), Verdict::Undecided);
    }

    #[test]
    fn discord() {
        let ask = [&hex("0001 0046 00012345")[..], &[0; 66]].concat();
        assert_eq!(Run::new(udp(50_000, 50_004)).client(&ask), Verdict::Decided("Discord"));
        let answer = [&hex("0002 0046 00012345")[..], b"192.0.2.1", &[0; 55], &[0xc3, 0x50]].concat();
        assert_eq!(Run::new(udp(50_000, 50_004)).server(&answer), Verdict::Decided("Discord"));
        assert_eq!(Run::new(udp(50_000, 50_004)).client(&ask[..73]), Verdict::Undecided);
    }
}
