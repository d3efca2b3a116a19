//! What the packet path asks of the allocator: nothing per packet, and little per flow.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test")]
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use collector::CollectorConfig;
use collector::capture::{Batch, LinkType};
use collector::decode::{Decoder, DecoderConfig, Packet};
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
    })
}

/// Ethernet, IPv4 and TCP headers around a payload.
fn tcp_frame(flow: u32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let length = 40 + payload.len() as u16;
    frame.extend([0x45, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 192, 0, 2, 1]);
    frame.extend((flow as u16 + 1024).to_be_bytes());
    frame.extend([0x9c, 0x40]);
    frame.extend(sequence.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0x50, 0x10, 16, 0, 0, 0, 0, 0]);
    frame.extend(payload);
    frame
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
    packets_of_known_flows_allocate_nothing();
    a_live_flow_takes_at_most(256, |n| Ipv4Addr::from(0x0a00_0000 + n).into());
    a_live_flow_takes_at_most(320, |n| Ipv6Addr::from((0x2001_0db8 << 96) + u128::from(n)).into());
}

fn packets_of_known_flows_allocate_nothing() {
    let flows = 1000;
    let mut pipeline = pipeline(10_000);
    let (mut batch, mut out) = (Batch::default(), Vec::new());
    let mut round = |number: u32, out: &mut Vec<_>| {
        for flow in 0..flows {
            if flow % 256 == 0 {
                batch.clear();
            }
            let at = Timestamp::from_ns(START + i64::from(number) * 1_000_000 + i64::from(flow));
            let frame = tcp_frame(flow, 1 + number * 100, &[0xaa; 100]);
            batch.push(at, LinkType::ETHERNET, 0, frame.len() as u32, &frame);
            if flow % 256 == 255 || flow + 1 == flows {
                let before = CALLS.load(Ordering::Relaxed);
                pipeline.packets(&batch, &mut || None, out);
                TAKEN.fetch_add(CALLS.load(Ordering::Relaxed) - before, Ordering::Relaxed);
            }
        }
    };
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    // Until detection has given up on all of them.
    (0..20).for_each(|number| round(number, &mut out));
    TAKEN.store(0, Ordering::Relaxed);
    (20..120).for_each(|number| round(number, &mut out));
    assert_eq!(TAKEN.load(Ordering::Relaxed), 0, "allocations for {} packets", flows * 100);
}

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
