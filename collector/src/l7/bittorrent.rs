//! BitTorrent: peers over TCP (BEP 3) and uTP (BEP 29), the DHT (BEP 5), trackers over UDP (BEP 15),
//! peers of the local network (BEP 14).

use shared::model::{AppCategory, Breed, L4};

use super::frames::{be64, has};
use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

const HANDSHAKE: &[u8] = b"\x13BitTorrent protocol";
/// Number that opens a talk with a tracker.
const TRACKER: u64 = 0x0417_2710_1980;
const UTP_HEADER: usize = 20;
/// Largest window that peers announce.
const MAX_WINDOW: u32 = 16 << 20;
const STATE: u8 = 2;
const SYN: u8 = 4;

pub(super) static BITTORRENT: Dissector = Dissector {
    name: "BitTorrent",
    category: AppCategory::Download,
    breed: Breed::PotentiallyDangerous,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 0x13 | b'd' | b'B' | 0 | 0x01 | 0x11 | 0x21 | 0x31 | 0x41),
    ports: &[(L4::TCP, 6881), (L4::UDP, 6881)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if bytes.starts_with(HANDSHAKE) {
        return Probe::Certain;
    }
    if cx.l4 != L4::UDP {
        return Probe::No;
    }
    let tracker = bytes.len() == 16 && be64(bytes, 0) == Some(TRACKER) && be32(bytes, 8) == Some(0);
    if tracker || dht(bytes) || bytes.starts_with(b"BT-SEARCH * HTTP/1.1\r\n") {
        return Probe::Certain;
    }
    utp(bytes)
}

/// A dictionary with the kind of message: query, response, error.
fn dht(bytes: &[u8]) -> bool {
    let starts =
        [&b"d1:ad"[..], b"d1:rd", b"d1:el", b"d2:ip", b"d1:t", b"d1:q"].iter().any(|s| bytes.starts_with(s));
    let kind = || [&b"1:y1:q"[..], b"1:y1:r", b"1:y1:e"].iter().any(|kind| has(bytes, kind));
    starts && bytes.ends_with(b"e") && kind()
}

fn utp(bytes: &[u8]) -> Probe {
    let (Some(&first), Some(rest)) = (bytes.first(), extensions(bytes)) else { return Probe::No };
    if rest.starts_with(HANDSHAKE) {
        return Probe::Certain;
    }
    let sane = first & 0x0f == 1 && first >> 4 <= SYN;
    // Microseconds: hardly ever a small number.
    let clock = be32(bytes, 4).is_some_and(|time| time >> 20 != 0);
    let connection = be16(bytes, 2) != Some(0);
    let acknowledges = be16(bytes, 18) != Some(0);
    // Who opens may leave the window out.
    let least = u32::from(first >> 4 != SYN);
    let window = be32(bytes, 12).is_some_and(|window| (least..=MAX_WINDOW).contains(&window));
    if !(sane && clock && window && connection) {
        return Probe::No;
    }
    match first >> 4 {
        // Opens: nothing to acknowledge and no delay measured yet.
        SYN if rest.is_empty() && be32(bytes, 8) == Some(0) && be16(bytes, 18) == Some(0) => Probe::Certain,
        SYN => Probe::No,
        STATE if rest.is_empty() && acknowledges => Probe::Maybe,
        0 if !rest.is_empty() && acknowledges => Probe::Maybe,
        _ => Probe::No,
    }
}

/// What follows the header and its extensions: next kind, length, body.
fn extensions(bytes: &[u8]) -> Option<&[u8]> {
    let mut kind = *bytes.get(1)?;
    let mut rest = bytes.get(UTP_HEADER..)?;
    for _ in 0..4 {
        if kind == 0 {
            return Some(rest);
        }
        let (&next, &length) = (rest.first()?, rest.get(1)?);
        // Selective acknowledgement in words, extension bits, reason to close.
        if kind > 3 || length == 0 || length > 64 || (kind == 1 && length % 4 != 0) {
            return None;
        }
        kind = next;
        rest = rest.get(2 + usize::from(length)..)?;
    }
    None
}

// Bytes of the BEPs' examples; uTP put together after BEP 29.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    const BITTORRENT: Verdict = Verdict::Decided("BitTorrent");

    #[test]
    fn peers() {
        let hello = [HANDSHAKE, &[0; 48]].concat();
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&hello), BITTORRENT);
        assert_eq!(Run::new(tcp(50_000, 6881)).client(&hello[..19]), Verdict::Undecided);
    }

    #[test]
    fn dht_and_trackers() {
        let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
        assert_eq!(Run::new(udp(50_000, 50_001)).client(ping), BITTORRENT);
        let pong = b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re";
        assert_eq!(Run::new(udp(50_000, 50_001)).server(pong), BITTORRENT);
        assert_eq!(Run::new(udp(50_000, 6881)).client(&ping[..40]), Verdict::Undecided);
        let connect = hex("0000041727101980 00000000 12345678");
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&connect), BITTORRENT);
    }

    #[test]
    fn utp() {
        let syn = hex("4100 1234 00c0ffee 00000000 00100000 0001 0000");
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&syn), BITTORRENT);
        // Recorded between two sessions of libtorrent.
        let syn = hex("4100d2273cee07010000000000000000f26b0000");
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&syn), BITTORRENT);
        let state = hex("2100 1234 00c0ffee 00000123 00100000 5601 0001");
        let mut run = Run::new(udp(50_000, 50_001));
        assert_eq!(run.client(&state), Verdict::Undecided);
        assert_eq!(
            run.server(&[&hex("2101 1234 00c0ffee 00000123 00100000 5601 0001 0004 ffffffff")[..]].concat()),
            BITTORRENT
        );
        let data = [&hex("0100 1235 00c0ffee 00000123 00100000 0002 5601")[..], HANDSHAKE].concat();
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&data), BITTORRENT);
        assert_eq!(Run::new(udp(50_000, 6881)).client(&syn[..19]), Verdict::Undecided);
    }
}
