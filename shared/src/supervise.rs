//! Restart budgets: how often a supervisor restarts a child before it gives up.

use std::collections::VecDeque;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::model::Timestamp;

/// How a supervisor treats failing children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Failures within `window` that are survived.
    pub max_failures: usize,
    /// Length of the window.
    pub window: Duration,
    /// Waits between restarts.
    pub backoff: Backoff,
}

impl Default for RestartPolicy {
    /// 5 failures in 60 s; waits from 0.5 s to 30 s.
    fn default() -> Self {
        let backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(30) };
        Self { max_failures: 5, window: Duration::from_secs(60), backoff }
    }
}

/// What to do about a failed child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start it again after this long.
    RestartAfter(Duration),
    /// Stop trying: the role ends, and with it the process.
    GiveUp,
}

/// Remembers one child's failures.
#[derive(Clone, Debug)]
pub struct RestartBudget {
    policy: RestartPolicy,
    failures: VecDeque<Timestamp>,
}

impl RestartBudget {
    /// A budget under `policy`, unspent.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: VecDeque::new() }
    }

    /// A failure at `now`; `random` in `0.0..1.0` spreads the wait.
    pub fn on_failure(&mut self, now: Timestamp, random: f64) -> Decision {
        let window = i64::try_from(self.policy.window.as_nanos()).unwrap_or(i64::MAX);
        while self.failures.front().is_some_and(|first| now.since(*first) > window) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        let count = self.failures.len();
        if count > self.policy.max_failures {
            return Decision::GiveUp;
        }
        Decision::RestartAfter(self.policy.backoff.wait(count as u32, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_close_together_end_it_and_failures_far_apart_do_not() {
        let mut budget = RestartBudget::new(RestartPolicy::default());
        let at = Timestamp::from_secs;
        let waits: Vec<_> = (0..5).map(|s| budget.on_failure(at(s), 1.0)).collect();
        assert!(waits.iter().all(|d| matches!(d, Decision::RestartAfter(_))));
        assert_eq!(budget.on_failure(at(5), 1.0), Decision::GiveUp);

        let mut calm = RestartBudget::new(RestartPolicy::default());
        for minute in 0..100 {
            let first = Decision::RestartAfter(Duration::from_millis(500));
            assert_eq!(calm.on_failure(at(minute * 61), 1.0), first);
        }
    }
}
