//! Counters of the collector. Nothing else in this crate names a metric.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge};

use crate::report::CollectorReport;

struct Instruments {
    packets: Counter<u64>,
    bytes: Counter<u64>,
    flows: Counter<u64>,
    hooks: Counter<u64>,
    alerts: Counter<u64>,
    errors: Counter<u64>,
    drops: Counter<u64>,
    exports: Counter<u64>,
    live_flows: Gauge<u64>,
    script_calls: Counter<u64>,
    script_errors: Counter<u64>,
    script_skips: Counter<u64>,
    script_time: Counter<u64>,
    restarts: Counter<u64>,
    append_retries: Counter<u64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = opentelemetry::global::meter("flowhook");
    let counter =
        |name: &'static str, text: &'static str| meter.u64_counter(name).with_description(text).build();
    Instruments {
        packets: counter("flowhook.collector.packets", "Packets seen"),
        bytes: counter("flowhook.collector.wire_bytes", "Bytes seen on the wire"),
        flows: counter("flowhook.collector.flows_ended", "Flows that ended"),
        hooks: counter("flowhook.collector.hook_calls", "Flow hook calls by hook"),
        alerts: counter("flowhook.collector.alerts", "Flow alerts by type"),
        errors: counter("flowhook.collector.errors", "Errors by kind"),
        drops: counter("flowhook.collector.drops", "Packets dropped before they were counted, by whom"),
        exports: counter("flowhook.collector.exports", "Counters of exporters by name"),
        live_flows: meter
            .u64_gauge("flowhook.collector.live_flows")
            .with_description("Flows in the table")
            .build(),
        script_calls: counter("flowhook.collector.script_calls", "Flow hook calls by script"),
        script_errors: counter("flowhook.collector.script_errors", "Failed calls by script"),
        script_skips: counter("flowhook.collector.script_skips", "Calls left out of a failing script"),
        script_time: meter
            .u64_counter("flowhook.collector.script_time")
            .with_unit("us")
            .with_description("Wall time of flow hooks by script, from one call in 64")
            .build(),
        restarts: counter("flowhook.collector.restarts", "Interfaces started again after a failure"),
        append_retries: counter("flowhook.collector.append_retries", "Messages the bus refused at first"),
    }
});

/// Publishes what `now` has more than `before`, and how many flows live on the whole interface.
pub fn publish(interface: &str, before: &CollectorReport, now: &CollectorReport, live_flows: usize) {
    let on = |key: &'static str, value: &str| {
        [KeyValue::new("interface", interface.to_owned()), KeyValue::new(key, value.to_owned())]
    };
    let plain = [KeyValue::new("interface", interface.to_owned())];
    let all = &*INSTRUMENTS;
    all.packets.add(now.packets - before.packets, &plain);
    all.bytes.add(now.bytes - before.bytes, &plain);
    all.flows.add(now.flows - before.flows, &plain);
    all.live_flows.record(live_flows as u64, &plain);
    for (hook, count) in grown(&before.hooks, &now.hooks) {
        all.hooks.add(count, &on("hook", hook));
    }
    for (kind, count) in grown(&before.errors, &now.errors) {
        all.errors.add(count, &on("kind", kind));
    }
    for (script, counts) in &now.scripts {
        let told = before.scripts.get(script).copied().unwrap_or_default();
        let (new, label) = (counts.since(&told), on("script", script));
        if new.errors > 0 {
            shared::metrics::script_failed(script);
        }
        all.script_calls.add(new.calls, &label);
        all.script_errors.add(new.errors, &label);
        all.script_skips.add(new.skips, &label);
        all.script_time.add(new.micros, &label);
    }
    let drops = now.drops.since(&before.drops);
    for (by, count) in [("kernel", drops.kernel), ("interface", drops.interface), ("capture", drops.own)] {
        // Also when there is none: a series that begins with the first drop hides it.
        all.drops.add(count, &on("by", by));
    }
    if !std::sync::Arc::ptr_eq(&before.exporters, &now.exporters) {
        publish_exporters(interface, before, now);
    }
    for (alert, actions) in &now.alerts {
        let sum = |actions: &BTreeMap<String, u64>| actions.values().sum::<u64>();
        let told = before.alerts.get(alert).map_or(0, sum);
        all.alerts.add(sum(actions) - told, &on("type", alert));
    }
}

fn publish_exporters(interface: &str, before: &CollectorReport, now: &CollectorReport) {
    let nothing = BTreeMap::new();
    for (exporter, counts) in now.exporters.iter() {
        for (name, count) in grown(before.exporters.get(exporter).unwrap_or(&nothing), counts) {
            let on = [
                KeyValue::new("interface", interface.to_owned()),
                KeyValue::new("exporter", exporter.clone()),
                KeyValue::new("name", name.clone()),
            ];
            INSTRUMENTS.exports.add(count, &on);
        }
    }
}

fn grown<'a>(
    before: &'a BTreeMap<String, u64>,
    now: &'a BTreeMap<String, u64>,
) -> impl Iterator<Item = (&'a String, u64)> {
    now.iter()
        .map(|(name, count)| (name, count.saturating_sub(before.get(name).copied().unwrap_or(0))))
        .filter(|(_, n)| *n > 0)
}

/// An interface was started again.
pub fn restarted(interface: &str) {
    INSTRUMENTS.restarts.add(1, &[KeyValue::new("interface", interface.to_owned())]);
}

/// The bus refused a message, which is tried again.
pub fn append_retried(kind: &'static str) {
    INSTRUMENTS.append_retries.add(1, &[KeyValue::new("kind", kind)]);
}
