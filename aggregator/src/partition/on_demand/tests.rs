//! Scripts called by hand.

use serde_json::json;
use shared::model::AlertAction;

use super::*;
use crate::partition::tests::{delta, partition, script, seconds, transitions};

fn request(only: &[&str]) -> RunRequest {
    let element = |element: &&str| Override { element: Some((*element).to_owned()), ..Override::default() };
    let only = only.iter().map(element).collect();
    RunRequest { key: "test".to_owned(), hook: Granularity::Min, only, site: None, ifid: None }
}

const LIMIT: &str = "#{ default_enabled: false, default_value: #{ threshold: 50 },
    hooks: #{ min: |p| { log(`${p.granularity} ${p.seconds}`); check_threshold(p, p.delta.bytes, \"bytes\"); } } }";

#[test]
fn each_call_is_told_with_what_it_asked_for_and_that_is_carried_out() {
    let mut partition = partition(script(LIMIT), json!({}));
    seconds(&mut partition, 0..5, |_| vec![("10.0.0.1", 100), ("192.0.2.9", 1)]);
    let (output, answer) = partition.run_on_demand(&request(&[]));
    assert_eq!((answer.calls, answer.errors, answer.not_reached), (2, 0, 0));
    let shown = serde_json::to_value(&answer.rows).unwrap();
    assert_eq!(shown[0]["element"], "10.0.0.1");
    assert_eq!(shown[0]["effects"][0], json!({ "log": ["info", "aperiodic 0"] }));
    assert_eq!(shown[0]["effects"][1]["trigger"]["value"], 500.0);
    assert_eq!(shown[1]["effects"][1]["release"], "threshold_cross");
    let told = transitions(&[output]);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, told[0].1.as_str()), (AlertAction::Engage, "10.0.0.1"));
    assert_eq!(partition.report().hooks["aperiodic"], 2);
}

#[test]
fn only_the_elements_that_are_meant_are_called_and_released() {
    let text = "#{ hooks: #{ hour: |p| (), min: |p| if p.delta.bytes > 50 { trigger_alert(#{}) } } }";
    let mut partition = partition(script(text), json!({ "test": { "enabled": false } }));
    partition.apply(&delta(0, &[("10.0.0.1", 100), ("10.0.0.2", 100), ("192.0.2.9", 1)]));
    let run = |partition: &mut Partition, only: &[&str]| {
        let (output, answer) = partition.run_on_demand(&request(only));
        let told: Vec<_> =
            transitions(&[output]).into_iter().map(|(action, value, _)| (action, value)).collect();
        (answer.calls, told)
    };
    let (calls, told) = run(&mut partition, &["10.0.0.0/24"]);
    assert_eq!((calls, told.len()), (2, 2));
    assert_eq!(run(&mut partition, &["10.0.0.7"]), (0, vec![]));
    // The window in which there was nothing new: who was called for is released, the other is not.
    seconds(&mut partition, 1..61, |_| Vec::new());
    let released = vec![(AlertAction::Release, "10.0.0.1".to_owned())];
    assert_eq!(run(&mut partition, &["10.0.0.1"]), (1, released));
    let elsewhere = RunRequest { ifid: Some(99), ..request(&[]) };
    assert_eq!(partition.run_on_demand(&elsewhere).1.calls, 0);
    let unknown = RunRequest { key: "other".to_owned(), ..request(&[]) };
    assert_eq!(partition.run_on_demand(&unknown).1, RunAnswer::default());
}

#[test]
fn a_script_that_is_off_is_called_with_the_configuration_of_its_overrides() {
    let text = "#{ default_enabled: false, default_value: #{ n: 1 }, hooks: #{ min: |p| log(`${p.user_script_config.n}`) } }";
    let overrides = json!([
        { "element": "10.0.0.1", "config": { "n": 2 } },
        { "element": "10.0.0.2", "enabled": false, "config": { "n": 3 } },
        { "element": "10.0.0.3", "hooks": ["min"], "enabled": true, "config": { "n": 4 } },
    ]);
    let mut partition = partition(script(text), json!({ "test": { "overrides": overrides } }));
    let hosts = |_| vec![("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1), ("10.0.0.4", 1)];
    seconds(&mut partition, 0..5, hosts);
    let (_, answer) = partition.run_on_demand(&request(&[]));
    let logged: Vec<String> = answer
        .rows
        .iter()
        .map(|row| match &row.effects[..] {
            [Effect::Log(_, text)] => text.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(logged, ["2", "3", "4", "1"]);
    // In its own runs it is called where it is on.
    seconds(&mut partition, 5..60, hosts);
    assert_eq!(partition.report().scripts["test"].calls, 4 + 1);
}

#[test]
fn a_failed_call_is_told_and_the_others_go_on() {
    let text =
        "let n = 0; #{ hooks: #{ min: |p| { n += 1; if p.entity_info == \"10.0.0.1\" { throw \"no\" } } },
        teardown: || log(`${n}`) }";
    let mut partition = partition(script(text), json!({}));
    partition.apply(&delta(0, &[("10.0.0.1", 1), ("10.0.0.2", 1)]));
    let (_, answer) = partition.run_on_demand(&request(&[]));
    assert_eq!((answer.calls, answer.errors), (2, 1));
    let shown = serde_json::to_value(&answer.rows).unwrap();
    assert_eq!(shown[0]["effects"], json!([{ "log": ["info", "2"] }]), "teardown");
    assert!(shown[1]["error"].as_str().unwrap().contains("no"), "{shown}");
    assert_eq!(shown[2]["element"], "10.0.0.2");
}
