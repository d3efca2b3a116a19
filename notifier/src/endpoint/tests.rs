//! All kinds, as a table; and the kinds that speak HTTP, against a server on loopback.

use shared::bus::memory::MemoryBus;
use shared::clock::ManualClock;
use shared::model::{Alert, Timestamp};
use shared::store::EventKind;

use super::*;
use crate::testing::{Request, Script, Server, alert, delivery, flow_alert, tls};

fn deps() -> EndpointDeps {
    tls();
    let clock: SharedClock = ManualClock::new(Timestamp::ZERO);
    EndpointDeps {
        http: HttpClient::new(Duration::from_millis(500), crate::target::Targets::any(), Arc::clone(&clock))
            .unwrap(),
        bus: MemoryBus::new(Default::default()),
        subjects: Subjects::default(),
        clock,
        node: "n1".to_owned(),
        batch: 64,
        ledger: Arc::new(shared::store::sqlite::SqliteStore::in_memory().unwrap()),
        shell_dir: Some("/nonexistent".into()),
        settings: tokio::sync::watch::channel(Arc::default()).1,
    }
}

fn table(text: &str) -> toml::Table {
    toml::from_str(text).unwrap()
}

/// The parameters in a kind's sample, of the `endpoint` or of the `recipient`.
fn sample(kind: &dyn Kind, part: &str) -> toml::Table {
    let whole = table(kind.sample());
    let part = whole.get("notifier").and_then(|notifier| notifier[part].as_array()?.first());
    let params = part.and_then(|part| part.get("params")?.as_table().cloned());
    params.unwrap_or_default()
}

/// An endpoint of `kind`.
fn build(kind: &str, params: &str, recipient: &str) -> Arc<dyn Endpoint> {
    super::kind(kind).unwrap().build(&table(params), &table(recipient), &deps()).unwrap()
}

#[test]
fn every_sample_builds_and_unknown_parameters_are_named() {
    for kind in KINDS {
        let (endpoint, recipient) = (sample(*kind, "endpoint"), sample(*kind, "recipient"));
        assert!(kind.check_endpoint(&endpoint).is_ok() && kind.check_recipient(&recipient).is_ok());
        let built = kind.build(&endpoint, &recipient, &deps());
        assert!(built.is_ok(), "{}: {built:?}", kind.name());
        let mut odd = endpoint.clone();
        odd.insert("colour".to_owned(), toml::Value::from("red"));
        assert!(kind.check_endpoint(&odd).unwrap_err().contains("colour"), "{}", kind.name());
        assert!(kind.check_recipient(&odd).unwrap_err().contains("unknown field"), "{}", kind.name());
        assert!(kind.build(&odd, &recipient, &deps()).is_err());
    }
    let kinds = configurable_kinds();
    assert!(kinds.is_sorted(), "{kinds:?}");
}

/// Of every kind one, and of syslog in Checkmk's format, which is a kind of its own for users of ntopng.
#[test]
fn every_configuration_that_is_shipped_can_be_used() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/endpoints");
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let config: toml::Table = table(&std::fs::read_to_string(&path).unwrap());
        let config: crate::NotifierConfig = config["notifier"].clone().try_into().unwrap();
        assert_eq!(config.check(), Vec::<String>::new(), "{}", path.display());
        assert!(!config.recipient.is_empty(), "{}", path.display());
        for recipient in &config.recipient {
            let endpoint = config.endpoint_of(recipient).unwrap();
            let kind = super::kind(&endpoint.kind).unwrap();
            let built = kind.build(&endpoint.params.0, &recipient.params.0, &deps());
            assert!(built.is_ok(), "{} {}: {built:?}", path.display(), recipient.name);
        }
        names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    let mut expected: Vec<_> = configurable_kinds().into_iter().chain(["syslog-checkmk"]).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(names.len(), 15);
}

#[test]
fn samples_are_whole_configurations_and_name_every_parameter() {
    for kind in KINDS.iter().filter(|kind| !kind.is_builtin()) {
        let config: toml::Table = table(kind.sample())["notifier"].as_table().unwrap().clone();
        let config: crate::NotifierConfig = config.try_into().unwrap();
        assert_eq!(config.check(), Vec::<String>::new(), "{}", kind.name());
        assert!(config.endpoint.iter().all(|endpoint| endpoint.kind == kind.name()));
        for part in ["endpoint", "recipient"] {
            let schema = kind.schema();
            let names = schema["properties"][part]["properties"].as_object().cloned().unwrap_or_default();
            for (name, about) in names {
                assert!(kind.sample().contains(&name), "{}: {name} is not in the sample", kind.name());
                assert!(about["description"].is_string(), "{}: {name} has no description", kind.name());
            }
        }
    }
}

#[test]
fn schemas_take_the_samples_and_refuse_what_reading_refuses() {
    for kind in KINDS {
        let schema = kind.schema();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let params = |odd: bool| {
            let mut endpoint = sample(*kind, "endpoint");
            if odd {
                endpoint.insert("colour".to_owned(), toml::Value::from("red"));
            }
            serde_json::json!({ "endpoint": endpoint, "recipient": sample(*kind, "recipient") })
        };
        let wrong: Vec<_> = validator.iter_errors(&params(false)).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", kind.name());
        assert!(!validator.is_valid(&params(true)), "{}", kind.name());
        for required in schema["properties"]["endpoint"]["required"].as_array().into_iter().flatten() {
            let mut endpoint = sample(*kind, "endpoint");
            endpoint.remove(required.as_str().unwrap());
            assert!(kind.check_endpoint(&endpoint).is_err(), "{}: {required}", kind.name());
        }
    }
}

#[test]
fn secrets_are_marked_in_schemas_and_hidden_where_parameters_are_shown() {
    fn write_only(schema: &serde_json::Value) -> bool {
        schema["writeOnly"] == true
            || schema["anyOf"].as_array().is_some_and(|any| any.iter().any(write_only))
            || schema["additionalProperties"]["writeOnly"] == true
    }
    for kind in KINDS {
        let schema = kind.schema();
        for part in ["endpoint", "recipient"] {
            let names = schema["properties"][part]["properties"].as_object().cloned().unwrap_or_default();
            for (name, about) in names {
                assert_eq!(redact::is_secret(&name), write_only(&about), "{}: {name}: {about}", kind.name());
            }
        }
    }
}

#[test]
fn wrong_values_are_named_and_secrets_are_not_shown() {
    for (kind, params, word) in [
        ("webhook", "", "url"),
        ("webhook", "url = 'ftp://user:hunter2@x/'", "http"),
        ("webhook", "url = 'https://u:hunter2@'", "URL"),
        ("webhook", "url = 'http://x/'\nbatch = 11", "batch"),
        ("webhook", "url = 'http://x/'\nshared_secret = 1234567", "shared_secret"),
        ("webhook", "url = 'http://x/'\npassword = 'file:/nonexistent/pw'", "/nonexistent/pw"),
        ("webhook", "url = 'http://x/'\nheaders = { a = 1234567 }", "headers"),
        ("webhook", "url = 'http://x/'\nheaders = { 'a b' = 'hunter2' }", "a b"),
        ("webhook", "url = 'http://x/'\ntemplate = '${colour}'", "colour"),
        ("webhook", "url = 'http://x/'\nsigning_secret = 'whsec_hunter2'", "24 to 64"),
        ("webhook", "url = 'http://x/'\ntls = { ca_file = '/nonexistent/ca' }", "/nonexistent/ca"),
        ("discord", "webhook_url = 'ftp://x/hunter2'", "http"),
        ("discord", "webhook_url = 'https://x/hunter2'\nbatch = 0", "batch"),
        ("telegram", "token = 1234567", "token"),
        ("thehive", "url = 'http://x/'\ntoken = 'hunter2'\nversion = 3", "version"),
        ("elasticsearch", "url = 'http://x/'\nindex_prefix = '../x'", "index_prefix"),
        ("msteams", "webhook_url = 'http://x/hunter2'\ncard = 'postcard'", "adaptive_card"),
        ("email", "host = 'x'\nsender = 'nobody'", "nobody"),
        ("shell", "script = '../x.sh'", "script"),
        ("fail2ban", "protected = ['everybody']", "everybody"),
        ("syslog", "protocol = 'carrier-pigeon'", "carrier-pigeon"),
        ("syslog", "facility = 24", "facility"),
        ("syslog", "port = 70000", "port"),
        ("syslog", "format = 'xml'", "text_rfc5424"),
    ] {
        let error = super::kind(kind).unwrap().check_endpoint(&table(params)).unwrap_err();
        assert!(error.contains(word), "{kind} {params}: {error}");
        assert!(!error.contains("hunter2") && !error.contains("1234567"), "{error}");
    }
}

#[test]
fn parameters_that_do_not_go_together_are_refused() {
    for (kind, params, recipient, word) in [
        ("webhook", "url = 'http://x/'\npassword = 'hunter2'", "", "username"),
        ("elasticsearch", "url = 'http://x/'\nusername = 'u'\napi_key = 'hunter2'", "", "exclude each other"),
        ("email", "host = 'x'\nsender = 'a@x.org'\nusername = 'u'", "to = ['b@x.org']", "need each other"),
        ("email", "host = 'x'\nsender = 'a@x.org'", "to = []", "at least one"),
        (
            "email",
            "host = 'x'\nsender = 'a@x.org'\nsecurity = 'none'\nusername = 'u'\npassword = 'hunter2'",
            "to = ['b@x.org']",
            "allow_clear_text_login",
        ),
        ("slack", "", "", "give 'webhook_url' or 'token'"),
        (
            "slack",
            "webhook_url = 'http://x/hunter2'\ntoken = 'hunter2'",
            "channel = 'c'",
            "exclude each other",
        ),
        ("slack", "webhook_url = 'http://x/hunter2'", "channel = 'c'", "needs the endpoint's 'token'"),
        ("slack", "webhook_url = 'http://x/hunter2'", "edit_in_place = true", "cannot change messages"),
        ("slack", "token = 'hunter2'", "", "the recipient's 'channel'"),
        ("syslog", "host = 'x'\npath = '/dev/log'", "", "give one"),
        ("syslog", "host = 'x'\nstructured_data = true", "", "text_rfc5424"),
    ] {
        let built = super::kind(kind).unwrap().build(&table(params), &table(recipient), &deps());
        let error = built.unwrap_err();
        assert!(error.contains(word), "{kind} {params}: {error}");
    }
    let off = EndpointDeps { shell_dir: None, ..deps() };
    let error = super::kind("shell").unwrap().build(&table("script = 'x.sh'"), &table(""), &off).unwrap_err();
    assert!(error.contains("shell_dir"), "{error}");
}

fn webhook(url: &str, more: &str) -> Arc<dyn Endpoint> {
    build("webhook", &format!("url = '{url}'\n{more}"), "")
}

mod all_kinds;
mod editing;
mod faults;
pub(super) mod hostile;
mod limits;
mod manners;
mod meaning;
mod page;
mod requests;

#[tokio::test]
async fn a_webhook_posts_the_seeds_form() {
    let server = Server::ok().await;
    let endpoint =
        webhook(&server.url("/in"), "shared_secret = 'hunter2'\nusername = 'u'\npassword = 'hunter2'");
    let (first, second) = (alert("a"), flow_alert("b"));
    assert_eq!(endpoint.deliver(&[delivery(&first), delivery(&second)]).await, [Ok(()), Ok(())]);
    assert_eq!(endpoint.deliver(&[delivery(&first)]).await, [Ok(())]);
    let [two, one] = &server.requests()[..] else { panic!() };
    assert!(
        two.body.starts_with(
            "{\"version\":\"0.2\",\"sharedsecret\":\"hunter2\",\"alerts\":[{\"schema_version\":1,"
        )
    );
    assert_eq!(two.json()["alerts"][0]["idempotency_key"], "a/engage/r");
    assert_eq!(two.json()["alerts"][1]["idempotency_key"], "b/store/r");
    let mut read: Alert = serde_json::from_value(two.json()["alerts"][1].clone()).unwrap();
    assert_eq!(read.other.remove("idempotency_key").unwrap(), "b/store/r");
    assert_eq!(read, second);
    assert_eq!(two.header("authorization"), Some("Basic dTpodW50ZXIy"));
    assert_eq!(two.header("content-type"), Some("application/json"));
    assert!(two.header("idempotency-key").is_none() && two.header("webhook-id").is_some());
    assert_eq!(one.header("idempotency-key"), Some("a/engage/r"));
    assert_ne!(one.header("webhook-id"), two.header("webhook-id"));
    assert!(!format!("{endpoint:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_webhook_test_is_an_empty_list_and_says_what_was_answered() {
    let server = Server::start(|n, _| Script::Answer(if n == 0 { 204 } else { 500 }, "")).await;
    let endpoint = webhook(&server.url("/in?token=hunter2"), "shared_secret = 'hunter2'");
    let detail = endpoint.test().await.unwrap();
    assert!(detail.contains("204") && !detail.contains("hunter2"), "{detail}");
    assert_eq!(server.requests()[0].json()["alerts"], serde_json::json!([]));
    let error = endpoint.test().await.unwrap_err().to_string();
    assert!(error.contains("500") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_webhooks_answers_are_classified() {
    let cases = [
        (Script::Answer(204, ""), Ok(())),
        (Script::Answer(400, ""), Err(DeliveryError::permanent("answered 400"))),
        (Script::Answer(404, ""), Err(DeliveryError::refused("answered 404"))),
        (Script::Answer(503, ""), Err(DeliveryError::retry("answered 503"))),
        (
            Script::Answer(429, "retry-after: 30\r\n"),
            Err(DeliveryError::Retry {
                after: Some(Duration::from_secs(30)),
                reason: "answered 429, too many requests".to_owned(),
            }),
        ),
        (Script::Silence, Err(DeliveryError::unknown("no answer within 500ms"))),
    ];
    for (script, expected) in cases {
        let server = Server::start(move |_, _| script.clone()).await;
        let results =
            webhook(&server.url("/"), "").deliver(&[delivery(&alert("a")), delivery(&alert("b"))]).await;
        assert_eq!(results, [expected.clone(), expected]);
    }
}

#[tokio::test]
async fn requests_that_are_under_way_at_once_each_end_for_themselves() {
    let server = Server::start(|_, request| match request.json()["alerts"][0]["id"].as_str() {
        Some("7") => Script::Answer(503, ""),
        Some("9") => Script::Answer(404, ""),
        _ => Script::Answer(200, ""),
    })
    .await;
    let endpoint = webhook(&server.url("/"), "batch = 1\nat_once = 8");
    assert_eq!(endpoint.manners().batch, 32, "four rounds");
    let batch: Vec<Delivery> = (0..20).map(|n| delivery(&alert(&n.to_string()))).collect();
    for (n, result) in endpoint.deliver(&batch).await.into_iter().enumerate() {
        let expected = match n {
            7 => Err(DeliveryError::retry("answered 503")),
            9 => Err(DeliveryError::refused("answered 404")),
            _ => Ok(()),
        };
        assert_eq!(result, expected, "{n}");
    }
    assert_eq!(server.requests().len(), 20);
}

#[tokio::test]
async fn a_payload_that_is_no_alert_does_not_stop_the_others() {
    let server = Server::ok().await;
    let broken = Delivery { payload: "{".to_owned(), ..delivery(&alert("a")) };
    let results = webhook(&server.url("/"), "").deliver(&[broken, delivery(&alert("b"))]).await;
    assert!(matches!(results[0], Err(DeliveryError::Permanent { .. })));
    assert_eq!(results[1], Ok(()));
    assert_eq!(server.requests()[0].json()["alerts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn posts_go_to_their_own_urls() {
    let server = Server::start(|_, request| match request.head.contains("/bad") {
        true => Script::Answer(500, ""),
        false => Script::Answer(200, ""),
    })
    .await;
    let endpoint = http_post::HttpPostKind.build(&toml::Table::new(), &toml::Table::new(), &deps()).unwrap();
    let post = |id: &str, url: String, body: &str| Delivery {
        event_id: id.to_owned(),
        kind: EventKind::Post,
        payload: serde_json::to_string(&http_post::StoredPost { url, body: body.to_owned() }).unwrap(),
        ..delivery(&alert("a"))
    };
    let batch = [
        post("1", server.url("/json"), "{\"a\":1}"),
        post("2", server.url("/text"), "hello"),
        post("3", server.url("/bad"), "[]"),
        post("4", "not a url".to_owned(), ""),
    ];
    let results = endpoint.deliver(&batch).await;
    assert_eq!(results[..2], [Ok(()), Ok(())]);
    assert!(matches!(results[2], Err(DeliveryError::Retry { .. })), "{results:?}");
    assert!(matches!(results[3], Err(DeliveryError::Permanent { .. })), "{results:?}");
    let requests = server.requests();
    let of = |path: &str| requests.iter().find(|r| r.head.contains(path)).unwrap();
    assert_eq!(of("/json").header("content-type"), Some("application/json"));
    assert_eq!(of("/json").header("idempotency-key"), Some("1/r"));
    assert_eq!(of("/text").header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(of("/text").body, "hello");
}
