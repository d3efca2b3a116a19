//! Runs what is due, and writes how it ended and what follows.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use shared::backoff::unit_random;
use shared::failpoint;
use shared::hook::{Hook, HookKind};
use shared::model::Timestamp;
use shared::store::StoreError;
use shared::store::hooks::{ClaimedRun, NewRun, RunOutcome, RunResult, RunTrigger, SettledRun};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::input;
use super::manager::Shared;
use super::plan::{Bucket, Plan};
use super::runner::{self, Task};
use crate::metrics;

/// How long to wait for news at most.
const IDLE: Duration = Duration::from_secs(1);

/// The executor's loop.
pub struct Executor {
    shared: Arc<Shared>,
    plan: watch::Receiver<Arc<Plan>>,
    /// Executions at once, of all hooks together.
    concurrency: usize,
    running: BTreeMap<String, usize>,
    buckets: HashMap<String, Bucket>,
    tasks: JoinSet<(String, SettledRun)>,
    /// Ended, and not yet written.
    ended: Vec<SettledRun>,
}

impl Executor {
    /// An executor before its first round.
    pub fn new(shared: Arc<Shared>, plan: watch::Receiver<Arc<Plan>>, concurrency: usize) -> Self {
        Self {
            shared,
            plan,
            concurrency,
            running: BTreeMap::new(),
            buckets: HashMap::new(),
            tasks: JoinSet::new(),
            ended: Vec::new(),
        }
    }

    /// Runs what is due, until the store is closed.
    pub async fn run(mut self) {
        loop {
            self.shared.health.looped(self.now());
            let wait = match self.round().await {
                Ok(wait) => wait,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    metrics::ledger_failed("hooks");
                    tracing::warn!(%error, "the store failed, trying again");
                    IDLE
                }
            };
            if wait.is_zero() {
                continue;
            }
            tokio::select! {
                Some(ended) = self.tasks.join_next() => self.note(ended),
                () = self.shared.woken.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            while let Some(ended) = self.tasks.try_join_next() {
                self.note(ended);
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.shared.tools.clock.now()
    }

    fn note(&mut self, ended: Result<(String, SettledRun), tokio::task::JoinError>) {
        match ended {
            Ok((hook, settled)) => {
                if let Some(running) = self.running.get_mut(&hook) {
                    *running = running.saturating_sub(1);
                }
                self.ended.push(settled);
            }
            Err(error) => tracing::error!(%error, "an execution panicked"),
        }
    }

    /// Writes what has ended and begins what is due; says how long nothing more will be.
    async fn round(&mut self) -> Result<Duration, StoreError> {
        let now = self.now();
        if !self.ended.is_empty() {
            failpoint::hit("hook.before_settle");
            self.shared.store.settle_runs(self.ended.clone(), now).await?;
            failpoint::hit("hook.after_settle");
            self.ended.clear();
        }
        let (due, next) = self.shared.store.due_hooks(now).await?;
        let plan = Arc::clone(&self.plan.borrow());
        let room = self.room(&plan, due, now);
        let left = self.concurrency.saturating_sub(self.running.values().sum());
        let claimed = match room.is_empty() || left == 0 {
            true => Vec::new(),
            false => self.shared.store.claim_runs(room, left, &self.shared.tools.node, now).await?,
        };
        let begun = claimed.len();
        if begun > 0 {
            failpoint::hit("hook.after_claim");
        }
        for claimed in claimed {
            self.begin(&plan, claimed, now);
        }
        if begun > 0 {
            return Ok(Duration::ZERO);
        }
        let until = next.map_or(IDLE, |next| {
            Duration::from_nanos(next.since(now).unsigned_abs()).max(Duration::from_millis(1))
        });
        Ok(until.min(IDLE))
    }

    /// How many executions of each hook may begin. What is due of one may have to wait for its turn, so
    /// none takes room from the others before the store says what can begin.
    fn room(&mut self, plan: &Plan, due: Vec<String>, now: Timestamp) -> Vec<(String, usize)> {
        let mut room = Vec::new();
        // Who runs least comes first, so that one busy hook leaves the others their share.
        let mut due: Vec<(usize, String)> =
            due.into_iter().map(|hook| (self.running.get(&hook).copied().unwrap_or(0), hook)).collect();
        due.sort();
        for (mine, name) in due {
            let may = match plan.hook(&name) {
                // A hook that is gone has its executions put on record as left out.
                None => 16,
                Some(found) => {
                    let free = (found.hook.concurrency as usize).saturating_sub(mine);
                    match found.hook.max_per_minute {
                        None => free,
                        Some(most) => {
                            let bucket =
                                self.buckets.entry(name.clone()).or_insert_with(|| Bucket::full(most, now));
                            free.min(bucket.room(most, now))
                        }
                    }
                }
            };
            if may > 0 {
                room.push((name, may));
            }
        }
        room
    }

    fn begin(&mut self, plan: &Plan, mut claimed: ClaimedRun, now: Timestamp) {
        let name = claimed.run.hook.clone();
        *self.running.entry(name.clone()).or_default() += 1;
        if let Some(bucket) = self.buckets.get_mut(&name) {
            bucket.take(1);
        }
        let shared = Arc::clone(&self.shared);
        let found = plan.hook(&name);
        // What runs is what is in force now, and that is what is on record.
        claimed.run.revision = found.as_ref().map_or(claimed.run.revision, |found| found.revision);
        let hook = found.map(|found| found.hook);
        self.tasks.spawn(async move {
            let (number, revision) = (claimed.number, claimed.run.revision);
            let ended = AssertUnwindSafe(execute(&shared, hook, claimed, now)).catch_unwind().await;
            (name, ended.unwrap_or_else(|_| panicked(number, revision)))
        });
    }
}

/// How many records of a hook are kept: of successes, of failures.
const fn kept(hook: &Hook) -> (u32, u32) {
    (hook.keep.success, hook.keep.failure)
}

/// What is put on record of an execution that ended in a fault of this program.
fn panicked(number: u64, revision: u64) -> SettledRun {
    tracing::error!(execution = number, "an execution panicked");
    let reason = "a fault of the hook manager, which its log tells of".to_owned();
    let result = RunResult { outcome: Some(RunOutcome::Failure), reason, ..RunResult::default() };
    SettledRun {
        number,
        revision,
        result,
        again_at: None,
        dead: true,
        keep: kept(&Hook::new(HookKind::Exec, "")),
    }
}

/// Runs one execution to its end and decides what follows.
async fn execute(
    shared: &Shared,
    hook: Option<Arc<Hook>>,
    claimed: ClaimedRun,
    now: Timestamp,
) -> SettledRun {
    let skip = |hook: &Hook, claimed: &ClaimedRun, reason: &str| SettledRun {
        number: claimed.number,
        revision: claimed.run.revision,
        result: RunResult {
            outcome: Some(RunOutcome::Skipped),
            reason: reason.to_owned(),
            ..RunResult::default()
        },
        again_at: None,
        dead: false,
        keep: kept(hook),
    };
    let Some(hook) = hook else {
        let gone = Hook::new(HookKind::Exec, "");
        return skip(&gone, &claimed, "the hook is no more");
    };
    // A program's input may be on record while its event is not; whatever else runs is given the event.
    let given = claimed.run.input.clone().filter(|_| hook.kind == HookKind::Exec);
    let input = match (given, &claimed.recorded) {
        (Some(input), _) => input,
        (None, Some(event)) => input::render(&hook, event, claimed.attempt),
        (None, None) => return skip(&hook, &claimed, "the event is kept no longer"),
    };
    if !hook.enabled && claimed.run.trigger == RunTrigger::Event {
        return skip(&hook, &claimed, "the hook is disabled");
    }
    let too_old = hook.expire_s.zip(claimed.recorded.as_ref()).is_some_and(|(seconds, event)| {
        now.since(event.at) > i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000)
    });
    if too_old && claimed.run.trigger == RunTrigger::Event {
        return skip(&hook, &claimed, "expired: the event is too old");
    }
    let name = claimed.run.hook.clone();
    tell(shared, &name, "started", &claimed, None).await;
    let task = Task { hook: Arc::clone(&hook), claimed, input };
    let result = runner::run(&task, &shared.tools).await;
    failpoint::hit("hook.after_run");
    let ended = shared.tools.clock.now();
    let outcome = result.outcome.unwrap_or(RunOutcome::Failure);
    metrics::hook_ended(&name, outcome, ended.since(now).max(0) as f64 / 1e9);
    tell(shared, &name, outcome.name(), &task.claimed, Some(&result)).await;
    let (again_at, dead) = follow_up(&hook, &task.claimed, outcome, result.exit_code, ended);
    if dead {
        tracing::warn!(hook = ?name, execution = task.claimed.number, reason = ?result.reason, "execution given up");
    }
    let keep = kept(&hook);
    let ClaimedRun { number, run: NewRun { revision, .. }, .. } = task.claimed;
    SettledRun { number, revision, result, again_at, dead, keep }
}

/// When another try is due, and whether it is given up.
fn follow_up(
    hook: &Hook,
    claimed: &ClaimedRun,
    outcome: RunOutcome,
    exit_code: Option<i32>,
    now: Timestamp,
) -> (Option<Timestamp>, bool) {
    if outcome.is_good() || claimed.run.trigger == RunTrigger::Test {
        return (None, false);
    }
    let pointless = exit_code.is_some_and(|code| hook.retry.never_after.contains(&code));
    if pointless || claimed.attempt >= hook.retry.attempts {
        return (None, true);
    }
    let random = unit_random(claimed.number ^ u64::from(claimed.attempt));
    let wait = hook.retry.backoff().wait(claimed.attempt, random);
    (Some(now.plus_ns(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX))), false)
}

/// Tells who listens how an execution stands; the record is in the store whether anybody does or not.
async fn tell(shared: &Shared, hook: &str, state: &str, claimed: &ClaimedRun, result: Option<&RunResult>) {
    let record = serde_json::json!({
        "hook": hook,
        "execution": claimed.number,
        "attempt": claimed.attempt,
        "event": claimed.run.event,
        "idempotency_key": claimed.run.idempotency_key,
        "trigger": claimed.run.trigger,
        "state": state,
        "exit_code": result.and_then(|result| result.exit_code),
        "reason": result.map(|result| &result.reason),
    });
    let subject = shared.tools.subjects.hook_exec(hook, state);
    if let Err(error) = shared.tools.bus.publish(&subject, Bytes::from(record.to_string())).await {
        tracing::debug!(%error, "nobody was told of an execution");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(attempt: u32, trigger: RunTrigger) -> ClaimedRun {
        let text = String::new;
        ClaimedRun {
            number: 1,
            run: NewRun {
                hook: text(),
                revision: 1,
                event: text(),
                order_key: text(),
                idempotency_key: text(),
                trigger,
                by: text(),
                next_at: Timestamp::ZERO,
                input: None,
                skipped: None,
            },
            attempt,
            queued_at: Timestamp::ZERO,
            recorded: None,
        }
    }

    #[test]
    fn failures_are_tried_again_with_growing_waits_and_given_up_in_the_end() {
        let hook = Hook::new(HookKind::Exec, "x");
        let after = |attempt, outcome, code| {
            follow_up(&hook, &claimed(attempt, RunTrigger::Event), outcome, code, Timestamp::ZERO)
        };
        assert_eq!(after(1, RunOutcome::Success, Some(0)), (None, false));
        let waits: Vec<i64> = (1..5).map(|n| after(n, RunOutcome::Timeout, None).0.unwrap().ns()).collect();
        // Anything up to a bound that doubles.
        let within = |(n, wait): (usize, &i64)| *wait > 0 && *wait <= 1_000_000_000 << n;
        assert!(waits.iter().enumerate().all(within), "{waits:?}");
        assert_eq!(after(5, RunOutcome::Failure, Some(1)), (None, true));
        assert_eq!(after(1, RunOutcome::Failure, Some(65)), (None, true), "EX_DATAERR does not pass");
        assert!(after(1, RunOutcome::Failure, Some(75)).0.is_some(), "EX_TEMPFAIL does");
        let test = claimed(1, RunTrigger::Test);
        assert_eq!(follow_up(&hook, &test, RunOutcome::Failure, Some(1), Timestamp::ZERO), (None, false));
    }
}
