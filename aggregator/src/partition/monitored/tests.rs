//! Hosts that are probed, with rounds made up.

use serde_json::{Value, json};
use shared::model::AlertAction;
use shared::store::{EngagedAlert, Transition};

use super::*;
use crate::partition::tests::{START, partition, restarted, script, transitions};

fn hosts(hosts: Value) -> BTreeMap<String, MonitorHost> {
    let hosts: Vec<MonitorHost> = serde_json::from_value(hosts).unwrap();
    hosts.into_iter().map(|host| (host.value(), host)).collect()
}

fn icmp(more: Value) -> BTreeMap<String, MonitorHost> {
    let mut host = json!({ "host": "192.0.2.1", "measure": "icmp", "hold_s": 0, "failures": "1 of 1" });
    host.as_object_mut().unwrap().extend(serde_json::from_value::<serde_json::Map<_, _>>(more).unwrap());
    hosts(json!([host]))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(START + seconds)
}

fn round(up: bool) -> Round {
    Round { sent: 3, rtts_us: vec![4000; if up { 3 } else { 0 }], ..Round::default() }
}

/// A partition and its station, with what was engaged before.
fn begun(
    sources: &str,
    hosts: &BTreeMap<String, MonitorHost>,
    engaged: Vec<EngagedAlert>,
) -> (Partition, Station) {
    let sources = if sources.is_empty() { Vec::new() } else { script(sources) };
    let mut partition = restarted(sources, json!({}), engaged);
    let mut station = partition.station("s", "n");
    partition.set_monitored(&mut station, hosts, at(0));
    (partition, station)
}

/// One round of the first host.
fn probe(partition: &mut Partition, station: &mut Station, seconds: i64, up: bool) -> Output {
    let watch = station.watches().next().unwrap();
    let (value, number) = (watch.value().to_owned(), watch.number);
    partition.end_round(station, (&value, number), round(up), at(seconds))
}

fn engaged(output: &Output) -> EngagedAlert {
    match &output.transitions[..] {
        [Transition::Engage(engaged)] => engaged.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_that_is_down_engages_once_and_is_released_when_it_is_back() {
    let (mut partition, mut station) = begun("", &icmp(json!({})), Vec::new());
    let down = engaged(&probe(&mut partition, &mut station, 0, false)).alert;
    assert_eq!((down.entity, down.entity_value.as_str()), (Entity::AmHost, "icmp@192.0.2.1"));
    assert_eq!((down.category, down.alert_type.as_str()), (Category::ActiveMonitoring, "am_threshold_cross"));
    assert_eq!((down.alert_key.as_deref(), down.value), (Some("min_loss"), Some(100.0)));
    assert_eq!(down.client.unwrap().ip.to_string(), "192.0.2.1");
    assert!(probe(&mut partition, &mut station, 60, false).transitions.is_empty(), "nothing is new");
    let back = probe(&mut partition, &mut station, 120, true);
    let value = "icmp@192.0.2.1".to_owned();
    assert_eq!(transitions(&[back]), [(AlertAction::Release, value, 120)]);
}

#[test]
fn what_comes_and_goes_all_the_time_is_one_episode() {
    let (mut partition, mut station) =
        begun("", &icmp(json!({ "failures": "2 of 3", "hold_s": 120 })), Vec::new());
    let outputs: Vec<Output> =
        (0..30).map(|n| probe(&mut partition, &mut station, 60 * n, n % 2 == 0)).collect();
    assert_eq!(transitions(&outputs).len(), 1, "{:?}", transitions(&outputs));
    let calm: Vec<Output> = (30..34).map(|n| probe(&mut partition, &mut station, 60 * n, true)).collect();
    let told: Vec<AlertAction> = transitions(&calm).into_iter().map(|(action, ..)| action).collect();
    assert_eq!(told, [AlertAction::Release]);
}

#[test]
fn after_a_restart_an_engaged_alert_is_known_and_released_under_its_id() {
    let (mut partition, mut station) = begun("", &icmp(json!({})), Vec::new());
    let down = engaged(&probe(&mut partition, &mut station, 0, false));
    let (mut partition, mut station) = begun("", &icmp(json!({})), vec![down.clone()]);
    assert!(probe(&mut partition, &mut station, 60, false).transitions.is_empty(), "still the same episode");
    match &probe(&mut partition, &mut station, 120, true).transitions[..] {
        [Transition::Release(alert)] => assert_eq!(alert.id, down.alert.id),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_is_probed_no_more_is_released() {
    let (mut partition, mut station) = begun("", &icmp(json!({})), Vec::new());
    let down = engaged(&probe(&mut partition, &mut station, 0, false));
    let gone = partition.set_monitored(&mut station, &BTreeMap::new(), at(30));
    assert_eq!(transitions(&[gone]).len(), 1);
    // Also when that was said while nobody ran.
    let mut partition = restarted(Vec::new(), json!({}), vec![down]);
    let mut station = partition.station("s", "n");
    let hourly = icmp(json!({ "granularity": "hour" }));
    let other = partition.set_monitored(&mut station, &hourly, at(60));
    assert_eq!(transitions(&[other]).len(), 1, "another period is another alert");
}

#[test]
fn the_warning_gives_way_to_the_alert() {
    let limits = json!({ "threshold": { "warn_loss": 20 } });
    let (mut partition, mut station) = begun("", &icmp(limits), Vec::new());
    let value = "icmp@192.0.2.1";
    let lossy = Round { sent: 3, rtts_us: vec![4000; 2], ..Round::default() };
    let warned = partition.end_round(&mut station, (value, 1), lossy, at(0));
    assert_eq!(engaged(&warned).alert.severity.to_string(), "warning");
    let told = transitions(&[probe(&mut partition, &mut station, 60, false)]);
    let actions: Vec<AlertAction> = told.iter().map(|(action, ..)| *action).collect();
    assert_eq!(actions, [AlertAction::Release, AlertAction::Engage]);
    let late = partition.end_round(&mut station, (value, 7), round(true), at(61));
    assert!(late.transitions.is_empty(), "a round of an earlier host of that name");
}

const SCRIPT: &str = r#"#{
    kind: "active_monitoring", lifecycle: "load",
    hooks: #{ min: |p| {
        log(`${p.entity_info} ${p.entity_info.measure} ${p.granularity} ${p.delta.probes} ${p.delta.replies} ${p.stats.up} ${p.ts_enabled}`);
        if p.stats.up == 0 { trigger_alert(#{ message: "down" }); }
    } },
}"#;

#[test]
fn scripts_are_called_once_a_period_for_each_host_and_their_alerts_come_and_go() {
    let two = hosts(json!([
        { "host": "192.0.2.1", "measure": "icmp" },
        { "host": "a.example", "measure": "https", "granularity": "hour" },
    ]));
    let (mut partition, mut station) = begun(SCRIPT, &two, Vec::new());
    assert!(partition.end_periods(&mut station, at(1), true).transitions.is_empty());
    let third = station.watches().nth(1).map(|watch| (watch.value().to_owned(), watch.number)).unwrap();
    partition.end_round(&mut station, (&third.0, third.1), round(true), at(2));
    let minute = partition.end_periods(&mut station, at(61), true);
    let about: Vec<_> = transitions(&[minute]).into_iter().map(|(_, value, _)| value).collect();
    assert_eq!(about, ["https@a.example"], "no round has ended of that one");
    assert_eq!(partition.report().scripts["test"].calls, 2);
    let slept = partition.end_periods(&mut station, at(601), true);
    assert!(slept.transitions.is_empty());
    assert_eq!(partition.report().scripts["test"].calls, 4, "minutes slept through are run once");
    partition.end_periods(&mut station, at(700), false);
    assert_eq!(partition.report().scripts["test"].calls, 4, "another aggregator runs them");
}

#[test]
fn rounds_go_into_the_series_where_they_are_kept() {
    let (mut partition, mut station) = begun("", &icmp(json!({})), Vec::new());
    partition.end_periods(&mut station, at(1), true);
    probe(&mut partition, &mut station, 10, true);
    probe(&mut partition, &mut station, 20, false);
    let output = partition.end_periods(&mut station, at(60), true);
    let [batch] = &output.samples[..] else { panic!("{:?}", output.samples) };
    let [sample] = &batch.samples[..] else { panic!("{batch:?}") };
    assert_eq!((sample.element.entity, sample.element.value.as_str()), (Entity::AmHost, "icmp@192.0.2.1"));
    let value = |name: &str| sample.metrics[name].value();
    assert_eq!((value("up"), value("loss"), value("rtt")), (0.5, 50.0, 4.0));
    assert_eq!(batch.windows.len(), 4, "minutes, 5 minutes, hours and days");

    let mut quiet = partition;
    quiet.config.time_series.monitored_hosts = false;
    probe(&mut quiet, &mut station, 70, true);
    assert!(quiet.end_periods(&mut station, at(120), true).samples.is_empty());
}

#[test]
fn ts_enabled_follows_the_setting() {
    for kept in [true, false] {
        let text =
            "#{ kind: \"active_monitoring\", hooks: #{ min: |p| { if p.ts_enabled { store_alert(#{}) } } } }";
        let mut partition = partition(script(text), json!({}));
        partition.config.time_series.monitored_hosts = kept;
        let mut station = partition.station("s", "n");
        partition.set_monitored(&mut station, &icmp(json!({})), at(0));
        partition.end_periods(&mut station, at(1), true);
        let output = partition.end_periods(&mut station, at(60), true);
        assert_eq!(output.transitions.len(), usize::from(kept));
    }
}

#[test]
fn a_wall_clock_that_steps_back_runs_no_period_again_and_one_that_steps_forward_runs_it_once() {
    let text = "#{ kind: \"active_monitoring\", hooks: #{ min: |p| publish(\"seen\", `${p.when}`) } }";
    let (mut partition, mut station) = begun(text, &icmp(json!({})), Vec::new());
    let mut said = |now: i64| {
        let output = partition.end_periods(&mut station, at(now), true);
        output.messages.into_iter().map(|(.., text)| text.parse::<i64>().unwrap() - START).collect::<Vec<_>>()
    };
    assert!(said(10).is_empty());
    assert_eq!(said(60), [60]);
    assert_eq!(said(125), [120]);
    // An hour back: those minutes were run.
    assert!((0..60).all(|minute| said(125 - 3600 + minute * 60).is_empty()));
    assert_eq!(said(180), [180]);
    // A day forward: what lies between is run once.
    assert_eq!(said(180 + 86_400).len(), 1);
}

#[test]
fn rounds_before_and_after_a_step_of_the_clock_are_told_in_order_under_ids_of_their_own() {
    let (mut partition, mut station) = begun("", &icmp(json!({})), Vec::new());
    let first = engaged(&probe(&mut partition, &mut station, 100, false)).alert;
    assert_eq!(transitions(&[probe(&mut partition, &mut station, 40, true)]).len(), 1, "released");
    let second = engaged(&probe(&mut partition, &mut station, 10, false)).alert;
    assert_ne!(first.id, second.id);
    assert!(second.tstamp > first.tstamp, "time as the station tells it never goes back");
}
