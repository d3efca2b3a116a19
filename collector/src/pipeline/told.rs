//! Alerts about the interface as a whole, and the count of all alerts.

use shared::model::{Alert, Timestamp};

use super::{Item, Pipeline};
use crate::flow_alert;

impl Pipeline {
    /// Tells of something that happened to the interface as a whole.
    pub fn tell(
        &mut self,
        kind: &str,
        severity: shared::model::Severity,
        message: String,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) {
        let alert = flow_alert::interface_alert(&self.parts.place, kind, severity, message, now);
        self.count_alert(&alert);
        out.push(Item::Alert(Box::new(alert)));
    }

    /// Says that `periodicUpdate` is skipped from now on because the interface cannot keep up.
    pub fn tell_overload(&mut self, out: &mut Vec<Item>) {
        let alert = flow_alert::interface_alert(
            &self.parts.place,
            "hook_calls_skipped",
            shared::model::Severity::Warning,
            "The interface cannot keep up: periodicUpdate is skipped until it can".to_owned(),
            self.parts.table.now(),
        );
        self.count_alert(&alert);
        out.push(Item::Alert(Box::new(alert)));
    }

    /// Counts an alert for the report.
    pub(super) fn count_alert(&mut self, alert: &Alert) {
        let actions = self.report.alerts.entry(alert.alert_type.clone()).or_default();
        *actions.entry(alert.action.to_string()).or_default() += 1;
        *self.report.alerts_by_severity.entry(alert.severity.to_string()).or_default() += 1;
    }
}
