//! Hooks over NATS: what is published by any client, and while nobody runs hooks.

use std::collections::BTreeMap;

use serde_json::json;
use shared::bus::test_server::NatsServer;
use shared::model::Timestamp;
use shared::wire::subject::{EventSubject, Subjects};

use super::{Site, TOKEN};
use crate::support::http::{ask, get_json};
use crate::support::program::{Said, flowhook};
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

#[test]
fn an_account_that_may_not_tell_large_events_loses_them_alone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let account = "authorization { users: [{ user: \"n\", password: \"hunter2\",
        permissions: { publish: { deny: [\"np.ob.v1.>\"] } } }] }";
    let started = runtime.block_on(NatsServer::start_with("large events are not allowed", account));
    let Some(nats) = started else { return };
    let site = Site::new(&format!(
        "[bus]\nkind = \"nats\"\nprefix = \"np\"\n[bus.nats]\nservers = [\"{}\"]\n
         user = \"n\"\npassword = \"hunter2\"\n",
        nats.url
    ));
    let _node = site.start(None);
    let hook = json!({ "subjects": ["event.item.s.*"], "kind": "rhai_code", "argument": "1" });
    site.run(&["hook", "create", "all", &site.definition("all", &hook)]);
    for (name, size) in [("before", 10), ("large", 1_500_000), ("after", 10)] {
        let args =
            ["pubsub", "item", "publish", "-s", "s", "-n", name, "-", "--api", &site.api, "--token", TOKEN];
        let published = flowhook(&args).said_to("~".repeat(size).as_bytes());
        assert!(published.status.success(), "{name}");
    }
    let ran: Vec<_> = site.ended("all", 2).iter().map(|record| record["subject"].clone()).collect();
    assert_eq!(ran, ["event.item.s.before", "event.item.s.after"]);
    let (_, metrics) = ask("GET", &format!("{}/metrics", site.api)).unwrap();
    let lost = metrics.lines().find(|line| line.starts_with("flowhook_events_lost")).unwrap_or_default();
    assert!(lost.ends_with(" 1"), "{lost}");
    let log = std::fs::read_to_string(site.setup.path("log")).unwrap();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("may not publish on np.ob.v1.")).collect();
    assert!(told.len() == 1 && told[0].contains("event.item.s.large"), "{told:?}");
}
