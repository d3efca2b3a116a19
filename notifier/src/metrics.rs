//! Counters of the notifier. Nothing else in this crate names a metric.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram};
use shared::model::Timestamp;
use shared::store::hooks::RunOutcome;
use shared::store::{LedgerAudit, Outcome, RecipientStats};

struct Instruments {
    accepted: Counter<u64>,
    malformed: Counter<u64>,
    silenced: Counter<u64>,
    inhibited: Counter<u64>,
    conditions_failed: Counter<u64>,
    attempts: Counter<u64>,
    deliveries: Counter<u64>,
    attempt_seconds: Histogram<f64>,
    pending: Gauge<u64>,
    dead: Gauge<u64>,
    breaker_open: Gauge<u64>,
    ledger_errors: Counter<u64>,
    ledger_unsound: Gauge<u64>,
    restarts: Counter<u64>,
    questions: Counter<u64>,
    busy: Counter<u64>,
    hook_runs: Counter<u64>,
    syslog_given_up: Counter<u64>,
    bridge_dropped: Counter<u64>,
    bridge_dropped_bytes: Counter<u64>,
    bridge_subscribers: Gauge<u64>,
    hook_seconds: Histogram<f64>,
    hook_loop_age: Gauge<f64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = opentelemetry::global::meter("flowhook");
    let counter =
        |name: &'static str, text: &'static str| meter.u64_counter(name).with_description(text).build();
    let gauge = |name: &'static str, text: &'static str| meter.u64_gauge(name).with_description(text).build();
    Instruments {
        accepted: counter("flowhook.notifier.accepted", "Events written to the ledger, by kind"),
        malformed: counter("flowhook.notifier.malformed", "Messages that could not be read, by kind"),
        silenced: counter("flowhook.notifier.silenced", "Alerts that a silence kept from recipients"),
        inhibited: counter("flowhook.notifier.inhibited", "Alerts that others kept from recipients"),
        conditions_failed: counter(
            "flowhook.notifier.when_failed",
            "Alerts that a recipient did not get because its expression failed, by recipient",
        ),
        attempts: counter("flowhook.notifier.attempts", "Tries by recipient"),
        deliveries: counter("flowhook.notifier.deliveries", "Ends of tries by recipient and outcome"),
        attempt_seconds: meter
            .f64_histogram("flowhook.notifier.attempt.duration")
            .with_description("Time a try took, one or several deliveries together")
            .with_unit("s")
            .build(),
        pending: gauge("flowhook.notifier.pending", "Deliveries owed by recipient"),
        dead: gauge("flowhook.notifier.dead_letters", "Deliveries given up by recipient"),
        breaker_open: gauge("flowhook.notifier.breaker_open", "1 while a recipient's breaker is open"),
        ledger_errors: counter(
            "flowhook.notifier.ledger_errors",
            "Ledger operations that failed and are tried again",
        ),
        ledger_unsound: gauge(
            "flowhook.notifier.ledger_unsound",
            "What must not be in the ledger, by what it is; always 0 in a sound one",
        ),
        hook_runs: counter("flowhook.notifier.hook.executions", "Executions of hooks by hook and outcome"),
        syslog_given_up: counter(
            "flowhook.notifier.syslog.given_up",
            "Lines to syslog daemons that may have been lost with their connections and are sent no more",
        ),
        bridge_dropped: counter(
            "flowhook.notifier.bridge.dropped",
            "Messages of the ZeroMQ bridge that a slow subscriber lost",
        ),
        bridge_dropped_bytes: counter("flowhook.notifier.bridge.dropped_bytes", "Their bytes"),
        bridge_subscribers: gauge("flowhook.notifier.bridge.subscribers", "Subscribers of the ZeroMQ bridge"),
        hook_seconds: meter
            .f64_histogram("flowhook.notifier.hook.duration")
            .with_description("Time an execution of a hook took")
            .with_unit("s")
            .build(),
        hook_loop_age: meter
            .f64_gauge("flowhook.notifier.hook.loop_age")
            .with_description("Time since a loop of the hook manager went round, by loop")
            .with_unit("s")
            .build(),
        restarts: counter("flowhook.notifier.restarts", "Actors started again after a failure"),
        questions: counter("flowhook.notifier.questions", "Questions answered, by verb"),
        busy: counter(
            "flowhook.notifier.questions_refused",
            "Questions refused because too many were under way",
        ),
    }
});

fn recipient(name: &str) -> KeyValue {
    KeyValue::new("recipient", name.to_owned())
}

/// A silence kept an alert from its recipients.
pub fn silenced() {
    INSTRUMENTS.silenced.add(1, &[]);
}

/// Another alert kept an alert from its recipients.
pub fn inhibited() {
    INSTRUMENTS.inhibited.add(1, &[]);
}

/// A recipient's expression could not be evaluated.
pub fn condition_failed(name: &str) {
    INSTRUMENTS.conditions_failed.add(1, &[recipient(name)]);
}

/// Events of this kind that were new to the ledger.
pub fn accepted(kind: &'static str, count: u64) {
    INSTRUMENTS.accepted.add(count, &[KeyValue::new("kind", kind)]);
}

/// A message of this kind could not be read and was dropped.
pub fn malformed(kind: &'static str) {
    INSTRUMENTS.malformed.add(1, &[KeyValue::new("kind", kind)]);
}

/// So many lines were written to connections that have ended, and are not written again.
pub fn syslog_given_up(lines: usize) {
    INSTRUMENTS.syslog_given_up.add(lines as u64, &[]);
}

/// A slow subscriber of the bridge lost a message of so many bytes.
pub fn bridge_dropped(bytes: usize) {
    INSTRUMENTS.bridge_dropped.add(1, &[]);
    INSTRUMENTS.bridge_dropped_bytes.add(bytes as u64, &[]);
}

/// So many subscribers the bridge has.
pub fn bridge_subscribers(count: usize) {
    INSTRUMENTS.bridge_subscribers.record(count as u64, &[]);
}

/// When the loops of the hook manager last went round.
pub fn hook_loops(now: Timestamp, looped: Timestamp, fetched: Timestamp) {
    for (name, last) in [("executor", looped), ("intake", fetched)] {
        let age = now.since(last).max(0) as f64 / 1e9;
        INSTRUMENTS.hook_loop_age.record(age, &[KeyValue::new("loop", name)]);
    }
}

/// An execution of a hook has ended.
pub fn hook_ended(hook: &str, outcome: RunOutcome, seconds: f64) {
    let hook = KeyValue::new("hook", hook.to_owned());
    INSTRUMENTS.hook_seconds.record(seconds, std::slice::from_ref(&hook));
    INSTRUMENTS.hook_runs.add(1, &[hook, KeyValue::new("outcome", outcome.name())]);
}

/// A try of some deliveries took this long.
pub fn attempted(name: &str, deliveries: usize, seconds: f64) {
    INSTRUMENTS.attempts.add(deliveries as u64, &[recipient(name)]);
    INSTRUMENTS.attempt_seconds.record(seconds, &[recipient(name)]);
}

/// How one delivery's try ended.
pub fn ended(name: &str, outcome: &Outcome) {
    INSTRUMENTS.deliveries.add(1, &[recipient(name), KeyValue::new("outcome", outcome_name(outcome))]);
}

/// An outcome as metrics and spans call it.
pub fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Retry { .. } => "retry",
        Outcome::Unknown { .. } => "unknown",
        Outcome::Postponed { .. } | Outcome::Waits { .. } => "postponed",
        Outcome::Suppressed { .. } => "suppressed",
        Outcome::Merged { .. } => "merged",
        Outcome::Dead { .. } | Outcome::Diverted { .. } => "dead",
    }
}

/// What the ledger says of every recipient.
pub fn queues(stats: &[RecipientStats]) {
    for recipient_stats in stats {
        let name = [recipient(&recipient_stats.recipient)];
        INSTRUMENTS.pending.record(recipient_stats.pending, &name);
        INSTRUMENTS.dead.record(recipient_stats.dead, &name);
    }
}

/// A breaker opened or closed.
pub fn breaker(name: &str, is_open: bool) {
    INSTRUMENTS.breaker_open.record(u64::from(is_open), &[recipient(name)]);
}

/// A ledger operation failed.
pub fn ledger_failed(operation: &'static str) {
    INSTRUMENTS.ledger_errors.add(1, &[KeyValue::new("operation", operation)]);
}

/// What a search for what must not be has found.
pub fn audited(audit: &LedgerAudit) {
    for (what, count) in [
        ("stuck_keys", audit.stuck_keys),
        ("forgotten_claims", audit.forgotten_claims),
        ("wrong_totals", audit.wrong_totals),
        ("lost_deliveries", audit.lost_deliveries),
        ("out_of_order", audit.out_of_order),
    ] {
        INSTRUMENTS.ledger_unsound.record(count, &[KeyValue::new("what", what)]);
    }
}

/// An actor was started again.
pub fn restarted(child: &str) {
    INSTRUMENTS.restarts.add(1, &[KeyValue::new("actor", child.to_owned())]);
}

/// A question was answered.
pub fn answered(verb: &'static str) {
    INSTRUMENTS.questions.add(1, &[KeyValue::new("verb", verb)]);
}

/// A question was refused.
pub fn busy(verb: &'static str) {
    INSTRUMENTS.busy.add(1, &[KeyValue::new("verb", verb)]);
}
