//! When somebody is told that a recipient hears nothing, and that it hears again. Pure.

use shared::model::{Alert, Severity, Timestamp};
use shared::teller::Teller;

/// A recipient is not told what it should be.
pub const FAILED: &str = "delivery_failed";

/// It is told again.
pub const WORKS: &str = "delivery_works";

/// Seconds between two alerts about failures of one recipient, at least.
const SECONDS: i64 = 3600;

/// What was said of one recipient.
#[derive(Debug, Default)]
pub struct Trouble {
    /// When its last failure was told.
    told_at: Option<Timestamp>,
    /// It was told, and nothing has arrived since.
    lasts: bool,
}

impl Trouble {
    /// Deliveries fail; true when that is to be told.
    pub fn fails(&mut self, now: Timestamp) -> bool {
        let recent = |at: Timestamp| now.since(at) < SECONDS * 1_000_000_000;
        if self.lasts || self.told_at.is_some_and(recent) {
            return false;
        }
        (self.told_at, self.lasts) = (Some(now), true);
        true
    }

    /// Something has arrived; for how many seconds nothing had, when that is to be told.
    pub fn works(&mut self, now: Timestamp) -> Option<i64> {
        let since = self.told_at.filter(|_| self.lasts)?;
        self.lasts = false;
        Some(now.since(since).max(0) / 1_000_000_000)
    }
}

/// The recipient that an alert says this of, if it does. It does not get it: what it could not be told is
/// not made better by that.
pub fn about(alert: &Alert) -> Option<&str> {
    let ours = [FAILED, WORKS].contains(&alert.alert_type.as_str());
    alert.alert_key.as_deref().filter(|_| ours)
}

/// That a recipient is not told, and why.
pub fn failed(teller: &Teller, recipient: &str, why: &str, now: Timestamp) -> Alert {
    let message = format!("Recipient '{recipient}' is not told: {why}");
    of(teller.alert(FAILED, "notifier", Severity::Error, message, now), recipient)
}

/// That it is told again.
pub fn works(teller: &Teller, recipient: &str, seconds: i64, now: Timestamp) -> Alert {
    let message = format!("Recipient '{recipient}' is told again after {seconds} s");
    of(teller.alert(WORKS, "notifier", Severity::Notice, message, now), recipient)
}

fn of(alert: Alert, recipient: &str) -> Alert {
    Alert { alert_key: Some(recipient.to_owned()), ..alert }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_and_not_more_than_one_an_hour() {
        let at = |minutes: i64| Timestamp::from_secs(1_000_000 + 60 * minutes);
        let mut trouble = Trouble::default();
        assert_eq!(trouble.works(at(0)), None, "nothing was wrong");
        assert!(trouble.fails(at(0)));
        assert!(!trouble.fails(at(1)) && !trouble.fails(at(600)), "it lasts");
        assert_eq!(trouble.works(at(601)), Some(601 * 60));
        assert_eq!(trouble.works(at(602)), None);
        assert!(trouble.fails(at(603)));
        assert_eq!(trouble.works(at(604)), Some(60));
        assert!(!trouble.fails(at(605)), "it comes and goes");
        assert_eq!(trouble.works(at(606)), None, "whose failure was not told is not told to work");
        assert!(trouble.fails(at(663)));
    }

    #[test]
    fn only_these_alerts_are_about_a_recipient() {
        let alert = crate::testing::alert("a");
        assert_eq!(about(&alert), None);
        let failed = Alert { alert_type: FAILED.to_owned(), ..of(alert, "ops") };
        assert_eq!(about(&failed), Some("ops"));
    }
}
