//! How tries of a delivery end, the same in every backend.

use crate::model::Timestamp;
use crate::store::Outcome;

/// An outcome after the deadline had its say.
pub(super) enum End {
    /// It is tried, or looked at, again.
    Again { at: Timestamp, reason: Option<String>, name: &'static str },
    /// It is over.
    Finished { reason: Option<String>, name: &'static str },
}

impl End {
    /// How a try ends at `now`.
    pub(super) fn of(outcome: &Outcome, now: Timestamp, deadline: Timestamp) -> Self {
        let finished = |name, reason: Option<&String>| Self::Finished { name, reason: reason.cloned() };
        match outcome {
            Outcome::Delivered => finished("delivered", None),
            Outcome::Retry { at, reason } | Outcome::Unknown { at, reason } if now.max(*at) > deadline => {
                finished("dead", Some(&format!("deadline passed: {reason}")))
            }
            Outcome::Retry { at, reason } => {
                Self::Again { at: *at, reason: Some(reason.clone()), name: "retry" }
            }
            Outcome::Unknown { at, reason } => {
                Self::Again { at: *at, reason: Some(reason.clone()), name: "unknown" }
            }
            Outcome::Postponed { at } => Self::Again { at: *at, reason: None, name: POSTPONED },
            Outcome::Suppressed { reason } => finished(SUPPRESSED, Some(reason)),
            Outcome::Merged { into } => finished(MERGED, Some(&format!("told with {into}"))),
            Outcome::Dead { reason } | Outcome::Diverted { reason, .. } => finished("dead", Some(reason)),
        }
    }

    /// As the state of a finished delivery and the outcome of an attempt are called in the tables.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Again { name, .. } | Self::Finished { name, .. } => name,
        }
    }

    /// Why, when it was not delivered.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Again { reason, .. } | Self::Finished { reason, .. } => reason.as_deref(),
        }
    }

    /// False when nothing was sent.
    pub(super) fn is_attempt(&self) -> bool {
        ![POSTPONED, SUPPRESSED, MERGED].contains(&self.name())
    }
}

const POSTPONED: &str = "postponed";
const SUPPRESSED: &str = "suppressed";
const MERGED: &str = "merged";
