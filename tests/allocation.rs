//! What the packet path asks of the allocator: nothing per packet, and little per flow.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test")]
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use collector::CollectorConfig;
use collector::capture::{Batch, LinkType, SourceState};
use collector::decode::{Decoder, DecoderConfig, Packet, TcpHeader};
use collector::flow::table::Settle;
use collector::flow::{Flow, FlowTable, Growth};
use collector::flow_alert::Place;
use collector::hooks::HookRunner;
use collector::pipeline::{Pipeline, PipelineParts};
use shared::model::pool::Mac;
use shared::model::{L4, LocalNetworks, Timestamp};
use shared::script::registry::ScriptSetup;

/// The system's allocator, counting.
struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_700_000_000 * SECOND;

fn pipeline(max_flows: usize) -> Pipeline {
    let config = CollectorConfig { max_flows, ..CollectorConfig::default() };
    let (hooks, errors, _) = HookRunner::load(&ScriptSetup::default(), 120, Timestamp::ZERO);
    assert!(errors.is_empty());
    Pipeline::new(PipelineParts {
        place: Place { site: "s".into(), node: "n".into(), ifid: 0, interface: "i".into() },
        epoch: 0,
        networks: Arc::new(LocalNetworks::default()),
        decoder: Decoder::new(DecoderConfig::default()),
        feed: None,
        table: FlowTable::new(config.table(120, 1)),
        hooks,
        summary_interval_s: 1,
        summaries: true,
        alerts: true,
    })
}

/// One end of a conversation: the last number of its address, and its port.
type End = (u8, u16);

/// Ethernet and IPv4 headers around what `l4` says is inside.
fn ip_frame(from: End, to: End, l4: u8, inside: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend((20 + inside.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, l4, 0, 0, 10, 0, 0, from.0, 10, 0, 0, to.0]);
    frame.extend(inside);
    frame
}

fn tcp_frame(from: End, to: End, flags: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::from(from.1.to_be_bytes());
    segment.extend(to.1.to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0x50, flags, 16, 0, 0, 0, 0, 0]);
    segment.extend(payload);
    ip_frame(from, to, 6, &segment)
}

fn udp_frame(from: End, to: End, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::from(from.1.to_be_bytes());
    datagram.extend(to.1.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    ip_frame(from, to, 17, &datagram)
}

/// The frame with a VLAN tag.
fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat()
}

/// The frame in a VXLAN tunnel.
fn tunnelled(frame: &[u8]) -> Vec<u8> {
    udp_frame((8, 50_000), (9, 4789), &[&[8, 0, 0, 0, 0, 0, 5, 0], frame].concat())
}

/// Whoever counts, it is not the table's memory.
struct Nobody;

impl Settle for Nobody {
    fn soon(&self, _: &Flow) {}
    fn next(&self, _: &Flow) {}
    fn settled(&mut self, _: &Flow, _: [Option<Mac>; 2], _: &Growth) {}
}

/// Tests share one allocator and therefore run one after the other.
#[test]
fn memory() {
    packets_of_known_flows_allocate_nothing("TCP", |flow, round| {
        tcp_frame((1, 1024 + flow), (2, 40_000), ACK, 1 + round * 100, &[0xaa; 100])
    });
    packets_of_known_flows_allocate_nothing("a VLAN", |flow, round| {
        tagged(&tcp_frame((1, 1024 + flow), (2, 40_000), ACK, 1 + round * 100, &[0xaa; 100]))
    });
    packets_of_known_flows_allocate_nothing("a tunnel", |flow, _| {
        tunnelled(&udp_frame((1, 1024 + flow), (2, 40_000), &[0xaa; 100]))
    });
    packets_of_known_flows_allocate_nothing("DNS", dns);
    packets_of_known_flows_allocate_nothing("FTP", ftp);
    packets_of_a_file_allocate_nothing();
    half_sent_heads_stay_bounded();
    a_syn_flood_stays_bounded();
    a_live_flow_takes_at_most(256, |n| Ipv4Addr::from(0x0a00_0000 + n).into());
    a_live_flow_takes_at_most(320, |n| Ipv6Addr::from((0x2001_0db8 << 96) + u128::from(n)).into());
}

const SYN: u8 = 2;
const ACK: u8 = 16;

/// The same question and its answer in turn.
fn dns(flow: u16, round: u32) -> Vec<u8> {
    let (client, server) = ((1, 1024 + flow), (2, 53));
    let question = b"\x03www\x15a-rather-long-example\x04test\0\0\x01\0\x01";
    let [high, low] = (round as u16 / 2).to_be_bytes();
    if round.is_multiple_of(2) {
        let head = [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        return udp_frame(client, server, &[&head[..], question].concat());
    }
    let head = [high, low, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 192, 0, 2, 9];
    udp_frame(server, client, &[&head[..], question, &answer].concat())
}

/// Commands and their answers in turn.
fn ftp(flow: u16, round: u32) -> Vec<u8> {
    let (client, server) = ((1, 1024 + flow), (2, 21));
    match round {
        0 => tcp_frame(server, client, ACK, 1, b"220 FTP server ready\r\n"),
        _ if round.is_multiple_of(2) => tcp_frame(server, client, ACK, 23 + (round - 2) * 4, b"200 ok\r\n"),
        _ => tcp_frame(client, server, ACK, 1 + (round - 1) * 3, b"NOOP\r\n"),
    }
}

fn packets_of_known_flows_allocate_nothing(what: &str, frame: impl Fn(u16, u32) -> Vec<u8>) {
    let flows = 1000;
    let mut pipeline = pipeline(10_000);
    let (mut batch, mut out, mut taken) = (Batch::default(), Vec::new(), 0);
    for round in 0..120 {
        if round == 20 {
            // Detection has come to an end, or knows all names.
            taken = 0;
        }
        for flow in 0..flows {
            let at = Timestamp::from_ns(START + i64::from(round) * 1_000_000 + i64::from(flow));
            let frame = frame(flow, round);
            batch.push(at, LinkType::ETHERNET, 0, frame.len() as u32, &frame);
            if flow % 256 == 255 || flow + 1 == flows {
                let before = CALLS.load(Ordering::Relaxed);
                pipeline.packets(&batch, &mut || None, &mut out);
                taken += CALLS.load(Ordering::Relaxed) - before;
                batch.clear();
            }
        }
    }
    assert_eq!(pipeline.live(), usize::from(flows), "{what}");
    assert_eq!(taken, 0, "allocations for {} packets of {what}", u32::from(flows) * 100);
}

fn packets_of_a_file_allocate_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("known.pcap");
    // Little-endian, nanoseconds, Ethernet.
    let mut file = vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for packet in 0..200_000_u32 {
        let frame = udp_frame((1, 1024 + (packet % 100) as u16), (2, 40_000), &[0xaa; 100]);
        file.extend((START / SECOND).to_le_bytes()[..4].iter());
        file.extend((packet * 1000).to_le_bytes());
        file.extend([(frame.len() as u32).to_le_bytes(); 2].concat());
        file.extend(frame);
    }
    std::fs::write(&path, file).unwrap();
    let mut pipeline = pipeline(1000);
    let mut source = collector::capture::file::open(&path).unwrap();
    let (mut batch, mut out, mut taken) = (Batch::default(), Vec::new(), 0);
    loop {
        batch.clear();
        let before = CALLS.load(Ordering::Relaxed);
        let state = source.next_batch(&mut batch).unwrap();
        pipeline.packets(&batch, &mut || None, &mut out);
        if pipeline.report().packets > 20_000 {
            taken += CALLS.load(Ordering::Relaxed) - before;
        }
        if state == SourceState::End {
            break;
        }
    }
    assert_eq!(pipeline.report().packets, 200_000);
    assert_eq!(taken, 0, "allocations while a file of known flows is read");
}

fn mib(bytes: i64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Clients that each send the most of a request's head that is waited for, and never its end.
fn half_sent_heads_stay_bounded() {
    let flows = 20_000_u16;
    drop(FlowTable::new(small(1)));
    let before = BYTES.load(Ordering::Relaxed);
    let used = || BYTES.load(Ordering::Relaxed) - before;
    let mut table = FlowTable::new(small(usize::from(flows)));
    let (mut events, mut peak) = (Vec::new(), 0);
    let at = Timestamp::from_ns(START);
    let mut head = b"GET / HTTP/1.1\r\nHost: example.com\r\nCookie: ".to_vec();
    head.resize(1400, b'x');
    let middle = [b'x'; 1400];
    let segment = |flow: u16, part: u32, payload: &'static [u8]| {
        let (client, server) = (Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(192, 0, 2, 1).into());
        let mut packet = Packet::new(at, 1454, client, server, L4::TCP);
        (packet.src_port, packet.dst_port) = (1024 + flow, 80);
        (packet.payload, packet.payload_len) = (payload, payload.len() as u32);
        packet.tcp = Some(TcpHeader { seq: 1 + part * 1400, ack: 1, flags: ACK, window: 100 });
        packet
    };
    let (head, middle): (&'static [u8], &'static [u8]) = (head.leak(), middle.to_vec().leak());
    let leaked = 2 * 1400;
    for part in 0..11 {
        for flow in 0..flows {
            let payload = if part == 0 { head } else { middle };
            table.on_packet(&segment(flow, part, payload), &mut events);
            events.clear();
            peak = peak.max(used());
        }
    }
    assert!(table.detection_refused() > 0, "308 MB were sent");
    // What is waited for, and for each flow its place, what is known of it and detection's memory.
    let limit = (32 << 20) + i64::from(flows) * 1536;
    assert!(peak - leaked < limit, "{:.1} MiB of {:.1}", mib(peak), mib(limit));
    while table.advance(at.plus_secs(1000), &mut events) {
        events.clear();
    }
    events.clear();
    assert_eq!(table.len(), 0);
    let limit = (16 << 20) + i64::from(flows) * 768;
    assert!(used() - leaked < limit, "{:.1} MiB of {:.1} are kept", mib(used()), mib(limit));
    // And there is room again for others.
    for (part, payload) in [&b"GET / HTTP/1.1\r\nHost: exam"[..], b"ple.org\r\n\r\n"].into_iter().enumerate()
    {
        let mut packet = segment(7, 0, payload);
        packet.ts = at.plus_secs(1001);
        packet.tcp = Some(TcpHeader { seq: 1 + 26 * part as u32, ack: 1, flags: ACK, window: 100 });
        table.on_packet(&packet, &mut events);
    }
    assert_eq!(table.iter()[0].server_name(), Some("example.org"));
}

/// 300,000 spoofed connection requests, 100,000 a second, six times as many as there is room for.
fn a_syn_flood_stays_bounded() {
    let max_flows = 50_000;
    drop(pipeline(1));
    let before = BYTES.load(Ordering::Relaxed);
    let mut pipeline = pipeline(max_flows);
    let (mut batch, mut out, mut peak) = (Batch::default(), Vec::new(), 0);
    for number in 0..300_000_u32 {
        let at = Timestamp::from_ns(START + i64::from(number) * 10_000);
        let mut frame = tcp_frame((0, 1024 + (number % 60_000) as u16), (2, 80), SYN, number, b"");
        frame[26..30].copy_from_slice(&(number.wrapping_mul(0x9e37_79b1) | 1).to_be_bytes());
        batch.push(at, LinkType::ETHERNET, 0, frame.len() as u32, &frame);
        if batch.len() == 256 {
            pipeline.packets(&batch, &mut || None, &mut out);
            batch.clear();
            peak = peak.max(BYTES.load(Ordering::Relaxed) - before);
            // Whoever takes them is no part of this.
            out.clear();
        }
    }
    assert!(pipeline.live() <= max_flows);
    // The table, and what a second's summary takes of as many hosts and touched flows.
    let limit = max_flows as i64 * 256 + SYN_FLOOD_SECOND;
    assert!(peak < limit, "{:.1} MiB of {:.1}", mib(peak), mib(limit));
}

/// What 100,000 new hosts and flows take until their second's summary is closed.
const SYN_FLOOD_SECOND: i64 = 96 << 20;

fn a_live_flow_takes_at_most(limit: i64, address: impl Fn(u32) -> IpAddr) {
    // A little more than fits into one size of the index: its worst case.
    let flows: u32 = 200_000;
    // What is made once in a process is no flow's.
    drop(FlowTable::new(small(1)));
    let before = BYTES.load(Ordering::Relaxed);
    let mut table = FlowTable::new(small(flows as usize));
    let (mut events, server) = (Vec::new(), address(0x00ff_ffff));
    for number in 0..flows {
        let at = Timestamp::from_ns(START + i64::from(number) * SECOND / 20_000);
        while table.advance(at, &mut events) {}
        events.clear();
        if number % 2000 == 0 {
            table.settle(&mut Nobody);
        }
        let mut packet = Packet::new(at, 100, address(number), server, L4::UDP);
        (packet.src_port, packet.dst_port) = (40_000, 9999);
        (packet.payload, packet.payload_len) = (&[0xee; 40], 40);
        // Enough for detection to give up, so that it takes its memory back.
        for _ in 0..12 {
            table.on_packet(&packet, &mut events);
        }
        events.clear();
    }
    assert_eq!(table.len(), flows as usize);
    let each = (BYTES.load(Ordering::Relaxed) - before) / i64::from(flows);
    assert!(each <= limit, "{each} bytes a flow, {limit} allowed");
}

fn small(max_flows: usize) -> collector::flow::TableConfig {
    CollectorConfig { max_flows, ..CollectorConfig::default() }.table(0, 1)
}
