//! How tries of a delivery end, the same in every backend.

use crate::model::Timestamp;
use crate::store::Outcome;

/// An outcome after the deadline had its say.
pub(super) enum End<'a> {
    Delivered,
    Retry { at: Timestamp, reason: &'a str },
    Dead { reason: String },
}

impl<'a> End<'a> {
    /// How a try ends at `now`.
    pub(super) fn of(outcome: &'a Outcome, now: Timestamp, deadline: Timestamp) -> Self {
        match outcome {
            Outcome::Delivered => Self::Delivered,
            Outcome::Retry { at, reason } if now.max(*at) > deadline => {
                Self::Dead { reason: format!("deadline passed: {reason}") }
            }
            Outcome::Retry { at, reason } => Self::Retry { at: *at, reason },
            Outcome::Dead { reason } | Outcome::Diverted { reason, .. } => {
                Self::Dead { reason: reason.clone() }
            }
        }
    }

    /// As the state of a finished delivery and the outcome of an attempt are called in the tables.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Dead { .. } => "dead",
        }
    }

    /// Why, when it was not delivered.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Delivered => None,
            Self::Retry { reason, .. } => Some(reason),
            Self::Dead { reason } => Some(reason),
        }
    }
}
