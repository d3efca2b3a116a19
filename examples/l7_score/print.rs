//! The report.

use std::cmp::Reverse;

use super::expected::Counts;
use super::score::{MOST_USED, Score, Tally, UNKNOWN};

/// Prints the whole comparison.
pub fn report(score: &Score) {
    protocols(score);
    differences(score);
    missing(score);
    false_positives(score);
    totals(score);
}

fn protocols(score: &Score) {
    println!("PROTOCOLS (agreement in %; *: one of the most used)");
    println!(
        "{:28} {:>6} {:>6} {:>7} {:>7} {:>7} {:>8} {:>6} {:>6}",
        "name", "flows", "agree", "flows%", "pkts%", "bytes%", "carrier", "ours", "false"
    );
    let mut names: Vec<(&String, &Tally)> = score.names.iter().collect();
    names.sort_by_key(|(name, tally)| (Reverse(tally.expected.flows), *name));
    for (name, tally) in names {
        let mark = if MOST_USED.contains(&name.as_str()) { "*" } else { "" };
        row(&format!("{name}{mark}"), tally);
    }
    println!();
}

fn row(name: &str, tally: &Tally) {
    let (expected, agreed) = (tally.expected, tally.agreed);
    println!(
        "{name:28} {:>6} {:>6} {:>7} {:>7} {:>7} {:>8} {:>6} {:>6}",
        expected.flows,
        agreed.flows,
        percent(agreed.flows, expected.flows),
        percent(agreed.packets, expected.packets),
        percent(agreed.bytes, expected.bytes),
        tally.master_only,
        tally.ours.flows,
        tally.false_flows(),
    );
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1}", part as f64 * 100.0 / whole as f64) }
}

fn differences(score: &Score) {
    println!("DIFFERENCES (flows/packets/bytes)");
    for difference in &score.differences {
        let text = |c: Counts| format!("{}/{}/{}", c.flows, c.packets, c.bytes);
        let mut notes = Vec::new();
        if difference.expected.flows == difference.ours.flows {
            notes.push("same flows".to_owned());
        }
        if difference.master_only > 0 {
            notes.push(format!("{} known by carrier", difference.master_only));
        }
        if difference.ours.guessed > 0 {
            notes.push(format!("{} by port", difference.ours.guessed));
        }
        println!(
            "{:44} {:26} expected {:>18}  ours {:>18}  {}",
            difference.capture,
            difference.name,
            text(difference.expected),
            text(difference.ours),
            notes.join(", ")
        );
    }
    println!();
}

/// The most used first, then those with most flows.
fn missing(score: &Score) {
    println!("MISSING (flows without their name; those known by their carrier are not here)");
    let flows = |tally: &Tally| tally.missing_in.iter().map(|missing| missing.flows).sum::<u64>();
    let mut names: Vec<(&String, &Tally)> = score.names.iter().filter(|(_, t)| flows(t) > 0).collect();
    names.sort_by_key(|(name, tally)| {
        (!MOST_USED.contains(&name.as_str()), Reverse(flows(tally)), name.as_str())
    });
    for (name, tally) in names {
        let mark = if MOST_USED.contains(&name.as_str()) { "*" } else { "" };
        for missing in &tally.missing_in {
            println!(
                "{:28} {:>5} in {:44} we have more of {}",
                format!("{name}{mark}"),
                missing.flows,
                missing.capture,
                missing.instead.join(", ")
            );
        }
    }
    println!();
}

fn false_positives(score: &Score) {
    println!("FALSE POSITIVES (captures in which the classifier has none of it)");
    for (name, tally) in &score.names {
        for (capture, flows, by_port) in &tally.false_in {
            println!("{name:26} {capture:44} {flows:>4} flows, {by_port} by port");
        }
    }
    println!();
}

fn totals(score: &Score) {
    let mut all = Tally::default();
    let mut most_used = Tally::default();
    for (name, tally) in score.names.iter().filter(|(name, _)| *name != UNKNOWN) {
        all.add(tally);
        if MOST_USED.contains(&name.as_str()) {
            most_used.add(tally);
        }
    }
    println!("TOTALS (without {UNKNOWN})");
    for (name, tally) in [("all", &all), ("most used", &most_used)] {
        println!(
            "{name:10} flows {} of {} = {} %, packets {} %, bytes {} %; {} known by carrier only; {} false ({} by port)",
            tally.agreed.flows,
            tally.expected.flows,
            percent(tally.agreed.flows, tally.expected.flows),
            percent(tally.agreed.packets, tally.expected.packets),
            percent(tally.agreed.bytes, tally.expected.bytes),
            tally.master_only,
            tally.false_flows(),
            tally.false_in.iter().map(|(_, _, by_port)| by_port).sum::<u64>(),
        );
    }
    println!(
        "captures: {}; with the right flows {}; with the right packets and bytes too {}; with the same sum of packets {}",
        score.captures, score.right, score.exact, score.same_packets
    );
    for (capture, reason) in &score.failed {
        println!("FAILED {capture}: {reason}");
    }
}
