//! Rounds of probes, and what is wished for after each.

use serde_json::{Value, json};

use super::*;

fn watch(more: Value) -> Watch {
    let mut host = json!({ "host": "192.0.2.1", "measure": "icmp" });
    host.as_object_mut().unwrap().extend(serde_json::from_value::<serde_json::Map<_, _>>(more).unwrap());
    Watch::new(serde_json::from_value(host).unwrap(), 1, Level::Well)
}

fn round(replies: usize, ms: u64) -> Round {
    let reason = (replies < 3).then(|| "no answer within 3000 ms".to_owned());
    Round { sent: 3, rtts_us: vec![ms * 1000; replies], reason, ..Round::default() }
}

/// Wishes in few words.
fn told(watch: &mut Watch, minute: i64, round: Round) -> Vec<String> {
    let word = |wish: Wish| match wish {
        Wish::Trigger(request) => format!("{} {}", request.severity.unwrap(), request.message.unwrap()),
        Wish::Release(level) => format!("release {}", level.alert_type()),
    };
    let wishes = watch.step(Timestamp::from_secs(60 * minute), round);
    wishes.into_iter().map(word).filter(|word| !word.starts_with("release")).collect()
}

#[test]
fn an_alert_needs_n_bad_rounds_of_m_and_goes_when_there_are_fewer() {
    let mut host = watch(json!({ "failures": "2 of 3" }));
    assert!(told(&mut host, 0, round(0, 0)).is_empty());
    assert!(told(&mut host, 1, round(3, 5)).is_empty());
    let expected = ["error icmp@192.0.2.1: 3 of 3 probes failed: no answer within 3000 ms"];
    assert_eq!(told(&mut host, 2, round(0, 0)), expected);
    assert!(told(&mut host, 3, round(3, 5)).is_empty());
    assert_eq!(host.level, Level::Well, "bad, well, bad, well: one of the last three");
    let wishes = host.step(Timestamp::from_secs(240), round(3, 5));
    assert_eq!(wishes, [Wish::Release(Level::Warning), Wish::Release(Level::Alert)]);
}

#[test]
fn between_bad_rounds_a_good_one_asks_for_nothing() {
    let mut host = watch(json!({ "failures": "2 of 3" }));
    told(&mut host, 0, round(0, 0));
    told(&mut host, 1, round(0, 0));
    let wishes = host.step(Timestamp::from_secs(120), round(3, 5));
    assert_eq!((wishes, host.level), (vec![Wish::Release(Level::Warning)], Level::Alert));
}

#[test]
fn latency_and_loss_have_a_limit_for_warnings_and_one_for_alerts() {
    let limits = json!({ "warn_ms": 100, "alert_ms": 500, "warn_loss": 30, "alert_loss": 60 });
    let mut host = watch(json!({ "failures": "1 of 1", "threshold": limits }));
    assert!(told(&mut host, 0, round(3, 99)).is_empty());
    let slow = told(&mut host, 1, round(3, 100));
    assert_eq!(slow, ["warning icmp@192.0.2.1: mean latency is 100.0 ms, the limit 100 ms"]);
    assert!(told(&mut host, 2, round(3, 500))[0].starts_with("error"));
    assert!(told(&mut host, 3, round(2, 5))[0].starts_with("warning icmp@192.0.2.1: 1 of 3 probes failed"));
    assert!(told(&mut host, 4, round(1, 5))[0].starts_with("error icmp@192.0.2.1: 2 of 3"));
}

#[test]
fn a_certificate_is_watched_from_a_month_before_it_expires() {
    let mut host = watch(json!({ "measure": "tls", "failures": "1 of 1" }));
    let expires = |days: i64| Round { expires_in_s: Some(days * 86_400), ..round(3, 5) };
    assert!(told(&mut host, 0, expires(31)).is_empty());
    assert!(
        told(&mut host, 1, expires(20))[0].starts_with("warning tls@192.0.2.1: certificate expires in 20.0")
    );
    assert!(told(&mut host, 2, expires(6))[0].starts_with("error"));
    assert_eq!(told(&mut host, 3, expires(-2)), ["error tls@192.0.2.1: certificate expired 2.0 days ago"]);
}

#[test]
fn after_a_restart_one_good_round_does_not_undo_what_was_engaged() {
    let before = watch(json!({ "failures": "2 of 3" }));
    let mut host = Watch::new(before.host, 2, Level::Alert);
    host.step(Timestamp::from_secs(60), round(3, 5));
    assert_eq!(host.level, Level::Alert);
    host.step(Timestamp::from_secs(120), round(3, 5));
    assert_eq!(host.level, Level::Well);
}

#[test]
fn a_round_begins_once_a_period_and_does_not_overtake_the_one_before() {
    let mut host = watch(json!({}));
    let at = |seconds: i64| Timestamp::from_secs(1_700_000_040 + seconds);
    assert!(host.begin(at(0)), "at once");
    assert!(!host.begin(at(59)));
    assert!(!host.begin(at(75)), "the first round is still under way");
    host.step(at(76), round(3, 5));
    assert!(!host.begin(at(100)), "its turn has passed");
    let begun = (120..180).filter(|second| host.begin(at(*second))).collect::<Vec<_>>();
    assert!(begun.len() == 1 && begun[0] <= 135, "{begun:?}");
}

#[test]
fn what_was_counted_is_told_to_scripts() {
    let mut host = watch(json!({}));
    host.step(Timestamp::from_secs(60), round(2, 5));
    let MonitorCounters { rounds, probes, replies, lost, rtt_us, .. } = host.tally.total();
    assert_eq!((rounds, probes, replies, lost, rtt_us), (1, 3, 2, 1, 10_000));
    assert_eq!(
        host.levels(),
        [("up", 1), ("last_rtt_us", 5000), ("last_loss_percent", 33), ("days_left", 0)]
    );
}
