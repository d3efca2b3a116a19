//! What a partition wants kept: time series, and what scripts remember.

use shared::model::{Entity, Granularity};
use shared::store::series::{Sample, SampleBatch};

use super::*;
use crate::element::Counters;

fn batches(outputs: Vec<Output>) -> Vec<SampleBatch> {
    outputs.into_iter().flat_map(|output| output.samples).collect()
}

fn of<'a>(batch: &'a SampleBatch, entity: Entity, value: &str) -> Option<&'a Sample> {
    batch.samples.iter().find(|sample| sample.element.entity == entity && sample.element.value == value)
}

fn sent(batch: &SampleBatch, host: &str) -> Option<u64> {
    of(batch, Entity::Host, host).map(|sample| HostCounters::unpack(&sample.counters).bytes_sent)
}

#[test]
fn every_minute_what_elements_counted_goes_into_the_windows_of_all_periods() {
    let mut partition = partition(Vec::new(), serde_json::json!({}));
    let kept = batches(seconds(&mut partition, 0..120, |at| match at {
        0..60 => vec![("10.0.0.1", 10), ("192.0.2.1", 1)],
        _ => vec![("10.0.0.1", 1)],
    }));
    assert_eq!(kept.len(), 2, "one batch a minute");
    assert_eq!((sent(&kept[0], "10.0.0.1"), sent(&kept[1], "10.0.0.1")), (Some(600), Some(60)));
    assert_eq!(sent(&kept[0], "192.0.2.1"), None, "remote hosts have no series unless somebody wants them");
    let ends: Vec<_> = kept[1].windows.iter().map(|(period, at)| (*period, at.secs() - START)).collect();
    // 22:14:00 began it: the second minute ends at 22:16, its five minutes at 22:20.
    let day_ends = 86_400 - START.rem_euclid(86_400);
    let expected = [
        (Granularity::Min, 120),
        (Granularity::FiveMins, 360),
        (Granularity::Hour, 2760),
        (Granularity::Day, day_ends),
    ];
    assert_eq!(ends, expected);
    let interface = of(&kept[0], Entity::Interface, "eth0").unwrap();
    assert_eq!(InterfaceCounters::unpack(&interface.counters).bytes, 660);
    assert!(interface.metrics["live_flows"].gauge);
    let network = of(&kept[0], Entity::Network, "10.0.0.0/8").unwrap();
    assert_eq!(NetworkCounters::unpack(&network.counters).bytes_egress, 660);
    assert_ne!(kept[0].key, kept[1].key);
}

#[test]
fn the_same_delta_gives_a_batch_of_the_same_key() {
    let minute = || {
        let mut partition = partition(Vec::new(), serde_json::json!({}));
        batches(seconds(&mut partition, 0..60, |_| vec![("10.0.0.1", 1)])).remove(0)
    };
    assert_eq!(minute(), minute(), "a store that has it adds it no second time");
}

#[test]
fn a_minute_under_way_is_kept_when_the_partition_stops() {
    let mut partition = partition(Vec::new(), serde_json::json!({}));
    assert!(batches(seconds(&mut partition, 0..30, |_| vec![("10.0.0.1", 1)])).is_empty());
    let kept = partition.flush();
    assert_eq!((kept.len(), sent(&kept[0], "10.0.0.1")), (1, Some(30)));
    assert_eq!(sent(&partition.flush()[0], "10.0.0.1"), None, "nothing was counted since");
}

#[test]
fn of_too_many_hosts_those_with_the_most_bytes_are_kept() {
    let mut partition = partition(Vec::new(), serde_json::json!({}));
    partition.config.time_series.max_hosts = 2;
    let hosts = |_| vec![("10.0.0.1", 5), ("10.0.0.2", 1), ("10.0.0.3", 9), ("10.0.0.4", 5), ("10.0.0.5", 1)];
    let kept = batches(seconds(&mut partition, 0..60, hosts));
    let of_hosts = kept[0].samples.iter().filter(|sample| sample.element.entity == Entity::Host);
    let names: Vec<&str> = of_hosts.map(|sample| sample.element.value.as_str()).collect();
    // Of two that counted the same the lower address is kept, every time.
    assert_eq!(names, ["10.0.0.1", "10.0.0.3"]);
}

#[test]
fn series_can_be_switched_off_by_kind_and_scripts_are_told() {
    let text = "#{ kind: \"KIND\", hooks: #{ min: |p| publish(\"x\", `KIND ${p.ts_enabled}`) } }";
    let named =
        |kind: &str| ScriptSource { name: kind.into(), ..script(&text.replace("KIND", kind)).remove(0) };
    let mut partition =
        partition(["host", "network", "interface", "system"].map(named).into(), serde_json::json!({}));
    partition.config.time_series.networks = false;
    partition.config.time_series.system = false;
    let outputs = seconds(&mut partition, 0..60, |_| vec![("10.0.0.1", 1), ("192.0.2.1", 1)]);
    let mut told: Vec<String> = outputs.iter().flat_map(|o| &o.messages).map(|m| m.2.clone()).collect();
    told.sort();
    // The local host has series, the remote one has none.
    assert_eq!(told, ["host false", "host true", "interface true", "network false", "system false"]);
    let kept = batches(outputs);
    assert!(
        of(&kept[0], Entity::Network, "10.0.0.0/8").is_none()
            && of(&kept[0], Entity::Interface, "eth0").is_some()
    );
}

#[test]
fn numbers_of_scripts_belong_to_the_element_that_they_were_noted_for() {
    let text = "#{ hooks: #{ min: |p| { count(\"calls\"); count(\"bytes\", p.delta.bytes); series(\"level\", 2.5) } } }";
    let mut partition = partition(script(text), serde_json::json!({}));
    let kept = batches(seconds(&mut partition, 0..60, |_| vec![("10.0.0.1", 2), ("10.0.0.2", 1)]));
    let noted = |host: &str| {
        let sample = of(&kept[0], Entity::Host, host);
        // Counters and numbers of a host may come in two samples of one batch.
        let mut all = kept[0].samples.iter().filter(|s| s.element.value == host);
        assert!(sample.is_some());
        all.find_map(|s| (!s.metrics.is_empty()).then(|| s.metrics.clone())).unwrap()
    };
    let one = noted("10.0.0.1");
    assert_eq!(
        (one["test.calls"].value(), one["test.bytes"].value(), one["test.level"].value()),
        (1.0, 120.0, 2.5)
    );
    assert_eq!(noted("10.0.0.2")["test.bytes"].value(), 60.0);
    assert_eq!(partition.report().noted["test.calls"].sum, 2.0, "metrics show the sum over all elements");
}

#[test]
fn what_a_script_remembers_is_there_after_a_restart_until_it_forgets() {
    let text = "#{ hooks: #{ min: |p| { let n = recall(\"n\"); if n == () { n = 0 }
        publish(\"n\", `${n}`); if n == 2 { forget(\"n\") } else { remember(\"n\", n + 1) } } } }";
    let said = |outputs: &[Output]| {
        outputs.iter().flat_map(|o| o.messages.iter().map(|(.., text)| text.clone())).collect::<Vec<_>>()
    };
    let busy = |_| vec![("10.0.0.1", 1)];
    let mut before = partition(script(text), serde_json::json!({}));
    let outputs = seconds(&mut before, 0..120, busy);
    assert_eq!(said(&outputs), ["0", "1"]);
    let stored: Vec<_> = outputs.into_iter().flat_map(|output| output.remembered).collect();
    let values: Vec<_> =
        stored.iter().map(|r| (r.partition, r.script.as_str(), r.value.as_deref())).collect();
    assert_eq!(values, [(7, "test", Some("1")), (7, "test", Some("2"))]);

    let mut after = partition(script(text), serde_json::json!({}));
    after.recall(vec![stored.into_iter().next_back().unwrap()]);
    let outputs = seconds(&mut after, 120..240, busy);
    assert_eq!(said(&outputs), ["2", "0"], "it counts on, then forgets");
    assert_eq!(outputs.iter().flat_map(|o| &o.remembered).next().unwrap().value, None);
}

#[test]
fn a_script_cannot_remember_more_than_its_quota() {
    let text = "#{ hooks: #{ min: |p| { let s = \"x\"; for i in 0..14 { s += s } for i in 0..5 { remember(`k${i}`, s) } } } }";
    let mut partition = partition(script(text), serde_json::json!({}));
    let outputs = seconds(&mut partition, 0..60, |_| vec![("10.0.0.1", 1)]);
    let stored: Vec<_> = outputs.iter().flat_map(|o| &o.remembered).map(|r| r.key.as_str()).collect();
    assert_eq!(stored, ["k0", "k1", "k2"], "three of 16 KiB and some bytes fit into 64 KiB");
    assert_eq!(partition.report().scripts["test"].errors, 1);
}

#[test]
fn every_minute_says_how_many_batches_it_is_made_of_and_how_many_never_came() {
    let mut partition = partition(Vec::new(), serde_json::json!({}));
    let lost = [7, 20, 21, 95];
    let mut outputs = Vec::new();
    for at in (0..120).filter(|at| !lost.contains(at)) {
        outputs.push(partition.apply(&delta(at, &[("10.0.0.1", 1)])));
        if at == 70 {
            // One of the first minute comes late.
            outputs.push(partition.apply(&delta(20, &[("10.0.0.1", 1)])));
        }
    }
    let kept = batches(outputs);
    let counts = |batch: &SampleBatch| {
        let metrics = &of(batch, Entity::Interface, "eth0").unwrap().metrics;
        let [all, of_node] = ["batches", "batches.n"].map(|whose| {
            ["expected", "received", "missing"].map(|name| metrics[&format!("{whose}.{name}")].sum as i64)
        });
        assert_eq!(all, of_node, "one node tells of the interface");
        all
    };
    assert_eq!(counts(&kept[0]), [60, 57, 3]);
    assert_eq!(counts(&kept[1]), [60, 60, 0], "one is late, one is lost");
    let row = partition.interfaces().next().unwrap().batches["n"];
    assert_eq!((row.received, row.missing), (117, 3));
}
