use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::flow::{DirectionCounters, DnsInfo, HttpInfo, L7Info, SshInfo, Text, TlsInfo};
use crate::model::pool::Mac;
use crate::model::{FlowEnd, L7Source, TcpState};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/golden/flows_v1.bin");

fn flow(id: u64) -> FlowRecord {
    let first_seen = Timestamp::from_secs(1_700_000_000).plus_ns(id as i64 * 1_234_567);
    FlowRecord {
        id,
        ifid: 3,
        vlan: 0,
        inner_vlan: 0,
        l4: L4::TCP,
        client: FlowSide {
            ip: Ipv4Addr::new(192, 0, 2, (id % 50) as u8).into(),
            port: 40_000 + (id % 20_000) as u16,
            mac: None,
            local: true,
        },
        server: FlowSide {
            ip: Ipv4Addr::new(198, 51, 100, (id % 30) as u8).into(),
            port: 443,
            mac: None,
            local: false,
        },
        cli2srv: DirectionCounters {
            packets: 8,
            bytes: 1200,
            goodput_bytes: 700,
            tcp_flags: 0x1b,
            ..Default::default()
        },
        srv2cli: DirectionCounters {
            packets: 11,
            bytes: 14_000 + id,
            goodput_bytes: 13_000 + id,
            tcp_flags: 0x1b,
            ..Default::default()
        },
        first_seen,
        last_seen: first_seen.plus_ns(345_678_901),
        icmp: None,
        tcp_state: TcpState::Closed,
        handshake_ok: true,
        rtt_server_us: 12_000 + (id % 500) as u32,
        rtt_client_us: 150,
        gap_min_us: 0,
        gap_max_us: 0,
        gap_deviation_us: 0,
        reply_us: 0,
        fragmented: false,
        l7_category: AppCategory::Unspecified,
        l7_breed: Breed::Unrated,
        l7: "TLS".into(),
        l7_source: L7Source::Payload,
        info: L7Info::default(),
        status: 0,
        score: 0,
        collected: false,
        export: None,
        earlier_s: 0,
        top_score: 0,
        l7_payloads: 0,
        geo: None,
        end: Some(FlowEnd::Closed),
    }
}

fn producer() -> Producer {
    Producer {
        site: "main".into(),
        node: "collector-1".into(),
        ifid: 3,
        interface: "eth0".into(),
        epoch: 5,
        sequence: 6,
    }
}

/// Flows that between them fill every field.
fn sample() -> FlowBatch {
    let tls = TlsInfo {
        sni: "www.example.org".into(),
        alpn: "h2".into(),
        version: 0x0304,
        cipher: 0x1301,
        ..TlsInfo::default()
    };
    let http =
        HttpInfo { method: "GET".into(), host: "example.com".into(), status: 404, ..Default::default() };
    let dns = DnsInfo { query: "example.net".into(), query_type: 28, queries: 1, ..Default::default() };
    let ssh = SshInfo { client: "SSH-2.0-a".into(), server: "SSH-2.0-b".into(), ..SshInfo::default() };
    let v6 = |last: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    let side = |ip, port, mac, local| FlowSide { ip, port, mac, local };
    let flows = vec![
        FlowRecord { info: L7Info { tls: Some(tls.into()), ..Default::default() }, ..flow(1) },
        FlowRecord {
            vlan: 42,
            l4: L4::ICMPV6,
            client: side(v6(1), 0, Some([2, 0, 0, 0, 0, 1]), true),
            server: side(v6(2), 0, Some([2, 0, 0, 0, 0, 2]), true),
            icmp: Some((128, 0)),
            tcp_state: TcpState::None,
            handshake_ok: false,
            l7: "ICMPV6".into(),
            l7_source: L7Source::L4,
            end: Some(FlowEnd::Idle),
            ..flow(2)
        },
        FlowRecord {
            info: L7Info {
                http: Some(http.into()),
                dns: Some(dns.into()),
                ssh: Some(ssh.into()),
                ..Default::default()
            },
            status: 1 << 63 | 0b1000_0000,
            score: 250,
            collected: true,
            end: None,
            ..flow(3)
        },
    ];
    FlowBatch { producer: producer(), flows }
}

#[test]
fn the_golden_file_of_version_1_still_reads() {
    if std::env::var_os("FLOWHOOK_BLESS").is_some() {
        std::fs::write(GOLDEN, sample().encode()).unwrap();
    }
    let bytes = std::fs::read(GOLDEN).unwrap();
    assert_eq!(FlowBatch::decode(&bytes).unwrap(), sample());
}

#[test]
fn a_realistic_flow_takes_few_bytes() {
    let names = ["www.example.org", "api.example.com", "cdn.example.net", "mail.example.org"];
    let flows = (0..500u64).map(|id| {
        let mut flow = flow(id + 1);
        if id % 5 == 0 {
            flow.client.ip = Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(id % 50)).into();
            flow.server.ip = Ipv6Addr::from(0x2001_0db8_0001 << 80 | u128::from(id % 30)).into();
        }
        if id % 5 < 2 {
            let sni = names[id as usize % names.len()].into();
            let tls =
                TlsInfo { sni, alpn: "h2".into(), version: 0x0304, cipher: 0x1301, ..TlsInfo::default() };
            flow.info.tls = Some(tls.into());
        }
        flow
    });
    let batch = FlowBatch { producer: producer(), flows: flows.collect() };
    let bytes = batch.encode();
    let json: usize = batch.flows.iter().map(|flow| serde_json::to_string(flow).unwrap().len()).sum();
    let count = batch.flows.len();
    println!("{} bytes per flow on the wire, {} as JSON", bytes.len() / count, json / count);
    assert!(bytes.len() / count < 100, "{} bytes per flow", bytes.len() / count);
    assert_eq!(FlowBatch::decode(&bytes).unwrap(), batch);
}

#[test]
fn columns_of_defaults_are_left_out_and_each_text_is_written_once() {
    let flows = (0..9).map(flow).collect();
    let batch = proto::FlowBatch::decode(FlowBatch { producer: producer(), flows }.encode()).unwrap();
    assert!(batch.vlans.is_empty() && batch.client_macs.is_empty() && batch.score.is_empty());
    assert_eq!(batch.dictionary, ["", "TLS"]);
}

#[test]
fn values_and_fields_of_later_versions_are_survived() {
    let mut batch = proto::FlowBatch::decode(sample().encode()).unwrap();
    batch.tcp_state[0] = 99;
    batch.l7_source[0] = 99;
    batch.end[0] = 99;
    batch.flags[0] |= 1 << 31;
    let mut bytes = batch.encode_to_vec();
    // Field 1000 as varint 7, field 1001 as the two bytes "hi".
    bytes.extend([0xc0, 0x3e, 7, 0xca, 0x3e, 2, b'h', b'i']);
    let read = FlowBatch::decode(&bytes).unwrap();
    assert_eq!(read.flows[0].tcp_state, TcpState::None);
    assert_eq!(read.flows[0].l7_source, L7Source::Unknown);
    assert_eq!(read.flows[0].end, Some(FlowEnd::Idle));
    assert_eq!(read.flows[1..], sample().flows[1..]);
}

#[test]
fn malformed_messages_are_named() {
    let broken = |damage: fn(&mut proto::FlowBatch)| {
        let mut batch = proto::FlowBatch::decode(sample().encode()).unwrap();
        damage(&mut batch);
        FlowBatch::decode(&batch.encode_to_vec()).unwrap_err().to_string()
    };
    let cases = [
        (broken(|batch| batch.producer = None), "no producer"),
        (broken(|batch| batch.client_addresses.clear()), "client_addresses has 0 values for 3 rows"),
        (
            broken(|batch| {
                batch.client_ports.pop();
            }),
            "client_ports has 2 values for 3 rows",
        ),
        (broken(|batch| batch.ids.clear()), "l4 has 3 values for 0 rows"),
        (broken(|batch| batch.l7[0] = 1000), "text 1000 of"),
        (broken(|batch| batch.info = vec![1, 0, 0]), "application data 1"),
        (broken(|batch| batch.icmp[0] = 65_537), "out of range"),
        (broken(|batch| batch.l4[0] = 256), "out of range"),
        (broken(|batch| batch.server_ports[0] = 65_536), "out of range"),
        (broken(|batch| batch.cli2srv[0].tcp_flags = 256), "out of range"),
        (broken(|batch| batch.server_addresses[0] = Bytes::new()), "an address of 0 bytes"),
    ];
    for (error, cause) in cases {
        assert!(error.starts_with("malformed flow batch: ") && error.contains(cause), "{error}: {cause}");
    }
}

#[test]
fn a_truncated_message_never_panics() {
    let bytes = sample().encode();
    let read = (0..bytes.len()).filter(|end| FlowBatch::decode(&bytes[..*end]).is_ok()).count();
    assert!(read < bytes.len(), "most truncations are seen");
}

fn sides() -> impl Strategy<Value = FlowSide> {
    let address = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from(bits))),
    ];
    (address, any::<u16>(), any::<Option<Mac>>(), any::<bool>()).prop_map(|(ip, port, mac, local)| FlowSide {
        ip,
        port,
        mac,
        local,
    })
}

prop_compose! {
    fn directions()(
        n in any::<[u64; 3]>(), m in any::<[u32; 4]>(), small in any::<[u8; 3]>(), resets in any::<u16>(),
    ) -> DirectionCounters {
        let [tcp_flags, tos, ip_flags] = small;
        let [packets, bytes, goodput_bytes] = n;
        let [retransmissions, out_of_order, zero_windows, lost] = m;
        DirectionCounters {
            packets, bytes, goodput_bytes, retransmissions, out_of_order, zero_windows, tcp_flags, resets, tos, ip_flags,
            lost,
        }
    }
}

prop_compose! {
    fn infos()(texts in prop::array::uniform4(".{1,9}"), n in any::<u16>(), which in 0..5u8) -> L7Info {
        let [a, b, c, d] = texts.map(Text::from);
        match which {
            0 => L7Info { tls: Some(Box::new(TlsInfo { sni: a, alpn: b, version: n, cipher: n, ..TlsInfo::default() })), ..Default::default() },
            1 => L7Info {
                http: Some(Box::new(HttpInfo { method: a, host: b, url: c, user_agent: d, status: n, ..Default::default() })),
                ..Default::default()
            },
            2 => L7Info {
                dns: Some(Box::new(DnsInfo { query: a, reply_code: n, ..Default::default() })),
                ssh: Some(Box::new(SshInfo { client: b, server: c, ..SshInfo::default() })),
                ..Default::default()
            },
            _ => L7Info::default(),
        }
    }
}

prop_compose! {
    pub(crate) fn flows()(
        id in any::<u64>(), vlan in any::<u16>(), l4 in any::<u8>(), client in sides(), server in sides(),
        cli2srv in directions(), srv2cli in directions(), times in any::<[i64; 2]>(),
        icmp in any::<Option<(u8, u8)>>(), enums in (0..8u32, 0..4u32, 0..7u32), times_us in any::<[u32; 6]>(),
    )(
        info in infos(), l7 in "[A-Za-z0-9]{0,9}", bits in any::<[bool; 2]>(), status in any::<u64>(),
        score in any::<u32>(), id in Just(id), vlan in Just(vlan), l4 in Just(l4), client in Just(client),
        server in Just(server), cli2srv in Just(cli2srv), srv2cli in Just(srv2cli), times in Just(times),
        rest in Just((icmp, enums, times_us)),
    ) -> FlowRecord {
        let (icmp, (state, source, end), times_us) = rest;
        let [rtt_server_us, rtt_client_us, gap_min_us, gap_max_us, gap_deviation_us, reply_us] = times_us;
        let kind = score as usize;
        FlowRecord {
            id, ifid: 3, vlan, inner_vlan: !vlan, l4: L4(l4), client, server, cli2srv, srv2cli,
            first_seen: Timestamp::from_ns(times[0]), last_seen: Timestamp::from_ns(times[1]),
            icmp, tcp_state: tcp_state_from_wire(state), handshake_ok: bits[0], rtt_server_us, rtt_client_us,
            gap_min_us, gap_max_us, gap_deviation_us, reply_us, fragmented: bits[1],
            l7_category: AppCategory::ALL[kind % AppCategory::ALL.len()],
            l7_breed: Breed::ALL[kind % Breed::ALL.len()],
            l7: l7.into(), l7_source: l7_source_from_wire(source), info, status, score, collected: bits[1], export: None,
        earlier_s: 0,
        top_score: 0,
        l7_payloads: 0,
        geo: None,
            end: end_from_wire(end),
        }
    }
}

#[test]
fn what_an_exporter_tells_round_trips() {
    let collected = FlowRecord {
        collected: true,
        l7_source: L7Source::Collected,
        export: Some(Box::new(crate::model::flow::ExportInfo {
            exporter: "192.0.2.9".parse().unwrap(),
            input: 3,
            output: 4,
            sampling: 100,
            application: "netflix".into(),
            tos: 0x28,
            next_hop: Some("192.0.2.1".parse().unwrap()),
            client_as: 64512,
            server_as: 2906,
        })),
        ..flow(1)
    };
    let flows = vec![collected.clone(), flow(2), collected];
    let batch = FlowBatch { producer: producer(), flows };
    assert_eq!(FlowBatch::decode(&batch.encode()).unwrap(), batch);
}

proptest! {
    #[test]
    fn any_batch_round_trips(flows in prop::collection::vec(flows(), 0..12)) {
        let batch = FlowBatch { producer: producer(), flows };
        prop_assert_eq!(FlowBatch::decode(&batch.encode()).unwrap(), batch);
    }

    #[test]
    fn any_truncation_is_survived(
        flows in prop::collection::vec(flows(), 0..6), end in any::<prop::sample::Index>(),
    ) {
        let bytes = FlowBatch { producer: producer(), flows }.encode();
        let _ = FlowBatch::decode(&bytes[..end.index(bytes.len())]);
    }

    #[test]
    fn damaged_messages_are_survived(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = sample().encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = FlowBatch::decode(&bytes);
    }

    #[test]
    fn hostile_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = FlowBatch::decode(&bytes);
    }
}

#[test]
fn every_field_of_the_application_data_has_a_column() {
    let tls = TlsInfo { certificate: Some(Arc::default()), ..TlsInfo::default() };
    let info = L7Info {
        http: Some(Box::default()),
        dns: Some(Box::default()),
        tls: Some(tls.into()),
        ssh: Some(Box::default()),
        ..L7Info::default()
    };
    let shown = format!("{info:?}");
    let words = shown.split([' ', '{', '(', ',']).filter_map(|word| word.strip_suffix(':'));
    let fields: Vec<&str> = words.collect();
    assert!(fields.contains(&"sni") && fields.contains(&"not_after"), "{fields:?}");
    for field in fields {
        let is_part =
            ["http", "dns", "tls", "ssh", "certificate", "control", "announced", "hint"].contains(&field);
        assert!(is_part || info::names().any(|name| name.ends_with(&format!(".{field}"))), "{field}");
    }
}

#[test]
fn columns_that_lie_about_their_rows_are_malformed_and_unknown_ones_are_skipped() {
    let with = |column: proto::NumberColumn| {
        let mut batch = proto::FlowBatch::decode(sample().encode()).unwrap();
        batch.number_columns.push(column);
        FlowBatch::decode(&batch.encode_to_vec())
    };
    let column =
        |name: &str, rows: Vec<u32>| proto::NumberColumn { name: name.into(), rows, values: vec![7] };
    assert_eq!(with(column("later.field", vec![0])).unwrap(), sample());
    assert!(with(column("http.status", vec![3])).is_err());
    assert!(with(column("http.status", vec![0, 1])).is_err());
}
