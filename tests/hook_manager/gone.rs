//! Nodes that are killed, and what is told of it: by whoever hears them no more, or by their next run.

use serde_json::Value;

use super::Site;
use crate::support::http::{ask, get_json};
use crate::support::program::{Running, Setup, flowhook};
use crate::support::{free_port, wait_for};

/// What was told of a role of a node: each state, with the one before it.
fn states(api: &str, role: &str, node: &str) -> Option<Vec<String>> {
    let node = node.replace('%', "%25");
    let (status, body) =
        ask("GET", &format!("{api}/api/v1/events?limit=1000&filter=event.state.{role}.*.*.{node}"))?;
    let events: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
    let told = |event: &Value| {
        let body = &event["body"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        format!("{} after {}", text(&body["state"]), text(&body["prev"]["state"]))
    };
    Some(events["items"].as_array()?.iter().map(told).collect())
}

/// Waits until this is what was told.
fn told(api: &str, role: &str, node: &str, wanted: &[&str]) {
    let mut seen = Vec::new();
    let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("states", 60, || {
            seen = states(api, role, node)?;
            (seen == wanted).then_some(())
        });
    }));
    assert!(waited.is_ok(), "{role} {node}: {seen:?} instead of {wanted:?}");
}

#[test]
fn how_a_node_alone_ended_is_told_by_its_next_run() {
    let site = Site::new("[events]\nreads = false\n");
    let mut node = site.start(None);
    told(&site.api, "NOTIFIER", "n1", &["STARTED after -"]);
    node.kill();
    let mut node = site.start(None);
    told(&site.api, "NOTIFIER", "n1", &["STARTED after -", "LOST after STARTED", "STARTED after LOST"]);
    assert_eq!(node.terminate(), Some(0));
    let _node = site.start(None);
    for role in ["NOTIFIER", "AGGREGATOR", "COLLECTOR"] {
        told(
            &site.api,
            role,
            "n1",
            &[
                "STARTED after -",
                "LOST after STARTED",
                "STARTED after LOST",
                "STOPPED after STARTED",
                "STARTED after STOPPED",
            ],
        );
    }
}

#[test]
fn a_node_of_a_cluster_that_is_killed_is_told_once_by_one_of_two_aggregators() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let test = "nodes that are killed";
    let Some(nats) = crate::cluster::nats_server(test) else { return };
    let Some(postgres) = crate::cluster_store::postgres_server(&runtime, test) else { return };
    runtime.block_on(postgres.database("gone"));
    let setup = |name: &str| {
        let (port, flows) = (free_port(), free_port());
        let setup = Setup::new(&format!(
            "[node]\nname = \"{name}\"\nstate_dir = \"{{dir}}/state\"\nsecret_key = \"env:TEST_KEY\"\n
             [bus]\nkind = \"nats\"\nprefix = \"gone\"\n[bus.nats]\nservers = [\"{}\"]\n
             [store]\nkind = \"postgres\"\n[store.postgres]\nurl = \"env:TEST_DATABASE\"\n
             [events]\nreads = false\n[scripts]\nbuiltin = false\n[aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n
             [[collector.interface]]\nname = \"exports\"\nlisten = \"udp://127.0.0.1:{flows}\"\n",
            nats.url,
        ));
        (setup, format!("http://127.0.0.1:{port}"))
    };
    let start = |role: &str, setup: &Setup| {
        let mut command = flowhook(&[role, "-c", &setup.config()]);
        command.env("TEST_DATABASE", postgres.url("gone")).env("TEST_KEY", "5a".repeat(32));
        Running::start(command, &setup.path("log"))
    };
    let [(one, api), (two, other), (notifier, _), (collector, _)] = ["a1", "a2", "n1", "c1"].map(setup);
    let _first = start("aggregator", &one);
    let answers = |api: &str| {
        wait_for("the API", 60, || {
            ask("GET", &format!("{api}/api/v1/health")).filter(|(status, _)| *status == 200)
        });
    };
    answers(&api);
    let mut second = start("aggregator", &two);
    answers(&other);
    let _notifier = start("notifier", &notifier);
    let mut killed = start("collector", &collector);
    told(&api, "COLLECTOR", "c1", &["STARTED after -"]);
    wait_for("words of the collector", 30, || {
        let nodes = get_json(&format!("{other}/api/v1/nodes"));
        nodes["items"].as_array()?.iter().any(|node| node["node"] == "c1").then_some(())
    });
    killed.kill();
    // It starts again before anybody has missed it, and has told that it was lost itself.
    second.kill();
    let _second = start("aggregator", &two);
    let lost = ["STARTED after -", "LOST after STARTED"];
    told(&api, "COLLECTOR", "c1", &lost);
    told(&api, "AGGREGATOR", "a2", &[&lost[..], &["STARTED after LOST"]].concat());
    let mut stopped = start("collector", &collector);
    let back = [&lost[..], &["STARTED after LOST"]].concat();
    told(&api, "COLLECTOR", "c1", &back);
    assert_eq!(stopped.terminate(), Some(0));
    let _collector = start("collector", &collector);
    let again = [&back[..], &["STOPPED after STARTED", "STARTED after STOPPED"]].concat();
    told(&api, "COLLECTOR", "c1", &again);
    told(&api, "AGGREGATOR", "a1", &["STARTED after -"]);
    told(
        &api,
        "INTERFACE",
        "c1%2Fexports",
        &["CAPTURING after -", "CAPTURING after -", "STOPPED after CAPTURING", "CAPTURING after -"],
    );
}
