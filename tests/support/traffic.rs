//! Conversations made by hand, and the collector's whole core to show them to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use collector::CollectorConfig;
use collector::capture::{Batch, LinkType, SourceState, file};
use collector::decode::{Decoder, DecoderConfig};
use collector::flow::FlowTable;
use collector::flow_alert::Place;
use collector::hooks::HookRunner;
use collector::pipeline::{Item, Pipeline, PipelineParts};
use shared::model::flow::{TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN};
use shared::model::{Alert, FlowEnd, LocalNetworks, Timestamp};
use shared::script::lists::Lists;
use shared::script::registry::{ScriptSettings, ScriptSetup};
use shared::script::source::builtin;
use shared::wire::delta::Delta;

const CLIENT: ([u8; 4], u16) = ([192, 168, 1, 10], 50_000);
const SERVER: [u8; 4] = [203, 0, 113, 5];

/// When everything begins: a whole minute.
pub const START: Timestamp = Timestamp::from_secs(1_700_000_040);

/// A pipeline with every built-in script on, and what it was told.
pub struct Wire {
    pipeline: Pipeline,
    at: Timestamp,
    alerts: Vec<Alert>,
    summaries: Vec<Delta>,
}

impl Wire {
    /// A wire on which nothing was seen yet. Local networks are the private ones.
    pub fn new() -> Self {
        Self::with(&BTreeMap::new(), Lists::default())
    }

    /// One whose scripts have these configurations and lists.
    pub fn with(configs: &BTreeMap<&str, serde_json::Value>, lists: Lists) -> Self {
        let on = |name: &str| ScriptSettings {
            enabled: Some(true),
            config: configs.get(name).cloned(),
            ..ScriptSettings::default()
        };
        let sources = builtin();
        let settings: BTreeMap<_, _> =
            sources.iter().map(|source| (source.name.clone(), on(&source.name))).collect();
        let setup = ScriptSetup { sources, settings, lists, ..ScriptSetup::default() };
        let (hooks, errors, _) = HookRunner::load(&setup, 120, Timestamp::ZERO);
        assert!(errors.is_empty(), "{errors:?}");
        let networks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(|net| net.parse().unwrap());
        let pipeline = Pipeline::new(PipelineParts {
            place: Place { site: "s".into(), node: "n".into(), ifid: 0, interface: "i".into() },
            epoch: 0,
            networks: Arc::new(LocalNetworks::new(networks)),
            decoder: Decoder::new(DecoderConfig::default()),
            feed: None,
            table: FlowTable::new(CollectorConfig::default().table(hooks.periodic_s(), 1)),
            hooks,
            summary_interval_s: 1,
            summaries: true,
        });
        Self { pipeline, at: START, alerts: Vec::new(), summaries: Vec::new() }
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: i64) {
        self.at = self.at.plus_secs(seconds);
    }

    /// A UDP conversation: who speaks, and what.
    pub fn udp(&mut self, port: u16, said: &[(bool, &[u8])]) {
        for (from_client, payload) in said {
            let mut datagram = ports(port, *from_client);
            datagram.extend((8 + payload.len() as u16).to_be_bytes());
            datagram.extend([0, 0]);
            datagram.extend(*payload);
            self.ip(17, *from_client, SERVER, &datagram);
        }
    }

    /// A TCP conversation from handshake to goodbye, or to a reset by the server.
    pub fn tcp(&mut self, port: u16, said: &[(bool, &[u8])], reset: bool) {
        let mut numbers = [1000_u32, 2000];
        self.segment(port, true, TCP_SYN, &mut numbers, &[]);
        self.segment(port, false, TCP_SYN | TCP_ACK, &mut numbers, &[]);
        self.segment(port, true, TCP_ACK, &mut numbers, &[]);
        for (from_client, payload) in said {
            for piece in payload.chunks(1400) {
                self.segment(port, *from_client, TCP_ACK | TCP_PSH, &mut numbers, piece);
            }
        }
        if reset {
            return self.segment(port, false, TCP_RST | TCP_ACK, &mut numbers, &[]);
        }
        self.segment(port, true, TCP_ACK | TCP_FIN, &mut numbers, &[]);
        self.segment(port, false, TCP_ACK | TCP_FIN, &mut numbers, &[]);
        self.segment(port, true, TCP_ACK, &mut numbers, &[]);
    }

    fn segment(&mut self, port: u16, from_client: bool, flags: u8, numbers: &mut [u32; 2], payload: &[u8]) {
        let (own, other) = (usize::from(!from_client), usize::from(from_client));
        let mut segment = ports(port, from_client);
        segment.extend(numbers[own].to_be_bytes());
        segment.extend(if flags & TCP_ACK == 0 { [0; 4] } else { numbers[other].to_be_bytes() });
        segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(payload);
        let flags = u32::from(flags & (TCP_SYN | TCP_FIN) != 0);
        numbers[own] = numbers[own].wrapping_add(payload.len() as u32 + flags);
        self.ip(6, from_client, SERVER, &segment);
    }

    /// A TCP segment without payload, from the client's `source` port or to it.
    pub fn flags(&mut self, flags: u8, from_client: bool, server: [u8; 4], source: u16, port: u16) {
        let (from, to) = if from_client { (source, port) } else { (port, source) };
        let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
        segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        self.ip(6, from_client, server, &segment);
    }

    /// One UDP datagram from the client's `source` port, or to it.
    pub fn datagram(&mut self, from_client: bool, server: [u8; 4], source: u16, port: u16, payload: &[u8]) {
        let (from, to) = if from_client { (source, port) } else { (port, source) };
        let mut datagram = [from.to_be_bytes(), to.to_be_bytes()].concat();
        datagram.extend((8 + payload.len() as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        self.ip(17, from_client, server, &datagram);
    }

    /// One IP packet between client and `server`.
    pub fn ip(&mut self, protocol: u8, from_client: bool, server: [u8; 4], payload: &[u8]) {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
        frame.extend((20 + payload.len() as u16).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
        let (from, to) = if from_client { (CLIENT.0, server) } else { (server, CLIENT.0) };
        frame.extend(from);
        frame.extend(to);
        frame.extend(payload);
        self.at = self.at.plus_ns(1_000_000);
        let mut batch = Batch::default();
        batch.push(self.at, LinkType::ETHERNET, 0, frame.len() as u32, &frame);
        self.show(&batch);
    }

    /// Everything in a capture.
    pub fn capture(&mut self, path: &Path) {
        let (mut source, mut batch) = (file::open(path).unwrap(), Batch::default());
        while source.next_batch(&mut batch).unwrap() != SourceState::End {
            self.show(&batch);
        }
        self.show(&batch);
    }

    fn show(&mut self, batch: &Batch) {
        let mut items = Vec::new();
        self.pipeline.packets(batch, &mut || None, &mut items);
        keep((&mut self.alerts, &mut self.summaries), &mut items);
    }

    /// The alerts of all that was shown, after every flow has ended.
    pub fn alerts(self) -> Vec<Alert> {
        self.end().0
    }

    /// The summaries of all that was shown, after every flow has ended.
    pub fn summaries(self) -> Vec<Delta> {
        self.end().1
    }

    fn end(mut self) -> (Vec<Alert>, Vec<Delta>) {
        let (mut items, kept) = (Vec::new(), (&mut self.alerts, &mut self.summaries));
        let (alerts, summaries) = kept;
        let mut take = |items: &mut Vec<Item>| keep((&mut *alerts, &mut *summaries), items);
        self.pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut items, &mut take);
        (self.alerts, self.summaries)
    }
}

fn keep((alerts, summaries): (&mut Vec<Alert>, &mut Vec<Delta>), items: &mut Vec<Item>) {
    for item in items.drain(..) {
        match item {
            Item::Alert(alert) => alerts.push(*alert),
            Item::Delta(delta) => summaries.push(*delta),
            _ => {}
        }
    }
}

fn ports(server: u16, from_client: bool) -> Vec<u8> {
    let (from, to) = if from_client { (CLIENT.1, server) } else { (server, CLIENT.1) };
    [from.to_be_bytes(), to.to_be_bytes()].concat()
}
