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

static BUS_CONNECTION: LazyLock<Counter<u64>> = LazyLock::new(|| {
    opentelemetry::global::meter("flowhook")
        .u64_counter("flowhook.bus.connection")
        .with_description("Events of the connection to the bus")
        .build()
});

/// Counts an event of the connection to the bus, such as `connected` or `disconnected`.
pub fn bus_connection(event: &'static str) {
    BUS_CONNECTION.add(1, &[KeyValue::new("event", event)]);
}

static BUS_UNSETTLED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    opentelemetry::global::meter("flowhook")
        .u64_counter("flowhook.bus.unsettled")
        .with_description("Settlements and answers that could not be sent; their messages come again")
        .build()
});

/// Counts settlements and answers that could not be sent.
pub fn bus_unsettled(count: u64) {
    BUS_UNSETTLED.add(count, &[]);
}

static STORE_UNREACHABLE: LazyLock<Counter<u64>> = LazyLock::new(|| {
    opentelemetry::global::meter("flowhook")
        .u64_counter("flowhook.store.unreachable")
        .with_description("Tries to get a connection to the store's server that failed")
        .build()
});

/// Counts a try to get a connection to the store's server that failed.
pub fn store_connection_failed() {
    STORE_UNREACHABLE.add(1, &[]);
}
