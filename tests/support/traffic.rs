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
use collector::ingest::feed::{Feed, FeedConfig};
use collector::pipeline::{Item, Pipeline, PipelineParts};
use collector::report::Drops;
use shared::geo::GeoBases;
use shared::model::flow::{TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN};
use shared::model::{Alert, FlowEnd, LocalNetworks, Timestamp};
use shared::script::lists::Lists;
use shared::script::registry::{ScriptSettings, ScriptSetup};
use shared::script::source::{Origin, ScriptSource, builtin};
use shared::wire::delta::Delta;

/// When everything begins: a whole minute.
pub const START: Timestamp = Timestamp::from_secs(1_700_000_040);

/// Which scripts look at a wire, and what they look things up in.
#[derive(Default)]
pub struct Watching {
    /// The only one that is on; all when absent.
    pub only: Option<String>,
    /// A script that is on beside it: its name, and its text when it is not built in.
    pub beside: Option<(String, Option<String>)>,
    /// Configurations of those that are not to have their own.
    pub configs: BTreeMap<String, serde_json::Value>,
    /// Lists.
    pub lists: Lists,
    /// Where addresses are.
    pub geo: GeoBases,
    /// The wire carries export datagrams to be collected.
    pub collects: bool,
    /// Live flows at most, where it is not the usual.
    pub max_flows: Option<usize>,
}

impl Watching {
    /// The built-in scripts with these settings.
    pub fn setup(&self) -> ScriptSetup {
        let beside = self.beside.as_ref();
        let wanted = |name: &str| {
            let only = self.only.as_deref();
            only.is_none_or(|only| only == name) || beside.is_some_and(|(beside, _)| beside == name)
        };
        let on = |name: &str| ScriptSettings {
            enabled: Some(true),
            config: self.configs.get(name).cloned(),
            ..ScriptSettings::default()
        };
        let mut sources = builtin();
        sources.retain(|source| wanted(&source.name));
        if let Some((name, Some(text))) = beside {
            let (name, text) = (name.clone(), text.clone());
            sources.push(ScriptSource { name, origin: Origin::Inline, folder: None, text });
        }
        let settings = sources.iter().map(|source| (source.name.clone(), on(&source.name))).collect();
        let (lists, geo) = (self.lists.clone(), self.geo.clone());
        ScriptSetup { sources, settings, lists, geo, ..ScriptSetup::default() }
    }
}

/// Local networks of the wire.
pub fn networks() -> Arc<LocalNetworks> {
    let networks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(|net| net.parse().unwrap());
    Arc::new(LocalNetworks::new(networks))
}

/// A pipeline with built-in scripts, and what it was told.
pub struct Wire {
    pipeline: Pipeline,
    at: Timestamp,
    alerts: Vec<Alert>,
    summaries: Vec<Delta>,
    /// Address and port of the client.
    pub client: ([u8; 4], u16),
    /// Address of the server, where a call does not say.
    pub server: [u8; 4],
    /// Hardware addresses of client and server.
    pub macs: [[u8; 6]; 2],
    /// VLAN, 0 for none.
    pub vlan: u16,
    /// TCP window of the server.
    pub window: u16,
}

impl Wire {
    /// A wire on which nothing was seen yet, with every built-in script on. Local networks are the
    /// private ones.
    pub fn new() -> Self {
        Self::watched(&Watching::default())
    }

    /// One whose scripts have these configurations and lists.
    pub fn with(configs: &BTreeMap<&str, serde_json::Value>, lists: Lists) -> Self {
        let configs = configs.iter().map(|(name, config)| ((*name).to_owned(), config.clone())).collect();
        Self::watched(&Watching { configs, lists, ..Watching::default() })
    }

    /// One that these scripts look at.
    pub fn watched(watching: &Watching) -> Self {
        let (hooks, errors, _) = HookRunner::load(&watching.setup(), 120, Timestamp::ZERO);
        assert!(errors.is_empty(), "{errors:?}");
        let samples = DecoderConfig::default();
        let mut table = CollectorConfig::default();
        table.max_flows = watching.max_flows.unwrap_or(table.max_flows);
        let pipeline = Pipeline::new(PipelineParts {
            place: Place { site: "s".into(), node: "n".into(), ifid: 0, interface: "i".into() },
            epoch: 0,
            networks: networks(),
            decoder: Decoder::new(samples),
            feed: watching.collects.then(|| Feed::new(FeedConfig::default(), samples)),
            table: FlowTable::new(table.table(hooks.periodic_s(), 1)),
            hooks,
            summary_interval_s: 1,
            summaries: true,
            alerts: true,
        });
        Self {
            pipeline,
            at: START,
            alerts: Vec::new(),
            summaries: Vec::new(),
            client: ([192, 168, 1, 10], 50_000),
            server: [203, 0, 113, 5],
            macs: [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]],
            vlan: 0,
            window: 0xffff,
        }
    }

    /// What scripts there are from now on.
    pub fn reload(&mut self, watching: &Watching) {
        let errors = self.pipeline.reload_scripts(&watching.setup(), true, self.at, &mut Vec::new());
        assert!(errors.is_empty(), "{errors:?}");
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: i64) {
        self.at = self.at.plus_secs(seconds);
    }

    /// The time on the wire.
    pub fn now(&self) -> Timestamp {
        self.at
    }

    /// Packets that the kernel dropped.
    pub fn drop_packets(&mut self, packets: u64) {
        self.pipeline.count_drops(&Drops { kernel: packets, ..Drops::default() });
    }

    /// The interface cannot keep up from now on.
    pub fn overload(&mut self) {
        self.pipeline.overloaded = true;
    }

    /// A UDP conversation: who speaks, and what.
    pub fn udp(&mut self, port: u16, said: &[(bool, &[u8])]) {
        for (from_client, payload) in said {
            let mut datagram = self.ports(port, *from_client);
            datagram.extend((8 + payload.len() as u16).to_be_bytes());
            datagram.extend([0, 0]);
            datagram.extend(*payload);
            self.ip(17, *from_client, self.server, &datagram);
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
        let mut segment = self.ports(port, from_client);
        segment.extend(numbers[own].to_be_bytes());
        segment.extend(if flags & TCP_ACK == 0 { [0; 4] } else { numbers[other].to_be_bytes() });
        segment.extend([0x50, flags]);
        segment.extend(if from_client { 0xffff } else { self.window }.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(payload);
        let flags = u32::from(flags & (TCP_SYN | TCP_FIN) != 0);
        numbers[own] = numbers[own].wrapping_add(payload.len() as u32 + flags);
        self.ip(6, from_client, self.server, &segment);
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
        self.packet(protocol, from_client, server, [0, 0], payload);
    }

    /// The same with flags and offset of a fragment.
    pub fn packet(
        &mut self,
        protocol: u8,
        from_client: bool,
        server: [u8; 4],
        fragment: [u8; 2],
        payload: &[u8],
    ) {
        let mut packet = vec![0x45, 0];
        packet.extend((20 + payload.len() as u16).to_be_bytes());
        packet.extend([0, 7]);
        packet.extend(fragment);
        packet.extend([64, protocol, 0, 0]);
        let (from, to) = if from_client { (self.client.0, server) } else { (server, self.client.0) };
        packet.extend(from);
        packet.extend(to);
        packet.extend(payload);
        self.frame(from_client, 0x0800, &packet);
    }

    /// An ARP question (RFC 826) of the client's for `target`.
    pub fn arp(&mut self, target: [u8; 4]) {
        let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
        arp.extend(self.macs[0]);
        arp.extend(self.client.0);
        arp.extend([0; 6]);
        arp.extend(target);
        self.frame(true, 0x0806, &arp);
    }

    fn frame(&mut self, from_client: bool, ethertype: u16, packet: &[u8]) {
        let [client, server] = self.macs;
        let (from, to) = if from_client { (client, server) } else { (server, client) };
        let mut frame = [to, from].concat();
        if self.vlan != 0 {
            frame.extend([0x81, 0]);
            frame.extend(self.vlan.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(packet);
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

    fn ports(&self, server: u16, from_client: bool) -> Vec<u8> {
        let (from, to) = if from_client { (self.client.1, server) } else { (server, self.client.1) };
        [from.to_be_bytes(), to.to_be_bytes()].concat()
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

    /// The alerts and summaries of all that was shown, after every flow has ended.
    pub fn end(mut self) -> (Vec<Alert>, Vec<Delta>) {
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
