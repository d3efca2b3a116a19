//! A script that keeps failing is left alone for a while, then tried again.

use crate::model::Timestamp;
use crate::model::time::NS_PER_S;

/// The first quarantine in seconds; each one after it is twice as long.
const FIRST_S: i64 = 600;

/// The longest quarantine in seconds.
const LONGEST_S: i64 = 86_400;

/// How one script has failed of late. Time is event time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    in_a_row: u32,
    times: u32,
    until: Option<Timestamp>,
}

impl Quarantine {
    /// Failures in a row, quarantines, and until when the last one lasts: to be kept somewhere.
    pub fn parts(&self) -> (u32, u32, Option<Timestamp>) {
        (self.in_a_row, self.times, self.until)
    }

    /// What [`Quarantine::parts`] gave.
    pub fn of_parts(in_a_row: u32, times: u32, until: Option<Timestamp>) -> Self {
        Self { in_a_row, times, until }
    }

    /// True while the script is not to be called.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// True when a quarantine is over and nobody has tried the script since.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// A call failed; true when that begins a quarantine, which is so after `limit` failures in a row, and
    /// after one quarantine at once.
    pub fn failed(&mut self, limit: u32, now: Timestamp) -> bool {
        self.failed_times(1, limit, now)
    }

    /// The same of a call that counts several times, because it cost as much as several.
    pub fn failed_times(&mut self, times: u32, limit: u32, now: Timestamp) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(times);
        if self.in_a_row < limit && self.until.is_none() {
            return false;
        }
        let seconds = FIRST_S.saturating_mul(1 << self.times.min(16)).min(LONGEST_S);
        self.times = self.times.saturating_add(1);
        self.until = Some(Timestamp::from_ns(now.ns().saturating_add(seconds * NS_PER_S)));
        true
    }

    /// A call did not fail: all is forgiven.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// True when nothing has failed since the last success.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn a_failing_script_is_tried_again_ever_more_seldom() {
        let mut script = Quarantine::default();
        assert!(!script.failed(3, at(0)) && !script.failed(3, at(1)) && !script.holds(at(1)));
        assert!(script.failed(3, at(2)));
        assert!(script.holds(at(601)) && !script.holds(at(602)) && script.is_over(at(602)));
        // One failure is enough now, and the next time is twice as long.
        assert!(script.failed(3, at(602)) && script.holds(at(1801)) && script.is_over(at(1802)));
        for _ in 0..40 {
            assert!(script.failed(3, at(0)));
        }
        assert!(script.holds(at(LONGEST_S - 1)) && script.is_over(at(LONGEST_S)));
        script.succeeded();
        assert!(script.is_clean() && !script.failed(3, at(0)) && !script.holds(at(0)));
    }
}
