//! Counters of the aggregator. Nothing else in this crate names a metric.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Meter};

use shared::model::metric::Metric;

use crate::element::watch::Round;
use crate::report::AggregatorReport;

struct Instruments {
    hooks: Counter<u64>,
    alerts: Counter<u64>,
    errors: Counter<u64>,
    lost: Counter<u64>,
    restarts: Counter<u64>,
    runs: Counter<u64>,
    run_elements: Counter<u64>,
    run_seconds: Counter<f64>,
    script_calls: Counter<u64>,
    script_errors: Counter<u64>,
    script_time: Counter<u64>,
    script_skips: Counter<u64>,
    script_counts: Counter<f64>,
    script_levels: Gauge<f64>,
    hosts: Gauge<u64>,
    engaged: Gauge<u64>,
    backlog: Gauge<u64>,
    probes: Counter<u64>,
    rtt: Gauge<f64>,
    up: Gauge<u64>,
    log_lines: Counter<u64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter: Meter = opentelemetry::global::meter("flowhook");
    let counter =
        |name: &'static str, text: &'static str| meter.u64_counter(name).with_description(text).build();
    let gauge = |name: &'static str, text: &'static str| meter.u64_gauge(name).with_description(text).build();
    Instruments {
        hooks: counter("flowhook.aggregator.hook_calls", "Element hook calls by period"),
        alerts: counter("flowhook.aggregator.alerts", "Alert transitions by type and action"),
        errors: counter("flowhook.aggregator.errors", "Errors by kind"),
        lost: counter("flowhook.aggregator.lost", "Messages lost by kind"),
        restarts: counter("flowhook.aggregator.restarts", "Shards and tasks started again after a failure"),
        runs: counter("flowhook.aggregator.runs", "Runs of element hooks by period and kind"),
        run_elements: counter(
            "flowhook.aggregator.run_elements",
            "Elements of runs by period, kind and whether the run reached them before its deadline",
        ),
        run_seconds: meter
            .f64_counter("flowhook.aggregator.run_seconds")
            .with_unit("s")
            .with_description("Wall time of runs by period and kind")
            .build(),
        script_calls: counter("flowhook.aggregator.script_calls", "Element hook calls by script"),
        script_errors: counter("flowhook.aggregator.script_errors", "Failed calls by script"),
        script_skips: counter("flowhook.aggregator.script_skips", "Runs left out of a failing script"),
        script_counts: meter
            .f64_counter("flowhook.script.counts")
            .with_description("What scripts count, by script and name")
            .build(),
        script_levels: meter
            .f64_gauge("flowhook.script.levels")
            .with_description(
                "Mean since the last minute of the levels that scripts note, by script and name",
            )
            .build(),
        script_time: meter
            .u64_counter("flowhook.aggregator.script_time")
            .with_unit("us")
            .with_description("Wall time of element hooks by script")
            .build(),
        hosts: gauge("flowhook.aggregator.hosts", "Hosts kept, by partition"),
        engaged: gauge("flowhook.aggregator.engaged_alerts", "Alerts engaged, by partition"),
        backlog: gauge("flowhook.aggregator.backlog", "Deltas taken from the bus and not yet applied"),
        probes: counter("flowhook.aggregator.probes", "Probes of active monitoring by measure and result"),
        rtt: meter
            .f64_gauge("flowhook.aggregator.probe_rtt")
            .with_unit("ms")
            .with_description("Mean round-trip time of the last round, by host")
            .build(),
        up: gauge("flowhook.aggregator.probe_up", "1 when a probe of the last round was answered, by host"),
        log_lines: counter("flowhook.aggregator.log_lines", "Log lines received, by what became of them"),
    }
});

/// Publishes what `now` has more than `before`.
pub fn publish(before: &AggregatorReport, now: &AggregatorReport) {
    let all = &*INSTRUMENTS;
    let grown = |then: Option<&u64>, now: u64| now.saturating_sub(then.copied().unwrap_or(0));
    for (hook, count) in &now.hooks {
        all.hooks.add(grown(before.hooks.get(hook), *count), &[KeyValue::new("hook", hook.clone())]);
    }
    for (run @ (period, kind), counts) in &now.runs {
        let told = before.runs.get(run).copied().unwrap_or_default();
        let label = || [KeyValue::new("period", period.clone()), KeyValue::new("kind", kind.clone())];
        all.runs.add(grown(Some(&told.runs), counts.runs), &label());
        all.run_seconds.add(grown(Some(&told.micros), counts.micros) as f64 / 1e6, &label());
        for (reached, told, count) in
            [(true, told.reached, counts.reached), (false, told.missed, counts.missed)]
        {
            let [period, kind] = label();
            all.run_elements
                .add(grown(Some(&told), count), &[period, kind, KeyValue::new("reached", reached)]);
        }
    }
    for (kind, count) in &now.errors {
        all.errors.add(grown(before.errors.get(kind), *count), &[KeyValue::new("kind", kind.clone())]);
    }
    for (key, counts) in &now.scripts {
        let told = before.scripts.get(key).copied().unwrap_or_default();
        let label = [KeyValue::new("script", key.clone())];
        if counts.errors > told.errors {
            shared::metrics::script_failed(key);
        }
        all.script_calls.add(grown(Some(&told.calls), counts.calls), &label);
        all.script_errors.add(grown(Some(&told.errors), counts.errors), &label);
        all.script_time.add(grown(Some(&told.micros), counts.micros), &label);
        all.script_skips.add(grown(Some(&told.skips), counts.skips), &label);
    }
    for (name, metric) in &now.noted {
        let told = before.noted.get(name).copied().unwrap_or_default();
        let grown =
            Metric { sum: metric.sum - told.sum, count: metric.count.saturating_sub(told.count), ..*metric };
        let (script, own) = name.split_once('.').unwrap_or((name, ""));
        let label = [KeyValue::new("script", script.to_owned()), KeyValue::new("name", own.to_owned())];
        match metric.gauge {
            true if grown.count > 0 => all.script_levels.record(grown.value(), &label),
            true => {}
            false => all.script_counts.add(grown.sum.max(0.0), &label),
        }
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

/// How full a partition is: alerts engaged and hosts kept.
pub fn levels(partition: u32, (engaged, hosts): (u64, u64)) {
    let label = [KeyValue::new("partition", i64::from(partition))];
    INSTRUMENTS.engaged.record(engaged, &label);
    INSTRUMENTS.hosts.record(hosts, &label);
}

/// A round of probes of a host has ended.
pub fn probed(measure: &str, host: &str, round: &Round) {
    let all = &*INSTRUMENTS;
    let replies = round.rtts_us.len() as u64;
    let lost = u64::from(round.sent).saturating_sub(replies);
    for (result, count) in [("answered", replies), ("failed", lost)] {
        let labels = [KeyValue::new("measure", measure.to_owned()), KeyValue::new("result", result)];
        all.probes.add(count, &labels);
    }
    let label = [KeyValue::new("host", host.to_owned())];
    all.up.record(u64::from(replies > 0), &label);
    if let Some(ms) = round.rtt_ms() {
        all.rtt.record(ms, &label);
    }
}

/// Log lines have come: `read`, `lost`, or why they are malformed.
pub fn log_lines(outcome: &'static str, count: u64) {
    INSTRUMENTS.log_lines.add(count, &[KeyValue::new("outcome", outcome)]);
}

/// Deltas under way in all shards.
pub fn backlog(deltas: u64) {
    INSTRUMENTS.backlog.record(deltas, &[]);
}

/// A shard or a task was started again.
pub fn restarted() {
    INSTRUMENTS.restarts.add(1, &[]);
}

/// A shard was ended because its lease was lost.
pub fn lease_lost() {
    lost("lease");
}
