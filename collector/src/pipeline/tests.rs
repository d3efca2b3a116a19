//! The bundled capture through the core.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use shared::model::{FlowEnd, HostCounters, InterfaceCounters, LocalNetworks, Timestamp};
use shared::script::registry::ScriptSetup;
use shared::script::source::{Origin, ScriptSource};
use shared::wire::delta::Delta;

use super::{Item, Pipeline, PipelineParts};
use crate::capture::{self, Batch, SourceState};
use crate::config::CollectorConfig;
use crate::decode::{Decoder, DecoderConfig};
use crate::flow::FlowTable;
use crate::flow_alert::Place;
use crate::hooks::HookRunner;

mod hooks;

fn pipeline() -> Pipeline {
    with_scripts(&ScriptSetup::default())
}

fn with_scripts(setup: &ScriptSetup) -> Pipeline {
    let config = CollectorConfig::default();
    let (hooks, errors, _) = HookRunner::load(setup, 120, Timestamp::ZERO);
    assert!(errors.is_empty(), "{errors:?}");
    let networks = ["192.168.10.0/24", "192.168.42.0/24", "fd00:10::/64"].map(|n| n.parse().unwrap());
    Pipeline::new(PipelineParts {
        place: Place { site: "s".into(), node: "n".into(), ifid: 4, interface: "eth0".into() },
        epoch: 9,
        networks: Arc::new(LocalNetworks::new(networks)),
        decoder: Decoder::new(DecoderConfig::default()),
        feed: None,
        table: FlowTable::new(config.table(120, 1)),
        hooks,
        summary_interval_s: 1,
        summaries: true,
        alerts: true,
    })
}

/// Everything the bundled capture gives.
fn replay() -> (Pipeline, Vec<Item>) {
    replay_into(pipeline())
}

fn replay_into(mut pipeline: Pipeline) -> (Pipeline, Vec<Item>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/demo.pcap");
    let mut source = capture::file::open(&path).unwrap();
    let mut batch = Batch::default();
    let mut items = Vec::new();
    loop {
        batch.clear();
        let state = source.next_batch(&mut batch).unwrap();
        pipeline.packets(&batch, &mut || None, &mut items);
        if matches!(state, SourceState::End) {
            pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut items, &mut |_| {});
            return (pipeline, items);
        }
    }
}

fn deltas(items: &[Item]) -> Vec<&Delta> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Delta(delta) => Some(&**delta),
            _ => None,
        })
        .collect()
}

#[test]
fn summaries_add_up_to_what_was_captured() {
    let (pipeline, items) = replay();
    let report = pipeline.report();
    let mut interface = InterfaceCounters::default();
    let mut hosts = HostCounters::default();
    let mut l7: BTreeMap<String, u64> = BTreeMap::new();
    for delta in deltas(&items) {
        interface.add(&delta.interface.counters);
        for host in &delta.hosts {
            hosts.add(&host.counters);
        }
        for (name, counters) in &delta.interface.l7 {
            *l7.entry(name.clone()).or_default() += counters.flows;
        }
    }
    assert_eq!((report.packets, report.bytes), (3529, 1_588_066));
    assert_eq!((interface.packets, interface.bytes), (report.packets, report.bytes));
    assert_eq!((interface.flows, interface.flows_ended), (report.flows, report.flows));
    assert_eq!(l7, report.flows_by_protocol);
    let records: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Flows(batch) => Some(batch.read().unwrap().flows),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(records.len() as u64, report.flows);
    let bytes: u64 = records.iter().map(|f| f.bytes()).sum();
    assert_eq!(
        (hosts.bytes_sent, hosts.bytes_rcvd),
        (bytes, bytes),
        "every byte has a sender and a receiver"
    );
    assert_eq!((hosts.flows_as_client, hosts.flows_as_server), (report.flows, report.flows));
    assert!(hosts.syn_unanswered_sent > 590, "the scan: {}", hosts.syn_unanswered_sent);
}

#[test]
fn summaries_are_numbered_follow_each_other_and_keep_to_their_minute() {
    let (_, items) = replay();
    let deltas = deltas(&items);
    for (place, delta) in deltas.iter().enumerate() {
        assert_eq!(delta.producer.sequence, place as u64 + 1);
        assert!(delta.from < delta.to && delta.watermark == delta.to);
        let minute = |at: Timestamp| at.secs().div_euclid(60);
        assert_eq!(minute(delta.from), minute(delta.to.plus_ns(-1)), "{delta:?}");
        assert_eq!(delta.end_of_stream, place + 1 == deltas.len());
    }
    assert!(deltas.windows(2).all(|pair| pair[0].to <= pair[1].from));
}

#[test]
fn the_same_capture_gives_the_same_bytes() {
    let encoded = || -> Vec<Vec<u8>> {
        let (_, items) = replay();
        items
            .iter()
            .map(|item| match item {
                Item::Delta(delta) => delta.encode().to_vec(),
                Item::Flows(batch) => batch.message().to_vec(),
                other => format!("{other:?}").into_bytes(),
            })
            .collect()
    };
    assert!(encoded() == encoded());
}

#[test]
fn many_hosts_in_one_second_are_parted_into_messages_of_bearable_size() {
    let mut pipeline = pipeline();
    let mut batch = Batch::default();
    let hosts: u32 = 5000;
    for n in 0..hosts {
        // Ethernet, IPv4 and UDP headers around four bytes.
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend((0x0a00_0000 + n).to_be_bytes());
        frame.extend([192, 0, 2, 1, 0x99, 0x99, 0x88, 0x88, 0, 12, 0, 0, 1, 2, 3, 4]);
        let at = Timestamp::from_ns(1_700_000_000_000_000_000 + i64::from(n));
        batch.push(at, capture::LinkType::ETHERNET, 0, frame.len() as u32, &frame);
    }
    let mut items = Vec::new();
    pipeline.packets(&batch, &mut || None, &mut items);
    pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut items, &mut |_| {});
    let deltas = deltas(&items);
    assert!(deltas.len() > 4, "{}", deltas.len());
    let mut seen = std::collections::BTreeSet::new();
    let mut packets = 0;
    for (place, delta) in deltas.iter().enumerate() {
        let last = place + 1 == deltas.len();
        assert!(delta.encode().len() < 256 * 1024, "{}", delta.encode().len());
        assert_eq!((delta.end_of_stream, delta.watermark == delta.to), (last, last));
        seen.extend(delta.hosts.iter().map(|host| host.key));
        packets += delta.interface.counters.packets;
    }
    assert_eq!((seen.len() as u32, packets), (hosts + 1, hosts.into()));
    for item in &items {
        if let Item::Flows(batch) = item {
            assert!(batch.message().len() < shared::bus::MAX_MESSAGE);
        }
    }
}

#[test]
fn local_hosts_tell_what_their_bytes_were_for_and_what_they_are() {
    let (_, items) = replay();
    let (mut bytes, mut told, mut facts) = (0, 0, BTreeMap::new());
    for delta in deltas(&items) {
        let local = delta.hosts.iter().filter(|host| host.local);
        bytes += local.map(|host| host.counters.bytes_sent + host.counters.bytes_rcvd).sum::<u64>();
        told += delta.categories.iter().map(|row| row.sent + row.rcvd).sum::<u64>();
        let key = |place: u32| delta.hosts[place as usize].key;
        let each =
            delta.categories.windows(2).all(|w| (w[0].host, w[0].category) < (w[1].host, w[1].category));
        assert!(each, "each category of a host once, in order");
        assert!(delta.categories.iter().all(|row| delta.hosts[row.host as usize].local));
        facts.extend(delta.facts.iter().map(|fact| ((key(fact.host), fact.kind), fact.text.to_string())));
    }
    assert_eq!(told, bytes, "every byte is for something");
    let names = facts.iter().filter(|((_, kind), _)| *kind == shared::model::FactKind::Name);
    assert!(names.count() >= 3, "{facts:?}");
    assert!(facts.values().any(|text| text.contains("Linux")), "{facts:?}");
}

#[test]
fn bytes_of_hosts_are_told_by_transport_and_fins_by_direction() {
    let (_, items) = replay();
    let mut all = shared::model::HostCounters::default();
    for delta in deltas(&items) {
        delta.hosts.iter().for_each(|host| all.add(&host.counters));
    }
    assert!(all.tcp_bytes_sent > 0 && all.udp_bytes_sent > 0 && all.fin_sent > 0, "{all:?}");
    assert!(all.tcp_bytes_sent + all.udp_bytes_sent <= all.bytes_sent);
    // Both sides of every flow are hosts.
    assert_eq!((all.tcp_bytes_sent, all.udp_bytes_sent), (all.tcp_bytes_rcvd, all.udp_bytes_rcvd));
    assert_eq!(all.fin_sent, all.fin_rcvd);
}

/// Alerts on every flow with this score.
fn weighs(name: &str, hook: &str, score: u32) -> ScriptSource {
    let text = format!("#{{ hooks: #{{ {hook}: |now, config| store_alert(#{{ score: {score} }}) }} }}");
    ScriptSource { name: name.to_owned(), origin: Origin::Inline, folder: None, text }
}

#[test]
fn the_scores_of_a_flow_add_up_and_the_weightiest_alert_is_told_so() {
    let sources = vec![
        weighs("a", "protocolDetected", 50),
        weighs("b", "flowEnd", 10),
        weighs("c", "flowEnd", 100),
        weighs("d", "flowEnd", 100),
    ];
    let setup = ScriptSetup { sources, ..ScriptSetup::default() };
    let (_, items) = replay_into(with_scripts(&setup));
    let mut flows: BTreeMap<String, Vec<(u32, u32, bool)>> = BTreeMap::new();
    for item in &items {
        let Item::Alert(alert) = item else { continue };
        let Some(flow) = &alert.flow else { continue };
        let key = format!("{} {}", alert.entity_value, flow.first_seen);
        flows.entry(key).or_default().push((alert.score, flow.score, flow.predominant));
    }
    assert!(flows.len() > 100);
    let expected = vec![(50, 50, true), (10, 60, false), (100, 160, true), (100, 260, false)];
    for (flow, alerts) in flows {
        assert_eq!(alerts, expected, "{flow}");
    }
}

/// Says what it is called for: once for hello, once for each flow with its own number, once for bye.
#[test]
fn alerts_that_nobody_reads_count_like_those_that_are_read() {
    let setup = ScriptSetup { sources: vec![weighs("a", "flowEnd", 50)], ..ScriptSetup::default() };
    let (read, items) = replay_into(with_scripts(&setup));
    let mut unread = with_scripts(&setup);
    unread.parts.alerts = false;
    let (unread, fewer) = replay_into(unread);
    assert_eq!(serde_json::to_value(read.report()).unwrap(), serde_json::to_value(unread.report()).unwrap());
    let others = |items: &[Item]| {
        let others = items.iter().filter(|item| !matches!(item, Item::Alert(_)));
        others.map(|item| format!("{item:?}")).collect::<Vec<_>>()
    };
    assert!(items.iter().any(|item| matches!(item, Item::Alert(_))));
    assert!(!fewer.iter().any(|item| matches!(item, Item::Alert(_))));
    assert_eq!(others(&items), others(&fewer), "records and summaries have the same scores");
}

fn counting(name: &str, word: &str) -> ScriptSource {
    let text = format!(
        "let n = 0;
        #{{ setup: || {{ publish(\"{name}\", \"hello {word}\"); true }},
            teardown: || publish(\"{name}\", `bye {word} ${{n}}`),
            hooks: #{{ protocolDetected: |now, config| {{ n += 1; publish(\"{name}\", `{word} ${{n}}`) }} }} }}"
    );
    ScriptSource { name: name.to_owned(), origin: Origin::Inline, folder: None, text }
}

fn published(items: &mut Vec<Item>) -> Vec<String> {
    let said = |item| match item {
        Item::Publish { payload, .. } => Some(payload),
        _ => None,
    };
    items.drain(..).filter_map(said).collect()
}

#[test]
fn a_reload_keeps_what_has_not_changed() {
    let setup = |sources| ScriptSetup { sources, ..ScriptSetup::default() };
    let (mut pipeline, mut out) = (pipeline(), Vec::new());
    let at = Timestamp::from_secs(1_700_000_000);
    let first = setup(vec![counting("a", "one"), counting("b", "two"), counting("c", "three")]);
    assert_eq!(pipeline.reload_scripts(&first, true, at, &mut out), []);
    assert_eq!(published(&mut out), ["hello one", "hello two", "hello three"]);
    let ping = |pipeline: &mut Pipeline, number: u8| {
        let mut frame =
            vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0];
        frame.extend([192, 0, 2, number, 192, 0, 2, 200, 8, 0, 0, 0, 0, 1, 0, 1]);
        let mut batch = Batch::default();
        batch.push(at.plus_secs(number.into()), capture::LinkType::ETHERNET, 0, frame.len() as u32, &frame);
        let mut out = Vec::new();
        pipeline.packets(&batch, &mut || None, &mut out);
        published(&mut out)
    };
    assert_eq!(ping(&mut pipeline, 1), ["one 1", "two 1", "three 1"]);
    let next = setup(vec![counting("a", "one"), counting("b", "new")]);
    assert_eq!(pipeline.reload_scripts(&next, true, at, &mut out), []);
    assert_eq!(published(&mut out), ["bye two 1", "bye three 1", "hello new"]);
    assert_eq!(ping(&mut pipeline, 2), ["one 2", "new 1"]);
    // Another thread of the same interface says hello for nobody.
    assert_eq!(pipeline.reload_scripts(&setup(vec![counting("d", "four")]), false, at, &mut out), []);
    assert_eq!(published(&mut out), ["bye one 2", "bye new 1"]);
    assert_eq!(ping(&mut pipeline, 3), ["four 1"]);
}

#[test]
fn fragments_are_counted_in_whatever_order_they_come() {
    use crate::capture::LinkType;
    let text = include_str!("../decode/tests/frames.txt");
    let frame = |name: &str| -> Vec<u8> {
        let (_, hex) = text.lines().filter_map(|l| l.split_once(' ')).find(|(n, _)| *n == name).unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let patient = DecoderConfig { patient: true, ..DecoderConfig::default() };
    // The first that arrives is the last; then all but the first.
    for (order, port, orphans) in [(&[2, 1, 0][..], 5000, 0), (&[2, 1], 0, 2)] {
        let mut pipeline = pipeline();
        pipeline.parts.decoder = Decoder::new(patient);
        let (mut batch, mut items, mut bytes) = (Batch::default(), Vec::new(), 0);
        for number in order {
            let frame = frame(&format!("frag_v4.{number}"));
            bytes += frame.len() as u64;
            batch.push(Timestamp::from_secs(1000), LinkType::ETHERNET, 0, frame.len() as u32, &frame);
        }
        pipeline.packets(&batch, &mut || None, &mut items);
        // Event time goes on without a packet: what waits is given up.
        pipeline.tick(Timestamp::from_secs(1003), &mut || None, &mut items);
        pipeline.overdue(&mut || None, &mut items);
        let flows = pipeline.parts.table.iter();
        let [flow] = &flows[..] else { panic!("{flows:?}") };
        let counted = (flow.ports().1, flow.cli2srv.packets, flow.cli2srv.bytes);
        assert_eq!(counted, (port, order.len() as u64, bytes));
        let told = pipeline.report().errors.get("fragments_orphaned").copied().unwrap_or(0);
        assert_eq!((told, pipeline.report().bytes), (orphans, bytes));
    }
}

#[test]
fn flows_with_malformed_payloads_are_counted_by_protocol() {
    use crate::capture::LinkType;
    let question = b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x01\x02\x01\0\x02\x01\0\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\0\x05\0";
    let frame = |port: u8, payload: &[u8]| {
        let length = 8 + payload.len() as u8;
        let ip = [0x45, 0, 0, 20 + length, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let udp = [0xc3, port, 0, 161, 0, length, 0, 0];
        [&[0; 12][..], &[8, 0], &ip, &udp, payload].concat()
    };
    let (mut pipeline, mut batch, mut items) = (pipeline(), Batch::default(), Vec::new());
    // The second of three is malformed, twice.
    for (port, payload) in
        [(1, &question[..]), (2, question), (2, &question[..9]), (2, &question[..8]), (3, question)]
    {
        let frame = frame(port, payload);
        batch.push(Timestamp::from_secs(1000), LinkType::ETHERNET, 0, frame.len() as u32, &frame);
    }
    pipeline.packets(&batch, &mut || None, &mut items);
    pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut items, &mut |_| {});
    let report = pipeline.report();
    assert_eq!((report.flows, report.errors), (3, BTreeMap::from([("malformed.SNMP".to_owned(), 1)])));
}
