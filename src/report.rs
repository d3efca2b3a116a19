//! What a process has done, as JSON and as text for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aggregator::AggregatorReport;
use collector::report::CollectorReport;
use serde::Serialize;
use shared::model::counters::add_counts;

/// Counts by name.
pub type Counts = BTreeMap<String, u64>;

/// The report of `flowhook replay`. Everything but `elapsed_s` is the same for every replay of the
/// same files.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Packets seen.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Flows that ended.
    pub flows: u64,
    /// Ended flows by layer-7 protocol.
    pub flows_by_protocol: Counts,
    /// Hook calls by name.
    pub hooks: Counts,
    /// Alerts by type and action.
    pub alerts: BTreeMap<String, Counts>,
    /// Alerts by severity; one-shot and engaged ones.
    pub alerts_by_severity: Counts,
    /// Deliveries by recipient and outcome.
    pub deliveries: BTreeMap<String, Counts>,
    /// Errors by kind.
    pub errors: Counts,
    /// Counters of exporters whose flows were collected, by address.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exporters: BTreeMap<String, Counts>,
    /// Wall-clock seconds from the first packet to the last delivery.
    pub elapsed_s: f64,
}

impl Report {
    /// Adds what the collector did.
    pub fn add_collector(&mut self, report: CollectorReport) {
        self.packets += report.packets;
        self.bytes += report.bytes;
        self.flows += report.flows;
        add_counts(&mut self.flows_by_protocol, &report.flows_by_protocol);
        add_counts(&mut self.hooks, &report.hooks);
        add_counts(&mut self.errors, &report.errors);
        for (exporter, counts) in report.exporters.iter() {
            add_counts(self.exporters.entry(exporter.clone()).or_default(), counts);
        }
        add_counts(&mut self.alerts_by_severity, &report.alerts_by_severity);
        for (kind, actions) in report.alerts {
            add_counts(self.alerts.entry(kind).or_default(), &actions);
        }
    }

    /// Adds what the aggregator did.
    pub fn add_aggregator(&mut self, report: AggregatorReport) {
        add_counts(&mut self.hooks, &report.hooks);
        add_counts(&mut self.errors, &report.errors);
        add_counts(&mut self.alerts_by_severity, &report.alerts_by_severity);
        for (kind, actions) in report.alerts {
            add_counts(self.alerts.entry(kind).or_default(), &actions);
        }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let rate = if self.elapsed_s > 0.0 { self.packets as f64 / self.elapsed_s } else { 0.0 };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "packets     {}", self.packets);
        let _ = writeln!(text, "bytes       {}", self.bytes);
        let _ = writeln!(text, "flows       {}", self.flows);
        let _ = writeln!(text, "protocols   {}", line(&self.flows_by_protocol));
        let _ = writeln!(text, "hooks       {}", line(&self.hooks));
        let _ = writeln!(text, "alerts      {}", line(&self.alerts_by_severity));
        for (kind, actions) in &self.alerts {
            let _ = writeln!(text, "  {kind:<24} {}", line(actions));
        }
        let _ = writeln!(text, "deliveries");
        for (recipient, outcomes) in &self.deliveries {
            let _ = writeln!(text, "  {recipient:<24} {}", line(outcomes));
        }
        let _ = writeln!(text, "errors      {}", line(&self.errors));
        let _ = writeln!(text, "elapsed     {:.3} s, {rate:.0} packets/s", self.elapsed_s);
        text
    }
}

/// Counts in one line, the largest first; `none` when there are none.
fn line(counts: &Counts) -> String {
    let mut shown: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
    shown.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    if shown.is_empty() {
        return "none".to_owned();
    }
    shown.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_with_the_largest_and_hide_nothing_but_zero() {
        let counts = Counts::from([("a".into(), 1), ("b".into(), 7), ("c".into(), 0), ("d".into(), 1)]);
        assert_eq!(line(&counts), "b 7, a 1, d 1");
        assert_eq!(line(&Counts::new()), "none");
    }
}
