//! Zoom's meetings over UDP (Michel et al., "Enabling Passive Measurement of Zoom Performance in Production
//! Networks", 2022; openings as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::frames::has;
use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

/// Ports of its media servers.
const SERVERS: std::ops::RangeInclusive<u16> = 8801..=8810;
/// Starts what peers send each other to stay in touch.
const PEERS: &[u8] = &[0x1f, 0x02, 0x01, 0x00];
/// The one attribute of its STUN, which has no cookie.
const PADDING: &[u8] = b"\x01\x01\x00\x141234567890123456789";

pub(super) static ZOOM: Dissector = Dissector {
    name: "Zoom",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 0x00..=0x07 | 0x1f),
    ports: &[(L4::UDP, 8801), (L4::UDP, 8802), (L4::UDP, 8803), (L4::UDP, 8804), (L4::UDP, 8805)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if bytes.starts_with(PEERS) && bytes.len() > 30 {
        return Probe::Certain;
    }
    // Binding requests to its own servers.
    if bytes.starts_with(&[0, 1, 0, 0x18]) && bytes.get(20..).is_some_and(|rest| rest.starts_with(PADDING)) {
        return Probe::Certain;
    }
    if !SERVERS.contains(&cx.server_port) && !SERVERS.contains(&cx.client_port) {
        return Probe::No;
    }
    match bytes {
        // Hello, answer, probes.
        [1, 0, 1..=3, ..] if bytes.len() > 60 => Probe::Certain,
        [2, 0, 1..=3, ..] if bytes.len() > 30 => Probe::Certain,
        [3 | 4, 0, 0, 0, ..] if (13..=64).contains(&bytes.len()) => Probe::Maybe,
        // Media by way of a server: direction, then sound, video, shared screen or their statistics.
        [5, _, _, _, _, _, _, 0 | 4, 13 | 15 | 16 | 30 | 33..=35, ..] if be16(bytes, 1).is_some() => {
            Probe::Maybe
        }
        [7, ..] if has(bytes, &[0, 0, 0]) => Probe::Maybe,
        _ => Probe::No,
    }
}

// Starts as on the wire, the rest made up.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn servers() {
        let hello = [&hex("010002 7d464d35")[..], &[9; 100]].concat();
        assert_eq!(Run::new(udp(50_000, 8801)).client(&hello), Verdict::Decided("Zoom"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&hello), Verdict::Undecided);
        let media = hex("05 0102 00000000 00 10 0000000000");
        assert_eq!(Run::new(udp(50_000, 8801)).client(&media), Verdict::Decided("Zoom"));
    }

    #[test]
    fn peers() {
        let alive = [PEERS, &hex("0800010004005c9b637b0000006400000062a04c0000000d"), b"192.0.2.1"].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&alive), Verdict::Decided("Zoom"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&alive[..30]), Verdict::Undecided);
        let bind = [&hex("00010018 c15dae63585d14392e582c260403bf30")[..], PADDING, b"\0"].concat();
        assert_eq!(Run::new(udp(50_000, 3478)).client(&bind), Verdict::Decided("Zoom"));
        assert_ne!(Run::new(udp(50_000, 3478)).client(&bind[..40]), Verdict::Decided("Zoom"));
    }
}
