//! Flow hooks on the bundled capture: which, how often, in which order (design: seed 000).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::data;
use crate::support::http::Recorder;
use crate::support::program::{Setup, run_json, text};

/// Posts every call: hook, flow, and what the hook can see.
const TELL_ALL: &str = r#"
let told = [];
let tell = |hook, now| told.push(#{ hook: hook, id: flow.id, now: now, l7: flow.l7, status: flow.status, old: flow.old_status, first: flow.first_seen, last: flow.last_seen });
#{
    key: "tell_all",
    periodic_update_seconds: 30,
    hooks: #{
        protocolDetected: |now, config| tell.call("protocolDetected", now),
        statusChanged: |now, config| tell.call("statusChanged", now),
        periodicUpdate: |now, config| tell.call("periodicUpdate", now),
        flowEnd: |now, config| tell.call("flowEnd", now),
    },
    teardown: || http_post("RECEIVER/told", to_json(told)),
}
"#;

fn replay(script: &str, recorder: &Recorder, more: &str) -> Value {
    let setup = Setup::new(&format!(
        "[scripts]\nbuiltin = false\ndir = \"{{dir}}/scripts\"\n[notifier]\nallow_private_targets = true\n{more}"
    ));
    std::fs::create_dir(setup.path("scripts")).unwrap();
    std::fs::write(setup.path("scripts/script.rhai"), script.replace("RECEIVER", &recorder.url())).unwrap();
    let demo = data("demo.pcap");
    run_json(&["replay", text(&demo), "-c", &setup.config(), "-O", "json"])
}

#[test]
fn every_flow_has_its_hooks_in_order() {
    let recorder = Recorder::start();
    let report = replay(TELL_ALL, &recorder, "");
    assert_eq!(report["errors"], serde_json::json!({}), "{report}");
    let told = recorder.requests_to("/told")[0].json();
    let told = told.as_array().unwrap();
    let mut flows: BTreeMap<i64, Vec<&Value>> = BTreeMap::new();
    for call in told {
        flows.entry(call["id"].as_i64().unwrap()).or_default().push(call);
    }
    assert_eq!(flows.len() as u64, report["flows"].as_u64().unwrap(), "every flow is told");
    let mut periodic = 0;
    for (id, calls) in &flows {
        let hooks: Vec<&str> = calls.iter().map(|c| c["hook"].as_str().unwrap()).collect();
        assert_eq!(hooks.iter().filter(|h| **h == "protocolDetected").count(), 1, "flow {id}: {hooks:?}");
        assert_eq!(hooks.iter().filter(|h| **h == "flowEnd").count(), 1, "flow {id}: {hooks:?}");
        assert_eq!(hooks.last(), Some(&"flowEnd"), "flow {id}: {hooks:?}");
        let first = |hook: &str| hooks.iter().position(|h| *h == hook);
        let updated = first("periodicUpdate").unwrap_or(hooks.len());
        assert!(first("protocolDetected").unwrap() < updated, "flow {id}: {hooks:?}");
        for call in calls {
            let (old, status) = (&call["old"], &call["status"]);
            assert_eq!(call["hook"] == "statusChanged", old != status, "flow {id}: {call}");
        }
        // Updates come every 30 s of event time, counted from the first packet.
        let first = calls[0]["first"].as_i64().unwrap();
        let updates: Vec<i64> = calls
            .iter()
            .filter(|c| c["hook"] == "periodicUpdate")
            .map(|c| c["now"].as_i64().unwrap() - first)
            .collect();
        for (n, age) in updates.iter().enumerate() {
            let due = 30 * (n as i64 + 1);
            assert!((due..=due + 2).contains(age), "flow {id}: update {n} at {age} s");
        }
        periodic += updates.len();
    }
    assert!(periodic >= 5, "the idle connection lives for over 160 s: {periodic} updates");
    for (hook, calls) in report["hooks"].as_object().unwrap() {
        let here = told.iter().filter(|c| c["hook"] == hook.as_str()).count() as u64;
        assert_eq!(calls.as_u64().unwrap(), here, "{hook}");
    }
}

#[test]
fn all_stands_for_every_flow_hook() {
    let recorder = Recorder::start();
    let script =
        "#{ kind: \"flow\", periodic_update_seconds: 30, hooks: #{ all: |now, config| flow.bytes } }";
    let report = replay(script, &recorder, "");
    let hooks = report["hooks"].as_object().unwrap();
    for hook in ["protocolDetected", "statusChanged", "periodicUpdate", "flowEnd"] {
        assert!(hooks.contains_key(hook), "{hook} is missing in {hooks:?}");
    }
}

#[test]
fn a_flow_end_script_sees_its_configuration_and_tells_what_it_found() {
    let recorder = Recorder::start();
    let script = r#"
#{
    key: "big_flow",
    default_value: #{ bytes: 1000000000 },
    hooks: #{ flowEnd: |now, script_config| {
        if flow.bytes > script_config.bytes {
            store_alert(#{ severity: "warning", message: `${flow.label} moved ${flow.bytes} bytes`, value: flow.bytes, threshold: script_config.bytes });
        }
    } },
}
"#;
    let report = replay(script, &recorder, "[scripts.settings.big_flow]\nconfig = { bytes = 1000000 }\n");
    assert_eq!(report["alerts"]["big_flow"]["store"], 1, "only the big download: {report}");
    let unset = replay(script, &recorder, "");
    assert_eq!(unset["alerts"], serde_json::json!({}));
}

#[test]
fn a_script_for_local_hosts_is_not_called_for_others() {
    let recorder = Recorder::start();
    let script = r#"
let seen = [];
#{
    key: "local_only_here",
    local_hosts: true,
    hooks: #{ min: |params| seen.push(`${params.entity_info}`) },
    teardown: || http_post("RECEIVER/seen", to_json(seen)),
}
"#;
    replay(script, &recorder, "[node]\nlocal_networks = [\"192.168.42.0/24\", \"fd00:42::/64\"]\n");
    let seen = recorder.requests_to("/seen");
    assert!(!seen.is_empty());
    for request in seen {
        for host in request.json().as_array().unwrap() {
            let host = host.as_str().unwrap();
            assert!(host.starts_with("192.168.42.") || host.starts_with("fd00:42:"), "{host}");
            assert!(host.ends_with("@42"), "{host} is in VLAN 42");
        }
    }
}
