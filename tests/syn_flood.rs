//! A flood of spoofed connection requests: the table keeps to its cap, and to its conversations.

use std::sync::Arc;

use collector::CollectorConfig;
use collector::capture::{Batch, LinkType};
use collector::decode::{Decoder, DecoderConfig};
use collector::flow::FlowTable;
use collector::flow_alert::Place;
use collector::hooks::HookRunner;
use collector::pipeline::{Item, Pipeline, PipelineParts};
use shared::model::flow::{TCP_ACK, TCP_FIN, TCP_SYN};
use shared::model::{FlowEnd, LocalNetworks, Timestamp};
use shared::script::registry::ScriptSetup;

const SERVER: [u8; 4] = [192, 0, 2, 80];
const CONVERSATIONS: u32 = 300;
const SYNS: u32 = 300_000;
const MAX_FLOWS: usize = 50_000;
/// 100,000 a second.
const SYN_EVERY_NS: i64 = 10_000;

/// A TCP segment without payload in its frame, from `client` to the server's port 80 or back.
fn segment(client: [u8; 4], port: u16, from_client: bool, flags: u8, seq: u32) -> [u8; 54] {
    let mut frame = [0; 54];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
    frame[14..26].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
    let (client, server) = ((client, port), (SERVER, 80_u16));
    let (from, to) = if from_client { (client, server) } else { (server, client) };
    frame[26..30].copy_from_slice(&from.0);
    frame[30..34].copy_from_slice(&to.0);
    frame[34..36].copy_from_slice(&from.1.to_be_bytes());
    frame[36..38].copy_from_slice(&to.1.to_be_bytes());
    frame[38..42].copy_from_slice(&seq.to_be_bytes());
    frame[46..50].copy_from_slice(&[0x50, flags, 0xff, 0xff]);
    frame
}

fn address(number: u32) -> [u8; 4] {
    (u32::from_be_bytes([198, 51, 100, 1]) + number).to_be_bytes()
}

/// A pipeline, what it was fed and what came out.
struct Wire {
    pipeline: Pipeline,
    batch: Batch,
    at: Timestamp,
    evictions_told: u64,
    ends: Vec<(bool, FlowEnd, u64)>,
}

impl Wire {
    fn new() -> Self {
        let config = CollectorConfig { max_flows: MAX_FLOWS, ..CollectorConfig::default() };
        let (hooks, _, _) = HookRunner::load(&ScriptSetup::default(), 120, Timestamp::ZERO);
        let pipeline = Pipeline::new(PipelineParts {
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
        });
        let at = Timestamp::from_secs(1_700_000_000);
        Self { pipeline, batch: Batch::default(), at, evictions_told: 0, ends: Vec::new() }
    }

    fn send(&mut self, frame: &[u8]) {
        self.at = self.at.plus_ns(SYN_EVERY_NS);
        self.batch.push(self.at, LinkType::ETHERNET, 0, frame.len() as u32, frame);
        if self.batch.len() == 256 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mut items = Vec::new();
        self.pipeline.packets(&self.batch, &mut || None, &mut items);
        self.batch.clear();
        assert!(self.pipeline.live() <= MAX_FLOWS, "the cap is kept");
        self.take(items);
    }

    fn take(&mut self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Delta(delta) => self.evictions_told += delta.interface.counters.flows_evicted,
                Item::Flows(batch) => {
                    for flow in batch.read().unwrap().flows {
                        let spoofed = !flow.client.ip.to_string().starts_with("198.51.");
                        let packets = flow.cli2srv.packets + flow.srv2cli.packets;
                        self.ends.push((spoofed, flow.end.unwrap(), packets));
                    }
                }
                _ => {}
            }
        }
    }

    fn finish(&mut self) {
        self.flush();
        let mut items = Vec::new();
        let mut rest = Vec::new();
        let mut keep = |out: &mut Vec<Item>| rest.append(out);
        self.pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut items, &mut keep);
        items.append(&mut rest);
        self.take(items);
    }
}

#[test]
fn a_syn_flood_stays_inside_the_cap_and_leaves_conversations_alone() {
    let mut wire = Wire::new();
    let say = |wire: &mut Wire, number: u32, from_client, flags, seq| {
        let port = 40_000 + number as u16;
        wire.send(&segment(address(number), port, from_client, flags, seq));
    };
    for (from_client, flags) in [(true, TCP_SYN), (false, TCP_SYN | TCP_ACK), (true, TCP_ACK)] {
        (0..CONVERSATIONS)
            .for_each(|number| say(&mut wire, number, from_client, flags, u32::from(flags == TCP_ACK)));
    }
    for number in 0..SYNS {
        let mixed = u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let source = ((mixed >> 33) as u32 & 0x7fff_ffff).to_be_bytes();
        let port = 1024 + (mixed >> 20) as u16 % 60_000;
        wire.send(&segment(source, port, true, TCP_SYN, mixed as u32));
        if number % 10 == 0 {
            // Some ask twice: still nobody answers.
            wire.send(&segment(source, port, true, TCP_SYN, mixed as u32));
        }
    }
    for from_client in [true, false] {
        (0..CONVERSATIONS).for_each(|number| say(&mut wire, number, from_client, TCP_FIN | TCP_ACK, 1));
    }
    wire.finish();

    let conversations: Vec<_> = wire.ends.iter().filter(|(spoofed, ..)| !spoofed).collect();
    assert_eq!(conversations.len(), CONVERSATIONS as usize);
    assert!(conversations.iter().all(|(_, reason, packets)| *reason != FlowEnd::Evicted && *packets == 5));
    let evicted = wire.ends.iter().filter(|(_, reason, _)| *reason == FlowEnd::Evicted).count();
    assert_eq!(evicted, wire.ends.len() - MAX_FLOWS, "what was evicted was exported");
    assert_eq!(wire.evictions_told, evicted as u64, "and counted");
    assert!(
        wire.ends.len() >= (SYNS + CONVERSATIONS) as usize,
        "every request is a flow: {}",
        wire.ends.len()
    );
    assert_eq!(wire.pipeline.report().packets, u64::from(SYNS + SYNS / 10 + 5 * CONVERSATIONS));
}
