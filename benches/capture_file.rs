//! What reading a packet from a capture file costs: by format, by compression, from several files,
//! and beside libpcap.

#![allow(clippy::unwrap_used, missing_docs, reason = "benches")]

use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};

use collector::capture::{Batch, SourceState, files};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PACKETS: u32 = 200_000;

/// Sizes as in the middle of a network: mostly small or full.
const SIZES: [usize; 8] = [60, 1514, 66, 66, 1514, 120, 300, 66];

/// Frames with headers that differ a little and payloads that compress to about a half.
fn frame(number: u32, random: &mut u64) -> Vec<u8> {
    let size = SIZES[(number % 8) as usize];
    let mut frame = vec![0x45; size];
    frame[30..34].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
    for byte in frame.iter_mut().skip(54).step_by(2) {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (*random >> 56) as u8;
    }
    frame
}

/// Every `step`th packet from `first` on, a microsecond apart.
fn classic(first: u32, step: usize) -> Vec<u8> {
    let mut random = 1;
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for number in 0..PACKETS {
        let frame = frame(number, &mut random);
        if number >= first && (number - first).is_multiple_of(step as u32) {
            let size = frame.len() as u32;
            [1_700_000_000, number, size, size].iter().for_each(|n: &u32| file.extend(n.to_le_bytes()));
            file.extend(frame);
        }
    }
    file
}

fn pcapng() -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let length = (body.len().next_multiple_of(4) as u32 + 12).to_le_bytes();
        let mut block = [&kind.to_le_bytes()[..], &length, body].concat();
        block.resize(block.len().next_multiple_of(4), 0);
        block.extend(length);
        block
    };
    let mut file = block(
        0x0a0d_0d0a,
        &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &u64::MAX.to_le_bytes()].concat(),
    );
    file.extend(block(1, &[1, 0, 0, 0, 0, 0, 4, 0]));
    let mut random = 1;
    for number in 0..PACKETS {
        let frame = frame(number, &mut random);
        let ticks = 1_700_000_000_000_000_u64 + u64::from(number);
        let size = frame.len() as u32;
        let fields = [0, (ticks >> 32) as u32, ticks as u32, size, size];
        let mut body: Vec<u8> = fields.iter().flat_map(|n| n.to_le_bytes()).collect();
        body.extend(frame);
        file.extend(block(6, &body));
    }
    file
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Reads to the end and looks at a byte of every packet, as the decoder would.
fn read(paths: &[PathBuf]) {
    let mut source = files::open(paths).unwrap();
    let (mut batch, mut packets, mut sum) = (Batch::default(), 0, 0_u64);
    loop {
        let state = source.next_batch(&mut batch).unwrap();
        packets += batch.len();
        sum += batch.iter().map(|(_, bytes)| u64::from(bytes[12])).sum::<u64>();
        if state == SourceState::End {
            break;
        }
    }
    assert_eq!(black_box((packets, sum)).0, PACKETS as usize);
}

fn read_with_libpcap(path: &Path) {
    let mut capture = pcap::Capture::from_file(path).unwrap();
    let (mut packets, mut sum) = (0, 0_u64);
    while let Ok(packet) = capture.next_packet() {
        packets += 1;
        sum += u64::from(packet.data[12]);
    }
    assert_eq!(black_box((packets, sum)).0, PACKETS);
}

fn capture_file(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let plain = classic(0, 1);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let part = |name: &str, first, step| write(dir.path(), name, &classic(first, step));
    let pcap = write(dir.path(), "a.pcap", &plain);
    let pcapng = write(dir.path(), "a.pcapng", &pcapng());
    let cases = [
        ("pcap", vec![pcap.clone()]),
        ("pcapng", vec![pcapng.clone()]),
        ("pcap.gz", vec![write(dir.path(), "a.gz", &gzip.finish().unwrap())]),
        ("pcap.zst", vec![write(dir.path(), "a.zst", &zstd::encode_all(&plain[..], 3).unwrap())]),
        ("two pcaps interleaved", vec![part("even", 0, 2), part("odd", 1, 2)]),
    ];
    let mut group = criterion.benchmark_group("capture_file");
    group.throughput(Throughput::Elements(u64::from(PACKETS))).sample_size(20);
    for (name, paths) in &cases {
        group.bench_function(*name, |bencher| bencher.iter(|| read(paths)));
    }
    group.bench_function("pcap, libpcap", |bencher| bencher.iter(|| read_with_libpcap(&pcap)));
    group.bench_function("pcapng, libpcap", |bencher| bencher.iter(|| read_with_libpcap(&pcapng)));
    group.finish();
}

criterion_group!(benches, capture_file);
criterion_main!(benches);
