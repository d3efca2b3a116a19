//! What a script has done.

use serde::{Deserialize, Serialize};

/// What one script has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScriptCounts {
    /// Calls of its hooks.
    pub calls: u64,
    /// Calls that failed, `setup` and `teardown` included.
    pub errors: u64,
    /// Microseconds of wall time its hooks took.
    pub micros: u64,
    /// Times that it failed too often and was not called for a while.
    pub quarantined: u64,
    /// Events of its hooks (flow scripts) and runs (element scripts) that it was left out of, because it
    /// failed or cost too much.
    pub skips: u64,
}

impl ScriptCounts {
    /// Adds another script's counts, or the same one's from elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.errors = self.errors.saturating_add(other.errors);
        self.micros = self.micros.saturating_add(other.micros);
        self.quarantined = self.quarantined.saturating_add(other.quarantined);
        self.skips = self.skips.saturating_add(other.skips);
    }

    /// What is more here than `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            errors: self.errors.saturating_sub(before.errors),
            micros: self.micros.saturating_sub(before.micros),
            quarantined: self.quarantined.saturating_sub(before.quarantined),
            skips: self.skips.saturating_sub(before.skips),
        }
    }
}
