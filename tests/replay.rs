//! `flowhook replay`: the report, the flows file, and that both are the same every time.

use serde_json::Value;

use crate::support::data;
use crate::support::http::Recorder;
use crate::support::program::{Said, Setup, run, run_fails, run_json, text};

/// The demo's configuration with its receiver replaced by `recorder`.
pub fn demo_config(recorder: &Recorder) -> Setup {
    let root = env!("CARGO_MANIFEST_DIR");
    let config = std::fs::read_to_string(format!("{root}/config/demo.toml")).unwrap();
    let config = config
        .replace("http://127.0.0.1:9099", &recorder.url())
        .replace("config/demo/scripts", "{dir}/scripts")
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("= \"demo\" }", "= \"hunter2\" }");
    let setup = Setup::new(&config);
    let script =
        std::fs::read_to_string(format!("{root}/config/demo/scripts/host/active_hosts.rhai")).unwrap();
    std::fs::create_dir_all(setup.path("scripts/host")).unwrap();
    let script = script.replace("http://127.0.0.1:9099", &recorder.url());
    std::fs::write(setup.path("scripts/host/active_hosts.rhai"), script).unwrap();
    setup
}

fn replay_demo(name: &str) -> (Value, String, Vec<Value>) {
    let recorder = Recorder::start();
    let setup = demo_config(&recorder);
    let flows = setup.path("flows.jsonl");
    let capture = data(name);
    let config = setup.config();
    let args = ["replay", text(&capture), "-c", &config, "-O", "json", "--flows-out", text(&flows)];
    let output = run(&args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("still owed"), "everything is through: {said}");
    let report = serde_json::from_slice(&output.stdout).unwrap();
    let flows = std::fs::read_to_string(flows).unwrap();
    let mut alerts: Vec<Value> = recorder
        .requests_to("/alerts")
        .iter()
        .flat_map(|r| r.json()["alerts"].as_array().unwrap().clone())
        .collect();
    alerts.sort_by_key(|a| a["idempotency_key"].to_string());
    (report, flows, alerts)
}

#[test]
fn two_replays_give_the_same_output_to_the_byte() {
    let (mut first, first_flows, first_alerts) = replay_demo("demo.pcap");
    let (mut second, second_flows, second_alerts) = replay_demo("demo.pcap");
    for report in [&mut first, &mut second] {
        report.as_object_mut().unwrap().remove("elapsed_s").unwrap();
    }
    assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&second).unwrap());
    assert!(first_flows == second_flows, "the flows files differ");
    assert_eq!(first_alerts, second_alerts);
    assert!(!first_alerts.is_empty());
}

#[test]
fn the_report_tells_what_is_in_the_capture() {
    let (report, flows, alerts) = replay_demo("demo.pcap");
    let expected: Value =
        serde_json::from_slice(&std::fs::read(data("demo.expected.json")).unwrap()).unwrap();
    let expected = &expected["demo.pcap"];
    assert_eq!(report["packets"], expected["packets"]);
    assert_eq!(report["bytes"], expected["bytes"]);
    let protocols = report["flows_by_protocol"].as_object().unwrap();
    for name in ["DNS", "HTTP", "TLS", "SSH", "NTP", "SMTP", "DHCP", "ICMP", "ICMPV6"] {
        assert!(protocols.contains_key(name), "{name} is missing in {protocols:?}");
    }
    let lines: Vec<Value> = flows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, report["flows"].as_u64().unwrap());
    let names = |l7: &str| -> std::collections::BTreeSet<String> {
        let of = lines.iter().filter(|f| f["l7"] == l7).map(|f| f["name"].as_str().unwrap().to_owned());
        of.filter(|name| !name.is_empty()).collect()
    };
    let known = |key: &str| -> std::collections::BTreeSet<String> {
        expected[key].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("TLS"), known("sni"));
    let hosts = names("HTTP");
    assert!(hosts.is_subset(&known("http_hosts")) && hosts.len() >= 5, "{hosts:?}");
    assert!(report["hooks"]["min"].as_u64().unwrap() > 0, "{}", report["hooks"]);
    assert!(
        report["hooks"]["flowEnd"].as_u64().is_some()
            || report["hooks"]["protocolDetected"].as_u64().is_some()
    );
    assert!(alerts.iter().any(|a| a["type"] == "unexpected_dns"), "{alerts:?}");
    assert!(alerts.iter().any(|a| a["type"] == "syn_scan" && a["entity_value"] == "198.51.100.66"));
}

#[test]
fn pcapng_and_nanosecond_captures_are_read() {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(data("demo.expected.json")).unwrap()).unwrap();
    for name in ["demo.pcapng", "demo-ns.pcap", "ping6-vlan.pcap", "ping-cooked.pcap"] {
        let capture = data(name);
        let report = run_json(&["replay", text(&capture), "-O", "json"]);
        assert_eq!(report["packets"], expected[name]["packets"], "{name}");
        assert_eq!(report["bytes"], expected[name]["bytes"], "{name}");
        // Of two echoes over IPv6 this excerpt has the later fragments alone.
        let errors = match name {
            "demo-ns.pcap" => serde_json::json!({ "fragments_orphaned": 2 }),
            _ => serde_json::json!({}),
        };
        assert_eq!(report["errors"], errors, "{name}");
    }
}

#[test]
fn several_files_are_read_in_order() {
    let (a, b) = (data("demo-ns.pcap"), data("demo-ns.pcap"));
    let report = run_json(&["replay", text(&a), text(&b), "-O", "json"]);
    let once = run_json(&["replay", text(&a), "-O", "json"]);
    assert_eq!(report["packets"].as_u64().unwrap(), 2 * once["packets"].as_u64().unwrap());
}

#[test]
fn the_text_report_names_what_people_look_for() {
    let demo = data("demo.pcap");
    let output = run(&["replay", text(&demo)]);
    let report = String::from_utf8(output.stdout).unwrap();
    for word in ["packets", "flows", "protocols", "hooks", "alerts", "deliveries", "packets/s"] {
        assert!(report.contains(word), "{word} is missing in:\n{report}");
    }
}

#[test]
fn the_shipped_configurations_are_right() {
    let root = env!("CARGO_MANIFEST_DIR");
    for name in ["default.toml", "demo.toml", "collector.toml", "aggregator.toml", "notifier.toml"] {
        let path = format!("{root}/config/{name}");
        let mut command = crate::support::program::flowhook(&["check", "-c", &path]);
        let output = command.current_dir(root).said().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_default_configuration_says_what_is_built_in() {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/config/default.toml");
    let written = run_json(&["config", "dump", "-c", &path, "-O", "json"]);
    let built_in = run_json(&["config", "dump", "-O", "json"]);
    assert_eq!(written, built_in);
}

#[test]
fn applications_of_the_users_own_name_flows_with_category_and_breed() {
    let config = "[telemetry]\nlog = \"error\"\n[scripts]\nbuiltin = false\n\
        [collector]\napplications = [\"{dir}/ours.tsv\", \"{dir}/more.tsv\"]\n";
    let setup = Setup::new(config);
    let ours = "# suffix\tapplication\tcategory\tbreed\nbank.example\tOurBank\tshopping\tsafe\n\
        shop.example\tOurShop\tweb\tfun\n";
    std::fs::write(setup.path("ours.tsv"), ours).unwrap();
    // A longer suffix wins, and a later file.
    std::fs::write(setup.path("more.tsv"), "www.shop.example\tWebShop\tshopping\tacceptable\n").unwrap();
    let (capture, config, flows) = (data("demo.pcap"), setup.config(), setup.path("flows.jsonl"));
    run_json(&["replay", text(&capture), "-c", &config, "-O", "json", "--flows-out", text(&flows)]);
    let flows = std::fs::read_to_string(flows).unwrap();
    let flows: Vec<Value> = flows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named = |host: &str, part: &str, field: &str| {
        let all: std::collections::BTreeSet<_> = flows
            .iter()
            .filter(|flow| flow["info"][part][field] == host)
            .map(|flow| ["l7", "l7_category", "l7_breed"].map(|key| flow[key].as_str().unwrap().to_owned()))
            .collect();
        all.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(named("login.bank.example", "tls", "sni"), [["TLS.OurBank", "shopping", "safe"]]);
    assert_eq!(named("www.shop.example", "http", "host"), [["HTTP.WebShop", "shopping", "acceptable"]]);
    assert_eq!(named("www.shop.example", "dns", "query"), [["DNS.WebShop", "shopping", "acceptable"]]);

    std::fs::write(setup.path("more.tsv"), "shop.example\tShop\tshopping\n").unwrap();
    let error = run_fails(&["check", "-c", &config], 3);
    assert!(error.contains("more.tsv: line 1: 3 fields instead of"), "{error}");
}
