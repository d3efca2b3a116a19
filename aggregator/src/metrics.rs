//! Counters of the aggregator. Nothing else in this crate names a metric.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};

use crate::report::AggregatorReport;

struct Instruments {
    hooks: Counter<u64>,
    alerts: Counter<u64>,
    errors: Counter<u64>,
    lost: Counter<u64>,
    restarts: Counter<u64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter: Meter = opentelemetry::global::meter("flowhook");
    let counter =
        |name: &'static str, text: &'static str| meter.u64_counter(name).with_description(text).build();
    Instruments {
        hooks: counter("flowhook.aggregator.hook_calls", "Element hook calls by period"),
        alerts: counter("flowhook.aggregator.alerts", "Alert transitions by type and action"),
        errors: counter("flowhook.aggregator.errors", "Errors by kind"),
        lost: counter("flowhook.aggregator.lost", "Messages lost by kind"),
        restarts: counter("flowhook.aggregator.restarts", "Shards started again after a failure"),
    }
});

/// Publishes what `now` has more than `before`.
pub fn publish(before: &AggregatorReport, now: &AggregatorReport) {
    let all = &*INSTRUMENTS;
    let grown = |then: Option<&u64>, now: u64| now.saturating_sub(then.copied().unwrap_or(0));
    for (hook, count) in &now.hooks {
        all.hooks.add(grown(before.hooks.get(hook), *count), &[KeyValue::new("hook", hook.clone())]);
    }
    for (kind, count) in &now.errors {
        all.errors.add(grown(before.errors.get(kind), *count), &[KeyValue::new("kind", kind.clone())]);
    }
    for (kind, actions) in &now.alerts {
        let told = before.alerts.get(kind);
        for (action, count) in actions {
            let labels = [KeyValue::new("type", kind.clone()), KeyValue::new("action", action.clone())];
            all.alerts.add(grown(told.and_then(|t| t.get(action)), *count), &labels);
        }
    }
}

/// A message of this kind was lost.
pub fn lost(kind: &'static str) {
    INSTRUMENTS.lost.add(1, &[KeyValue::new("kind", kind)]);
}

/// A shard was started again.
pub fn restarted() {
    INSTRUMENTS.restarts.add(1, &[]);
}
