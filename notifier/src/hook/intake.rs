//! Takes events and requests for retries from the bus into the store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::bus::{Consumer, Headers, Queued, Subscription};
use shared::events::{Event, cloud};
use shared::failpoint;
use shared::hook::Hook;
use shared::model::Timestamp;
use shared::store::StoreError;
use shared::store::hooks::{NewRun, RunTrigger};
use tokio::sync::watch;

use super::manager::Shared;
use super::plan::{Admission, Match, Plan, event_json, run_for};
use super::scripts::Source;
use crate::answering::Refusal;
use crate::metrics;

/// Messages in one transaction at most.
const BATCH: usize = 64;

/// How long to wait for events before it is noted that there are none.
const IDLE: Duration = Duration::from_secs(5);

/// Pause after the store failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks for an execution to be done again, on `hook.retry.<hook>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryRequest {
    /// Its number.
    pub execution: u64,
    /// Make the arguments anew by the present definition, instead of those on record.
    pub render: bool,
    /// Who asks.
    pub by: String,
}

/// What a message says; the message itself cannot be shared between threads.
struct Incoming {
    subject: String,
    /// Tells it from every other one.
    place: String,
    /// When it came to the stream, where that is known.
    at: Option<Timestamp>,
    headers: Headers,
    payload: Bytes,
}

/// The events and retries of one stream.
pub struct Intake {
    shared: Arc<Shared>,
    plan: watch::Receiver<Arc<Plan>>,
    /// What comes too often.
    admission: Mutex<Admission>,
}

impl Intake {
    /// For the hooks in force of `plan`.
    pub fn new(shared: Arc<Shared>, plan: watch::Receiver<Arc<Plan>>) -> Self {
        Self { shared, plan, admission: Mutex::default() }
    }

    /// Takes what comes until the bus closes.
    pub async fn run(&self, mut consumer: Consumer) {
        loop {
            let first = tokio::time::timeout(IDLE, consumer.next()).await;
            self.shared.health.fetched(self.shared.tools.clock.now());
            let first = match first {
                Ok(Some(first)) => first,
                Ok(None) => return,
                Err(_) => continue,
            };
            let mut queued = vec![first];
            queued.extend(consumer.ready(BATCH - 1));
            self.take(queued).await;
        }
    }

    /// Takes events that the bus does not keep, those of flows, until the bus closes: what comes while the
    /// store is busy for long is lost, and only events that a hook is for are put on record.
    pub async fn run_unkept(&self, mut subscription: Subscription) {
        let mut number = self.shared.tools.clock.now().ns().unsigned_abs();
        loop {
            let messages = subscription.next_many(BATCH).await;
            if messages.is_empty() {
                return;
            }
            let mut events = Vec::new();
            for message in messages {
                number += 1;
                let incoming = Incoming {
                    subject: message.subject,
                    place: number.to_string(),
                    at: None,
                    headers: message.headers,
                    payload: message.payload,
                };
                match self.read(&incoming).await {
                    Ok(event) => events.extend(event.filter(|(_, runs)| !runs.is_empty())),
                    Err(_) => metrics::malformed("event"),
                }
            }
            if events.is_empty() {
                continue;
            }
            let (count, now) = (events.len(), self.shared.tools.clock.now());
            if let Err(error) = self.shared.store.accept_events(events, now).await {
                metrics::ledger_failed("accept_events");
                tracing::warn!(%error, count, "events of flows are lost");
            }
            self.shared.woken.notify_one();
        }
    }

    /// Writes what can be read, then acknowledges; tries for as long as the store fails.
    async fn take(&self, queued: Vec<Queued>) {
        let mut events = Vec::with_capacity(queued.len());
        let mut readable = Vec::with_capacity(queued.len());
        for message in queued {
            let incoming = Incoming {
                subject: message.subject.clone(),
                // The numbers of a stream that was made anew begin again.
                place: match message.at {
                    Some(at) => format!("{}-{}", message.sequence, at.ns()),
                    None => message.sequence.to_string(),
                },
                at: message.at,
                headers: message.headers.clone(),
                payload: message.payload.clone(),
            };
            match self.read(&incoming).await {
                Ok(Some(event)) => {
                    events.push(event);
                    readable.push(message);
                }
                Ok(None) => message.ack(),
                Err(error) => {
                    metrics::malformed("event");
                    // Written with escapes: the text may quote the message.
                    tracing::warn!(subject = ?message.subject, ?error, "message dropped");
                    message.ack();
                }
            }
        }
        if events.is_empty() {
            return;
        }
        // What was not acknowledged comes again.
        if self.accept(events).await.is_err() {
            return;
        }
        failpoint::hit("hook.after_accept");
        readable.into_iter().for_each(Queued::ack);
        self.shared.woken.notify_one();
    }

    /// Puts events on record, and tries for as long as the store may recover. One that it refuses does not
    /// keep up the others: it is lost and counted.
    async fn accept(&self, events: Vec<(Event, Vec<NewRun>)>) -> Result<(), StoreError> {
        let mut steps = VecDeque::from([events]);
        while let Some(step) = steps.front() {
            let now = self.shared.tools.clock.now();
            match self.shared.store.accept_events(step.clone(), now).await {
                Ok(_) => drop(steps.pop_front()),
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(error @ StoreError::Refused(_)) => match steps.pop_front() {
                    Some(step) if step.len() > 1 => {
                        step.into_iter().rev().for_each(|one| steps.push_front(vec![one]));
                    }
                    step => {
                        metrics::malformed("event");
                        let id = step.iter().flatten().next().map(|(event, _)| event.id.as_str());
                        tracing::error!(%error, ?id, "event lost: the store refuses it");
                    }
                },
                Err(error) => {
                    metrics::ledger_failed("accept_events");
                    tracing::warn!(%error, "the store failed, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// An event with its executions; nothing when the message was a request that is done.
    async fn read(&self, message: &Incoming) -> Result<Option<(Event, Vec<NewRun>)>, String> {
        let subjects = &self.shared.tools.subjects;
        if let Some(hook) = subjects.parse_hook_retry(&message.subject) {
            let request = serde_json::from_slice(&message.payload).map_err(|e| e.to_string())?;
            while let Err(refusal) = self.shared.retry(&hook, &request).await {
                match refusal {
                    // Everything stops; what was not acknowledged comes again.
                    Refusal::Store(StoreError::Closed) => std::future::pending().await,
                    // The request waits as events do.
                    Refusal::Store(error) if !matches!(error, StoreError::Refused(_)) => {
                        metrics::ledger_failed("queue_runs");
                        tracing::warn!(%error, "the store failed, trying again");
                        tokio::time::sleep(PAUSE).await;
                    }
                    other => return Err(other.to_string()),
                }
            }
            return Ok(None);
        }
        let subject = subjects.unprefixed(&message.subject).unwrap_or(&message.subject);
        let now = message.at.unwrap_or_else(|| self.shared.tools.clock.now());
        let event = cloud::read(subject, &message.place, &message.headers, &message.payload, now)?;
        let runs = self.runs(&event).await;
        Ok(Some((event, runs)))
    }

    /// What an event lets run, and what is left out.
    async fn runs(&self, event: &Event) -> Vec<NewRun> {
        let found = self.plan.borrow().matching(&event.subject);
        let found = self.shared.conditioned(found, event).await;
        let now = self.shared.tools.clock.now();
        let mut admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner);
        let run = |(found, wrong): (Match, Option<String>)| {
            let run = run_for(&found, event, RunTrigger::Event, "", now);
            let max_depth = self.shared.max_depth;
            let skipped = wrong.or_else(|| admission.refuses(&found, event, max_depth, now));
            NewRun { skipped, ..run }
        };
        found.into_iter().map(run).collect()
    }
}

impl Shared {
    /// Hooks whose condition holds for an event; those whose condition fails come with the reason.
    pub async fn conditioned(&self, found: Vec<Match>, event: &Event) -> Vec<(Match, Option<String>)> {
        let condition = |hook: &Hook| hook.when.as_deref().map(|text| Source::Condition(text.into()));
        let conditions: Vec<_> =
            found.iter().filter_map(|found| Some((found.name.clone(), condition(&found.hook)?))).collect();
        if conditions.is_empty() {
            return found.into_iter().map(|found| (found, None)).collect();
        }
        let mut answers = self.tools.scripts.hold(conditions, event_json(event)).await.into_iter();
        let judged = found.into_iter().filter_map(|found| match found.hook.when {
            None => Some((found, None)),
            Some(_) => match answers.next() {
                Some(Ok(true)) => Some((found, None)),
                Some(Err(wrong)) => Some((found, Some(format!("when: {wrong}")))),
                Some(Ok(false)) | None => None,
            },
        });
        judged.collect()
    }
}
