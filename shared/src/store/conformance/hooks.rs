//! The suite of [`HookStore`].

use std::time::Duration;

use super::events::event;
use super::samples::at;
use crate::events::Event;
use crate::store::StoreError;
use crate::store::hooks::{
    ClaimedRun, HookStore, NewRun, RunInput, RunOutcome, RunQuery, RunResult, RunState, RunTrigger,
    SettledRun, event_key,
};

fn run(hook: &str, event: &Event, order_key: &str) -> NewRun {
    NewRun {
        hook: hook.to_owned(),
        revision: 1,
        event: event_key(event),
        order_key: order_key.to_owned(),
        idempotency_key: format!("{}/{hook}", event_key(event)),
        trigger: RunTrigger::Event,
        by: String::new(),
        next_at: at(0),
        input: None,
        skipped: None,
    }
}

fn settled(number: u64, outcome: RunOutcome) -> SettledRun {
    let result = RunResult { outcome: Some(outcome), ..RunResult::default() };
    SettledRun { number, revision: 4, result, again_at: None, dead: false, keep: (2, 3) }
}

async fn accept(store: &dyn HookStore, id: &str, hook: &str, key: &str) {
    let event = event(&format!("{hook}-{id}"), key, 1);
    let runs = vec![run(hook, &event, key)];
    assert_eq!(store.accept_events(vec![(event, runs)], at(5)).await.unwrap(), 1);
}

async fn claim(store: &dyn HookStore, hook: &str, limit: usize, secs: i64) -> Vec<ClaimedRun> {
    store.claim_runs(vec![(hook.to_owned(), limit)], limit, "n1", at(secs)).await.unwrap()
}

pub(super) async fn an_event_that_comes_again_runs_nothing_again(store: &dyn HookStore) {
    let event = event("again", "k", 1);
    for new in [1, 0] {
        let runs = vec![run("again", &event, "k")];
        assert_eq!(store.accept_events(vec![(event.clone(), runs)], at(5)).await.unwrap(), new);
    }
    let claimed = claim(store, "again", 10, 6).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].attempt, claimed[0].recorded.as_ref()), (1, Some(&event)));
    assert_eq!(store.recorded_event(&event_key(&event)).await.unwrap(), Some(event));
    store.settle_runs(vec![settled(claimed[0].number, RunOutcome::Success)], at(7)).await.unwrap();
}

pub(super) async fn an_event_of_any_content_runs_again(store: &dyn HookStore) {
    let body = serde_json::json!({ "kind": "item", "payload": "a\u{0}b\u{fffd}\u{1f600}" });
    let event = Event { body, ..event("odd", "k", 1) };
    let runs = vec![run("odd", &event, "k")];
    assert_eq!(store.accept_events(vec![(event.clone(), runs)], at(5)).await.unwrap(), 1);
    store.queue_runs(vec![run("odd", &event, "k")], at(6)).await.unwrap();
    for _ in 0..2 {
        let claimed = claim(store, "odd", 1, 7).await;
        assert_eq!(claimed[0].recorded.as_ref(), Some(&event));
        store.settle_runs(vec![settled(claimed[0].number, RunOutcome::Success)], at(8)).await.unwrap();
    }
    let query = RunQuery { hook: Some("odd".to_owned()), limit: 10, ..RunQuery::default() };
    let subjects: Vec<_> = store.runs(query).await.unwrap().into_iter().map(|run| run.subject).collect();
    assert_eq!(subjects, [event.subject.clone(), event.subject]);
    store.forget_hook("odd").await.unwrap();
}

pub(super) async fn one_key_keeps_its_order_and_others_go_on(store: &dyn HookStore) {
    for (id, key) in [("1", "a"), ("2", "a"), ("3", "b"), ("4", "a")] {
        accept(store, id, "order", key).await;
    }
    assert_eq!(store.due_hooks(at(6)).await.unwrap().0, ["order"]);
    let first = claim(store, "order", 10, 6).await;
    assert_eq!(first.iter().map(|c| c.run.order_key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(claim(store, "order", 10, 6).await.is_empty(), "a and b are under way");
    // The first of a fails: its next try goes before what came after it.
    let mut failed = settled(first[0].number, RunOutcome::Failure);
    failed.again_at = Some(at(20));
    store.settle_runs(vec![failed], at(7)).await.unwrap();
    assert!(claim(store, "order", 10, 8).await.is_empty());
    assert_eq!(store.due_hooks(at(8)).await.unwrap().1, Some(at(20)));
    let again = claim(store, "order", 10, 20).await;
    assert_eq!((again.len(), again[0].attempt), (1, 2));
    assert_eq!(again[0].run.idempotency_key, first[0].run.idempotency_key);
    store.settle_runs(vec![settled(again[0].number, RunOutcome::Success)], at(21)).await.unwrap();
    let next = claim(store, "order", 10, 21).await;
    assert_eq!(next[0].recorded.as_ref().unwrap().id, "order-2");
    let numbers = [first[1].number, next[0].number];
    let all = numbers.map(|number| settled(number, RunOutcome::Success)).to_vec();
    store.settle_runs(all, at(22)).await.unwrap();
    let last = claim(store, "order", 10, 22).await;
    store.settle_runs(vec![settled(last[0].number, RunOutcome::Success)], at(23)).await.unwrap();
}

pub(super) async fn one_alone_runs_executions(store: &dyn HookStore) {
    let hold =
        async |node, now, lease| store.hold_runs(node, at(now), Duration::from_secs(lease)).await.unwrap();
    assert!(hold("n1", 10, 600).await);
    assert!(!hold("n2", 19, 600).await, "n1 has said that it does");
    assert!(hold("n1", 19, 600).await, "who holds goes on");
    accept(store, "1", "alone", "k").await;
    let held = |error| matches!(error, StoreError::HooksElsewhere { holder } if holder == "n1");
    let room = || vec![("alone".to_owned(), 1)];
    assert!(held(store.claim_runs(room(), 1, "n2", at(20)).await.unwrap_err()));
    let first = claim(store, "alone", 1, 20).await;
    assert!(hold("n1", 29, 0).await && hold("n2", 29, 600).await, "what n1 has said has run out");
    assert!(store.claim_runs(room(), 1, "n1", at(29)).await.is_err());
    assert!(store.release_runs("n1", at(29)).await.is_err());
    assert_eq!(store.release_runs("n2", at(29)).await.unwrap(), 1, "what n1 has begun");
    let second = store.claim_runs(room(), 1, "n2", at(30)).await.unwrap();
    assert_eq!((second[0].attempt, &second[0].run.idempotency_key), (2, &first[0].run.idempotency_key));
    // Who held before comes late: nothing changes.
    store.settle_runs(vec![settled(first[0].number, RunOutcome::Success)], at(31)).await.unwrap();
    store.settle_runs(vec![settled(second[0].number, RunOutcome::Success)], at(32)).await.unwrap();
    store.let_runs_go("n1").await.unwrap();
    assert!(!hold("n1", 33, 600).await, "another's word is not taken back");
    store.let_runs_go("n2").await.unwrap();
    assert!(hold("n1", 33, 600).await, "at once");
    store.let_runs_go("n1").await.unwrap();
    store.forget_hook("alone").await.unwrap();
}

pub(super) async fn what_a_node_left_running_is_tried_once_more(store: &dyn HookStore) {
    accept(store, "1", "left", "k").await;
    let first = claim(store, "left", 1, 6).await;
    let shown =
        store.runs(RunQuery { hook: Some("left".into()), limit: 9, ..Default::default() }).await.unwrap();
    assert_eq!(
        (shown[0].state, shown[0].started_at, shown[0].node.as_str()),
        (RunState::Running, Some(at(6)), "n1")
    );
    assert_eq!(store.release_runs("n1", at(7)).await.unwrap(), 1);
    let second = claim(store, "left", 9, 8).await;
    assert_eq!((second.len(), second[0].attempt), (1, 2));
    assert_eq!(second[0].run.idempotency_key, first[0].run.idempotency_key);
    // Who was thought dead comes late: nothing changes.
    store.settle_runs(vec![settled(first[0].number, RunOutcome::Success)], at(9)).await.unwrap();
    store.settle_runs(vec![settled(second[0].number, RunOutcome::Success)], at(9)).await.unwrap();
    let shown =
        store.runs(RunQuery { hook: Some("left".into()), limit: 9, ..Default::default() }).await.unwrap();
    let outcomes: Vec<_> = shown.iter().map(|r| (r.attempt, r.outcome)).collect();
    assert_eq!(outcomes, [(2, Some(RunOutcome::Success)), (1, Some(RunOutcome::Killed))]);
}

pub(super) async fn successes_do_not_push_failures_out(store: &dyn HookStore) {
    for number in 0..8 {
        accept(store, &number.to_string(), "keep", "k").await;
        let claimed = claim(store, "keep", 1, 6).await;
        let outcome = if number == 0 { RunOutcome::Timeout } else { RunOutcome::Success };
        store.settle_runs(vec![settled(claimed[0].number, outcome)], at(7)).await.unwrap();
    }
    let of = |good| RunQuery { hook: Some("keep".into()), good: Some(good), limit: 99, ..Default::default() };
    assert_eq!(store.runs(of(true)).await.unwrap().len(), 2);
    let failures = store.runs(of(false)).await.unwrap();
    assert_eq!(failures.iter().map(|r| r.outcome).collect::<Vec<_>>(), [Some(RunOutcome::Timeout)]);
    let counts = store.hook_counts().await.unwrap();
    let counts = counts.iter().find(|counts| counts.hook == "keep").unwrap();
    assert_eq!((counts.success, counts.failure, counts.queued, counts.running), (7, 1, 0, 0));
}

pub(super) async fn a_record_keeps_any_bytes(store: &dyn HookStore) {
    accept(store, "1", "bytes", "k").await;
    let claimed = claim(store, "bytes", 1, 6).await;
    let command = "a && b < \"c\"\n'd'".to_owned();
    let input = RunInput { arguments: vec!["\u{1}&<".to_owned()], stdin: vec![0, 255, 10] };
    let result = RunResult {
        outcome: Some(RunOutcome::Failure),
        exit_code: Some(3),
        stdout: vec![0, 255, 254, b'&'],
        stdout_bytes: 100,
        stderr: b"<x>".to_vec(),
        stderr_bytes: 3,
        cpu_ms: Some(5),
        command: command.clone(),
        input: input.clone(),
        reason: "exit code 3".to_owned(),
        ..RunResult::default()
    };
    let number = claimed[0].number;
    let settled = SettledRun { number, revision: 2, result, again_at: None, dead: true, keep: (2, 3) };
    store.settle_runs(vec![settled], at(9)).await.unwrap();
    let (record, given) = store.one_run("bytes", number).await.unwrap().unwrap();
    assert_eq!((record.command, record.exit_code, given), (command, Some(3), input));
    assert_eq!(record.revision, 2, "the one that ran");
    assert_eq!((record.stdout, record.stdout_truncated), (vec![0, 255, 254, b'&'], true));
    assert_eq!((record.stderr, record.stderr_truncated, record.cpu_ms), (b"<x>".to_vec(), false, Some(5)));
    assert_eq!(store.one_run("other", number).await.unwrap(), None);
}

pub(super) async fn the_dead_can_be_tried_again_or_forgotten(store: &dyn HookStore) {
    for id in ["1", "2"] {
        accept(store, id, "dead", id).await;
    }
    for claimed in claim(store, "dead", 9, 6).await {
        let settled = SettledRun { dead: true, ..settled(claimed.number, RunOutcome::Failure) };
        store.settle_runs(vec![settled], at(7)).await.unwrap();
    }
    let dead = RunQuery { hook: Some("dead".into()), dead: Some(true), limit: 9, ..Default::default() };
    let letters = store.runs(dead.clone()).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert_eq!(store.dead_runs("dead", Some(letters[0].execution), Some("ann"), at(8)).await.unwrap(), 1);
    let again = claim(store, "dead", 9, 8).await;
    assert_eq!((again.len(), again[0].attempt, again[0].run.trigger), (1, 2, RunTrigger::Retry));
    assert_eq!(again[0].run.by, "ann");
    store.settle_runs(vec![settled(again[0].number, RunOutcome::Success)], at(9)).await.unwrap();
    assert_eq!(store.dead_runs("dead", None, None, at(9)).await.unwrap(), 1);
    assert!(store.runs(dead).await.unwrap().is_empty());
}

pub(super) async fn what_is_left_out_and_what_is_asked_for_are_on_record(store: &dyn HookStore) {
    let event = event("asked", "k", 1);
    let skipped = NewRun { skipped: Some("suppressed".to_owned()), ..run("asked", &event, "k") };
    store.accept_events(vec![(event.clone(), vec![skipped])], at(5)).await.unwrap();
    assert!(claim(store, "asked", 9, 6).await.is_empty());
    let input = RunInput { arguments: vec!["x".to_owned()], stdin: vec![1] };
    let retry = NewRun {
        trigger: RunTrigger::Retry,
        by: "ann".to_owned(),
        input: Some(input.clone()),
        ..run("asked", &event, "k")
    };
    let numbers = store.queue_runs(vec![retry], at(6)).await.unwrap();
    let claimed = claim(store, "asked", 9, 6).await;
    assert_eq!((claimed[0].number, claimed[0].run.input.as_ref()), (numbers[0], Some(&input)));
    store.settle_runs(vec![settled(numbers[0], RunOutcome::Success)], at(7)).await.unwrap();
    let shown =
        store.runs(RunQuery { hook: Some("asked".into()), limit: 9, ..Default::default() }).await.unwrap();
    let seen: Vec<_> =
        shown.iter().map(|r| (r.trigger, r.by.as_str(), r.outcome, r.reason.as_str())).collect();
    assert_eq!(
        seen,
        [
            (RunTrigger::Retry, "ann", Some(RunOutcome::Success), ""),
            (RunTrigger::Event, "", Some(RunOutcome::Skipped), "suppressed"),
        ]
    );
}

pub(super) async fn events_are_kept_for_those_who_ask_later(store: &dyn HookStore) {
    let events = [("r1", 100), ("r2", 200), ("r3", 300)].map(|(id, secs)| event(id, "k", secs));
    let with = |event: &Event| (event.clone(), Vec::new());
    store.accept_events(events.iter().map(with).collect(), at(1000)).await.unwrap();
    let found = store.recorded_events(at(100), at(300), 0, 10).await.unwrap();
    assert_eq!(found.iter().map(|(_, e)| e.id.as_str()).collect::<Vec<_>>(), ["r1", "r2"]);
    let rest = store.recorded_events(at(100), at(301), found[0].0, 1).await.unwrap();
    assert_eq!(rest[0].1.id, "r2");
    let newest = store.newest_events(u64::MAX, 2).await.unwrap();
    assert_eq!(newest.iter().map(|(_, e)| e.id.as_str()).collect::<Vec<_>>(), ["r3", "r2"]);
    let older = store.newest_events(newest[1].0, 1).await.unwrap();
    assert_eq!(older[0].1.id, "r1");
    accept(store, "open", "open", "k").await;
    assert!(store.prune_recorded(at(2000), 1000).await.unwrap() >= 3);
    assert_eq!(store.recorded_event(&event_key(&events[0])).await.unwrap(), None);
    let open = claim(store, "open", 1, 2000).await;
    assert!(open[0].recorded.is_some(), "an event that something waits for stays");
    store.forget_hook("open").await.unwrap();
    store.settle_runs(vec![settled(open[0].number, RunOutcome::Success)], at(2001)).await.unwrap();
}

pub(super) async fn what_may_be_asked_for_again_keeps_its_event(store: &dyn HookStore) {
    for id in ["failed", "dead", "good"] {
        accept(store, id, "again later", id).await;
    }
    let claimed = claim(store, "again later", 9, 6).await;
    let [failed, dead, good] = ["failed", "dead", "good"]
        .map(|key| claimed.iter().find(|run| run.run.order_key == key).unwrap().number);
    let ends = vec![
        settled(failed, RunOutcome::Timeout),
        SettledRun { dead: true, ..settled(dead, RunOutcome::Failure) },
        settled(good, RunOutcome::Success),
    ];
    store.settle_runs(ends, at(7)).await.unwrap();
    store.prune_recorded(at(3000), 1000).await.unwrap();
    let event = |key: &str| format!("/main/n1#again later-{key}");
    for (key, kept) in [("failed", true), ("dead", true), ("good", false)] {
        let found = store.recorded_event(&event(key)).await.unwrap();
        assert_eq!(found.is_some(), kept, "{key}");
    }
    assert_eq!(store.dead_runs("again later", None, Some("ann"), at(3001)).await.unwrap(), 1);
    let again = claim(store, "again later", 9, 3001).await;
    assert!(again[0].recorded.is_some() && again[0].attempt == 2, "{again:?}");
    store.settle_runs(vec![settled(again[0].number, RunOutcome::Success)], at(3002)).await.unwrap();
    store.forget_hook("again later").await.unwrap();
}

pub(super) async fn what_is_left_out_is_bounded_and_pushes_nothing_out(store: &dyn HookStore) {
    accept(store, "ran", "much", "k").await;
    let ran = claim(store, "much", 1, 6).await;
    store.settle_runs(vec![settled(ran[0].number, RunOutcome::Success)], at(7)).await.unwrap();
    let left_out = |number: i64| {
        let event = event(&format!("much-{number}"), "k", 10 + number);
        let skipped = NewRun { skipped: Some("suppressed".to_owned()), ..run("much", &event, "k") };
        (event, vec![skipped])
    };
    store.accept_events((0..250).map(left_out).collect(), at(300)).await.unwrap();
    let of = |outcome| RunQuery {
        hook: Some("much".into()),
        outcome: Some(outcome),
        limit: 999,
        ..RunQuery::default()
    };
    let skipped = store.runs(of(RunOutcome::Skipped)).await.unwrap();
    assert_eq!(skipped.len(), 100, "the newest are kept");
    assert!(skipped[0].event.ends_with("much-249"), "{:?}", skipped[0]);
    assert_eq!(store.runs(of(RunOutcome::Success)).await.unwrap().len(), 1);
    let good = RunQuery { good: Some(true), outcome: None, ..of(RunOutcome::Success) };
    assert_eq!(store.runs(good).await.unwrap().len(), 101, "nothing went wrong with either");
    let counts = store.hook_counts().await.unwrap();
    let counts = counts.iter().find(|counts| counts.hook == "much").unwrap();
    assert_eq!((counts.success, counts.skipped), (1, 250));
}

pub(super) async fn a_list_shows_little_of_what_is_large(store: &dyn HookStore) {
    accept(store, "1", "large", "k").await;
    let claimed = claim(store, "large", 1, 6).await;
    let input = RunInput { arguments: vec!["ä".repeat(2000), "b".to_owned()], stdin: vec![0; 100_000] };
    let result = RunResult {
        stdout: vec![b'x'; 100_000],
        stdout_bytes: 100_000,
        stderr: vec![b'y'; 100_000],
        stderr_bytes: 100_001,
        input: input.clone(),
        ..RunResult::default()
    };
    let number = claimed[0].number;
    let ended = SettledRun { result, ..settled(number, RunOutcome::Failure) };
    store.settle_runs(vec![ended], at(7)).await.unwrap();
    let query = RunQuery { hook: Some("large".into()), limit: 9, ..RunQuery::default() };
    let listed = store.runs(query).await.unwrap().remove(0);
    assert_eq!((listed.stdout.len(), listed.stderr.len()), (1024, 1024));
    assert!(listed.stdout.capacity() < 10_000, "what is not shown takes no room");
    assert_eq!((listed.stdout_truncated, listed.stderr_truncated), (false, true), "on record");
    let cut = format!("{}… (4000 bytes)", "ä".repeat(512));
    assert_eq!(listed.arguments, [cut, "… (1 more arguments)".to_owned()]);
    let (whole, given) = store.one_run("large", number).await.unwrap().unwrap();
    assert_eq!((whole.stdout.len(), whole.arguments, given.clone()), (100_000, given.arguments, input));
}
