//! Which exporters of flows are heard of, as events: by their counters, looked at from time to time.

use std::collections::BTreeMap;
use std::time::Duration;

use collector::report::CollectorReport;
use serde_json::json;
use shared::clock::SharedClock;
use shared::events::{Draft, Emitter};
use shared::model::Timestamp;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(10);

/// Seconds after which one is silent; exporters send what is live each minute.
const PATIENCE_S: i64 = 120;

/// What is known of one.
struct Known {
    /// All its counters together; whatever comes of it makes them more.
    counted: u64,
    changed_at: Timestamp,
    active: bool,
}

/// The exporters of this node. Pure.
#[derive(Default)]
pub struct Exporters(BTreeMap<String, Known>);

impl Exporters {
    /// Looks at their counters; tells who has become active, and who silent.
    pub fn look(&mut self, now: Timestamp, report: &CollectorReport) -> Vec<Draft> {
        let mut told = Vec::new();
        let mut tell = |name: &str, state, before, counters: &BTreeMap<String, u64>| {
            told.push(Draft::state("EXPORTER", name, state, before, json!({ "counters": counters })));
        };
        for (name, counters) in report.exporters.iter() {
            let counted = counters.values().fold(0, |sum: u64, count| sum.wrapping_add(*count));
            let Some(known) = self.0.get_mut(name) else {
                self.0.insert(name.clone(), Known { counted, changed_at: now, active: true });
                tell(name, "ACTIVE", None, counters);
                continue;
            };
            if known.counted != counted {
                (known.counted, known.changed_at) = (counted, now);
                if !std::mem::replace(&mut known.active, true) {
                    tell(name, "ACTIVE", Some("SILENT"), counters);
                }
            } else if known.active && known.changed_at.plus_secs(PATIENCE_S) <= now {
                known.active = false;
                tell(name, "SILENT", Some("ACTIVE"), counters);
            }
        }
        // Those that the collector has forgotten are silent for long.
        self.0.retain(|name, _| report.exporters.contains_key(name));
        told
    }
}

/// Looks for ever.
pub async fn watch(clock: SharedClock, events: Emitter, report: impl Fn() -> CollectorReport) {
    let mut exporters = Exporters::default();
    loop {
        for draft in exporters.look(clock.now(), &report()) {
            events.tell(draft);
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn exporters_are_active_until_nothing_comes_of_them() {
        let mut exporters = Exporters::default();
        let mut look = |secs, counts: &[(&str, u64)]| {
            let of = |(name, count): &(&str, u64)| {
                ((*name).to_owned(), BTreeMap::from([("records".to_owned(), *count)]))
            };
            let report = CollectorReport {
                exporters: Arc::new(counts.iter().map(of).collect()),
                ..Default::default()
            };
            let told = exporters.look(Timestamp::from_secs(secs), &report);
            told.iter().map(|draft| draft.subject.to_string()).collect::<Vec<_>>()
        };
        assert!(look(0, &[]).is_empty());
        assert_eq!(look(10, &[("192.0.2.1", 5)]), ["event.state.EXPORTER.ACTIVE._.192%2E0%2E2%2E1"]);
        assert!(look(100, &[("192.0.2.1", 6),]).is_empty());
        assert!(look(219, &[("192.0.2.1", 6)]).is_empty());
        assert_eq!(look(220, &[("192.0.2.1", 6)]), ["event.state.EXPORTER.SILENT._.192%2E0%2E2%2E1"]);
        assert!(look(500, &[("192.0.2.1", 6)]).is_empty(), "told once");
        assert_eq!(look(510, &[("192.0.2.1", 7)]), ["event.state.EXPORTER.ACTIVE._.192%2E0%2E2%2E1"]);
        assert!(look(520, &[]).is_empty());
    }
}
