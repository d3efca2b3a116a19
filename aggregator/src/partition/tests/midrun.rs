//! Runs that were cut short, and what happened before they could go on.

use super::*;

/// Takes far more than a millisecond for each host (catching is left to the interpreter), so that a run with a
/// deadline of one reaches one host.
const SLOW: &str = "#{ default_value: #{ n: 1 }, hooks: #{ min: |p| {
    for i in 0..40000 { try { i += 1; } catch { } }
    publish(\"seen\", `${p.entity_info} ${p.user_script_config.n}`);
    trigger_alert(#{ message: \"x\" });
} } }";

fn said(outputs: &[Output]) -> Vec<String> {
    outputs.iter().flat_map(|output| output.messages.iter().map(|(.., text)| text.clone())).collect()
}

fn three(_: i64) -> Vec<(&'static str, u64)> {
    vec![("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1)]
}

/// The same second of another interface.
fn of_interface(ifid: u32, mut delta: Delta) -> Delta {
    delta.producer.ifid = ifid;
    delta.producer.interface = format!("eth{ifid}");
    delta
}

#[test]
fn a_configuration_that_changes_in_mid_run_is_that_of_the_hosts_not_yet_reached() {
    let mut partition = partition(script(SLOW), serde_json::json!({}));
    partition.config.run_deadline_ms = 1;
    assert_eq!(said(&seconds(&mut partition, 0..60, three)), ["10.0.0.1 1"]);
    partition.config.run_deadline_ms = 60_000;
    let settings = serde_json::json!({ "test": { "config": { "n": 2 } } });
    let settings = serde_json::from_value(settings).unwrap();
    partition.reload_scripts(&ScriptSetup { sources: script(SLOW), settings, ..ScriptSetup::default() });
    let outputs = seconds(&mut partition, 60..120, three);
    assert_eq!(said(&outputs), ["10.0.0.2 2", "10.0.0.3 2", "10.0.0.1 2"], "where the last run ended");
    let engaged: Vec<String> = transitions(&outputs).into_iter().map(|(_, host, _)| host).collect();
    assert_eq!(engaged, ["10.0.0.2", "10.0.0.3"], "the first host's alert is an update");
}

#[test]
fn an_interface_that_disappears_in_mid_run_leaves_the_others_alone_and_its_alerts_engaged() {
    let mut partition = partition(script(SLOW), serde_json::json!({}));
    partition.config.run_deadline_ms = 1;
    let outputs = seconds(&mut partition, 0..60, three);
    assert_eq!(transitions(&outputs).len(), 1, "its run reached one host");
    partition.config.run_deadline_ms = 60_000;
    let other = |at: i64| of_interface(4, delta(at, &[("10.0.0.9", 1)]));
    let outputs: Vec<Output> = (0..180).map(|at| partition.apply(&other(at))).collect();
    assert_eq!(said(&outputs), ["10.0.0.9 1", "10.0.0.9 1", "10.0.0.9 1"]);
    assert_eq!(transitions(&outputs).len(), 1, "nothing of the lost interface is released");
    assert_eq!(partition.levels().0, 2);
    // Its collector comes back with another interface under the same number: the run goes on.
    let back: Vec<Output> = (180..240)
        .map(|at| {
            let mut delta = delta(at, &three(at));
            (delta.producer.epoch, delta.producer.sequence) = (2, at as u64 - 179);
            partition.apply(&delta)
        })
        .collect();
    let reached = said(&back);
    assert!(
        ["10.0.0.1 1", "10.0.0.2 1", "10.0.0.3 1"].iter().all(|host| reached.contains(&(*host).to_owned()))
    );
}

#[test]
fn a_script_of_another_interface_is_not_run() {
    let text = "#{ scope: [\"eth4\"], hooks: #{ min: |p| publish(\"seen\", `${p.ifid}`) } }";
    let mut partition = partition(script(text), serde_json::json!({}));
    let outputs: Vec<Output> = (0..60)
        .flat_map(|at| {
            let delta = delta(at, &[("10.0.0.1", 1)]);
            [partition.apply(&delta), partition.apply(&of_interface(4, delta))]
        })
        .collect();
    assert_eq!(said(&outputs), ["4"]);
}

#[test]
fn what_went_wrong_last_is_told() {
    let mut partition =
        partition(script("#{ hooks: #{ min: |p| throw p.entity_info.ip } }"), serde_json::json!({}));
    seconds(&mut partition, 0..60, three);
    assert!(partition.report().last_errors["test"].contains("10.0.0.3"));
}

#[test]
fn elements_have_the_fields_of_the_manual() {
    use crate::element::{Host, Interface, Network};
    use shared::model::entity_field::{EntityField, HOST_FIELDS, INTERFACE_FIELDS, NETWORK_FIELDS};
    use shared::script::element::InfoValue;
    let same = |fields: &[EntityField], info: Vec<(&'static str, InfoValue)>| {
        let names: Vec<_> = fields.iter().map(|field| field.name).collect();
        assert_eq!(info.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    };
    same(
        HOST_FIELDS,
        Host::default().info(HostKey::new("10.0.0.1".parse().unwrap(), 0), &Default::default()),
    );
    same(NETWORK_FIELDS, Network::info("10.0.0.0/8".parse().unwrap()));
    same(INTERFACE_FIELDS, Interface::default().info());
}
