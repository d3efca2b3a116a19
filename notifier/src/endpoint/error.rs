//! How deliveries end that did not arrive.

use std::time::Duration;

/// Why a delivery did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It may arrive next time.
    #[error("{reason}")]
    Retry {
        /// How long the far end asks everybody to wait; it is alive. `None` counts as a failure of
        /// the endpoint.
        after: Option<Duration>,
        /// Why, without secrets.
        reason: String,
    },
    /// Nothing was tried, because this process has no room for it at the moment: nobody's failure.
    #[error("{reason}")]
    NoRoom {
        /// What takes the room.
        reason: &'static str,
    },
    /// It was sent, and whether it arrived is not known.
    #[error("{reason}")]
    Unknown {
        /// Why it is not known, without secrets.
        reason: String,
    },
    /// The far end takes nothing from us as we come to it: credentials or address are wrong, or whoever
    /// it was is gone. Tried seldom until somebody has changed that.
    #[error("{reason}")]
    Refused {
        /// Why, without secrets.
        reason: String,
    },
    /// It will not arrive next time either.
    #[error("{reason}")]
    Permanent {
        /// Why, without secrets.
        reason: String,
    },
}

impl DeliveryError {
    /// To be tried again because of `reason`.
    pub fn retry(reason: impl std::fmt::Display) -> Self {
        Self::Retry { after: None, reason: reason.to_string() }
    }

    /// Perhaps arrived; why that is not known.
    pub fn unknown(reason: impl std::fmt::Display) -> Self {
        Self::Unknown { reason: reason.to_string() }
    }

    /// Not taken from us at all because of `reason`.
    pub fn refused(reason: impl std::fmt::Display) -> Self {
        Self::Refused { reason: reason.to_string() }
    }

    /// To be given up because of `reason`.
    pub fn permanent(reason: impl std::fmt::Display) -> Self {
        Self::Permanent { reason: reason.to_string() }
    }
}

/// How a delivery ended, with what the far end said.
pub type Told = Result<Option<String>, DeliveryError>;
