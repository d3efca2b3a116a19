//! How tries of a delivery end, the same in every backend.

use crate::model::Timestamp;
use crate::store::{Dropped, Outcome};

/// An outcome after the deadline had its say.
pub(super) enum End {
    /// It is tried, or looked at, again; `later`, its deadline moves with the time at which it is due.
    Again { at: Timestamp, reason: Option<String>, name: &'static str, later: bool },
    /// It is over.
    Finished { reason: Option<String>, name: &'static str },
}

impl End {
    /// How a try ends at `now`.
    pub(super) fn of(outcome: &Outcome, now: Timestamp, deadline: Timestamp) -> Self {
        let finished = |name, reason: Option<&String>| Self::Finished { name, reason: reason.cloned() };
        let again =
            |at, reason: &str, name| Self::Again { at, reason: Some(reason.to_owned()), name, later: false };
        match outcome {
            Outcome::Delivered { .. } => finished(DELIVERED, None),
            Outcome::Retry { at, reason } | Outcome::Unknown { at, reason } if now.max(*at) > deadline => {
                let may_have_arrived = matches!(outcome, Outcome::Unknown { .. });
                finished(DEAD, Some(&Dropped::late(reason, may_have_arrived)))
            }
            Outcome::Retry { at, reason } => again(*at, reason, "retry"),
            Outcome::Unknown { at, reason } => again(*at, reason, UNKNOWN),
            Outcome::Postponed { at, reason } => again(*at, reason, POSTPONED),
            Outcome::Waits { at, reason } => {
                Self::Again { at: *at, reason: Some(reason.clone()), name: POSTPONED, later: true }
            }
            Outcome::Suppressed { reason } => finished(SUPPRESSED, Some(reason)),
            Outcome::Merged { into } => finished(MERGED, Some(&format!("told with {into}"))),
            Outcome::Dead { reason } | Outcome::Diverted { reason, .. } => finished(DEAD, Some(reason)),
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

    /// Why nobody is told, where that is the end.
    pub(super) fn dropped(&self) -> Option<Dropped> {
        match self {
            Self::Finished { reason, name } if [DEAD, SUPPRESSED].contains(name) => {
                Some(Dropped::of(reason.as_deref().unwrap_or_default()))
            }
            _ => None,
        }
    }

    /// True when the far end has it.
    pub(super) fn is_delivered(&self) -> bool {
        self.name() == DELIVERED
    }

    /// False when nothing was sent.
    pub(super) fn is_attempt(&self) -> bool {
        ![POSTPONED, SUPPRESSED, MERGED].contains(&self.name())
    }
}

/// Whether a try, a row `a` of `attempt`, may have arrived, in the SQL of every backend: it was tried again
/// for that reason, or given up, or given up when its deadline had passed.
pub(super) const MAY_HAVE_ARRIVED: &str = "(a.outcome = 'unknown' OR a.outcome = 'dead' AND
    (a.reason LIKE 'may have arrived%' OR a.reason LIKE 'deadline passed: may have arrived%'))";

/// Why nobody knows how a try of a claim that is lost has ended.
pub(super) const LOST: &str =
    "whoever claimed it has ended without a word, or took longer than its claim lasts";

/// What the far end said when it took something.
pub(super) fn answer(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Delivered { answer } => answer.as_deref(),
        _ => None,
    }
}

pub(super) const DELIVERED: &str = "delivered";
pub(super) const DEAD: &str = "dead";
pub(super) const UNKNOWN: &str = "unknown";
const POSTPONED: &str = "postponed";
pub(super) const SUPPRESSED: &str = "suppressed";
pub(super) const MERGED: &str = "merged";
