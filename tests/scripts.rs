//! `flowhook script`: the workbench of who writes scripts.

use serde_json::json;

use crate::support::data;
use crate::support::program::{Setup, run, run_fails, run_json, text};

#[test]
fn every_script_is_listed_and_explained() {
    let scripts = run_json(&["script", "list", "-O", "json"]);
    let scripts = scripts.as_array().unwrap();
    assert!(scripts.len() > 60 && scripts.iter().any(|script| script["key"] == "syn_scan"));
    let explained = run_json(&["script", "explain", "-O", "json"]);
    let of =
        |key: &str| explained.as_array().unwrap().iter().find(|hook| hook["script"] == key).unwrap().clone();
    assert_eq!(of("obsolete_tls")["lowered"], true);
    assert_eq!(of("syn_scan")["reason"], "is no flow hook");
    let shown = run(&["script", "explain", "obsolete_tls"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "obsolete_tls statusChanged: lowered\n");
}

#[test]
fn a_new_script_of_each_kind_is_right_and_overwrites_nothing() {
    let setup = Setup::new("");
    let demo = data("demo.pcap");
    for kind in ["flow", "host", "network", "interface"] {
        let file = setup.path(&format!("{kind}_check.rhai"));
        assert!(run(&["script", "new", text(&file), "--kind", kind]).status.success());
        let report = run_json(&["script", "test", text(&file), "--capture", text(&demo), "-O", "json"]);
        assert_eq!(report[0]["errors"], 0, "{report}");
        let hook = if kind == "flow" { "flowEnd" } else { "min" };
        assert!(
            report[0]["calls"][hook].as_u64().is_some_and(|calls| calls > 0) || kind == "network",
            "{report}"
        );
        let message = run_fails(&["script", "new", text(&file)], 1);
        assert!(message.contains("exists"), "{message}");
    }
}

#[test]
fn calls_are_shown_with_what_they_read_and_asked_for() {
    let demo = data("demo.pcap");
    let shown = run(&["script", "test", "clear_text_protocol", "--capture", text(&demo)]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("reads cli, srv, l7, l7_master"), "{shown}");
    assert!(shown.contains("trigger clear_text_credentials error: Credentials of 192.168.10.12"), "{shown}");
    let config = json!({ "protocols": [] }).to_string();
    let arguments = ["script", "test", "clear_text_protocol", "--script-config", &config];
    let quiet = run_json(&[&arguments[..], &["--capture", text(&demo), "-O", "json"]].concat());
    assert_eq!(quiet[0]["alerts"].get("clear_text_protocol"), None, "{quiet}");
}

#[test]
fn a_script_carries_what_it_expects_of_captures() {
    let setup = Setup::new("");
    std::fs::copy(data("demo.pcap"), setup.path("demo.pcap")).unwrap();
    let file = setup.path("scan.rhai");
    let write = |expected: u64| {
        let script = format!(
            "#{{ kind: \"host\", default_value: #{{ most: 100 }},
                hooks: #{{ min: |params| {{
                    if params.delta.syn_unanswered_sent > params.user_script_config.most {{ trigger_alert(#{{}}); }}
                }} }},
                expect: [
                    #{{ capture: \"demo.pcap\", alerts: #{{ scan: {expected} }} }},
                    #{{ capture: \"demo.pcap\", config: #{{ most: 1000000 }} }},
                ] }}"
        );
        std::fs::write(&file, script).unwrap();
    };
    write(1);
    let right = run(&["script", "test", text(&file)]);
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stdout));
    write(2);
    let message = run_fails(&["script", "test", text(&file)], 1);
    assert!(message.contains("1 of 2 captures failed"), "{message}");
}

#[test]
fn what_cannot_be_tested_says_why() {
    let message = run_fails(&["script", "test", "obsolete_tls"], 3);
    assert!(message.contains("--capture"), "{message}");
    let message = run_fails(&["script", "test", "no_such_script", "--capture", "x.pcap"], 3);
    assert!(message.contains("no_such_script"), "{message}");
    let demo = data("demo.pcap");
    let message = run_fails(&["script", "bench", "syn_scan", "--capture", text(&demo)], 3);
    assert!(message.contains("only flow scripts"), "{message}");
    let setup = Setup::new("");
    let file = setup.path("broken.rhai");
    std::fs::write(&file, "#{ hooks: #{ flowEnd: |n, c| { if } } }").unwrap();
    let message = run_fails(&["script", "test", text(&file), "--capture", text(&demo)], 3);
    assert!(message.contains("line 1"), "{message}");
    std::fs::write(&file, "#{ hooks: #{ flowEnd: |n, c| throw \"on purpose\" } }").unwrap();
    let message = run_fails(&["script", "test", text(&file), "--capture", text(&demo)], 1);
    assert!(message.contains("failed"), "{message}");
    let lines = run(&["script", "bench", "clear_text_protocol", "--capture", text(&demo), "-O", "json"]);
    let line: serde_json::Value = serde_json::from_slice(&lines.stdout).unwrap();
    assert!(line["hook"] == "statusChanged" && line["failed"] == 0, "{line}");
}
