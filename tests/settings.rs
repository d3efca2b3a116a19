//! What is edited at a running node is in force at once, and still after a restart.

use serde_json::{Value, json};

use crate::replay::demo_config;
use crate::support::http::{Recorder, get_json};
use crate::support::program::{Running, Setup, flowhook, run_fails, run_json, text};
use crate::support::{data, free_port, wait_for};

/// A node of the demo that runs without traffic, and the address of its API.
pub fn start(setup: &Setup) -> (Running, String) {
    let port = free_port();
    let config = std::fs::read_to_string(setup.config()).unwrap();
    let config = config
        .replace("127.0.0.1:0\"", &format!("127.0.0.1:{port}\""))
        .replace("[node]\n", &format!("[node]\nstate_dir = \"{}\"\n", text(&setup.path("state"))));
    std::fs::write(setup.path("node.toml"), config).unwrap();
    let node = flowhook(&["run", "-c", text(&setup.path("node.toml"))]);
    let node = Running::start(node, &setup.path("log"));
    let api = format!("http://127.0.0.1:{port}");
    let up = || crate::support::http::ask("GET", &format!("{api}/api/v1/health"));
    wait_for("the API", 30, || up().filter(|(status, _)| *status == 200));
    (node, api)
}

/// Types of the alerts that a replay of the demo with this state stores, and of those it tells.
fn replayed(setup: &Setup, recorder: &Recorder) -> (Value, Vec<String>) {
    let (demo, config, state) = (data("demo.pcap"), setup.config(), setup.path("state"));
    let report = run_json(&["replay", text(&demo), "-c", &config, "--state", text(&state), "-O", "json"]);
    let told = recorder.requests_to("/alerts").into_iter().flat_map(|request| {
        let body = request.json();
        let types = body["alerts"].as_array().unwrap().iter().map(|a| a["type"].as_str().unwrap().to_owned());
        types.collect::<Vec<_>>()
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told.dedup();
    (report["alerts"].clone(), told)
}

#[test]
fn edits_are_in_force_at_once_and_after_a_restart() {
    let recorder = Recorder::start();
    let setup = demo_config(&recorder);
    let (mut node, api) = start(&setup);
    let ask = |args: &[&str]| run_json(&[args, &["--api", &api, "-O", "json", "--by", "ann"]].concat());

    let entry = ask(&["script", "disable", "unexpected_dns"]);
    assert_eq!((&entry["revision"], &entry["by"]), (&json!(1), &json!("ann")));
    assert!(entry["value"]["config"]["servers"].is_array(), "what the file says is kept: {entry}");
    wait_for("the script to be off", 10, || {
        let script = get_json(&format!("{api}/api/v1/scripts/unexpected_dns"));
        script["hooks"].as_object()?.values().all(|on| on == false).then_some(())
    });
    let scanner = json!({ "types": ["syn_scan"], "hosts": ["198.51.100.66"], "owner": "ann" }).to_string();
    ask(&["settings", "set", "exclusions", "scanner", &scanner]);
    let quiet = json!({ "types": ["clear_text_*"], "reason": "known" }).to_string();
    ask(&["settings", "set", "silences", "quiet", &quiet]);
    assert_eq!(node.terminate(), Some(0));

    let (stored, told) = replayed(&setup, &recorder);
    assert_eq!((&stored["unexpected_dns"], &stored["syn_scan"]), (&Value::Null, &Value::Null), "{stored}");
    assert!(stored["clear_text_credentials"]["store"].as_u64().is_some_and(|n| n > 0), "{stored}");
    assert!(!told.is_empty() && !told.iter().any(|t| t.starts_with("clear_text")), "{told:?}");
}

#[test]
fn a_pool_that_is_edited_changes_for_whom_a_script_is_on() {
    let recorder = Recorder::start();
    let setup = demo_config(&recorder);
    let (mut node, api) = start(&setup);
    let ask = |args: &[&str]| run_json(&[args, &["--api", &api, "-O", "json"]].concat());
    let off = json!({ "overrides": [{ "pool": "scanners", "enabled": false }] }).to_string();
    ask(&["settings", "set", "scripts", "syn_scan", &off]);
    let pool = |members: &[&str]| json!({ "members": members }).to_string();
    ask(&["settings", "set", "pools", "scanners", &pool(&["203.0.113.200"])]);
    assert_eq!(node.terminate(), Some(0));
    let (stored, _) = replayed(&setup, &recorder);
    assert_eq!(stored["syn_scan"]["engage"], 1, "nobody of the pool scans: {stored}");

    let (mut node, api) = start(&setup);
    let ask = |args: &[&str]| run_json(&[args, &["--api", &api, "-O", "json"]].concat());
    ask(&["settings", "set", "pools", "scanners", &pool(&["198.51.100.66"])]);
    assert_eq!(node.terminate(), Some(0));
    let (stored, _) = replayed(&setup, &recorder);
    assert_eq!(stored["syn_scan"], Value::Null, "{stored}");
}

#[test]
fn one_hook_of_a_script_is_switched_and_the_others_stay_as_they_are() {
    let setup = demo_config(&Recorder::start());
    let (_node, api) = start(&setup);
    let ask = |args: &[&str]| run_json(&[args, &["--api", &api, "-O", "json"]].concat());
    let hooks = |wanted: Value| {
        wait_for("the hooks to be switched", 10, || {
            (get_json(&format!("{api}/api/v1/scripts/host_packets"))["hooks"] == wanted).then_some(())
        });
    };
    hooks(json!({ "min": false, "5mins": false, "hour": false, "day": false }));
    let entry = ask(&["script", "enable", "host_packets", "--hook", "5mins"]);
    assert_eq!(entry["value"], json!({ "hooks": { "5mins": { "enabled": true } } }));
    hooks(json!({ "min": false, "5mins": true, "hour": false, "day": false }));
    ask(&["script", "disable", "host_packets", "--hook", "hour"]);
    ask(&["script", "enable", "host_packets"]);
    hooks(json!({ "min": true, "5mins": true, "hour": false, "day": true }));
    ask(&["script", "disable", "host_packets"]);
    hooks(json!({ "min": false, "5mins": true, "hour": false, "day": false }));
    let wrong = run_fails(&["script", "enable", "host_packets", "--hook", "flowEnd", "--api", &api], 3);
    assert!(wrong.contains("flowEnd"), "{wrong}");
}

#[test]
fn an_edit_can_be_taken_back_and_nobody_overwrites_another() {
    let setup = demo_config(&Recorder::start());
    let (_node, api) = start(&setup);
    let at = ["--api", &api, "-O", "json", "--by", "ann"];
    let ask = |args: &[&str]| run_json(&[args, &at].concat());
    let fails = |args: &[&str], code: i32| run_fails(&[args, &at].concat(), code);

    assert_eq!(ask(&["script", "config", "syn_scan", "--hook", "min"])["config"]["threshold"], 100);
    ask(&["script", "config", "syn_scan", r#"{ "threshold": 7 }"#]);
    ask(&["script", "config", "syn_scan", r#"{ "threshold": 9 }"#]);
    let history = run_json(&["settings", "history", "scripts", "syn_scan", "--api", &api, "-O", "json"]);
    let thresholds: Vec<&Value> =
        history.as_array().unwrap().iter().map(|v| &v["value"]["config"]["threshold"]).collect();
    assert_eq!(thresholds, [9, 7]);
    ask(&["settings", "rollback", "scripts", "syn_scan", "1"]);
    let shown = || run_json(&["settings", "show", "scripts", "syn_scan", "--api", &api, "-O", "json"]);
    assert_eq!(shown()["value"]["config"]["threshold"], 7);
    let late = fails(&["settings", "set", "scripts", "syn_scan", "{}", "--revision", "2"], 1);
    assert!(late.contains("revision 3"), "{late}");
    ask(&["settings", "delete", "scripts", "syn_scan"]);
    assert_eq!(shown()["source"], "file");

    let wrong = fails(&["script", "config", "syn_scan", r#"{ "threshold": "many" }"#], 3);
    assert!(wrong.contains("threshold"), "{wrong}");
    let wrong = fails(&["settings", "set", "exclusions", "x", r#"{ "typse": [] }"#], 3);
    assert!(wrong.contains("typse"), "{wrong}");
    let wrong = fails(&["settings", "set", "pools", "x", "{"], 3);
    assert!(wrong.contains("no JSON"), "{wrong}");
    let none = fails(&["script", "enable", "no_such_script"], 1);
    assert!(none.contains("no_such_script"), "{none}");
    let nobody = run_fails(&["settings", "list", "pools", "--api", "http://127.0.0.1:1"], 1);
    assert!(nobody.contains("nobody answers"), "{nobody}");
}
