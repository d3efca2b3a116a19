//! What runs reach, and what becomes of what they do not reach.

use shared::events::Body;
use shared::model::Granularity;

use super::*;
use crate::element::Counters;

/// Takes far more than a millisecond for each host, so that a run with a deadline of one reaches one host.
const SLOW: &str = "#{ hooks: #{ min: |p| {
    for i in 0..40000 { try { i += 1; } catch { } }
    publish(\"seen\", `${p.entity_info} ${p.delta.bytes} ${p.seconds} ${p.first_run}`);
} } }";

fn said(outputs: &[Output]) -> Vec<String> {
    outputs.iter().flat_map(|output| output.messages.iter().map(|(.., text)| text.clone())).collect()
}

fn three(_: i64) -> Vec<(&'static str, u64)> {
    vec![("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)]
}

#[test]
fn an_element_that_a_run_did_not_reach_is_told_of_both_minutes_in_the_next_one() {
    let mut partition = partition(script(SLOW), serde_json::json!({}));
    partition.config.run_deadlines_ms.insert("min".to_owned(), 1);
    let first = seconds(&mut partition, 0..60, three);
    assert_eq!(said(&first), ["10.0.0.1 60 60 true"]);
    partition.config.run_deadlines_ms.clear();
    partition.config.run_deadline_ms = 60_000;
    // A restart in between changes nothing of it.
    let kept = partition.save();
    let mut partition = super::partition(script(SLOW), serde_json::json!({}));
    partition.restore(&kept, true).unwrap();
    partition.config.run_deadline_ms = 60_000;
    let second = seconds(&mut partition, 60..120, three);
    assert_eq!(said(&second), ["10.0.0.2 240 120 true", "10.0.0.3 360 120 true", "10.0.0.1 60 60 false"]);
    let third = seconds(&mut partition, 120..180, three);
    assert_eq!(said(&third), ["10.0.0.1 60 60 false", "10.0.0.2 120 60 false", "10.0.0.3 180 60 false"]);
    // Series have each minute by itself, whatever runs reached.
    for outputs in [first, second, third] {
        let samples = outputs.iter().flat_map(|output| &output.samples).flat_map(|batch| &batch.samples);
        let sent: Vec<u64> = samples
            .filter(|sample| sample.element.value == "10.0.0.3")
            .map(|sample| HostCounters::unpack(&sample.counters).bytes_sent)
            .collect();
        assert_eq!(sent, [180]);
    }
}

#[test]
fn how_much_runs_reach_is_counted_and_told() {
    let mut partition = partition(script(SLOW), serde_json::json!({}));
    partition.config.run_deadline_ms = 1;
    let outputs = seconds(&mut partition, 0..60, three);
    let told: Vec<_> = outputs
        .iter()
        .flat_map(|output| &output.events)
        .map(|draft| match &draft.body {
            Body::Timer(timer) => (timer.element.as_str(), timer.elements, timer.reached),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [("host", 3, 1)]);
    partition.config.run_deadline_ms = 60_000;
    seconds(&mut partition, 60..120, three);
    let counts = partition.report().runs[&("min".to_owned(), "host".to_owned())];
    assert_eq!((counts.runs, counts.reached, counts.missed), (2, 4, 2));
    assert!(counts.micros > 1000, "{}", counts.micros);
}

#[test]
fn each_period_has_its_own_deadline() {
    let mut partition = partition(
        script("#{ hooks: #{ all: |p| publish(\"seen\", p.granularity) } }"),
        serde_json::json!({}),
    );
    let config = &mut partition.config;
    (config.run_deadline_ms, config.run_deadlines_ms) = (60_000, [("5mins".to_owned(), 0)].into());
    assert_eq!(config.run_deadline(Granularity::FiveMins), std::time::Duration::ZERO);
    // 22:15:00 ends a minute and five minutes.
    let outputs = seconds(&mut partition, 0..120, |_| vec![("10.0.0.1", 1)]);
    assert_eq!(said(&outputs), ["min", "min"]);
    assert_eq!(partition.report().runs[&("5mins".to_owned(), "host".to_owned())].missed, 1);
}

#[test]
fn a_threshold_below_which_it_alerts_engages_and_releases() {
    let settings = serde_json::json!({ "host_bytes": { "enabled": true,
        "config": { "threshold": 1000, "operator": "lt" },
        "hooks": { "5mins": { "enabled": false }, "hour": { "enabled": false }, "day": { "enabled": false } } } });
    let mut partition = partition(builtin(), settings);
    let outputs = seconds(&mut partition, 0..180, |at| match at {
        60..120 => vec![("10.0.0.1", 10)],
        _ => vec![("10.0.0.1", 100)],
    });
    let host = "10.0.0.1".to_owned();
    assert_eq!(
        transitions(&outputs),
        [(AlertAction::Engage, host.clone(), 120), (AlertAction::Release, host, 180)]
    );
    let engaged = outputs.iter().flat_map(|output| &output.transitions).find_map(|t| match t {
        Transition::Engage(engaged) => Some(engaged.alert.clone()),
        _ => None,
    });
    let alert = engaged.unwrap();
    assert_eq!((alert.value, alert.threshold), (Some(600.0), Some(1000.0)));
}

#[test]
fn a_script_may_leave_out_the_first_run_of_an_element() {
    let text = "#{ hooks: #{ min: |p| if !p.first_run && p.delta.bytes > 10 { trigger_alert(#{}) } } }";
    let mut partition = partition(script(text), serde_json::json!({}));
    let outputs = seconds(&mut partition, 0..120, |_| vec![("10.0.0.1", 100)]);
    assert_eq!(transitions(&outputs), [(AlertAction::Engage, "10.0.0.1".to_owned(), 120)]);
}

#[test]
fn of_many_scripts_one_that_changes_is_compiled_again_and_no_other() {
    let numbered =
        |number: usize, text: &str| ScriptSource { name: format!("s{number}"), ..script(text).remove(0) };
    let mut sources: Vec<ScriptSource> =
        (0..50).map(|n| numbered(n, "#{ hooks: #{ min: |p| log(\"x\") } }")).collect();
    let mut partition = partition(sources.clone(), serde_json::json!({}));
    let before = partition.engine.compiled();
    sources[7].text = "#{ hooks: #{ min: |p| publish(\"seen\", \"new\") } }".to_owned();
    partition.reload_scripts(&ScriptSetup { sources, ..ScriptSetup::default() });
    assert_eq!(partition.engine.compiled() - before, 1);
    assert_eq!(said(&seconds(&mut partition, 0..60, |_| vec![("10.0.0.1", 1)])), ["new"]);
}

#[test]
fn without_local_hosts_the_list_of_a_minute_holds_every_host() {
    let example = include_str!("../../../../config/scripts/examples/dump_active_hosts_list.rhai");
    let five =
        |_| vec![("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1), ("192.0.2.1", 1), ("192.0.2.2", 1)];
    let lists = |text: &str| -> Vec<usize> {
        let mut partition = partition(script(text), serde_json::json!({}));
        let outputs = seconds(&mut partition, 0..120, five);
        let posts = outputs.iter().flat_map(|output| &output.posts);
        let hosts = posts.map(|post| serde_json::from_str::<Value>(&post.body).unwrap()["hosts"].clone());
        hosts.map(|hosts| hosts.as_array().unwrap().len()).collect()
    };
    assert_eq!(lists(example), [3, 3]);
    let all = example.replace("local_hosts: true,", "");
    assert_ne!(all, example);
    assert_eq!(lists(&all), [5, 5]);
}

#[test]
fn what_comes_late_or_out_of_order_calls_no_hook_again() {
    let text = "#{ hooks: #{ min: |p| publish(\"seen\", `${p.when} ${p.stats.bytes}`) } }";
    let deltas = |order: &[i64]| {
        let mut partition = partition(script(text), serde_json::json!({}));
        let apply = |at: &i64| partition.apply(&delta(*at, &[("10.0.0.1", 1)]));
        let outputs: Vec<Output> = order.iter().map(apply).collect();
        let bytes = partition.interfaces().next().unwrap().interface.tally.total().bytes;
        (said(&outputs), bytes, partition.report().hooks["min"])
    };
    let in_order: Vec<i64> = (0..180).collect();
    let (told, bytes, calls) = deltas(&in_order);
    assert_eq!((told.len(), bytes, calls), (3, 180, 3));
    // Second 30 comes after its minute was told, and twice; seconds 100 to 104 come backwards.
    let mut mixed: Vec<i64> =
        (0..30).chain(31..100).chain([104, 103, 102, 101, 100]).chain(105..180).collect();
    mixed.insert(mixed.len() - 40, 30);
    mixed.insert(mixed.len() - 20, 30);
    let (late, bytes, calls) = deltas(&mixed);
    assert_eq!((bytes, calls), (180, 3), "everything counts once, and no minute is run again");
    let minutes = |told: &[String]| told.iter().map(|said| said[..10].to_owned()).collect::<Vec<_>>();
    assert_eq!(minutes(&late), minutes(&told));
    assert_eq!(late[2], told[2], "what was late is in the totals");
}
