//! Ethereum's nodes: discovery 4 and the opening of RLPx (ethereum/devp2p: discv4.md, rlpx.md, EIP-8).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, Probe, be16, name_only};

/// Hash and signature; its last byte tells how to recover the key.
const RECOVERY: usize = 96;
const KIND: usize = 97;
const LIST: usize = 98;
/// Starts a point of the curve in full.
const POINT: u8 = 4;

pub(super) static ETHEREUM: Dissector = Dissector {
    name: "ETHEREUM",
    category: AppCategory::CryptoCurrency,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |_| true,
    ports: &[(L4::TCP, 30_303), (L4::UDP, 30_303), (L4::UDP, 30_301)],
    probe: |bytes, cx| if cx.l4 == L4::UDP { discovery(bytes) } else { handshake(bytes) },
    dissect: name_only,
};

fn discovery(bytes: &[u8]) -> Probe {
    let (Some(0 | 1), Some(1..=6), Some(list)) = (bytes.get(RECOVERY), bytes.get(KIND), bytes.get(LIST..))
    else {
        return Probe::No;
    };
    // A list in RLP: its length in the first byte, or in the one or two bytes after.
    let length = match list {
        [short @ 0xc1..=0xf7, ..] => Some(usize::from(short - 0xc0) + 1),
        [0xf8, length @ 0x38..=0xff, ..] => Some(usize::from(*length) + 2),
        [0xf9, ..] => be16(list, 1).map(|length| usize::from(length) + 3),
        _ => None,
    };
    if length == Some(list.len()) { Probe::Certain } else { Probe::No }
}

/// Length, then a message to the other's key, which begins with a key made for it.
fn handshake(bytes: &[u8]) -> Probe {
    let Some(length) = be16(bytes, 0).map(usize::from) else { return Probe::No };
    let sane = (194..=1024).contains(&length) && bytes.get(2) == Some(&POINT);
    if sane && length + 2 == bytes.len() { Probe::Maybe } else { Probe::No }
}

// Bytes put together after the documents.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn discovery() {
        let ping = [&[0x5a; 96][..], &hex("01 02 c9 8400000001 845e162060")].concat();
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&ping), Verdict::Undecided);
        let ping = [&[0x5a; 96][..], &hex("01 02 ca 8400000001 845e162060")].concat();
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&ping), Verdict::Decided("ETHEREUM"));
        assert_eq!(Run::new(udp(50_000, 30_303)).client(&ping[..108]), Verdict::Undecided);
    }

    #[test]
    fn rlpx_needs_the_port_or_both_sides() {
        let auth = [&[1, 0, POINT][..], &[0x5a; 255]].concat();
        assert_eq!(Run::new(tcp(50_000, 30_303)).client(&auth), Verdict::Decided("ETHEREUM"));
        let mut run = Run::new(tcp(50_000, 50_001));
        assert_eq!(
            (run.client(&auth), run.server(&auth)),
            (Verdict::Undecided, Verdict::Decided("ETHEREUM"))
        );
        assert_eq!(Run::new(tcp(50_000, 30_303)).client(&auth[..257]), Verdict::Undecided);
    }
}
