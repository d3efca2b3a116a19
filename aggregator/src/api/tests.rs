//! Routes against an in-memory store and an in-process bus.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{App, test, web};
use serde_json::{Value, json};
use shared::bus::SharedBus;
use shared::bus::memory::{MemoryBus, MemoryConfig};
use shared::clock::{ManualClock, Stopwatch};
use shared::model::metric::Metric;
use shared::model::packed::Packed;
use shared::model::{Alert, AlertAction, Entity, Granularity, HostCounters, Timestamp};
use shared::store::series::{ElementId, Sample, SampleBatch, SeriesStore};
use shared::store::sqlite::SqliteStore;
use shared::store::{AlertStore, EngagedAlert, Transition};
use shared::wire::subject::Subjects;

use super::{ApiDeps, openapi, routes};
use crate::live::LiveState;

mod hits;
mod hooks;

fn deps() -> (ApiDeps, SqliteStore, SharedBus) {
    let store = SqliteStore::in_memory().unwrap();
    let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
    let deps = ApiDeps {
        listen: String::new(),
        node: "n".to_owned(),
        run: 1,
        bus: Arc::clone(&bus),
        subjects: Subjects::default(),
        alerts: Arc::new(store.clone()),
        flows: Arc::new(store.clone()),
        series: Arc::new(store.clone()),
        clock: ManualClock::new(Timestamp::from_secs(1)),
        run_patience: super::run::patience(std::time::Duration::from_secs(1)),
        documents: Arc::new(store.clone()),
        sealer: Arc::new(shared::seal::Sealer::of_nobody().unwrap()),
        events: shared::events::Emitter::quiet(),
        sessions: Arc::new(crate::sessions::Sessions::new(crate::sessions::SessionDeps {
            store: Arc::new(store.clone()),
            documents: Arc::new(store.clone()),
            bus: Arc::clone(&bus),
            subjects: Subjects::default(),
            clock: ManualClock::new(Timestamp::from_secs(1)),
            events: shared::events::Emitter::quiet(),
            lease: std::time::Duration::from_secs(30),
            node: "n1".to_owned(),
        })),
        tokens: Vec::new(),
        file_settings: Arc::default(),
        settings: tokio::sync::watch::channel(Arc::default()).1,
        live: LiveState::new(),
        scripts: super::scripts::Loaded::new(shared::script::live::LiveScripts::default()),
        up: Stopwatch::start(),
        metrics_text: Arc::new(|| "up 1\n".to_owned()),
    };
    (deps, store, bus)
}

fn alert(number: u32, severity: &str) -> Alert {
    serde_json::from_value(json!({
        "schema_version": 1, "id": format!("{number:032x}"), "action": "store", "type": "test", "entity": "host",
        "entity_value": "192.0.2.1", "severity": severity, "category": "security", "score": 1,
        "tstamp": Timestamp::from_secs(i64::from(number)), "site": "s", "node": "n", "ifid": 0, "interface": "eth0",
        "script": "test", "message": "<b>hello</b>",
    }))
    .unwrap()
}

/// Asks the routes; gives status and body.
async fn ask(deps: &ApiDeps, request: test::TestRequest) -> (StatusCode, Value) {
    let app = test::init_service(App::new().app_data(web::Data::new(deps.clone())).configure(routes)).await;
    let response = test::call_service(&app, request.to_request()).await;
    let status = response.status();
    let body = test::read_body(response).await;
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
}

async fn get(deps: &ApiDeps, path: &str) -> (StatusCode, Value) {
    ask(deps, test::TestRequest::get().uri(path)).await
}

#[actix_web::test]
async fn every_documented_path_has_a_route_and_the_other_way_round() {
    let (deps, _store, _bus) = deps();
    let document = serde_json::to_value(openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let concrete = path
                .replace("{ifid}", "0")
                .replace("{host}", "192.0.2.1")
                .replace("{row}", "1")
                .replace("{kind}", "pools")
                .replace("{name}", "x")
                .replace("{execution}", "1")
                .replace("{event}", "api")
                .replace("{profile}", "x")
                .replace("{action}", "enable");
            let request = match method.as_str() {
                "get" => test::TestRequest::get(),
                "post" => test::TestRequest::post(),
                "put" => test::TestRequest::put(),
                "delete" => test::TestRequest::delete(),
                other => panic!("{other}"),
            };
            let (_, body) = ask(&deps, request.uri(&concrete)).await;
            let message = body["error"]["message"].as_str().unwrap_or_default().to_owned();
            let unknown = message == format!("there is no {concrete}") || message.contains("does not take");
            assert!(!unknown, "{method} {path} is documented but has no route");
        }
    }
    let known = [
        "/api/v1/alerts",
        "/api/v1/alerts/acknowledge",
        "/api/v1/alerts/engaged",
        "/api/v1/alerts/{row}",
        "/api/v1/alerts/{row}/acknowledge",
        "/api/v1/alerts/{row}/deliveries",
        "/api/v1/alerts/{row}/label",
        "/api/v1/events",
        "/api/v1/events/schema/{event}",
        "/api/v1/events/types",
        "/api/v1/executions",
        "/api/v1/flows",
        "/api/v1/flows/live",
        "/api/v1/health",
        "/api/v1/hooks",
        "/api/v1/hooks/{name}",
        "/api/v1/hooks/{name}/dead",
        "/api/v1/hooks/{name}/dead/retry",
        "/api/v1/hooks/{name}/executions/{execution}",
        "/api/v1/hooks/{name}/rename",
        "/api/v1/hooks/{name}/replay",
        "/api/v1/hooks/{name}/retry",
        "/api/v1/hooks/{name}/test",
        "/api/v1/hooks/{name}/{action}",
        "/api/v1/hosts",
        "/api/v1/hosts/{host}",
        "/api/v1/interfaces",
        "/api/v1/interfaces/{ifid}",
        "/api/v1/monitor",
        "/api/v1/networks",
        "/api/v1/nodes",
        "/api/v1/openapi.json",
        "/api/v1/pubsub/hooks",
        "/api/v1/pubsub/items",
        "/api/v1/recipients",
        "/api/v1/recipients/{name}/dead",
        "/api/v1/recipients/{name}/dead/replay",
        "/api/v1/recipients/{name}/dead/{event}",
        "/api/v1/recipients/{name}/explain",
        "/api/v1/recipients/{name}/test",
        "/api/v1/schemas/alert",
        "/api/v1/schemas/endpoints",
        "/api/v1/schemas/endpoints/{kind}",
        "/api/v1/scripts",
        "/api/v1/scripts/{key}",
        "/api/v1/scripts/{key}/run",
        "/api/v1/series",
        "/api/v1/series/top",
        "/api/v1/sessions",
        "/api/v1/sessions/{profile}",
        "/api/v1/settings/export",
        "/api/v1/settings/import",
        "/api/v1/settings/reset",
        "/api/v1/settings/{kind}",
        "/api/v1/settings/{kind}/{name}",
        "/api/v1/settings/{kind}/{name}/history",
        "/api/v1/settings/{kind}/{name}/rollback",
        "/metrics",
    ];
    assert_eq!(paths.keys().collect::<Vec<_>>(), known);
}

#[actix_web::test]
async fn errors_have_one_shape_and_name_the_parameter() {
    let (deps, _store, _bus) = deps();
    for (path, status, code, field) in [
        ("/api/v1/nothing", 404, "not_found", Value::Null),
        ("/nothing", 404, "not_found", Value::Null),
        ("/api/v1/interfaces/9", 404, "not_found", Value::Null),
        ("/api/v1/hosts/192.0.2.77", 404, "not_found", Value::Null),
        ("/api/v1/hosts/nonsense", 400, "bad_request", json!("host")),
        ("/api/v1/alerts?colour=red", 400, "bad_request", json!("colour")),
        ("/api/v1/alerts?severity=loud", 400, "bad_request", json!("severity")),
        ("/api/v1/alerts?from=yesterday", 400, "bad_request", json!("from")),
        ("/api/v1/alerts?limit=0", 400, "bad_request", json!("limit")),
        ("/api/v1/alerts?limit=1001", 400, "bad_request", json!("limit")),
        ("/api/v1/alerts?limit=1&limit=2", 400, "bad_request", json!("limit")),
        ("/api/v1/hosts?cursor=%00", 400, "bad_request", json!("cursor")),
        ("/api/v1/flows?port=70000", 400, "bad_request", json!("port")),
        ("/api/v1/hosts?cursor=0/192.0.2.1", 400, "bad_request", json!("cursor")),
        ("/api/v1/health?verbose=1", 400, "bad_request", json!("verbose")),
        ("/api/v1/alerts/engaged?limit=1", 400, "bad_request", json!("limit")),
        ("/api/v1/interfaces?x=1", 400, "bad_request", json!("x")),
        ("/api/v1/interfaces/0?x=1", 400, "bad_request", json!("x")),
        ("/api/v1/hosts/192.0.2.1?x=1", 400, "bad_request", json!("x")),
        ("/api/v1/networks?x=1", 400, "bad_request", json!("x")),
        ("/api/v1/scripts?x=1", 400, "bad_request", json!("x")),
        ("/api/v1/recipients?x=1", 400, "bad_request", json!("x")),
        ("/api/v1/flows/live?x=1", 400, "bad_request", json!("x")),
        ("/api/v1/openapi.json?x=1", 400, "bad_request", json!("x")),
        ("/api/v1/recipients", 503, "unavailable", Value::Null),
    ] {
        let (got, body) = get(&deps, path).await;
        assert_eq!(got.as_u16(), status, "{path}: {body}");
        assert_eq!(
            (&body["error"]["code"], &body["error"]["field"]),
            (&json!(code), &field),
            "{path}: {body}"
        );
        assert!(body["error"]["message"].is_string(), "{path}: {body}");
    }
}

#[actix_web::test]
async fn a_wrong_method_is_told_which_ones_there_are() {
    let (deps, _store, _bus) = deps();
    let app = test::init_service(App::new().app_data(web::Data::new(deps.clone())).configure(routes)).await;
    for (request, path, allow) in [
        (test::TestRequest::patch(), "/api/v1/alerts", "DELETE, GET"),
        (test::TestRequest::get(), "/api/v1/alerts/7/acknowledge", "DELETE, POST"),
        (test::TestRequest::post(), "/metrics", "GET"),
    ] {
        let response = test::call_service(&app, request.uri(path).to_request()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers().get("allow").unwrap(), allow, "{path}");
        let body: Value = test::read_body_json(response).await;
        assert_eq!(body["error"]["code"], "method_not_allowed");
    }
}

#[actix_web::test]
async fn the_history_is_paged_filtered_and_acknowledged() {
    let (deps, store, _bus) = deps();
    let alerts = (1..=5).map(|n| alert(n, if n % 2 == 0 { "error" } else { "notice" })).collect();
    store.add_history(alerts).await.unwrap();
    let ids = |body: &Value| -> Vec<i64> {
        body["items"].as_array().unwrap().iter().map(|a| a["row"].as_i64().unwrap()).collect()
    };
    let (_, first) = get(&deps, "/api/v1/alerts?limit=2").await;
    assert_eq!(ids(&first), [5, 4]);
    let next = first["next"].as_str().unwrap();
    let (_, second) = get(&deps, &format!("/api/v1/alerts?limit=2&cursor={next}")).await;
    assert_eq!(ids(&second), [3, 2]);
    let (_, grave) = get(&deps, "/api/v1/alerts?severity=warning&from=3").await;
    assert_eq!(ids(&grave), [4]);
    assert_eq!(grave["items"][0]["message"], "<b>hello</b>");
    let (status, _) = ask(&deps, test::TestRequest::post().uri("/api/v1/alerts/4/acknowledge")).await;
    assert_eq!(status.as_u16(), 200);
    let (_, seen) = get(&deps, "/api/v1/alerts?acknowledged=true").await;
    assert_eq!(ids(&seen), [4]);
    let (status, _) = ask(&deps, test::TestRequest::post().uri("/api/v1/alerts/99/acknowledge")).await;
    assert_eq!(status.as_u16(), 404);
}

#[actix_web::test]
async fn alerts_are_labelled_taken_back_and_deleted() {
    let (deps, store, _bus) = deps();
    let alerts = (1..=6).map(|n| alert(n, if n % 2 == 0 { "error" } else { "notice" })).collect();
    store.add_history(alerts).await.unwrap();
    let send = async |request: test::TestRequest, path: &str, body: Value| {
        let request = if body.is_null() { request } else { request.set_payload(body.to_string()) };
        let (status, body) = ask(&deps, request.uri(path)).await;
        (status.as_u16(), body)
    };
    let post = test::TestRequest::post;
    let (_, told) =
        send(post(), "/api/v1/alerts/3/label", json!({ "label": "our scanner", "by": "ann" })).await;
    assert_eq!(
        (&told["label"], &told["labelled_by"], &told["row"]),
        (&json!("our scanner"), &json!("ann"), &json!(3))
    );
    let (_, told) = send(post(), "/api/v1/alerts/3/acknowledge", json!({ "by": "ann" })).await;
    assert_eq!((&told["acknowledged"], &told["acknowledged_by"]), (&json!(true), &json!("ann")));
    let (_, told) = send(test::TestRequest::delete(), "/api/v1/alerts/3/acknowledge", Value::Null).await;
    assert_eq!((&told["acknowledged"], told.get("acknowledged_by")), (&json!(false), None));
    for (body, wrong) in [
        (json!({ "text": "x" }), "unknown field `text`"),
        (json!({ "by": "ann" }), "names no label"),
        (json!({ "label": "a\nb" }), "without control characters"),
    ] {
        let (status, told) = send(post(), "/api/v1/alerts/3/label", body).await;
        let message = told["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(wrong), "{status} {message}");
    }
    let (_, told) = send(post(), "/api/v1/alerts/acknowledge?severity=error", Value::Null).await;
    assert_eq!(told, json!({ "acknowledged": 3 }));
    let delete = test::TestRequest::delete;
    assert_eq!(send(delete(), "/api/v1/alerts", Value::Null).await.0, 400, "not everything by an oversight");
    assert_eq!(send(delete(), "/api/v1/alerts/1", Value::Null).await, (200, json!({ "deleted": 1 })));
    assert_eq!(send(delete(), "/api/v1/alerts/1", Value::Null).await.0, 404);
    assert_eq!(
        send(delete(), "/api/v1/alerts?acknowledged=true", Value::Null).await.1,
        json!({ "deleted": 3 })
    );
    let (_, rest) = get(&deps, "/api/v1/alerts").await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
}

fn sample(host: &str, sent: u64) -> Sample {
    let element = ElementId { site: "s".to_owned(), ifid: 0, entity: Entity::Host, value: host.to_owned() };
    let counters = HostCounters { bytes_sent: sent, packets_sent: 1, ..HostCounters::default() };
    let metrics = [("check.level".to_owned(), Metric::once(true, 2.5))].into();
    Sample { element, counters: Packed::new(&counters.values()), metrics }
}

#[actix_web::test]
async fn series_are_asked_by_element_period_and_counter() {
    let (deps, store, _bus) = deps();
    for (minute, sent) in [(1, 100), (2, 200)] {
        let at = Timestamp::from_secs(60 * minute);
        let windows = vec![(Granularity::Min, at), (Granularity::Hour, Timestamp::from_secs(3600))];
        let samples = vec![sample("10.0.0.1", sent), sample("10.0.0.2", 1000)];
        store.add_samples(SampleBatch { key: format!("k{minute}"), windows, samples }).await.unwrap();
    }
    let (_, all) = get(&deps, "/api/v1/series?entity=host&value=10.0.0.1").await;
    let points = all["items"][0]["points"].as_array().unwrap();
    assert_eq!((points.len(), &points[1]["values"]["bytes_sent"]), (2, &json!(200.0)), "{all}");
    assert_eq!(points[0]["values"]["check.level"], 2.5);
    assert_eq!(points[0]["values"].get("rst_sent"), None, "what is 0 is left out");
    let hour = "/api/v1/series?entity=host&value=10.0.0.1&period=hour&counters=bytes_sent,rst_sent";
    let (_, hour) = get(&deps, hour).await;
    assert_eq!(hour["items"][0]["points"][0]["values"], json!({ "bytes_sent": 300.0, "rst_sent": 0.0 }));
    let (_, later) = get(&deps, "/api/v1/series?entity=host&value=10.0.0.1&from=1970-01-01T00:01:00Z").await;
    assert_eq!(later["items"][0]["points"].as_array().unwrap().len(), 1);
    let (_, none) = get(&deps, "/api/v1/series?entity=host&value=10.9.9.9").await;
    assert_eq!(none["items"], json!([]));

    let (_, top) = get(&deps, "/api/v1/series/top?entity=host&period=hour").await;
    let ranked: Vec<_> = top["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["value"].clone(), row["count"].clone()))
        .collect();
    assert_eq!(ranked, [(json!("10.0.0.2"), json!(2000)), (json!("10.0.0.1"), json!(300))]);
    for (path, field) in [
        ("series?value=x", "entity"),
        ("series?entity=flow&value=x", "entity"),
        ("series?entity=host", "value"),
        ("series?entity=host&value=x&period=year", "period"),
        ("series?entity=host&value=x&limit=10001", "limit"),
        ("series/top?entity=host&counter=hats", "counter"),
    ] {
        let (status, body) = get(&deps, &format!("/api/v1/{path}")).await;
        assert_eq!((status.as_u16(), &body["error"]["field"]), (400, &json!(field)), "{path}: {body}");
    }
}

#[actix_web::test]
async fn engaged_alerts_are_listed_though_no_recipient_stored_them() {
    let (deps, store, _bus) = deps();
    let alert = Alert { action: AlertAction::Engage, ..alert(1, "error") };
    store.apply(vec![Transition::Engage(EngagedAlert { partition: 3, alert })]).await.unwrap();
    let (_, engaged) = get(&deps, "/api/v1/alerts/engaged").await;
    assert_eq!(engaged["items"].as_array().unwrap().len(), 1);
    let (_, history) = get(&deps, "/api/v1/alerts").await;
    assert_eq!(history["items"], json!([]));
    let (_, health) = get(&deps, "/api/v1/health").await;
    assert_eq!(health["engaged_alerts"], 1);
}

#[actix_web::test]
async fn recipients_are_asked_of_the_notifier() {
    let (deps, _store, bus) = deps();
    let mut questions = bus.subscribe("rq.v1._role.notifier.*").await.unwrap();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let answer = match question.subject.as_str() {
                "rq.v1._role.notifier.recipients" => json!([{ "name": "ops" }]),
                "rq.v1._role.notifier.kinds" if !question.payload.windows(3).any(|w| w == b"fax") => {
                    json!([{ "kind": "slack", "schema": {} }])
                }
                _ if question.payload == r#"{"recipient":"ops"}"# => json!({ "ok": true, "detail": "200" }),
                _ => json!({ "error": { "code": "not_found", "message": "no recipient" } }),
            };
            question.reply.unwrap().send(answer.to_string());
        }
    });
    let (_, list) = get(&deps, "/api/v1/recipients").await;
    assert_eq!(list["items"][0]["name"], "ops");
    let (_, kinds) = get(&deps, "/api/v1/schemas/endpoints").await;
    assert_eq!(kinds["items"][0]["kind"], "slack");
    assert_eq!(get(&deps, "/api/v1/schemas/endpoints/slack").await.1["kind"], "slack");
    assert_eq!(get(&deps, "/api/v1/schemas/endpoints/fax").await.0.as_u16(), 404);
    let (_, tested) = ask(&deps, test::TestRequest::post().uri("/api/v1/recipients/ops/test")).await;
    assert_eq!(tested["ok"], true);
    let (status, _) = ask(&deps, test::TestRequest::post().uri("/api/v1/recipients/gone/test")).await;
    assert_eq!(status.as_u16(), 404);
}

#[actix_web::test]
async fn metrics_are_plain_text() {
    let (deps, _store, _bus) = deps();
    assert_eq!(get(&deps, "/metrics").await.1, json!("up 1\n"));
}

#[actix_web::test]
async fn settings_are_edited_with_revisions_and_history() {
    let (deps, _store, bus) = deps();
    let mut edited = bus.subscribe(&deps.subjects.settings_edited()).await.unwrap();
    let put = |path: &'static str, revision: Option<&'static str>, body: Value| {
        let request = test::TestRequest::put().uri(path).set_json(body);
        let request = match revision {
            Some(revision) => request.insert_header(("If-Match", revision)),
            None => request,
        };
        ask(&deps, request)
    };
    let path = "/api/v1/settings/pools/lan?by=ann";
    let (status, entry) = put(path, Some("\"0\""), json!({ "members": ["10.0.0.0/8"] })).await;
    assert_eq!((status, &entry["revision"], &entry["by"]), (StatusCode::OK, &json!(1), &json!("ann")));
    assert_eq!(&edited.next().await.unwrap().payload[..], b"pools");
    let (status, error) = put(path, Some("\"0\""), json!({ "members": [] })).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::PRECONDITION_FAILED, &json!("conflict")));
    let (status, error) = put(path, None, json!({ "members": ["10.0.0.0/99"] })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error["error"]["message"].as_str().unwrap().contains("10.0.0.0/99"), "{error}");
    assert_eq!(put(path, Some("1"), json!({ "members": ["10.1.0.0/16"] })).await.0, StatusCode::OK);

    let (_, list) = get(&deps, "/api/v1/settings/pools").await;
    assert_eq!(list["items"][0]["value"], json!({ "members": ["10.1.0.0/16"] }));
    let back = test::TestRequest::post().uri("/api/v1/settings/pools/lan/rollback");
    let (status, entry) = ask(&deps, back.set_json(json!({ "revision": 1 }))).await;
    assert_eq!((status, &entry["revision"]), (StatusCode::OK, &json!(3)));
    assert_eq!(entry["value"], json!({ "members": ["10.0.0.0/8"] }));
    assert_eq!(
        ask(&deps, test::TestRequest::delete().uri("/api/v1/settings/pools/lan")).await.0,
        StatusCode::OK
    );
    let again = ask(&deps, test::TestRequest::delete().uri("/api/v1/settings/pools/lan")).await;
    assert_eq!(again.0, StatusCode::NOT_FOUND);
    let (_, history) = get(&deps, "/api/v1/settings/pools/lan/history").await;
    let revisions: Vec<_> =
        history["items"].as_array().unwrap().iter().map(|v| v["revision"].clone()).collect();
    assert_eq!(revisions, [4, 3, 2, 1]);
    assert_eq!(get(&deps, "/api/v1/settings/hats").await.0, StatusCode::NOT_FOUND);
    let (status, error) = put("/api/v1/settings/scripts/none", None, json!({ "enabled": true })).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{error}");
    let (status, _) = put("/api/v1/settings/silences/all", None, json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn an_alert_is_known_by_its_row_its_id_and_what_its_transitions_are_called() {
    let (deps, store, _bus) = deps();
    let update = Alert { action: AlertAction::Update, tstamp: Timestamp::from_secs(9), ..alert(1, "error") };
    store.add_history(vec![alert(1, "error"), update.clone(), alert(2, "error")]).await.unwrap();
    let id = &update.id;
    for name in ["1", "3", &format!("{id}/store"), &format!("{:032x}", 2), &update.transition_id()] {
        let found = super::alerts::named(&deps, name).await.unwrap();
        assert!(
            [found.id.clone(), found.transition_id()].contains(&name.to_owned()) || name.len() == 1,
            "{name} is not {}",
            found.transition_id()
        );
    }
    assert_eq!(super::alerts::named(&deps, id).await.unwrap(), update, "the newest transition");
    for unknown in ["9", "x", &format!("{id}/release"), &format!("{id}/update/1"), &format!("{id}/update/x")]
    {
        assert!(super::alerts::named(&deps, unknown).await.is_err(), "{unknown}");
    }
}
