//! How much scripts may burden the thread that reads packets, in operations of the interpreter a second
//! of event time: what is counted is the same in every replay, unlike what a clock shows.

use shared::model::Timestamp;

/// Operations that all scripts together may spend on calls after a failed one: so many a second of event
/// time, some hundredths of a percent of a core, and more where flows are many. A script that always fails
/// costs no more until it is quarantined.
const FAILING_PER_SECOND: i64 = 500;

/// One operation more for so many events of flows: next to what the events themselves cost, nothing.
const EVENTS_AN_OPERATION: u32 = 4;

/// What failing scripts have at first, and may save up.
const FAILING_AT_MOST: i64 = 20_000;

/// An allowance that grows with time. It may be overdrawn by one call, and is then made up for.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    per_second: i64,
    at_most: i64,
    left: i64,
    /// Second up to which it has grown.
    second: i64,
    /// Events since it grew by one.
    events: u32,
}

impl Budget {
    /// So many operations a second, a second's worth at first.
    pub fn new(per_second: u64) -> Self {
        let per_second = i64::try_from(per_second).unwrap_or(i64::MAX);
        Self { per_second, at_most: per_second, left: per_second, second: i64::MIN, events: 0 }
    }

    /// What failing scripts have together.
    pub fn of_failing() -> Self {
        let (per_second, at_most) = (FAILING_PER_SECOND, FAILING_AT_MOST);
        Self { per_second, at_most, left: at_most, second: i64::MIN, events: 0 }
    }

    /// Something happened to a flow.
    pub fn event(&mut self) {
        self.events += 1;
        if self.events == EVENTS_AN_OPERATION {
            self.events = 0;
            self.left = self.left.saturating_add(1).min(self.at_most);
        }
    }

    /// Whether there is something left at this time.
    pub fn allows(&mut self, now: Timestamp) -> bool {
        let second = now.secs();
        if second > self.second {
            let passed = second.saturating_sub(self.second);
            let grown = self.left.saturating_add(passed.saturating_mul(self.per_second));
            self.left = grown.min(self.at_most);
            self.second = second;
        }
        self.left > 0
    }

    /// A call took so many operations.
    pub fn spend(&mut self, operations: u64) {
        self.left = self.left.saturating_sub(i64::try_from(operations).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overdrawn_is_made_up_for_second_by_second() {
        let at = Timestamp::from_secs;
        let mut budget = Budget::new(100);
        assert!(budget.allows(at(1000)));
        budget.spend(350);
        assert!(!budget.allows(at(1000)) && !budget.allows(at(1001)) && !budget.allows(at(1002)));
        assert!(budget.allows(at(1003)));
        // What is not used is not kept, and time that goes back gives nothing.
        assert!(budget.allows(at(5000)));
        budget.spend(100);
        assert!(!budget.allows(at(4000)) && !budget.allows(at(5000)) && budget.allows(at(5001)));
    }
}
