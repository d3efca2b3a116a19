//! Hooks over NATS: what is published by any client, and while nobody runs hooks.

use std::collections::BTreeMap;

use serde_json::json;
use shared::model::Timestamp;
use shared::wire::subject::{EventSubject, Subjects};

use super::Site;
use crate::support::http::get_json;
use crate::support::wait_for;

/// Events while nobody runs hooks (scenario 4).
const EVENTS: usize = 10_000;

/// Nodes that they are published on in turn.
const NODES: usize = 8;

#[test]
fn events_of_any_client_run_hooks_also_those_that_came_meanwhile() {
    let Some(nats) = crate::cluster::nats_server("hooks") else { return };
    let site = Site::new(&format!(
        "[bus]\nkind = \"nats\"\nprefix = \"hk\"\n[bus.nats]\nservers = [\"{}\"]\n",
        nats.url
    ));
    let mut node = site.start(None);
    let hook = json!({
        "subjects": ["event.state.HOST.*.*.3", "event.item.s.*"], "kind": "rhai_code",
        "argument": "log(item.subject)", "order": "key", "concurrency": 8,
        "keep": { "success": EVENTS, "failure": 10 },
    });
    site.run(&["hook", "create", "two", &site.definition("two", &hook)]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bus = runtime.block_on(crate::cluster::connect(&nats.url, "hk"));
    let subjects = Subjects::new("hk");
    let tell = |subject: &str, data: String| {
        runtime.block_on(async { bus.publish(&subjects.prefixed(subject), data.into()).await.unwrap() });
    };
    // Two filters, and nothing else: a server of 2.9 ignores several filters of one consumer.
    tell("event.state.HOST.ERROR._.3", json!({ "state": "ERROR" }).to_string());
    tell("event.state.HOST.ERROR._.4", json!({ "state": "ERROR" }).to_string());
    tell("event.item.s.news", "plain text".to_owned());
    tell("event.item.other.news", "plain text".to_owned());
    let seen = |count: usize| {
        let records = site.ended("two", count);
        records.iter().map(|record| record["subject"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen(2), ["event.state.HOST.ERROR._.3", "event.item.s.news"]);
    assert_eq!(node.terminate(), Some(0));
    runtime.block_on(async {
        let mut receipts = Vec::new();
        for number in 0..EVENTS {
            let node = format!("n{}", number % NODES);
            let subject = subjects.event(&EventSubject::Item { service: "s".to_owned(), node });
            let id = format!("n{number}");
            receipts.push(bus.append(&subject, &id, number.to_string().into()).await.unwrap());
        }
        for receipt in receipts {
            receipt.stored().await.unwrap();
        }
    });
    let _node = site.start(None);
    wait_for("every event", 120, || {
        let counts = &site.run(&["hook", "show", "two"])["counts"];
        (counts["success"].as_u64()? >= EVENTS as u64 + 2).then_some(())
    });
    // Of the two before, nothing is on record any more.
    let mut by_key: BTreeMap<String, Vec<(Timestamp, u64)>> = BTreeMap::new();
    let mut before = String::new();
    loop {
        let page = get_json(&format!("{}/api/v1/executions?hook=two&limit=1000{before}", site.api));
        for run in page["items"].as_array().unwrap() {
            assert_eq!(run["outcome"], "success");
            let text = |name: &str| run[name].as_str().unwrap().to_owned();
            let place = text("event").rsplit_once('-').unwrap().1.parse().unwrap();
            let started = serde_json::from_value(run["started_at"].clone()).unwrap();
            by_key.entry(text("order_key")).or_default().push((started, place));
        }
        let Some(next) = page["next"].as_str() else { break };
        before = format!("&before={next}");
    }
    assert_eq!(by_key.values().map(Vec::len).filter(|count| *count == EVENTS / NODES).count(), NODES);
    for (key, mut begun) in by_key {
        begun.sort();
        assert!(begun.windows(2).all(|pair| pair[0].1 < pair[1].1), "{key}: in order, each once");
    }
}
