//! A partition that is put away and taken up again goes on as if nothing had happened.

use shared::model::{Contact, ContactKind};

use super::*;
use crate::live::{HostQuery, HostRow, InterfaceRow, NetworkRow};

/// A number that looks random and is not.
fn mixed(seed: i64, of: u64) -> u64 {
    (shared::backoff::unit_random(seed.unsigned_abs()) * of as f64) as u64
}

/// A second of traffic that comes and goes, with everything that a delta may hold.
fn busy(at: i64) -> Delta {
    let names = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.7", "2001:db8::5"];
    let active = names.iter().enumerate().filter(|(n, _)| mixed(at / 40 + 1000 * *n as i64, 3) > 0);
    let hosts: Vec<(&str, u64)> = active.map(|(n, name)| (*name, mixed(at * 7 + n as i64, 2000))).collect();
    let mut delta = delta(at, &hosts);
    if !hosts.is_empty() {
        delta.contacts = vec![Contact { host: 0, kind: ContactKind::ALL[0], hash: mixed(at, 500) }];
        let category = AppCategory::ALL[mixed(at, 5) as usize];
        delta.categories = vec![CategoryBytes { host: 0, category, sent: mixed(at, 90), rcvd: 1 }];
        let text = format!("h{}", mixed(at / 50, 4)).into();
        delta.facts = vec![HostFact { host: 0, kind: FactKind::Name, text }];
    }
    delta.interface.counters.drops = mixed(at, 2);
    delta.interface.live_flows = mixed(at, 90);
    delta
}

const SCRIPTS: [(&str, &str); 3] = [
    (
        "counted",
        "#{ hooks: #{ min: |p| {
            let n = recall(\"n\"); if n == () { n = 0 }
            remember(\"n\", n + 1);
            metric_inc(\"runs\");
            if p.delta.bytes > 30000 { trigger_alert(#{ message: `${n} ${p.entity_info.name}` }) }
        } } }",
    ),
    (
        "held",
        "#{ hold_seconds: 120, engage_after: 2, hooks: #{ min: |p|
            if p.delta.bytes > 20000 { trigger_alert(#{ type: \"much\", value: p.delta.bytes }) } } }",
    ),
    ("failing", "#{ hooks: #{ min: |p| if p.when % 7 < 3 { throw \"no\" } } }"),
];

fn fresh() -> Partition {
    let own = SCRIPTS.map(|(name, text)| ScriptSource { name: name.into(), ..script(text).remove(0) });
    let sources = builtin().into_iter().chain(own).collect();
    let on = serde_json::json!({ "enabled": true, "config": { "threshold": 20_000 } });
    partition(sources, serde_json::json!({ "host_bytes": on }))
}

fn apply(partition: &mut Partition, range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|at| format!("{:?}", partition.apply(&busy(at)))).collect()
}

/// Everything that the API shows.
fn shown(partition: &Partition) -> Vec<String> {
    let all = HostQuery { limit: 1000, ..HostQuery::default() };
    let of = |state| {
        let mut rows = vec![serde_json::to_string(&InterfaceRow::of(state)).unwrap()];
        rows.extend(HostRow::of(state, &all).iter().map(|row| serde_json::to_string(row).unwrap()));
        rows.extend(NetworkRow::of(state).iter().map(|row| serde_json::to_string(row).unwrap()));
        rows
    };
    partition.interfaces().flat_map(of).collect()
}

#[test]
fn whenever_it_is_taken_up_what_follows_is_the_same_to_the_byte() {
    let mut undisturbed = fresh();
    let whole = apply(&mut undisturbed, 0..420);
    assert!(whole.iter().any(|output| output.contains("Release")), "something engages and releases");
    for cut in [0, 1, 59, 60, 61, 119, 180, 240, 299, 300, 333, 419] {
        let mut first = fresh();
        let before = apply(&mut first, 0..cut);
        let kept = first.save();
        drop(first);
        let mut second = fresh();
        second.restore(&kept, true).unwrap();
        // What is in the state already comes again, and changes nothing.
        assert!(
            apply(&mut second, (cut - 5).max(0)..cut)
                .iter()
                .all(|o| *o == format!("{:?}", Output::default()))
        );
        let after = apply(&mut second, cut..420);
        let joined: Vec<String> = before.into_iter().chain(after).collect();
        for (at, (is, should)) in joined.iter().zip(&whole).enumerate() {
            assert_eq!(is, should, "second {at}, cut at {cut}");
        }
        assert_eq!(shown(&second), shown(&undisturbed));
    }
}

#[test]
fn what_was_lost_after_the_state_leaves_alerts_to_the_store() {
    let mut first = fresh();
    apply(&mut first, 0..200);
    let kept = first.save();
    let mut second = fresh();
    second.restore(&kept, false).unwrap();
    assert_eq!(second.levels().0, 0, "the store said that nothing is engaged");
    assert_eq!(second.levels().1, first.levels().1, "hosts and counters are the state's");
}

#[test]
fn what_is_no_state_is_told_and_changes_nothing() {
    let mut partition = fresh();
    apply(&mut partition, 0..10);
    let before = partition.levels();
    assert!(partition.restore(b"\xff\xff", true).is_err());
    assert!(partition.restore(b"", true).unwrap_err().contains("version"));
    assert_eq!(partition.levels(), before);
}

#[test]
fn a_capture_that_is_read_again_begins_anew() {
    let text = "#{ hooks: #{ min: |p| publish(\"b\", `${p.stats.bytes}`) } }";
    let read = |partition: &mut Partition, epoch: u64, seconds: i64| {
        let mut said = Vec::new();
        for at in 0..seconds {
            let mut delta = delta(at, &[("10.0.0.1", 10)]);
            delta.producer.epoch = epoch;
            delta.end_of_stream = at + 1 == 180;
            said.extend(partition.apply(&delta).messages.into_iter().map(|(.., text)| text));
        }
        said
    };
    let mut partition = partition(script(text), serde_json::json!({}));
    let once = read(&mut partition, 1, 180);
    assert_eq!(once, ["600", "1200", "1800"]);
    let mut again = super::partition(script(text), serde_json::json!({}));
    again.restore(&partition.save(), true).unwrap();
    assert_eq!(read(&mut again, 2, 150), once[..2], "after its end");
    assert_eq!(read(&mut again, 3, 180), once, "and after it was broken off");
}
