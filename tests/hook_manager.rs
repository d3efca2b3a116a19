//! Hooks on events through the program: command line, REST, records, sessions, rights.
//!
//! What hooks are held to, and where it is shown (`notifier` and `shared` are those crates' own tests):
//!
//! | | scenario | test |
//! |---|---|---|
//! | 1 | a subscriber written for another hook manager prints every event of ten seconds | `bridge::the_printed_ruby_subscriber_prints_every_event_of_a_run` |
//! | 2 | a hook is made, fires, is retried, updated, renamed, locked, looked up, deleted | `a_hook_is_made_run_retried_changed_and_deleted` |
//! | 3 | killed during a run: once more under the same key | `through::nothing_of_a_try_runs_beside_the_next_after_kill_9`, `two` |
//! | 4 | 10,000 events while nobody runs hooks: all run, in order by key | `nats::events_of_any_client_run_hooks_also_those_that_came_meanwhile` |
//! | 5 | a program that ignores SIGTERM | `notifier`: `a_program_that_will_not_stop_is_killed_and_its_output_kept` |
//! | 6 | a gigabyte of output | `heavy::a_gigabyte_of_output_is_not_memory` |
//! | 7 | `&&`, `<`, NUL, invalid UTF-8 in command and output | `notifier`: `output_of_any_size_and_any_bytes_is_on_record` |
//! | 8 | updated and deleted 1000 times in a row | `notifier`: `definitions_that_change_all_the_time_leave_the_manager_alive_and_right` |
//! | 9 | four equal hooks are deleted by what they are: four | `hooks_on_nodes_are_as_their_manual_says` |
//! | 10 | an empty list is `[]` | `through::lists_of_hooks_on_nodes_are_printed_in_three_forms_to_the_byte` |
//! | 11 | a disabled hook does not fire, a locked one does | `notifier`: `conditions_replays_tests_and_disabled_hooks` |
//! | 12 | a failure is retried after more successes than are kept | `through::a_failure_can_still_be_tried_again_after_more_successes_than_are_kept` |
//! | 13 | a stalled subscriber costs its bound | `bridge::a_stalled_subscriber_costs_a_node_its_bound_alone`; `notifier`: `a_stalled_subscriber_costs_its_bound_and_nobody_else_anything` |
//! | 14 | a hook with two filters on a server of 2.9 | `nats::events_of_any_client_run_hooks_also_those_that_came_meanwhile` |
//! | 15 | who may not publish events, or see another's | `shared`: `every_role_may_do_its_work_and_no_more` |
//! | 16 | an event larger than a message | `heavy::an_event_larger_than_a_message_reaches_its_hook_whole` |

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::http::{ask, get_json};
use crate::support::program::{Running, Said, Setup, flowhook, run_fails, run_json, text};
use crate::support::{free_port, wait_for};

mod bridge;
mod failpoints;
mod gone;
mod heavy;
mod nats;
mod states;
mod through;
mod two;

/// The token of who may make hooks that run processes.
const TOKEN: &str = "hunter2-of-ops";

/// A node with a folder of hooks' files.
pub struct Site {
    pub setup: Setup,
    pub api: String,
}

impl Site {
    /// A node that is not started yet; `more` goes into its configuration.
    pub fn new(more: &str) -> Self {
        let port = free_port();
        let setup = Setup::new(&format!(
            r#"
[node]
name = "n1"
state_dir = "{{dir}}/state"
[aggregator.api]
listen = "127.0.0.1:{port}"
session_s = 3
token = [{{ name = "ops", secret = "{TOKEN}", roles = ["process_hooks"] }}]
[notifier.hooks]
dir = "{{dir}}/hooks"
[scripts]
builtin = false
{more}
"#
        ));
        std::fs::create_dir(setup.path("hooks")).unwrap();
        Self { setup, api: format!("http://127.0.0.1:{port}") }
    }

    /// Starts it, perhaps to be killed at a named point.
    pub fn start(&self, failpoint: Option<&str>) -> Running {
        self.start_with(failpoint, |_| {})
    }

    /// The same, with more for its command.
    pub fn start_with(&self, failpoint: Option<&str>, more: impl FnOnce(&mut Command)) -> Running {
        let mut command = flowhook(&["run", "-c", &self.setup.config()]);
        more(&mut command);
        if let Some(point) = failpoint {
            let point = format!("{point}@{}", text(&self.setup.path("armed")));
            command.env("FLOWHOOK_FAILPOINT", point);
        }
        let running = Running::start(command, &self.setup.path("log"));
        let health = format!("{}/api/v1/health", self.api);
        wait_for("the API", 30, || ask("GET", &health).filter(|(status, _)| *status == 200));
        running
    }

    /// A file that hooks may run.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.setup.path("hooks").join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        text(&path).to_owned()
    }

    /// A definition as a file.
    pub fn definition(&self, name: &str, value: &Value) -> String {
        let path = self.setup.path(&format!("{name}.json"));
        std::fs::write(&path, value.to_string()).unwrap();
        text(&path).to_owned()
    }

    fn at<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--api", &self.api, "--token", TOKEN, "-O", "json"]].concat()
    }

    /// Runs a command of `ops` against it and reads its JSON.
    pub fn run(&self, args: &[&str]) -> Value {
        run_json(&self.at(args))
    }

    /// Runs a command that fails with this code; gives what it says.
    pub fn fails(&self, args: &[&str], code: i32) -> String {
        run_fails(&self.at(args), code)
    }

    /// Waits until a hook has so many executions with an end, oldest first.
    pub fn ended(&self, hook: &str, count: usize) -> Vec<Value> {
        wait_for(&format!("{count} executions of {hook}"), 60, || {
            let mut records = self.run(&["hook", "log", "--hook", hook, "--limit", "1000"]);
            let records = records.as_array_mut()?;
            let done = records.iter().filter(|record| record["state"] == "done").count();
            records.reverse();
            (done >= count).then(|| records.clone())
        })
    }
}

#[test]
fn a_hook_is_made_run_retried_changed_and_deleted() {
    let site = Site::new("");
    let _node = site.start(None);
    site.file("show.sh", "#!/bin/sh\ncat\n");
    let file = site.definition(
        "on-set",
        &json!({ "triggers": [{ "type": "api", "call": "flowhook.pool.update" }], "kind": "exec",
                 "argument": "show.sh", "environment": { "X": "1" } }),
    );
    let checked = site.run(&["hook", "create", "on-set", &file, "--dry-run"]);
    assert_eq!(checked["filters"], json!(["event.api.flowhook.pool.update.*"]));
    let made = site.run(&["hook", "create", "on-set", &file, "--by", "ann"]);
    assert_eq!((&made["revision"], &made["by"]), (&json!(1), &json!("ops")), "the token says who it is");
    let pool = json!({ "members": ["10.0.0.0/8"], "password": "hunter2" }).to_string();
    site.fails(&["settings", "set", "pools", "lan", &pool], 3);
    site.run(&["settings", "set", "pools", "lan", r#"{ "members": ["10.0.0.0/8"] }"#]);
    let records = site.ended("on-set", 2);
    let number = records[0]["execution"].to_string();
    let failed = site.run(&["hook", "show", "on-set", "-e", &number]);
    let decode = |record: &Value| {
        let out = record["stdout"].as_str().unwrap();
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(out).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let event = decode(&failed);
    assert_eq!(event["subject"], "event.api.flowhook.pool.update.0", "also a call that failed");
    let body = &event["data"];
    assert_eq!((&body["success"], &body["code"]), (&json!(false), &json!(400)));
    assert_eq!(body["in"][0]["value"], "****");
    assert_eq!(body["actor"], json!({ "user": "ops", "via": "command_line" }));
    assert!(!event.to_string().contains("hunter2") && event.to_string().contains("10.0.0.0/8"), "{event}");

    let again = site.run(&["hook", "retry", "on-set", &number, "--wait"]);
    assert_eq!((&again["trigger"], &again["outcome"]), (&json!("retry"), &json!("success")));
    assert_eq!(again["idempotency_key"], failed["idempotency_key"]);
    let part = site.definition("part", &json!({ "timeout_s": 7 }));
    assert_eq!(site.run(&["hook", "update", "on-set", &part, "-a"])["hook"]["timeout_s"], 7);
    let late = site.fails(&["hook", "update", "on-set", &part, "-a", "--revision", "1"], 1);
    assert!(late.contains("revision 2"), "{late}");
    // Another call instead, and back.
    for (call, kind, value) in [
        ("silence", "silences", r#"{ "max_severity": "warning" }"#),
        ("pool", "silences", r#"{ "max_severity": "error" }"#),
    ] {
        let other = json!({ "triggers": [{ "type": "api", "call": format!("flowhook.{call}.update") }] });
        site.run(&["hook", "update", "on-set", &site.definition("other", &other), "-a"]);
        site.run(&["settings", "set", kind, "quiet", value]);
    }
    assert_eq!(site.ended("on-set", 4)[3]["subject"], "event.api.flowhook.silence.update.1");
    site.run(&["hook", "lock", "on-set"]);
    assert!(site.fails(&["hook", "delete", "on-set"], 1).contains("locked"));
    assert!(site.fails(&["settings", "delete", "hooks", "on-set"], 1).contains("locked"));
    site.run(&["settings", "set", "pools", "lan", r#"{ "members": ["10.0.0.0/9"] }"#]);
    let records = site.ended("on-set", 5);
    assert_eq!((records.len(), &records[4]["subject"]), (5, &json!("event.api.flowhook.pool.update.1")));
    site.run(&["hook", "unlock", "on-set"]);
    site.run(&["hook", "disable", "on-set"]);
    site.run(&["settings", "set", "pools", "lan", r#"{ "members": ["10.0.0.0/10"] }"#]);
    site.run(&["hook", "rename", "on-set", "other"]);
    site.run(&["hook", "enable", "other"]);
    let dry = site.run(&["hook", "replay", "other", "--since", "1h", "--dry-run"]);
    assert_eq!(dry["executions"], 4, "what came while it was off can be had later: {dry}");
    let tested = site.run(&["hook", "test", "other"]);
    assert_eq!((&tested["trigger"], &tested["outcome"]), (&json!("test"), &json!("success")));
    site.run(&["hook", "delete", "other"]);
    assert_eq!(site.run(&["hook", "list"]), json!([]));
    assert!(site.fails(&["hook", "show", "other"], 1).contains("other"));
    let told = [
        "ENABLED._.on-set",
        "DISABLED._.on-set",
        "DISABLED._.other",
        "DELETED._.on-set",
        "ENABLED._.other",
        "DELETED._.other",
    ];
    // What is told goes over the bus before it is on record.
    wait_for("every state on record", 30, || {
        let events = get_json(&format!("{}/api/v1/events?limit=500&filter=event.state.HOOK.*.*.*", site.api));
        let subject = |event: &Value| event["subject"].as_str().unwrap().to_owned();
        let states: Vec<String> = events["items"].as_array()?.iter().map(subject).collect();
        let states: Vec<&str> =
            states.iter().map(|state| state.trim_start_matches("event.state.HOOK.")).collect();
        (states == told).then_some(())
    });
}

#[test]
fn hooks_on_nodes_are_as_their_manual_says() {
    let site = Site::new("");
    let mut node = site.start(None);
    assert_eq!(site.run(&["pubsub", "hook", "list"]), json!([]));
    let neat = site
        .file("do_something_neat.py", "def hook(host, client, item):\n    print(item['data']['payload'])\n");
    let microblog = "urn:xmpp:microblog:0";
    let create =
        |more: &[&str]| site.run(&[&["pubsub", "node", "hook", "create", "-n", microblog], more].concat());
    create(&["-t", "python_file", "--persistent", &neat]);
    create(&["-t", "rhai_code", "-P", "log(item.data.payload)"]);
    for _ in 0..4 {
        create(&["-t", "rhai_code", "log(1)"]);
    }
    let listed = site.run(&["pubsub", "hook", "list"]);
    let first = listed.as_array().unwrap().iter().find(|hook| hook["type"] == "python_file").unwrap();
    assert_eq!(
        *first,
        json!({ "service": "", "node": microblog, "type": "python_file", "arg": neat, "persistent": true })
    );
    assert_eq!(listed.as_array().unwrap().iter().filter(|hook| hook["persistent"] == false).count(), 4);
    site.run(&["pubsub", "item", "publish", "-n", microblog, "hello"]);
    let outputs = wait_for("six executions", 30, || {
        let log = site.run(&["hook", "log", "--success"]);
        let log = log.as_array()?.clone();
        (log.iter().filter(|record| record["outcome"] == "success").count() == 6).then_some(log)
    });
    assert_eq!(outputs.iter().filter(|record| record["stdout"] == "aGVsbG8K").count(), 2, "{outputs:?}");

    // A session outlives the command that made it, and its lease is renewed.
    assert_eq!(site.run(&["pubsub", "session", "list"])[0]["profile"], "default");
    let ran = |args: &[&str]| site.run(args)["deleted"].clone();
    let alike = ["pubsub", "hook", "delete", "-n", microblog, "-t", "rhai_code", "-a", "log(1)"];
    let output = flowhook(&[&alike[..], &["--api", &site.api, "--token", TOKEN]].concat()).said().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "4 hooks have been deleted\n", "all four equal ones");
    create(&["-t", "rhai_code", "log(2)"]);
    assert_eq!(node.terminate(), Some(0));
    let _node = site.start(None);
    wait_for("the temporary hook to go with its session", 30, || {
        let left = site.run(&["pubsub", "hook", "list"]);
        (left.as_array()?.len() == 2).then_some(())
    });
    create(&["-t", "rhai_code", "log(3)"]);
    site.run(&["pubsub", "session", "disconnect"]);
    assert_eq!(site.run(&["pubsub", "hook", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(ran(&["pubsub", "hook", "delete", "-n", microblog, "-s", "other"]), 0);
    assert_eq!(ran(&["pubsub", "hook", "delete", "-n", microblog]), 2, "no type and no argument: every one");
    assert_eq!(site.run(&["pubsub", "hook", "list"]), json!([]));
}

#[test]
fn who_may_not_is_refused_and_what_cannot_run_is_not_made() {
    let site = Site::new("");
    let _node = site.start(None);
    site.file("ok.sh", "#!/bin/sh\n");
    let exec = |argument: &str| json!({ "subjects": ["event.>"], "kind": "exec", "argument": argument });
    let ok = site.definition("ok", &exec("ok.sh"));
    let nobody = run_fails(&["hook", "create", "x", &ok, "--api", &site.api], 1);
    assert!(nobody.contains("process_hooks"), "{nobody}");
    let wrong =
        run_fails(&["hook", "create", "x", &ok, "--api", &site.api, "--token", "hunter2-of-another"], 1);
    assert!(wrong.contains("process_hooks"), "{wrong}");
    let put =
        run_fails(&["settings", "set", "hooks", "x", &exec("ok.sh").to_string(), "--api", &site.api], 1);
    assert!(put.contains("process_hooks"), "{put}");
    for (value, cause) in [
        (exec("/bin/sh"), "outside of"),
        (exec("none.sh"), "No such file"),
        (json!({ "subjects": ["event.>"], "kind": "rhai_code", "argument": "let x = ;" }), "line 1"),
        (json!({ "subjects": ["event.>.x"], "kind": "rhai_code", "argument": "1" }), "at the end"),
        (json!({ "subjects": ["event.>"], "kind": "rhai_code", "argument": "1", "colour": 1 }), "colour"),
    ] {
        let file = site.definition("wrong", &value);
        let told = site.fails(&["hook", "create", "wrong", &file], 3);
        assert!(told.contains(cause), "{value}: {told}");
    }
    let anybody = site
        .definition("code", &json!({ "subjects": ["event.item.>"], "kind": "rhai_code", "argument": "1" }));
    run_json(&["hook", "create", "code", &anybody, "--api", &site.api, "-O", "json"]);
    let twice = site.fails(&["hook", "create", "code", &anybody], 1);
    assert!(twice.contains("already"), "{twice}");
}

#[test]
fn kinds_of_events_and_their_schemas_are_told() {
    let kinds = run_json(&["events", "list", "-O", "json"]);
    let kinds: Vec<&str> =
        kinds.as_array().unwrap().iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["api", "state", "flow", "timer", "alert", "item"]);
    let schema = run_json(&["events", "schema", "item", "-O", "json"]);
    assert_eq!(schema["$id"], "urn:flowhook:event:item:v1");
    assert_eq!(run_json(&["events", "schema"])["asyncapi"], "3.0.0");
    assert!(run_fails(&["events", "schema", "pigeon"], 1).contains("api, state"));
}
