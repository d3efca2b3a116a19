//! The hook manager with real programs: from an event on the bus to the record.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shared::bus::memory::MemoryBus;
use shared::bus::{Bus, SharedBus};
use shared::clock::{Clock, ManualClock, SharedClock, SystemClock};
use shared::hook::{Hook, HookKind, Order, RetryPolicy};
use shared::settings::Settings;
use shared::store::hooks::{HookStore, RunOutcome, RunQuery, RunRecord, RunState, RunTrigger};
use shared::store::sqlite::SqliteStore;
use shared::wire::subject::{EventSubject, Subjects};
use tokio::sync::{Notify, watch};

use super::config::HooksConfig;
use super::manager::{Health, HookManager, ManagerArgs, ManagerMessage, Shared};
use super::runner::Tools;
use super::scripts::Scripts;
use crate::testing::eventually;

mod faults;
mod limits;
mod past;

struct Setup {
    bus: Arc<MemoryBus>,
    store: SqliteStore,
    settings: watch::Sender<Arc<Settings>>,
    hooks: BTreeMap<String, (u64, Hook)>,
    dir: tempfile::TempDir,
    args: ManagerArgs,
    subjects: Subjects,
}

type Manager = ractor::ActorRef<ManagerMessage>;

impl Setup {
    fn new() -> Self {
        let bus = MemoryBus::new(Default::default());
        let store = SqliteStore::in_memory().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (settings, receiver) = watch::channel(Arc::<Settings>::default());
        let clock: SharedClock = SystemClock::shared();
        let subjects = Subjects::new("t");
        let config = HooksConfig { dir: dir.path().display().to_string(), ..HooksConfig::default() };
        let tools = Tools {
            bus: Arc::clone(&bus) as SharedBus,
            subjects: subjects.clone(),
            clock: Arc::clone(&clock),
            node: "n1".to_owned(),
            site: "main".to_owned(),
            dir: config.dir(),
            python: config.python.clone().into(),
            scripts: Scripts::start(2, &clock).unwrap(),
            references: vec![format!("file:{}/", dir.path().display())],
        };
        let shared = Shared {
            store: Arc::new(store.clone()),
            tools,
            woken: Notify::new(),
            max_depth: 3,
            health: Health::default(),
        };
        let args = ManagerArgs { shared: Arc::new(shared), settings: receiver, config };
        Self { bus, store, settings, hooks: BTreeMap::new(), dir, args, subjects }
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn set(&mut self, name: &str, hook: Hook) {
        hook.check().unwrap();
        let revision = self.hooks.get(name).map_or(1, |(revision, _)| revision + 1);
        self.hooks.insert(name.to_owned(), (revision, hook));
        self.apply();
    }

    fn apply(&self) {
        let hooks = Arc::new(self.hooks.clone());
        self.settings.send_replace(Arc::new(Settings { hooks, edits_known: true, ..Settings::default() }));
    }

    async fn start(&self) -> Manager {
        ractor::Actor::spawn(None, HookManager, self.args.clone()).await.unwrap().0
    }

    async fn item(&self, node: &str, payload: Value) {
        let subject = EventSubject::Item { service: "s".to_owned(), node: node.to_owned() };
        let id = payload.to_string();
        let receipt = self.bus.append(&self.subjects.event(&subject), &id, payload.to_string().into()).await;
        receipt.unwrap().stored().await.unwrap();
    }

    async fn runs(&self, hook: &str) -> Vec<RunRecord> {
        let query = RunQuery { hook: Some(hook.to_owned()), limit: 100_000, ..RunQuery::default() };
        let mut runs = self.store.runs(query).await.unwrap();
        runs.reverse();
        runs
    }

    async fn whole(&self, hook: &str, execution: u64) -> RunRecord {
        self.store.one_run(hook, execution).await.unwrap().unwrap().0
    }

    /// Waits until a hook is in force.
    async fn ready(&self, hook: &str) {
        eventually("a hook in force", || async {
            let answer = self.ask("hook_revision", json!({ "hook": hook })).await;
            answer["revision"].is_u64().then_some(())
        })
        .await;
    }

    /// Waits until a hook has so many executions that are done.
    async fn done(&self, hook: &str, count: usize) -> Vec<RunRecord> {
        eventually(&format!("{count} executions of {hook}"), || async {
            let runs = self.runs(hook).await;
            let done = runs.iter().filter(|run| run.state == RunState::Done).count();
            (done >= count && runs.len() == done).then_some(runs)
        })
        .await
    }

    async fn ask(&self, verb: &str, question: Value) -> Value {
        let subject = self.subjects.request_role("notifier", verb);
        let answer = self.bus.request(&subject, question.to_string().into(), Duration::from_secs(20)).await;
        serde_json::from_slice(&answer.unwrap()).unwrap()
    }
}

fn hook(kind: HookKind, argument: &str) -> Hook {
    Hook { subjects: vec!["event.item.s.*".to_owned()], ..Hook::new(kind, argument) }
}

fn quick() -> RetryPolicy {
    RetryPolicy { attempts: 2, base_ms: 1, cap_ms: 2, ..RetryPolicy::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_runs_and_sees_the_event() {
    let mut setup = Setup::new();
    setup.file("show.sh", "#!/bin/sh\ncat; echo \"|$1|$FLOWHOOK_SUBJECT|$FLOWHOOK_ATTEMPT\"\n");
    setup.file(
        "neat.py",
        "async def hook(host, client, item):\n    print(host['hook'], item['data']['payload'])\n",
    );
    let function = "fn hook(host, client, item) { log(`${host.hook} ${item.data.payload.n}`); }";
    setup.file("lib.rhai", function);
    let exec = Hook { arguments: vec!["$SUBJECT".into()], ..hook(HookKind::Exec, "show.sh") };
    setup.set("exec", exec);
    setup.set("python", hook(HookKind::PythonFile, "neat.py"));
    setup.set("rhai", hook(HookKind::Rhai, "lib"));
    setup.set("rhai_file", hook(HookKind::RhaiFile, "lib.rhai"));
    setup.set("rhai_code", hook(HookKind::RhaiCode, "log(item.data.payload.n); host.attempt"));
    let _manager = setup.start().await;
    setup.item("news", json!({ "n": 7 })).await;
    for (name, shown) in [
        ("exec", "\"payload\":{\"n\":7}"),
        ("exec", "|event.item.s.news|event.item.s.news|1"),
        ("python", "python {'n': 7}"),
        ("rhai", "rhai 7"),
        ("rhai_file", "rhai_file 7"),
        ("rhai_code", "7\n1\n"),
    ] {
        let runs = setup.done(name, 1).await;
        let text = String::from_utf8_lossy(&runs[0].stdout).into_owned();
        assert_eq!(runs[0].outcome, Some(RunOutcome::Success), "{name}: {:?}", runs[0]);
        assert!(text.contains(shown), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_will_not_stop_is_killed_and_its_output_kept() {
    let mut setup = Setup::new();
    setup.file("stay.sh", "#!/bin/sh\ntrap '' TERM\necho begun\nwhile :; do sleep 1; done\n");
    let stay = Hook { timeout_s: 1, grace_s: 1, concurrency: 1, ..hook(HookKind::Exec, "stay.sh") };
    setup.set("stay", Hook { retry: RetryPolicy { attempts: 1, ..quick() }, ..stay });
    let _manager = setup.start().await;
    setup.item("a", json!(1)).await;
    setup.item("b", json!(2)).await;
    for run in setup.done("stay", 2).await {
        assert_eq!((run.outcome, run.stdout.as_slice()), (Some(RunOutcome::Timeout), &b"begun\n"[..]));
        assert!(run.dead && run.started_at < run.ended_at, "{run:?}");
        let took = run.ended_at.unwrap().since(run.started_at.unwrap()) / 1_000_000;
        assert!((1900..15_000).contains(&took), "TERM at 1 s, KILL at 2 s: {took} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_of_any_size_and_any_bytes_is_on_record() {
    let mut setup = Setup::new();
    setup.file("flood.sh", "#!/bin/sh\nhead -c 100000000 /dev/zero\n");
    let mut flood = hook(HookKind::Exec, "flood.sh");
    flood.limits.output_kib = 64;
    setup.set("flood", flood);
    let line = "printf 'a && b <c> \"d\"\\n\\000\\377\\376' && echo '<x>' >&2 && exit 3";
    let shell =
        Hook { shell: true, retry: RetryPolicy { attempts: 1, ..quick() }, ..hook(HookKind::Exec, line) };
    setup.set("bytes", shell);
    let _manager = setup.start().await;
    setup.item("a", json!(1)).await;
    let run = setup.done("bytes", 1).await.remove(0);
    assert_eq!(run.stdout, b"a && b <c> \"d\"\n\0\xff\xfe");
    assert_eq!((run.stderr.as_slice(), run.exit_code, run.command.as_str()), (&b"<x>\n"[..], Some(3), line));
    let run = setup.done("flood", 1).await.remove(0);
    let (whole, _) = setup.store.one_run("flood", run.execution).await.unwrap().unwrap();
    assert_eq!((whole.stdout.len(), whole.stdout_bytes, whole.stdout_truncated), (65_536, 100_000_000, true));
    assert!(whole.max_rss_kib.is_some_and(|kib| kib > 0) && whole.cpu_ms.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_while_nobody_ran_hooks_runs_later_in_order() {
    let mut setup = Setup::new();
    let code = hook(HookKind::RhaiCode, "log(item.data.payload.n)");
    let keep = shared::hook::Retention { success: 10_000, failure: 10 };
    setup.set("order", Hook { keep, concurrency: 8, order: Order::Key, ..code });
    let manager = setup.start().await;
    manager.stop_and_wait(None, None).await.unwrap();
    let (events, keys) = (200, 4);
    let appends = (0..events).map(|n| {
        let (bus, subjects) = (Arc::clone(&setup.bus), setup.subjects.clone());
        async move {
            let subject = EventSubject::Item { service: "s".into(), node: format!("k{}", n % keys) };
            let payload = json!({ "n": n }).to_string();
            bus.append(&subjects.event(&subject), &n.to_string(), payload.into()).await.unwrap()
        }
    });
    let mut receipts = Vec::new();
    for append in appends {
        receipts.push(append.await);
    }
    let _manager = setup.start().await;
    for receipt in receipts {
        receipt.stored().await.unwrap();
    }
    let mut runs = setup.done("order", events).await;
    runs.sort_by_key(|run| run.started_at);
    for key in 0..keys {
        let of_key = runs.iter().filter(|run| run.order_key == format!("s/k{key}"));
        let seen: Vec<usize> =
            of_key.map(|run| String::from_utf8_lossy(&run.stdout).trim().parse().unwrap()).collect();
        assert_eq!(seen, (key..events).step_by(keys).collect::<Vec<_>>(), "key {key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_off_execution_is_made_once_more_under_the_same_key() {
    let mut setup = Setup::new();
    setup.file(
        "slow.sh",
        "#!/bin/sh\necho \"$FLOWHOOK_IDEMPOTENCY_KEY\" >>keys\n[ $FLOWHOOK_ATTEMPT = 2 ] || sleep 60\n",
    );
    setup.set("slow", hook(HookKind::Exec, "slow.sh"));
    let keys = |dir: &Path| std::fs::read_to_string(dir.join("keys")).unwrap_or_default();
    let manager = setup.start().await;
    setup.item("a", json!(1)).await;
    eventually("the first try", || async { (!keys(setup.dir.path()).is_empty()).then_some(()) }).await;
    let running = setup.runs("slow").await;
    assert_eq!((running.len(), running[0].state), (1, RunState::Running), "what runs is on record");
    manager.stop_and_wait(None, None).await.unwrap();
    let _manager = setup.start().await;
    let runs = setup.done("slow", 2).await;
    let seen: Vec<_> = runs.iter().map(|run| (run.attempt, run.outcome)).collect();
    assert_eq!(seen, [(1, Some(RunOutcome::Killed)), (2, Some(RunOutcome::Success))]);
    let keys = keys(setup.dir.path());
    let keys: Vec<&str> = keys.lines().collect();
    assert_eq!(keys, [runs[0].idempotency_key.as_str(); 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_given_up_in_the_end_and_can_be_asked_for_again() {
    let mut setup = Setup::new();
    setup.file("fail.sh", "#!/bin/sh\ncat >/dev/null\n[ -e ok ] || exit 1\n");
    setup.set("fail", Hook { retry: quick(), ..hook(HookKind::Exec, "fail.sh") });
    let _manager = setup.start().await;
    setup.item("a", json!(1)).await;
    let runs = setup.done("fail", 2).await;
    assert_eq!(runs.iter().map(|run| run.dead).collect::<Vec<_>>(), [false, true]);
    setup.file("ok", "");
    let asked = json!({ "execution": runs[0].execution, "by": "ann" });
    let receipt = setup.bus.append(&setup.subjects.hook_retry("fail"), "r1", asked.to_string().into()).await;
    receipt.unwrap().stored().await.unwrap();
    let again = setup.done("fail", 3).await.remove(2);
    assert_eq!(
        (again.trigger, again.by.as_str(), again.outcome),
        (RunTrigger::Retry, "ann", Some(RunOutcome::Success))
    );
    assert_eq!(again.idempotency_key, runs[0].idempotency_key);
    // The event outlives its time: what it is for may still be asked for again.
    let far = shared::model::Timestamp::MAX;
    setup.store.prune_recorded(far, 1_000_000).await.unwrap();
    let letters = setup.ask("hook_dead", json!({ "hook": "fail", "retry": true, "by": "bob" })).await;
    assert_eq!(letters["changed"], 1);
    let again = setup.done("fail", 4).await.remove(3);
    assert_eq!((again.outcome, again.by.as_str()), (Some(RunOutcome::Success), "bob"));
    let none = setup.ask("hook_retry", json!({ "hook": "fail", "execution": 9999 })).await;
    assert_eq!(none["error"]["code"], "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_replays_tests_and_disabled_hooks() {
    let mut setup = Setup::new();
    let code = hook(HookKind::RhaiCode, "log(item.data.payload.n)");
    setup.set("when", Hook { when: Some("data.payload.n > 1".into()), ..code.clone() });
    setup.set("odd", Hook { when: Some("data.payload.n".into()), ..code.clone() });
    setup.set("off", Hook { enabled: false, ..code.clone() });
    setup.set("locked", Hook { locked: true, ..code });
    let _manager = setup.start().await;
    for n in 1..=3 {
        setup.item("a", json!({ "n": n })).await;
    }
    assert_eq!(setup.done("when", 2).await.len(), 2);
    assert_eq!(setup.done("locked", 3).await.len(), 3, "locked hooks fire");
    let odd = setup.done("odd", 3).await;
    assert!(
        odd.iter()
            .all(|run| run.outcome == Some(RunOutcome::Skipped) && run.reason.contains("true or false"))
    );
    assert!(setup.runs("off").await.is_empty(), "disabled hooks do not");
    let all = json!({ "hook": "off", "since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z" });
    let mut dry = all.clone();
    dry["dry_run"] = json!(true);
    assert_eq!(setup.ask("hook_replay", dry).await["executions"], 3);
    assert!(setup.runs("off").await.is_empty(), "a dry run runs nothing");
    assert_eq!(setup.ask("hook_replay", all).await["executions"], 3);
    let replayed = setup.done("off", 3).await;
    assert!(
        replayed
            .iter()
            .all(|run| run.trigger == RunTrigger::Replay && run.outcome == Some(RunOutcome::Success))
    );
    let number = setup.ask("hook_test", json!({ "hook": "off" })).await;
    let tested = setup.done("off", 4).await.remove(3);
    assert_eq!((json!(tested.execution), tested.trigger), (number["execution"].clone(), RunTrigger::Test));
    assert_eq!(tested.stdout, b"3\n", "the last event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_is_checked_where_it_would_run() {
    let mut setup = Setup::new();
    setup.args.config.subjects = vec!["event.item.>".to_owned()];
    setup.file("good.sh", "#!/bin/sh\n");
    std::fs::write(setup.dir.path().join("plain.txt"), "x").unwrap();
    std::fs::write(setup.dir.path().join("no.rhai"), "fn other() {}").unwrap();
    setup.file("wrong.py", "import os\ndef hook(host, client, item)\n    pass\n");
    setup.file("other.py", "def other():\n    pass\n");
    setup.file("runs.py", "open('ran', 'w')\nfrom json import loads as hook\n");
    let _manager = setup.start().await;
    let check = |hook: Hook| setup.ask("hook_check", json!({ "name": "x", "hook": hook }));
    let good = check(hook(HookKind::Exec, "good.sh")).await;
    assert_eq!(good["filters"], json!(["event.item.s.*"]), "{good}");
    for (hook, cause) in [
        (hook(HookKind::Exec, "none.sh"), "No such file"),
        (hook(HookKind::Exec, "/bin/true"), "outside of"),
        (hook(HookKind::Exec, "../../../bin/true"), "argument: "),
        (hook(HookKind::Exec, "plain.txt"), "not executable"),
        (hook(HookKind::PythonFile, "none.py"), "No such file"),
        (hook(HookKind::PythonFile, "wrong.py"), "line 2"),
        (hook(HookKind::PythonFile, "other.py"), "defines no function hook(host, client, item)"),
        (hook(HookKind::RhaiFile, "no.rhai"), "hook(host, client, item)"),
        (hook(HookKind::RhaiCode, "let x = ;"), "line 1"),
        (Hook { when: Some("data.".into()), ..hook(HookKind::RhaiCode, "1") }, "when: "),
        (
            Hook { subjects: vec!["event.flow.>".into()], ..hook(HookKind::RhaiCode, "1") },
            "subjects: 'event.flow.>' is not among what notifier.hooks.subjects allows",
        ),
    ] {
        let wrong = check(hook).await;
        let told = wrong["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(told.contains(cause), "{cause}: {wrong}");
    }
    let imported = check(hook(HookKind::PythonFile, "runs.py")).await;
    assert_eq!(imported["filters"], json!(["event.item.s.*"]), "{imported}");
    assert!(!setup.dir.path().join("ran").exists(), "a check runs nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_that_change_all_the_time_leave_the_manager_alive_and_right() {
    let mut setup = Setup::new();
    setup.set("still", hook(HookKind::RhaiCode, "1"));
    let manager = setup.start().await;
    for n in 0..1000 {
        setup.set("busy", hook(HookKind::RhaiCode, &format!("{n}")));
        setup.hooks.remove("busy");
        setup.apply();
        if n % 100 == 0 {
            setup.item("a", json!(n)).await;
        }
    }
    eventually("the last plan", || async {
        setup.item("b", json!("end")).await;
        let runs = setup.runs("still").await;
        runs.iter().any(|run| run.state == RunState::Done).then_some(())
    })
    .await;
    assert_eq!(manager.get_status(), ractor::ActorStatus::Running);
    let health = setup.ask("hook_health", json!({})).await;
    assert!(health["looped_at"].as_str().unwrap() > "2020", "{health}");
}
