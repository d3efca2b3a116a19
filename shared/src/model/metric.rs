//! Numbers that have names of their own: of layer-7 protocols, and what scripts keep.

use std::collections::BTreeMap;

use serde::Serialize;

/// Numbers by name.
pub type Metrics = BTreeMap<String, Metric>;

/// What was noted under one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Metric {
    /// True for a level, whose periods show the mean; else a count, whose periods show the sum.
    pub gauge: bool,
    /// Sum of what was noted.
    pub sum: f64,
    /// How often something was noted.
    pub count: u64,
}

impl Metric {
    /// Something noted once.
    pub fn once(gauge: bool, value: f64) -> Self {
        Self { gauge, sum: value, count: 1 }
    }

    /// What a period shows.
    pub fn value(&self) -> f64 {
        if self.gauge && self.count > 0 { self.sum / self.count as f64 } else { self.sum }
    }

    /// Adds another of the same name.
    pub fn add(&mut self, other: &Self) {
        self.gauge = other.gauge;
        self.sum += other.sum;
        self.count = self.count.saturating_add(other.count);
    }
}

/// Adds every one of `more`.
pub fn add_metrics(to: &mut Metrics, more: Metrics) {
    for (name, metric) in more {
        to.entry(name).or_default().add(&metric);
    }
}

/// True for what a series may be called: up to 64 letters, digits, `_`, `-` and `.`.
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=64).contains(&name.len()) && name.chars().all(fits)
}
