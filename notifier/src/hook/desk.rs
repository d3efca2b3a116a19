//! Answers questions about hooks: `rq.v1._role.notifier.<verb>`, JSON in and out.
//!
//! | verb | question | answer |
//! |---|---|---|
//! | `hook_check` | `{"name", "hook"}` | `{"filters", "matched", "looked_at"}`: its filters, and for how many of the newest events on record it would run |
//! | `hook_runs` | a [`RunQuery`] | `{"items", "more"}`: records, newest first, as many as fit |
//! | `hook_run` | `{"hook", "execution"}` | one record, whole |
//! | `hook_counts` | – | list of what hooks have done |
//! | `hook_retry` | `{"hook", "execution", "render"?, "by"?}` | `{"execution"}` |
//! | `hook_replay` | `{"hook", "since", "until", "after"?, "dry_run"?, "by"?}` | `{"events", "executions", "first", "next"}`: a page; `next` goes into `after`, and is null at the end |
//! | `hook_test` | `{"hook", "event"?, "by"?}` | `{"execution"}` |
//! | `hook_dead` | `{"hook", "execution"?, "retry", "by"?}` | `{"changed"}` |
//! | `hook_events` | `{"since"?, "until"?, "filter"?, "limit"?}` | list of events on record |
//! | `hook_revision` | `{"hook"}` | `{"revision"}`: the one in force here, null when there is none |
//! | `hook_health` | – | `{"looped_at", "fetched_at"}` |
//!
//! What cannot be answered is `{"error": {"code", "message"}}`.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::hook::{self, Hook};
use shared::store::hooks::{NewRun, RunInput, RunQuery, RunRecord, RunTrigger, shortened};
use tokio::sync::watch;

use super::intake::RetryRequest;
use super::manager::Shared;
use super::plan::{Match, Plan};
use super::runner::runner;
use super::scripts::Source;
use crate::answering::{Answers, Refusal, read};
use crate::references;

mod past;

/// Records or events in one answer at most.
const MAX_ITEMS: usize = 1000;

/// Bytes of a list in one answer at most, which has to fit into a message.
const MAX_LIST: usize = 900 * 1024;

/// Bytes that are shown of each of the two that a program was given.
const MAX_GIVEN: usize = 64 * 1024;

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
struct Dead {
    hook: String,
    execution: Option<u64>,
    retry: bool,
    #[serde(default)]
    by: String,
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
                let mut shown =
                    json!(RunRecord { arguments: shortened(&record.arguments, MAX_GIVEN), ..record });
                let given = input.stdin.get(..MAX_GIVEN).unwrap_or(&input.stdin);
                shown["stdin"] = json!(STANDARD.encode(given));
                shown["stdin_bytes"] = json!(input.stdin.len());
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
                let Dead { hook, execution, retry, by } = read(question)?;
                let now = self.shared.tools.clock.now();
                let retry = retry.then_some(by.as_str());
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
        let plan = Arc::clone(&self.plan.borrow());
        let checked = async {
            hook::check_name(&name)?;
            hook.check()?;
            if let Some(when) = &hook.when {
                let checked =
                    self.shared.tools.scripts.check("when", Source::Condition(when.as_str().into()));
                checked.await.map_err(|cause| format!("when: {cause}"))?;
            }
            let allowed = &self.shared.tools.references;
            for (name, value) in &hook.environment {
                references::check_text(value, allowed)
                    .map_err(|cause| format!("environment.{name}: {cause}"))?;
            }
            runner(hook.kind).check(&name, &hook, &self.shared.tools).await?;
            let filters = hook.filters()?;
            match plan.not_allowed(&filters) {
                Some(odd) => {
                    Err(format!("subjects: '{odd}' is not among what notifier.hooks.subjects allows"))
                }
                None => Ok(filters),
            }
        };
        let filters = checked.await.map_err(Refusal::BadRequest)?;
        let (looked_at, matched) = self.matched(&Match { name, revision: 0, hook: Arc::new(hook) }).await?;
        Ok(json!({ "filters": filters, "matched": matched, "looked_at": looked_at }))
    }
}

impl Shared {
    /// Queues an execution again; gives the number of the new one.
    pub async fn retry(&self, hook: &str, request: &RetryRequest) -> Result<u64, Refusal> {
        let found = self.store.one_run(hook, request.execution).await?;
        let (record, input) = found.ok_or_else(|| no_execution(hook, request.execution))?;
        let now = self.tools.clock.now();
        let same = !request.render && record.started_at.is_some();
        let given = input.clone();
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
        let number = numbers.first().copied();
        let number = number.ok_or_else(|| Refusal::NotFound("nothing was queued".to_owned()))?;
        self.tell_retried(hook, request, number, &given).await;
        Ok(number)
    }

    /// Tells who listens that an execution was queued again, and what it had been given: its arguments as
    /// words with blanks between them, then what it read.
    async fn tell_retried(&self, hook: &str, request: &RetryRequest, number: u64, given: &RunInput) {
        let mut arguments = given.arguments.join(" ").into_bytes();
        if !arguments.is_empty() && !given.stdin.is_empty() {
            arguments.push(b' ');
        }
        arguments.extend_from_slice(&given.stdin);
        // What a message cannot hold is in the record.
        arguments.truncate(MAX_LIST / 2);
        let told = json!({
            "execution": request.execution,
            "retry": number,
            "by": request.by,
            "arguments": STANDARD.encode(arguments),
        });
        let subject = self.tools.subjects.hook_retried(hook);
        if let Err(error) = self.tools.bus.publish(&subject, told.to_string().into()).await {
            tracing::debug!(%error, "nobody was told of a retry");
        }
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
