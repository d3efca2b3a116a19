//! `flowhook script`: the workbench of who writes scripts.

use serde_json::{Value, json};

use crate::support::http::{ask, get_json};
use crate::support::program::{Running, Setup, flowhook, run, run_fails, run_json, text};
use crate::support::{data, free_port, wait_for};

#[test]
fn every_script_is_listed_and_explained() {
    let scripts = run_json(&["script", "list", "-O", "json"]);
    let scripts = scripts.as_array().unwrap();
    assert!(scripts.len() > 60 && scripts.iter().any(|script| script["key"] == "syn_scan"));
    let explained = run_json(&["script", "explain", "-O", "json"]);
    let of =
        |key: &str| explained.as_array().unwrap().iter().find(|hook| hook["script"] == key).unwrap().clone();
    assert_eq!(of("obsolete_tls")["tier"], "lowered");
    assert_eq!(of("syn_scan")["tier"], "lowered");
    assert_eq!(of("network_issues")["reason"], "uses params");
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
fn a_script_of_log_lines_is_tested_over_a_file_of_them() {
    let setup = Setup::new("");
    for kind in ["system", "active_monitoring", "syslog"] {
        let file = setup.path(&format!("{kind}_check.rhai"));
        assert!(run(&["script", "new", text(&file), "--kind", kind]).status.success());
        assert!(run(&["script", "explain", text(&file)]).status.success());
    }
    let log = setup.path("lines.log");
    let lines = [
        "<38>Oct 11 22:14:15 gate sshd[1]: Failed password for root from 192.0.2.9",
        "<38>Oct 11 22:14:16 gate sshd[1]: Accepted publickey for root",
        "<38>Oct 11 22:14:17 gate cron[2]: Failed password is what somebody typed",
        "no line of syslog",
    ];
    std::fs::write(&log, lines.join("\n")).unwrap();
    let script = setup.path("syslog_check.rhai");
    let report = run_json(&["script", "test", text(&script), "--log", text(&log), "-O", "json"]);
    assert_eq!(
        (&report[0]["calls"]["handleEvent"], &report[0]["errors"]),
        (&json!(2), &json!(0)),
        "{report}"
    );
    assert_eq!(report[0]["alerts"], json!({ "syslog_check": 1 }));
    assert_eq!(report[0]["malformed"].as_object().unwrap().len(), 1, "{report}");
    let shown = run(&["script", "test", text(&script), "--log", text(&log)]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("gate: Failed password for root") && shown.contains("1 lines left out"),
        "{shown}"
    );
    let missing = setup.path("none.log");
    let message = run_fails(&["script", "test", text(&script), "--log", text(&missing)], 4);
    assert!(message.contains("none.log"), "{message}");
}

#[test]
fn calls_are_shown_with_what_they_read_and_asked_for() {
    let demo = data("demo.pcap");
    let shown = run(&["script", "test", "clear_text_protocol", "--capture", text(&demo)]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("reads cli, srv, l7, l7_master"), "{shown}");
    assert!(shown.contains("trigger clear_text_credentials error: Credentials of 192.168.10.12"), "{shown}");
    assert!(shown.contains("where nobody watches: statusChanged lowered;"), "{shown}");
    let config = json!({ "protocols": [] }).to_string();
    let arguments = ["script", "test", "clear_text_protocol", "--script-config", &config];
    let quiet = run_json(&[&arguments[..], &["--capture", text(&demo), "-O", "json"]].concat());
    assert_eq!(quiet[0]["alerts"].get("clear_text_protocol"), None, "{quiet}");
    let tiers = quiet[0]["tiers"].as_object().unwrap();
    let explained = run_json(&["script", "explain", "clear_text_protocol", "-O", "json"]);
    for hook in explained.as_array().unwrap() {
        assert_eq!(tiers[hook["hook"].as_str().unwrap()], hook["tier"], "{quiet}");
    }
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
    assert!(message.contains("1 of 2 failed"), "{message}");
}

#[test]
fn what_cannot_be_tested_says_why() {
    let message = run_fails(&["script", "test", "obsolete_tls"], 3);
    assert!(message.contains("--capture"), "{message}");
    let message = run_fails(&["script", "test", "no_such_script", "--capture", "x.pcap"], 3);
    assert!(message.contains("no_such_script"), "{message}");
    let demo = data("demo.pcap");
    let message = run_fails(&["script", "bench", "syn_scan"], 3);
    assert!(message.contains("--capture"), "{message}");
    let message = run_fails(&["script", "bench", "suricata", "--capture", text(&demo)], 3);
    assert!(message.contains("--log"), "{message}");
    let setup = Setup::new("");
    let file = setup.path("broken.rhai");
    std::fs::write(&file, "#{ hooks: #{ flowEnd: |n, c| { if } } }").unwrap();
    let message = run_fails(&["script", "test", text(&file), "--capture", text(&demo)], 3);
    assert!(message.contains("line 1"), "{message}");
    std::fs::write(&file, "#{ hooks: #{ flowEnd: |n, c| throw \"on purpose\" } }").unwrap();
    let message = run_fails(&["script", "test", text(&file), "--capture", text(&demo)], 1);
    assert!(message.contains("failed"), "{message}");
}

#[test]
fn scripts_of_every_kind_that_a_capture_or_a_log_calls_are_measured() {
    let (setup, demo) = (Setup::new(""), data("demo.pcap"));
    let log = setup.path("lines.log");
    std::fs::write(&log, "<38>Oct 11 22:14:15 gate sshd[1]: Failed password for root\n").unwrap();
    let local = Setup::new("[node]\nlocal_networks = [\"192.168.0.0/16\"]\n");
    let config = local.config();
    for (script, hook, input) in [
        ("clear_text_protocol", "statusChanged", ["--capture", text(&demo)]),
        ("syn_scan", "min", ["--capture", text(&demo)]),
        ("network_issues", "min", ["--capture", text(&demo)]),
        ("too_many_drops", "min", ["--capture", text(&demo)]),
        ("system_error", "min", ["--capture", text(&demo)]),
        ("suricata", "handleEvent", ["--log", text(&log)]),
    ] {
        let told = run(&["script", "bench", script, input[0], input[1], "-c", &config, "-O", "json"]);
        let line: Value =
            serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("{script}: {told:?}"));
        assert!(line["hook"] == hook && line["failed"] == 0, "{script}: {line}");
        assert!(
            line["calls"].as_u64() > Some(0) && line["ns_per_call"].as_f64() > Some(0.0),
            "{script}: {line}"
        );
    }
}

#[test]
fn a_changed_folder_is_in_force_soon_and_a_broken_file_changes_nothing() {
    let port = free_port();
    let setup = Setup::new(&format!(
        "[scripts]\nbuiltin = false\ndir = \"{{dir}}/scripts\"\nreload_s = 1\n[aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n"
    ));
    std::fs::create_dir(setup.path("scripts")).unwrap();
    let write = |text: &str| std::fs::write(setup.path("scripts/check.rhai"), text).unwrap();
    write("#{ title: \"first\", kind: \"host\", hooks: #{ min: |p| () } }");
    let mut running = Running::start(flowhook(&["run", "-c", &setup.config()]), &setup.path("log"));
    let api = format!("http://127.0.0.1:{port}/api/v1/scripts");
    wait_for("the API", 30, || ask("GET", &api).filter(|(status, _)| *status == 200));
    let shows = |wanted: &str, is: &dyn Fn(&Value) -> bool| {
        wait_for(wanted, 30, || get_json(&api)["items"].as_array()?.first().filter(|row| is(row)).cloned())
    };
    shows("the script", &|row| row["title"] == "first");
    write("#{ title: \"second\", kind: \"host\", hooks: #{ min: |p| () } }");
    shows("the change", &|row| row["title"] == "second" && row.get("error").is_none());
    write("#{ title: \"third\",\n hooks: #{ min: |p| { if } } }");
    let broken = shows("what is wrong", &|row| row["error"].is_string());
    assert!(broken["error"].as_str().unwrap().contains("line 2 column"), "{broken}");
    assert_eq!(broken["title"], "second", "what it held before is in force");
    std::fs::remove_file(setup.path("scripts/check.rhai")).unwrap();
    wait_for("the end of it", 30, || get_json(&api)["items"].as_array()?.is_empty().then_some(()));
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn checks_that_learn_forget_what_nobody_comes_back_to_and_do_not_learn_anew() {
    let local = Setup::new("[node]\nlocal_networks = [\"192.168.0.0/16\"]\n");
    let (demo, config) = (data("demo.pcap"), local.config());
    let alerts = |kept: u32| {
        let settings = json!({ "learning": 60, "kept": kept }).to_string();
        let args = ["script", "test", "rare_destination", "--capture", text(&demo), "-c", &config];
        let report = run_json(&[&args[..], &["--script-config", &settings, "-O", "json"]].concat());
        report[0]["alerts"]["rare_destination"].as_u64().unwrap_or(0)
    };
    // With room for few it tells more often that somebody goes to a new place, and never falls silent.
    let (all, few) = (alerts(50_000), alerts(6));
    assert!(all > 0 && few > all, "{all} {few}");
}
