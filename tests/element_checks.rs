//! Built-in checks of hosts, networks, interfaces and the system: each fires on traffic that it is for,
//! through the collector's core, its summaries on the wire, and the aggregator's core.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aggregator::config::AggregatorConfig;
use aggregator::partition::Partition;
use shared::model::flow::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};
use shared::model::{Alert, InterfaceCounters, LocalNetworks};
use shared::script::ScriptLimits;
use shared::script::engine::ScriptEngine;
use shared::script::registry::{Registry, ScriptSettings, ScriptSetup};
use shared::script::source::builtin;
use shared::store::Transition;
use shared::wire::delta::Delta;

use crate::support::traffic::{START, Wire};

/// Far away.
const SERVER: [u8; 4] = [203, 0, 113, 5];

/// A partition in which the checks `on` are on, with `config` where it is not empty, and nothing else.
fn partition(on: &str, config: &str) -> Partition {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let config = (!config.is_empty()).then(|| serde_json::from_str(config).unwrap());
    let setting = |name: &str| ScriptSettings {
        enabled: Some(name == on),
        config: config.clone().filter(|_| name == on),
        ..ScriptSettings::default()
    };
    let sources = builtin();
    let settings: BTreeMap<_, _> = sources.iter().map(|s| (s.name.clone(), setting(&s.name))).collect();
    let (registry, errors) = Registry::load(&engine, sources, &settings);
    assert!(errors.is_empty(), "{errors:?}");
    let networks = Arc::new(LocalNetworks::new(["192.168.0.0/16".parse().unwrap()]));
    Partition::new(
        0,
        engine,
        registry,
        &ScriptSetup::default(),
        AggregatorConfig::default(),
        networks,
        Vec::new(),
    )
}

/// What a check says of these summaries: engaged and stored alerts.
fn told(check: &str, config: &str, summaries: &[Delta]) -> Vec<Alert> {
    let mut partition = partition(check, config);
    let mut alerts = Vec::new();
    for delta in summaries {
        // As they come over the wire.
        let output = partition.apply(&Delta::decode(&delta.encode()).unwrap());
        alerts.extend(output.transitions.into_iter().filter_map(|transition| match transition {
            Transition::Engage(engaged) => Some(engaged.alert),
            Transition::Store(alert) => Some(alert),
            Transition::Update(_) | Transition::Release(_) => None,
        }));
    }
    assert!(alerts.iter().all(|alert| alert.script == check));
    alerts
}

/// About which elements a check speaks.
fn about(check: &str, config: &str, summaries: &[Delta]) -> BTreeSet<String> {
    told(check, config, summaries).into_iter().map(|alert| alert.entity_value).collect()
}

fn one(element: &str) -> BTreeSet<String> {
    BTreeSet::from([element.to_owned()])
}

/// Traffic of one kind, then time for it to be over.
fn shown(show: impl FnOnce(&mut Wire)) -> Vec<Delta> {
    let mut wire = Wire::new();
    show(&mut wire);
    wire.wait(120);
    // Something has to come for time to pass.
    wire.datagram(true, [203, 0, 113, 99], 9, 9, b"x");
    wire.summaries()
}

/// Ports and addresses that differ, `n` of them.
fn each(n: u16, mut show: impl FnMut([u8; 4], u16)) {
    for number in 0..n {
        let [high, low] = number.to_be_bytes();
        show([203, 0, 114 + high, low], 1024 + number);
    }
}

#[test]
fn scans_and_floods() {
    let local = "192.168.1.10";
    let syn = shown(|wire| each(2000, |server, port| wire.flags(TCP_SYN, true, server, port, 445)));
    assert_eq!(about("syn_scan", "", &syn), one(local));
    assert_eq!(about("scan_detection", "", &syn), one(local));
    assert_eq!(about("syn_flood", r#"{ "threshold": 30 }"#, &syn), one(local));
    assert_eq!(about("flow_flood", r#"{ "threshold": 30 }"#, &syn), one(local));
    assert_eq!(about("peers_contacts", r#"{ "threshold": 1900 }"#, &syn).len(), 1);
    assert_eq!(about("host_flows", r#"{ "threshold": 1900, "operator": "gt" }"#, &syn), one(local));
    let towards = shown(|wire| each(2000, |_, port| wire.flags(TCP_SYN, true, SERVER, port, port)));
    assert_eq!(about("syn_scan_victim", "", &towards), one("203.0.113.5"));
    assert_eq!(about("syn_flood_victim", r#"{ "threshold": 30 }"#, &towards), one("203.0.113.5"));
    assert_eq!(about("flow_flood_victim", r#"{ "threshold": 30 }"#, &towards), one("203.0.113.5"));
    let fin = shown(|wire| each(400, |server, port| wire.flags(TCP_FIN, true, server, port, 445)));
    assert_eq!(about("fin_scan", "", &fin), one(local));
    assert!(about("fin_scan", "", &syn).is_empty());
    let refused = shown(|wire| {
        each(400, |server, port| {
            wire.flags(TCP_SYN, true, server, port, 445);
            wire.flags(TCP_RST | TCP_ACK, false, server, port, 445);
        });
    });
    assert_eq!(about("rst_scan", "", &refused), one(local));
    assert!(about("rst_scan", "", &syn).is_empty());
    let echo = [8, 0, 0, 0, 0, 1, 0, 1, 0];
    let pings = shown(|wire| (0..2000).for_each(|_| wire.ip(1, true, SERVER, &echo)));
    assert_eq!(about("icmp_flood", r#"{ "threshold": 30 }"#, &pings), one(local));
    assert!(about("icmp_flood", "", &pings).is_empty(), "33 a second are no flood");
    let quiet = shown(|wire| {
        wire.tcp(80, &[(true, b"GET / HTTP/1.1\r\n\r\n"), (false, b"HTTP/1.1 200 OK\r\n\r\n")], false);
    });
    for check in [
        "syn_scan",
        "scan_detection",
        "syn_flood",
        "flow_flood",
        "fin_scan",
        "rst_scan",
        "icmp_flood",
        "score_threshold",
    ] {
        assert!(about(check, "", &quiet).is_empty(), "{check}");
    }
}

/// A DNS question of `name`, or its answer.
fn dns(name: &str, answer: bool) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, if answer { 0x81 } else { 0x01 }, if answer { 0x80 } else { 0 }];
    message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

#[test]
fn whom_a_host_gets_in_touch_with() {
    let local = one("192.168.1.10");
    let asked = shown(|wire| {
        each(300, |_, port| {
            let server = [203, 0, 113, (port % 7) as u8];
            wire.datagram(true, server, port, 53, &dns(&format!("host{port}.example.org"), false));
        });
    });
    let alerts = told("dns_contacts", "", &asked);
    assert_eq!(
        (alerts.len(), alerts[0].value, alerts[0].entity_value.as_str()),
        (1, Some(7.0), "192.168.1.10")
    );
    let names = told("domain_names_contacts", "", &asked);
    assert!(names[0].value.is_some_and(|value| (295.0..=305.0).contains(&value)), "{names:?}");
    assert_eq!(about("request_reply_ratio", "", &asked), local, "nobody answered");
    assert_eq!(about("host_dns", r#"{ "threshold": 299, "operator": "gt" }"#, &asked), local);
    assert_eq!(about("dns_flood", r#"{ "threshold": 4 }"#, &asked), local);
    assert!(about("ntp_contacts", "", &asked).is_empty());
    let answered = shown(|wire| {
        each(300, |_, port| {
            wire.datagram(true, SERVER, port, 53, &dns("www.example.org", false));
            wire.datagram(false, SERVER, port, 53, &dns("www.example.org", true));
        });
    });
    assert!(
        about("dns_contacts", "", &answered).is_empty()
            && about("request_reply_ratio", "", &answered).is_empty()
    );
    let ntp = shown(|wire| {
        each(9, |server, port| {
            let mut clock = vec![0x23, 0, 6, 0xec];
            clock.resize(48, 0);
            wire.datagram(true, server, port, 123, &clock);
            clock[0] = 0x24;
            wire.datagram(false, server, port, 123, &clock);
        });
    });
    assert_eq!(about("ntp_contacts", "", &ntp), local);
    let ssh = shown(|wire| {
        wire.tcp(22, &[(false, b"SSH-2.0-OpenSSH_9.6\r\n"), (true, b"SSH-2.0-OpenSSH_9.6\r\n")], false);
    });
    let both = BTreeSet::from(["192.168.1.10".to_owned(), "203.0.113.5".to_owned()]);
    assert_eq!(about("remote_connection", "", &ssh), both);
}

#[test]
fn thresholds_of_traffic() {
    let body = vec![b'x'; 100_000];
    let answer = [&b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"[..], &body].concat();
    let traffic =
        shown(|wire| wire.tcp(80, &[(true, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), (false, &answer)], false));
    let over = |threshold: u64| format!(r#"{{ "threshold": {threshold}, "operator": "gt" }}"#);
    for (check, threshold, element) in [
        ("host_bytes", 100_000, "192.168.1.10"),
        ("host_packets", 70, "192.168.1.10"),
        ("host_throughput", 10_000, "192.168.1.10"),
        ("network_bytes", 100_000, "192.168.0.0/16"),
        ("network_ingress", 100_000, "192.168.0.0/16"),
        ("network_egress", 200, "192.168.0.0/16"),
        ("interface_bytes", 100_000, "i"),
        ("interface_packets", 70, "i"),
        ("interface_throughput", 10_000, "i"),
        ("active_local_hosts", 0, "i"),
    ] {
        assert!(about(check, &over(threshold), &traffic).contains(element), "{check}");
        assert!(about(check, &over(10_000_000), &traffic).is_empty(), "{check} of ten millions");
    }
    assert!(about("network_inner", &over(0), &traffic).is_empty());
    assert!(about("no_activity", "", &traffic).len() == 1, "the silent minute after it");
}

/// Summaries of an interface that counts only `counters`, a minute long.
fn counted(counters: InterfaceCounters) -> Vec<Delta> {
    let mut summaries = shown(|_| {});
    summaries.truncate(1);
    let first = &mut summaries[0];
    first.interface.counters = counters;
    (first.from, first.to, first.watermark) = (START, START.plus_secs(60), START.plus_secs(60));
    first.producer.sequence = 1;
    summaries
}

#[test]
fn the_health_of_flowhook_itself() {
    let counters = |counters: InterfaceCounters| counted(counters);
    let dropped = counters(InterfaceCounters { packets: 900, drops: 100, ..Default::default() });
    assert_eq!(about("too_many_drops", "", &dropped), one("i"));
    assert!(about("too_many_drops", r#"{ "threshold": 10 }"#, &dropped).is_empty());
    let full =
        counters(InterfaceCounters { packets: 1, flows_evicted: 3, hook_skips: 2, ..Default::default() });
    assert_eq!(about("too_many_flows", "", &full), one("i"));
    assert_eq!(about("flow_calls_drops", "", &full), one("i"));
    assert!(about("too_many_flows", "", &dropped).is_empty());
    let mut gap = shown(|wire| each(3, |server, port| wire.flags(TCP_SYN, true, server, port, 445)));
    gap.remove(1);
    assert_eq!(about("summaries_missing", "", &gap), one("flowhook"));
    assert!(about("summaries_missing", "", &full).is_empty());
}
