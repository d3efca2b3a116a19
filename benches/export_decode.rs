//! What a record costs to decode, by export format: ours, and `netflow_parser` on the same bytes.

#![allow(clippy::unwrap_used, missing_docs, reason = "benches")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use collector::decode::{Decoder, DecoderConfig};
use collector::ingest::{CollectedFlow, Exporters, Limits};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use netflow_parser::NetflowParser;
use shared::model::Timestamp;

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
const NOW: u32 = 1_700_000_000;

/// Fifteen fields, as routers send by default, with their lengths.
const FIELDS: [(u16, u16); 15] = [
    (8, 4),
    (12, 4),
    (15, 4),
    (10, 2),
    (14, 2),
    (2, 4),
    (1, 4),
    (22, 4),
    (21, 4),
    (7, 2),
    (11, 2),
    (6, 1),
    (4, 1),
    (16, 2),
    (17, 2),
];

const RECORDS: u32 = 24;

fn be16(out: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| out.extend(number.to_be_bytes()));
}

fn be32(out: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| out.extend(number.to_be_bytes()));
}

fn v5() -> Vec<u8> {
    let mut out = Vec::new();
    be16(&mut out, &[5, RECORDS as u16]);
    be32(&mut out, &[100_000, NOW, 0, 0, 0]);
    for number in 0..RECORDS {
        be32(&mut out, &[0x0a00_0000 + number, 0x0a01_0000 + number, 0x0a02_0001, 0x0001_0002]);
        be32(&mut out, &[10, 1500, 90_000, 99_000, 0x9c40_01bb, 0x0018_0600, 0, 0]);
    }
    out
}

/// A datagram with the template and one with data.
fn templated(version: u16) -> [Vec<u8>; 2] {
    let header = |out: &mut Vec<u8>, sequence: u32| match version {
        9 => {
            be16(out, &[9, 1]);
            be32(out, &[100_000, NOW, sequence, 1]);
        }
        _ => {
            be16(out, &[10, 0]);
            be32(out, &[NOW, 0, 1]);
        }
    };
    let done = |mut out: Vec<u8>| {
        if version == 10 {
            let length = (out.len() as u16).to_be_bytes();
            out[2..4].copy_from_slice(&length);
        }
        out
    };
    let mut template = Vec::new();
    header(&mut template, 0);
    be16(&mut template, &[if version == 9 { 0 } else { 2 }, 8 + 60, 256, 15]);
    FIELDS.iter().for_each(|(number, length)| be16(&mut template, &[*number, *length]));
    let mut data = Vec::new();
    header(&mut data, 1);
    let record: u16 = FIELDS.iter().map(|(_, length)| length).sum();
    be16(&mut data, &[256, 4 + record * RECORDS as u16]);
    for number in 0..RECORDS {
        be32(&mut data, &[0x0a00_0000 + number, 0x0a01_0000 + number, 0x0a02_0001]);
        be16(&mut data, &[1, 2]);
        be32(&mut data, &[10, 1500, 90_000, 99_000]);
        be16(&mut data, &[40_000, 443]);
        data.extend([0x18, 6]);
        be16(&mut data, &[64_512, 64_513]);
    }
    [done(template), done(data)]
}

fn exporters() -> Exporters {
    Exporters::new(Limits::default(), Decoder::new(DecoderConfig::default()))
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("export");
    group.throughput(Throughput::Elements(RECORDS.into()));
    let now = Timestamp::from_secs(NOW.into());
    for (name, setup, data) in [
        ("v5", Vec::new(), v5()),
        ("v9", templated(9)[0].clone(), templated(9)[1].clone()),
        ("ipfix", templated(10)[0].clone(), templated(10)[1].clone()),
    ] {
        let mut ours = exporters();
        let mut flows: Vec<CollectedFlow> = Vec::new();
        let _ = ours.datagram(FROM, now, &setup, &mut flows);
        ours.datagram(FROM, now, &data, &mut flows).unwrap();
        assert_eq!(flows.len(), RECORDS as usize);
        group.bench_function(format!("{name} ours"), |b| {
            b.iter(|| {
                flows.clear();
                ours.datagram(FROM, now, black_box(&data), &mut flows).unwrap();
                black_box(flows.len())
            });
        });
        let mut theirs = NetflowParser::default();
        let _ = theirs.parse_bytes(&setup);
        group.bench_function(format!("{name} netflow_parser"), |b| {
            b.iter(|| black_box(theirs.parse_bytes(black_box(&data))));
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
