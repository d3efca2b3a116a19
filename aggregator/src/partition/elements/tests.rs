//! What hooks are told of their elements.

use std::collections::BTreeSet;

use serde_json::json;

use crate::config::TimeSeriesConfig;
use crate::partition::tests::{partition, script, seconds, transitions};

/// Elements of a kind that hooks see with `ts_enabled`.
fn kept(kind: &str, series: TimeSeriesConfig) -> BTreeSet<String> {
    let text = format!(
        "#{{ kind: \"{kind}\", hooks: #{{ min: |p| {{ if p.ts_enabled {{ store_alert(#{{}}) }} }} }} }}"
    );
    let mut partition = partition(script(&text), json!({}));
    partition.config.time_series = series;
    let outputs = seconds(&mut partition, 0..60, |_| vec![("10.0.0.1", 1), ("192.0.2.9", 1)]);
    transitions(&outputs).into_iter().map(|(_, value, _)| value).collect()
}

#[test]
fn ts_enabled_says_of_each_kind_of_element_whether_series_are_kept() {
    let none = TimeSeriesConfig {
        interfaces: false,
        networks: false,
        local_hosts: false,
        remote_hosts: false,
        system: false,
        ..TimeSeriesConfig::default()
    };
    for (kind, on, elements) in [
        ("interface", TimeSeriesConfig { interfaces: true, ..none }, vec!["eth0"]),
        ("network", TimeSeriesConfig { networks: true, ..none }, vec!["10.0.0.0/8"]),
        ("host", TimeSeriesConfig { local_hosts: true, ..none }, vec!["10.0.0.1"]),
        ("host", TimeSeriesConfig { remote_hosts: true, ..none }, vec!["192.0.2.9"]),
        ("system", TimeSeriesConfig { system: true, ..none }, vec!["flowhook"]),
    ] {
        let elements: BTreeSet<String> = elements.into_iter().map(str::to_owned).collect();
        assert_eq!(kept(kind, on), elements, "{kind}");
        assert!(kept(kind, none).is_empty(), "{kind}");
    }
}
