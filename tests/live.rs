//! Live capture on virtual wires, in network namespaces of the test's own. Needs root.

use std::process::{Command, Stdio};

use crate::support::program::{Running, Said, Setup};
use crate::support::{free_port, has_program, wait_for};

mod cable;
mod drops;
mod sources;

/// Two namespaces joined by a veth pair: `a` (10.99.0.1) and `b` (10.99.0.2).
struct Wire {
    a: String,
    b: String,
}

impl Wire {
    /// Makes it, or says why not.
    fn new(name: &str) -> Option<Self> {
        if !has_program("ip") || !has_program("ping") {
            return None;
        }
        let wire = Self { a: format!("fh-{name}-a"), b: format!("fh-{name}-b") };
        wire.remove();
        for args in [
            format!("netns add {}", wire.a),
            format!("netns add {}", wire.b),
            format!("link add fhv0 netns {} type veth peer name fhv1 netns {}", wire.a, wire.b),
            format!("-n {} addr add 10.99.0.1/24 dev fhv0", wire.a),
            format!("-n {} addr add 10.99.0.2/24 dev fhv1", wire.b),
            format!("-n {} link set lo up", wire.a),
            format!("-n {} link set fhv0 up", wire.a),
            format!("-n {} link set fhv1 up", wire.b),
        ] {
            if !ip(&args) {
                assert!(std::env::var_os("CI").is_none(), "ip {args} failed, and in CI nothing is skipped");
                eprintln!("SKIPPED: network namespaces cannot be made here (ip {args}); run as root");
                return None;
            }
        }
        Some(wire)
    }

    fn ping(&self, count: u32) -> bool {
        let mut ping = inside(&self.a, "ping");
        ping.args(["-q", "-i", "0.01", "-c", &count.to_string(), "10.99.0.2"]);
        ping.stdout(Stdio::null()).status().unwrap().success()
    }

    fn remove(&self) {
        for namespace in [&self.a, &self.b] {
            ip(&format!("netns del {namespace}"));
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.remove();
    }
}

fn ip(args: &str) -> bool {
    let status = Command::new("ip").args(args.split(' ')).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// flowhook inside a namespace, capturing on `fhv0`; asked from inside by curl.
struct Capturing {
    setup: Setup,
    running: Running,
    port: u16,
}

fn capture(wire: &Wire) -> Capturing {
    start(&wire.a, "name = \"fhv0\"\n")
}

/// Starts flowhook inside a namespace with this `[[collector.interface]]`.
fn start(namespace: &str, interface: &str) -> Capturing {
    let port = free_port();
    let setup = Setup::new(&format!(
        "[node]\nname = \"live\"\nstate_dir = \"{{dir}}/state\"\n[aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n[[collector.interface]]\n{interface}"
    ));
    let mut command = inside(namespace, env!("CARGO_BIN_EXE_flowhook"));
    command.args(["run", "-c", &setup.config()]).stdin(Stdio::null());
    let running = Running::start(command, &setup.path("log"));
    let capturing = Capturing { setup, running, port };
    wait_for("the interface", 30, || {
        let interfaces = capturing.get(namespace, "/interfaces")?;
        (interfaces["items"][0]["name"] == "fhv0").then_some(())
    });
    capturing
}

/// A command inside a namespace.
fn inside(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

impl Capturing {
    fn get(&self, namespace: &str, path: &str) -> Option<serde_json::Value> {
        serde_json::from_str(&self.text(namespace, &format!("/api/v1{path}"))?).ok()
    }

    fn text(&self, namespace: &str, path: &str) -> Option<String> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let output = inside(namespace, "curl").args(["-sf", "-m", "5", &url]).said().unwrap();
        String::from_utf8(output.stdout).ok().filter(|_| output.status.success())
    }
}

#[test]
fn packets_on_a_live_wire_become_flows_and_a_stop_ends_them_all() {
    let Some(wire) = Wire::new("live") else { return };
    let mut capturing = capture(&wire);
    assert!(wire.ping(50));
    // While it lives, the flow is seen on the collector.
    let packets = |flow: &serde_json::Value, way: &str| flow[way]["packets"].as_u64().unwrap();
    wait_for("the whole live flow", 30, || {
        let page = capturing.get(&wire.a, "/flows/live")?;
        let flow = page["items"].as_array()?.iter().find(|f| f["l7"] == "ICMP")?;
        (packets(flow, "cli2srv") == 50 && packets(flow, "srv2cli") == 50).then_some(())
    });
    wait_for("all its packets at the host", 30, || {
        let hosts = capturing.get(&wire.a, "/hosts")?;
        let host = hosts["items"].as_array()?.iter().find(|h| h["host"] == "10.99.0.2")?;
        (host["stats"]["icmp_sent"] == 50 && host["stats"]["icmp_rcvd"] == 50).then_some(())
    });
    // SIGTERM: the flow gets its end and is stored.
    assert_eq!(capturing.running.terminate(), Some(0), "{}", log(&capturing.setup));
    let store = tokio::runtime::Runtime::new().unwrap().block_on(async {
        use shared::store::FlowStore;
        let store = shared::store::sqlite::SqliteStore::open(&capturing.setup.path("state")).unwrap();
        store.flows(shared::model::query::FlowQuery::default()).await.unwrap()
    });
    let icmp = store.items.iter().find(|f| &*f.flow.l7 == "ICMP").unwrap_or_else(|| panic!("{store:?}"));
    assert_eq!(icmp.flow.end, Some(shared::model::FlowEnd::Shutdown));
    assert_eq!(icmp.flow.packets(), 100);
}

#[test]
fn an_interface_that_goes_away_is_an_alert_and_comes_back() {
    let Some(wire) = Wire::new("gone") else { return };
    let capturing = capture(&wire);
    assert!(wire.ping(5));
    assert!(ip(&format!("-n {} link del fhv0", wire.a)));
    wait_for("the alert", 60, || {
        let alerts = capturing.get(&wire.a, "/alerts?type=capture_failed")?;
        alerts["items"].as_array()?.iter().find(|a| a["entity_value"] == "fhv0").cloned()
    });
    for args in [
        format!("link add fhv0 netns {} type veth peer name fhv1 netns {}", wire.a, wire.b),
        format!("-n {} addr add 10.99.0.1/24 dev fhv0", wire.a),
        format!("-n {} addr add 10.99.0.2/24 dev fhv1", wire.b),
        format!("-n {} link set fhv0 up", wire.a),
        format!("-n {} link set fhv1 up", wire.b),
    ] {
        assert!(ip(&args), "{args}");
    }
    wait_for("packets after the return", 60, || {
        wire.ping(2);
        let page = capturing.get(&wire.a, "/flows/live")?;
        page["items"].as_array()?.iter().find(|f| f["l7"] == "ICMP").cloned()
    });
}

fn log(setup: &Setup) -> String {
    std::fs::read_to_string(setup.path("log")).unwrap_or_default()
}
