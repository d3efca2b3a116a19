//! What a hook may have at once, per minute and per process, and what is left out.

use shared::events::{Event, cloud};
use shared::hook::{Limits, Suppress};

use super::*;

impl Setup {
    /// An item as an event of so many seconds ago, that so many hooks have caused.
    async fn event(&self, node: &str, payload: Value, secs_ago: i64, depth: u32) {
        let subject = EventSubject::Item { service: "s".to_owned(), node: node.to_owned() };
        let event = Event {
            id: format!("{node}{payload}"),
            key: subject.key(),
            subject: subject.to_string(),
            sequence: 0,
            at: SystemClock.now().plus_secs(-secs_ago),
            source: "/s/n".to_owned(),
            depth,
            traceparent: None,
            body: json!({ "kind": "item", "payload": payload }),
        };
        let (place, data) = (self.subjects.prefixed(&event.subject), event.body.to_string());
        let receipt = self.bus.append_with(&place, &event.id, cloud::headers(&event), data.into()).await;
        receipt.unwrap().stored().await.unwrap();
    }
}

/// The most that ran at once.
fn at_once(runs: &[RunRecord]) -> usize {
    let overlaps = |run: &RunRecord| {
        let begun = run.started_at.unwrap();
        runs.iter().filter(|o| o.started_at.unwrap() <= begun && begun < o.ended_at.unwrap()).count()
    };
    runs.iter().map(overlaps).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_has_the_limits_of_its_hook() {
    let mut setup = Setup::new();
    let limits = Limits { cpu_s: 7, memory_mib: 33, file_mib: 3, processes: 77, output_kib: 8 };
    let line = "cat /proc/self/limits";
    setup.set("limits", Hook { shell: true, limits, ..hook(HookKind::Exec, line) });
    let _manager = setup.start().await;
    setup.item("a", json!(1)).await;
    let run = setup.done("limits", 1).await.remove(0);
    let told = String::from_utf8(setup.whole("limits", run.execution).await.stdout).unwrap();
    for (name, value) in [
        ("Max cpu time", 7),
        ("Max data size", 33 << 20),
        ("Max file size", 3 << 20),
        ("Max processes", 77),
        ("Max core file size", 0),
    ] {
        let line = told.lines().find(|line| line.starts_with(name)).unwrap();
        let values: Vec<&str> = line.trim_start_matches(name).split_whitespace().take(2).collect();
        assert_eq!(values, [value.to_string(), value.to_string()], "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_run_at_once_or_in_a_minute_than_may() {
    let mut setup = Setup::new();
    let sleep = Hook { shell: true, ..hook(HookKind::Exec, "sleep 0.3") };
    setup.set("two", Hook { concurrency: 2, order: Order::None, ..sleep.clone() });
    setup.set("strict", Hook { concurrency: 8, order: Order::Strict, ..sleep });
    let code = hook(HookKind::RhaiCode, "1");
    setup.set("minute", Hook { max_per_minute: Some(3), ..code });
    let _manager = setup.start().await;
    for n in 0..6 {
        setup.item(&format!("k{n}"), json!(n)).await;
    }
    assert_eq!(at_once(&setup.done("two", 6).await), 2);
    let strict = setup.done("strict", 6).await;
    assert_eq!(at_once(&strict), 1);
    assert!(strict.windows(2).all(|pair| pair[0].started_at < pair[1].started_at), "in their order");
    let runs = setup.runs("minute").await;
    let done = runs.iter().filter(|run| run.state == RunState::Done).count();
    assert_eq!((runs.len(), done), (6, 3), "the others wait for the next minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_too_deep_or_too_frequent_is_left_out_and_on_record() {
    let mut setup = Setup::new();
    let code = hook(HookKind::RhaiCode, "1");
    setup.set("fresh", Hook { expire_s: Some(60), ..code.clone() });
    let suppress = Some(Suppress { seconds: 600, by: Some("payload.site".to_owned()) });
    setup.set("once", Hook { suppress, ..code });
    let _manager = setup.start().await;
    setup.event("old", json!({ "site": 1 }), 61, 0).await;
    setup.event("new", json!({ "site": 1 }), 0, 3).await;
    setup.event("deep", json!({ "site": 2 }), 0, 4).await;
    let seen = |runs: Vec<RunRecord>| {
        let seen = runs.into_iter().map(|run| (run.order_key, run.outcome.unwrap(), run.reason));
        seen.map(|(key, outcome, reason)| (key, outcome, reason.split(':').next().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let row = |key: &str, outcome, reason: &str| (format!("s/{key}"), outcome, reason.to_owned());
    let too_deep = "caused by 4 hooks in a row; the limit is 3";
    assert_eq!(
        seen(setup.done("fresh", 3).await),
        [
            row("old", RunOutcome::Skipped, "expired"),
            row("new", RunOutcome::Success, ""),
            row("deep", RunOutcome::Skipped, too_deep),
        ]
    );
    assert_eq!(
        seen(setup.done("once", 3).await),
        [
            row("old", RunOutcome::Success, ""),
            row("new", RunOutcome::Skipped, "suppressed"),
            row("deep", RunOutcome::Skipped, too_deep),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn begin_and_end_of_each_execution_are_told() {
    let mut setup = Setup::new();
    setup.set("told", Hook { retry: quick(), ..hook(HookKind::RhaiCode, "throw \"no\"") });
    let mut told = setup.bus.subscribe(&setup.subjects.prefixed("hook.exec.>")).await.unwrap();
    let _manager = setup.start().await;
    setup.item("a", json!(1)).await;
    let runs = setup.done("told", 2).await;
    for (state, attempt) in [("started", 1), ("failure", 1), ("started", 2), ("failure", 2)] {
        let message = told.next().await.unwrap();
        assert_eq!(message.subject, format!("t.hook.exec.told.{state}"));
        let record: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!((&record["state"], &record["attempt"]), (&json!(state), &json!(attempt)));
        assert_eq!(record["idempotency_key"], runs[0].idempotency_key);
    }
}
