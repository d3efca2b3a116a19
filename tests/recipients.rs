//! Endpoints and recipients are edited while everything runs, and nobody ever sees their secrets.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use shared::secret::mark::{MARK, assert_absent};

use crate::replay::demo_config;
use crate::settings::start;
use crate::support::http::{Recorder, ask, get_json};
use crate::support::program::{Said, flowhook, run_fails, run_json, text};
use crate::support::{data, free_port};

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

    /// Runs a command at a terminal of its own, types, and gives whether all went well and what was shown.
    fn at_a_terminal(&self, args: &str, typed: &str) -> (bool, String) {
        let line = format!("{} {args} --api {}", env!("CARGO_BIN_EXE_flowhook"), self.api);
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        let ended = script.said_to(typed.as_bytes());
        (ended.status.success(), String::from_utf8_lossy(&ended.stdout).into_owned())
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
        ("/mine?key=hunter2-query", &json!("hunter2-body"))
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
    std::fs::write(&file, export.to_string()).unwrap();
    cli.json(&["settings", "import", text(&file)]);
    // At a terminal it is asked.
    let (left, said) = cli.at_a_terminal("settings delete endpoints mine", "n\n");
    assert!(
        !left && said.contains("Recipients use it: one, two.") && said.contains("nothing is deleted"),
        "{said}"
    );
    assert_eq!(cli.json(&["settings", "export"])["documents"].as_array().unwrap().len(), 3);
    assert!(cli.at_a_terminal("settings delete endpoints mine", "y\n").0);
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
            json!({ "url": far, "token": "123456:hunter2-DEF1234ghIkl-zyx57W2v1u123ew11" }),
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
            1 => (400, "no"),
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
    let output = replay.said().unwrap();
    assert_absent("the output of a replay", &output.stdout);
    assert_absent("the log of a replay", &output.stderr);
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

    said.iter().for_each(|text| assert_absent("an answer", text.as_bytes()));
    for request in otlp.requests() {
        assert_absent("traces and metrics", &request.body);
    }
    // The operator's own files hold what they hold.
    let is_config = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "toml");
    for path in files(setup.dir.path()).into_iter().filter(|path| !is_config(path)) {
        assert_absent(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}

/// A far end that refuses us, then what we say, then nothing any more.
#[test]
fn what_is_refused_is_kept_and_what_is_given_up_is_looked_at_tried_again_and_forgotten() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    let status = Arc::new(AtomicU16::new(403));
    let answers = Arc::clone(&status);
    let far = Recorder::answering(move |_, _| answers.load(Ordering::SeqCst));
    let recorder = Recorder::start();
    let setup = demo_config(&recorder);
    let hook = |path: &str| {
        let url = format!("{}{path}?key={MARK}", far.url());
        json!({ "kind": "webhook", "params": { "url": url, "batch": 1 } })
    };
    let (mut node, api) = start(&setup);
    let cli = Cli { api: &api };
    cli.set("endpoints", "far", &hook("/first"));
    cli.set("recipients", "one", &json!({ "endpoint": "far" }));
    assert_eq!(node.terminate(), Some(0));
    let (demo, config, state) = (data("demo.pcap"), setup.config(), setup.path("state"));
    run_json(&["replay", text(&demo), "-c", &config, "--state", text(&state), "-O", "json", "--drain", "2"]);

    let (_node, api) = start(&setup);
    let cli = Cli { api: &api };
    let one = || {
        let known = cli.json(&["recipients", "list"]);
        known.as_array().unwrap().iter().find(|r| r["name"] == "one").cloned().unwrap_or_default()
    };
    let until = |what: &str, reached: &dyn Fn(&Value) -> bool| {
        crate::support::wait_for(what, 30, || Some(one()).filter(|one| reached(one)))
    };
    let refused = until("the refusal", &|one| one["breaker"] == "open");
    let owed = refused["stats"]["pending"].as_u64().unwrap();
    assert!(owed > 2 && refused["stats"]["dead"] == 0, "nothing is given up: {refused}");

    // Each alert of the history that the recipient is owed, and the one that was tried.
    let rows: Vec<Value> =
        get_json(&format!("{api}/api/v1/alerts?limit=100"))["items"].as_array().unwrap().clone();
    let explain = |alert: &Value| cli.json(&["recipients", "explain", &alert["row"].to_string(), "one"]);
    let tried = |alert: &&Value| {
        let attempts = &explain(alert)["delivery"]["attempts"];
        attempts.as_array().is_some_and(|attempts| !attempts.is_empty())
    };
    let alert = rows.iter().find(tried).expect("one was tried");
    let verdict = explain(alert);
    let event = format!("{}/{}", alert["id"].as_str().unwrap(), alert["action"].as_str().unwrap());
    assert_eq!(cli.json(&["recipients", "explain", &event, "one"]), verdict);
    assert!(cli.fails(&["recipients", "explain", "nowhere", "one"], 1).contains("no alert nowhere"));
    assert_eq!((&verdict["passes"], &verdict["delivery"]["state"]), (&json!(true), &json!("pending")));
    let attempt = &verdict["delivery"]["attempts"][0];
    assert_eq!((&attempt["outcome"], &attempt["reason"]), (&json!("retry"), &json!("answered 403")));
    assert!(attempt["took_ms"].is_u64() && attempt["started"].is_string(), "{attempt}");
    assert!(verdict["configuration"].is_null(), "{verdict}");
    let url = format!("{api}/api/v1/recipients/one/explain?alert={}", alert["row"]);
    assert_eq!(get_json(&url), verdict);
    cli.set("recipients", "one", &json!({ "endpoint": "far", "minimum_severity": "debug" }));
    crate::support::wait_for("the edit to be in force", 10, || {
        explain(alert)["configuration"].as_str()?.starts_with("decided with configuration ").then_some(())
    });

    // The endpoint is edited: everything is tried at once, and refused for what it says.
    status.store(400, Ordering::SeqCst);
    cli.set("endpoints", "far", &hook("/second"));
    let given_up = until("everything to be given up", &|one| one["stats"]["pending"] == 0);
    assert_eq!(given_up["stats"]["dead"], given_up["stats"]["dropped"]["refused"]);
    let letters = cli.json(&["recipients", "dead", "one"]);
    let events: Vec<String> =
        letters.as_array().unwrap().iter().map(|l| l["event_id"].as_str().unwrap().to_owned()).collect();
    assert!(events.len() as u64 >= owed, "{letters}");
    let event = format!("{}/{}", alert["id"].as_str().unwrap(), alert["action"].as_str().unwrap());
    let shown = cli.json(&["recipients", "show", "one", &event]);
    assert_eq!((&shown["kind"], &shown["payload"]["id"]), (&json!("alert"), &alert["id"]));
    let attempts = shown["delivery"]["attempts"].as_array().unwrap();
    assert_eq!(attempts.last().unwrap()["reason"], "answered 400");
    assert!(!shown.to_string().contains(MARK), "{shown}");
    assert_eq!(get_json(&format!("{api}/api/v1/recipients/one/dead/{event}")), shown);
    let unknown = ask("GET", &format!("{api}/api/v1/recipients/one/dead/nothing/engage")).unwrap();
    assert_eq!(unknown.0, 404, "{}", unknown.1);

    // One is tried again, one is forgotten, and then the rest.
    status.store(202, Ordering::SeqCst);
    assert_eq!(cli.json(&["recipients", "replay", "one", &event]), json!({ "replayed": 1 }));
    until("the delivery", &|one| one["stats"]["delivered"] == 1 && one["stats"]["last_success"].is_string());
    let told = explain(alert)["delivery"].clone();
    let last = told["attempts"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["outcome"], &last["answer"]), (&json!("delivered"), &json!("answered 202")));
    let all = get_json(&format!("{api}/api/v1/alerts/{}/deliveries", alert["row"]));
    assert!(all["items"].as_array().unwrap().contains(&told), "{all}");
    let other = events.iter().find(|other| **other != event).unwrap();
    assert_eq!(cli.json(&["recipients", "discard", "one", other]), json!({ "discarded": 1 }));
    assert_eq!(cli.json(&["recipients", "dead", "one"]).as_array().unwrap().len(), events.len() - 2);
    let (code, answer) = ask("POST", &format!("{api}/api/v1/recipients/one/dead/replay")).unwrap();
    assert_eq!((code, answer), (200, format!("{{\"replayed\":{}}}", events.len() - 2)));
    until("the rest", &|one| one["stats"]["delivered"].as_u64() >= Some(events.len() as u64 - 1));
    let (code, answer) = ask("DELETE", &format!("{api}/api/v1/recipients/one/dead")).unwrap();
    assert_eq!((code, answer.as_str()), (200, "{\"discarded\":0}"));
    assert!(far.requests().iter().any(|request| request.path.starts_with("/second")));
}
