//! Hooks through the whole program: kill -9 while a program runs, and the words of the command line.

use serde_json::{Value, json};

use super::{Site, TOKEN};
use crate::support::http::get_json;
use crate::support::program::{Running, Said, flowhook, run, run_json};
use crate::support::wait_for;

/// Whether a process is there.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn nothing_of_a_try_runs_beside_the_next_after_kill_9() {
    let site = Site::new("");
    let mut node = site.start(None);
    // The shell and what it started in a session of its own: neither hears a signal of a killed parent.
    site.file(
        "stay.sh",
        "#!/bin/sh\nsetsid sleep 600 &\necho \"$$ $! $FLOWHOOK_IDEMPOTENCY_KEY\" >>tries\nwait\n",
    );
    let hook = json!({ "triggers": [{ "type": "item", "node": "news" }], "kind": "exec",
        "argument": "stay.sh", "timeout_s": 3600 });
    site.run(&["hook", "create", "stay", &site.definition("stay", &hook)]);
    site.run(&["pubsub", "item", "publish", "-n", "news", "1"]);
    let tries = |count: usize| {
        wait_for(&format!("{count} tries"), 60, || {
            let tries = std::fs::read_to_string(site.setup.path("hooks/tries")).unwrap_or_default();
            let tries: Vec<Vec<String>> =
                tries.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect();
            (tries.len() == count && tries.iter().all(|words| words.len() == 3)).then_some(tries)
        })
    };
    let first = tries(1).remove(0);
    assert!(lives(&first[0]) && lives(&first[1]));
    node.kill();
    let mut node = site.start(None);
    let second = tries(2).remove(1);
    assert!(!lives(&first[0]) && !lives(&first[1]), "the first try is over before the second begins");
    assert!(lives(&second[0]) && lives(&second[1]));
    assert_eq!(first[2], second[2], "one key");
    let records = site.run(&["hook", "log", "--hook", "stay"]);
    let seen: Vec<_> = records.as_array().unwrap().iter().map(|r| (&r["attempt"], &r["state"])).collect();
    assert_eq!(seen, [(&json!(2), &json!("running")), (&json!(1), &json!("done"))]);
    assert_eq!(node.terminate(), Some(0));
    wait_for("an end of everything", 10, || (!lives(&second[0]) && !lives(&second[1])).then_some(()));
}

#[test]
fn what_was_given_up_is_found_tried_again_and_forgotten_and_definitions_go_back() {
    let site = Site::new("");
    let _node = site.start(None);
    site.file("fail.sh", "#!/bin/sh\necho \"$1 && <x>\n$FLOWHOOK_SUBJECT\"\nexit 3\n");
    let hook = json!({ "triggers": [{ "type": "item", "node": "news" }], "kind": "exec",
        "argument": "fail.sh", "arguments": ["one"], "retry": { "attempts": 1 } });
    site.run(&["hook", "create", "fail", &site.definition("fail", &hook)]);
    for item in ["1", "2"] {
        site.run(&["pubsub", "item", "publish", "-n", "news", item]);
    }
    let records = site.ended("fail", 2);
    assert!(records.iter().all(|record| record["dead"] == true && record["exit_code"] == 3), "{records:?}");
    let log = |more: &[&str]| {
        let items = site.run(&[&["hook", "log", "--hook", "fail"], more].concat());
        items.as_array().unwrap().len()
    };
    let event = records[0]["event"].as_str().unwrap();
    for (filter, count) in [
        (&["--dead"][..], 2),
        (&["--error"], 2),
        (&["--success"], 0),
        (&["--outcome", "failure"], 2),
        (&["--outcome", "timeout"], 0),
        (&["--event", event], 1),
        (&["--since", "1h"], 2),
        (&["--until", "1h"], 0),
        (&["--limit", "1"], 1),
    ] {
        assert_eq!(log(filter), count, "{filter:?}");
    }
    // A retry gives what was given, or what the definition in force makes of the event.
    let part = site.definition("part", &json!({ "arguments": ["two"] }));
    site.run(&["hook", "update", "fail", &part, "-a"]);
    let number = records[0]["execution"].to_string();
    for (more, said) in [(&[][..], "one && <x>"), (&["--rerender"], "two && <x>")] {
        let at = ["--api", &site.api, "--token", TOKEN, "-O", "json"];
        let again = run(&[&["hook", "retry", "fail", &number, "--wait"], more, &at].concat());
        assert_eq!(again.status.code(), Some(1), "it ends as the execution did");
        let again: Value = serde_json::from_slice(&again.stdout).unwrap();
        assert_eq!(again["arguments"][0], said.split(' ').next().unwrap());
        use base64::Engine as _;
        let out =
            base64::engine::general_purpose::STANDARD.decode(again["stdout"].as_str().unwrap()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("{said}\nevent.item._.news\n"));
    }
    assert_eq!(log(&["--dead"]), 4);
    let answer = site.run(&["hook", "dead", "fail", "-e", &number]);
    assert_eq!(answer["changed"], 1);
    site.ended("fail", 5);
    wait_for("it to be given up again", 30, || (log(&["--dead"]) == 4).then_some(()));
    assert_eq!(site.run(&["hook", "dead", "fail", "--discard"])["changed"], 4);
    assert_eq!(log(&["--dead"]), 0);
    // The definition goes back, and the next execution is that of the old words.
    site.run(&["settings", "rollback", "hooks", "fail", "1"]);
    assert_eq!(site.run(&["hook", "show", "fail"])["hook"]["arguments"], json!(["one"]));
    let top = flowhook(&["hook", "top", "-n", "2", "-d", "1", "--api", &site.api]).said().unwrap();
    let top = String::from_utf8(top.stdout).unwrap();
    assert_eq!(top.matches("failure ").count(), 2, "{top}");
}

#[test]
fn hooks_run_for_events_of_flows() {
    let capture = crate::support::data("demo.pcap");
    let site = Site::new(&format!(
        "[collector]\nflow_events = 8\n[[collector.interface]]\nname = \"demo\"\nfiles = [\"{}\"]\n
         [hooks.ended]\nsubjects = [\"event.flow.flowEnd.*\"]\nkind = \"rhai_code\"\n
         argument = \"log(item.data.flow.id)\"\nkeep = {{ success = 1000, failure = 10 }}\n",
        capture.display()
    ));
    let _node = site.start(None);
    // Of 726 flows one in eight.
    let ran = wait_for("runs for the ends of a sample of flows", 60, || {
        let log = site.run(&["hook", "log", "--hook", "ended", "--success", "--limit", "1000"]);
        Some(log.as_array()?.clone()).filter(|ran| ran.len() >= 40)
    });
    let flows: std::collections::BTreeSet<&str> =
        ran.iter().filter_map(|record| record["stdout"].as_str()).collect();
    assert_eq!(flows.len(), ran.len(), "each once");
    let events = get_json(&format!("{}/api/v1/events?limit=1000&filter=event.flow.flowEnd.*", site.api));
    are_what_their_schema_says("flow", events["items"].as_array().unwrap());
}

/// Scenario 12.
#[test]
fn a_failure_can_still_be_tried_again_after_more_successes_than_are_kept() {
    let site = Site::new("");
    let _node = site.start(None);
    site.file("odd.sh", "#!/bin/sh\ngrep -q '\"payload\":\"bad\"' && [ ! -e mended ] && exit 1\nexit 0\n");
    let hook = json!({ "triggers": [{ "type": "item", "node": "news" }], "kind": "exec",
        "argument": "odd.sh", "retry": { "attempts": 1 } });
    site.run(&["hook", "create", "odd", &site.definition("odd", &hook)]);
    site.run(&["pubsub", "item", "publish", "-n", "news", "bad"]);
    let failed = site.ended("odd", 1).remove(0);
    assert_eq!((&failed["outcome"], &failed["dead"]), (&json!("failure"), &json!(true)));
    for _ in 0..22 {
        site.run(&["pubsub", "item", "publish", "-n", "news", "good"]);
    }
    wait_for("22 successes", 30, || {
        (site.run(&["hook", "show", "odd"])["counts"]["success"] == 22).then_some(())
    });
    let log = |which: &str| site.run(&["hook", "log", "--hook", "odd", which]);
    assert_eq!(log("--success").as_array().unwrap().len(), 20, "as many as are kept");
    assert_eq!(log("--error")[0]["execution"], failed["execution"]);
    site.file("mended", "");
    let again = site.run(&["hook", "retry", "odd", &failed["execution"].to_string(), "--wait"]);
    assert_eq!(
        (&again["outcome"], &again["idempotency_key"]),
        (&json!("success"), &failed["idempotency_key"])
    );
}

#[test]
fn lists_of_hooks_on_nodes_are_printed_in_three_forms_to_the_byte() {
    let site = Site::new("");
    let _node = site.start(None);
    let printed = |form: &str| {
        let output = run(&["pubsub", "hook", "list", "-O", form, "--api", &site.api]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        (printed("json"), printed("json-raw"), printed("simple")),
        ("[]\n".into(), "[]\n".into(), "".into())
    );
    for code in ["1", "2"] {
        site.run(&["pubsub", "hook", "create", "-n", "news", "-t", "rhai_code", "-P", code]);
    }
    let raw = |arg: &str| {
        format!(r#"{{"arg":"{arg}","node":"news","persistent":true,"service":"","type":"rhai_code"}}"#)
    };
    assert_eq!(printed("json-raw"), format!("[{},{}]\n", raw("1"), raw("2")));
    let entry = |arg: &str| {
        let fields = [
            format!("\"arg\": \"{arg}\""),
            "\"node\": \"news\"".to_owned(),
            "\"persistent\": true".to_owned(),
            "\"service\": \"\"".to_owned(),
            "\"type\": \"rhai_code\"".to_owned(),
        ];
        format!("    {{\n        {}\n    }}", fields.join(",\n        "))
    };
    assert_eq!(printed("json"), format!("[\n{},\n{}\n]\n", entry("1"), entry("2")));
    let simple =
        |arg: &str| format!("arg: {arg}\nnode: news\npersistent: true\nservice: \ntype: rhai_code\n");
    assert_eq!(printed("simple"), format!("{}\n{}", simple("1"), simple("2")));
}

/// Compares the events of a kind, of which there is one at least, with its schema.
fn are_what_their_schema_says(kind: &str, events: &[Value]) {
    let schema = run_json(&["events", "schema", kind, "-O", "json"]);
    let schema = jsonschema::validator_for(&schema).unwrap();
    let of_kind: Vec<_> = events.iter().filter(|event| event["body"]["kind"] == kind).collect();
    assert!(!of_kind.is_empty(), "{kind}");
    for event in of_kind {
        let wrong: Vec<String> = schema.iter_errors(&event["body"]).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{event}: {wrong:?}");
    }
}

#[test]
fn every_event_is_what_its_schema_says_and_is_followed_as_it_comes() {
    let site = Site::new("");
    let _node = site.start(None);
    let tail = site.setup.path("tail");
    let command = flowhook(&["events", "tail", "event.item.>", "-n", "1", "--api", &site.api, "-O", "json"]);
    let mut tailing = Running::writing(command, &tail, &tail.with_extension("log"));
    let args = ["hook", "create", "x", "-", "--api", &site.api, "--token", TOKEN];
    let definition = "subjects = [\"event.item.>\"]\nkind = \"rhai_code\"\nargument = \"1\"\n";
    let created = flowhook(&args).said_to(definition.as_bytes());
    assert!(created.status.success(), "TOML of standard input");
    site.run(&["settings", "set", "pools", "lan", r#"{ "members": ["10.0.0.0/8"] }"#]);
    wait_for("an item that is followed", 30, || {
        site.run(&["pubsub", "item", "publish", "-n", "news", r#"{"a":1}"#]);
        tailing.0.try_wait().unwrap()
    });
    let line: Value = serde_json::from_str(&std::fs::read_to_string(&tail).unwrap()).unwrap();
    assert_eq!(
        (&line["subject"], &line["message"]["body"]["payload"]),
        (&json!("event.item._.news"), &json!({ "a": 1 }))
    );
    let events = get_json(&format!("{}/api/v1/events?limit=500", site.api));
    let events = events["items"].as_array().unwrap();
    for kind in ["api", "state", "item"] {
        are_what_their_schema_says(kind, events);
    }
    // Who follows calls hears those of others, not that it asks for them.
    let calls = site.setup.path("calls");
    let command = flowhook(&["events", "tail", "event.api.>", "-n", "1", "--api", &site.api, "-O", "json"]);
    let mut tailing = Running::writing(command, &calls, &calls.with_extension("log"));
    wait_for("a call that is followed", 30, || {
        site.run(&["settings", "set", "pools", "lan", r#"{ "members": ["10.0.0.0/9"] }"#]);
        tailing.0.try_wait().unwrap()
    });
    let line: Value = serde_json::from_str(&std::fs::read_to_string(&calls).unwrap()).unwrap();
    assert_eq!(line["subject"], "event.api.flowhook.pool.update.1");
    // What calls are named after follows from their routes.
    let subjects: Vec<&str> = events.iter().map(|event| event["subject"].as_str().unwrap()).collect();
    for subject in [
        "event.api.flowhook.hook.create.1",
        "event.api.flowhook.pool.update.1",
        "event.api.flowhook.item.publish.1",
        "event.state.HOOK.ENABLED._.x",
        "event.state.AGGREGATOR.STARTED._.n1",
        "event.state.NOTIFIER.STARTED._.n1",
        "event.item._.news",
    ] {
        assert!(subjects.contains(&subject), "{subject}: {subjects:?}");
    }
}
