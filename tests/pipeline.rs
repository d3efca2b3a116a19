//! From a capture file to a webhook and a REST answer, in one process.

use serde_json::Value;

use crate::replay::demo_config;
use crate::support::http::{Recorder, ask, get_json};
use crate::support::program::{Running, Said, flowhook, text};
use crate::support::{data, free_port, wait_for};

/// The demo capture through everything, with the API left open. Gives the API's address.
fn serve_demo(recorder: &Recorder) -> (crate::support::program::Setup, Running, String) {
    let setup = demo_config(recorder);
    let port = free_port();
    let config = std::fs::read_to_string(setup.config()).unwrap();
    let config = config.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    std::fs::write(setup.config(), config).unwrap();
    let demo = data("demo.pcap");
    let command = flowhook(&["replay", text(&demo), "-c", &setup.config(), "--serve"]);
    let running = Running::start(command, &setup.path("log"));
    let api = format!("http://127.0.0.1:{port}/api/v1");
    let done = || {
        let (status, body) = ask("GET", &format!("{api}/alerts?type=syn_scan"))?;
        (status == 200 && body.contains("syn_scan")).then_some(())
    };
    wait_for("the capture in the alert history", 60, done);
    (setup, running, api)
}

fn items(answer: &Value) -> &Vec<Value> {
    answer["items"].as_array().unwrap_or_else(|| panic!("no items in {answer}"))
}

#[test]
fn a_capture_becomes_flows_hooks_alerts_deliveries_and_rest_answers() {
    let recorder = Recorder::start();
    let (_setup, mut running, api) = serve_demo(&recorder);

    // Delivered, with a key that every try of it would carry.
    let alerts =
        wait_for("a webhook", 20, || Some(recorder.requests_to("/alerts")).filter(|r| !r.is_empty()));
    let body = alerts[0].json();
    assert_eq!((body["version"].as_str(), body["sharedsecret"].as_str()), (Some("0.2"), Some("hunter2")));
    assert!(body["alerts"][0]["idempotency_key"].as_str().unwrap().contains("/operator"));

    // History, filters and paging.
    let dns = get_json(&format!("{api}/alerts?type=unexpected_dns"));
    assert!(items(&dns).iter().all(|a| a["type"] == "unexpected_dns" && a["entity"] == "flow"));
    assert_eq!(items(&dns)[0]["server"]["ip"], "198.51.100.53");
    assert_eq!(items(&dns)[0]["client"]["pool"], "office");
    let first = get_json(&format!("{api}/alerts?limit=2"));
    let next = first["next"].as_str().unwrap();
    let second = get_json(&format!("{api}/alerts?limit=2&cursor={next}"));
    assert_eq!((items(&first).len(), items(&second).len()), (2, 2));
    assert!(items(&first)[1]["row"].as_i64() > items(&second)[0]["row"].as_i64());

    // Acknowledge.
    let row = items(&first)[0]["row"].as_i64().unwrap();
    assert_eq!(ask("POST", &format!("{api}/alerts/{row}/acknowledge")).unwrap().0, 200);
    let acknowledged = get_json(&format!("{api}/alerts?acknowledged=true"));
    assert_eq!(items(&acknowledged).len(), 1);

    // Elements and flows.
    let hosts = get_json(&format!("{api}/hosts?local=true&limit=100"));
    let host =
        items(&hosts).iter().find(|h| h["host"] == "192.168.10.20").unwrap_or_else(|| panic!("{hosts}"));
    assert!(host["stats"]["syn_unanswered_rcvd"].as_u64().unwrap() > 500, "{host}");
    let interfaces = get_json(&format!("{api}/interfaces"));
    assert_eq!(items(&interfaces)[0]["stats"]["packets"], 3529, "{interfaces}");
    assert!(!items(&get_json(&format!("{api}/networks"))).is_empty());
    let sni = |flow: &Value| flow["info"]["tls"]["sni"] == "login.bank.example";
    wait_for("the TLS flows in the store", 20, || {
        items(&get_json(&format!("{api}/flows?l7=TLS"))).iter().any(sni).then_some(())
    });

    // Scripts, recipients, health, contract, metrics.
    let scripts = get_json(&format!("{api}/scripts"));
    assert!(items(&scripts).iter().any(|s| s["key"] == "demo_active_hosts"), "{scripts}");
    let recipients = get_json(&format!("{api}/recipients"));
    let named = |name: &str| items(&recipients).iter().any(|r| r["name"] == name);
    assert!(named("operator") && named("alert_store"), "{recipients}");
    assert_eq!(ask("POST", &format!("{api}/recipients/operator/test")).unwrap().0, 200);
    assert_eq!(ask("GET", &format!("{api}/health")).unwrap().0, 200);
    let contract = get_json(&format!("{api}/openapi.json"));
    assert!(contract["paths"].as_object().unwrap().len() >= 12, "{contract}");
    let (status, metrics) = ask("GET", &api.replace("/api/v1", "/metrics")).unwrap();
    assert_eq!(status, 200);
    assert!(metrics.contains("flowhook_collector_packets_total"), "{metrics}");

    // Errors have one shape.
    for (path, status) in [("/nothing", 404), ("/alerts?severity=loud", 400), ("/flows?colour=red", 400)] {
        let (got, body) = ask("GET", &format!("{api}{path}")).unwrap();
        assert_eq!(got, status, "{path}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert!(body["error"]["code"].is_string() && body["error"]["message"].is_string(), "{body}");
    }
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn the_active_hosts_list_is_posted_once_a_minute_with_exactly_the_right_hosts() {
    let recorder = Recorder::start();
    let (_setup, mut running, _) = serve_demo(&recorder);
    // The capture crosses two minute boundaries and ends within the third minute.
    let posts = wait_for("three posts", 20, || Some(recorder.requests_to("/hosts")).filter(|p| p.len() >= 3));
    assert_eq!(posts.len(), 3);
    let mut lists: Vec<Value> = posts.iter().map(crate::support::http::Request::json).collect();
    lists.sort_by_key(|list| list["when"].as_i64());
    let when: Vec<i64> = lists.iter().map(|l| l["when"].as_i64().unwrap()).collect();
    assert_eq!(when, [1_795_423_740, 1_795_423_800, 1_795_423_860]);
    for list in lists {
        let hosts: Vec<&str> =
            list["hosts"].as_array().unwrap().iter().map(|h| h.as_str().unwrap()).collect();
        assert_eq!(hosts, active_local_hosts(list["when"].as_i64().unwrap()), "{list}");
    }
    assert_eq!(running.terminate(), Some(0));
}

/// Local hosts with a packet before `end` and none of them idle (300 s): read from the capture with
/// tshark, in the order of the run: by address, then VLAN.
fn active_local_hosts(end: i64) -> Vec<String> {
    let demo = data("demo.pcap");
    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.time_epoch",
        "-e",
        "ip.src",
        "-e",
        "ip.dst",
        "-e",
        "ipv6.src",
        "-e",
        "ipv6.dst",
        "-e",
        "vlan.id",
    ];
    let output =
        std::process::Command::new("tshark").args(["-n", "-r", text(&demo)]).args(fields).said().unwrap();
    let mut hosts = std::collections::BTreeSet::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let time: f64 = columns[0].parse().unwrap();
        if time >= end as f64 {
            break;
        }
        let vlan: u16 = columns[5].parse().unwrap_or(0);
        // An ICMP error quotes the header of another packet; the first address is the frame's own.
        for address in columns[1..5].iter().filter(|a| !a.is_empty()) {
            let ip: std::net::IpAddr = address.split(',').next().unwrap().parse().unwrap();
            if is_local(ip) {
                hosts.insert((ip, vlan));
            }
        }
    }
    hosts.into_iter().map(|(ip, _)| ip.to_string()).collect()
}

fn is_local(ip: std::net::IpAddr) -> bool {
    match ip {
        std::net::IpAddr::V4(ip) => matches!(ip.octets(), [192, 168, 10 | 42, _]),
        std::net::IpAddr::V6(ip) => matches!(ip.segments(), [0xfd00, 0x10 | 0x42, 0, 0, ..]),
    }
}
