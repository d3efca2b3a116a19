//! What an aggregator has done, for the replay's report.

use std::collections::BTreeMap;

use shared::model::counters::add_counts;
use shared::model::metric::{Metrics, add_metrics};
use shared::script::ScriptCounts;

/// Totals of one partition, or of several added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AggregatorReport {
    /// Hook calls by name.
    pub hooks: BTreeMap<String, u64>,
    /// Runs of element hooks by period and kind.
    pub runs: BTreeMap<(String, String), RunCounts>,
    /// Alerts by type and action.
    pub alerts: BTreeMap<String, BTreeMap<String, u64>>,
    /// Alerts by severity; releases are not counted again.
    pub alerts_by_severity: BTreeMap<String, u64>,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// Element scripts by key.
    pub scripts: BTreeMap<String, ScriptCounts>,
    /// What went wrong last with element scripts, by key.
    pub last_errors: BTreeMap<String, String>,
    /// Numbers that scripts noted, as `<script>.<name>`.
    pub noted: Metrics,
}

/// How runs of one period and kind went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// How many there were.
    pub runs: u64,
    /// Elements that they reached.
    pub reached: u64,
    /// Elements that they did not reach before their deadline.
    pub missed: u64,
    /// Microseconds of wall time that they took.
    pub micros: u64,
}

impl RunCounts {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        let sum = |a: u64, b: u64| a.saturating_add(b);
        *self = Self {
            runs: sum(self.runs, other.runs),
            reached: sum(self.reached, other.reached),
            missed: sum(self.missed, other.missed),
            micros: sum(self.micros, other.micros),
        };
    }
}

impl AggregatorReport {
    /// Adds another report.
    pub fn add(&mut self, other: &Self) {
        add_counts(&mut self.hooks, &other.hooks);
        for (run, counts) in &other.runs {
            self.runs.entry(run.clone()).or_default().add(counts);
        }
        add_counts(&mut self.alerts_by_severity, &other.alerts_by_severity);
        add_counts(&mut self.errors, &other.errors);
        for (key, counts) in &other.scripts {
            self.scripts.entry(key.clone()).or_default().add(counts);
        }
        self.last_errors.extend(other.last_errors.clone());
        add_metrics(&mut self.noted, other.noted.clone());
        for (kind, actions) in &other.alerts {
            add_counts(self.alerts.entry(kind.clone()).or_default(), actions);
        }
    }
}
