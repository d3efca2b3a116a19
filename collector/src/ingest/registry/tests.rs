//! Datagrams of real exporters (`tests/data/export`, recorded by its `record.sh`), made ones, and
//! random ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::capture::{self, Batch, SourceState};
use crate::decode::{Decoded, DecoderConfig};
use crate::ingest::EndReason;

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/export").join(name)
}

fn exporters() -> Exporters {
    Exporters::new(Limits::default(), Decoder::new(DecoderConfig::default()))
}

/// The UDP payloads of a capture with their times.
fn datagrams(name: &str) -> Vec<(Timestamp, Vec<u8>)> {
    let mut source = capture::file::open(&data(name)).unwrap();
    let mut decoder = Decoder::new(DecoderConfig::default());
    let mut batch = Batch::default();
    let mut found = Vec::new();
    loop {
        batch.clear();
        let state = source.next_batch(&mut batch).unwrap();
        for (desc, frame) in batch.iter() {
            if let Ok(Decoded::Packet(packet)) = decoder.decode(desc, frame) {
                found.push((desc.ts, packet.payload.to_vec()));
            }
        }
        if state == SourceState::End {
            return found;
        }
    }
}

fn collect(name: &str) -> (Vec<CollectedFlow>, Exporters) {
    let (mut all, mut out) = (exporters(), Vec::new());
    for (at, bytes) in datagrams(name) {
        all.datagram(FROM, at, &bytes, &mut out).unwrap();
    }
    (out, all)
}

/// Records, packets and bytes, as the exporter said it counted them.
fn check(name: &str, records: u64, packets: u64, bytes: u64) -> (Vec<CollectedFlow>, ExportStats) {
    let (flows, all) = collect(name);
    let stats = all.total();
    assert_eq!((stats.records, stats.packets, stats.flow_bytes), (records, packets, bytes), "{name}: {stats:?}");
    assert_eq!((stats.malformed, stats.unknown_template, stats.lost), (0, 0, 0), "{name}: {stats:?}");
    assert_eq!((stats.out_of_order, stats.restarts), (0, 0), "{name}: {stats:?}");
    (flows, stats)
}

#[test]
fn softflowd_by_netflow_5() {
    // The six ICMPv6 packets of 612 bytes do not fit into version 5.
    let (flows, _) = check("softflowd-v5.pcap", 76, 374, 115_231);
    assert!(flows.iter().all(|f| f.first <= f.last && f.sampling == 1));
}

#[test]
fn softflowd_by_netflow_9_and_ipfix() {
    let (v9, stats) = check("softflowd-v9.pcap", 78, 380, 115_843);
    assert!(stats.templates >= 2);
    let (ipfix, _) = check("softflowd-ipfix.pcap", 78, 380, 115_843);
    let keys = |flows: &[CollectedFlow]| -> BTreeSet<_> {
        flows.iter().map(|f| (f.src, f.dst, f.src_port, f.dst_port, f.l4.0, f.icmp, f.forward.bytes)).collect()
    };
    assert_eq!(keys(&v9), keys(&ipfix));
    assert!(ipfix.iter().any(|f| f.src.is_ipv6() && f.icmp.is_some()));
}

#[test]
fn softflowd_counts_both_directions_in_one_ipfix_record() {
    let (flows, _) = check("softflowd-biflow.pcap", 41, 380, 115_843);
    let answered = flows.iter().filter(|f| f.reverse.packets > 0).count();
    assert_eq!(answered, 37, "78 records by direction less 41 flows");
}

#[test]
fn softflowd_samples_and_says_so_in_an_option() {
    let (flows, all) = collect("softflowd-sampled.pcap");
    let stats = all.total();
    assert!(stats.option_records > 0);
    assert!(flows.iter().all(|f| f.sampling == 10), "{flows:?}");
    assert_eq!((stats.packets, stats.flow_bytes), (400, 133_150), "40 packets of 13,315 bytes were looked at");
}

#[test]
fn pmacct_by_all_versions() {
    let (five, _) = check("pmacct-v5.pcap", 76, 374, 115_231);
    assert_eq!(five[0].domain, 3 << 8 | 4, "engine type and id");
    let (nine, _) = check("pmacct-v9.pcap", 78, 380, 115_843);
    assert!(nine.iter().all(|f| f.src_mac.is_some() || f.src.is_loopback()), "{:?}", nine[0]);
    let (ipfix, _) = check("pmacct-ipfix.pcap", 78, 380, 115_843);
    assert_eq!(nine.len(), ipfix.len());
}

#[test]
fn pmacct_by_sflow() {
    let (flows, stats) = check("pmacct-sflow.pcap", 60, 60, 0);
    assert!(flows.iter().all(|f| f.exporter == IpAddr::from([192, 0, 2, 9])), "{stats:?}");
}

#[test]
fn nfreplay_by_netflow_5_and_9() {
    // nfpcapd says: 108 flows, 380 packets, 115,843 bytes; IPv6 does not fit into version 5.
    check("nfreplay-v9.pcap", 108, 380, 115_843);
    let (_, all) = collect("nfreplay-v5.pcap");
    assert_eq!((all.total().packets, all.total().flow_bytes), (374, 115_231));
}
