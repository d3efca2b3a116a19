//! Alerts about the interface as a whole, and the count of all alerts.

use std::collections::BTreeMap;

use shared::model::{AlertAction, Severity, Timestamp};

use super::{Item, Pipeline};
use crate::flow_alert;

impl Pipeline {
    /// Tells of something that happened to the interface as a whole.
    pub fn tell(
        &mut self,
        kind: &str,
        severity: Severity,
        message: String,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) {
        let alert = flow_alert::interface_alert(&self.parts.place, kind, severity, message, now);
        self.count_alert(&alert.alert_type, alert.action, alert.severity);
        out.push(Item::Alert(Box::new(alert)));
    }

    /// Says that `periodicUpdate` is skipped from now on because the interface cannot keep up.
    pub fn tell_overload(&mut self, out: &mut Vec<Item>) {
        let alert = flow_alert::interface_alert(
            &self.parts.place,
            "hook_calls_skipped",
            Severity::Warning,
            "The interface cannot keep up: periodicUpdate is skipped until it can".to_owned(),
            self.parts.table.now(),
        );
        self.count_alert(&alert.alert_type, alert.action, alert.severity);
        out.push(Item::Alert(Box::new(alert)));
    }

    /// Counts an alert for the report.
    pub(super) fn count_alert(&mut self, alert_type: &str, action: AlertAction, severity: Severity) {
        let report = &mut self.report;
        if !report.alerts.contains_key(alert_type) {
            report.alerts.insert(alert_type.to_owned(), BTreeMap::new());
        }
        if let Some(actions) = report.alerts.get_mut(alert_type) {
            add_one(actions, action.name());
        }
        add_one(&mut report.alerts_by_severity, severity.name());
    }
}

/// Names are few and alerts many: a name is copied when it comes for the first time.
fn add_one(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}
