//! Answers questions about hooks: `rq.v1._role.notifier.<verb>`, JSON in and out.
//!
//! | verb | question | answer |
//! |---|---|---|
//! | `hook_check` | `{"name", "hook"}` | `{"filters", "matched"}`: its filters, and events on record that it is for |
//! | `hook_runs` | a [`RunQuery`] | `{"items", "more"}`: records, newest first, as many as fit |
//! | `hook_run` | `{"hook", "execution"}` | one record, whole |
//! | `hook_counts` | – | list of what hooks have done |
//! | `hook_retry` | `{"hook", "execution", "render"?, "by"?}` | `{"execution"}` |
//! | `hook_replay` | `{"hook", "since", "until", "dry_run"?, "by"?}` | `{"events", "executions"}` |
//! | `hook_test` | `{"hook", "event"?, "by"?}` | `{"execution"}` |
//! | `hook_dead` | `{"hook", "execution"?, "retry"}` | `{"changed"}` |
//! | `hook_events` | `{"since"?, "until"?, "filter"?, "limit"?}` | list of events on record |
//! | `hook_revision` | `{"hook"}` | `{"revision"}`: the one in force here, null when there is none |
//! | `hook_health` | – | `{"looped_at", "fetched_at"}` |
//!
//! What cannot be answered is `{"error": {"code", "message"}}`.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::events::Event;
use shared::hook::{self, Hook};
use shared::model::Timestamp;
use shared::store::hooks::{NewRun, RunQuery, RunTrigger, event_key};
use shared::wire::subject::matches;
use tokio::sync::watch;

use super::intake::RetryRequest;
use super::manager::Shared;
use super::plan::{Match, Plan, run_for};
use super::runner::runner;
use super::scripts::Source;
use crate::answering::{Answers, Refusal, read};

/// Records or events in one answer at most.
const MAX_ITEMS: usize = 1000;

/// Bytes of a list in one answer at most, which has to fit into a message.
const MAX_LIST: usize = 900 * 1024;

/// Bytes of base64 that are shown of what a program was given.
const MAX_GIVEN: usize = 64 * 1024;

/// Events of a replay looked at at once, and in one replay at most.
const PAGE: usize = 500;
const MAX_REPLAY: u64 = 1_000_000;

/// Knows what questions are about.
pub struct Desk {
    /// What the hook manager has.
    pub shared: Arc<Shared>,
    /// The hooks in force.
    pub plan: watch::Receiver<Arc<Plan>>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    hook: Hook,
}

#[derive(Deserialize)]
struct About {
    hook: String,
}

#[derive(Deserialize)]
struct OneRun {
    hook: String,
    execution: u64,
    #[serde(default)]
    render: bool,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
struct Replay {
    hook: String,
    since: Timestamp,
    until: Timestamp,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
struct Test {
    hook: String,
    event: Option<Event>,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
struct Dead {
    hook: String,
    execution: Option<u64>,
    retry: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Recorded {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    filter: Option<String>,
    after: u64,
    limit: Option<usize>,
}

#[async_trait]
impl Answers for Desk {
    const VERBS: &'static [&'static str] = &[
        "hook_check",
        "hook_runs",
        "hook_run",
        "hook_counts",
        "hook_retry",
        "hook_replay",
        "hook_test",
        "hook_dead",
        "hook_events",
        "hook_revision",
        "hook_health",
    ];

    async fn answer(&self, verb: &str, question: &[u8]) -> Result<Value, Refusal> {
        let store = &self.shared.store;
        match verb {
            "hook_check" => self.check(read(question)?).await,
            "hook_runs" => {
                let mut query: RunQuery = read(question)?;
                query.limit = query.limit.clamp(1, MAX_ITEMS);
                let limit = query.limit;
                let found = store.runs(query).await?;
                let full = found.len() == limit;
                let (items, cut) = fitting(found.iter().map(|record| json!(record)));
                Ok(json!({ "items": items, "more": full || cut }))
            }
            "hook_run" => {
                let OneRun { hook, execution, .. } = read(question)?;
                let found = store.one_run(&hook, execution).await?;
                let (record, input) = found.ok_or_else(|| no_execution(&hook, execution))?;
                let mut shown = json!(record);
                let mut stdin = json!(input)["stdin"].as_str().unwrap_or_default().to_owned();
                stdin.truncate(MAX_GIVEN);
                shown["stdin"] = json!(stdin);
                Ok(shown)
            }
            "hook_counts" => Ok(json!(store.hook_counts().await?)),
            "hook_retry" => {
                let OneRun { hook, execution, render, by } = read(question)?;
                let request = RetryRequest { execution, render, by };
                self.find(&hook)?;
                let number = self.shared.retry(&hook, &request).await?;
                Ok(json!({ "execution": number }))
            }
            "hook_replay" => self.replay(read(question)?).await,
            "hook_test" => self.test(read(question)?).await,
            "hook_dead" => {
                let Dead { hook, execution, retry } = read(question)?;
                let now = self.shared.tools.clock.now();
                let changed = store.dead_runs(&hook, execution, retry, now).await?;
                self.shared.woken.notify_one();
                Ok(json!({ "changed": changed }))
            }
            "hook_events" => self.events(read(question)?).await,
            "hook_revision" => {
                let About { hook } = read(question)?;
                let found = self.plan.borrow().hook(&hook);
                Ok(json!({ "revision": found.map(|found| found.revision) }))
            }
            "hook_health" => {
                let (looped_at, fetched_at) = self.shared.health.last();
                Ok(json!({ "looped_at": looped_at, "fetched_at": fetched_at }))
            }
            _ => Err(Refusal::BadRequest(format!("there is no question {verb:?}"))),
        }
    }
}

impl Desk {
    fn find(&self, hook: &str) -> Result<Match, Refusal> {
        let found = self.plan.borrow().hook(hook);
        found.ok_or_else(|| Refusal::NotFound(format!("there is no hook '{hook}'")))
    }

    /// Makes sure that a hook can run here, and counts events on record that it would be for.
    async fn check(&self, Check { name, hook }: Check) -> Result<Value, Refusal> {
        let checked = async {
            hook::check_name(&name)?;
            hook.check()?;
            if let Some(when) = &hook.when {
                let checked =
                    self.shared.tools.scripts.check("when", Source::Condition(when.as_str().into()));
                checked.await.map_err(|cause| format!("when: {cause}"))?;
            }
            runner(hook.kind).check(&name, &hook, &self.shared.tools).await?;
            hook.filters()
        };
        let filters = checked.await.map_err(Refusal::BadRequest)?;
        let plan = Arc::clone(&self.plan.borrow());
        let found = self.shared.store.recorded_events(Timestamp::ZERO, Timestamp::MAX, 0, 10_000).await?;
        let matched = found.iter().filter(|(_, event)| plan.is_for(&hook, &event.subject)).count();
        Ok(json!({ "filters": filters, "matched": matched }))
    }

    /// Queues a hook for events on record.
    async fn replay(&self, asked: Replay) -> Result<Value, Refusal> {
        let found = self.find(&asked.hook)?;
        let plan = Arc::clone(&self.plan.borrow());
        let (mut after, mut events, mut executions, mut shown) = (0, 0_u64, 0_u64, Vec::new());
        loop {
            let page = self.shared.store.recorded_events(asked.since, asked.until, after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            let mut runs = Vec::new();
            for (_, event) in page.iter().filter(|(_, event)| plan.is_for(&found.hook, &event.subject)) {
                events += 1;
                let judged = self.shared.conditioned(vec![found.clone()], event).await;
                if judged.is_empty() {
                    continue;
                }
                executions += 1;
                if shown.len() < 20 {
                    shown
                        .push(json!({ "event": event_key(event), "subject": event.subject, "at": event.at }));
                }
                let now = self.shared.tools.clock.now();
                // A condition that cannot be looked at leaves the event out, as when it came first.
                let skipped = judged.into_iter().find_map(|(_, wrong)| wrong);
                runs.push(NewRun { skipped, ..run_for(&found, event, RunTrigger::Replay, &asked.by, now) });
            }
            if !asked.dry_run && !runs.is_empty() {
                self.shared.store.queue_runs(runs, self.shared.tools.clock.now()).await?;
                self.shared.woken.notify_one();
            }
            if executions >= MAX_REPLAY {
                break;
            }
        }
        Ok(json!({ "events": events, "executions": executions, "dry_run": asked.dry_run, "first": shown }))
    }

    /// Runs a hook once for an event that is given, or the last on record that it is for.
    async fn test(&self, Test { hook, event, by }: Test) -> Result<Value, Refusal> {
        let found = self.find(&hook)?;
        let now = self.shared.tools.clock.now();
        let event = match event {
            Some(mut event) => {
                event.source = format!("/test{}", event.source);
                event.id = format!("{}-{}", event.id, now.ns());
                event
            }
            None => {
                let plan = Arc::clone(&self.plan.borrow());
                let events =
                    self.shared.store.recorded_events(Timestamp::ZERO, Timestamp::MAX, 0, 100_000).await?;
                let fits = |(_, event): &(u64, Event)| plan.is_for(&found.hook, &event.subject);
                let last = events.into_iter().rev().find(fits).map(|(_, event)| event);
                last.ok_or_else(|| Refusal::NotFound(format!("no event on record is one for '{hook}'")))?
            }
        };
        self.shared.store.accept_events(vec![(event.clone(), Vec::new())], now).await?;
        let run = run_for(&found, &event, RunTrigger::Test, &by, now);
        let numbers = self.shared.store.queue_runs(vec![run], now).await?;
        self.shared.woken.notify_one();
        Ok(json!({ "execution": numbers.first() }))
    }

    async fn events(&self, asked: Recorded) -> Result<Value, Refusal> {
        let since = asked.since.unwrap_or(Timestamp::ZERO);
        let until = asked.until.unwrap_or(Timestamp::MAX);
        let limit = asked.limit.unwrap_or(100).clamp(1, MAX_ITEMS);
        let found = self.shared.store.recorded_events(since, until, asked.after, limit).await?;
        let wanted = |event: &Event| asked.filter.as_deref().is_none_or(|f| matches(f, &event.subject));
        let shown = |(_, event): &(u64, Event)| if wanted(event) { json!(event) } else { Value::Null };
        let items = fitting(found.iter().map(shown)).0;
        let next = items.len().checked_sub(1).and_then(|last| found.get(last)).map(|(place, _)| *place);
        let items: Vec<Value> = items.into_iter().filter(|event| !event.is_null()).collect();
        Ok(json!({ "items": items, "next": next }))
    }
}

impl Shared {
    /// Queues an execution again; gives the number of the new one.
    pub async fn retry(&self, hook: &str, request: &RetryRequest) -> Result<u64, Refusal> {
        let found = self.store.one_run(hook, request.execution).await?;
        let (record, input) = found.ok_or_else(|| no_execution(hook, request.execution))?;
        let now = self.tools.clock.now();
        let same = !request.render && record.started_at.is_some();
        let run = NewRun {
            hook: record.hook,
            revision: record.revision,
            event: record.event,
            order_key: record.order_key,
            idempotency_key: record.idempotency_key,
            trigger: RunTrigger::Retry,
            by: request.by.clone(),
            next_at: now,
            input: same.then_some(input),
            skipped: None,
        };
        let numbers = self.store.queue_runs(vec![run], now).await?;
        self.woken.notify_one();
        numbers.first().copied().ok_or_else(|| Refusal::NotFound("nothing was queued".to_owned()))
    }
}

/// As many as fit into an answer, and whether that is not all; one is always taken.
fn fitting(items: impl Iterator<Item = Value>) -> (Vec<Value>, bool) {
    let (mut fitting, mut bytes) = (Vec::new(), 0);
    for item in items {
        bytes += item.to_string().len() + 1;
        if bytes > MAX_LIST && !fitting.is_empty() {
            return (fitting, true);
        }
        fitting.push(item);
    }
    (fitting, false)
}

fn no_execution(hook: &str, execution: u64) -> Refusal {
    Refusal::NotFound(format!("hook '{hook}' has no execution {execution} on record"))
}
