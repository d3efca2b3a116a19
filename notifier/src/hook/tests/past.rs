//! Events on record, retries that are told, secrets, and the health of the loops.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared::events::Event;
use shared::model::Timestamp;
use shared::store::StoreError;
use shared::store::hooks::{ClaimedRun, HookCounts, NewRun, RunInput, SettledRun};

use super::*;

fn event(number: i64) -> Event {
    let subject = EventSubject::Item { service: "s".to_owned(), node: "old".to_owned() };
    Event {
        id: number.to_string(),
        key: subject.key(),
        subject: subject.to_string(),
        sequence: 0,
        at: Timestamp::from_secs(1000 + number),
        source: "/s/n".to_owned(),
        depth: 0,
        traceparent: None,
        body: json!({ "n": number }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_replayed_in_pages_and_the_newest_that_fits_is_tried() {
    let mut setup = Setup::new();
    let code = hook(HookKind::RhaiCode, "log(item.data.n)");
    let when = Some("data.n % 1000 == 7".to_owned());
    setup.set("rare", Hook { when, enabled: false, ..code.clone() });
    let events = (0..7250).map(|number| (event(number), Vec::new())).collect();
    setup.store.accept_events(events, SystemClock.now()).await.unwrap();
    let _manager = setup.start().await;
    setup.ready("rare").await;
    let mut asked =
        json!({ "hook": "rare", "since": "1970-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z" });
    let first = setup.ask("hook_replay", asked.clone()).await;
    assert_eq!((&first["events"], &first["executions"]), (&json!(5000), &json!(5)), "{first}");
    asked["after"] = first["next"].clone();
    let rest = setup.ask("hook_replay", asked).await;
    assert_eq!((&rest["events"], &rest["executions"]), (&json!(2250), &json!(3)), "{rest}");
    assert!(rest["next"].is_null() && first["next"].is_u64(), "what was cut is told: {first} {rest}");
    let runs = setup.done("rare", 8).await;
    assert_eq!(runs.last().unwrap().stdout, b"7007\n");
    let checked = Hook { when: Some("data.n >= 7000".to_owned()), ..code };
    let checked = setup.ask("hook_check", json!({ "name": "x", "hook": checked })).await;
    assert_eq!((&checked["matched"], &checked["looked_at"]), (&json!(250), &json!(7250)), "{checked}");
    setup.ask("hook_test", json!({ "hook": "rare" })).await;
    let tested = setup.done("rare", 9).await.remove(8);
    assert_eq!((tested.trigger, tested.stdout.as_slice()), (RunTrigger::Test, &b"7007\n"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_retry_is_told_with_what_had_been_given_and_runs_what_is_in_force() {
    let mut setup = Setup::new();
    setup.file("show.sh", "#!/bin/sh\necho \"$@\"\n");
    let exec = hook(HookKind::Exec, "show.sh");
    let exec =
        Hook { arguments: vec!["-a".into(), "$KEY".into()], input: shared::hook::InputForm::None, ..exec };
    setup.set("args", exec.clone());
    let mut retried = setup.bus.subscribe(&setup.subjects.prefixed("hook.retried.>")).await.unwrap();
    let _manager = setup.start().await;
    setup.item("a", json!(1)).await;
    let first = setup.done("args", 1).await.remove(0);
    assert_eq!((first.revision, first.stdout.as_slice()), (1, &b"-a s/a\n"[..]));
    setup.set("args", Hook { arguments: vec!["-b".into()], ..exec });
    eventually("the second revision", || async {
        let answer = setup.ask("hook_revision", json!({ "hook": "args" })).await;
        (answer["revision"] == 2).then_some(())
    })
    .await;
    for (render, shown) in [(false, &b"-a s/a\n"[..]), (true, b"-b\n")] {
        let asked = json!({ "hook": "args", "execution": first.execution, "render": render, "by": "ann" });
        let queued = setup.ask("hook_retry", asked).await;
        let number = queued["execution"].as_u64().unwrap();
        let told = retried.next().await.unwrap();
        assert_eq!(told.subject, "t.hook.retried.args");
        let told: Value = serde_json::from_slice(&told.payload).unwrap();
        assert_eq!((&told["execution"], &told["retry"]), (&json!(first.execution), &json!(number)));
        assert_eq!(told["arguments"], STANDARD.encode("-a s/a"));
        let count = if render { 3 } else { 2 };
        let again = setup.done("args", count).await.remove(count - 1);
        assert_eq!((again.execution, again.revision, again.stdout.as_slice()), (number, 2, shown));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_read_when_a_program_starts_and_stand_in_no_record() {
    let mut setup = Setup::new();
    let secret = setup.dir.path().join("secret");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let environment = |path: &Path| {
        [("PASS".to_owned(), format!("file:{}", path.display())), ("PLAIN".to_owned(), "x".to_owned())].into()
    };
    let line = "[ ${#PASS} = 7 ] && echo right";
    let shell =
        Hook { shell: true, retry: RetryPolicy { attempts: 1, ..quick() }, ..hook(HookKind::Exec, line) };
    setup.set("right", Hook { environment: environment(&secret), ..shell.clone() });
    setup.set("wrong", Hook { environment: environment(Path::new("/nowhere/secret")), ..shell });
    let _manager = setup.start().await;
    setup.item("a", json!(1)).await;
    let right = setup.done("right", 1).await.remove(0);
    assert_eq!(right.stdout, b"right\n");
    assert!(!format!("{:?}", setup.store.one_run("right", right.execution).await).contains("hunter2"));
    let wrong = setup.done("wrong", 1).await.remove(0);
    assert_eq!(wrong.outcome, Some(RunOutcome::Failure));
    assert!(
        wrong.reason.starts_with("environment.PASS: ") && wrong.reason.contains("/nowhere/secret"),
        "{wrong:?}"
    );
}

/// A store that answers no more once it is told to, and tells that the executor waits for it; it never takes
/// items of the node `refused`.
struct Stuck {
    store: SqliteStore,
    stuck: AtomicBool,
    waited_for: AtomicBool,
    /// It has failed once.
    failed: AtomicBool,
}

impl Stuck {
    async fn pass(&self) -> &SqliteStore {
        if self.stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        &self.store
    }
}

#[async_trait]
impl HookStore for Stuck {
    async fn accept_events(
        &self,
        events: Vec<(Event, Vec<NewRun>)>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        if events.iter().any(|(event, _)| event.subject.ends_with("refused")) {
            return Err(StoreError::Refused("an index row is too large".to_owned()));
        }
        // As a server whose disk is full, or that gives up a statement: the next time it takes the same.
        if events.len() == 1 && !self.failed.swap(true, Ordering::SeqCst) {
            return Err(StoreError::Statement("canceling statement due to statement timeout".to_owned()));
        }
        self.pass().await.accept_events(events, now).await
    }
    async fn queue_runs(&self, runs: Vec<NewRun>, now: Timestamp) -> Result<Vec<u64>, StoreError> {
        self.pass().await.queue_runs(runs, now).await
    }
    async fn hold_runs(&self, node: &str, now: Timestamp, lease: Duration) -> Result<bool, StoreError> {
        self.pass().await.hold_runs(node, now, lease).await
    }
    async fn let_runs_go(&self, node: &str) -> Result<(), StoreError> {
        self.pass().await.let_runs_go(node).await
    }
    async fn due_hooks(&self, now: Timestamp) -> Result<(Vec<String>, Option<Timestamp>), StoreError> {
        self.waited_for.store(self.stuck.load(Ordering::SeqCst), Ordering::SeqCst);
        self.pass().await.due_hooks(now).await
    }
    async fn claim_runs(
        &self,
        room: Vec<(String, usize)>,
        most: usize,
        node: &str,
        now: Timestamp,
    ) -> Result<Vec<ClaimedRun>, StoreError> {
        self.pass().await.claim_runs(room, most, node, now).await
    }
    async fn settle_runs(&self, settled: Vec<SettledRun>, now: Timestamp) -> Result<(), StoreError> {
        self.pass().await.settle_runs(settled, now).await
    }
    async fn release_runs(&self, node: &str, now: Timestamp) -> Result<u64, StoreError> {
        self.pass().await.release_runs(node, now).await
    }
    async fn runs(&self, query: RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        self.pass().await.runs(query).await
    }
    async fn one_run(&self, hook: &str, execution: u64) -> Result<Option<(RunRecord, RunInput)>, StoreError> {
        self.pass().await.one_run(hook, execution).await
    }
    async fn hook_counts(&self) -> Result<Vec<HookCounts>, StoreError> {
        self.pass().await.hook_counts().await
    }
    async fn recorded_events(
        &self,
        since: Timestamp,
        until: Timestamp,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        self.pass().await.recorded_events(since, until, after, limit).await
    }
    async fn newest_events(&self, before: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        self.pass().await.newest_events(before, limit).await
    }
    async fn recorded_event(&self, key: &str) -> Result<Option<Event>, StoreError> {
        self.pass().await.recorded_event(key).await
    }
    async fn dead_runs(
        &self,
        hook: &str,
        execution: Option<u64>,
        retry: Option<&str>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.pass().await.dead_runs(hook, execution, retry, now).await
    }
    async fn forget_hook(&self, hook: &str) -> Result<(), StoreError> {
        self.pass().await.forget_hook(hook).await
    }
    async fn prune_recorded(&self, before: Timestamp, keep: u64) -> Result<u64, StoreError> {
        self.pass().await.prune_recorded(before, keep).await
    }
}

/// Hooks whose store may be told to answer no more, at a time that stands still.
fn stuck() -> (Setup, Arc<Stuck>, Arc<ManualClock>) {
    let mut setup = Setup::new();
    let (not_stuck, waited_for, failed) = Default::default();
    let stuck = Arc::new(Stuck { store: setup.store.clone(), stuck: not_stuck, waited_for, failed });
    let clock = ManualClock::new(Timestamp::from_secs(1000));
    let Shared { tools, max_depth, .. } = &*setup.args.shared;
    let tools = Tools { clock: Arc::clone(&clock) as SharedClock, ..tools.clone() };
    let store = Arc::clone(&stuck) as Arc<dyn HookStore>;
    let (woken, health) = Default::default();
    setup.args.shared = Arc::new(Shared { store, tools, woken, max_depth: *max_depth, health });
    (setup, stuck, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_store_refuses_does_not_hold_up_the_others() {
    let (mut setup, ..) = stuck();
    setup.set("all", hook(HookKind::RhaiCode, "item"));
    let _manager = setup.start().await;
    // All are there before the first is taken, as what is appended while the store is busy.
    let items = ["a", "refused", "b"].map(|node| setup.item(node, json!(node)));
    futures::future::join_all(items).await;
    let seen = setup.done("all", 2).await;
    let mut nodes: Vec<_> = seen.iter().map(|run| run.subject.rsplit('.').next().unwrap()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_that_stand_still_are_seen_though_the_process_answers() {
    let (setup, stuck, clock) = stuck();
    setup.apply();
    let _manager = setup.start().await;
    let looped_at = async || setup.ask("hook_health", json!({})).await["looped_at"].clone();
    let at = |secs| json!(Timestamp::from_secs(secs));
    clock.set(Timestamp::from_secs(1100));
    eventually("a loop that goes round", || async { (looped_at().await == at(1100)).then_some(()) }).await;
    stuck.stuck.store(true, Ordering::SeqCst);
    setup.args.shared.woken.notify_one();
    let waits = || async { stuck.waited_for.load(Ordering::SeqCst).then_some(()) };
    eventually("an executor that waits for the store", waits).await;
    clock.set(Timestamp::from_secs(1200));
    setup.args.shared.woken.notify_one();
    assert_eq!(looped_at().await, at(1100), "it goes round no more");
}
