//! Real captures with tunnels; the numbers are those of tshark over the same files.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::capture::{Batch, SourceState, file};

#[derive(Debug, Default, PartialEq)]
struct Seen {
    packets: u64,
    bytes: u64,
    /// Packets by the tunnel around them.
    tunnels: BTreeMap<Option<Tunnel>, u64>,
    vlans: BTreeMap<[u16; 2], u64>,
    flaws: BTreeMap<DecodeError, u64>,
    stats: DecoderStats,
}

/// What a decoder finds in a capture of the folder that is not part of the repository.
fn read(name: &str, tunnels: Tunnels) -> Option<Seen> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures").join(name);
    if !path.is_file() {
        eprintln!("SKIPPED: no capture {}", path.display());
        return None;
    }
    let mut source = file::open(&path).unwrap();
    let mut decoder = Decoder::new(DecoderConfig { tunnels, ..DecoderConfig::default() });
    let (mut seen, mut batch) = (Seen::default(), Batch::default());
    loop {
        let state = source.next_batch(&mut batch).unwrap();
        for (desc, frame) in batch.iter() {
            if let Decoded::Packet(packet) = decoder.decode(desc, frame).unwrap() {
                seen.packets += 1;
                seen.bytes += u64::from(packet.length);
                *seen.tunnels.entry(packet.tunnel).or_default() += 1;
                *seen.vlans.entry([packet.vlan, packet.inner_vlan]).or_default() += 1;
                if let Some(flaw) = packet.flaw {
                    *seen.flaws.entry(flaw).or_default() += 1;
                }
            }
        }
        if state == SourceState::End {
            seen.stats = decoder.stats();
            return Some(seen);
        }
    }
}

/// Capture, encapsulation, IP packets, and how many of them are in that encapsulation.
const CASES: &[(&str, TunnelKind, u64, u64)] = &[
    ("4in6tunnel.pcap", TunnelKind::IpInIp, 4, 4),
    ("BGP_redist.pcap", TunnelKind::Mpls, 2, 1),
    ("http_origin_different_than_host.pcap", TunnelKind::GtpU, 4, 4),
    ("zoom.pcap", TunnelKind::GtpU, 778, 81),
];

fn in_tunnels(seen: &Seen, kind: TunnelKind) -> u64 {
    let of_kind = seen.tunnels.iter().filter(|(tunnel, _)| tunnel.is_some_and(|tunnel| tunnel.kind == kind));
    of_kind.map(|(_, count)| count).sum()
}

#[test]
fn captured_tunnels_are_opened_and_count_once() {
    for &(name, kind, packets, tunnelled) in CASES {
        let Some(inner) = read(name, Tunnels::Inner) else { continue };
        assert_eq!((inner.packets, in_tunnels(&inner, kind)), (packets, tunnelled), "{name}");
        let outer = read(name, Tunnels::Outer).unwrap();
        assert_eq!((outer.packets, outer.bytes), (inner.packets, inner.bytes), "{name}");
        assert_eq!((outer.stats.tunnelled, &inner.flaws), (0, &BTreeMap::new()), "{name}");
    }
}

#[test]
fn stacked_vlans_are_both_told() {
    let Some(seen) = read("http_origin_different_than_host.pcap", Tunnels::Inner) else { return };
    let vlans: Vec<_> = seen.vlans.keys().copied().collect();
    assert_eq!(vlans, [[3394, 113]]);
}

#[test]
fn what_only_looks_like_gtp_stays_an_ordinary_packet() {
    let Some(seen) = read("gtp_false_positive.pcapng", Tunnels::Inner) else { return };
    assert_eq!((seen.stats.tunnelled, seen.flaws.len()), (0, 0));
}

#[test]
fn lengths_beyond_the_frame_are_as_many_as_another_reader_complains_about() {
    let Some(seen) = read("badpackets.pcap", Tunnels::Inner) else { return };
    assert_eq!(seen.flaws, BTreeMap::from([(DecodeError::Ipv4LengthBeyondFrame, 93)]));
}
