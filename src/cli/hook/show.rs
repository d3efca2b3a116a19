//! Hooks and executions for people.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A text of an answer; it may come from anywhere, so control characters are shown as escapes.
fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A hook in a line.
pub fn line(entry: &Value) -> String {
    let hook = &entry["hook"];
    let state = match (hook["enabled"] == true, hook["locked"] == true) {
        (true, false) => "on",
        (true, true) => "on, locked",
        (false, false) => "off",
        (false, true) => "off, locked",
    };
    let counts = &entry["counts"];
    let done = match counts.is_null() {
        true => String::new(),
        false => format!(
            "  queued {} running {} success {} failure {} dead {}",
            counts["queued"], counts["running"], counts["success"], counts["failure"], counts["dead"]
        ),
    };
    format!(
        "{:<24} {:<12} {:<12} revision {:<4} {}{done}\n",
        text(&entry["name"]),
        text(&hook["kind"]),
        state,
        entry["revision"],
        text(&hook["argument"])
    )
}

/// Hooks, a line each.
pub fn lines(list: &Value) -> String {
    items(list).map(line).collect()
}

/// A hook with everything.
pub fn whole(entry: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(entry).unwrap_or_default())
}

/// What a check told.
pub fn checked(answer: &Value) -> String {
    let filters: String = items(&answer["filters"]).map(|filter| format!("  {}\n", text(filter))).collect();
    format!(
        "It can run, for events of\n{filters}It would run for {} of the newest {} events on record.\n",
        answer["matched"], answer["looked_at"]
    )
}

/// What a replay does.
pub fn replayed(answer: &Value) -> String {
    let verb = if answer["dry_run"] == true { "would run" } else { "queued" };
    let first: String = items(&answer["first"])
        .map(|event| format!("  {}  {}\n", text(&event["at"]), text(&event["subject"])))
        .collect();
    format!("{} of {} events {verb}\n{first}", answer["executions"], answer["events"])
}

/// Executions, a line each.
pub fn log(list: &Value) -> String {
    let line = |record: &Value| {
        let outcome = if record["outcome"].is_null() { &record["state"] } else { &record["outcome"] };
        format!(
            "{:<24} {:>8} {} {:<8} try {:<3} {:<7} {} {}\n",
            text(&record["hook"]),
            record["execution"],
            text(&record["queued_at"]),
            text(outcome),
            record["attempt"],
            text(&record["trigger"]),
            text(&record["subject"]),
            text(&record["reason"])
        )
    };
    items(list).map(line).collect()
}

/// One execution with its outputs.
pub fn record(record: &Value) -> String {
    let mut shown = String::new();
    for key in [
        "hook",
        "execution",
        "attempt",
        "trigger",
        "by",
        "state",
        "outcome",
        "reason",
        "event",
        "subject",
        "idempotency_key",
        "queued_at",
        "started_at",
        "ended_at",
        "exit_code",
        "signal",
        "command",
        "cpu_ms",
        "max_rss_kib",
        "node",
    ] {
        if !record[key].is_null() {
            shown.push_str(&format!("{:<16} {}\n", key.replace('_', " "), text(&record[key])));
        }
    }
    for argument in items(&record["arguments"]) {
        shown.push_str(&format!("{:<16} {}\n", "argument", text(argument)));
    }
    for (key, title) in [("stdout", "STANDARD OUTPUT"), ("stderr", "STANDARD ERROR")] {
        let bytes = STANDARD.decode(record[key].as_str().unwrap_or_default()).unwrap_or_default();
        let cut = match record[format!("{key}_truncated")] == true {
            true => format!(", cut: {} bytes altogether", record[format!("{key}_bytes")]),
            false => String::new(),
        };
        if !bytes.is_empty() {
            let content = String::from_utf8_lossy(&bytes);
            let lines: String =
                content.lines().map(|line| format!("{}\n", text(&Value::from(line)))).collect();
            shown.push_str(&format!("\n{title}{cut}\n{lines}"));
        }
    }
    shown
}
