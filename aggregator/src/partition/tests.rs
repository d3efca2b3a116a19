//! A partition driven by deltas, without actors.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;
use shared::model::{
    AlertAction, AppCategory, CategoryBytes, FactKind, HostCounters, HostFact, HostKey, InterfaceCounters,
    LocalNetworks, NetworkCounters, Severity, Timestamp,
};
use shared::script::ScriptLimits;
use shared::script::engine::ScriptEngine;
use shared::script::registry::{Registry, ScriptSettings, ScriptSetup};
use shared::script::source::{Origin, ScriptSource, builtin};
use shared::store::{EngagedAlert, Transition};
use shared::wire::delta::{Delta, HostDelta, InterfaceDelta, NetworkDelta, Producer};

use super::{Output, Partition};
use crate::config::AggregatorConfig;

mod coverage;
mod hosts;
mod kept;
mod midrun;
mod saved;
mod slices;

pub(super) const START: i64 = 1_700_000_040; // 2023-11-14T22:14:00Z, a whole minute

pub(super) fn partition(sources: Vec<ScriptSource>, settings: Value) -> Partition {
    restarted(sources, settings, Vec::new())
}

/// A partition that finds these alerts engaged.
pub(super) fn restarted(
    sources: Vec<ScriptSource>,
    settings: Value,
    engaged: Vec<EngagedAlert>,
) -> Partition {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let settings: BTreeMap<String, ScriptSettings> = serde_json::from_value(settings).unwrap();
    let (registry, errors) = Registry::load(&engine, sources, &settings);
    assert!(errors.is_empty(), "{errors:?}");
    let networks = Arc::new(LocalNetworks::new(["10.0.0.0/8".parse().unwrap()]));
    let limits = ScriptLimits { quarantine_after: 3, ..ScriptLimits::default() };
    let setup = ScriptSetup { limits, ..ScriptSetup::default() };
    Partition::new(7, engine, registry, &setup, AggregatorConfig::default(), networks, engaged)
}

pub(super) fn script(text: &str) -> Vec<ScriptSource> {
    vec![ScriptSource { name: "test".into(), origin: Origin::Inline, folder: None, text: text.to_owned() }]
}

/// The delta of second `at` after the start, with these hosts' sent bytes.
pub(super) fn delta(at: i64, hosts: &[(&str, u64)]) -> Delta {
    let from = Timestamp::from_secs(START + at);
    let bytes: u64 = hosts.iter().map(|(_, bytes)| bytes).sum();
    let host = |(ip, bytes): &(&str, u64)| {
        let ip: IpAddr = ip.parse().unwrap();
        HostDelta {
            key: HostKey::new(ip, 0),
            mac: None,
            local: ip.to_string().starts_with("10."),
            last_seen: from,
            counters: HostCounters { bytes_sent: *bytes, packets_sent: 1, ..HostCounters::default() },
        }
    };
    let counters = InterfaceCounters { bytes, packets: hosts.len() as u64, ..InterfaceCounters::default() };
    Delta {
        producer: Producer {
            site: "s".into(),
            node: "n".into(),
            ifid: 3,
            interface: "eth0".into(),
            epoch: 1,
            sequence: at as u64 + 1,
        },
        from,
        to: from.plus_secs(1),
        watermark: from.plus_secs(1),
        end_of_stream: false,
        interface: InterfaceDelta { counters, ..InterfaceDelta::default() },
        hosts: hosts.iter().map(host).collect(),
        contacts: Vec::new(),
        categories: Vec::new(),
        facts: Vec::new(),
        networks: vec![NetworkDelta {
            network: "10.0.0.0/8".parse().unwrap(),
            counters: NetworkCounters { bytes_egress: bytes, ..NetworkCounters::default() },
        }],
        traceparent: None,
    }
}

/// Applies seconds `from..to`, each with what `hosts` gives for it.
pub(super) fn seconds(
    partition: &mut Partition,
    range: std::ops::Range<i64>,
    hosts: impl Fn(i64) -> Vec<(&'static str, u64)>,
) -> Vec<Output> {
    range.map(|at| partition.apply(&delta(at, &hosts(at)))).collect()
}

pub(super) fn transitions(outputs: &[Output]) -> Vec<(AlertAction, String, i64)> {
    let told = |transition: &Transition| {
        let alert = match transition {
            Transition::Engage(engaged) => &engaged.alert,
            Transition::Release(alert) | Transition::Store(alert) => alert,
            Transition::Update(_) | Transition::Worsen(..) => return None,
        };
        Some((alert.action, alert.entity_value.clone(), alert.tstamp.secs() - START))
    };
    outputs.iter().flat_map(|o| &o.transitions).filter_map(told).collect()
}

#[test]
fn the_active_hosts_are_posted_once_a_minute_with_exactly_the_right_hosts() {
    let example = include_str!("../../../config/scripts/examples/dump_active_hosts_list.rhai");
    let mut partition = partition(script(example), serde_json::json!({}));
    let outputs = seconds(&mut partition, 0..420, |at| match at {
        0..30 => vec![("10.0.0.2", 100), ("10.0.0.10", 100), ("192.0.2.1", 100)],
        _ => vec![("10.0.0.3", 100)],
    });
    let posts: Vec<(i64, Vec<String>)> = outputs
        .iter()
        .flat_map(|output| &output.posts)
        .map(|post| {
            let body: Value = serde_json::from_str(&post.body).unwrap();
            let hosts = body["hosts"].as_array().unwrap().iter().map(|h| h.as_str().unwrap().to_owned());
            (body["when"].as_i64().unwrap() - START, hosts.collect())
        })
        .collect();
    let all = ["10.0.0.2", "10.0.0.3", "10.0.0.10"].map(str::to_owned).to_vec();
    let expected: Vec<(i64, Vec<String>)> = (1..=7)
        .map(|minute| match minute {
            // Local hosts last seen at second 29 are idle 300 s later.
            1..=5 => (minute * 60, all.clone()),
            _ => (minute * 60, vec!["10.0.0.3".to_owned()]),
        })
        .collect();
    assert_eq!(posts, expected);
}

#[test]
fn a_threshold_engages_updates_and_is_released() {
    let settings = serde_json::json!({ "host_bytes": { "enabled": true, "config": { "threshold": 5000 } },
        "no_activity": { "enabled": false } });
    let mut partition = partition(builtin(), settings);
    let outputs = seconds(&mut partition, 0..240, |at| match at {
        60..180 => vec![("10.0.0.1", 100)],
        _ => vec![("10.0.0.1", 10)],
    });
    assert_eq!(
        transitions(&outputs),
        [
            (AlertAction::Engage, "10.0.0.1".to_owned(), 120),
            (AlertAction::Release, "10.0.0.1".to_owned(), 240)
        ]
    );
    let Some(Transition::Engage(engaged)) = outputs.iter().flat_map(|o| &o.transitions).next() else {
        panic!()
    };
    assert_eq!(engaged.partition, 7);
    assert_eq!((engaged.alert.alert_type.as_str(), engaged.alert.value), ("threshold_cross", Some(6000.0)));
    assert_eq!(engaged.alert.alert_key.as_deref(), Some("min_bytes"));
    assert_eq!(engaged.alert.message, "Minute traffic crossed by host 10.0.0.1 [5.86 KB > 4.88 KB]");
    assert_eq!(engaged.alert.severity, Severity::Warning);
    let report = partition.report();
    assert_eq!(report.alerts["threshold_cross"]["engage"], 1);
}

#[test]
fn silence_on_an_interface_is_an_alert_until_packets_come_again() {
    let mut partition = partition(builtin(), serde_json::json!({}));
    let mut outputs = seconds(&mut partition, 0..30, |_| vec![("10.0.0.1", 10)]);
    // Empty summaries at the ends of minutes are what a silent interface sends.
    for (sequence, at) in [59, 119, 179].into_iter().enumerate() {
        let mut empty = delta(at, &[]);
        empty.producer.sequence = 31 + sequence as u64;
        outputs.push(partition.apply(&empty));
    }
    let mut back = delta(185, &[("10.0.0.1", 10)]);
    back.producer.sequence = 34;
    outputs.push(partition.apply(&back));
    let mut end = delta(239, &[]);
    end.producer.sequence = 35;
    outputs.push(partition.apply(&end));
    assert_eq!(
        transitions(&outputs),
        [(AlertAction::Engage, "eth0".to_owned(), 120), (AlertAction::Release, "eth0".to_owned(), 240)]
    );
}

#[test]
fn a_host_that_goes_idle_takes_its_alerts_with_it() {
    let settings = serde_json::json!({ "host_bytes": { "enabled": true,
        "hooks": { "hour": { "enabled": true, "config": { "threshold": 10 } } }, "config": { "threshold": 10 } } });
    let mut partition = partition(builtin(), settings);
    let outputs = seconds(&mut partition, 0..480, |at| match at {
        0..10 => vec![("10.0.0.1", 100), ("10.0.0.9", 0)],
        _ => vec![("10.0.0.9", 0)],
    });
    let told = transitions(&outputs);
    assert_eq!(told[0], (AlertAction::Engage, "10.0.0.1".to_owned(), 60));
    assert!(told.contains(&(AlertAction::Release, "10.0.0.1".to_owned(), 120)), "{told:?}");
    // The five-minute alert of the same check lives until the host is idle, 300 s after second 9.
    let fives: Vec<_> = told.iter().filter(|(_, _, at)| *at >= 300).collect();
    assert!(fives.iter().any(|(action, ..)| *action == AlertAction::Release), "{told:?}");
}

#[test]
fn what_comes_twice_changes_nothing() {
    let mut partition = partition(builtin(), serde_json::json!({}));
    for _ in 0..3 {
        partition.apply(&delta(0, &[("10.0.0.1", 10)]));
    }
    let stats = partition.interfaces().next().unwrap().interface.tally.total();
    assert_eq!(stats.bytes, 10);
    assert_eq!(partition.report().errors["delta_duplicates"], 2);
}

#[test]
fn summaries_of_a_run_that_says_to_be_older_are_counted_as_missing_and_told_once() {
    let mut partition = partition(builtin(), serde_json::json!({}));
    let of_run = |epoch: u64, at: i64| {
        let mut delta = delta(at, &[("10.0.0.1", 10)]);
        delta.producer.epoch = epoch;
        delta
    };
    partition.apply(&of_run(9, 0));
    let outputs: Vec<Output> = (1..4).map(|at| partition.apply(&of_run(5, at))).collect();
    let told = transitions(&outputs);
    assert_eq!(told, [(AlertAction::Store, "n".to_owned(), 1)], "with the time that is known");
    assert_eq!(partition.report().errors["summaries_stale"], 3);
    let state = partition.interfaces().next().unwrap();
    assert_eq!((state.batches["n"].received, state.batches["n"].missing), (1, 3));
    assert_eq!((state.health.total().summaries_missing, state.interface.tally.total().bytes), (3, 10));
}

#[test]
fn networks_and_interfaces_have_their_hooks_too() {
    let text = |kind: &str| {
        format!(
            "#{{ kind: \"{kind}\", hooks: #{{ all: |p| store_alert(#{{ message: `${{p.granularity}} ${{p.entity_info}} ${{p.delta.bytes}} ${{p.stats.bytes}} ${{p.ifid}}` }}) }} }}"
        )
    };
    for (kind, name) in [("network", "10.0.0.0/8"), ("interface", "eth0")] {
        let mut partition = partition(script(&text(kind)), serde_json::json!({}));
        let mut outputs = seconds(&mut partition, 0..119, |_| vec![("10.0.0.1", 1)]);
        let last = Delta { end_of_stream: true, ..delta(119, &[("10.0.0.1", 1)]) };
        outputs.push(partition.apply(&last));
        let messages: Vec<String> = outputs
            .iter()
            .flat_map(|output| &output.transitions)
            .map(|t| match t {
                Transition::Store(alert) => alert.message.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        // 22:15:00 ends a minute and five minutes; the end of the stream closes what holds data.
        let expected = [
            format!("min {name} 60 60 3"),
            format!("5mins {name} 60 60 3"),
            format!("min {name} 60 120 3"),
            format!("5mins {name} 60 120 3"),
            format!("hour {name} 120 120 3"),
            format!("day {name} 120 120 3"),
        ];
        assert_eq!(messages, expected);
    }
}

#[test]
fn a_run_that_does_not_reach_every_element_begins_there_next_time_and_releases_nothing() {
    let text = "#{ hooks: #{ min: |p| if p.delta.bytes > 5 { trigger_alert(#{}) } } }";
    let mut partition = partition(script(text), serde_json::json!({}));
    let outputs = seconds(&mut partition, 0..60, |_| vec![("10.0.0.1", 1), ("10.0.0.2", 1)]);
    assert_eq!(transitions(&outputs).len(), 2);
    partition.config.run_deadline_ms = 0;
    let outputs = seconds(&mut partition, 60..120, |_| vec![("10.0.0.1", 0)]);
    assert_eq!(transitions(&outputs), [], "nothing was reached, so nothing is released");
    assert_eq!(partition.report().errors["elements_not_reached"], 2);
    partition.config.run_deadline_ms = 10_000;
    let outputs = seconds(&mut partition, 120..180, |_| vec![("10.0.0.1", 0)]);
    assert_eq!(transitions(&outputs).len(), 2, "both are released by the next complete run");
}

#[test]
fn what_a_disabled_script_had_engaged_is_released_after_the_restart() {
    let on = || serde_json::json!({ "host_bytes": { "enabled": true, "config": { "threshold": 10 } } });
    let mut before = partition(builtin(), on());
    let outputs = seconds(&mut before, 0..60, |_| vec![("10.0.0.1", 100)]);
    let engaged: Vec<EngagedAlert> = outputs
        .into_iter()
        .flat_map(|output| output.transitions)
        .filter_map(|t| if let Transition::Engage(engaged) = t { Some(engaged) } else { None })
        .filter(|engaged| engaged.alert.alert_key.as_deref() == Some("min_bytes"))
        .collect();
    assert_eq!(engaged.len(), 1);

    let busy = |_| vec![("10.0.0.1", 100)];
    let mut same = restarted(builtin(), on(), engaged.clone());
    let told = transitions(&seconds(&mut same, 60..120, busy));
    assert!(told.iter().all(|(action, ..)| *action != AlertAction::Release), "{told:?}");
    let off = serde_json::json!({ "host_bytes": { "enabled": false } });
    let mut without = restarted(builtin(), off, engaged);
    let told = transitions(&seconds(&mut without, 60..120, busy));
    assert_eq!(told, [(AlertAction::Release, "10.0.0.1".to_owned(), 120)]);
}

#[test]
fn scripts_change_between_two_deltas() {
    let named = |name: &str, text: &str| ScriptSource { name: name.into(), ..script(text).remove(0) };
    let kept = "let n = 0; #{ lifecycle: \"load\", hooks: #{ min: |p| { n += 1; publish(\"n\", `${n}`) } } }";
    let alarm = "#{ hooks: #{ min: |p| trigger_alert(#{ message: \"x\" }) } }";
    let busy = |_| vec![("10.0.0.1", 100)];
    let said = |outputs: &[Output]| {
        outputs.iter().flat_map(|o| o.messages.iter().map(|(.., text)| text.clone())).collect::<Vec<_>>()
    };
    let mut partition = partition(vec![named("kept", kept), named("alarm", alarm)], serde_json::json!({}));
    let outputs = seconds(&mut partition, 0..60, busy);
    assert_eq!(transitions(&outputs).len(), 1, "the alarm engages");
    assert_eq!(said(&outputs), ["1"]);
    let setup = ScriptSetup { sources: vec![named("kept", kept)], ..ScriptSetup::default() };
    partition.reload_scripts(&setup);
    let outputs = seconds(&mut partition, 60..120, busy);
    let told = transitions(&outputs);
    assert_eq!(told, [(AlertAction::Release, "10.0.0.1".to_owned(), 120)], "its script is no more");
    assert_eq!(said(&outputs), ["2"], "what has not changed counts on");
    let other = kept.replace("n += 1", "n += 10");
    let setup = ScriptSetup { sources: vec![named("kept", &other)], ..ScriptSetup::default() };
    partition.reload_scripts(&setup);
    assert_eq!(said(&seconds(&mut partition, 120..180, busy)), ["10"], "what has changed begins anew");
}

#[test]
fn impossible_times_and_counters_harm_nobody() {
    let mut partition = partition(script("#{ hooks: #{ min: |p| p.stats.bytes } }"), serde_json::json!({}));
    for watermark in [Timestamp::MAX, Timestamp::from_secs(-1)] {
        partition.apply(&Delta { watermark, ..delta(0, &[("10.0.0.1", 10)]) });
    }
    assert_eq!(partition.report().errors["delta_times_implausible"], 2);
    let mut endless = delta(1, &[("10.0.0.1", u64::MAX)]);
    endless.hosts[0].counters.bytes_rcvd = u64::MAX;
    endless.networks[0].counters.bytes_inner = u64::MAX;
    partition.apply(&endless);
    let told = seconds(&mut partition, 2..120, |_| vec![("10.0.0.1", 10)]);
    assert_eq!(told.len(), 118, "and the windows close as before");
    assert_eq!(partition.report().hooks["min"], 2, "the host, each minute");
}

#[test]
fn what_a_delta_causes_goes_on_with_its_trace() {
    let text = "#{ hooks: #{ min: |p| { trigger_alert(#{}); http_post(\"http://x\", \"\") } } }";
    let mut partition = partition(script(text), serde_json::json!({}));
    seconds(&mut partition, 0..59, |_| vec![("10.0.0.1", 1)]);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let output =
        partition.apply(&Delta { traceparent: Some(trace.to_owned()), ..delta(59, &[("10.0.0.1", 1)]) });
    let [Transition::Engage(engaged)] = &output.transitions[..] else { panic!("{output:?}") };
    assert_eq!((engaged.alert.traceparent.as_deref(), &*output.posts[0].traceparent), (Some(trace), trace));
}

#[test]
fn what_is_learned_of_hosts_is_kept_and_shown_to_scripts() {
    let text = "#{ hooks: #{ min: |p| publish(\"x\", `${p.entity_info.name} ${p.entity_info.os}`) } }";
    let mut partition = partition(script(text), serde_json::json!({}));
    let mut outputs = Vec::new();
    for at in 0..60 {
        let mut delta = delta(at, &[("10.0.0.1", 10)]);
        let category = if at < 30 { AppCategory::Web } else { AppCategory::Chat };
        delta.categories = vec![CategoryBytes { host: 0, category, sent: 8, rcvd: 2 }];
        let fact = |kind, text: &str| HostFact { host: 0, kind, text: text.into() };
        delta.facts = match at {
            10 => vec![fact(FactKind::Name, "old.example.org"), fact(FactKind::Os, "Debian Linux")],
            20 => vec![fact(FactKind::Name, "www.example.org")],
            _ => Vec::new(),
        };
        outputs.push(partition.apply(&delta));
    }
    let told: Vec<&str> = outputs.iter().flat_map(|o| &o.messages).map(|m| m.2.as_str()).collect();
    assert_eq!(told, ["www.example.org Debian Linux"]);
    let key = HostKey::new("10.0.0.1".parse().unwrap(), 0);
    let bytes = partition.interfaces().next().unwrap().hosts.get(key).unwrap().categories();
    assert_eq!(bytes, BTreeMap::from([(AppCategory::Web, (240, 60)), (AppCategory::Chat, (240, 60))]));
}

#[test]
fn what_each_script_did_is_counted() {
    let text = "#{ hooks: #{ min: |p| if p.entity_info.ip == \"10.0.0.2\" { throw \"no\" } } }";
    let mut partition = partition(script(text), serde_json::json!({}));
    seconds(&mut partition, 0..60, |_| vec![("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1)]);
    let counts = partition.report().scripts["test"];
    assert_eq!((counts.calls, counts.errors, counts.quarantined), (3, 1, 0));
}

#[test]
fn a_script_that_keeps_failing_is_left_alone_and_tried_again() {
    let text = format!(
        "#{{ hooks: #{{ min: |p| {{ if p.when < {} {{ throw \"no\" }} store_alert(#{{ message: \"works\" }}) }} }} }}",
        START + 300
    );
    let mut partition = partition(script(&text), serde_json::json!({}));
    let outputs = seconds(&mut partition, 0..1021, |_| vec![("10.0.0.1", 1)]);
    let stored = transitions(&outputs);
    let told: Vec<_> = stored.iter().map(|(_, element, at)| (element.as_str(), *at)).collect();
    // Three failures, ten minutes of quarantine, of which somebody is told, then every minute.
    let works = (13..=17).map(|minute| ("10.0.0.1", minute * 60));
    assert_eq!(told, [("flowhook", 180)].into_iter().chain(works).collect::<Vec<_>>());
    let counts = partition.report().scripts["test"];
    assert_eq!((counts.calls, counts.errors, counts.quarantined, counts.skips), (8, 3, 1, 9));
}

#[test]
fn scripts_of_the_system_read_how_full_the_process_is() {
    let text = r#"#{
        key: "disk", kind: "system", default_enabled: true,
        hooks: #{ min: |params| if params.stats.disk_free < 1000 { trigger_alert(#{ value: params.stats.disk_free }) } },
    }"#;
    let mut partition = partition(script(text), serde_json::json!({}));
    let free = [5000, 400, 5000];
    let outputs: Vec<Output> = (0..180)
        .map(|at| {
            // The minute's run is done by the summary that ends it.
            partition.observe(&[("disk_free", free[at as usize / 60]), ("store_waiting", 3)]);
            partition.apply(&delta(at, &[("10.0.0.1", 100)]))
        })
        .collect();
    let engaged = (AlertAction::Engage, "flowhook".to_owned(), 120);
    let released = (AlertAction::Release, "flowhook".to_owned(), 180);
    assert_eq!(transitions(&outputs), [engaged, released]);
}
