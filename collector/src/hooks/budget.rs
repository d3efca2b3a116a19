//! How much scripts may burden the thread that reads packets, in operations of the interpreter a second
//! of event time: what is counted is the same in every replay, unlike what a clock shows.

use shared::model::Timestamp;

/// An allowance that grows with time. It may be overdrawn by one call, and is then made up for.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    per_second: i64,
    at_most: i64,
    left: i64,
    /// Second up to which it has grown; it does not before it is looked at for the first time.
    second: Option<i64>,
}

impl Budget {
    /// So much a second, a second's worth at first.
    pub fn new(per_second: u64) -> Self {
        Self::saving(per_second, per_second)
    }

    /// So much a second; at first, and saved up later, `at_most`.
    pub fn saving(per_second: u64, at_most: u64) -> Self {
        let limit = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (per_second, at_most) = (limit(per_second), limit(at_most));
        Self { per_second, at_most, left: at_most, second: None }
    }

    /// It grows by so much, whatever the time.
    pub fn grow(&mut self, by: u64) {
        let by = i64::try_from(by).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(by).min(self.at_most);
    }

    /// Whether there is something left at this time.
    pub fn allows(&mut self, now: Timestamp) -> bool {
        self.left(now) > 0
    }

    /// What is left at this time.
    pub fn left(&mut self, now: Timestamp) -> i64 {
        let second = now.secs();
        let since = *self.second.get_or_insert(second);
        if second > since {
            let passed = second.saturating_sub(since);
            let grown = self.left.saturating_add(passed.saturating_mul(self.per_second));
            self.left = grown.min(self.at_most);
            self.second = Some(second);
        }
        self.left
    }

    /// So much was used.
    pub fn spend(&mut self, used: u64) {
        self.left = self.left.saturating_sub(i64::try_from(used).unwrap_or(i64::MAX));
    }

    /// The same, but not more than is left; gives what is beyond it.
    pub fn spend_what_is_left(&mut self, used: u64) -> u64 {
        let own = used.min(u64::try_from(self.left).unwrap_or(0));
        self.spend(own);
        used - own
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

    #[test]
    fn what_is_saved_up_is_spent_and_no_more() {
        let at = Timestamp::from_secs;
        let mut budget = Budget::saving(10, 25);
        assert_eq!((budget.left(at(1)), budget.spend_what_is_left(40)), (25, 15));
        assert_eq!((budget.left(at(2)), budget.left(at(9))), (10, 25));
        let mut unseen = Budget::saving(10, 25);
        unseen.spend(50);
        assert_eq!(
            (unseen.left(at(100)), unseen.left(at(101))),
            (-25, -15),
            "what came before is not made up for"
        );
        budget.spend(30);
        budget.grow(7);
        assert_eq!((budget.left(at(9)), budget.spend_what_is_left(5)), (2, 3));
    }
}
