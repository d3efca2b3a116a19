//! Rights around hooks, and items.

use shared::bus::Stream;
use shared::bus::large::MAX_EVENT;
use shared::events::{Emitter, Outlet, config::EventsConfig};
use shared::store::documents::{Change, DocumentKind, DocumentStore};

use super::*;
use crate::config::{ApiRole, ApiToken};

/// Routes with two hooks, and a token for hooks that run processes.
async fn with_hooks() -> ApiDeps {
    let (mut deps, store, _) = deps();
    let secret = "hunter2-of-ann".to_owned();
    deps.tokens = vec![ApiToken { name: "ann".to_owned(), secret, roles: vec![ApiRole::ProcessHooks] }];
    for (name, kind) in [("program", "exec"), ("code", "rhai_code")] {
        let value = Some(json!({ "subjects": ["event.>"], "kind": kind, "argument": "x" }));
        let (kind, by, at) = (DocumentKind::Hooks, String::new(), Timestamp::ZERO);
        let change = Change { kind, name: name.to_owned(), value, expected: None, by, at };
        store.change(change).await.unwrap();
    }
    deps
}

/// Answers every question about hooks with the question.
async fn echo(bus: &SharedBus) {
    for verb in ["hook_retry", "hook_replay", "hook_test", "hook_dead"] {
        let mut questions = bus.subscribe(&Subjects::default().request_role("notifier", verb)).await.unwrap();
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                question.reply.unwrap().send(question.payload);
            }
        });
    }
}

#[actix_web::test]
async fn to_have_a_process_run_takes_the_right_to_make_it_and_the_token_says_who_asks() {
    let deps = with_hooks().await;
    echo(&deps.bus).await;
    let request = |hook: &str, way: &str| {
        let path = format!("/api/v1/hooks/{hook}/{way}");
        let path = format!("{path}{}by=mallory", if path.contains('?') { '&' } else { '?' });
        let request = match way {
            "dead" => test::TestRequest::delete(),
            _ => test::TestRequest::post(),
        };
        let request = request.uri(&path);
        if way == "retry" { request.set_json(json!({ "execution": 1 })) } else { request }
    };
    for way in ["retry", "replay?since=1h", "test", "dead/retry", "dead"] {
        let (status, body) = ask(&deps, request("program", way)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{way}: {body}");
        let wrong = request("program", way).insert_header(("authorization", "Bearer another"));
        assert_eq!(ask(&deps, wrong).await.0, StatusCode::FORBIDDEN, "{way}");
        let right = request("program", way).insert_header(("authorization", "Bearer hunter2-of-ann"));
        let (status, question) = ask(&deps, right).await;
        assert_eq!((status, &question["by"]), (StatusCode::OK, &json!("ann")), "{way}: {question}");
        let (status, question) = ask(&deps, request("code", way)).await;
        assert_eq!((status, &question["by"]), (StatusCode::OK, &json!("mallory")), "{way}: {question}");
    }
}

#[actix_web::test]
async fn an_item_that_is_larger_than_events_may_be_is_refused_before_it_is_an_event() {
    let (deps, _store, _bus) = deps();
    let publish = |bytes: usize| {
        let item = json!({ "node": "news", "payload": "x".repeat(bytes) });
        ask(&deps, test::TestRequest::post().uri("/api/v1/pubsub/items").set_json(item))
    };
    let (status, body) = publish(MAX_EVENT - 10).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body}");
    assert_eq!((&body["error"]["code"], &body["error"]["field"]), (&json!("too_large"), &json!("payload")));
    assert_eq!(publish(MAX_EVENT - 1000).await.0, StatusCode::CREATED);
    let pool = json!({ "members": ["10.0.0.0/8"], "note": "x".repeat(1024 * 1024) });
    let request = test::TestRequest::put().uri("/api/v1/settings/pools/lan").set_json(pool);
    assert_eq!(ask(&deps, request).await.0, StatusCode::PAYLOAD_TOO_LARGE, "other bodies are smaller");
}

#[actix_web::test]
async fn a_hook_manager_that_stands_still_is_no_good_health() {
    let (mut deps, _store, _bus) = deps();
    deps.clock = ManualClock::new(Timestamp::from_secs(1000));
    let (_, health) = get(&deps, "/api/v1/health").await;
    assert_eq!((&health["status"], &health["hooks"]), (&json!("ok"), &Value::Null), "none is here");
    let mut questions =
        deps.bus.subscribe(&Subjects::default().request_role("notifier", "hook_health")).await.unwrap();
    let answers = [(990, 995), (969, 995), (990, 969)];
    tokio::spawn(async move {
        for (looped, fetched) in answers {
            let at = Timestamp::from_secs;
            let answer = json!({ "looped_at": at(looped), "fetched_at": at(fetched) });
            questions.next().await.unwrap().reply.unwrap().send(answer.to_string());
        }
    });
    for late in [false, true, true] {
        let (_, health) = get(&deps, "/api/v1/health").await;
        let status = if late { "degraded" } else { "ok" };
        assert_eq!((&health["status"], &health["hooks"]["late"]), (&json!(status), &json!(late)), "{health}");
    }
}

#[actix_web::test]
async fn a_call_that_is_too_large_is_told_as_refused_and_one_whose_event_is_not_kept_is_not_answered_as_done()
{
    let (mut deps, store, bus) = deps();
    let mut told = bus.consume(Stream::Event, "test", "event.api.>").await.unwrap();
    let telling = tell(&mut deps, &bus, &store);
    let large = test::TestRequest::post().uri("/api/v1/hooks").set_payload(vec![b'x'; 2 << 20]);
    let ((status, _), queued) = tokio::join!(ask(&deps, large), told.next());
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let queued = queued.unwrap();
    let body: Value = serde_json::from_slice(&queued.payload).unwrap();
    assert!(queued.subject.ends_with(".0"), "{}", queued.subject);
    assert_eq!((&body["success"], &body["code"]), (&json!(false), &json!(413)), "{body}");
    queued.ack();
    telling.abort();
    let _ = telling.await;
    let item = test::TestRequest::post().uri("/api/v1/pubsub/items");
    let (status, body) = ask(&deps, item.set_json(json!({ "node": "n", "payload": 1 }))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
}

/// Lets events be told; gives the task that does it.
fn tell(deps: &mut ApiDeps, bus: &SharedBus, store: &SqliteStore) -> tokio::task::JoinHandle<()> {
    let (events, telling) = Emitter::start(Outlet {
        bus: Arc::clone(bus),
        store: Some(Arc::new(store.clone())),
        subjects: Subjects::default(),
        clock: ManualClock::new(Timestamp::from_secs(1)),
        owner: "n1".to_owned(),
        source: "/s/n".to_owned(),
        answers: true,
        config: EventsConfig::default(),
    });
    deps.events = events;
    telling
}

#[actix_web::test]
async fn edits_of_scripts_and_endpoints_are_told_with_the_call_and_without_secrets() {
    let (mut deps, store, bus) = deps();
    let mut told = bus.consume(Stream::Event, "test", "event.state.>").await.unwrap();
    tell(&mut deps, &bus, &store);
    let mut documents = vec![
        ("scripts", "s", json!({ "enabled": false, "config": { "password": "hunter2" } })),
        ("endpoints", "hook", json!({ "type": "webhook", "params": { "url": "https://x/hunter2" } })),
    ];
    let at = Timestamp::ZERO;
    let change = |(kind, name, value): (&str, &str, Value)| {
        let (kind, name) = (DocumentKind::parse(kind).unwrap(), name.to_owned());
        Change { kind, name, value: Some(value), expected: None, by: "ann".to_owned(), at }
    };
    for document in documents.drain(..) {
        store.change(change(document)).await.unwrap();
    }
    // Nobody checks endpoints here.
    let check = Subjects::default().request_role("notifier", "check_settings");
    let mut questions = bus.subscribe(&check).await.unwrap();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            question.reply.unwrap().send("{}");
        }
    });
    let reset =
        test::TestRequest::post().uri("/api/v1/settings/reset").insert_header(("x-request-id", "r-7"));
    let (reset, _) = tokio::join!(ask(&deps, reset), async {
        for subject in ["event.state.ENDPOINT.DELETED._.hook", "event.state.SCRIPT.RESET._.s"] {
            let queued = told.next().await.unwrap();
            assert_eq!(queued.subject, subject);
            let body: Value = serde_json::from_slice(&queued.payload).unwrap();
            assert_eq!(body["request_id"], "r-7", "{body}");
            queued.ack();
        }
    });
    assert_eq!(reset.0, StatusCode::OK, "{}", reset.1);
}
