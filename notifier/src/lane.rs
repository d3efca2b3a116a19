//! What a lane decides: when to claim how much, and what a result means. Pure.
//!
//! A breaker opens after failures in a row; while it is open, one delivery is tried now and then. It opens at
//! once, and for longer, where the far end takes nothing from us as we are set up.
//! `Retry-After` holds the whole lane. A delivery that would be tried after its deadline is dead.

use std::time::Duration;

use shared::backoff::{Backoff, unit_random};
use shared::model::alert::derive_id;
use shared::model::{Severity, Timestamp};
use shared::store::{Delivery, Dropped, Outcome};

use crate::config::{DeadlineConfig, NotifierConfig, RecipientConfig};
use crate::endpoint::{DeliveryError, Manners, Repetition};
use crate::gate::GateConfig;
use crate::pace::{SharedPace, Window};

/// How long the ledger itself would keep trying: longer than any lane. A delivery's deadline in the
/// ledger less this is when it was accepted, or brought back from the dead; the lane's own deadline
/// counts from there.
pub const HORIZON: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Time between tries of a far end that takes nothing from us: somebody has to change something first.
const REFUSED_PROBE: Duration = Duration::from_secs(300);

/// Of this many deliveries one is chosen by its age, whatever its severity.
const OLDEST_OF: usize = 10;

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
            manners: Manners { batch: manners.batch.max(1), ..manners },
            max_per_minute: recipient.and_then(|recipient| recipient.max_per_minute),
            fallback: recipient.and_then(|recipient| recipient.fallback.clone()),
            gate: recipient.map(|recipient| recipient.gate.clone()).unwrap_or_default(),
            retry_unknown: manners.repetition != Repetition::Told
                || recipient.is_some_and(|r| r.retry_unknown),
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
    /// When the open breaker lets the next try through, and how long that was to last.
    probe: Option<(Timestamp, Duration)>,
    /// How many may have arrived at the last try: a probe with fewer would be another request.
    unknown: usize,
    /// What was tried in the last minute, where that is bounded.
    tried: Window,
    /// How fast the far end is asked, by whoever else does too; `None` when there are many far ends.
    pace: Option<SharedPace>,
    /// Deliveries claimed since one was chosen by its age.
    claimed: usize,
}

impl Lane {
    /// A lane that has tried nothing, towards a far end of which `pace` knows how fast it may be asked.
    pub fn new(policy: Policy, pace: SharedPace) -> Self {
        let pace = policy.manners.one_target.then_some(pace);
        Self { policy, pace, failures: 0, probe: None, unknown: 0, tried: Window::default(), claimed: 0 }
    }

    /// True while the breaker is open.
    pub fn is_open(&self) -> bool {
        self.probe.is_some()
    }

    /// Requests in a minute that the far end is asked to take at the moment, and how many at most, where a
    /// bound is known.
    pub fn pace(&self) -> Option<(u32, Option<u32>)> {
        self.pace.as_ref().and_then(|pace| pace.lock().now())
    }

    /// What to do at `now`. A claim that is followed by no request has to be said to be [`Self::unused`]. A
    /// clock that was set back makes no wait longer than it was meant to be.
    pub fn turn(&mut self, now: Timestamp) -> Turn {
        let turn = match (self.unbounded_turn(now), self.policy.max_per_minute) {
            (Turn::Claim(most), Some(per_minute)) => match self.tried.room(per_minute, now) {
                0 => Turn::Wait(self.tried.wait(per_minute, now)),
                room => Turn::Claim(most.min(room)),
            },
            (turn, _) => turn,
        };
        match (turn, &self.pace) {
            (Turn::Claim(most), Some(pace)) => pace.lock().take(now).map_or(Turn::Claim(most), Turn::Wait),
            (turn, _) => turn,
        }
    }

    /// What was to be claimed led to no request.
    pub fn unused(&mut self) {
        if let Some(pace) = &self.pace {
            pace.lock().give_back();
        }
    }

    fn unbounded_turn(&self, now: Timestamp) -> Turn {
        match self.probe {
            None => Turn::Claim(self.policy.manners.batch),
            Some((at, wait)) => match left(at, now) {
                Some(left) => Turn::Wait(left.min(wait)),
                None => Turn::Claim(self.unknown.clamp(1, self.policy.manners.batch.max(1))),
            },
        }
    }

    /// Of `most` deliveries that are claimed, how many are to be the oldest whatever their severity: a tenth
    /// of all over time, so that nothing waits for ever behind what is graver.
    pub fn oldest(&mut self, most: usize) -> usize {
        self.claimed = self.claimed.saturating_add(most);
        let share = self.claimed / OLDEST_OF;
        self.claimed %= OLDEST_OF;
        share.min(most)
    }

    /// Gives up what is past its deadline, of deliveries that are not tried because the far end fails.
    pub fn expired(&self, delivery: &Delivery, now: Timestamp) -> Option<Outcome> {
        let over = !self.policy.manners.never_gives_up && now > self.deadline(delivery);
        over.then(|| self.dead(format!("{}: the endpoint fails", Dropped::Deadline.begins())))
    }

    /// What results mean for the lane and for each delivery, after so many requests. A missing result counts
    /// as a failure.
    pub fn settle(
        &mut self,
        batch: Vec<Delivery>,
        results: Vec<Result<(), DeliveryError>>,
        requests: u64,
        now: Timestamp,
    ) -> Vec<(Delivery, Outcome)> {
        let unknown = || Err(DeliveryError::retry("the endpoint did not say how it ended"));
        let untried = results.iter().filter(|result| is_untried(result)).count();
        if self.policy.max_per_minute.is_some() {
            self.tried.add(now, batch.len().saturating_sub(untried));
        }
        if let Some(pace) = &self.pace {
            pace.lock().made(requests, now);
        }
        let mut results = results;
        results.resize_with(batch.len(), unknown);
        // Those of one request are tried again together, or it would be another request, of which nobody
        // could tell that it says the same.
        let mut shared = None;
        if self.policy.manners.one_target {
            self.learn(&results, now);
            let fewest = batch.iter().min_by_key(|delivery| delivery.attempts);
            shared = fewest.map(|delivery| self.wait(delivery));
        }
        let ends = batch.into_iter().zip(results);
        ends.map(|(delivery, result)| {
            let wait = shared.unwrap_or_else(|| self.wait(&delivery));
            let outcome = self.outcome(&delivery, result, wait, now);
            (delivery, outcome)
        })
        .collect()
    }

    /// Time until a delivery's next try, should this one fail.
    fn wait(&self, delivery: &Delivery) -> Duration {
        let attempt = delivery.attempts.saturating_add(1);
        self.policy.backoff.wait(attempt, unit_random(seed(delivery, attempt)))
    }

    /// Whether two deliveries may go into one request: what failed together is kept apart from what came
    /// since, so that it goes out again under the same id.
    pub fn goes_with(&self, first: &Delivery, other: &Delivery) -> bool {
        let joined = self.policy.manners.one_target && self.policy.manners.batch > 1;
        !joined || first.attempts == other.attempts
    }

    /// Breaker and pace.
    fn learn(&mut self, results: &[Result<(), DeliveryError>], now: Timestamp) {
        // Of a far end that was not asked nothing is learned.
        if results.iter().all(is_untried) {
            return;
        }
        let failed = |result: &Result<(), DeliveryError>| {
            matches!(result, Err(DeliveryError::Retry { after: None, .. } | DeliveryError::Unknown { .. }))
        };
        let unknown =
            |result: &&Result<(), DeliveryError>| matches!(result, Err(DeliveryError::Unknown { .. }));
        self.unknown = results.iter().filter(unknown).count();
        let refused =
            |result: &Result<(), DeliveryError>| matches!(result, Err(DeliveryError::Refused { .. }));
        let probe = |wait: Duration| Some((later(now, wait), wait));
        if results.iter().any(refused) {
            self.probe = probe(REFUSED_PROBE.max(self.policy.breaker_probe));
        } else if results.iter().any(failed) {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= self.policy.breaker_failures || self.is_open() {
                self.probe = probe(self.policy.breaker_probe);
            }
        } else {
            self.failures = 0;
            self.probe = None;
        }
        let asked = results.iter().filter_map(|result| match result {
            Err(DeliveryError::Retry { after, .. }) => *after,
            _ => None,
        });
        // To wait for no time is what a kind says of what it has not sent.
        if let (Some(pace), Some(wait)) = (&self.pace, asked.max().filter(|wait| !wait.is_zero())) {
            pace.lock().asked_to_wait(wait, now);
        }
    }

    /// Gives a delivery up.
    fn dead(&self, reason: String) -> Outcome {
        match self.policy.fallback.clone() {
            Some(to) => Outcome::Diverted { reason, to },
            None => Outcome::Dead { reason },
        }
    }

    fn outcome(
        &self,
        delivery: &Delivery,
        result: Result<(), DeliveryError>,
        wait: Duration,
        now: Timestamp,
    ) -> Outcome {
        let (after, reason, unknown) = match result {
            Ok(()) => return Outcome::DELIVERED,
            Err(DeliveryError::Permanent { reason }) => return self.dead(reason),
            // Of many far ends, one that refuses is not the lane's.
            Err(DeliveryError::Refused { reason }) if !self.policy.manners.one_target => {
                return self.dead(reason);
            }
            Err(DeliveryError::Refused { reason }) => (None, reason, false),
            Err(DeliveryError::Retry { after, reason }) => (after, reason, false),
            Err(DeliveryError::NoRoom { reason }) if now <= self.deadline(delivery) => {
                return Outcome::Postponed { at: now, reason };
            }
            Err(DeliveryError::NoRoom { reason }) => return self.dead(Dropped::late(reason, false)),
            Err(DeliveryError::Unknown { reason }) if self.policy.retry_unknown => (None, reason, true),
            Err(DeliveryError::Unknown { reason }) => {
                return self.dead(format!("{}: {reason}", Dropped::Unknown.begins()));
            }
        };
        let at = later(now, wait.max(after.unwrap_or_default()));
        if !self.policy.manners.never_gives_up && at > self.deadline(delivery) {
            return self.dead(Dropped::late(&reason, unknown));
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
pub fn severity(delivery: &Delivery) -> Severity {
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

/// Whether nothing was asked of the far end.
fn is_untried(result: &Result<(), DeliveryError>) -> bool {
    matches!(result, Err(DeliveryError::NoRoom { .. }))
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
