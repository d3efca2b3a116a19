//! Which hooks a flow has, when, and what they may do to it.

use shared::model::{FlowEnd, FlowRecord};

use super::*;
use crate::l7::MAX_PAYLOADS;

/// A whole minute.
const START: i64 = 1_700_000_040;

/// A flow of UDP datagrams, from 192.168.10.1 to 192.0.2.1, told apart by its client's port.
struct Wire {
    pipeline: Pipeline,
    items: Vec<Item>,
}

impl Wire {
    fn new(script: &str) -> Self {
        let source = ScriptSource {
            name: "test".to_owned(),
            origin: Origin::Inline,
            folder: None,
            text: script.to_owned(),
        };
        let setup = ScriptSetup { sources: vec![source], ..ScriptSetup::default() };
        Self { pipeline: with_scripts(&setup), items: Vec::new() }
    }

    fn datagram(&mut self, second: i64, port: u16, payload: &[u8]) {
        let length = |more: usize| u16::try_from(payload.len() + more).unwrap().to_be_bytes();
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
        frame.extend(length(28));
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 10, 1, 192, 0, 2, 1]);
        frame.extend(port.to_be_bytes());
        frame.extend(40_000_u16.to_be_bytes());
        frame.extend(length(8));
        frame.extend([0, 0]);
        frame.extend(payload);
        let mut batch = Batch::default();
        let at = Timestamp::from_secs(START + second);
        batch.push(at, capture::LinkType::ETHERNET, 0, frame.len() as u32, &frame);
        self.pipeline.packets(&batch, &mut || None, &mut self.items);
    }

    /// A TCP segment of the connection from port 51000 to port 9999; `numbers` are SEQ and ACK.
    fn segment(&mut self, second: i64, from_client: bool, numbers: [u32; 2], flags: u8, payload: &[u8]) {
        let mut ends = [([192, 168, 10, 1], 51_000_u16), ([192, 0, 2, 1], 9999)];
        if !from_client {
            ends.reverse();
        }
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
        frame.extend(u16::try_from(payload.len() + 40).unwrap().to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0]);
        ends.iter().for_each(|(address, _)| frame.extend(address));
        ends.iter().for_each(|(_, port)| frame.extend(port.to_be_bytes()));
        numbers.iter().for_each(|number| frame.extend(number.to_be_bytes()));
        frame.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
        frame.extend(payload);
        let mut batch = Batch::default();
        let at = Timestamp::from_secs(START + second);
        batch.push(at, capture::LinkType::ETHERNET, 0, frame.len() as u32, &frame);
        self.pipeline.packets(&batch, &mut || None, &mut self.items);
    }

    fn finish(&mut self, reason: FlowEnd) {
        self.pipeline.finish(reason, true, &mut || None, &mut self.items, &mut |_| {});
    }

    fn said(&self) -> Vec<&str> {
        let said = self.items.iter().filter_map(|item| match item {
            Item::Publish { payload, .. } => Some(payload.as_str()),
            _ => None,
        });
        said.collect()
    }

    fn records(&self) -> Vec<FlowRecord> {
        let read = |item: &Item| match item {
            Item::Flows(batch) => batch.read().unwrap().flows,
            _ => Vec::new(),
        };
        self.items.iter().flat_map(read).collect()
    }
}

/// Bytes that no protocol begins with.
fn noise() -> Vec<u8> {
    (0..200_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

const TELL: &str =
    "let tell = |hook| publish(\"told\", `${flow.cli_port} ${hook} ${flow.last_seen - flow.first_seen}`);
    #{ hooks: #{
        protocolDetected: |now, config| tell.call(\"detected\"),
        periodicUpdate: |now, config| publish(\"told\", `${flow.cli_port} update ${now - flow.first_seen}`),
        flowEnd: |now, config| tell.call(\"end\"),
    } }";

#[test]
fn a_long_flow_is_updated_each_interval_and_a_short_one_never_and_both_end_once() {
    let mut wire = Wire::new(TELL);
    for second in 0..=300 {
        wire.datagram(second, 51_000, b"long");
        if second <= 60 {
            wire.datagram(second, 52_000, b"short");
        }
    }
    wire.finish(FlowEnd::EndOfFile);
    let of = |port: &str, what: &str| -> Vec<String> {
        let told = wire.said().into_iter().map(|said| said.split(' ').collect::<Vec<_>>());
        told.filter(|said| said[0] == port && said[1] == what).map(|said| said[2].to_owned()).collect()
    };
    let updates: Vec<i64> = of("51000", "update").iter().map(|age| age.parse().unwrap()).collect();
    let [first, second] = updates[..] else { panic!("{updates:?}") };
    assert!((120..=122).contains(&first) && (240..=242).contains(&second), "{updates:?}");
    assert_eq!((of("51000", "end"), of("52000", "end")), (vec!["300".to_owned()], vec!["60".to_owned()]));
    assert!(of("52000", "update").is_empty());
    assert_eq!((of("51000", "detected").len(), of("52000", "detected").len()), (1, 1));
}

#[test]
fn an_update_never_comes_before_detection() {
    use shared::model::flow::{TCP_ACK, TCP_SYN};
    let mut wire = Wire::new(TELL);
    wire.segment(0, true, [100, 0], TCP_SYN, b"");
    wire.segment(0, false, [500, 101], TCP_SYN | TCP_ACK, b"");
    for second in (0..=300).step_by(30) {
        wire.segment(second, true, [101, 501], TCP_ACK, b"");
    }
    wire.segment(310, true, [101, 501], TCP_ACK, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
    wire.segment(311, false, [501, 139], TCP_ACK, b"");
    wire.finish(FlowEnd::EndOfFile);
    let said = wire.said();
    let hooks: Vec<&str> = said.iter().filter_map(|said| said.split(' ').nth(1)).collect();
    assert_eq!(hooks, ["detected", "update", "update", "end"], "{said:?}");
    let l7: Vec<String> = wire.records().iter().map(|flow| flow.l7.to_string()).collect();
    assert_eq!(l7, ["HTTP"], "what it says at last is read");
}

#[test]
fn detection_gives_up_after_so_many_payloads_and_tells_it() {
    let text = "#{ hooks: #{ protocolDetected: |now, config| publish(\"told\", `${flow.l7} ${flow.packets} ${flow.l7_payloads}`) } }";
    let mut wire = Wire::new(text);
    // All within the silence after which it gives up anyway.
    for _ in 0..MAX_PAYLOADS + 5 {
        wire.datagram(0, 51_000, &noise());
    }
    assert_eq!(wire.said(), [format!("Unknown {MAX_PAYLOADS} {MAX_PAYLOADS}")]);
    wire.finish(FlowEnd::EndOfFile);
    assert_eq!(wire.said().len(), 1, "once");
}

#[test]
fn at_a_shutdown_every_live_flow_has_its_end_and_no_update() {
    let mut wire = Wire::new(TELL);
    for second in 0..=100 {
        (51_000..51_010).for_each(|port| wire.datagram(second, port, b"x"));
    }
    let before = wire.said().len();
    wire.finish(FlowEnd::Shutdown);
    let after: Vec<&str> = wire.said().into_iter().skip(before).collect();
    let expected: Vec<String> = (51_000..51_010).map(|port| format!("{port} end 100")).collect();
    assert_eq!(after, expected);
    assert!(wire.records().iter().all(|flow| flow.end == Some(FlowEnd::Shutdown)));
}

#[test]
fn bits_that_hooks_set_and_clear_are_told_once_a_visit_with_old_and_new_and_stay_in_the_record() {
    // The two highest bits are the script's own.
    let text = "#{ hooks: #{
        protocolDetected: |now, config| { flow.set_status(\"user_59\"); flow.set_status(\"user_60\"); },
        periodicUpdate: |now, config| { flow.clear_status(\"user_59\"); },
        statusChanged: |now, config| {
            if (flow.old_status >> 59) != (flow.status >> 59) {
                publish(\"told\", `${flow.old_status >> 59} ${flow.status >> 59}`);
            }
        },
    } }";
    let mut wire = Wire::new(text);
    for second in 0..=130 {
        wire.datagram(second, 51_000, &noise());
    }
    assert_eq!(wire.said(), ["0 3", "3 2"]);
    wire.finish(FlowEnd::EndOfFile);
    assert_eq!(wire.said().len(), 2);
    let records = wire.records();
    assert_eq!(records.iter().map(|flow| flow.status >> 59).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_flow_scripts_count_and_measure_is_the_interfaces() {
    let text = "#{ hooks: #{ flowEnd: |now, config| { count(\"flows\"); count(\"packets\", flow.packets); series(\"bytes\", flow.bytes); } } }";
    let mut wire = Wire::new(text);
    for port in 51_000..51_003 {
        wire.datagram(0, port, b"x");
        wire.datagram(1, port, b"x");
    }
    wire.finish(FlowEnd::EndOfFile);
    let mut sums = BTreeMap::<String, (bool, f64, u64)>::new();
    for delta in deltas(&wire.items) {
        for (name, metric) in &delta.interface.metrics {
            let sum = sums.entry(name.clone()).or_default();
            *sum = (metric.gauge, sum.1 + metric.sum, sum.2 + metric.count);
        }
    }
    let shown: Vec<_> =
        sums.iter().map(|(name, (gauge, sum, count))| (name.as_str(), *gauge, *sum, *count)).collect();
    // A frame is 14 + 28 + 1 bytes long.
    let expected =
        [("test.bytes", true, 3.0 * 86.0, 3), ("test.flows", false, 3.0, 3), ("test.packets", false, 6.0, 3)];
    assert_eq!(shown, expected);
}

#[test]
fn a_flow_tells_what_kind_of_addresses_it_has_and_its_top_score() {
    let text = "#{ hooks: #{ flowEnd: |now, config| {
        store_alert(#{ type: \"a\", score: 30 });
    }, protocolDetected: |now, config| {
        store_alert(#{ type: \"b\", score: 70 });
        publish(\"told\", `${flow.is_unicast} ${flow.is_multicast} ${flow.is_broadcast}`);
    } } }";
    let mut wire = Wire::new(text);
    wire.datagram(0, 51_000, b"x");
    wire.finish(FlowEnd::EndOfFile);
    assert_eq!(wire.said(), ["true false false"]);
    let records = wire.records();
    assert_eq!((records[0].score, records[0].top_score), (100, 70));
    let alerts: Vec<_> = wire
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Alert(alert) => alert.flow.as_ref().map(|flow| (flow.alerts.join(","), flow.predominant)),
            _ => None,
        })
        .collect();
    assert_eq!(alerts, [("b".to_owned(), true), ("b,a".to_owned(), false)]);
}

#[test]
fn a_flow_has_so_many_types_of_alerts_at_most() {
    let text = "#{ hooks: #{ flowEnd: |now, config| for i in 0..900 { store_alert(#{ type: `t${i}` }); } } }";
    let mut wire = Wire::new(text);
    wire.datagram(0, 51_000, b"x");
    wire.datagram(0, 51_001, b"x");
    wire.finish(FlowEnd::EndOfFile);
    let types: Vec<&str> = wire
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Alert(alert) => Some(alert.alert_type.as_str()),
            _ => None,
        })
        .collect();
    let first: Vec<String> = (0..32).map(|n| format!("t{n}")).collect();
    assert_eq!(types, [&first[..]].concat(), "the second flow comes too early after that");
    let report = wire.pipeline.report();
    assert_eq!(report.errors["script.test.too_many_alerts"], 900 - 32);
    assert_eq!(report.scripts["test"].skips, 1);
}

/// The events of flows, by hook, each with its data.
fn flow_events(wire: &Wire) -> Vec<(String, serde_json::Value)> {
    let told = wire.items.iter().filter_map(|item| match item {
        Item::Publish { subject, payload } => {
            let data: serde_json::Value = serde_json::from_str(payload).unwrap();
            assert_eq!((&data["kind"], &data["ifid"]), (&"flow".into(), &4.into()), "as its schema says");
            assert_eq!(*subject, format!("event.flow.{}.4", data["hook"].as_str().unwrap()));
            Some((data["hook"].as_str().unwrap().to_owned(), data))
        }
        _ => None,
    });
    told.collect()
}

#[test]
fn hooks_of_a_sample_of_flows_are_events_and_so_is_what_a_script_makes_of_a_flow() {
    let script = "#{ hooks: #{ flowEnd: |now, config| if flow.cli_port == 2007 {
        publish(\"event.flow.flowEnd.4\", to_json(#{ port: flow.cli_port })) } } }";
    let run = |every| {
        let mut wire = Wire::new(script);
        wire.pipeline.sample_flow_events(every);
        for port in 0..400 {
            wire.datagram(i64::from(port) / 100, 2000 + port, &noise());
        }
        wire.finish(FlowEnd::EndOfFile);
        flow_events(&wire)
    };
    let chosen = run(0);
    assert_eq!(chosen.len(), 1, "{chosen:?}");
    assert_eq!((&chosen[0].1["sampled"], &chosen[0].1["flow"]["port"]), (&1.into(), &2007.into()));
    let ids = |events: &[(String, serde_json::Value)], hook: &str| -> std::collections::BTreeSet<u64> {
        events
            .iter()
            .filter(|(of, _)| of == hook)
            .filter_map(|(_, data)| data["flow"]["id"].as_u64())
            .collect()
    };
    let all = run(1);
    assert_eq!((ids(&all, "flowEnd").len(), ids(&all, "protocolDetected").len()), (400, 400));
    let some = run(8);
    let sampled = ids(&some, "flowEnd");
    assert!((20..90).contains(&sampled.len()), "about one in eight of 400: {}", sampled.len());
    assert_eq!(ids(&some, "protocolDetected"), sampled, "the same flows");
    assert!(some.iter().all(|(_, data)| data["sampled"] == 8 || data["flow"]["port"] == 2007));
}
