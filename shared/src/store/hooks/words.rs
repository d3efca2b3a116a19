//! Why hooks run, where executions stand and how they end.

use serde::{Deserialize, Serialize};

/// Why a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunTrigger {
    /// Its event came.
    Event,
    /// Somebody asked for an execution to be done again.
    Retry,
    /// Somebody asked for past events.
    Replay,
    /// Somebody tries it out.
    Test,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// It did what it should.
    Success,
    /// It said that it failed, or could not be started.
    Failure,
    /// Its time was over.
    Timeout,
    /// A signal ended it, or the node's end did.
    Killed,
    /// It was not run; the reason says why.
    Skipped,
}

impl RunOutcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Success, Self::Failure, Self::Timeout, Self::Killed, Self::Skipped];

    /// The snake-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::Killed => "killed",
            Self::Skipped => "skipped",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// Records are kept by class, each apart from the others: what went wrong, what went well, and what
    /// was left out, of which there may be very much.
    pub(in crate::store) const fn class(self) -> i64 {
        match self {
            Self::Failure | Self::Timeout | Self::Killed => 0,
            Self::Success => 1,
            Self::Skipped => 2,
        }
    }

    /// True when nothing went wrong.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Success | Self::Skipped)
    }
}

impl RunTrigger {
    /// The snake-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Retry => "retry",
            Self::Replay => "replay",
            Self::Test => "test",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Event, Self::Retry, Self::Replay, Self::Test].into_iter().find(|known| known.name() == name)
    }
}

/// Where an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It waits.
    Queued,
    /// It runs.
    Running,
    /// It has ended.
    Done,
}

impl RunState {
    /// The snake-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Queued, Self::Running, Self::Done].into_iter().find(|known| known.name() == name)
    }
}
