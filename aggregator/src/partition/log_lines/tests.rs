//! Log lines, and the built-in checks of them.

use serde_json::{Value, json};
use shared::model::{Alert, Severity};
use shared::script::source::{Origin, ScriptSource, builtin};
use shared::store::Transition;

use super::*;
use crate::partition::tests::{START, partition, script};
use crate::syslog::parse;

/// Alerts that these lines of 192.0.2.7 cause.
fn told(partition: &mut Partition, lines: &[&str]) -> Vec<Alert> {
    let mut station = partition.station("s", "n");
    let mut output = Output::default();
    for line in lines {
        let event =
            parse::line("192.0.2.7".parse().unwrap(), line.as_bytes(), Timestamp::from_secs(START)).unwrap();
        partition.log_line(&mut station, &event, &mut output);
    }
    let stored = |transition| match transition {
        Transition::Store(alert) => alert,
        other => panic!("{other:?}"),
    };
    output.transitions.into_iter().map(stored).collect()
}

#[test]
fn a_grave_line_is_an_alert_of_the_host_that_sent_it() {
    let mut partition = partition(builtin(), json!({}));
    let alerts = told(
        &mut partition,
        &[
            "<11>Oct 11 22:14:15 gate sshd[1]: broken",
            "<14>Oct 11 22:14:15 gate sshd[1]: fine",
            "<8>1 - - - - - - gone",
        ],
    );
    let shown: Vec<_> = alerts
        .iter()
        .map(|alert| (alert.severity, alert.message.as_str(), alert.entity_value.as_str()))
        .collect();
    assert_eq!(
        shown,
        [(Severity::Error, "sshd: broken", "192.0.2.7"), (Severity::Emergency, "gone", "192.0.2.7")]
    );
    assert_eq!((alerts[0].entity, alerts[0].script.as_str()), (Entity::Host, "host_log"));
    assert_ne!(alerts[0].id, alerts[1].id);
    assert_eq!(alerts[0].client.as_ref().unwrap().ip.to_string(), "192.0.2.7");
}

fn eve(more: Value) -> String {
    let mut record = json!({
        "timestamp": "2026-11-28T10:00:00.000000+0000", "event_type": "alert",
        "src_ip": "192.0.2.10", "src_port": 50001, "dest_ip": "2001:db8::5", "dest_port": 443,
        "proto": "TCP", "app_proto": "tls",
        "alert": { "action": "allowed", "gid": 1, "signature_id": 2_100_498, "rev": 7,
                   "signature": "Example rule", "category": "Potentially Bad Traffic", "severity": 2 },
    });
    record.as_object_mut().unwrap().extend(serde_json::from_value::<serde_json::Map<_, _>>(more).unwrap());
    format!("<142>Oct 11 22:14:15 ids suricata[9]: @cee: {record}")
}

#[test]
fn an_alert_of_suricata_is_one_of_the_flow_or_host_that_it_names() {
    let mut partition = partition(builtin(), json!({}));
    let lines = [
        eve(json!({})),
        eve(json!({ "event_type": "flow" })),
        eve(json!({ "dest_ip": null })),
        eve(json!({ "src_ip": "nonsense" })),
        eve(json!({ "alert": 7 })),
        "<142>Oct 11 22:14:15 ids suricata[9]: {\"event_type\": ".to_owned(),
        "<142>Oct 11 22:14:15 ids suricata[9]: starts up".to_owned(),
        eve(json!({ "event_type": "alert" })).replace("suricata", "other"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let alerts = told(&mut partition, &lines);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let flow = &alerts[0];
    assert_eq!(
        (flow.entity, flow.entity_value.as_str()),
        (Entity::Flow, "192.0.2.10:50001 [2001:db8::5]:443")
    );
    assert_eq!(flow.message, "Example rule (Potentially Bad Traffic)");
    assert_eq!((flow.severity, flow.script.as_str()), (Severity::Warning, "suricata"));
    let about = flow.flow.as_ref().unwrap();
    assert_eq!((about.l4.as_str(), about.l7.as_str()), ("tcp", "tls"));
    assert_eq!(flow.server.as_ref().unwrap().port, 443);
    let report = partition.report();
    assert_eq!(report.noted["suricata.malformed"].sum, 4.0, "{:?}", report.noted);
    assert_eq!(report.scripts["suricata"].errors, 0, "nobody can have it left alone");
}

#[test]
fn scripts_get_the_lines_of_their_producer_and_keep_their_state() {
    let text = "let n = 0; #{ producer: \"SSHD\", default_value: #{ word: \"no\" },
        hooks: #{ handleEvent: |event, config| {
            n += 1;
            if event.message.contains(config.word) {
                trigger_alert(#{ message: `${n} ${event.host} ${event.process} ${event.data[\"x\"].k}`, client: \"10.0.0.9\" });
            }
        } } }";
    let mut partition = partition(script(text), json!({}));
    let alerts = told(
        &mut partition,
        &[
            "<14>1 - h sshd 5 - [x k=\"v\"] yes",
            "<14>1 - h cron 5 - - no",
            "<14>1 - h sshd 5 - [x k=\"v\"] no",
        ],
    );
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((alert.message.as_str(), alert.entity_value.as_str()), ("2 h 5 v", "10.0.0.9"));
    assert!(alert.client.as_ref().unwrap().local);
    assert_eq!(partition.report().hooks["handleEvent"], 2);
}

#[test]
fn a_script_that_fails_again_and_again_is_left_alone() {
    let mut partition = partition(script("#{ hooks: #{ handleEvent: |e, c| throw \"no\" } }"), json!({}));
    let alerts = told(&mut partition, &["<14>a"; 5]);
    let types: Vec<_> = alerts.iter().map(|alert| alert.alert_type.as_str()).collect();
    assert_eq!(types, ["script_quarantined"]);
    let counts = partition.report().scripts["test"];
    assert_eq!((counts.calls, counts.skips), (3, 2));
}

#[test]
fn only_a_script_of_log_lines_says_whom_an_alert_is_about() {
    let engine = shared::script::engine::ScriptEngine::new(shared::script::ScriptLimits::default());
    let source = |text: &str| ScriptSource {
        name: "x".into(),
        origin: Origin::Inline,
        folder: None,
        text: text.to_owned(),
    };
    for wrong in [
        "#{ kind: \"host\", hooks: #{ handleEvent: |e, c| () } }",
        "#{ hooks: #{ handleEvent: |e, c| (), min: |p| () } }",
        "#{ kind: \"syslog\", hooks: #{ min: |p| () } }",
        "#{ producer: \"x\", hooks: #{ min: |p| () } }",
    ] {
        assert!(engine.compile(&source(wrong)).is_err(), "{wrong}");
    }
    let all = engine.compile(&source("#{ kind: \"syslog\", hooks: #{ all: |e, c| () } }")).unwrap();
    assert_eq!(all.meta().hooks.len(), 1);
    let mut partition = partition(
        script("#{ kind: \"interface\", hooks: #{ min: |p| store_alert(#{ client: \"10.0.0.1\" }) } }"),
        json!({}),
    );
    crate::partition::tests::seconds(&mut partition, 0..60, |_| vec![("10.0.0.1", 1)]);
    assert_eq!(partition.report().scripts["test"].errors, 1);
}

#[test]
fn a_wall_clock_that_steps_back_loses_no_line_and_gives_each_its_own_id() {
    let mut partition = partition(builtin(), json!({}));
    let mut station = partition.station("s", "n");
    let mut output = Output::default();
    for step in [0, 5, -3600, -3600, 5] {
        let at = Timestamp::from_secs(START + step);
        let line = b"<11>Oct 11 22:14:15 gate sshd[1]: broken";
        let event = parse::line("192.0.2.7".parse().unwrap(), line, at).unwrap();
        partition.log_line(&mut station, &event, &mut output);
    }
    let stored: Vec<(String, Timestamp)> = output
        .transitions
        .into_iter()
        .map(|transition| match transition {
            Transition::Store(alert) => (alert.id, alert.tstamp),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(stored.len(), 5);
    assert!(stored.windows(2).all(|pair| pair[0].1 < pair[1].1 && pair[0].0 != pair[1].0), "{stored:?}");
}
