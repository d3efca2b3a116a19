//! OpenVPN over UDP and TCP (its network protocol, draft-openvpn-wire-protocol), with each of the
//! ways to guard the control channel.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

/// The kind of packet stands above three bits of key number; the first key is zero.
const CLIENT_RESET_1: u8 = 1 << 3;
const SERVER_RESET_1: u8 = 2 << 3;
const CONTROL: u8 = 4 << 3;
const ACKNOWLEDGE: u8 = 5 << 3;
const CLIENT_RESET_2: u8 = 7 << 3;
const SERVER_RESET_2: u8 = 8 << 3;
const CLIENT_RESET_3: u8 = 10 << 3;

/// Kind and session.
const HEADER: usize = 9;
/// Packet number and time, which guarded packets carry.
const REPLAY: usize = 8;
/// Lengths of the keyed hashes in use: MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
const HASHES: [usize; 6] = [16, 20, 28, 32, 48, 64];
/// The hash of tls-crypt.
const CRYPT_HASH: usize = 32;
/// How wrong the clock of a peer may be.
const MAX_SKEW_S: i64 = 10 * 365 * 86_400;

pub(super) static OPENVPN: Dissector = Dissector {
    name: "OpenVPN",
    category: AppCategory::Vpn,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| {
        byte < 8
            || matches!(
                byte,
                CLIENT_RESET_1
                    | SERVER_RESET_1
                    | CONTROL
                    | ACKNOWLEDGE
                    | CLIENT_RESET_2
                    | SERVER_RESET_2
                    | CLIENT_RESET_3
            )
    },
    ports: &[(L4::UDP, 1194), (L4::TCP, 1194)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 == L4::UDP {
        return packet(bytes, cx);
    }
    // The length goes before; two packets may share a segment.
    let Some(length) = be16(bytes, 0).map(usize::from) else {
        return Probe::No;
    };
    bytes.get(2..2 + length).map_or(Probe::No, |first| packet(first, cx))
}

fn packet(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some((&kind, session)) = bytes.split_first() else {
        return Probe::No;
    };
    if session.get(..8).is_none_or(|session| session.iter().all(|byte| *byte == 0)) {
        return Probe::No;
    }
    let known = match kind {
        CLIENT_RESET_1 | CLIENT_RESET_2 | SERVER_RESET_1 | SERVER_RESET_2 => {
            resets(bytes, HEADER)
                || signed(bytes, cx).is_some_and(|at| resets(bytes, at))
                || encrypted(bytes, cx) == Some(reset_length(kind))
        }
        // The wrapped key of the client follows.
        CLIENT_RESET_3 => encrypted(bytes, cx).is_some_and(|length| length > reset_length(kind)),
        CONTROL => return if control(bytes) { Probe::Certain } else { Probe::No },
        ACKNOWLEDGE => {
            return if acknowledges(bytes, HEADER) == Some(bytes.len()) { Probe::Maybe } else { Probe::No };
        }
        _ => false,
    };
    if known { Probe::Certain } else { Probe::No }
}

/// Whether the plain part from `at` on is that of a reset: acknowledgements and packet number zero.
fn resets(bytes: &[u8], at: usize) -> bool {
    let count = bytes.get(at).copied().unwrap_or(u8::MAX);
    let number_at = if count == 0 { Some(at + 1) } else { acknowledges(bytes, at) };
    let first = count == 0 || (count == 1 && be32(bytes, at + 1) == Some(0));
    first && number_at.is_some_and(|at| be32(bytes, at) == Some(0) && bytes.len() == at + 4)
}

/// Where the list of acknowledgements at `at` ends, together with the session that they are for.
fn acknowledges(bytes: &[u8], at: usize) -> Option<usize> {
    let count = usize::from(*bytes.get(at)?);
    let end = at + 1 + 4 * count + 8;
    ((1..=8).contains(&count) && end <= bytes.len()).then_some(end)
}

/// Where the plain part begins behind a keyed hash (tls-auth).
fn signed(bytes: &[u8], cx: &L7Context) -> Option<usize> {
    HASHES.iter().map(|hash| HEADER + hash).find(|at| replay(bytes, *at, cx)).map(|at| at + REPLAY)
}

/// Bytes that are encrypted behind the hash of tls-crypt.
fn encrypted(bytes: &[u8], cx: &L7Context) -> Option<usize> {
    let length = bytes.len().checked_sub(HEADER + REPLAY + CRYPT_HASH)?;
    replay(bytes, HEADER, cx).then_some(length)
}

/// What a reset holds: acknowledgements, none of the client, and a number.
fn reset_length(kind: u8) -> usize {
    if matches!(kind, SERVER_RESET_1 | SERVER_RESET_2) { 1 + 4 + 8 + 4 } else { 1 + 4 }
}

/// A first packet number and a time that is about now; a server without state numbers otherwise.
fn replay(bytes: &[u8], at: usize, cx: &L7Context) -> bool {
    let numbered = matches!(be32(bytes, at), Some(1..=16 | 0x0f00_0001));
    numbered && be32(bytes, at + 4).is_some_and(|time| (i64::from(time) - cx.at_s).abs() <= MAX_SKEW_S)
}

/// The first plain control packet carries a TLS handshake.
fn control(bytes: &[u8]) -> bool {
    let at = match bytes.get(HEADER) {
        Some(0) => Some(HEADER + 1),
        _ => acknowledges(bytes, HEADER),
    };
    at.and_then(|at| bytes.get(at + 4..)).is_some_and(|inner| matches!(inner, [0x16, 3, 0..=4, ..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    // Recorded between two OpenVPN 2.6 on loopback: plain, with tls-auth, with tls-crypt; client and
    // server each.
    const CLIENT: &str = "380de7ff6758713d1c0000000000";
    const SERVER: &str = "4007e19c6a35a96e1a01000000000de7ff6758713d1c00000000";
    const GUARDED: [&str; 5] = [
        "38a9f451173fe38a8d608ef6464b026cf376c061d2bd6e821b4f57d610000000016b0443030000000000",
        "40fc41a12800c30a7b362951541689b9a7e1438356ffcaeeae6f37ec59000000016b0443030100000000a9f451 \
         173fe38a8d00000000",
        "38869c206a711712c4000000016b0443083cd9aa06ed25d61c566fb1fb6ab40999e7a0490d16c8149a756de3fa \
         b0877b891a442f2fb7",
        "4056c101a08f3f3953000000016b0443082123e2e38c617735d9284bbdad724accca9715532ba1679eaa958858 \
         38831a2f8f80fe5fc828d0f32fc7275c4ffc97cfef",
        // With tls-crypt-v2; the client's wrapped key goes on.
        "50b6cd8d7e571cab460f0000016b0443113977373633e3282850170bf2b2bd5c90817d2ffefdd91e1b9cfe98b8 \
         455f939b90d9f258e55cee1a92614b74076b2d810596ccf4c6",
    ];
    // With tls-auth of SHA-512 over TCP.
    const GUARDED_TCP: [&str; 2] = [
        "0056387d7a951966a2a241f7db2a35fc4517848faa1242b3adfb115b40464f72ebbafcdcba0746afde5e6a90b3 \
         95ae255dcb7bc58eaf24f6e987fb6eb5e283a002e35cf494c163ac4f77c4000000016b04430c0000000000",
        "006240eddb15d4aec3999ce3e465b0711f3c4932bf2d5c5c1483e63810a469ce29bc293a27169ed19dd3d31064 \
         0f8c72fa4c87e2504c536ccde3fbc1a6163da5cf80e7f59de8eab0ec36ae000000016b04430d01000000007d7a \
         951966a2a24100000000",
    ];

    fn guarded(kind: u8, hash: usize, tail: &str) -> Vec<u8> {
        let mut packet = vec![kind];
        packet.extend(hex("51f3a2b1c0d9e8f7"));
        packet.extend(vec![0x5a; hash]);
        packet.extend(hex("00000001 6955b900"));
        packet.extend(hex(tail));
        packet
    }

    #[test]
    fn resets_of_both_sides_over_both_carriers() {
        for reset in [CLIENT, SERVER] {
            let reset = hex(reset);
            assert_eq!(Run::new(udp(40_000, 11_194)).client(&reset), Verdict::Decided("OpenVPN"));
            let framed = [&(reset.len() as u16).to_be_bytes(), &reset[..]].concat();
            assert_eq!(Run::new(tcp(40_000, 11_194)).client(&framed), Verdict::Decided("OpenVPN"));
            for cut in 1..reset.len() {
                assert_eq!(Run::new(udp(40_000, 1194)).client(&reset[..cut]), Verdict::Undecided);
            }
        }
    }

    #[test]
    fn guarded_resets() {
        for hash in HASHES {
            let reset = guarded(CLIENT_RESET_2, hash, "00 00000000");
            assert_eq!(Run::new(udp(40_000, 11_194)).client(&reset), Verdict::Decided("OpenVPN"));
        }
        let mut crypt = guarded(CLIENT_RESET_2, 0, "");
        crypt.extend([0xa5; 37]);
        assert_eq!(Run::new(udp(40_000, 11_194)).client(&crypt), Verdict::Decided("OpenVPN"));
        crypt.push(0);
        assert_eq!(Run::new(udp(40_000, 11_194)).client(&crypt), Verdict::Undecided);
        let mut wrapped = guarded(CLIENT_RESET_3, 0, "");
        wrapped.extend([0xa5; 400]);
        assert_eq!(Run::new(udp(40_000, 11_194)).client(&wrapped), Verdict::Decided("OpenVPN"));
    }

    #[test]
    fn guarded_resets_of_a_real_peer() {
        for reset in GUARDED {
            assert_eq!(Run::new(udp(40_000, 11_194)).client(&hex(reset)), Verdict::Decided("OpenVPN"));
        }
        for reset in GUARDED_TCP {
            assert_eq!(Run::new(tcp(40_000, 11_194)).client(&hex(reset)), Verdict::Decided("OpenVPN"));
        }
        let last = hex(GUARDED[3]);
        for cut in 1..last.len() {
            assert_eq!(Run::new(udp(40_000, 1194)).server(&last[..cut]), Verdict::Undecided);
        }
    }

    #[test]
    fn the_handshake_in_mid_stream() {
        let control = hex("20 51f3a2b1c0d9e8f7 00 00000001 1603010100 01");
        assert_eq!(Run::new(udp(40_000, 11_194)).client(&control), Verdict::Decided("OpenVPN"));
    }
}
