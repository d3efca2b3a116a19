//! What follows when an interface's capture has failed.

use std::sync::Arc;
use std::time::Duration;

use shared::backoff::{Backoff, unit_random};
use shared::model::Severity;

use super::{Slot, SupervisorState};
use crate::flow_alert;

impl SupervisorState {
    /// Tells of an interface whose capture has ended.
    pub(super) async fn tell(&self, place: usize, kind: &str, severity: Severity, text: String) {
        let Some(slot) = self.slots.get(place) else { return };
        let now = self.deps.clock.now();
        let alert = flow_alert::interface_alert(&slot.args.place, kind, severity, text, now);
        let (bus, subjects) = (Arc::clone(&self.deps.bus), self.deps.subjects.clone());
        let (sender, items) = tokio::sync::mpsc::channel(1);
        tokio::spawn(crate::publisher::run(bus, subjects, false, items, None));
        let _ = sender.send(vec![crate::pipeline::Item::Alert(Box::new(alert))]).await;
    }
}

impl Slot {
    /// When to try a failed capture again: 1 s, doubling, at most 60 s; from the start again after
    /// it has worked for a minute.
    pub(super) fn next_try(&mut self, now: shared::model::Timestamp, seed: u64) -> Duration {
        let worked = now.since(self.started_at) > 60 * shared::model::time::NS_PER_S;
        self.failures = if worked { 1 } else { self.failures + 1 };
        let backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) };
        backoff.wait(self.failures, unit_random(seed ^ u64::from(self.failures)))
    }

    /// Keeps what the ended run did, and counts what was lost with it.
    pub(super) fn keep_totals(&self) {
        if let Ok(mut totals) = self.args.totals.lock() {
            totals.shard(0).error("interface_restarts", 1);
            for ended in std::mem::take(&mut totals.current) {
                totals.before.add(&ended);
            }
            totals.live_flows.clear();
            totals.opened = false;
            totals.failure = None;
        }
    }
}
