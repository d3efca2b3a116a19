use proptest::prelude::*;
use shared::model::flow::{DirectionCounters, FlowSide, L7Info};
use shared::model::{HostCounters, InterfaceCounters, L4, L7Source, TcpState};
use shared::wire::delta::L7Counters;
use shared::wire::flow_batch::{FlowBatch, WrittenBatch};
use shared::wire::proto::HttpPost;

use super::*;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

/// A delta of the second before `end` with `packets` packets, all of host `host`.
fn delta(end: i64, packets: u64, host: u8) -> Item {
    let counters = InterfaceCounters { packets, ..InterfaceCounters::default() };
    let sent = HostCounters { packets_sent: packets, ..HostCounters::default() };
    Item::Delta(Box::new(Delta {
        producer: Producer { interface: "eth0".to_owned(), epoch: 3, sequence: 99, ..Producer::default() },
        from: at(end - 1),
        to: at(end),
        watermark: at(end),
        interface: InterfaceDelta {
            counters,
            live_flows: packets,
            l7: [("DNS".to_owned(), L7Counters { flows: 1, bytes: packets, ..Default::default() })].into(),
            hooks: [("flowEnd".to_owned(), packets)].into(),
            collected: false,
            metrics: Default::default(),
        },
        hosts: vec![HostDelta {
            key: HostKey::new([10, 0, 0, host].into(), 0),
            mac: (host == 1).then_some([2, 0, 0, 0, 0, 1]),
            local: true,
            last_seen: at(end - 1),
            counters: sent,
        }],
        networks: vec![NetworkDelta {
            network: "10.0.0.0/8".parse().unwrap(),
            counters: NetworkCounters { packets_egress: packets, ..NetworkCounters::default() },
        }],
        ..Delta::default()
    }))
}

fn deltas(out: &[Item]) -> Vec<&Delta> {
    out.iter()
        .filter_map(|item| match item {
            Item::Delta(delta) => Some(&**delta),
            _ => None,
        })
        .collect()
}

#[test]
fn a_delta_goes_out_when_every_shard_has_closed_its_interval() {
    let mut merger = Merger::new(2, 1);
    let mut out = Vec::new();
    merger.take(0, vec![delta(11, 5, 1), delta(12, 7, 1)], Some(at(12)), &mut out);
    assert!(out.is_empty());
    merger.take(1, vec![delta(11, 4, 1)], Some(at(11)), &mut out);
    let sent = deltas(&out);
    assert_eq!(sent.len(), 1);
    let merged = sent[0];
    assert_eq!((merged.from, merged.to, merged.watermark), (at(10), at(11), at(11)));
    assert_eq!((merged.producer.epoch, merged.producer.sequence), (3, 1));
    assert_eq!(merged.interface.counters.packets, 9);
    assert_eq!(merged.interface.live_flows, 9);
    assert_eq!(merged.interface.l7["DNS"], L7Counters { flows: 2, bytes: 9, ..Default::default() });
    assert_eq!(merged.interface.hooks["flowEnd"], 9);
    assert_eq!((merged.hosts.len(), merged.hosts[0].counters.packets_sent), (1, 9));
    assert_eq!(merged.hosts[0].mac, Some([2, 0, 0, 0, 0, 1]));
    assert_eq!((merged.networks.len(), merged.networks[0].counters.packets_egress), (1, 9));
    // A shard that counted nothing only says how far it is; its flows still live.
    out.clear();
    merger.take(1, Vec::new(), Some(at(12)), &mut out);
    let sent = deltas(&out);
    assert_eq!((sent[0].producer.sequence, sent[0].interface.counters.packets), (2, 7));
    assert_eq!(sent[0].interface.live_flows, 7 + 4);
    assert_eq!(merger.forced(), 0);
}

#[test]
fn an_announcement_and_a_stop_are_one_each() {
    let mut merger = Merger::new(2, 1);
    let mut out = Vec::new();
    let cut = |from: i64, to: Timestamp| {
        let Item::Delta(mut delta) = delta(from + 1, 1, 1) else { unreachable!() };
        delta.from = at(from);
        delta.to = to;
        delta.watermark = to;
        Item::Delta(delta)
    };
    for shard in 0..2 {
        merger.take(shard, vec![cut(10, at(10))], Some(at(10)), &mut out);
    }
    assert_eq!(deltas(&out).len(), 1);
    // One stops at 10.3 s, the other at 10.7 s: one delta that ends with the later.
    merger.take(0, vec![cut(10, at(10).plus_ns(300))], Some(at(10)), &mut out);
    merger.ended(0, &mut out);
    merger.take(1, vec![cut(10, at(10).plus_ns(700))], Some(at(10)), &mut out);
    assert_eq!(deltas(&out).len(), 1);
    merger.ended(1, &mut out);
    let sent = deltas(&out);
    assert_eq!((sent.len(), sent[1].to, sent[1].watermark), (2, at(10).plus_ns(700), at(10).plus_ns(700)));
    assert_eq!(sent[1].interface.live_flows, 0);
    assert!(!sent[1].end_of_stream);
}

#[test]
fn the_stream_ends_when_all_shards_say_so() {
    let mut merger = Merger::new(2, 1);
    let mut out = Vec::new();
    for shard in 0..2 {
        let Item::Delta(mut last) = delta(11, 1, 1) else { unreachable!() };
        last.end_of_stream = true;
        merger.take(shard, vec![Item::Delta(last)], Some(at(11)), &mut out);
    }
    assert!(deltas(&out)[0].end_of_stream);
}

#[test]
fn a_shard_that_lags_holds_back_so_much_and_no_more() {
    let mut merger = Merger::new(2, 1);
    let mut out = Vec::new();
    merger.take(1, vec![delta(11, 100, 2)], Some(at(11)), &mut out);
    let ahead = MAX_HELD as i64 + 10;
    for end in 11..11 + ahead {
        merger.take(0, vec![delta(end, 1, 1)], Some(at(end)), &mut out);
    }
    let early = deltas(&out);
    assert_eq!(
        (early.len() as i64, merger.forced() as i64),
        (ahead - MAX_HELD as i64, ahead - MAX_HELD as i64 - 1)
    );
    // None of them promises more than the lagging shard has done.
    assert!(early.iter().all(|delta| delta.watermark == at(11)), "{early:?}");
    // Its late part is not lost, and then the promise holds again.
    out.clear();
    merger.take(1, vec![delta(12, 100, 2)], Some(at(12)), &mut out);
    let late = deltas(&out);
    assert_eq!((late.len(), late[0].to, late[0].watermark), (1, at(12), at(12)));
    assert_eq!(late[0].interface.counters.packets, 100);
    out.clear();
    merger.finish(&mut out);
    assert_eq!(deltas(&out).last().unwrap().watermark, at(10 + ahead));
}

#[test]
fn many_hosts_are_parts_of_one_size_under_consecutive_numbers() {
    let mut merger = Merger::new(1, 1);
    let mut out = Vec::new();
    let Item::Delta(mut big) = delta(11, 1, 1) else { unreachable!() };
    let host = big.hosts[0].clone();
    let numbered = |n: u32| HostDelta { key: HostKey::new(n.to_be_bytes().into(), 0), ..host.clone() };
    big.hosts = (0..2 * HOSTS_PER_DELTA as u32 + 1).map(numbered).collect();
    merger.take(0, vec![Item::Delta(big)], Some(at(11)), &mut out);
    let sent = deltas(&out);
    let seen: Vec<_> = sent.iter().map(|d| (d.producer.sequence, d.hosts.len(), d.watermark)).collect();
    assert_eq!(seen, [(1, HOSTS_PER_DELTA, at(10)), (2, HOSTS_PER_DELTA, at(10)), (3, 1, at(11))]);
    assert_eq!(sent.iter().map(|d| d.interface.counters.packets).sum::<u64>(), 1);
}

#[test]
fn everything_else_passes_at_once_under_numbers_of_the_interface() {
    let mut merger = Merger::new(2, 1);
    let mut out = Vec::new();
    let items = || {
        vec![
            Item::Flows(WrittenBatch::from(FlowBatch {
                producer: Producer { sequence: 1, ..Producer::default() },
                flows: Vec::new(),
            })),
            Item::Post(HttpPost { id: "same".to_owned(), ..HttpPost::default() }),
            Item::Publish { subject: "s".to_owned(), payload: "p".to_owned() },
        ]
    };
    merger.take(0, items(), None, &mut out);
    merger.take(1, items(), None, &mut out);
    let mut numbers = Vec::new();
    let mut posts = Vec::new();
    let mut published = 0;
    for item in &out {
        match item {
            Item::Flows(batch) => numbers.push(batch.producer.sequence),
            Item::Post(post) => posts.push(post.id.clone()),
            Item::Publish { .. } => published += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((numbers, published), (vec![1, 2], 2));
    assert_ne!(posts[0], posts[1]);
}

proptest! {
    /// However the shards' deltas come, nothing is lost, nothing is counted twice, the numbers are
    /// consecutive, and the watermark neither falls nor runs ahead of the slowest shard.
    #[test]
    fn any_interleaving_gives_the_same_sums(
        shards in 1_usize..5,
        steps in prop::collection::vec((0_usize..5, 1_i64..4, 0_u64..100), 0..200),
    ) {
        let mut merger = Merger::new(shards, 1);
        let mut ends = vec![100_i64; shards];
        let (mut wanted, mut sequence, mut watermark) = (0, 0, Timestamp::from_ns(i64::MIN));
        let mut got = 0;
        let mut look = |out: &mut Vec<Item>, ends: &[i64], over: bool| {
            for delta in deltas(out) {
                sequence += 1;
                prop_assert_eq!(delta.producer.sequence, sequence);
                prop_assert!(delta.watermark >= watermark);
                watermark = delta.watermark;
                let slowest = at(*ends.iter().min().unwrap());
                prop_assert!(over || delta.watermark <= slowest);
                got += delta.interface.counters.packets;
            }
            out.clear();
            Ok(())
        };
        let mut out = Vec::new();
        for (shard, step, packets) in steps {
            let shard = shard % shards;
            ends[shard] += step;
            wanted += packets;
            // Some seconds counted nothing and have no delta.
            let items = if packets == 0 { Vec::new() } else { vec![delta(ends[shard], packets, 1)] };
            merger.take(shard, items, Some(at(ends[shard])), &mut out);
            look(&mut out, &ends, false)?;
        }
        merger.finish(&mut out);
        look(&mut out, &ends, true)?;
        prop_assert_eq!(got, wanted);
    }

    /// Pages of shards make the page that one table would have given.
    #[test]
    fn pages_of_shards_make_one_page(ids in prop::collection::btree_set(1_u64..500, 0..60), shards in 1_u64..5, limit in 1_usize..40) {
        let of = |wanted: &dyn Fn(u64) -> bool| {
            let all: Vec<u64> = ids.iter().copied().filter(|id| wanted(*id)).collect();
            let items: Vec<_> = all.iter().take(limit).map(|id| flow(*id)).collect();
            let next = (all.len() > limit).then(|| items.last().unwrap().id.to_string());
            Page { items, next }
        };
        let parts = (0..shards).map(|shard| of(&|id| id % shards == shard)).collect();
        let merged = page(parts, limit);
        let whole = of(&|_| true);
        prop_assert_eq!(merged.next, whole.next);
        let ids = |page: &[FlowRecord]| page.iter().map(|flow| flow.id).collect::<Vec<_>>();
        prop_assert_eq!(ids(&merged.items), ids(&whole.items));
    }
}

fn flow(id: u64) -> FlowRecord {
    let side = FlowSide { ip: [10, 0, 0, 1].into(), port: 1, mac: None, local: true };
    FlowRecord {
        export: None,
        earlier_s: 0,
        top_score: 0,
        l7_payloads: 0,
        geo: None,
        id,
        ifid: 0,
        vlan: 0,
        inner_vlan: 0,
        l4: L4::UDP,
        client: side,
        server: side,
        cli2srv: DirectionCounters::default(),
        srv2cli: DirectionCounters::default(),
        first_seen: at(1),
        last_seen: at(2),
        icmp: None,
        tcp_state: TcpState::None,
        handshake_ok: false,
        rtt_server_us: 0,
        rtt_client_us: 0,
        gap_min_us: 0,
        gap_max_us: 0,
        gap_deviation_us: 0,
        reply_us: 0,
        fragmented: false,
        l7_category: shared::model::AppCategory::Web,
        l7_breed: shared::model::Breed::Safe,
        l7: "Unknown".into(),
        l7_source: L7Source::Unknown,
        info: L7Info::default(),
        status: 0,
        score: 0,
        collected: false,
        end: None,
    }
}
