//! What a lane decides: when to claim how much, and what a result means. Pure.
//!
//! A breaker opens after failures in a row; while it is open, one delivery is tried now and then.
//! `Retry-After` holds the whole lane. A delivery that would be tried after its deadline is dead.

use std::time::Duration;

use shared::backoff::{Backoff, unit_random};
use shared::model::alert::derive_id;
use shared::model::{Severity, Timestamp};
use shared::store::{Delivery, Outcome};

use crate::config::{DeadlineConfig, NotifierConfig, RecipientConfig};
use crate::endpoint::{DeliveryError, Manners};
use crate::gate::GateConfig;

/// How long the ledger itself would keep trying: longer than any lane. A delivery's deadline in the
/// ledger less this is when it was accepted, or brought back from the dead; the lane's own deadline
/// counts from there.
pub const HORIZON: Duration = Duration::from_secs(10 * 365 * 86_400);

/// [`HORIZON`], in the form the ledger takes.
pub fn horizon(_: Severity) -> Duration {
    HORIZON
}

/// How a lane behaves.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Waits between tries.
    pub backoff: Backoff,
    /// Failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// Time between tries while it is open.
    pub breaker_probe: Duration,
    /// When deliveries are given up.
    pub deadline: DeadlineConfig,
    /// What the endpoint wants.
    pub manners: Manners,
    /// Deliveries tried in a minute at most; `None` sets no bound.
    pub max_per_minute: Option<u32>,
    /// Who gets what is given up.
    pub fallback: Option<String>,
    /// What is held back and told together.
    pub gate: GateConfig,
    /// What may have arrived is sent again.
    pub retry_unknown: bool,
}

impl Policy {
    /// The configured behaviour towards an endpoint with these manners; `recipient` may add to it.
    pub fn new(config: &NotifierConfig, manners: Manners, recipient: Option<&RecipientConfig>) -> Self {
        let mut backoff = config.retry.backoff();
        if let Some(cap) = manners.backoff_cap {
            backoff.cap = backoff.cap.min(cap);
        }
        Self {
            backoff,
            breaker_failures: config.breaker_failures,
            breaker_probe: Duration::from_secs(config.breaker_probe_s),
            deadline: config.deadline.clone(),
            manners: Manners { batch: manners.batch.clamp(1, config.batch.max(1)), ..manners },
            max_per_minute: recipient.and_then(|recipient| recipient.max_per_minute),
            fallback: recipient.and_then(|recipient| recipient.fallback.clone()),
            gate: recipient.map(|recipient| recipient.gate.clone()).unwrap_or_default(),
            retry_unknown: manners.knows_repetitions || recipient.is_some_and(|r| r.retry_unknown),
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing before this long has passed.
    Wait(Duration),
    /// Claim at most this many.
    Claim(usize),
}

/// The state of a lane.
#[derive(Clone, Debug)]
pub struct Lane {
    policy: Policy,
    failures: u32,
    /// When the open breaker lets the next try through.
    probe_at: Option<Timestamp>,
    /// Until when the far end asked everybody to wait.
    hold: Option<(Timestamp, Duration)>,
    /// What may be tried of the bound by the minute.
    bucket: Bucket,
}

/// A token bucket: a token a delivery, as many as fit into a minute at most. It begins with one, so
/// that restarts cannot be used to go beyond the bound.
#[derive(Clone, Debug, Default)]
struct Bucket {
    tokens: f64,
    filled_at: Option<Timestamp>,
}

impl Bucket {
    /// Fills up to `now`; gives the tokens there are.
    fn fill(&mut self, per_minute: u32, now: Timestamp) -> f64 {
        let per_ns = f64::from(per_minute) / 60e9;
        let passed = self.filled_at.map_or(0, |at| now.since(at).max(0));
        if self.filled_at.is_none() {
            self.tokens = 1.0;
        }
        self.tokens = (self.tokens + passed as f64 * per_ns).min(f64::from(per_minute.max(1)));
        self.filled_at = Some(now);
        self.tokens
    }

    /// How long until there is a token.
    fn wait(&self, per_minute: u32) -> Duration {
        let missing = (1.0 - self.tokens).max(0.0);
        Duration::from_secs_f64(missing * 60.0 / f64::from(per_minute.max(1))).max(Duration::from_millis(1))
    }
}

impl Lane {
    /// A lane that has tried nothing.
    pub fn new(policy: Policy) -> Self {
        Self { policy, failures: 0, probe_at: None, hold: None, bucket: Bucket::default() }
    }

    /// True while the breaker is open.
    pub fn is_open(&self) -> bool {
        self.probe_at.is_some()
    }

    /// What to do at `now`. A clock that was set back makes no wait longer than it was meant to be.
    pub fn turn(&mut self, now: Timestamp) -> Turn {
        match (self.unbounded_turn(now), self.policy.max_per_minute) {
            (Turn::Claim(most), Some(per_minute)) => match self.bucket.fill(per_minute, now) {
                tokens if tokens < 1.0 => Turn::Wait(self.bucket.wait(per_minute)),
                tokens => Turn::Claim(most.min(tokens as usize)),
            },
            (turn, _) => turn,
        }
    }

    fn unbounded_turn(&self, now: Timestamp) -> Turn {
        if let Some((until, wait)) = self.hold
            && let Some(left) = left(until, now)
        {
            return Turn::Wait(left.min(wait));
        }
        match self.probe_at {
            None => Turn::Claim(self.policy.manners.batch),
            Some(at) => match left(at, now) {
                Some(left) => Turn::Wait(left.min(self.policy.breaker_probe)),
                None => Turn::Claim(1),
            },
        }
    }

    /// What results mean for the lane and for each delivery. A missing result counts as a failure.
    pub fn settle(
        &mut self,
        batch: Vec<Delivery>,
        results: Vec<Result<(), DeliveryError>>,
        now: Timestamp,
    ) -> Vec<(Delivery, Outcome)> {
        let unknown = || Err(DeliveryError::retry("the endpoint did not say how it ended"));
        self.bucket.tokens -= batch.len() as f64;
        let mut results = results;
        results.resize_with(batch.len(), unknown);
        if self.policy.manners.one_target {
            self.learn(&results, now);
        }
        let ends = batch.into_iter().zip(results);
        ends.map(|(delivery, result)| {
            let outcome = self.outcome(&delivery, result, now);
            (delivery, outcome)
        })
        .collect()
    }

    /// Breaker and hold.
    fn learn(&mut self, results: &[Result<(), DeliveryError>], now: Timestamp) {
        let failed = |result: &Result<(), DeliveryError>| {
            matches!(result, Err(DeliveryError::Retry { after: None, .. } | DeliveryError::Unknown { .. }))
        };
        if results.iter().any(failed) {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= self.policy.breaker_failures {
                self.probe_at = Some(later(now, self.policy.breaker_probe));
            }
        } else {
            self.failures = 0;
            self.probe_at = None;
        }
        let asked = results.iter().filter_map(|result| match result {
            Err(DeliveryError::Retry { after, .. }) => *after,
            _ => None,
        });
        self.hold = asked.max().map(|wait| (later(now, wait), wait));
    }

    /// Gives a delivery up.
    fn dead(&self, reason: String) -> Outcome {
        match self.policy.fallback.clone() {
            Some(to) => Outcome::Diverted { reason, to },
            None => Outcome::Dead { reason },
        }
    }

    fn outcome(&self, delivery: &Delivery, result: Result<(), DeliveryError>, now: Timestamp) -> Outcome {
        let (after, reason, unknown) = match result {
            Ok(()) => return Outcome::Delivered,
            Err(DeliveryError::Permanent { reason }) => return self.dead(reason),
            Err(DeliveryError::Retry { after, reason }) => (after, reason, false),
            Err(DeliveryError::Unknown { reason }) if self.policy.retry_unknown => (None, reason, true),
            Err(DeliveryError::Unknown { reason }) => {
                return self
                    .dead(format!("may have arrived, and a repetition would be told twice: {reason}"));
            }
        };
        let attempt = delivery.attempts.saturating_add(1);
        let wait = self.policy.backoff.wait(attempt, unit_random(seed(delivery, attempt)));
        let at = later(now, wait.max(after.unwrap_or_default()));
        if !self.policy.manners.never_gives_up && at > self.deadline(delivery) {
            return self.dead(format!("deadline passed: {reason}"));
        }
        if unknown { Outcome::Unknown { at, reason } } else { Outcome::Retry { at, reason } }
    }

    /// What the gate may send at once.
    pub fn gate(&self) -> &GateConfig {
        &self.policy.gate
    }

    fn deadline(&self, delivery: &Delivery) -> Timestamp {
        let horizon = i64::try_from(HORIZON.as_nanos()).unwrap_or(i64::MAX);
        later(delivery.deadline.plus_ns(-horizon), self.policy.deadline.of(severity(delivery)))
    }
}

/// Severity of what is delivered; a post has that of a warning.
fn severity(delivery: &Delivery) -> Severity {
    #[derive(serde::Deserialize)]
    struct Graded {
        severity: Severity,
    }
    serde_json::from_str(&delivery.payload).map_or(Severity::Warning, |graded: Graded| graded.severity)
}

/// The same for the same try of the same delivery, and spread over all others.
fn seed(delivery: &Delivery, attempt: u32) -> u64 {
    let id = derive_id(&[&delivery.idempotency_key(), &attempt.to_string()]);
    u64::from_str_radix(id.get(..16).unwrap_or_default(), 16).unwrap_or_default()
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    from.plus_ns(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX))
}

/// Time from `now` to `at`; `None` when it has come.
pub fn left(at: Timestamp, now: Timestamp) -> Option<Duration> {
    u64::try_from(at.since(now)).ok().filter(|ns| *ns > 0).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests;
