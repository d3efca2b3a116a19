//! States of everything around, as a node tells them, and the switches that say which are told.

use std::net::UdpSocket;

use serde_json::{Value, json};

use super::Site;
use crate::support::http::{Recorder, get_json};
use crate::support::{data, free_port, wait_for};

/// Raises one alert a minute of its interface's time.
const LOUD: &str = "#{ key: \"loud\", kind: \"interface\",
    hooks: #{ min: |p| store_alert(#{ message: \"a minute is over\", severity: \"error\" }) } }";

/// A NetFlow v5 datagram with one record.
fn netflow() -> Vec<u8> {
    let mut datagram = vec![0, 5, 0, 1];
    datagram.extend([0, 1, 0, 0]);
    datagram.extend(1_700_000_000_u32.to_be_bytes());
    datagram.resize(24, 0);
    datagram.extend([192, 0, 2, 1, 192, 0, 2, 2, 0, 0, 0, 0]);
    datagram.resize(24 + 48, 0);
    datagram
}

/// Sends an export until somebody listens: on loopback the kernel says at once when nobody does.
fn export_to(port: u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    wait_for("a listener for exports", 30, || {
        let heard = socket.send(&netflow()).is_ok() && socket.take_error().unwrap().is_none();
        heard.then_some(())
    });
}

struct Told(Site, u16);

impl Told {
    /// A node with a recipient that fails once, a capture of some minutes, and a port for exports.
    fn new(events: &str, receiver: &Recorder) -> Self {
        let port = free_port();
        let site = Site::new(&format!(
            "dir = \"{{dir}}/scripts\"
             [events]\n{events}
             [notifier]\nbreaker_failures = 1\nbreaker_probe_s = 1
allow_private_targets = true
             [[notifier.endpoint]]\nname = \"far\"\nkind = \"webhook\"
             params = {{ url = \"{}/\" }}
             [[notifier.recipient]]\nname = \"operator\"\nendpoint = \"far\"\nchecks = [\"loud\"]
             [[collector.interface]]\nname = \"exports\"\nlisten = \"udp://127.0.0.1:{port}\"
             [[collector.interface]]\nname = \"demo\"\nfiles = [\"{}\"]\n",
            receiver.url(),
            data("demo.pcap").display(),
        ));
        std::fs::create_dir(site.setup.path("scripts")).unwrap();
        std::fs::write(site.setup.path("scripts/loud.rhai"), LOUD).unwrap();
        Self(site, port)
    }

    fn events(&self, filter: &str) -> Vec<Value> {
        let filter = filter.replace('%', "%25").replace('>', "%3E");
        let url = format!("{}/api/v1/events?limit=1000&filter={filter}", self.0.api);
        get_json(&url)["items"].as_array().unwrap().clone()
    }

    /// Waits until states of this kind and id have been told, each after the one before it.
    fn states(&self, resource: &str, id: &str, wanted: &[(&str, Option<&str>)]) {
        let mut seen = Vec::new();
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("states", 40, || {
                let events = self.events(&format!("event.state.{resource}.*.*.{id}"));
                let state =
                    |event: &Value| (event["body"]["state"].clone(), event["body"]["prev"]["state"].clone());
                seen = events.iter().map(state).collect();
                let wanted: Vec<_> = wanted.iter().map(|(state, prev)| (json!(state), json!(prev))).collect();
                (seen.starts_with(&wanted)).then_some(())
            });
        }));
        assert!(waited.is_ok(), "{resource} {id}: {seen:?} instead of {wanted:?}");
    }
}

#[test]
fn states_are_told_with_what_was_before_and_switches_say_which() {
    let failing = || Recorder::answering(|number, _| if number == 0 { 500 } else { 200 });
    let (quiet_end, end) = (failing(), failing());
    let quiet = Told::new("exporters = false\nreads = true\ntimers = false", &quiet_end);
    let mut quiet_node = quiet.0.start(None);
    let told = Told::new("reads = false\ntimers = true", &end);
    let mut node = told.0.start(None);
    for listener in [&quiet, &told] {
        listener.states("INTERFACE", "n1%2Fexports", &[("CAPTURING", None)]);
        export_to(listener.1);
    }

    told.states("RECIPIENT", "operator", &[("OPEN", Some("CLOSED")), ("CLOSED", Some("OPEN"))]);
    told.states("ENDPOINT", "far", &[("FAILING", Some("WORKING")), ("WORKING", Some("FAILING"))]);
    for enabled in [false, true] {
        told.0.run(&["settings", "set", "scripts", "loud", &json!({ "enabled": enabled }).to_string()]);
    }
    told.states("SCRIPT", "loud", &[("DISABLED", None), ("ENABLED", Some("DISABLED"))]);
    let other = json!({ "kind": "webhook", "params": { "url": "https://example.com/" } }).to_string();
    told.0.run(&["settings", "set", "endpoints", "other", &other]);
    told.0.run(&["settings", "delete", "endpoints", "other"]);
    told.states("ENDPOINT", "other", &[("CHANGED", None), ("DELETED", Some("CHANGED"))]);

    // A program that a signal ends, by whomever it comes.
    told.0.file("end.sh", "#!/bin/sh\necho begun\nkill -KILL $$\n");
    let hook = json!({ "triggers": [{ "type": "item", "node": "news" }], "kind": "exec", "argument": "end.sh",
        "retry": { "attempts": 1 } });
    told.0.run(&["hook", "create", "end", &told.0.definition("end", &hook)]);
    told.0.run(&["pubsub", "item", "publish", "-n", "news", "1"]);
    let record = told.0.ended("end", 1).remove(0);
    let seen = (&record["outcome"], &record["signal"], &record["exit_code"], &record["stdout"]);
    assert_eq!(seen, (&json!("killed"), &json!(9), &Value::Null, &json!("YmVndW4K")));

    // Exporters are looked at every ten seconds: at the quiet node as well, which was there before.
    let exporter = "127%2E0%2E0%2E1";
    told.states("EXPORTER", exporter, &[("ACTIVE", None)]);
    quiet.states("RECIPIENT", "operator", &[("OPEN", Some("CLOSED")), ("CLOSED", Some("OPEN"))]);
    let count = |told: &Told, filter: &str| told.events(filter).len();
    assert!(count(&told, "event.timer.min.*") > 0);
    assert_eq!((count(&quiet, "event.timer.>"), count(&quiet, "event.state.EXPORTER.>")), (0, 0));
    let reads = |told: &Told| {
        let events = told.events("event.api.>");
        events.iter().filter(|event| event["subject"].as_str().unwrap().contains(".event.list.")).count()
    };
    wait_for("an event of a call that reads", 30, || (reads(&quiet) > 0).then_some(()));
    assert_eq!(reads(&told), 0);

    assert_eq!((node.terminate(), quiet_node.terminate()), (Some(0), Some(0)));
    let _node = told.0.start(None);
    told.states(
        "INTERFACE",
        "n1%2Fexports",
        &[("CAPTURING", None), ("STOPPED", Some("CAPTURING")), ("CAPTURING", None)],
    );
}

#[test]
fn what_roles_tell_while_they_stop_is_told_after_the_next_start() {
    let site = Site::new("");
    let count = |state: &str| {
        let filter = format!("event.state.{state}.*.*").replace('.', "%2E");
        let url = format!("{}/api/v1/events?limit=1000&filter={filter}", site.api);
        get_json(&url)["items"].as_array().unwrap().len()
    };
    let mut node = site.start(None);
    wait_for("shards", 30, || (count("SHARD.STARTED") == 64).then_some(()));
    assert_eq!((count("SHARD.STOPPED"), count("LEASE.RELEASED")), (0, 0));
    assert_eq!(node.terminate(), Some(0));
    let _node = site.start(None);
    wait_for("what the first run had to say at its end", 30, || {
        ((count("SHARD.STOPPED"), count("LEASE.RELEASED")) == (64, 64)).then_some(())
    });
}
