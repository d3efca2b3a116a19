//! The parts around the shards: scripts' posts, stored alerts, restarts.

use bytes::Bytes;
use prost::Message as _;
use serde_json::{Value, json};
use shared::model::query::AlertQuery;
use shared::script::source::{Origin, ScriptSource};
use shared::wire::proto::HttpPost;

use super::super::AggregatorMessage;
use super::super::tasks::Task;
use super::*;

fn script(text: &str) -> ScriptSetup {
    let source =
        ScriptSource { name: "test".into(), origin: Origin::Inline, folder: None, text: text.to_owned() };
    ScriptSetup { sources: vec![source], ..ScriptSetup::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_and_messages_of_scripts_go_to_the_bus() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut posts = bus.consume(Stream::Post, "test", "po.v1.>").await.unwrap();
    let mut messages = bus.subscribe("sc.v1.>").await.unwrap();
    let large = "\"x\"";
    let text = format!(
        "#{{ kind: \"interface\", hooks: #{{ min: |p| {{
            let big = {large}; for n in 0..20 {{ big += big; }}
            http_post(\"https://example.com/big\", big);
            http_post(\"https://example.com/\", \"hello\");
            publish(\"a.b\", \"there\");
        }} }} }}"
    );
    let aggregator =
        spawn(AggregatorDeps { scripts: script(&text).into(), ..deps(&bus, &store) }).await.unwrap();
    let put = tokio::spawn({
        let bus = Arc::clone(&bus);
        async move { minute(&bus, 0, 10).await }
    });
    let queued = tokio::time::timeout(DEADLINE, posts.next()).await.expect("a post comes").unwrap();
    let post = HttpPost::decode(queued.payload.clone()).unwrap();
    assert_eq!((post.url.as_str(), post.body.as_str()), ("https://example.com/", "hello"));
    assert!(!put.is_finished(), "the delta is acknowledged when its posts are safe");
    assert!(!aggregator.is_idle().await);
    queued.ack();
    put.await.unwrap();
    let message = tokio::time::timeout(DEADLINE, messages.next()).await.expect("a message comes").unwrap();
    assert_eq!((message.subject.as_str(), &message.payload[..]), ("sc.v1.s.a.b", &b"there"[..]));
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_are_put_into_the_history_on_request() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let aggregator = start(&bus, &store).await;
    let mut alerts = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
    minute(&bus, 0, 10).await;
    minute(&bus, 1, 0).await;
    let alert = next(&mut alerts).await;
    let subject = Subjects::default().request_role("aggregator", "store_alerts");
    let ask = async |question: Value| -> Value {
        let answer = bus.request(&subject, Bytes::from(question.to_string()), DEADLINE).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    };
    assert_eq!(ask(json!([alert])).await, json!({ "stored": 1 }));
    assert_eq!(ask(json!([alert])).await, json!({ "stored": 0 }), "it is there");
    assert_eq!(ask(json!("nonsense")).await["error"]["code"], "bad_request");
    let history = store.history(AlertQuery { limit: 10, ..AlertQuery::default() }).await.unwrap();
    assert_eq!(history.items[0].alert.id, alert.id);
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_ends_again_and_again_ends_the_role() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let aggregator = start(&bus, &store).await;
    for _ in 0..6 {
        // The last one may find the supervisor gone.
        let _ = aggregator.actor.cast(AggregatorMessage::Ended(Task::Prune, "a test says so".to_owned()));
    }
    tokio::time::timeout(DEADLINE, aggregator.handle).await.expect("the role gives up").unwrap();
}
