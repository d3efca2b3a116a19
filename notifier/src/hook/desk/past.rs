//! Questions about events on record: which there are, whom they would be for, and running hooks for them.

use serde::Deserialize;
use serde_json::{Value, json};
use shared::events::Event;
use shared::model::Timestamp;
use shared::store::hooks::{NewRun, RunTrigger, event_key};
use shared::wire::subject::matches;

use super::{Desk, MAX_ITEMS, Refusal, fitting};
use crate::hook::plan::{Match, run_for};

/// Events read from the store at once.
const PAGE: usize = 500;

/// Events that one question of a replay looks at.
const REPLAYED: usize = 5000;

/// Newest events that a check looks at.
const CHECKED: usize = 10_000;

/// Events of a replay that are named.
const NAMED: usize = 20;

/// Bytes of an event's body that an answer shows at most.
const MAX_BODY: usize = 512 * 1024;

#[derive(Deserialize)]
pub(super) struct Replay {
    hook: String,
    since: Timestamp,
    until: Timestamp,
    #[serde(default)]
    after: u64,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
pub(super) struct Test {
    hook: String,
    event: Option<Event>,
    #[serde(default)]
    by: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Recorded {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    filter: Option<String>,
    after: u64,
    limit: Option<usize>,
}

impl Desk {
    /// How many of the newest events were looked at, and for how many of them a hook would run.
    pub(super) async fn matched(&self, found: &Match) -> Result<(usize, usize), Refusal> {
        let (mut before, mut looked_at, mut matched) = (u64::MAX, 0, 0);
        while looked_at < CHECKED {
            let page = self.shared.store.newest_events(before, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            before = *last;
            looked_at += page.len();
            for (_, event) in &page {
                matched += usize::from(self.runs_for(found, event).await.is_some());
            }
        }
        Ok((looked_at, matched))
    }

    /// Whether a hook would run for an event: nothing when not, else why it would be left out if it were.
    async fn runs_for(&self, found: &Match, event: &Event) -> Option<Option<String>> {
        if !self.plan.borrow().is_for(&found.hook, &event.subject) {
            return None;
        }
        let judged = self.shared.conditioned(vec![found.clone()], event).await;
        judged.into_iter().next().map(|(_, wrong)| wrong)
    }

    /// Queues a hook for a page of events on record.
    pub(super) async fn replay(&self, asked: Replay) -> Result<Value, Refusal> {
        let found = self.find(&asked.hook)?;
        let (mut after, mut events, mut executions, mut first) = (asked.after, 0_u64, 0_u64, Vec::new());
        let mut next = None;
        for _ in 0..REPLAYED / PAGE {
            let page = self.shared.store.recorded_events(asked.since, asked.until, after, PAGE).await?;
            after = page.last().map_or(after, |(last, _)| *last);
            // Pages of large events are shorter.
            next = (!page.is_empty()).then_some(after);
            let mut runs = Vec::new();
            for (_, event) in page {
                if !self.plan.borrow().is_for(&found.hook, &event.subject) {
                    continue;
                }
                events += 1;
                let Some(skipped) = self.runs_for(&found, &event).await else { continue };
                executions += 1;
                if first.len() < NAMED {
                    let event =
                        json!({ "event": event_key(&event), "subject": event.subject, "at": event.at });
                    first.push(event);
                }
                let now = self.shared.tools.clock.now();
                // A condition that cannot be looked at leaves the event out, as when it came first.
                runs.push(NewRun { skipped, ..run_for(&found, &event, RunTrigger::Replay, &asked.by, now) });
            }
            if !asked.dry_run && !runs.is_empty() {
                self.shared.store.queue_runs(runs, self.shared.tools.clock.now()).await?;
                self.shared.woken.notify_one();
            }
            if next.is_none() {
                break;
            }
        }
        Ok(json!({
            "events": events, "executions": executions, "dry_run": asked.dry_run, "first": first, "next": next,
        }))
    }

    /// Runs a hook once for an event that is given, or the last on record that it would run for.
    pub(super) async fn test(&self, Test { hook, event, by }: Test) -> Result<Value, Refusal> {
        let found = self.find(&hook)?;
        let now = self.shared.tools.clock.now();
        let event = match event {
            Some(mut event) => {
                event.source = format!("/test{}", event.source);
                event.id = format!("{}-{}", event.id, now.ns());
                event
            }
            None => self.last_for(&found).await?,
        };
        self.shared.store.accept_events(vec![(event.clone(), Vec::new())], now).await?;
        let run = run_for(&found, &event, RunTrigger::Test, &by, now);
        let numbers = self.shared.store.queue_runs(vec![run], now).await?;
        self.shared.woken.notify_one();
        Ok(json!({ "execution": numbers.first() }))
    }

    async fn last_for(&self, found: &Match) -> Result<Event, Refusal> {
        let mut before = u64::MAX;
        loop {
            let page = self.shared.store.newest_events(before, PAGE).await?;
            let Some((last, _)) = page.last() else {
                return Err(Refusal::NotFound(format!("no event on record is one for '{}'", found.name)));
            };
            before = *last;
            for (_, event) in page {
                if self.runs_for(found, &event).await.is_some() {
                    return Ok(event);
                }
            }
        }
    }

    /// Events on record.
    pub(super) async fn events(&self, asked: Recorded) -> Result<Value, Refusal> {
        let since = asked.since.unwrap_or(Timestamp::ZERO);
        let until = asked.until.unwrap_or(Timestamp::MAX);
        let limit = asked.limit.unwrap_or(100).clamp(1, MAX_ITEMS);
        let found = self.shared.store.recorded_events(since, until, asked.after, limit).await?;
        let wanted = |event: &Event| asked.filter.as_deref().is_none_or(|f| matches(f, &event.subject));
        let shown = |(_, event): &(u64, Event)| if wanted(event) { shown(event) } else { Value::Null };
        let items = fitting(found.iter().map(shown)).0;
        let next = items.len().checked_sub(1).and_then(|last| found.get(last)).map(|(place, _)| *place);
        let items: Vec<Value> = items.into_iter().filter(|event| !event.is_null()).collect();
        Ok(json!({ "items": items, "next": next }))
    }
}

/// An event as it is shown: of one that is larger than an answer, how large it is.
fn shown(event: &Event) -> Value {
    let mut shown = json!(event);
    let bytes = shown["body"].to_string().len();
    if bytes > MAX_BODY {
        shown["body"] = json!({ "kind": event.body["kind"], "bytes": bytes });
    }
    shown
}
