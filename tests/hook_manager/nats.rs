//! Hooks over NATS: what is published by any client, and while nobody runs hooks.

use serde_json::json;
use shared::wire::subject::{EventSubject, Subjects};

use super::Site;

/// Events while nobody runs hooks.
const EVENTS: usize = 500;

#[test]
fn events_of_any_client_run_hooks_also_those_that_came_meanwhile() {
    let Some(nats) = crate::cluster::nats_server("hooks") else { return };
    let site = Site::new(&format!(
        "[bus]\nkind = \"nats\"\nprefix = \"hk\"\n[bus.nats]\nservers = [\"{}\"]\n",
        nats.url
    ));
    let mut node = site.start(None);
    let hook = json!({
        "subjects": ["event.state.HOST.*.*.3", "event.item.s.news"], "kind": "rhai_code",
        "argument": "log(item.subject)", "order": "strict", "concurrency": 1,
        "keep": { "success": 1000, "failure": 10 },
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
    tell("event.item.s.other", "plain text".to_owned());
    let seen = |count: usize| {
        let records = site.ended("two", count);
        records.iter().map(|record| record["subject"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen(2), ["event.state.HOST.ERROR._.3", "event.item.s.news"]);
    assert_eq!(node.terminate(), Some(0));
    let item = EventSubject::Item { service: "s".to_owned(), node: "news".to_owned() };
    for number in 0..EVENTS {
        let receipt = runtime.block_on(async {
            let subject = subjects.event(&item);
            bus.append(&subject, &format!("n{number}"), number.to_string().into())
                .await
                .unwrap()
                .stored()
                .await
        });
        receipt.unwrap();
    }
    let _node = site.start(None);
    let records = site.ended("two", EVENTS + 2);
    let places: Vec<u64> = records[2..]
        .iter()
        .map(|record| {
            let event = record["event"].as_str().unwrap();
            event.trim_start_matches("/bus#message-").parse().unwrap()
        })
        .collect();
    assert_eq!(places.len(), EVENTS);
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "in order, each once");
}
