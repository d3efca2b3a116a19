//! What a collector has done, for the replay's report and the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::model::counters::add_counts;
use shared::script::ScriptCounts;

/// Totals of one interface, or of several added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorReport {
    /// Packets seen.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Flows that ended.
    pub flows: u64,
    /// Ended flows by layer-7 protocol.
    pub flows_by_protocol: BTreeMap<String, u64>,
    /// Hook calls by name.
    pub hooks: BTreeMap<String, u64>,
    /// Alerts by type and action.
    pub alerts: BTreeMap<String, BTreeMap<String, u64>>,
    /// Alerts by severity.
    pub alerts_by_severity: BTreeMap<String, u64>,
    /// Errors by kind: decoding, capture, scripts, loss.
    pub errors: BTreeMap<String, u64>,
    /// What flow scripts did, by key; not part of the report on paper: times differ from run to run.
    #[serde(skip)]
    pub scripts: BTreeMap<String, ScriptCounts>,
    /// Packets dropped before they were counted.
    #[serde(default)]
    pub drops: Drops,
    /// Counters of exporters whose flows are collected, by address and name.
    #[serde(default, skip_serializing_if = "no_exporters")]
    pub exporters: Arc<BTreeMap<String, BTreeMap<String, u64>>>,
}

/// Packets that never came to be counted, by who dropped them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// By the kernel, because its ring was full.
    pub kernel: u64,
    /// By the interface or its driver.
    pub interface: u64,
    /// By the capture itself, which took them and could not hand them on.
    pub own: u64,
}

impl Drops {
    /// All together.
    pub fn sum(&self) -> u64 {
        self.kernel + self.interface + self.own
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.kernel += other.kernel;
        self.interface += other.interface;
        self.own += other.own;
    }

    /// What is more here than in an earlier reading.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            kernel: self.kernel.saturating_sub(before.kernel),
            interface: self.interface.saturating_sub(before.interface),
            own: self.own.saturating_sub(before.own),
        }
    }
}

fn no_exporters(exporters: &BTreeMap<String, BTreeMap<String, u64>>) -> bool {
    exporters.is_empty()
}

impl CollectorReport {
    /// Adds another report.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.flows += other.flows;
        self.drops.add(&other.drops);
        add_counts(&mut self.flows_by_protocol, &other.flows_by_protocol);
        add_counts(&mut self.hooks, &other.hooks);
        add_counts(&mut self.errors, &other.errors);
        add_counts(&mut self.alerts_by_severity, &other.alerts_by_severity);
        for (script, counts) in &other.scripts {
            self.scripts.entry(script.clone()).or_default().add(counts);
        }
        if !other.exporters.is_empty() {
            let mine = Arc::make_mut(&mut self.exporters);
            for (exporter, counts) in other.exporters.iter() {
                add_counts(mine.entry(exporter.clone()).or_default(), counts);
            }
        }
        for (kind, actions) in &other.alerts {
            add_counts(self.alerts.entry(kind.clone()).or_default(), actions);
        }
    }

    /// Counts `count` errors of a kind.
    pub fn error(&mut self, kind: &str, count: u64) {
        if count > 0 {
            *self.errors.entry(kind.to_owned()).or_default() += count;
        }
    }
}
