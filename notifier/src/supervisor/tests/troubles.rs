//! A recipient that hears nothing, and the others.

use super::*;

#[tokio::test]
async fn a_recipient_whose_endpoint_refuses_it_gets_everything_once_the_endpoint_is_edited() {
    let (refusing, good) = (Server::start(|_, _| Script::Answer(401, "")).await, Server::ok().await);
    let setup = Setup::new(PRIVATE);
    setup.aggregator().await;
    let (actor, handle) = spawn(setup.deps.clone()).await.unwrap();
    let watching = json!({ "endpoint": "other", "checks": ["delivery_failed", "delivery_works"] });
    let recipients = [("ops", json!({ "endpoint": "hook" })), ("watch", watching)];
    let edit = |hook: String| setup.edit(&[("hook", hook), ("other", good.url("/watch"))], &recipients);
    edit(refusing.url("/in"));
    setup.knows(&["ops", "watch"]).await;
    setup.append(&alert("a")).await;
    setup.append(&Alert { entity_value: "b".to_owned(), ..alert("b") }).await;
    let told = |path: &str| -> Vec<String> {
        let requests = good.requests().into_iter().filter(|request| request.head.contains(path));
        let alerts = requests.flat_map(|request| request.json()["alerts"].as_array().unwrap().clone());
        alerts
            .map(|alert| format!("{} {}", alert["type"].as_str().unwrap(), alert["id"].as_str().unwrap()))
            .collect()
    };
    eventually("others to hear of it", || async { (told("/watch").len() == 1).then_some(()) }).await;
    assert!(told("/watch")[0].starts_with("delivery_failed "));
    let ops = setup.store.stats().await.unwrap().into_iter().find(|s| s.recipient == "ops").unwrap();
    assert_eq!((ops.pending, ops.dead), (2, 0), "nothing is given up, and of itself it hears nothing");
    let shown = setup.ask("recipients", "").await;
    assert_eq!(shown[2]["breaker"], "open", "{shown}");
    edit(good.url("/ops"));
    eventually("what was owed", || async { (told("/ops").len() == 2).then_some(()) }).await;
    assert_eq!(told("/ops"), ["threshold_cross a", "threshold_cross b"]);
    eventually("others to hear of it", || async { (told("/watch").len() == 2).then_some(()) }).await;
    assert!(told("/watch")[1].starts_with("delivery_works "));
    setup.drained().await;
    assert_eq!(told("/ops").len(), 2);
    actor.stop(None);
    handle.await.unwrap();
}

/// A lane that hangs holds nobody up.
#[tokio::test]
async fn a_hundred_alerts_reach_one_recipient_while_another_hangs() {
    let (hanging, good) = (Server::start(|_, _| Script::Silence).await, Server::ok().await);
    let setup = Setup::new(PRIVATE);
    setup.aggregator().await;
    let _running = spawn(setup.deps.clone()).await.unwrap();
    let recipients = [("hangs", json!({ "endpoint": "hanging" })), ("works", json!({ "endpoint": "good" }))];
    setup.edit(&[("hanging", hanging.url("/")), ("good", good.url("/"))], &recipients);
    setup.knows(&["hangs", "works"]).await;
    for n in 0..100 {
        setup.append(&Alert { entity_value: n.to_string(), ..alert(&n.to_string()) }).await;
    }
    hanging.wait_for(1).await;
    let told = || {
        let alerts = |request: &crate::testing::Request| request.json()["alerts"].as_array().unwrap().len();
        good.requests().iter().map(alerts).sum::<usize>()
    };
    eventually("all to arrive", || async { (told() >= 100).then_some(()) }).await;
    let stats = setup.store.stats().await.unwrap();
    let pending = |name: &str| stats.iter().find(|stats| stats.recipient == name).unwrap().pending;
    assert_eq!(pending("hangs"), 100, "the first request is still without an answer");
}
