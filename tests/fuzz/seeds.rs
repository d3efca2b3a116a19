//! Makes the corpora: from what the collector's unit tests feed (they record it), from the bundled
//! captures, and from the files that come with the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use collector::CollectorConfig;
use collector::capture::{Batch, LinkType, SourceState, file};
use collector::decode::{Decoded, Decoder, DecoderConfig, Packet};
use collector::flow::FlowTable;
use collector::flow_alert::Place;
use collector::hooks::HookRunner;
use collector::l7::{DISSECTORS, L7Context, L7State, Verdict};
use collector::pipeline::{Item, Pipeline, PipelineParts};
use shared::model::flow::L7Info;
use shared::model::{FlowEnd, L4, LocalNetworks, Timestamp};
use shared::script::registry::ScriptSetup;
use shared::script::source::builtin;

use super::corpus::{MAX_INPUT, hex, path, unhex};

/// Inputs kept of one target or dissector at most, and bytes of each input of a dissector.
const KEPT: usize = 80;
const KEPT_OF_DISSECTOR: usize = 6;
const MAX_OF_DISSECTOR: usize = 2000;

/// Inputs by target and dissector's name.
type Seeds = BTreeMap<(String, String), BTreeSet<Vec<u8>>>;

/// Frames with the nanoseconds of their capture.
type Frames = Vec<(i64, LinkType, Vec<u8>)>;

/// Writes all corpora anew; `recorded` has a line an input: target, name or `-`, hex.
pub fn write(recorded: &str) {
    let mut seeds = Seeds::new();
    for line in recorded.lines() {
        let [target, name, digits] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("what is {line}")
        };
        let name = if name == "-" { "" } else { name };
        add(&mut seeds, target, name, unhex(digits));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = root.join("tests/data");
    for name in ["demo.pcap", "demo-ns.pcap", "demo.pcapng", "ping-cooked.pcap", "ping6-vlan.pcap"] {
        let bytes = std::fs::read(data.join(name)).unwrap();
        add(&mut seeds, "capture_file", "", bytes[..bytes.len().min(1500)].to_vec());
        let frames = read(&data.join(name));
        for piece in frames.chunks(5).step_by(frames.len() / 100 + 1) {
            let (_, link, _) = piece[0];
            let whole = piece.iter().filter(|(_, other, _)| *other == link);
            let joined =
                whole.flat_map(|(.., frame)| [&(frame.len() as u16).to_be_bytes()[..], frame].concat());
            add(
                &mut seeds,
                "decode",
                "",
                [&link.0.to_be_bytes()[..], &[0]].concat().into_iter().chain(joined).collect(),
            );
        }
        pieces_of_flows(&frames, &mut seeds);
    }
    frames_on_file(&root.join("collector/src/decode/tests/frames.txt"), &mut seeds);
    messages_by_number(&root.join("collector/src/l7/ip/scapy.txt"), &mut seeds);
    for entry in std::fs::read_dir(data.join("export")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pcap") {
            datagrams(&read(&path), &mut seeds);
        }
    }
    for name in ["delta_v1.bin", "flows_v1.bin"] {
        add(&mut seeds, "wire", "", std::fs::read(data.join("golden").join(name)).unwrap());
    }
    messages(&read(&data.join("demo.pcap")), &mut seeds);
    let text = |name: &str| std::fs::read_to_string(root.join("config").join(name)).unwrap();
    for name in ["default.toml", "collector.toml", "aggregator.toml", "notifier.toml", "demo.toml"] {
        let mut section = String::new();
        for line in text(name).lines() {
            if line.starts_with('[') && section.len() > 200 {
                add(&mut seeds, "config", "", std::mem::take(&mut section).into_bytes());
            }
            section += line;
            section.push('\n');
        }
        add(&mut seeds, "config", "", section.into_bytes());
    }
    add(&mut seeds, "apps", "", text("applications.tsv").into_bytes());
    for source in builtin() {
        add(&mut seeds, "script", "", source.text.into_bytes());
    }
    put(&seeds);
}

fn add(seeds: &mut Seeds, target: &str, name: &str, input: Vec<u8>) {
    let most = if target == "dissectors" { MAX_OF_DISSECTOR } else { MAX_INPUT };
    if !input.is_empty() && input.len() <= most {
        seeds.entry((target.to_owned(), name.to_owned())).or_default().insert(input);
    }
}

/// Writes the files; of too many inputs, some of every length.
fn put(seeds: &Seeds) {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    for ((target, name), inputs) in seeds {
        let known = target != "dissectors" || DISSECTORS.iter().any(|dissector| dissector.name == name);
        let kept = if target == "dissectors" { KEPT_OF_DISSECTOR } else { KEPT };
        let mut inputs: Vec<_> = inputs.iter().filter(|_| known).collect();
        inputs.sort_by_key(|input| input.len());
        let step = inputs.len().div_ceil(kept).max(1);
        for input in inputs.iter().rev().step_by(step) {
            let line = format!("{name} {}\n", hex(input));
            *files.entry(target).or_default() += line.trim_start();
        }
    }
    for (target, text) in files {
        std::fs::create_dir_all(path(target).parent().unwrap()).unwrap();
        std::fs::write(path(target), text).unwrap();
    }
}

fn read(path: &Path) -> Frames {
    let (mut source, mut batch, mut frames) = (file::open(path).unwrap(), Batch::default(), Vec::new());
    loop {
        let state = source.next_batch(&mut batch).unwrap();
        frames.extend(batch.iter().map(|(desc, frame)| (desc.ts.ns(), desc.link, frame.to_vec())));
        if state == SourceState::End {
            return frames;
        }
    }
}

/// Frames of tunnels by name; those called `name.0`, `name.1` and so on are one datagram's fragments.
fn frames_on_file(path: &Path, seeds: &mut Seeds) {
    let mut inputs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with('#')) {
        let Some((name, digits)) = line.split_once(' ') else { continue };
        let frame = unhex(digits);
        let input = inputs.entry(name.split('.').next().unwrap().to_owned()).or_insert(vec![0, 1, 0]);
        input.extend((frame.len() as u16).to_be_bytes());
        input.extend(frame);
    }
    inputs.into_values().for_each(|input| add(seeds, "decode", "", input));
}

/// Messages of protocols that IP itself carries, behind their number.
fn messages_by_number(path: &Path, seeds: &mut Seeds) {
    const NUMBERS: [(&str, u8); 7] =
        [("igmp", 2), ("esp", 50), ("ah", 51), ("eigrp", 88), ("ospf", 89), ("pim", 103), ("vrrp", 112)];
    for line in std::fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with('#')) {
        let (label, digits) = line.split_once(' ').unwrap();
        let (_, number) = NUMBERS.iter().find(|(name, _)| label.starts_with(name)).unwrap();
        add(seeds, "by_number", "", [vec![*number], unhex(digits)].concat());
    }
}

/// Flows of a capture: their frames for the pipeline, their payloads for the dissector they belong to.
fn pieces_of_flows(frames: &Frames, seeds: &mut Seeds) {
    struct Seen {
        client: (std::net::IpAddr, u16),
        frames: Vec<u8>,
        last: i64,
        payloads: Vec<u8>,
        packets: u32,
        state: L7State,
        name: &'static str,
    }
    let mut decoder = Decoder::new(DecoderConfig::default());
    let mut flows = BTreeMap::new();
    let mut batch = Batch::default();
    for (at, link, frame) in frames {
        batch.clear();
        batch.push(Timestamp::from_ns(*at), *link, 0, frame.len() as u32, frame);
        let Some((desc, frame)) = batch.iter().next() else { continue };
        let Ok(Decoded::Packet(packet)) = decoder.decode(desc, frame) else { continue };
        let (a, b) = ((packet.src, packet.src_port), (packet.dst, packet.dst_port));
        let flow = flows.entry((packet.l4.0, a.min(b), a.max(b))).or_insert_with(|| {
            let mut payloads = vec![(packet.l4 == L4::UDP).into()];
            payloads.extend(a.1.to_be_bytes());
            payloads.extend(b.1.to_be_bytes());
            let state = L7State::new();
            Seen { client: a, frames: Vec::new(), last: *at, payloads, packets: 0, state, name: "" }
        });
        if *link == LinkType::ETHERNET && flow.frames.len() + frame.len() + 6 <= MAX_INPUT {
            let step = i32::try_from((at - flow.last) / 4).unwrap_or(i32::MAX);
            flow.last = *at;
            flow.frames.extend(step.to_be_bytes());
            flow.frames.extend((frame.len() as u16).to_be_bytes());
            flow.frames.extend(frame);
        }
        if packet.payload.is_empty() || flow.payloads.len() + packet.payload.len() > MAX_OF_DISSECTOR {
            continue;
        }
        let from_client = flow.client == a;
        flow.packets += 1;
        flow.payloads.push((!from_client).into());
        flow.payloads.extend((packet.payload.len() as u16).to_be_bytes());
        flow.payloads.extend(packet.payload);
        let cx = context(&packet, from_client, flow.packets);
        let verdict = flow.state.on_payload(packet.payload, &cx, &mut L7Info::default(), &mut 0);
        if let Verdict::Decided(name) = verdict {
            flow.name = name;
        }
    }
    for flow in flows.into_values() {
        add(seeds, "pipeline", "", flow.frames);
        if !flow.name.is_empty() {
            add(seeds, "dissectors", flow.name, flow.payloads);
        }
    }
}

fn context(packet: &Packet<'_>, from_client: bool, packets_seen: u32) -> L7Context {
    let (a, b) = ((packet.src, packet.src_port), (packet.dst, packet.dst_port));
    let (client, server) = if from_client { (a, b) } else { (b, a) };
    L7Context {
        l4: packet.l4,
        client: client.0,
        server: server.0,
        client_port: client.1,
        server_port: server.1,
        from_client,
        packets_seen,
        at_s: packet.ts.secs(),
        before: Default::default(),
    }
}

/// Export datagrams, as many together as fit.
fn datagrams(frames: &Frames, seeds: &mut Seeds) {
    let mut decoder = Decoder::new(DecoderConfig::default());
    let (mut batch, mut input) = (Batch::default(), Vec::new());
    for (at, link, frame) in frames {
        batch.push(Timestamp::from_ns(*at), *link, 0, frame.len() as u32, frame);
    }
    for (desc, frame) in batch.iter() {
        let Ok(Decoded::Packet(packet)) = decoder.decode(desc, frame) else { continue };
        if input.len() + packet.payload.len() + 4 > MAX_INPUT {
            add(seeds, "exports", "", std::mem::take(&mut input));
        }
        input.extend([0, 1]);
        input.extend((packet.payload.len() as u16).to_be_bytes());
        input.extend(packet.payload);
    }
    add(seeds, "exports", "", input);
}

/// What the collector puts on the bus for the first seconds of a capture.
fn messages(frames: &Frames, seeds: &mut Seeds) {
    for piece in frames.chunks(20).take(60) {
        let config = CollectorConfig::default();
        let setup = ScriptSetup { sources: builtin(), ..ScriptSetup::default() };
        let (hooks, _, _) = HookRunner::load(&setup, 120, Timestamp::ZERO);
        let mut pipeline = Pipeline::new(PipelineParts {
            place: Place { site: "s".into(), node: "n".into(), ifid: 0, interface: "i".into() },
            epoch: 0,
            networks: LocalNetworks::default().into(),
            decoder: Decoder::new(DecoderConfig::default()),
            feed: None,
            table: FlowTable::new(config.table(120, 1)),
            hooks,
            summary_interval_s: 60,
            summaries: true,
            alerts: true,
        });
        let (mut batch, mut items) = (Batch::default(), Vec::new());
        for (at, link, frame) in piece {
            batch.push(Timestamp::from_ns(*at), *link, 0, frame.len() as u32, frame);
        }
        pipeline.packets(&batch, &mut || None, &mut items);
        pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut items, &mut |_| {});
        for item in items {
            match item {
                Item::Delta(delta) => add(seeds, "wire", "", delta.encode().to_vec()),
                Item::Flows(batch) => add(seeds, "wire", "", batch.message().to_vec()),
                Item::Alert(alert) => add(seeds, "wire", "", serde_json::to_vec(&alert).unwrap()),
                Item::Post(_) | Item::Publish { .. } => {}
            }
        }
    }
}
