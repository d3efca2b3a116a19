use serde_json::json;
use shared::bus::memory::MemoryBus;
use shared::clock::SystemClock;
use shared::model::Timestamp;
use shared::wire::subject::Subjects;

use super::*;
use crate::http::HttpClient;
use crate::testing::tls;

fn deps() -> EndpointDeps {
    tls();
    EndpointDeps {
        http: HttpClient::new(
            std::time::Duration::from_secs(1),
            crate::target::Targets::any(),
            SystemClock::shared(),
        )
        .unwrap(),
        bus: MemoryBus::new(Default::default()),
        subjects: Subjects::new("t"),
        clock: SystemClock::shared(),
        node: "n".to_owned(),
        batch: 64,
        ledger: Arc::new(shared::store::sqlite::SqliteStore::in_memory().unwrap()),
        shell_dir: None,
        settings: tokio::sync::watch::channel(Arc::default()).1,
    }
}

fn directory() -> Directory {
    let file = "[[endpoint]]\nname = 'file'\nkind = 'webhook'\nparams = { url = 'https://h/in', password = 'hunter2', \
                username = 'u' }\n[[recipient]]\nname = 'ops'\nendpoint = 'file'\n";
    Directory::new(toml::from_str(file).unwrap(), Arc::new(Sealer::of_nobody().unwrap()))
}

fn document(kind: DocumentKind, name: &str, value: Value) -> Document {
    let (name, by) = (name.to_owned(), String::new());
    Document { kind, name, value, revision: 1, by, at: Timestamp::ZERO }
}

fn endpoint(name: &str, value: Value) -> Document {
    document(DocumentKind::Endpoints, name, value)
}

fn recipient(name: &str, value: Value) -> Document {
    document(DocumentKind::Recipients, name, value)
}

#[test]
fn an_edited_one_refers_to_nothing_of_the_machine_that_the_file_does_not_list() {
    let (mut directory, deps) = (directory(), deps());
    let params = json!({ "url": "https://example.com/x", "shared_secret": "env:PATH" });
    let documents = [endpoint("hook", json!({ "kind": "webhook", "params": params }))];
    let wrong = directory.wrong(&documents, &deps);
    assert!(wrong.len() == 1 && wrong[0].contains("env:PATH"), "{wrong:?}");
    directory.file.references = vec!["env:PATH".to_owned()];
    assert_eq!(directory.wrong(&documents, &deps), Vec::<String>::new());
}

#[test]
fn edited_ones_stand_beside_those_of_the_file() {
    let (directory, deps) = (directory(), deps());
    let plain = json!({ "kind": "webhook", "params": { "url": "https://example.com/x", "shared_secret": "hunter2" } });
    let sealed = directory.sealer.sealed("endpoints", "hook", &plain, None).unwrap();
    let documents = [
        endpoint("hook", sealed.clone()),
        recipient("night", json!({ "endpoint": "hook", "minimum_severity": "error", "fallback": "ops" })),
        recipient("day", json!({ "endpoint": "file", "fallback": "night" })),
    ];
    assert_eq!(directory.wrong(&documents, &deps), Vec::<String>::new());
    let (settings, _) = FileSettings::default().with(&documents, &Settings::default());
    let (config, _) = directory.with(&settings, &deps);
    let names: Vec<&str> = config.recipient.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["ops", "day", "night"]);
    assert_eq!(config.endpoint[1].params.0["shared_secret"].as_str(), Some("hunter2"), "opened");
    let shown = directory.of_file();
    assert_eq!(shown["endpoints"]["file"]["params"]["password"], "****");
    assert_eq!(shown["recipients"]["alert_store"]["builtin"], true);
    // Sealed for another name, it opens nowhere.
    let moved = directory.wrong(&[endpoint("other", sealed)], &deps);
    assert!(moved[0].starts_with("endpoints other: params.shared_secret: "), "{moved:?}");
}

#[test]
fn what_is_wrong_is_told_with_its_key_and_without_secrets() {
    let (directory, deps) = (directory(), deps());
    let webhook = |params: Value| json!({ "kind": "webhook", "params": params });
    let ok = || endpoint("ok", webhook(json!({ "url": "https://h/" })));
    for (documents, start, word) in [
        (
            vec![endpoint("file", webhook(json!({ "url": "https://h/" })))],
            "endpoints file: ",
            "configuration file",
        ),
        (vec![endpoint("alert_store", webhook(json!({})))], "endpoints alert_store: ", "built in"),
        (vec![endpoint("a", json!({ "kind": "pigeon" }))], "endpoints a: ", "unknown kind 'pigeon'"),
        (vec![endpoint("a", json!({ "kind": "webhook", "colour": 1 }))], "endpoints a: ", "colour"),
        (
            vec![endpoint("a", webhook(json!({ "url": "https://h/", "colour": "red" })))],
            "endpoints a: ",
            "colour",
        ),
        (vec![endpoint("a", webhook(json!({ "url": "https://h/", "batch": 11 })))], "endpoints a: ", "batch"),
        (vec![endpoint("a", webhook(json!({ "url": 7 })))], "endpoints a: ", "url"),
        (
            vec![endpoint("a", webhook(json!({ "url": "https://h/", "password": 7 })))],
            "endpoints a: ",
            "password",
        ),
        (vec![endpoint("a", webhook(json!({})))], "endpoints a: ", "url"),
        (vec![endpoint("a", json!([]))], "endpoints a: ", "object"),
        (
            vec![recipient("r", json!({ "endpoint": "nowhere" }))],
            "recipients r: ",
            "unknown endpoint 'nowhere'",
        ),
        (vec![recipient("ops", json!({ "endpoint": "file" }))], "recipients ops: ", "configuration file"),
        (vec![ok(), recipient("r", json!({ "endpoint": "ok", "color": 1 }))], "recipients r: ", "color"),
        (
            vec![ok(), recipient("r", json!({ "endpoint": "ok", "params": { "x": 1 } }))],
            "recipients r: ",
            "params",
        ),
        (
            vec![ok(), recipient("r", json!({ "endpoint": "ok", "fallback": "x" }))],
            "recipients r: ",
            "fallback",
        ),
        (
            vec![
                endpoint("a", webhook(json!({ "url": "https://h/", "password": "hunter2" }))),
                recipient("r", json!({ "endpoint": "a" })),
            ],
            "recipients r: ",
            "username",
        ),
        (
            vec![endpoint("a", webhook(json!({ "url": "https://h/", "signing_secret": "whsec_hunter2" })))],
            "endpoints a: ",
            "signing_secret",
        ),
    ] {
        let wrong = directory.wrong(&documents, &deps);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with(start) && wrong[0].contains(word), "{word}: {wrong:?}");
        assert!(!wrong[0].contains("hunter2"), "{wrong:?}");
    }
    // Two that lead to each other, and one whose fallback is one of them: none is taken.
    let fallback = |name: &str, to: &str| recipient(name, json!({ "endpoint": "ok", "fallback": to }));
    let wrong = directory.wrong(&[ok(), fallback("a", "b"), fallback("b", "a"), fallback("c", "a")], &deps);
    assert_eq!(wrong.len(), 3, "{wrong:?}");
}
