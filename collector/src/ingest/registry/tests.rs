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
    assert_eq!(
        (stats.records, stats.packets, stats.flow_bytes),
        (records, packets, bytes),
        "{name}: {stats:?}"
    );
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
        flows
            .iter()
            .map(|f| (f.src, f.dst, f.src_port, f.dst_port, f.l4.0, f.icmp, f.forward.bytes))
            .collect()
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
    assert_eq!(
        (stats.packets, stats.flow_bytes),
        (400, 133_150),
        "40 packets of 13,315 bytes were looked at"
    );
}

#[test]
fn pmacct_by_all_versions() {
    let (five, _) = check("pmacct-v5.pcap", 76, 374, 115_231);
    assert_eq!(five[0].domain, 3 << 8 | 4, "engine type and id");
    let (nine, _) = check("pmacct-v9.pcap", 79, 380, 115_843);
    assert!(nine.iter().all(|f| f.src_mac.is_some() || f.src.is_loopback()), "{:?}", nine[0]);
    let (ipfix, _) = check("pmacct-ipfix.pcap", 79, 380, 115_843);
    assert!(ipfix.iter().any(|f| f.src.is_ipv6()));
}

#[test]
fn pmacct_by_sflow() {
    // Four of the sixty packets are ARP.
    let (flows, stats) = check("pmacct-sflow.pcap", 56, 56, 18_439);
    assert!(flows.iter().all(|f| f.exporter == IpAddr::from([192, 0, 2, 9])), "{stats:?}");
}

#[test]
fn nfreplay_by_netflow_5_and_9() {
    // nfpcapd says: 108 flows, 380 packets, 115,843 bytes; IPv6 does not fit into version 5.
    check("nfreplay-v9.pcap", 108, 380, 115_843);
    let (_, all) = collect("nfreplay-v5.pcap");
    assert_eq!((all.total().packets, all.total().flow_bytes), (374, 115_231));
}

#[test]
fn another_parser_reads_the_same_flows() {
    for file in [
        "softflowd-v5.pcap",
        "softflowd-v9.pcap",
        "softflowd-ipfix.pcap",
        "pmacct-v5.pcap",
        "pmacct-v9.pcap",
        "pmacct-ipfix.pcap",
        "nfreplay-v5.pcap",
        "nfreplay-v9.pcap",
    ] {
        let mut parser = netflow_parser::NetflowParser::default();
        let mut theirs = Vec::new();
        for (_, bytes) in datagrams(file) {
            let (flows, error) = parser.parse_bytes_as_netflow_common_flowsets(&bytes);
            assert!(error.is_none(), "{file}: {error:?}");
            // Option records have no addresses; ports of ICMP are its type and code.
            theirs.extend(flows.iter().filter_map(|flow| {
                let l4 = flow.protocol_number?;
                let icmp = matches!(l4, 1 | 58);
                let ports = if icmp { (0, 0) } else { (flow.src_port?, flow.dst_port?) };
                Some((flow.src_addr?, flow.dst_addr?, l4, ports))
            }));
        }
        let ours = collect(file).0;
        let mut ours: Vec<_> =
            ours.iter().map(|f| (f.src, f.dst, f.l4.0, (f.src_port, f.dst_port))).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert!(ours.len() > 70);
        assert_eq!(ours, theirs, "{file}");
    }
}

/// Builds messages by hand, field by field as the RFCs print them.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn v9(sequence: u32, uptime_ms: u32, seconds: u32) -> Self {
        Self::default().u16(9).u16(1).u32(uptime_ms).u32(seconds).u32(sequence).u32(1)
    }

    fn ipfix(sequence: u32, seconds: u32) -> Self {
        Self::default().u16(10).u16(0).u32(seconds).u32(sequence).u32(1)
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn u64(self, value: u64) -> Self {
        self.u32((value >> 32) as u32).u32(value as u32)
    }

    fn set(self, id: u16, body: Self) -> Self {
        let mut message = self.u16(id).u16(body.0.len() as u16 + 4);
        message.0.extend(body.0);
        message
    }

    fn numbers(self, numbers: &[u16]) -> Self {
        numbers.iter().fold(self, |message, number| message.u16(*number))
    }

    /// IPFIX says its length.
    fn done(mut self) -> Vec<u8> {
        if self.0[1] == 10 {
            let length = (self.0.len() as u16).to_be_bytes();
            self.0[2..4].copy_from_slice(&length);
        }
        self.0
    }
}

fn at(seconds: u32) -> Timestamp {
    Timestamp::from_secs(seconds.into())
}

/// Template 256: addresses, packets in four bytes.
fn template() -> Message {
    Message::default().numbers(&[256, 3, 8, 4, 12, 4, 2, 4])
}

fn record(packets: u32) -> Message {
    Message::default().u32(0x0a00_0001).u32(0x0a00_0002).u32(packets)
}

#[test]
fn data_before_its_template_waits_for_it() {
    let (mut all, mut out) = (exporters(), Vec::new());
    let data = Message::v9(1, 1000, 100).set(256, record(7)).done();
    all.datagram(FROM, at(100), &data, &mut out).unwrap();
    assert!(out.is_empty());
    let late = Message::v9(2, 2000, 101).set(0, template()).set(256, record(8)).done();
    all.datagram(FROM, at(101), &late, &mut out).unwrap();
    let seen: Vec<_> = out.iter().map(|f| (f.forward.packets, f.last.secs())).collect();
    assert_eq!(seen, [(7, 100), (8, 101)], "with the times of its own datagram");
    let stats = all.total();
    assert_eq!((stats.unknown_template, stats.unknown_template_recovered, stats.lost), (1, 1, 0));
}

#[test]
fn records_that_count_more_than_any_flow_has_are_not_believed() {
    let (mut all, mut out) = (exporters(), Vec::new());
    let template = Message::default().numbers(&[256, 3, 8, 4, 12, 4, 2, 8]);
    let claim = Message::default().u32(0x0a00_0001).u32(0x0a00_0002).u64(u64::MAX);
    let told = Message::v9(1, 1000, 100).set(0, template).set(256, claim.clone()).set(256, claim).done();
    for exporter in [FROM, IpAddr::V4([192, 0, 2, 1].into())] {
        all.datagram(exporter, at(100), &told, &mut out).unwrap();
    }
    assert!(out.iter().all(|flow| flow.forward.packets == 1 << 48));
    let stats = all.total();
    assert_eq!((stats.records, stats.implausible, stats.packets), (4, 4, 4 << 48));
}

#[test]
fn both_ends_of_a_record_are_of_one_family() {
    let (mut all, mut out) = (exporters(), Vec::new());
    // An IPv6 source beside an IPv4 target, and alone.
    let both = Message::default().numbers(&[256, 2, 27, 16, 12, 4]);
    let alone = Message::default().numbers(&[257, 1, 27, 16]);
    let source = || (0..4).fold(Message::default(), |message, _| message.u32(0x2001_0db8));
    let told = Message::v9(1, 1000, 100)
        .set(0, both)
        .set(0, alone)
        .set(256, source().u32(0x0a00_0002))
        .set(257, source())
        .done();
    all.datagram(FROM, at(100), &told, &mut out).unwrap();
    let targets: Vec<String> = out.iter().map(|flow| flow.dst.to_string()).collect();
    assert_eq!(targets, ["::ffff:10.0.0.2", "::"]);
}

#[test]
fn data_whose_template_never_comes_is_counted_as_dropped() {
    let (mut all, mut out) = (exporters(), Vec::new());
    all.datagram(FROM, at(100), &Message::v9(1, 0, 100).set(256, record(7)).done(), &mut out).unwrap();
    all.datagram(FROM, at(500), &Message::v9(2, 0, 500).set(0, template()).done(), &mut out).unwrap();
    assert!(out.is_empty());
    assert_eq!(all.total().unknown_template_dropped, 1);
}

#[test]
fn ipfix_withdraws_templates_one_by_one_and_all() {
    for withdrawn in [256, 2] {
        let (mut all, mut out) = (exporters(), Vec::new());
        let learn = Message::ipfix(0, 100).set(2, template()).done();
        all.datagram(FROM, at(100), &learn, &mut out).unwrap();
        let withdraw = Message::ipfix(0, 100).set(2, Message::default().numbers(&[withdrawn, 0])).done();
        all.datagram(FROM, at(100), &withdraw, &mut out).unwrap();
        let data = Message::ipfix(0, 100).set(256, record(1)).done();
        all.datagram(FROM, at(100), &data, &mut out).unwrap();
        assert!(out.is_empty(), "after withdrawing {withdrawn}");
        assert_eq!(all.total().templates_withdrawn, 1);
    }
}

#[test]
fn ipfix_knows_varying_lengths_enterprise_fields_and_the_other_direction() {
    let (mut all, mut out) = (exporters(), Vec::new());
    let fields = Message::default()
        .numbers(&[300, 8, 8, 4, 12, 4, 96, 65535])
        .numbers(&[0x8000 | 110, 65535])
        .u32(35632)
        .numbers(&[1, 8, 0x8001, 8])
        .u32(29305)
        .numbers(&[152, 8, 136, 1]);
    let data = Message::default()
        .u32(0x0a00_0001)
        .u32(0x0a00_0002)
        .u8(3)
        .u8(b'd')
        .u8(b'n')
        .u8(b's')
        .u8(255)
        .u16(2)
        .u16(0xffff)
        .u64(1_000)
        .u64(2_000)
        .u64(99_500)
        .u8(3);
    let message = Message::ipfix(0, 100).set(2, fields).set(300, data.u8(0).u8(0)).done();
    all.datagram(FROM, at(100), &message, &mut out).unwrap();
    let [flow] = &out[..] else { panic!("{out:?}") };
    assert_eq!(flow.application.as_deref(), Some("dns"));
    assert_eq!((flow.forward.bytes, flow.reverse.bytes), (1_000, 2_000));
    assert_eq!((flow.first.ns(), flow.end), (99_500_000_000, Some(EndReason::Closed)));
}

#[test]
fn options_name_interfaces_and_applications_and_tell_sampling() {
    let (mut all, mut out) = (exporters(), Vec::new());
    // Scope: interface 10; name and one packet of 50 by sampler 4.
    let options = Message::default().numbers(&[400, 3, 1, 10, 4, 82, 6, 34, 2]);
    let applications = Message::default().numbers(&[401, 2, 1, 95, 4, 96, 4]);
    let flows = Message::default().numbers(&[256, 5, 8, 4, 12, 4, 2, 4, 10, 4, 95, 4]);
    let named = Message::default().u32(3).numbers(&[0x6765, 0x302f, 0x3100, 50]);
    let message = Message::ipfix(0, 100)
        .set(3, options)
        .set(3, applications)
        .set(2, flows)
        .set(400, named)
        .set(401, Message::default().u32(0x0d00_0009).u32(0x7373_6800))
        .set(256, record(2).u32(3).u32(0x0d00_0009))
        .set(256, record(2).u32(4).u32(7))
        .done();
    all.datagram(FROM, at(100), &message, &mut out).unwrap();
    let seen: Vec<_> =
        out.iter().map(|f| (f.sampling, f.forward.packets, f.application.as_deref())).collect();
    assert_eq!(seen, [(50, 100, Some("ssh")), (1, 2, None)]);
    assert_eq!(all.interface_name(FROM, 3), Some("ge0/1"));
    assert_eq!(all.total().option_records, 2);
}

#[test]
fn a_restart_forgets_templates_and_counts_nothing_as_lost() {
    let (mut all, mut out) = (exporters(), Vec::new());
    let first = Message::v9(70_000, 900_000, 100).set(0, template()).done();
    all.datagram(FROM, at(100), &first, &mut out).unwrap();
    let again = Message::v9(0, 1_000, 110).set(256, record(1)).done();
    all.datagram(FROM, at(110), &again, &mut out).unwrap();
    let stats = all.total();
    assert_eq!((stats.restarts, stats.lost, stats.unknown_template, out.len()), (1, 0, 1, 0));
}

#[test]
fn gaps_are_counted_in_the_units_of_the_version() {
    let (mut all, mut out) = (exporters(), Vec::new());
    for sequence in [1, 2, 5, 4] {
        let message = Message::v9(sequence, 0, 100).done();
        all.datagram(FROM, at(100), &message, &mut out).unwrap();
    }
    assert_eq!((all.total().lost, all.total().out_of_order), (1, 1), "v9 counts datagrams");
    let mut all = exporters();
    for (sequence, records) in [(0, 2), (2, 1), (10, 1)] {
        let set = (0..records).fold(Message::default(), |set, _| {
            let mut set = set;
            set.0.extend(record(1).0);
            set
        });
        let message = Message::ipfix(sequence, 100).set(2, template()).set(256, set).done();
        all.datagram(FROM, at(100), &message, &mut out).unwrap();
    }
    assert_eq!(all.total().lost, 7, "IPFIX counts records");
    let mut all = exporters();
    for sequence in [1, 2, 3, 8, 9] {
        let message = Message::ipfix(sequence, 100).set(2, template()).set(256, record(1)).done();
        all.datagram(FROM, at(100), &message, &mut out).unwrap();
    }
    assert_eq!(all.total().lost, 4, "with the message's own");
}

#[test]
fn one_exporter_with_a_wrong_clock_does_not_move_time() {
    let (mut all, mut out) = (exporters(), Vec::new());
    let message = Message::v9(1, 60_000, 9_000_000).set(0, template()).set(256, record(1)).done();
    assert_eq!(all.datagram(FROM, at(100), &message, &mut out), Ok(at(100)));
    assert_eq!((out[0].last, all.total().clock_skew), (at(100), 1));
}

#[test]
fn invented_exporters_do_not_push_out_real_ones() {
    let limits = Limits { exporters: 2, ..Limits::default() };
    let mut all = Exporters::new(limits, Decoder::new(DecoderConfig::default()));
    let mut out = Vec::new();
    let message = |seconds| Message::v9(1, 0, seconds).done();
    for last in 1..=4u8 {
        all.datagram(IpAddr::from([10, 0, 0, last]), at(100), &message(100), &mut out).unwrap();
    }
    assert_eq!((all.refused(), all.stats().len()), (2, 2));
    all.datagram(IpAddr::from([10, 0, 0, 9]), at(701), &message(701), &mut out).unwrap();
    assert_eq!(
        all.stats().iter().map(|(ip, _)| ip.to_string()).collect::<Vec<_>>(),
        ["10.0.0.2", "10.0.0.9"]
    );
    assert_eq!(all.total().datagrams, 3);
}

const FILES: [&str; 6] = [
    "softflowd-v5.pcap",
    "softflowd-v9.pcap",
    "softflowd-biflow.pcap",
    "pmacct-sampled.pcap",
    "pmacct-sflow.pcap",
    "nfreplay-v9.pcap",
];

proptest! {
    #[test]
    fn random_datagrams_are_survived(
        start in prop::sample::select(vec![vec![0u8, 5], vec![0, 9], vec![0, 10], vec![0, 0, 0, 5]]),
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
    ) {
        let (mut all, mut out) = (exporters(), Vec::new());
        for rest in datagrams {
            let bytes = [&start[..], &rest].concat();
            let _ = all.datagram(FROM, at(100), &bytes, &mut out);
        }
        prop_assert!(out.len() < 1000);
    }

    #[test]
    fn damaged_datagrams_are_survived(
        file in prop::sample::select(FILES.to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut input = datagrams(file);
        for (datagram, place, byte) in &damage {
            let number = datagram.index(input.len());
            let bytes = &mut input[number].1;
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        let (mut all, mut out) = (exporters(), Vec::new());
        for (number, (at, bytes)) in input.iter().enumerate() {
            let end = if number == 0 { cut.index(bytes.len()) } else { bytes.len() };
            let _ = all.datagram(FROM, *at, &bytes[..end], &mut out);
        }
        prop_assert!(all.pending.bytes() <= Limits::default().pending_bytes);
        // A record takes at least an address of four bytes.
        let bytes: usize = input.iter().map(|(_, bytes)| bytes.len()).sum();
        prop_assert!(out.len() <= bytes);
    }
}
