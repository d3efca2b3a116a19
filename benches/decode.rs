//! What decoding one frame costs: plain, tagged, in tunnels, in fragments.

#![allow(clippy::unwrap_used, missing_docs, reason = "benches")]

use std::hint::black_box;

use collector::capture::{LinkType, PacketDesc};
use collector::decode::{Decoder, DecoderConfig};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shared::model::Timestamp;

/// Frames in one round: distinct ports, so that no branch is learnt by heart.
const FRAMES: u16 = 256;

const PAYLOAD: &[u8] = &[0xee; 64];

fn udp(number: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    [&(32_768 + number).to_be_bytes()[..], &dst_port.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload]
        .concat()
}

fn tcp(number: u16) -> Vec<u8> {
    let rest = [1, 187, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0];
    [&(32_768 + number).to_be_bytes()[..], &rest, PAYLOAD].concat()
}

fn v4(protocol: u8, flags: [u8; 2], body: &[u8]) -> Vec<u8> {
    let length = 20 + body.len() as u16;
    let ends = [64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    [&[0x45, 0][..], &length.to_be_bytes(), &[0, 1], &flags, &ends, body].concat()
}

fn v6(next: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u16;
    let ends = [0xfd; 32];
    [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[next, 64], &ends, body].concat()
}

fn ethernet(header: &[u8], body: &[u8]) -> Vec<u8> {
    [&[2; 12][..], header, body].concat()
}

fn frames(build: impl Fn(u16) -> Vec<u8>) -> Vec<(PacketDesc, Vec<u8>)> {
    let described = |frame: Vec<u8>| {
        let length = frame.len() as u32;
        let desc = PacketDesc {
            ts: Timestamp::from_ns(1),
            offset: 0,
            captured: length,
            length,
            link: LinkType::ETHERNET,
            interface: 0,
        };
        (desc, frame)
    };
    (0..FRAMES).map(|number| described(build(number))).collect()
}

fn decode(criterion: &mut Criterion) {
    let whole = [0x40, 0];
    let inner = |number| v4(6, whole, &tcp(number));
    let cases = [
        ("tcp_v4", frames(|n| ethernet(&[8, 0], &inner(n)))),
        ("udp_v4", frames(|n| ethernet(&[8, 0], &v4(17, whole, &udp(n, 443, PAYLOAD))))),
        ("tcp_v6", frames(|n| ethernet(&[0x86, 0xdd], &v6(6, &tcp(n))))),
        ("udp_v6", frames(|n| ethernet(&[0x86, 0xdd], &v6(17, &udp(n, 443, PAYLOAD))))),
        ("vlan_tcp_v4", frames(|n| ethernet(&[0x81, 0, 0, 7, 8, 0], &inner(n)))),
        ("mpls_tcp_v4", frames(|n| ethernet(&[0x88, 0x47, 0, 6, 0x41, 64], &inner(n)))),
        (
            "vxlan_tcp_v4",
            frames(|n| {
                let payload = [&[8, 0, 0, 0, 0, 0, 9, 0][..], &ethernet(&[8, 0], &inner(n))].concat();
                ethernet(&[8, 0], &v4(17, whole, &udp(n, 4789, &payload)))
            }),
        ),
        (
            "gre_tcp_v4",
            frames(|n| {
                ethernet(&[8, 0], &v4(47, whole, &[&[0x20, 0, 8, 0, 0, 0, 0, 9][..], &inner(n)].concat()))
            }),
        ),
        (
            "fragments",
            frames(|n| {
                let flags = if n % 2 == 0 { [0x20, 0] } else { [0, 16] };
                ethernet(&[8, 0], &v4(17, flags, &udp(n, 443, PAYLOAD)))
            }),
        ),
        ("not_ip", frames(|_| ethernet(&[8, 6], &[0; 46]))),
    ];
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(u64::from(FRAMES)));
    for (name, frames) in &cases {
        let mut decoder = Decoder::new(DecoderConfig::default());
        group.bench_function(*name, |b| {
            b.iter(|| {
                for (desc, frame) in frames {
                    black_box(&decoder.decode(black_box(desc), frame));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
