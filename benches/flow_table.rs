//! What a packet costs in the flow table: new flows, and packets of live ones.

#![allow(clippy::unwrap_used, missing_docs, reason = "benches")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use collector::decode::Packet;
use collector::flow::{FlowTable, TableConfig};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use shared::model::{L4, Timestamp};

const FLOWS: u32 = 100_000;

fn config() -> TableConfig {
    TableConfig {
        idle_s: 60,
        closed_s: 15,
        active_s: 1800,
        silence_s: 5,
        periodic_s: 120,
        max_flows: 1_000_000,
        tunnel_parts_flows: false,
        seed: 1,
    }
}

fn packet(number: u32, ns: i64) -> Packet<'static> {
    let address = |n: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
    let (src, dst) = (address(number), address(number + 0x0010_0000));
    let packet = Packet::new(Timestamp::from_ns(ns), 100, src, dst, L4::UDP);
    Packet { src_port: 4000, dst_port: 9999, payload: &[0xee; 8], payload_len: 8, ..packet }
}

fn filled() -> FlowTable {
    let mut table = FlowTable::new(config());
    let mut events = Vec::new();
    for number in 0..FLOWS {
        table.on_packet(&packet(number, 1_000_000_000), &mut events);
        events.clear();
    }
    table
}

fn flow_table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow_table");
    group.throughput(Throughput::Elements(u64::from(FLOWS))).sample_size(10);
    group.bench_function("new_flows_100k", |b| {
        b.iter_batched(|| (), |()| black_box(filled()), BatchSize::PerIteration);
    });
    group.bench_function("packets_of_100k_live_flows", |b| {
        let mut table = filled();
        let mut events = Vec::new();
        b.iter(|| {
            for number in 0..FLOWS {
                table.on_packet(black_box(&packet(number, 1_000_000_000)), &mut events);
                events.clear();
            }
        });
    });
    group.finish();
}

criterion_group!(benches, flow_table);
criterion_main!(benches);
