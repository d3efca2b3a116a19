//! eDonkey, eMule and Kademlia (Kulbak and Bickson, "The eMule Protocol Specification"; eMule's opcodes.h).

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, le32, name_only};

const EDONKEY: u8 = 0xe3;
const EMULE: u8 = 0xc5;
const PACKED: u8 = 0xd4;
const KADEMLIA: u8 = 0xe4;
const KADEMLIA_PACKED: u8 = 0xe5;
const MAX_LENGTH: u32 = 1 << 21;

pub(super) static EDONKEY_NETWORK: Dissector = Dissector {
    name: "eDonkey",
    category: AppCategory::Download,
    breed: Breed::PotentiallyDangerous,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, EDONKEY | EMULE | PACKED | KADEMLIA | KADEMLIA_PACKED),
    ports: &[(L4::TCP, 4661), (L4::TCP, 4662), (L4::UDP, 4665), (L4::UDP, 4672)],
    probe: |bytes, cx| if cx.l4 == L4::UDP { datagram(bytes) } else { stream(bytes, cx) },
    dissect: name_only,
};

/// Protocol, length, operation.
fn message(bytes: &[u8]) -> Option<usize> {
    let known = matches!(bytes.first(), Some(&(EDONKEY | EMULE | PACKED)));
    let length = le32(bytes, 1).filter(|length| (1..MAX_LENGTH).contains(length))?;
    known.then_some(length as usize + 5)
}

fn stream(bytes: &[u8], cx: &L7Context) -> Probe {
    let whole = walk(bytes, message) == Fit::Whole;
    match bytes {
        // Hello: the length of a hash, then where the client is; its answer leaves the length out.
        [EDONKEY, _, _, _, _, 0x01, 16, ..] if whole && bytes.len() > 28 => Probe::Certain,
        [EDONKEY, _, _, _, _, 0x4c, ..] if whole && bytes.len() > 28 => Probe::Certain,
        // A login at a server, the extended hello and its answer.
        [EDONKEY, _, _, _, _, 0x01, ..] if whole && bytes.len() > 28 => Probe::Maybe,
        [EMULE, _, _, _, _, 1 | 2, ..] if whole => Probe::Certain,
        [_, _, _, _, _, ..] if whole || (cx.has_port(4662) && message(bytes).is_some()) => Probe::Maybe,
        _ => Probe::No,
    }
}

fn datagram(bytes: &[u8]) -> Probe {
    let length = bytes.len();
    match bytes {
        // Kademlia asks for 2, 4 or 11 contacts near a key, and names who is asked.
        [KADEMLIA, 0x21, 2 | 4 | 11, ..] if length == 35 => Probe::Certain,
        // The answer: key, count, 25 bytes for each contact.
        [KADEMLIA, 0x29, ..] if bytes.get(18).is_some_and(|n| length == 19 + 25 * usize::from(*n)) => {
            Probe::Certain
        }
        [KADEMLIA, 0x01 | 0x60, ..] if length == 2 => Probe::Maybe,
        [KADEMLIA, 0x61, ..] if length == 4 => Probe::Maybe,
        [KADEMLIA, 0x09 | 0x11 | 0x19 | 0x22 | 0x33..=0x35 | 0x3b | 0x43..=0x4b | 0x50..=0x54, ..] => {
            Probe::Maybe
        }
        [KADEMLIA_PACKED, _, 0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Probe::Certain,
        // Servers: status, sources, search; clients: ask again, file is not there.
        [EDONKEY, 0x96..=0x9b | 0xa0..=0xa3, ..] | [EMULE, 0x90..=0x97, ..] if length > 2 => Probe::Maybe,
        _ => Probe::No,
    }
}

// Bytes put together after the specification.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn hello() {
        let hello = [&hex("e3 1e000000 01 10")[..], &[7; 16], &hex("0a000001 3612 00000000 00")].concat();
        let length = hello.len() as u8 - 5;
        let hello = [&[EDONKEY, length][..], &hello[2..]].concat();
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&hello), Verdict::Decided("eDonkey"));
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&hello[..20]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 4662)).client(b"\xe3 something"), Verdict::Undecided);
    }

    #[test]
    fn kademlia() {
        let ask = [&[KADEMLIA, 0x21, 11][..], &[5; 32]].concat();
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&ask), Verdict::Decided("eDonkey"));
        assert_eq!(Run::new(udp(50_000, 4672)).client(&ask[..34]), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 4672)).client(&[KADEMLIA, 0x60]), Verdict::Decided("eDonkey"));
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&[KADEMLIA, 0x60]), Verdict::Undecided);
    }
}
