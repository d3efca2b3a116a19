use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::model::{ContactKind, FactKind};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/golden/delta_v1.bin");

fn counters<C: Default>(values: &[u64], slot: impl Fn(&mut C, usize) -> Option<&mut u64>) -> C {
    let mut counters = C::default();
    for (id, value) in values.iter().enumerate() {
        *slot(&mut counters, id).unwrap() = *value;
    }
    counters
}

fn sample() -> Delta {
    let at = Timestamp::from_secs(1_700_000_000);
    let host = |last: u8, bytes_sent| HostDelta {
        key: HostKey::new(Ipv4Addr::new(192, 0, 2, last).into(), 0),
        mac: last.is_multiple_of(2).then_some([2, 0, 0, 0, 0, last]),
        local: last < 10,
        last_seen: at.plus_ns(i64::from(last)),
        counters: HostCounters { bytes_sent, packets_rcvd: 3, ..Default::default() },
    };
    let v6 = HostDelta {
        key: HostKey::new("2001:db8::7".parse().unwrap(), 42),
        counters: HostCounters { score: 250, ..Default::default() },
        ..host(77, 0)
    };
    Delta {
        producer: Producer {
            site: "main".into(),
            node: "collector-1".into(),
            ifid: 3,
            interface: "eth0.100".into(),
            epoch: 1_700_000_000,
            sequence: 17,
        },
        from: at,
        to: at.plus_secs(1),
        watermark: at.plus_ns(-5),
        end_of_stream: true,
        interface: InterfaceDelta {
            counters: InterfaceCounters {
                bytes: 123_456,
                packets: 99,
                flows_evicted: 1,
                ..Default::default()
            },
            live_flows: 12,
            l7: [("DNS".to_owned(), L7Counters { flows: 2, bytes: 300, ..Default::default() })].into(),
            hooks: [("flowEnd".to_owned(), 5), ("periodicUpdate".to_owned(), 1)].into(),
            collected: false,
            metrics: Metrics::new(),
        },
        hosts: vec![host(1, 0), host(2, 1000), v6],
        contacts: Vec::new(),
        categories: Vec::new(),
        facts: Vec::new(),
        networks: vec![NetworkDelta {
            network: "192.0.2.0/24".parse().unwrap(),
            counters: NetworkCounters { bytes_inner: 9, ..Default::default() },
        }],
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
    }
}

#[test]
fn the_golden_file_of_version_1_still_reads() {
    if std::env::var_os("FLOWHOOK_BLESS").is_some() {
        std::fs::write(GOLDEN, sample().encode()).unwrap();
    }
    let bytes = std::fs::read(GOLDEN).unwrap();
    assert_eq!(Delta::decode(&bytes).unwrap(), sample());
}

/// With everything that a summary of version 1 may hold.
fn full() -> Delta {
    let whole = sample();
    let metrics = [("dns.slow".to_owned(), Metric { gauge: true, sum: 2.5, count: 3 })];
    let l7 = L7Counters { flows: 2, bytes: 300, category: AppCategory::ALL[3] };
    Delta {
        interface: InterfaceDelta {
            collected: true,
            metrics: metrics.into(),
            l7: [("DNS".to_owned(), l7)].into(),
            ..whole.interface
        },
        contacts: vec![Contact { host: 0, kind: ContactKind::DnsServer, hash: u64::MAX - 1 }],
        categories: vec![CategoryBytes { host: 1, category: AppCategory::ALL[5], sent: 7, rcvd: 8 }],
        facts: vec![HostFact { host: 0, kind: FactKind::Os, text: "Linux".into() }],
        ..whole
    }
}

#[test]
fn a_golden_file_with_everything_reads_and_is_written_as_it_was() {
    let path = GOLDEN.replace("delta_v1.bin", "delta_v1_full.bin");
    if std::env::var_os("FLOWHOOK_BLESS").is_some() {
        std::fs::write(&path, full().encode()).unwrap();
    }
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(Delta::decode(&bytes).unwrap(), full());
    assert_eq!(full().encode(), bytes, "readers of version 1 find every field where it was");
}

#[test]
fn counters_that_are_zero_everywhere_are_left_out() {
    let hosts = hosts::write(&sample());
    let ids: Vec<u32> = hosts.columns.iter().map(|column| column.counter).collect();
    assert_eq!(ids, [0, 3, 19], "bytes_sent, packets_rcvd, score");
    assert_eq!(hosts.columns[0].values, [0, 1000, 0]);
}

#[test]
fn an_empty_delta_is_small_and_round_trips() {
    let empty = Delta::default();
    let bytes = empty.encode();
    assert!(bytes.len() < 40, "{} bytes", bytes.len());
    assert_eq!(Delta::decode(&bytes).unwrap(), empty);
}

#[test]
fn counters_and_fields_of_later_versions_are_skipped() {
    let mut batch = proto::DeltaBatch::decode(sample().encode()).unwrap();
    let later = proto::Column { counter: 999, values: vec![1, 2, 3, 4, 5] };
    batch.hosts.as_mut().unwrap().columns.push(later.clone());
    batch.interface.as_mut().unwrap().columns.push(later);
    let mut bytes = batch.encode_to_vec();
    // Field 1000 as varint 7, field 1001 as the two bytes "hi".
    bytes.extend([0xc0, 0x3e, 7, 0xca, 0x3e, 2, b'h', b'i']);
    assert_eq!(Delta::decode(&bytes).unwrap(), sample());
}

#[test]
fn malformed_messages_are_named() {
    let broken = |damage: fn(&mut proto::DeltaBatch)| {
        let mut batch = proto::DeltaBatch::decode(sample().encode()).unwrap();
        damage(&mut batch);
        Delta::decode(&batch.encode_to_vec()).unwrap_err().to_string()
    };
    fn hosts(batch: &mut proto::DeltaBatch) -> &mut proto::HostDeltas {
        batch.hosts.as_mut().unwrap()
    }
    let cases = [
        (broken(|batch| batch.producer = None), "no producer"),
        (broken(|batch| hosts(batch).columns[0].values.push(1)), "counter 0 has 4 values for 3 rows"),
        (
            broken(|batch| {
                hosts(batch).vlans.pop();
            }),
            "vlans has 2 values for 3 rows",
        ),
        (
            broken(|batch| {
                hosts(batch).macs.pop();
            }),
            "macs has 2 values",
        ),
        (broken(|batch| hosts(batch).local.clear()), "local has 0 values"),
        (broken(|batch| hosts(batch).contact_kinds.push(1)), "contact_kinds has 1 values for 0 rows"),
        (
            broken(|batch| {
                let hosts = hosts(batch);
                (hosts.contact_rows, hosts.contact_kinds, hosts.contact_hashes) = (vec![3], vec![0], vec![9]);
            }),
            "contact 0 is of host 3 of 3",
        ),
        (broken(|batch| hosts(batch).category_sent.push(1)), "category_sent has 1 values for 0 rows"),
        (broken(|batch| hosts(batch).fact_texts.push(String::new())), "fact_texts has 1 values for 0 rows"),
        (
            broken(|batch| {
                let hosts = hosts(batch);
                (hosts.fact_rows, hosts.fact_kinds, hosts.fact_texts) =
                    (vec![9], vec![0], vec![String::new()]);
            }),
            "fact 0 is of host 9 of 3",
        ),
        (broken(|batch| hosts(batch).last_seen_ns.clear()), "last_seen_ns has 0 values"),
        (broken(|batch| hosts(batch).addresses[0] = Bytes::from_static(b"12345")), "an address of 5 bytes"),
        (broken(|batch| hosts(batch).macs[0] = Bytes::from_static(b"12")), "a hardware address of 2 bytes"),
        (broken(|batch| hosts(batch).vlans[0] = 70_000), "out of range"),
        (broken(|batch| batch.networks.as_mut().unwrap().prefixes[0] = "x".into()), "'x' is not a network"),
        (broken(|batch| batch.interface.as_mut().unwrap().l7_bytes.clear()), "l7_bytes has 0 values"),
        (broken(|batch| batch.interface.as_mut().unwrap().hook_calls.push(1)), "hook_calls has 3 values"),
        (broken(|batch| batch.interface.as_mut().unwrap().columns[0].values.clear()), "0 values for 1 rows"),
    ];
    for (error, cause) in cases {
        assert!(error.starts_with("malformed delta: ") && error.contains(cause), "{error}: {cause}");
    }
}

#[test]
fn a_truncated_message_never_panics() {
    let bytes = sample().encode();
    let read = (0..bytes.len()).filter(|end| Delta::decode(&bytes[..*end]).is_ok()).count();
    assert!(read < bytes.len(), "most truncations are seen");
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from(bits).into()),
    ]
}

/// Counter values as they are: mostly 0, sometimes small, sometimes anything.
fn values(count: usize) -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![4 => Just(0), 2 => 0..2000u64, 1 => any::<u64>()], count)
}

prop_compose! {
    fn hosts()(
        ip in addresses(), vlan in any::<u16>(), mac in any::<Option<Mac>>(), local in any::<bool>(),
        last_seen in any::<i64>(), values in values(HostCounters::NAMES.len()),
    ) -> HostDelta {
        let counters = counters(&values, HostCounters::slot);
        HostDelta { key: HostKey::new(ip, vlan), mac, local, last_seen: Timestamp::from_ns(last_seen), counters }
    }
}

prop_compose! {
    fn networks()(
        ip in addresses(), length in 0..=32u8, values in values(NetworkCounters::NAMES.len()),
    ) -> NetworkDelta {
        let network = IpNet::new(ip, length).unwrap();
        NetworkDelta { network, counters: counters(&values, NetworkCounters::slot) }
    }
}

prop_compose! {
    fn interfaces()(
        values in values(InterfaceCounters::NAMES.len()), live_flows in any::<u64>(), collected in any::<bool>(),
        l7 in prop::collection::btree_map(".{0,12}", any::<(u64, u64)>(), 0..5),
        hooks in prop::collection::btree_map("[a-zA-Z]{0,16}", any::<u64>(), 0..5),
        metrics in prop::collection::btree_map("[a-z.]{0,16}", any::<(bool, i32, u64)>(), 0..5),
    ) -> InterfaceDelta {
        let metric = |(gauge, sum, count): (bool, i32, u64)| Metric { gauge, sum: sum.into(), count };
        let metrics = metrics.into_iter().map(|(name, parts)| (name, metric(parts))).collect();
        let l7 = l7.into_iter().map(|(name, (flows, bytes))| (name, L7Counters { flows, bytes, category: AppCategory::Web })).collect();
        let counters = counters(&values, InterfaceCounters::slot);
        InterfaceDelta { counters, live_flows, l7, hooks, collected, metrics }
    }
}

prop_compose! {
    fn deltas()(
        names in any::<[String; 3]>(), ifid in any::<u32>(), numbers in any::<(u64, u64)>(),
        times in any::<[i64; 3]>(), end_of_stream in any::<bool>(), interface in interfaces(),
        hosts in prop::collection::vec(hosts(), 0..20), networks in prop::collection::vec(networks(), 0..5),
        traceparent in prop::option::of("[0-9a-f-]{1,55}"),
        contacts in prop::collection::vec(any::<(u32, prop::sample::Index, u64)>(), 0..9),
    ) -> Delta {
        let kind = |place: &prop::sample::Index| ContactKind::ALL[place.index(ContactKind::ALL.len())];
        let contact = |(host, place, hash): &(u32, prop::sample::Index, u64)| {
            (!hosts.is_empty()).then(|| Contact { host: host % hosts.len() as u32, kind: kind(place), hash: *hash })
        };
        let contacts: Vec<Contact> = contacts.iter().filter_map(contact).collect();
        let bytes = |c: &Contact| CategoryBytes { host: c.host, category: AppCategory::Chat, sent: c.hash, rcvd: 7 };
        let categories = contacts.iter().map(bytes).collect();
        let fact = |c: &Contact| HostFact { host: c.host, kind: FactKind::Os, text: c.hash.to_string().into() };
        let facts = contacts.iter().map(fact).collect();
        let [site, node, name] = names;
        let [from, to, watermark] = times.map(Timestamp::from_ns);
        let producer = Producer { site, node, ifid, interface: name, epoch: numbers.0, sequence: numbers.1 };
        Delta { producer, from, to, watermark, end_of_stream, interface, hosts, contacts, categories, facts, networks, traceparent }
    }
}

proptest! {
    #[test]
    fn any_delta_round_trips(delta in deltas()) {
        prop_assert_eq!(Delta::decode(&delta.encode()).unwrap(), delta);
    }

    #[test]
    fn any_truncation_is_survived(delta in deltas(), end in any::<prop::sample::Index>()) {
        let bytes = delta.encode();
        let _ = Delta::decode(&bytes[..end.index(bytes.len())]);
    }

    #[test]
    fn damaged_messages_are_survived(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = sample().encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Delta::decode(&bytes);
    }

    #[test]
    fn hostile_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Delta::decode(&bytes);
    }
}
