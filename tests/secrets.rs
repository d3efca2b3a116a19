//! A whole process with a secret of its own in every place where one can be, at its most talkative, with far
//! ends that repeat what they were sent: no secret is in anything that comes out of it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shared::bus::Bus;
use shared::bus::nats::{NatsBus, NatsConfig};
use shared::bus::test_server::NatsServer;
use shared::secret::Secret;
use shared::secret::mark::assert_absent;
use shared::wire::subject::Subjects;

use crate::support::http::{Recorder, Request, ask, get_json};
use crate::support::program::{Running, Said, Setup, flowhook, text};
use crate::support::{free_port, wait_for};

/// What far ends say to what they refuse, by the begin of the path: what they were given, as the kind that
/// comes there reads it.
const REPEATED: [(&str, &str); 6] = [
    ("/api/webhooks", "{\"message\":\"no hook hunter2-path-of-discord-hook\",\"code\":10015}"),
    (
        "/e",
        "{\"error\":{\"type\":\"security_exception\",\"reason\":\"no ab:hunter2-elastic\"},\"status\":400}",
    ),
    (
        "/bot",
        "{\"ok\":false,\"error_code\":400,\"description\":\"no 654321:hunter2-DEF1234ghIkl-zyx57W2v1u123ew11\"}",
    ),
    ("/w", "{\"errcode\":40001,\"errmsg\":\"no hunter2-key-of-wechat\"}"),
    ("/hook", "no hunter2-of-file, hunter2-of-environment or hunter2-in-url"),
    ("/h", "{\"type\":\"AuthenticationError\",\"message\":\"no hunter2-hive\"}"),
];

/// What they say to what they take.
const TAKEN: &str =
    "{\"ok\":true,\"errcode\":0,\"errors\":false,\"items\":[],\"version\":{\"number\":\"8.1.0\"}}";

/// The path of what a proxy was asked for.
fn path(request: &Request) -> &str {
    let after = request.path.split_once("://").map(|(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    after.unwrap_or(&request.path)
}

/// Everything that commands say, to be looked at in the end.
struct Cli<'a> {
    api: &'a str,
    said: std::cell::RefCell<Vec<u8>>,
}

impl Cli<'_> {
    fn run(&self, args: &[&str]) -> Value {
        let at = ["--api", self.api, "--token", "hunter2-token-of-ops", "-O", "json"];
        let output = flowhook(&[args, &at].concat()).said().unwrap();
        let mut said = self.said.borrow_mut();
        said.extend_from_slice(&output.stdout);
        said.extend_from_slice(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    fn set(&self, kind: &str, name: &str, value: &Value) {
        let entry = self.run(&["settings", "set", kind, name, &value.to_string()]);
        assert!(entry["revision"].is_u64(), "{kind} {name}: {entry}");
    }

    fn get(&self, path: &str) -> Value {
        let value = get_json(&format!("{}/api/v1/{path}", self.api));
        self.said.borrow_mut().extend_from_slice(value.to_string().as_bytes());
        value
    }
}

/// Endpoints that are made over REST: kind, parameters, the recipient's parameters.
fn endpoints(far: &str) -> Vec<(&'static str, Value, Value)> {
    vec![
        (
            "discord",
            json!({ "webhook_url": format!("{far}/api/webhooks/1/hunter2-path-of-discord-hook") }),
            json!({}),
        ),
        (
            "elasticsearch",
            json!({ "url": format!("{far}/e"), "username": "ab", "password": "hunter2-elastic" }),
            json!({}),
        ),
        (
            "telegram",
            json!({ "url": far, "token": "654321:hunter2-DEF1234ghIkl-zyx57W2v1u123ew11" }),
            json!({ "channel": -100 }),
        ),
        (
            "email",
            json!({ "host": "127.0.0.1", "sender": "a@x.org", "security": "none",
                    "proxy": far.replace("://", "://ab:hunter2-mail-proxy@") }),
            json!({ "to": ["b@x.org"] }),
        ),
        ("thehive", json!({ "url": format!("{far}/h"), "token": "hunter2-hive" }), json!({})),
        ("wechat", json!({ "webhook_url": format!("{far}/w?key=hunter2-key-of-wechat") }), json!({})),
    ]
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn nothing_that_comes_out_of_a_process_holds_a_secret() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let users = "authorization { user: ab, password: \"hunter2-of-nats\" }";
    let Some(nats) = runtime.block_on(NatsServer::start_with("secrets", users)) else { return };
    let otlp = Recorder::start();
    // What it is sent second, it takes.
    let far = Recorder::answering_with(|request| match request.body.len() % 2 {
        0 => (
            400,
            REPEATED
                .iter()
                .find(|(begin, _)| path(request).starts_with(begin))
                .map_or("no", |(_, said)| *said),
        ),
        _ => (200, TAKEN),
    });
    let (port, kept) = (free_port(), tempfile::tempdir().unwrap());
    let secret_file = kept.path().join("secret");
    std::fs::write(&secret_file, "hunter2-of-file\n").unwrap();
    let setup = Setup::new(&format!(
        "[node]\nname = \"n1\"\nstate_dir = \"{{dir}}/state\"\nsecret_key = \"env:TEST_KEY\"\n
         [telemetry]\nlog = \"info,flowhook=trace,notifier=trace,aggregator=trace,shared=trace,async_nats=debug\"\n
         otlp_endpoint = \"{otlp}\"\n
         [bus]\nkind = \"nats\"\nprefix = \"quiet\"\n
         [bus.nats]\nservers = [\"{nats}\"]\nuser = \"ab\"\npassword = \"env:TEST_NATS\"\n
         [scripts]\nbuiltin = false\n[events]\nalerts = \"all\"\n
         [aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n
         token = [{{ name = \"ops\", secret = \"file:{kept}/token\", roles = [\"process_hooks\"] }}]\n
         [notifier]\nallow_private_targets = true\nhttp_proxy = \"{proxy}\"\nreferences = [\"file:{file}\"]\n[notifier.hooks]\ndir = \"{{dir}}/hooks\"\n
         [[notifier.endpoint]]\nname = \"of-file\"\nkind = \"webhook\"\n
         params = {{ url = \"{far}/hook?key=hunter2-in-url\", batch = 1, shared_secret = \"file:{file}\",
                     username = \"ab\", password = \"env:TEST_PASSWORD\" }}\n
         [[notifier.recipient]]\nname = \"of-file\"\nendpoint = \"of-file\"\n",
        otlp = otlp.url(),
        nats = nats.url,
        kept = text(kept.path()),
        far = far.url(),
        // It is the proxy in front of itself, and passes nothing on.
        proxy = far.url().replace("://", "://ab:hunter2-proxy@"),
        file = text(&secret_file),
    ));
    // The operator's own file: it may hold what it holds, and is not looked at.
    let config = kept.path().join("config.toml");
    std::fs::rename(setup.path("config.toml"), &config).unwrap();
    std::fs::write(kept.path().join("token"), "hunter2-token-of-ops").unwrap();
    let program = setup.path("hooks/check.sh");
    std::fs::create_dir(setup.path("hooks")).unwrap();
    std::fs::write(&program, "#!/bin/sh\n[ ${#PASS} = 15 ] && echo right && cat\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let with_secrets = |args: &[&str]| {
        let mut command = flowhook(args);
        command.env("TEST_NATS", "hunter2-of-nats").env("TEST_PASSWORD", "hunter2-of-environment");
        command.env("TEST_KEY", "5a".repeat(32));
        command
    };

    // Whatever goes over the bus is written down.
    let own = NatsConfig {
        servers: vec![nats.url.clone()],
        prefix: "quiet".to_owned(),
        user: Some("ab".to_owned()),
        password: Some(Secret::new("hunter2-of-nats")),
        ..NatsConfig::default()
    };
    let bus = runtime.block_on(NatsBus::connect(own)).unwrap();
    let subjects = Subjects::new("quiet");
    let tapped = std::sync::Arc::new(std::sync::Mutex::new(Vec::<u8>::new()));
    let mut tap = runtime.block_on(bus.subscribe(&subjects.prefixed(">"))).unwrap();
    let heard = std::sync::Arc::clone(&tapped);
    runtime.spawn(async move {
        while let Some(message) = tap.next().await {
            // How settings are sent to be checked is between two roles, sealed where it is kept.
            let line = format!("{} {:?} ", message.subject, message.headers);
            let mut heard = heard.lock().unwrap();
            heard.extend_from_slice(line.as_bytes());
            heard.extend_from_slice(&message.payload);
        }
    });

    let mut node = Running::start(with_secrets(&["run", "-c", text(&config)]), &setup.path("log"));
    let api = format!("http://127.0.0.1:{port}");
    wait_for("the API", 60, || {
        ask("GET", &format!("{api}/api/v1/health")).filter(|(status, _)| *status == 200)
    });
    let cli = Cli { api: &api, said: std::cell::RefCell::default() };
    let made = endpoints(&far.url());
    for (kind, params, of_recipient) in &made {
        cli.set("endpoints", kind, &json!({ "kind": kind, "params": params }));
        cli.set("recipients", kind, &json!({ "endpoint": kind, "params": of_recipient }));
    }
    let hook = json!({
        "triggers": [{ "type": "api", "call": "flowhook.endpoint.update" }], "kind": "exec",
        "argument": "check.sh", "stdin": true, "environment": { "PASS": format!("file:{}", text(&secret_file)) },
    });
    let definition = setup.path("hook.json");
    std::fs::write(&definition, hook.to_string()).unwrap();
    let hook = cli.run(&["hook", "create", "check", text(&definition)]);
    assert!(hook["revision"].is_u64(), "{hook}");
    let names: Vec<&str> = made.iter().map(|(kind, ..)| *kind).chain(["of-file"]).collect();
    wait_for("the recipients to be in force", 30, || {
        (cli.run(&["recipients", "list"]).as_array()?.len() > names.len()).then_some(())
    });
    for name in &names {
        cli.run(&["recipients", "test", name]);
    }
    for number in 0..12 {
        // Bodies of both lengths, so that some are taken and some are not.
        let alert = shared::model::Alert { message: "x".repeat(number), ..crate::cluster::alert(number) };
        let subject = subjects.alert(&alert.site, alert.entity, alert.severity, alert.action);
        let payload = serde_json::to_vec(&alert).unwrap();
        runtime.block_on(async {
            let receipt = bus.append(&subject, &alert.transition_id(), payload.into()).await.unwrap();
            receipt.stored().await.unwrap();
        });
    }
    let count = |key: &str| {
        let known = cli.run(&["recipients", "list"]);
        let known = known.as_array().unwrap().iter().filter(|r| r["kind"] != "alert_store");
        known.map(|r| r["stats"][key].as_u64().unwrap_or(0)).sum::<u64>()
    };
    wait_for("deliveries that succeed and that are given up", 60, || {
        (count("delivered") > 2 && count("dead") > 2).then_some(())
    });
    // The call that changes an endpoint is an event, with what was given, and runs the hook.
    let (kind, params, _) = &made[1];
    cli.set("endpoints", kind, &json!({ "kind": kind, "params": params }));
    let ran = wait_for("the hook", 60, || {
        let log = cli.run(&["hook", "log", "--hook", "check"]);
        log.as_array()?.iter().find(|record| record["outcome"] == "success").cloned()
    });
    cli.run(&["hook", "show", "check", "-e", &ran["execution"].to_string()]);
    let given = STANDARD.decode(ran["stdout"].as_str().unwrap()).unwrap();
    assert!(given.starts_with(b"right\n"), "the secret was in use: {}", String::from_utf8_lossy(&given));
    assert_absent("what a hook is given", &given);

    let rows = wait_for("alerts in the history", 30, || {
        let rows = cli.get("alerts?limit=100")["items"].as_array()?.clone();
        (!rows.is_empty()).then_some(rows)
    });
    for name in &names {
        cli.run(&["recipients", "explain", &rows[0]["row"].to_string(), name]);
        let letters = cli.run(&["recipients", "dead", name]);
        if let Some(event) = letters[0]["event_id"].as_str() {
            cli.run(&["recipients", "show", name, event]);
            cli.run(&["recipients", "replay", name, event]);
        }
        cli.get(&format!("settings/recipients/{name}"));
        cli.get(&format!("settings/endpoints/{name}"));
    }
    for (kind, ..) in &made {
        cli.get(&format!("settings/endpoints/{kind}/history"));
    }
    for path in [
        "recipients",
        "settings/export",
        "settings/export?secrets=omit",
        "hooks",
        "executions",
        "events?limit=500",
        "nodes",
        "openapi.json",
    ] {
        cli.get(path);
    }
    cli.run(&["settings", "export"]);
    let (_, metrics) = ask("GET", &format!("{api}/metrics")).unwrap();
    assert_eq!(node.terminate(), Some(0));
    for args in [vec!["config", "dump", "-c", text(&config)], vec!["check", "-c", text(&config)]] {
        let output = with_secrets(&args).said().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_absent("a command about the configuration", &output.stdout);
        assert_absent("a command about the configuration", &output.stderr);
    }

    // They were in use, all of them.
    let told: String = far
        .requests()
        .iter()
        .map(|r| format!("{}{:?}{}", r.path, r.headers, String::from_utf8_lossy(&r.body)))
        .collect();
    let [basic, proxy, mail_proxy] = ["ab:hunter2-elastic", "ab:hunter2-proxy", "ab:hunter2-mail-proxy"]
        .map(|login| STANDARD.encode(login));
    let connected = far.requests().iter().any(|request| request.method == "CONNECT");
    assert!(connected && far.requests().iter().any(|request| path(request) != request.path));
    for used in [
        "hunter2-in-url",
        "hunter2-of-file",
        "hunter2-path-of-discord-hook",
        "hunter2-DEF",
        "hunter2-hive",
        "hunter2-key-of-wechat",
        &basic,
        &proxy,
        &mail_proxy,
    ] {
        assert!(told.contains(used), "{used} was not in use");
    }
    assert_absent("what commands and the API say", &cli.said.borrow());
    assert_absent("metrics", metrics.as_bytes());
    let heard = tapped.lock().unwrap().clone();
    assert!(heard.len() > 10_000, "the bus was listened to");
    assert_absent("what goes over the bus", &heard);
    assert!(!otlp.requests().is_empty());
    for request in otlp.requests() {
        assert_absent("traces and metrics", &request.body);
    }
    for path in files(setup.dir.path()) {
        assert_absent(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}
