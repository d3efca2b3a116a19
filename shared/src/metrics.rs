//! Counters of the shared parts. Every role has such a file; nothing else names a metric.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

static BUS_DROPPED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    opentelemetry::global::meter("flowhook")
        .u64_counter("flowhook.bus.dropped")
        .with_description("Messages of quality at-most-once that a slow subscriber lost")
        .build()
});

/// Counts messages that a subscriber of `filter` lost because it was slow.
pub fn bus_dropped(filter: &str, count: u64) {
    BUS_DROPPED.add(count, &[KeyValue::new("filter", filter.to_owned())]);
}
