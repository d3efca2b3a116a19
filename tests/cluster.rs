//! Three role processes joined by a real NATS server.

use serde_json::Value;
use shared::bus::nats::{NatsBus, NatsConfig};
use shared::bus::test_server::NatsServer;
use shared::bus::{Bus, SharedBus};
use shared::model::alert::{ALERT_SCHEMA_VERSION, derive_id};
use shared::model::{Alert, AlertAction, Category, Entity, Severity, Timestamp};
use shared::store::EngagedAlert;

use crate::support::http::{Recorder, ask, get_json};
use crate::support::program::{Running, Setup, flowhook, text};
use crate::support::{data, free_port, wait_for};

/// A connection to the server under a prefix.
pub async fn connect(url: &str, prefix: &str) -> SharedBus {
    let config =
        NatsConfig { servers: vec![url.to_owned()], prefix: prefix.to_owned(), ..NatsConfig::default() };
    NatsBus::connect(config).await.unwrap()
}

/// A real server for the time of a test; `None`, said loudly, where none is installed.
pub fn nats_server(test: &str) -> Option<NatsServer> {
    tokio::runtime::Runtime::new().unwrap().block_on(NatsServer::start(test))
}

/// The alert with this number.
pub fn alert(number: usize) -> Alert {
    Alert {
        schema_version: ALERT_SCHEMA_VERSION,
        id: derive_id(&["test", &number.to_string()]),
        action: AlertAction::Store,
        alert_type: "test".to_owned(),
        entity: Entity::Host,
        entity_value: format!("192.0.2.{}", number % 250),
        severity: Severity::Error,
        category: Category::Security,
        score: 100,
        tstamp: Timestamp::from_secs(1_800_000_000 + number as i64),
        engaged_at: None,
        site: "main".to_owned(),
        node: "n1".to_owned(),
        ifid: 0,
        interface: "eth0".to_owned(),
        script: "test".to_owned(),
        granularity: None,
        alert_key: None,
        message: format!("alert {number}"),
        value: None,
        threshold: None,
        client: None,
        server: None,
        flow: None,
        traceparent: None,
        mitre: Vec::new(),
        flapping: false,
        other: Default::default(),
    }
}

/// An engaged alert of partition 7.
pub fn engaged(number: usize) -> EngagedAlert {
    EngagedAlert { partition: 7, alert: Alert { action: AlertAction::Engage, ..alert(number) } }
}

#[test]
fn three_role_processes_over_nats_bring_a_capture_to_a_webhook_and_the_api() {
    let Some(nats) = nats_server("roles") else { return };
    let recorder = Recorder::start();
    let port = free_port();
    let root = env!("CARGO_MANIFEST_DIR");
    let demo = std::fs::read_to_string(format!("{root}/config/demo.toml")).unwrap();
    let demo = demo
        .replace("http://127.0.0.1:9099", &recorder.url())
        .replace("dir = \"config/demo/scripts\"", "")
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
    let setup = |name: &str, more: &str| {
        let node = "[node]\nstate_dir = \"{dir}/state\"\n";
        let own = demo.replace("[node]\n", node).replace("demo-node", name);
        let bus = format!(
            "\n[bus]\nkind = \"nats\"\nprefix = \"roles\"\n[bus.nats]\nservers = [\"{}\"]\n",
            nats.url
        );
        Setup::new(&format!("{own}{bus}{more}"))
    };
    let notifier = setup("n-notifier", "");
    let aggregator = setup("n-aggregator", "");
    let capture = data("demo.pcap");
    let interface = format!("\n[[collector.interface]]\nname = \"file\"\nfiles = [\"{}\"]\n", text(&capture));
    let collector = setup("n-collector", &interface);

    let start = |role: &str, setup: &Setup| {
        Running::start(flowhook(&[role, "-c", &setup.config()]), &setup.path("log"))
    };
    let mut notifier_process = start("notifier", &notifier);
    let mut aggregator_process = start("aggregator", &aggregator);
    let api = format!("http://127.0.0.1:{port}/api/v1");
    wait_for("the API", 30, || ask("GET", &format!("{api}/health")).filter(|(status, _)| *status == 200));
    let mut collector_process = start("collector", &collector);

    let types = |body: &Value| -> std::collections::BTreeSet<String> {
        body["items"].as_array().unwrap().iter().map(|a| a["type"].as_str().unwrap().to_owned()).collect()
    };
    // A flow alert of the collector and a host alert of the aggregator, both through the notifier
    // into the history.
    let history = wait_for("alerts in the history", 60, || {
        let (status, body) = ask("GET", &format!("{api}/alerts?limit=1000"))?;
        let body: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let found = types(&body);
        (found.contains("unexpected_dns") && found.contains("syn_scan")).then_some(body)
    });
    assert!(history["items"].as_array().unwrap().iter().all(|a| a["site"] == "demo"));
    let delivered = wait_for("both at the webhook", 60, || {
        let all: std::collections::BTreeSet<String> = recorder
            .requests_to("/alerts")
            .iter()
            .flat_map(|r| r.json()["alerts"].as_array().unwrap().clone())
            .map(|a| a["type"].as_str().unwrap().to_owned())
            .collect();
        (all.contains("unexpected_dns") && all.contains("syn_scan")).then_some(all)
    });
    assert!(delivered.len() >= 2);
    let interfaces = get_json(&format!("{api}/interfaces"));
    assert_eq!(interfaces["items"][0]["stats"]["packets"], 3529, "{interfaces}");
    let recipients = get_json(&format!("{api}/recipients"));
    assert!(recipients["items"].as_array().unwrap().iter().any(|r| r["name"] == "operator"), "{recipients}");
    for process in [&mut collector_process, &mut aggregator_process, &mut notifier_process] {
        assert_eq!(process.terminate(), Some(0));
    }
}

#[test]
fn hits_of_an_exclusion_are_those_of_both_processes() {
    let Some(nats) = nats_server("hits") else { return };
    let port = free_port();
    let root = env!("CARGO_MANIFEST_DIR");
    let demo = std::fs::read_to_string(format!("{root}/config/demo.toml")).unwrap();
    let demo = demo
        .replace("dir = \"config/demo/scripts\"", "")
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
    // Of a flow, which the collector would raise, and of a host, which the aggregator would.
    let rule = "[exclusions.known]\ntypes = [\"unexpected_dns\", \"syn_scan\"]\n";
    let setup = |name: &str, more: &str| {
        let node = "[node]\nstate_dir = \"{dir}/state\"\n";
        let own = demo.replace("[node]\n", node).replace("demo-node", name);
        let servers = format!("servers = [\"{}\"]\n", nats.url);
        Setup::new(&format!(
            "{own}\n[bus]\nkind = \"nats\"\nprefix = \"hits\"\n[bus.nats]\n{servers}{rule}{more}"
        ))
    };
    let capture = data("demo.pcap");
    let interface = format!("[[collector.interface]]\nname = \"file\"\nfiles = [\"{}\"]\n", text(&capture));
    let (aggregator, collector) = (setup("h-aggregator", ""), setup("h-collector", &interface));
    let start = |role: &str, setup: &Setup| {
        Running::start(flowhook(&[role, "-c", &setup.config()]), &setup.path("log"))
    };
    let _aggregating = start("aggregator", &aggregator);
    let mut collecting = start("collector", &collector);
    let api = format!("http://127.0.0.1:{port}/api/v1");
    let known = || {
        let (status, body) = ask("GET", &format!("{api}/settings/exclusions"))?;
        let list: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let there = get_json(&format!("{api}/nodes"))["items"].as_array()?.len();
        Some((list["items"][0]["hits"].as_u64()?, there, list["missing"].clone()))
    };
    wait_for("the whole capture", 60, || {
        let (status, body) = ask("GET", &format!("{api}/interfaces"))?;
        let body: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        (body["items"][0]["stats"]["packets"] == 3529).then_some(())
    });
    let both = wait_for("hits of both, all answering", 30, || {
        known().filter(|(hits, there, missing)| *hits > 1 && *there == 2 && missing == &serde_json::json!([]))
    });
    assert_eq!(collecting.terminate(), Some(0));
    let own = wait_for("hits of the aggregator alone", 30, || {
        known().filter(|(hits, _, missing)| *hits < both.0 && missing == &serde_json::json!([]))
    });
    assert!(own.0 > 0 && own.0 < both.0, "{both:?}, then {own:?}");
}

#[test]
fn a_bus_that_cannot_be_reached_is_named() {
    let port = free_port();
    let setup = Setup::new(&format!(
        "[node]\nstate_dir = \"{{dir}}/state\"\n[bus]\nkind = \"nats\"\n[bus.nats]\nservers = [\"nats://127.0.0.1:{port}\"]\n"
    ));
    let stderr = crate::support::program::run_fails(&["run", "-c", &setup.config()], 1);
    assert!(stderr.contains(&port.to_string()), "{stderr}");
}

#[test]
fn every_role_stops_although_the_server_is_away() {
    let Some(mut nats) = nats_server("away") else { return };
    let running: Vec<(Setup, Running)> = ["aggregator", "notifier", "collector"]
        .into_iter()
        .map(|role| {
            let setup = Setup::new(&format!(
                "[node]\nname = \"{role}\"\nstate_dir = \"{{dir}}/state\"\n[bus]\nkind = \"nats\"\n\
                 [bus.nats]\nservers = [\"{}\"]\n[aggregator.api]\nlisten = \"127.0.0.1:{}\"\n\
                 [[collector.interface]]\nname = \"far0\"\nlisten = \"udp://127.0.0.1:{}\"\n",
                nats.url,
                free_port(),
                free_port(),
            ));
            let process = Running::start(flowhook(&[role, "-c", &setup.config()]), &setup.path("log"));
            (setup, process)
        })
        .collect();
    for (setup, _) in &running {
        wait_for("the start", 60, || {
            let log = std::fs::read_to_string(setup.path("log")).unwrap_or_default();
            (log.contains("API at") || log.contains("started")).then_some(())
        });
    }
    nats.kill();
    running.iter().for_each(|(_, process)| process.ask_to_stop());
    for (setup, mut process) in running {
        let code = wait_for("the end", 30, || process.0.try_wait().unwrap());
        let log = std::fs::read_to_string(setup.path("log")).unwrap_or_default();
        assert_eq!(code.code(), Some(0), "{log}");
    }
}

#[test]
fn a_role_alone_needs_a_bus_between_processes() {
    let stderr = crate::support::program::run_fails(&["notifier"], 3);
    assert!(stderr.contains("bus.kind"), "{stderr}");
}

#[test]
fn under_a_wrong_prefix_nothing_is_made_and_everybody_says_so_until_an_aggregator_comes() {
    let Some(nats) = nats_server("wrong_prefix") else { return };
    let capture = data("demo.pcap");
    let port = free_port();
    let setup = |name: &str, more: &str| {
        Setup::new(&format!(
            "[node]\nname = \"{name}\"\nstate_dir = \"{{dir}}/state\"\n[bus]\nkind = \"nats\"\nprefix = \"typo\"\n\
             [bus.nats]\nservers = [\"{}\"]\n[aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n{more}",
            nats.url
        ))
    };
    let interface = format!("[[collector.interface]]\nname = \"file\"\nfiles = [\"{}\"]\n", text(&capture));
    let (collector, notifier) = (setup("c", &interface), setup("n", ""));
    let start = |role: &str, setup: &Setup| {
        Running::start(flowhook(&[role, "-c", &setup.config()]), &setup.path("log"))
    };
    let mut collecting = start("collector", &collector);
    let mut notifying = start("notifier", &notifier);
    for setup in [&collector, &notifier] {
        wait_for("what is wrong in the log", 40, || {
            let log = std::fs::read_to_string(setup.path("log")).ok()?;
            log.contains("nobody answers under prefix 'typo'").then_some(())
        });
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = NatsConfig {
            servers: vec![nats.url.clone()],
            prefix: "typo".to_owned(),
            create_streams: Some(false),
            ..NatsConfig::default()
        };
        let bus = NatsBus::connect(config).await.unwrap();
        let second = std::time::Duration::from_secs(5);
        let streams = bus.request("$JS.API.STREAM.NAMES", Default::default(), second).await.unwrap();
        let streams: Value = serde_json::from_slice(&streams).unwrap();
        assert_eq!(streams["total"], 0, "{streams}");
    });
    let aggregator = setup("a", "");
    let mut aggregating = start("aggregator", &aggregator);
    let api = format!("http://127.0.0.1:{port}/api/v1");
    wait_for("what was captured", 60, || {
        let (status, body) = ask("GET", &format!("{api}/interfaces"))?;
        let body: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        (body["items"][0]["stats"]["packets"] == 3529).then_some(())
    });
    wait_for("an alert that the notifier brought into the history", 60, || {
        let (status, body) = ask("GET", &format!("{api}/alerts"))?;
        let body: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        (!body["items"].as_array()?.is_empty()).then_some(())
    });
    for process in [&mut collecting, &mut notifying, &mut aggregating] {
        assert_eq!(process.terminate(), Some(0));
    }
}
