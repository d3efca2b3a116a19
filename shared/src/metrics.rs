//! Counters of the shared parts. Every role has such a file; nothing else names a metric.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge};

use crate::clock::{Clock, SystemClock};

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

static EVENT_LOST: LazyLock<Counter<u64>> = LazyLock::new(|| {
    opentelemetry::global::meter("flowhook")
        .u64_counter("flowhook.events.lost")
        .with_description("Events that were not told, because too many waited or the process was stopping")
        .build()
});

/// Counts an event that was not told.
pub fn event_lost() {
    EVENT_LOST.add(1, &[]);
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

static SCRIPT_INFO: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    opentelemetry::global::meter("flowhook")
        .u64_gauge("flowhook.script.info")
        .with_description("1 for the version and hash of a script that is in force, 0 for those before")
        .build()
});

/// A script's key, the version that it says it is, and the hash of its text.
type Version = (String, String, String);

/// Tells which scripts are in force.
pub fn scripts_in_force(scripts: impl Iterator<Item = Version>) {
    static TOLD: Mutex<BTreeSet<Version>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let now: BTreeSet<Version> = scripts.collect();
    let record = |(script, version, hash): &Version, level| {
        let labels = [("script", script), ("version", version), ("hash", hash)];
        SCRIPT_INFO.record(level, &labels.map(|(name, value)| KeyValue::new(name, value.clone())));
    };
    told.difference(&now).for_each(|gone| record(gone, 0));
    now.iter().for_each(|script| record(script, 1));
    *told = now;
}

static SCRIPT_FAILED: LazyLock<Gauge<i64>> = LazyLock::new(|| {
    opentelemetry::global::meter("flowhook")
        .i64_gauge("flowhook.script.last_error")
        .with_unit("s")
        .with_description("When a call of a script was last seen to have failed, in seconds since 1970")
        .build()
});

/// Calls of a script have failed; what they said is in the API.
pub fn script_failed(script: &str) {
    let label = [KeyValue::new("script", script.to_owned())];
    SCRIPT_FAILED.record(SystemClock.now().secs(), &label);
}
