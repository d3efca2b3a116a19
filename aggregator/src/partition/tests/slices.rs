//! A delta whose windows take long is gone through in slices.

use std::time::Duration;

use super::*;

/// Tells of every element of every kind and period, remembers something, and alerts.
fn telling(kind: &str) -> ScriptSource {
    let text = format!(
        "let seen = 0; #{{ kind: \"{kind}\",
            hooks: #{{ all: |p| {{
                seen += 1;
                publish(\"seen\", `{kind} ${{p.granularity}} ${{p.entity_info}} ${{p.stats}} ${{p.delta}}`);
                if p.delta.bytes > 300 {{ trigger_alert(#{{ message: `${{p.entity_info}}` }}) }}
                remember(\"last\", `${{p.entity_info}}`);
            }} }},
            setup: || true, teardown: || publish(\"seen\", `{kind}: ${{seen}}`) }}"
    );
    ScriptSource { name: kind.to_owned(), ..script(&text).remove(0) }
}

fn sources() -> Vec<ScriptSource> {
    ["host", "network", "interface"].map(telling).into()
}

fn five(at: i64) -> Vec<(&'static str, u64)> {
    let all = [("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 9), ("192.0.2.1", 1), ("192.0.2.2", 7)];
    all.into_iter().filter(|(_, bytes)| at % 400 < 200 || *bytes < 7).collect()
}

#[test]
fn slices_change_nothing_to_the_byte() {
    let (mut whole, mut sliced) =
        (partition(sources(), serde_json::json!({})), partition(sources(), serde_json::json!({})));
    let (mut slices, mut windows) = (0, 0);
    for at in 0..660 {
        let delta = delta(at, &five(at));
        let expected = whole.apply(&delta);
        let output = loop {
            if let Some(output) = sliced.step(&delta, Duration::ZERO) {
                break output;
            }
            slices += 1;
            assert!(sliced.is_under_way());
            assert_eq!(sliced.interfaces().count(), 1, "whoever asks sees the interface all the same");
        };
        assert!(!sliced.is_under_way());
        windows += usize::from(!expected.messages.is_empty());
        assert_eq!(format!("{output:?}"), format!("{expected:?}"), "second {at}");
    }
    assert!(windows == 11 && slices > 11 * 5, "{slices} slices for {windows} minutes");
    assert_eq!(sliced.save(), whole.save());
}

#[test]
fn carrying_out_is_sliced_too() {
    let text =
        "#{ hooks: #{ min: |p| { for i in 0..50 { publish(\"seen\", `${i}`); } trigger_alert(#{}); } } }";
    let mut partition = partition(script(text), serde_json::json!({}));
    seconds(&mut partition, 0..59, |_| vec![("10.0.0.1", 1)]);
    let last = delta(59, &[("10.0.0.1", 1)]);
    let mut slices = 0;
    let output = loop {
        if let Some(output) = partition.step(&last, Duration::ZERO) {
            break output;
        }
        slices += 1;
    };
    assert_eq!((output.messages.len(), output.transitions.len()), (50, 1));
    assert!(slices >= 50, "{slices} slices for 51 things");
}

#[test]
fn who_is_in_a_hurry_ends_the_run_and_the_next_one_begins_where_it_ended() {
    let text = "#{ hooks: #{ min: |p| publish(\"seen\", `${p.entity_info} ${p.seconds}`) } }";
    let mut partition = partition(script(text), serde_json::json!({}));
    let three = |_| vec![("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1)];
    seconds(&mut partition, 0..59, three);
    let last = delta(59, &three(59));
    let mut steps = 0;
    let output = loop {
        if let Some(output) = partition.step(&last, Duration::ZERO) {
            break output;
        }
        steps += 1;
        if steps == 5 {
            partition.hurry();
        }
    };
    let said = |output: &Output| output.messages.iter().map(|(.., text)| text.clone()).collect::<Vec<_>>();
    assert_eq!(said(&output).len(), 1, "{:?}", said(&output));
    let next = seconds(&mut partition, 60..120, three);
    let next: Vec<String> = next.iter().flat_map(said).collect();
    assert_eq!(next, ["10.0.0.2 120", "10.0.0.3 120", "10.0.0.1 60"]);
    assert_eq!(partition.report().errors["elements_not_reached"], 2);
}
