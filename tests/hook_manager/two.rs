//! Two notifiers that share a store: one of them runs hooks, and when it dies the other goes on.

use std::time::Duration;

use serde_json::{Value, json};
use shared::bus::SharedBus;
use shared::clock::Stopwatch;
use shared::wire::subject::{EventSubject, Subjects};

use crate::support::http::ask;
use crate::support::program::{Running, Setup, flowhook, run_json, text};
use crate::support::{free_port, wait_for};

use super::TOKEN;

/// Within which the other has gone on, all told.
const TAKEN_OVER: Duration = Duration::from_secs(15);

/// Writes down each execution; the first of the first item takes longer than the test.
const PROGRAM: &str = "#!/bin/sh
read -r line
echo \"$FLOWHOOK_IDEMPOTENCY_KEY $FLOWHOOK_ATTEMPT $line\" >>\"$RAN\"
case \"$FLOWHOOK_ATTEMPT $line\" in '1 '*one*) exec sleep 300 ;; esac
";

fn publish(runtime: &tokio::runtime::Runtime, bus: &SharedBus, text: &str) {
    let item = EventSubject::Item { service: "s".to_owned(), node: "two".to_owned() };
    runtime.block_on(async {
        let subject = Subjects::new("two").event(&item);
        let receipt = bus.append(&subject, text, json!(text).to_string().into());
        receipt.await.unwrap().stored().await.unwrap();
    });
}

#[test]
fn hooks_go_on_at_the_other_notifier_when_theirs_is_killed_or_stops() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(nats) = crate::cluster::nats_server("two notifiers and hooks") else { return };
    let Some(postgres) = crate::cluster_store::postgres_server(&runtime, "two notifiers and hooks") else {
        return;
    };
    runtime.block_on(postgres.database("two"));
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let setup = |name: &str| {
        Setup::new(&format!(
            "[node]\nname = \"{name}\"\nstate_dir = \"{{dir}}/state\"\nsecret_key = \"env:TEST_KEY\"\n
             [bus]\nkind = \"nats\"\nprefix = \"two\"\n[bus.nats]\nservers = [\"{}\"]\n
             [store]\nkind = \"postgres\"\n[store.postgres]\nurl = \"env:TEST_DATABASE\"\n
             [telemetry]\nlog = \"info,notifier=debug\"\n
             [scripts]\nbuiltin = false\n[notifier.hooks]\ndir = \"{}\"\n
             [aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n
             token = [{{ name = \"ops\", secret = \"{TOKEN}\", roles = [\"process_hooks\"] }}]\n",
            nats.url,
            text(folder.path()),
        ))
    };
    let start = |role: &str, setup: &Setup| {
        let mut command = flowhook(&[role, "-c", &setup.config()]);
        command.env("TEST_DATABASE", postgres.url("two")).env("TEST_KEY", "5a".repeat(32));
        Running::start(command, &setup.path("log"))
    };
    let says = |setup: &Setup, what: &str, times: usize| {
        wait_for(what, 30, || {
            let log = std::fs::read_to_string(setup.path("log")).unwrap_or_default();
            (log.matches(what).count() >= times).then_some(())
        });
    };
    let [aggregator, one, two] = ["a1", "n1", "n2"].map(setup);
    let _aggregator = start("aggregator", &aggregator);
    let api = format!("http://127.0.0.1:{port}");
    wait_for("the API", 60, || {
        ask("GET", &format!("{api}/api/v1/health")).filter(|(status, _)| *status == 200)
    });
    let mut first = start("notifier", &one);
    says(&one, "this node runs hooks", 1);
    let mut second = start("notifier", &two);
    says(&two, "another node runs hooks", 1);

    let ran = folder.path().join("ran");
    let program = folder.path().join("note.sh");
    std::fs::write(&program, PROGRAM).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let hook = json!({
        "subjects": ["event.item.s.two"], "kind": "exec", "argument": "note.sh", "order": "strict",
        "concurrency": 1, "timeout_s": 400, "environment": { "RAN": text(&ran) },
    });
    let file = aggregator.path("hook.json");
    std::fs::write(&file, hook.to_string()).unwrap();
    let run =
        |args: &[&str]| run_json(&[args, &["--api", api.as_str(), "--token", TOKEN, "-O", "json"]].concat());
    run(&["hook", "create", "note", text(&file)]);
    // Each execution that began: its key, which try it was, and for which item.
    let lines = |count: usize| {
        wait_for(&format!("{count} tries"), 60, || {
            let ran = std::fs::read_to_string(&ran).unwrap_or_default();
            let seen: Vec<(String, String, bool)> = ran
                .lines()
                .filter_map(|line| {
                    let mut words = line.splitn(3, ' ');
                    Some((words.next()?.to_owned(), words.next()?.to_owned(), words.next()?.contains("one")))
                })
                .collect();
            (seen.len() >= count).then_some(seen)
        })
    };
    let bus = runtime.block_on(crate::cluster::connect(&nats.url, "two"));
    publish(&runtime, &bus, "one");
    lines(1);
    publish(&runtime, &bus, "another");
    let queued = || {
        let counts = run(&["hook", "show", "note"]);
        counts["counts"]["queued"].as_u64().or_else(|| counts["queued"].as_u64())
    };
    wait_for("an execution behind it", 30, || (queued() == Some(1)).then_some(()));
    first.kill();
    let killed = Stopwatch::start();
    let seen = lines(3);
    assert!(killed.elapsed() < TAKEN_OVER, "it took {:?}", killed.elapsed());
    let shown: Vec<(&str, bool)> = seen.iter().map(|(_, attempt, one)| (attempt.as_str(), *one)).collect();
    assert_eq!(shown, [("1", true), ("2", true), ("1", false)], "in order, and the first once more");
    assert_eq!(seen[0].0, seen[1].0, "under the same key");

    // What the first has done is on record at the other.
    let ended = |count: usize| {
        wait_for("the records", 60, || {
            let log = run(&["hook", "log", "--hook", "note"]);
            let mut records: Vec<Value> = log.as_array()?.clone();
            records.reverse();
            let done = records.iter().filter(|record| record["state"] == "done").count();
            let told = |r: &Value| (r["node"].clone(), r["outcome"].clone(), r["attempt"].clone());
            (done == count).then(|| records.iter().map(told).collect::<Vec<_>>())
        })
    };
    let record = |node: &str, outcome: &str, attempt: u32| (json!(node), json!(outcome), json!(attempt));
    let mut records = ended(3);
    records.sort_by_key(|record| record.0.to_string());
    assert_eq!(records[0], record("n1", "killed", 1));
    assert_eq!(
        records[1..].iter().filter(|(node, outcome, _)| node == "n2" && outcome == "success").count(),
        2
    );

    // A stop hands over at once, and every event is still run by one of them.
    let mut first = start("notifier", &one);
    says(&one, "another node runs hooks", 1);
    publish(&runtime, &bus, "third");
    lines(4);
    assert_eq!(second.terminate(), Some(0));
    says(&one, "this node runs hooks", 2);
    publish(&runtime, &bus, "fourth");
    assert_eq!(lines(5).len(), 5);
    let records = ended(5);
    let of = |node: &str| records.iter().filter(|record| record.0 == node).count();
    assert_eq!((of("n1"), of("n2")), (2, 3));
    assert_eq!(first.terminate(), Some(0));
}
