//! Gnutella 0.4, 0.6 and 2 (the Gnutella Developer Forum's "RFC-Gnutella 0.6", "Gnutella2 Standard").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, le32, name_only};

/// Identifier, kind, time to live, hops, length.
const HEADER: usize = 23;

pub(super) static GNUTELLA: Dissector = Dissector {
    name: "Gnutella",
    category: AppCategory::Download,
    breed: Breed::PotentiallyDangerous,
    carrier: Carrier::Either,
    first: |_| true,
    ports: &[(L4::TCP, 6346), (L4::UDP, 6346), (L4::TCP, 6347), (L4::UDP, 6347)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 == L4::UDP {
        return if descriptor(bytes) || gnutella2(bytes) { Probe::Certain } else { Probe::No };
    }
    let starts = [&b"GNUTELLA CONNECT/"[..], b"GNUTELLA/0.", b"GNUTELLA OK\n\n"];
    if starts.iter().any(|start| bytes.starts_with(start)) { Probe::Certain } else { Probe::No }
}

/// Ping, pong, bye, push, query, hit and their like, with identifiers as modern servents make them.
fn descriptor(bytes: &[u8]) -> bool {
    let known = matches!(bytes.get(16), Some(0 | 1 | 2 | 0x30..=0x32 | 0x40 | 0x80 | 0x81));
    let fresh = bytes.get(8) == Some(&0xff) && bytes.get(15).is_some_and(|last| *last <= 1);
    let hops = matches!(bytes.get(17..19), Some([0..=10, 0..=10]));
    let fits = le32(bytes, 19).is_some_and(|length| length as usize + HEADER == bytes.len());
    known && fresh && hops && fits
}

/// Tag, flags, number, part of how many, which is 0 when it acknowledges.
fn gnutella2(bytes: &[u8]) -> bool {
    matches!(bytes, [b'G', b'N', b'D', 0..=3, _, _, part, count, ..]
        if *part > 0 && (part <= count || (*count == 0 && bytes.len() == 8)))
}

// Bytes put together after the documents.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    /// Composed by hand after the Gnutella 0.6 draft: nothing that was recorded.
    #[test]
    fn connections() {
        let ask = b"GNUTELLA CONNECT/0.6\r\nUser-Agent: x\r\n\r\n";
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(ask), Verdict::Decided("Gnutella"));
        let answer = b"GNUTELLA/0.6 200 OK\r\n";
        assert_eq!(Run::new(tcp(50_000, 50_001)).server(answer), Verdict::Decided("Gnutella"));
        assert_eq!(Run::new(tcp(50_000, 6346)).client(&ask[..9]), Verdict::Undecided);
    }

    #[test]
    fn datagrams() {
        let ping = hex("0102030405060708 ff 090a0b0c0d0e 00 00 01 00 00000000");
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&ping), Verdict::Decided("Gnutella"));
        assert_eq!(Run::new(udp(50_000, 6346)).client(&ping[..22]), Verdict::Undecided);
        assert_eq!(
            Run::new(udp(50_000, 50_001)).client(b"GND\x02\0\x01\x01\x01PI"),
            Verdict::Decided("Gnutella")
        );
        assert_eq!(Run::new(udp(50_000, 6346)).client(b"GNDARMERIE"), Verdict::Undecided);
    }
}
