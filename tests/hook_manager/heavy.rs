//! Much at once, and a bus that goes away: hooks that write a gigabyte, events of megabytes, ten thousand
//! hooks, and NATS killed under a persistent one.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::wire::subject::{EventSubject, Subjects};

use super::{Site, TOKEN};
use crate::support::program::{Running, Said, flowhook};
use crate::support::wait_for;

/// The most that a process has had in memory so far.
pub fn peak_kib(node: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_gigabyte_of_output_is_not_memory() {
    const GIGABYTE: u64 = 1_000_000_000;
    let site = Site::new("");
    let node = site.start(None);
    site.file("flood.sh", &format!("#!/bin/sh\nhead -c {GIGABYTE} /dev/zero\nhead -c 1000 /dev/zero >&2\n"));
    let hook = json!({
        "subjects": ["event.item.*.news"], "kind": "exec", "argument": "flood.sh",
        "limits": { "output_kib": 256 }, "timeout_s": 60,
    });
    site.run(&["hook", "create", "flood", &site.definition("flood", &hook)]);
    let before = peak_kib(&node);
    site.run(&["pubsub", "item", "publish", "-n", "news", "go"]);
    let record = site.ended("flood", 1).remove(0);
    let grown = peak_kib(&node) - before;
    assert!(grown < 64 * 1024, "{grown} KiB for a gigabyte");
    let told =
        (&record["outcome"], &record["stdout_bytes"], &record["stdout_truncated"], &record["stderr_bytes"]);
    assert_eq!(told, (&json!("success"), &json!(GIGABYTE), &json!(true), &json!(1000)));
}

/// Scenario 16: an event that is larger than a message goes over NATS by reference, in one process as it
/// is; its hook gets it whole either way.
#[test]
fn an_event_larger_than_a_message_reaches_its_hook_whole() {
    const SIZE: usize = 3_000_000;
    let nats = crate::cluster::nats_server("larger than a message");
    let over_nats = nats.as_ref().map(|nats| {
        format!("[bus]\nkind = \"nats\"\nprefix = \"large\"\n[bus.nats]\nservers = [\"{}\"]\n", nats.url)
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for bus in [Some(String::new()), over_nats].into_iter().flatten() {
        let site = Site::new(&bus);
        let _node = site.start(None);
        site.file("count.sh", "#!/bin/sh\ntr -dc '~' | wc -c\n");
        let hook = json!({ "subjects": ["event.item.*.news"], "kind": "exec", "argument": "count.sh" });
        site.run(&["hook", "create", "count", &site.definition("count", &hook)]);
        let heard = nats.as_ref().filter(|_| !bus.is_empty()).map(|nats| {
            runtime.block_on(async {
                let bus = crate::cluster::connect(&nats.url, "large").await;
                let heard = bus.subscribe(&Subjects::new("large").prefixed("event.item.>")).await.unwrap();
                (bus, heard)
            })
        });
        for size in [SIZE, 10] {
            let args = ["pubsub", "item", "publish", "-n", "news", "-", "--api", &site.api, "--token", TOKEN];
            assert!(flowhook(&args).said_to("~".repeat(size).as_bytes()).status.success());
        }
        let counted: Vec<_> = site.ended("count", 2).iter().map(|record| record["stdout"].clone()).collect();
        assert_eq!(counted, [json!("MzAwMDAwMAo="), json!("MTAK")], "3000000 and 10 in base64");
        let events = crate::support::http::get_json(&format!(
            "{}/api/v1/events?limit=500&filter=event.item.*.news",
            site.api
        ));
        let shown = events["items"].as_array().unwrap().iter().find(|event| event["body"]["bytes"].is_u64());
        assert!(shown.is_some_and(|event| event["body"]["bytes"].as_u64() > Some(SIZE as u64)), "{events}");
        if let Some((_bus, mut heard)) = heard {
            let message = runtime.block_on(heard.next()).unwrap();
            assert!(message.payload.is_empty(), "who only listens gets a reference");
            assert!(message.headers.iter().any(|(name, to)| name == "ce-dataref" && to.contains(":object:")));
        }
    }
}

#[test]
fn of_ten_thousand_hooks_each_event_runs_its_own() {
    const HOOKS: usize = 10_000;
    const EVERY: usize = 100;
    let Some(nats) = crate::cluster::nats_server("ten thousand hooks") else { return };
    let hooks: String = (0..HOOKS)
        .map(|n| {
            format!(
                "[hooks.h{n}]\nsubjects = [\"event.item.s.n{n}\", \"event.state.HOST.*.*.n{n}\"]\n\
                 kind = \"rhai_code\"\nargument = \"log(item.subject)\"\n"
            )
        })
        .collect();
    let site = Site::new(&format!(
        "[bus]\nkind = \"nats\"\nprefix = \"many\"\n[bus.nats]\nservers = [\"{}\"]\n
         [hooks.all]\nsubjects = [\"event.item.s.*\"]\nkind = \"rhai_code\"\nargument = \"log(1)\"\n
         keep = {{ success = 1000, failure = 10 }}\n{hooks}",
        nats.url
    ));
    let _node = site.start(None);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bus = runtime.block_on(crate::cluster::connect(&nats.url, "many"));
    let subjects = Subjects::new("many");
    let told: Vec<usize> = (0..HOOKS).step_by(EVERY).collect();
    runtime.block_on(async {
        let mut receipts = Vec::new();
        for n in &told {
            let node = format!("n{n}");
            let item = EventSubject::Item { service: "s".to_owned(), node: node.clone() };
            receipts
                .push(bus.append(&subjects.event(&item), &node, json!(n).to_string().into()).await.unwrap());
        }
        for receipt in receipts {
            receipt.stored().await.unwrap();
        }
        // The other filter of one of them, with wildcards in it.
        let state = subjects.prefixed("event.state.HOST.IDLE._.n7");
        bus.append(&state, "state", "{}".into()).await.unwrap().stored().await.unwrap();
    });
    site.ended("all", told.len());
    site.ended("h7", 1);
    let records = wait_for("each hook's own execution", 60, || {
        let records = site.run(&["hook", "log", "--limit", "1000"]);
        let own = records.as_array()?.iter().filter(|record| record["hook"] != "all");
        let own: Vec<Value> = own.cloned().collect();
        (own.iter().filter(|record| record["state"] == "done").count() > told.len()).then_some(own)
    });
    let ran = |record: &Value| {
        assert_eq!(record["outcome"], "success", "{record}");
        (record["hook"].as_str().unwrap().to_owned(), record["subject"].as_str().unwrap().to_owned())
    };
    let ran: BTreeSet<_> = records.iter().map(ran).collect();
    let own = |n: &usize| (format!("h{n}"), format!("event.item.s.n{n}"));
    let mut wanted: BTreeSet<_> = told.iter().map(own).collect();
    wanted.insert(("h7".to_owned(), "event.state.HOST.IDLE._.n7".to_owned()));
    assert_eq!((ran, records.len()), (wanted, told.len() + 1), "each its own, once, and no other");
}

#[test]
fn a_bus_that_is_killed_under_a_persistent_hook_loses_no_event() {
    let Some(mut nats) = crate::cluster::nats_server("killed under a hook") else { return };
    let site = Site::new(&format!(
        "[bus]\nkind = \"nats\"\nprefix = \"gone\"\n[bus.nats]\nservers = [\"{}\"]\n",
        nats.url
    ));
    let _node = site.start(None);
    site.file("note.sh", "#!/bin/sh\necho \"$FLOWHOOK_IDEMPOTENCY_KEY\" >>keys\n");
    let hook = json!({
        "triggers": [{ "type": "item", "node": "news" }], "kind": "exec", "argument": "note.sh",
        "order": "strict", "concurrency": 1,
    });
    site.run(&["hook", "create", "note", &site.definition("note", &hook)]);
    let publish = |item: &str| {
        let args = ["pubsub", "item", "publish", "-n", "news", "-i", item, item, "--api", &site.api];
        let output = flowhook(&args).args(["--token", TOKEN]).said().unwrap();
        assert!(output.status.success(), "{item}: {}", String::from_utf8_lossy(&output.stderr));
    };
    (0..3).for_each(|n| publish(&format!("before-{n}")));
    site.ended("note", 3);
    // What is published while the bus is away is in the outbox.
    nats.kill();
    (0..5).for_each(|n| publish(&format!("while-{n}")));
    tokio::runtime::Runtime::new().unwrap().block_on(nats.restart());
    (0..3).for_each(|n| publish(&format!("after-{n}")));
    let ask = ["hook", "log", "--hook", "note", "--limit", "1000", "--api", &site.api, "-O", "json"];
    let records = wait_for("every item", 60, || {
        // Nobody answers until the bus is back.
        let output = flowhook(&ask).said().unwrap();
        let records: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
        (records.iter().filter(|record| record["outcome"] == "success").count() >= 11).then_some(records)
    });
    let keys: BTreeSet<String> =
        records.iter().map(|record| record["idempotency_key"].as_str().unwrap().to_owned()).collect();
    assert_eq!((records.len(), keys.len()), (11, 11), "each once");
    let items = crate::support::http::get_json(&format!(
        "{}/api/v1/events?limit=500&filter=event.item.*.news",
        site.api
    ));
    let order: Vec<&str> =
        items["items"].as_array().unwrap().iter().filter_map(|e| e["body"]["item_id"].as_str()).collect();
    let wanted: Vec<String> = [("before", 3), ("while", 5), ("after", 3)]
        .iter()
        .flat_map(|(when, count)| (0..*count).map(move |n| format!("{when}-{n}")))
        .collect();
    assert_eq!(order, wanted);
}
