//! How long deliveries take. Pure.

use std::collections::VecDeque;

use serde::Serialize;
use shared::model::Timestamp;

/// Deliveries remembered.
const KEPT: usize = 512;

/// The latest deliveries of one recipient.
#[derive(Debug, Default)]
pub struct Latencies {
    ns: VecDeque<i64>,
    last: Option<Timestamp>,
}

/// What is shown of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LatencyStats {
    /// When the last delivery was made in this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Milliseconds from acceptance to delivery of half of the latest deliveries; 0 before the first.
    pub p50_ms: f64,
    /// Of 99 in 100.
    pub p99_ms: f64,
}

impl Latencies {
    /// A delivery was made at `at`, so many nanoseconds after it was accepted.
    pub fn note(&mut self, ns: i64, at: Timestamp) {
        if self.ns.len() == KEPT {
            self.ns.pop_front();
        }
        self.ns.push_back(ns);
        self.last = Some(at);
    }

    /// Of the latest deliveries.
    pub fn stats(&self) -> LatencyStats {
        let mut sorted: Vec<i64> = self.ns.iter().copied().collect();
        sorted.sort_unstable();
        let at = |hundredth: usize| {
            let place = (sorted.len() * hundredth / 100).min(sorted.len().saturating_sub(1));
            sorted.get(place).map_or(0.0, |ns| *ns as f64 / 1e6)
        };
        LatencyStats { last_success: self.last, p50_ms: at(50), p99_ms: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_latest() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.stats(), LatencyStats::default());
        (0..1000).for_each(|n| latencies.note(1_000_000_000, Timestamp::from_secs(n)));
        (1..=KEPT as i64).for_each(|n| latencies.note(n * 1_000_000, Timestamp::from_secs(2000 + n)));
        let stats = latencies.stats();
        assert_eq!((stats.p50_ms, stats.p99_ms), (257.0, 507.0));
        assert_eq!(stats.last_success, Some(Timestamp::from_secs(2512)));
    }
}
