//! Events of hosts.

use shared::events::Body;

use super::*;

fn told(outputs: &[Output]) -> Vec<(String, String, Option<String>, String)> {
    let state = |draft: &shared::events::Draft| match &draft.body {
        Body::State(body) => Some((
            body.id.clone(),
            body.state.clone(),
            body.prev.as_ref().map(|prev| prev.state.clone()),
            draft.id.clone().unwrap_or_default(),
        )),
        _ => None,
    };
    outputs.iter().flat_map(|output| &output.events).filter_map(state).collect()
}

/// A host that speaks, is silent for long, and speaks again, beside one that never stops.
fn day(one_in: u32) -> Vec<Output> {
    let mut partition = partition(Vec::new(), serde_json::json!({})).telling_hosts(one_in);
    let at = |second: i64| match (0..30).contains(&second) || second >= 600 {
        true => delta(second, &[("10.0.0.1", 1), ("10.0.0.2", 1)]),
        false => delta(second, &[("10.0.0.2", 1)]),
    };
    (0..660).map(|second| partition.apply(&at(second))).collect()
}

#[test]
fn hosts_become_active_idle_and_active_again() {
    let all = told(&day(1));
    let of = |ip: &str| {
        let mine = all.iter().filter(|(id, ..)| id == ip);
        mine.map(|(_, state, before, _)| (state.as_str(), before.as_deref())).collect::<Vec<_>>()
    };
    assert_eq!(of("10.0.0.1"), [("ACTIVE", None), ("IDLE", Some("ACTIVE")), ("ACTIVE", Some("IDLE"))]);
    assert_eq!(of("10.0.0.2"), [("ACTIVE", None)]);
    let ids: std::collections::BTreeSet<_> = all.iter().map(|(.., id)| id).collect();
    assert_eq!(ids.len(), all.len());
    assert_eq!(told(&day(1)), all, "who goes through it again tells the same");
}

#[test]
fn a_sample_is_of_the_same_hosts_each_time_and_none_is_none() {
    assert!(told(&day(0)).is_empty());
    let hosts: Vec<String> = (0..2000).map(|n| format!("10.1.{}.{}", n / 250, n % 250)).collect();
    let rows: Vec<(&str, u64)> = hosts.iter().map(|host| (host.as_str(), 1)).collect();
    let sample = || {
        let mut partition = partition(Vec::new(), serde_json::json!({})).telling_hosts(20);
        told(&[partition.apply(&delta(0, &rows))])
    };
    let first = sample();
    assert!((50..200).contains(&first.len()), "about one in twenty: {}", first.len());
    assert_eq!(sample(), first);
}

#[test]
fn idle_hosts_are_forgotten_when_no_hook_would_call_them_any_more() {
    let kept = |text: &str| {
        let mut partition = partition(script(text), serde_json::json!({}));
        // The hour ends after 46 minutes.
        for at in (0..2760).step_by(60).chain([2759, 2760]) {
            let mut hosts = vec![("10.0.0.2", 1)];
            hosts.extend((at == 0).then_some(("10.0.0.1", 1)));
            partition.apply(&delta(at, &hosts));
        }
        partition.interfaces().next().unwrap().hosts.len()
    };
    assert_eq!(kept("#{ hooks: #{ hour: |p| () } }"), 1);
    assert_eq!(kept("#{ hooks: #{ day: |p| () } }"), 2, "the day's hook calls both");
}
