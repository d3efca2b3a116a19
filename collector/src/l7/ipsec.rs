//! IPsec over UDP and TCP: ISAKMP (RFC 2408), IKEv2 (RFC 7296), ESP in UDP (RFC 3948), and both in
//! TCP (RFC 9329); and over IP itself: ESP (RFC 4303, protocol 50) and AH (RFC 4302, protocol 51).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be32};

const ENCAPSULATED_PORT: u16 = 4500;
const HEADER: usize = 28;
/// Security parameter indexes below are reserved (RFC 4303 §2.1).
const LEAST_INDEX: u32 = 256;
/// Index, sequence, a block or less, and a check value.
const LEAST_ESP: usize = 8 + 8 + 8;
/// Index, sequence, and at least the two bytes behind the padding, filled up to words: there is a form
/// without encryption and check value (RFC 2410).
const LEAST_BARE_ESP: usize = 8 + 4;
/// Without a check value.
const LEAST_AH: usize = 12;

pub(super) static IPSEC: Dissector = Dissector {
    name: "IPSec",
    category: AppCategory::Vpn,
    breed: Breed::Safe,
    carrier: Carrier::Either,
    first: super::any_byte,
    ports: &[(L4::UDP, 500), (L4::UDP, ENCAPSULATED_PORT), (L4::TCP, ENCAPSULATED_PORT)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 == L4::TCP {
        return if bytes.starts_with(b"IKETCP") { Probe::Certain } else { Probe::No };
    }
    if exchange(bytes).is_some() || behind_marker(bytes).is_some() {
        return Probe::Certain;
    }
    if cx.has_port(ENCAPSULATED_PORT) { encapsulated(bytes) } else { Probe::No }
}

/// The exchange type and flags of a key exchange's message.
fn exchange(bytes: &[u8]) -> Option<(u8, u8)> {
    let &[next, version, kind, flags] = bytes.get(16..20)?.first_chunk()?;
    let known = match version {
        0x10 => next <= 20 || next >= 128,
        0x20 => next == 0 || (33..=54).contains(&next),
        _ => false,
    };
    let known = known
        && match version {
            0x10 => matches!(kind, 1..=6 | 32..=34) && flags & 0xf8 == 0,
            _ => matches!(kind, 34..=44) && flags & 0xc7 == 0,
        };
    let whole = be32(bytes, 24).and_then(|length| usize::try_from(length).ok()) == Some(bytes.len());
    let initiator = bytes.get(..8)?.iter().any(|byte| *byte != 0);
    (known && whole && initiator && bytes.len() > HEADER).then_some((kind, flags))
}

/// On the port of encapsulated packets four zeros tell a key exchange from ESP.
fn behind_marker(bytes: &[u8]) -> Option<(u8, u8)> {
    exchange(bytes.strip_prefix(&[0; 4])?)
}

fn encapsulated(bytes: &[u8]) -> Probe {
    let index = be32(bytes, 0).unwrap_or_default();
    let sequence = be32(bytes, 4).unwrap_or_default();
    match bytes {
        // Keeps an address translation open.
        [0xff] => Probe::Maybe,
        _ if index >= LEAST_INDEX
            && sequence != 0
            && bytes.len() >= LEAST_ESP
            && bytes.len().is_multiple_of(4) =>
        {
            Probe::Maybe
        }
        _ => Probe::No,
    }
}

/// Whether `message`, carried by IP itself, has the form of ESP.
pub(super) fn is_esp(message: &[u8]) -> bool {
    let index = be32(message, 0).unwrap_or_default();
    index >= LEAST_INDEX && message.len() >= LEAST_BARE_ESP && message.len().is_multiple_of(4)
}

/// Whether `message`, carried by IP itself, has the form of AH: a next protocol, its own length in words
/// less two, nothing, an index.
pub(super) fn is_ah(message: &[u8]) -> bool {
    let &[_, words, 0, 0, ..] = message else { return false };
    let length = (usize::from(words) + 2) * 4;
    let index = be32(message, 4).unwrap_or_default();
    index >= LEAST_INDEX && (LEAST_AH..=message.len()).contains(&length)
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    // Aggressive mode shows who asks and a hash of the shared key.
    if matches!(exchange(bytes).or_else(|| behind_marker(bytes)), Some((4, _))) {
        *status |= FlowStatus::MinorIssues.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, recorded, tcp, udp};

    // Encoded by scapy.
    const V1: &str = "a1b2c3d4e5f6070800000000000000000110020000000000000000480000002c00000001000000010000002001 \
         010001000000180101000080010007800e01008002000280040002";
    const V2: &str = "a1b2c3d4e5f60708000000000000000028202208000000000000003000000014000102030405060708090a0b0c \
         0d0e0f";

    #[test]
    fn both_versions_say_their_length() {
        for message in [V1, V2] {
            let message = hex(message);
            assert_eq!(Run::new(udp(500, 5000)).client(&message), Verdict::Decided("IPSec"));
            for cut in 1..message.len() {
                assert_eq!(Run::new(udp(500, 500)).client(&message[..cut]), Verdict::Undecided);
            }
            let marked = [&[0; 4], &message[..]].concat();
            assert_eq!(Run::new(udp(4500, 4500)).client(&marked), Verdict::Decided("IPSec"));
        }
        assert_eq!(Run::new(tcp(40_000, 4500)).client(b"IKETCP\x00\x20"), Verdict::Decided("IPSec"));
    }

    #[test]
    fn encrypted_packets_are_known_on_their_port_only() {
        let esp = [&hex("c0ffee00 00000001")[..], &[0x5a; 40]].concat();
        assert_eq!(Run::new(udp(4500, 4500)).client(&esp), Verdict::Decided("IPSec"));
        assert_eq!(Run::new(udp(4501, 4501)).client(&esp), Verdict::Undecided);
        assert_eq!(Run::new(udp(4500, 4500)).client(&esp[..46]), Verdict::Undecided);
    }

    #[test]
    fn aggressive_mode_is_noted() {
        let mut message = hex(V1);
        message[18] = 4;
        let mut run = Run::new(udp(500, 500));
        run.client(&message);
        assert_eq!(run.status, FlowStatus::MinorIssues.bit());
    }

    #[test]
    fn packets_of_ip_itself() {
        let text = include_str!("ip/scapy.txt");
        let (esp, ah) = (&recorded(text, "esp")[0], &recorded(text, "ah")[0]);
        assert!(is_esp(esp) && is_ah(ah));
        assert!(!is_esp(&esp[..esp.len() - 1]), "no words");
        assert!(!is_esp(&[&[0, 0, 0, 7], &esp[4..]].concat()), "a reserved index");
        assert!(!is_ah(&ah[..20]), "shorter than it says");
        assert!(!is_ah(&[&ah[..2], &[1], &ah[3..]].concat()), "reserved bytes");
    }
}
