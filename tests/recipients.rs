//! Endpoints and recipients are edited while everything runs, and nobody ever sees their secrets.

use std::path::Path;

use serde_json::{Value, json};

use crate::replay::demo_config;
use crate::settings::start;
use crate::support::http::{Recorder, ask, get_json};
use crate::support::program::{flowhook, run_fails, run_json, text};
use crate::support::{data, free_port};

/// Is in every secret of these tests.
const MARK: &str = "zq9x";

struct Cli<'a> {
    api: &'a str,
}

impl Cli<'_> {
    fn json(&self, args: &[&str]) -> Value {
        run_json(&[args, &["--api", self.api, "-O", "json"]].concat())
    }

    fn fails(&self, args: &[&str], code: i32) -> String {
        run_fails(&[args, &["--api", self.api, "-O", "json"]].concat(), code)
    }

    fn set(&self, kind: &str, name: &str, value: &Value) -> Value {
        self.json(&["settings", "set", kind, name, &value.to_string()])
    }
}

#[test]
fn endpoints_and_recipients_come_go_and_round_trip() {
    let recorder = Recorder::start();
    let setup = demo_config(&recorder);
    let (mut node, api) = start(&setup);
    let cli = Cli { api: &api };
    let hook = json!({ "kind": "webhook", "params": {
        "url": format!("{}/mine?key={MARK}-query", recorder.url()), "shared_secret": format!("{MARK}-body"),
    } });
    let entry = cli.set("endpoints", "mine", &hook);
    assert_eq!((&entry["revision"], &entry["value"]["params"]["shared_secret"]), (&json!(1), &json!("****")));
    cli.set("recipients", "one", &json!({ "endpoint": "mine", "minimum_severity": "error" }));
    cli.set("recipients", "two", &json!({ "endpoint": "mine", "fallback": "one" }));

    // Those of the file are shown, and are not edited.
    let file = cli.json(&["settings", "show", "recipients", "operator"]);
    assert_eq!((&file["source"], &file["value"]["endpoint"]), (&json!("file"), &json!("local-webhook")));
    let builtin = cli.json(&["settings", "show", "recipients", "alert_store"]);
    assert_eq!(builtin["source"], "builtin");
    for name in ["operator", "alert_store"] {
        cli.fails(&["settings", "set", "recipients", name, r#"{"endpoint":"mine"}"#], 3);
        cli.fails(&["settings", "delete", "recipients", name], 3);
    }

    // Sending back what is shown keeps the secrets; the far end gets them.
    let tested = || {
        let before = recorder.requests().len();
        let answer = cli.json(&["recipients", "test", "one"]);
        assert_eq!(answer["ok"], true, "{answer}");
        recorder.requests()[before].clone()
    };
    crate::support::wait_for("the recipient to be in force", 10, || {
        let known = cli.json(&["recipients", "list"]);
        known.as_array()?.iter().any(|r| r["name"] == "one").then_some(())
    });
    let shown = cli.json(&["settings", "show", "endpoints", "mine"])["value"].clone();
    let entry = cli.set("endpoints", "mine", &shown);
    assert_eq!((&entry["revision"], &entry["value"]), (&json!(2), &shown));
    let request = tested();
    assert_eq!(
        (request.path.as_str(), &request.json()["sharedsecret"]),
        ("/mine?key=zq9x-query", &json!("zq9x-body"))
    );

    let cause =
        cli.fails(&["settings", "set", "endpoints", "mine", r#"{"kind":"webhook","params":{"uri":"x"}}"#], 3);
    assert!(cause.contains("endpoints mine: ") && cause.contains("uri"), "{cause}");
    let cause = cli.fails(&["settings", "delete", "endpoints", "mine"], 1);
    assert!(cause.contains("one, two") && cause.contains("cascade"), "{cause}");
    let cause = cli.fails(&["settings", "delete", "recipients", "one"], 1);
    assert!(cause.contains("recipients two: fallback"), "{cause}");

    // Out, away, in again: as it was, to the byte.
    let export = cli.json(&["settings", "export"]);
    assert_eq!(export["documents"].as_array().unwrap().len(), 3);
    assert!(!export.to_string().contains(MARK), "{export}");
    let file = setup.path("export.json");
    std::fs::write(&file, export.to_string()).unwrap();
    assert_eq!(cli.json(&["settings", "import", text(&file)]), json!({ "changed": 0, "deleted": 0 }));
    assert_eq!(cli.json(&["settings", "reset"])["deleted"], 3);
    assert_eq!(cli.json(&["settings", "export"])["documents"], json!([]));
    assert_eq!(
        cli.json(&["settings", "import", text(&file), "--replace"]),
        json!({ "changed": 3, "deleted": 0 })
    );
    assert_eq!(cli.json(&["settings", "export"]), export);
    let cause = cli.fails(&["settings", "reset", "endpoints"], 1);
    assert!(cause.contains("unknown endpoint 'mine'"), "{cause}");
    let bare = cli.json(&["settings", "export", "endpoints", "--without-secrets"]);
    assert_eq!(bare["documents"][0]["value"]["params"]["url"], "****");
    let mut spoilt = export.clone();
    spoilt["documents"][1]["value"]["endpoint"] = json!("nowhere");
    std::fs::write(&file, spoilt.to_string()).unwrap();
    let cause = cli.fails(&["settings", "import", text(&file)], 3);
    assert!(cause.contains("unknown endpoint 'nowhere'"), "{cause}");
    assert_eq!(cli.json(&["settings", "export"]), export, "all or nothing");

    // Still there after a restart, and gone with their endpoint.
    assert_eq!(node.terminate(), Some(0));
    let (_node, api) = start(&setup);
    let cli = Cli { api: &api };
    assert_eq!(cli.json(&["settings", "export"]), export);
    cli.json(&["settings", "rollback", "endpoints", "mine", "1"]);
    cli.json(&["settings", "delete", "endpoints", "mine", "--cascade"]);
    assert_eq!(cli.json(&["settings", "export"])["documents"], json!([]));
    let history = cli.json(&["settings", "history", "endpoints", "mine"]);
    assert!(history[0]["value"].is_null() && !history.to_string().contains(MARK), "{history}");
}

/// Endpoint, recipient and name of every kind that has secrets, all of which lead to `far`.
fn all_kinds(far: &str) -> Vec<(&'static str, Value, Value)> {
    let secret = |of: &str| format!("{MARK}-{of}");
    let own = |to: &str| format!("{far}/{MARK}-{to}");
    vec![
        ("discord", json!({ "webhook_url": own("discord") }), json!({})),
        (
            "elasticsearch",
            json!({ "url": format!("{far}/elastic"), "username": "u", "password": secret("elastic") }),
            json!({}),
        ),
        (
            "email",
            json!({ "host": "127.0.0.1", "port": free_port(), "security": "none", "allow_clear_text_login": true, "sender": "a@example.com",
                    "username": "u", "password": secret("mail") }),
            json!({ "to": ["b@example.com"] }),
        ),
        (
            "mattermost",
            json!({ "url": format!("{far}/api/v4/posts"), "token": secret("mattermost") }),
            json!({ "channel_id": "4xp9fdt77pncbef59f4k1qe83o" }),
        ),
        ("msteams", json!({ "webhook_url": own("teams") }), json!({})),
        (
            "pagerduty",
            json!({ "url": format!("{far}/pagerduty"), "integration_key": format!("{MARK:0<32}") }),
            json!({}),
        ),
        ("slack", json!({ "webhook_url": own("slack") }), json!({})),
        (
            "telegram",
            json!({ "url": far, "token": "123456:zq9x-DEF1234ghIkl-zyx57W2v1u123ew11" }),
            json!({ "channel": -100 }),
        ),
        (
            "thehive",
            json!({ "url": format!("{far}/hive"), "token": secret("hive"), "headers": { "X-A": secret("hive-header") } }),
            json!({}),
        ),
        (
            "webhook",
            json!({ "url": format!("{far}/hook?q={MARK}-query"), "shared_secret": secret("shared"), "username": "u",
                    "password": secret("password"), "headers": { "X-Own": secret("header") },
                    "signing_secret": format!("whsec_{}", MARK.repeat(8)) }),
            json!({}),
        ),
        ("wechat", json!({ "webhook_url": own("wechat") }), json!({})),
    ]
}

fn assert_unseen(what: &str, bytes: &[u8]) {
    let at = bytes.windows(MARK.len()).position(|part| part.eq_ignore_ascii_case(MARK.as_bytes()));
    if let Some(at) = at {
        let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 60)];
        panic!("a secret is in {what}: {}", String::from_utf8_lossy(around));
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn no_secret_of_any_kind_is_ever_seen() {
    // Every other request succeeds, as far as the kind can tell.
    let recorder = Recorder::answering_with(|request| {
        let fails = request.body.len() % 3;
        match fails {
            0 => (500, "{\"errcode\":1}"),
            1 => (403, "no"),
            _ => (
                200,
                "{\"ok\":true,\"errcode\":0,\"errors\":false,\"items\":[],\"version\":{\"number\":\"8.1.0\"}}",
            ),
        }
    });
    let far = Recorder::start();
    let otlp = Recorder::start();
    let setup = demo_config(&far);
    let config = std::fs::read_to_string(setup.config()).unwrap();
    let log = "log = \"info,flowhook=trace,notifier=trace,aggregator=trace,shared=trace\"";
    let config = config.replace("log = \"warn\"", &format!("{log}\notlp_endpoint = \"{}\"", otlp.url()));
    std::fs::write(setup.config(), config).unwrap();
    let (mut node, api) = start(&setup);
    let cli = Cli { api: &api };
    let kinds = all_kinds(&recorder.url());
    let mut said = Vec::new();
    for (kind, params, of_recipient) in &kinds {
        let endpoint = json!({ "kind": kind, "params": params });
        said.push(cli.set("endpoints", kind, &endpoint).to_string());
        said.push(
            cli.set("recipients", kind, &json!({ "endpoint": kind, "params": of_recipient })).to_string(),
        );
        // Mistakes repeat no secret either.
        for (key, value) in params.as_object().unwrap() {
            for wrong in [json!(7), json!([value]), json!({ "x": value, "y": 7 })] {
                let mut params = params.clone();
                params[key] = wrong;
                params["no_such_key"] = json!(MARK);
                let endpoint = json!({ "kind": kind, "params": params }).to_string();
                // The unknown key's own value is not repeated, its name is.
                let cause = cli.fails(&["settings", "set", "endpoints", kind, &endpoint], 3);
                said.push(cause);
            }
        }
    }
    crate::support::wait_for("the recipients to be in force", 10, || {
        (cli.json(&["recipients", "list"]).as_array()?.len() >= kinds.len() + 3).then_some(())
    });
    for (kind, ..) in &kinds {
        let (_, answer) = ask("POST", &format!("{api}/api/v1/recipients/{kind}/test")).unwrap();
        said.push(answer);
    }
    assert_eq!(node.terminate(), Some(0));

    let (demo, config, state) = (data("demo.pcap"), setup.config(), setup.path("state"));
    let mut replay = flowhook(&[
        "replay",
        text(&demo),
        "-c",
        &config,
        "--state",
        text(&state),
        "-O",
        "json",
        "--drain",
        "8",
    ]);
    // What fails is tried again until the replay gives up waiting; the ledger keeps it.
    let output = replay.output().unwrap();
    assert_unseen("the output of a replay", &output.stdout);
    assert_unseen("the log of a replay", &output.stderr);
    let told = recorder.requests();
    let uses = |request: &crate::support::http::Request| {
        let whole =
            format!("{}{:?}{}", request.path, request.headers, String::from_utf8_lossy(&request.body));
        whole.contains(MARK)
    };
    assert!(told.iter().filter(|request| uses(request)).count() > kinds.len(), "the secrets were in use");

    let (mut node, api) = start(&setup);
    let paths = [
        "recipients",
        "alerts",
        "settings/endpoints",
        "settings/recipients",
        "settings/export",
        "settings/export?secrets=omit",
        "openapi.json",
    ];
    said.extend(paths.iter().map(|path| get_json(&format!("{api}/api/v1/{path}")).to_string()));
    for (kind, ..) in &kinds {
        for path in [
            format!("recipients/{kind}/dead"),
            format!("settings/endpoints/{kind}"),
            format!("settings/endpoints/{kind}/history"),
        ] {
            said.push(get_json(&format!("{api}/api/v1/{path}")).to_string());
        }
    }
    said.push(ask("GET", &format!("{api}/metrics")).unwrap().1);
    let recipients = get_json(&format!("{api}/api/v1/recipients"));
    let count = |key: &str| -> u64 {
        let items = recipients["items"].as_array().unwrap();
        items.iter().filter(|r| r["kind"] != "alert_store").map(|r| r["stats"][key].as_u64().unwrap()).sum()
    };
    assert!(count("delivered") > 0 && count("dead") > 0, "some arrive, some do not: {recipients}");
    assert_eq!(node.terminate(), Some(0));

    said.iter().for_each(|text| assert_unseen("an answer", text.as_bytes()));
    for request in otlp.requests() {
        assert_unseen("traces and metrics", &request.body);
    }
    for path in files(setup.dir.path()) {
        assert_unseen(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}
