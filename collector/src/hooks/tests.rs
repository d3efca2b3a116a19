//! What scripts may cost, and what is told of them.

use shared::model::{L4, LocalNetworks};
use shared::script::source::{Origin, ScriptSource};

use super::*;
use crate::CollectorConfig;
use crate::decode::Packet;
use crate::flow::event::FlowIndex;
use crate::flow::{FlowTable, RecordContext};

fn table() -> (FlowTable, FlowIndex) {
    let mut table = FlowTable::new(CollectorConfig::default().table(0, 1));
    let (from, to) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let packet = Packet::new(Timestamp::from_secs(1), 60, from, to, L4::UDP);
    let index = table.on_packet(&packet, &mut Vec::new());
    (table, index)
}

fn record() -> FlowRecord {
    let (table, index) = table();
    let cx = RecordContext { ifid: 0, networks: &LocalNetworks::default() };
    table.record(table.get(index).unwrap(), cx, None)
}

fn setup(bodies: &[(&str, &str)]) -> ScriptSetup {
    let source = |(name, body): &(&str, &str)| ScriptSource {
        name: (*name).to_owned(),
        origin: Origin::Inline,
        folder: None,
        text: format!("#{{ hooks: #{{ flowEnd: |now, config| {{ {body} }} }} }}"),
    };
    ScriptSetup { sources: bodies.iter().map(source).collect(), ..ScriptSetup::default() }
}

fn loaded(setup: &ScriptSetup) -> HookRunner {
    let (runner, errors, _) = HookRunner::load(setup, 120, Timestamp::ZERO);
    assert!(errors.is_empty(), "{errors:?}");
    runner
}

fn counts(runner: &HookRunner, key: &str) -> ScriptCounts {
    runner.script_counts().find(|(known, _)| *known == key).map(|(_, counts)| counts).unwrap_or_default()
}

/// Ends so many flows in each of so many seconds; returns for how many a record was needed.
fn flows(runner: &mut HookRunner, seconds: std::ops::Range<i64>, each: i64) -> u64 {
    let (table, index) = table();
    let (flow, record) = (table.get(index).unwrap(), record());
    let mut records = 0;
    for second in seconds {
        for number in 0..each {
            let now = Timestamp::from_ns(second * 1_000_000_000 + number);
            if runner.wants_flow(FlowHook::FlowEnd, flow, table.names(), 0, 0, now) {
                runner.call(FlowHook::FlowEnd, &record, 0, 0, now);
                records += 1;
            }
        }
    }
    records
}

/// Scripts that never end, under these names.
fn endless(names: &[String]) -> Vec<(&str, &str)> {
    names.iter().map(|name| (name.as_str(), "loop { }")).collect()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("endless_{n}")).collect()
}

#[test]
fn scripts_that_always_fail_share_a_small_allowance() {
    let names = names(8);
    let mut bodies = endless(&names);
    bodies.push(("fine", "if flow.bytes > 0 { log(\"x\"); }"));
    let mut setup = setup(&bodies);
    setup.limits.quarantine_after = 1_000_000;
    let mut runner = loaded(&setup);
    flows(&mut runner, 0..100, 20);
    let failed: u64 = names.iter().map(|name| counts(&runner, name).errors).sum();
    // Each is called once before anybody knows; then there are 50,000 operations, and 2,005 a second, for
    // calls of 20,000.
    assert!((8..=14).contains(&failed), "{failed} calls of 20,000 operations");
    let skipped: u64 = names.iter().map(|name| counts(&runner, name).skips).sum();
    assert_eq!(failed + skipped, 8 * 2000);
    let fine = counts(&runner, "fine");
    assert_eq!((fine.calls, fine.errors, fine.skips), (2000, 0, 0));
    let info = |key: &str| runner.infos().into_iter().find(|info| info.key == key).unwrap();
    assert!(info("endless_0").last_error.unwrap().contains("more operations than the limit of 20000"));
    assert_eq!((info("fine").last_error, info("fine").counts.unwrap().calls), (None, 2000));
}

#[test]
fn an_endless_loop_is_quarantined_at_once() {
    let names = names(12);
    let mut runner = loaded(&setup(&endless(&names)));
    flows(&mut runner, 0..500, 20);
    for name in &names {
        let endless = counts(&runner, name);
        assert_eq!((endless.errors, endless.quarantined, endless.skips), (1, 1, 9_999), "{name}");
    }
    assert_eq!(runner.take_counts().quarantined.len(), 12);
}

#[test]
fn events_cost_the_same_with_a_dozen_suspects() {
    let names = names(12);
    let mut runner = loaded(&setup(&endless(&names)));
    let records = flows(&mut runner, 0..100, 1000);
    // Whether they may be called is looked at once a second, and after each call of them.
    assert_eq!((records, runner.suspects.len()), (1, 12));
    assert!(runner.suspects.looks <= 101, "{} looks for 100,000 events", runner.suspects.looks);
}

#[test]
fn dear_calls_share_the_allowance_of_failing_ones() {
    let mut runner = loaded(&setup(&[
        // Catching is left to the interpreter.
        ("dear", "for i in 0..2500 { try { i += 1; } catch { } }"),
        ("counts", "let n = 0; for i in 0..400 { n += i; }"),
        ("asks", "for i in 0..500 { log_debug(\"x\"); }"),
        ("cheap", "let n = 0; for i in 0..40 { n += i; }"),
    ]));
    flows(&mut runner, 0..10, 1000);
    let of = |key: &str| counts(&runner, key);
    let spent = of("dear").calls * 10_000 + of("counts").calls * 200 + of("asks").calls * 48_000;
    // 50,000 at first, 2,000 a second and one for each four events, and what is overdrawn by first calls.
    assert!(spent < 50_000 + 10 * 2250 + 100_000, "{spent} operations");
    for key in ["dear", "counts", "asks"] {
        assert_eq!(of(key).calls + of(key).skips, 10_000, "{key}");
        assert_eq!((of(key).errors, of(key).calls > 0), (0, true), "{key}");
    }
    assert_eq!((of("cheap").calls, of("cheap").skips), (10_000, 0));
}

#[test]
fn all_scripts_together_keep_to_one_budget() {
    let greedy: Vec<String> = (0..4).map(|n| format!("greedy_{n}")).collect();
    let mut bodies: Vec<(&str, &str)> =
        greedy.iter().map(|name| (name.as_str(), "for i in 0..8 { try { i += 1; } catch { } }")).collect();
    bodies.push(("modest", "if flow.bytes > 0 { log(\"x\"); }"));
    let mut setup = setup(&bodies);
    setup.limits.operations_per_second = 10_000;
    setup.limits.max_effects_per_second = 2_000;
    let mut runner = loaded(&setup);
    flows(&mut runner, 0..20, 2000);
    let calls: u64 = greedy.iter().map(|name| counts(&runner, name).calls).sum();
    // A call is some 40 operations; together 10,000 a second, and each 250 more.
    assert!((20 * 100..=20 * 500).contains(&calls), "{calls} calls");
    let skipped: u64 = greedy.iter().map(|name| counts(&runner, name).skips).sum();
    assert_eq!(calls + skipped, 4 * 40_000);
    assert!(greedy.iter().all(|name| counts(&runner, name).calls >= 20), "each has something for itself");
    let modest = counts(&runner, "modest");
    assert_eq!((modest.calls, modest.skips), (40_000, 0));
}

#[test]
fn what_a_flow_script_asks_for_in_a_second_is_bounded() {
    let mut setup = setup(&[
        ("posts", "http_post(\"http://x\", \"y\");"),
        ("counts", "count(\"flows\");"),
        ("seven", "for i in 0..7 { log_debug(\"x\"); }"),
        ("large", "if now == 2 { let s = \"x\"; for i in 0..14 { s += s; } publish(\"a.b\", s); }"),
    ]);
    setup.limits.max_effects_per_second = 10;
    let builtin = |source: &ScriptSource| {
        let name = format!("builtin_{}", source.name);
        ScriptSource { name, origin: Origin::Builtin, ..source.clone() }
    };
    setup.sources.push(builtin(&setup.sources[0]));
    let mut runner = loaded(&setup);
    let (table, index) = table();
    let (flow, record) = (table.get(index).unwrap(), record());
    let mut asked: BTreeMap<(String, i64), usize> = BTreeMap::new();
    for (second, number) in [0, 1, 2, 3].into_iter().flat_map(|second| (0..300).map(move |n| (second, n))) {
        let now = Timestamp::from_ns(second * 1_000_000_000 + number);
        assert!(runner.wants_flow(FlowHook::FlowEnd, flow, table.names(), 0, 0, now));
        for Asked { script, .. } in runner.call(FlowHook::FlowEnd, &record, 0, 0, now) {
            *asked.entry((runner.meta(script).key.clone(), second)).or_default() += 1;
        }
    }
    let of = |key: &str| [0, 1, 2, 3].map(|at| asked.get(&(key.to_owned(), at)).copied().unwrap_or_default());
    assert_eq!(of("posts"), [100, 10, 10, 10], "ten seconds' worth is saved up");
    assert_eq!(of("builtin_posts"), [300; 4], "a check of ours is trusted");
    assert_eq!(of("counts"), [300; 4], "what stays here is not counted");
    // 16 KiB count for 17 things.
    assert_eq!(of("large"), [0, 0, 6, 0]);
    assert_eq!((counts(&runner, "posts").errors, counts(&runner, "posts").skips), (0, 1200 - 130));
    // Of a call that goes beyond, the rest is lost.
    assert_eq!((of("seven"), counts(&runner, "seven").errors), ([100, 10, 10, 10], 4));
    let infos = runner.infos();
    let seven = infos.iter().find(|info| info.key == "seven").unwrap();
    let told = seven.last_error.as_ref().unwrap();
    assert!(told.contains("more effects than the limit of 10 a second"), "{told}");
}

#[test]
fn no_record_is_made_for_scripts_that_may_not_be_called() {
    let mut runner = loaded(&setup(&[("endless", "loop { }"), ("wrong", "throw \"no\";")]));
    let records = flows(&mut runner, 0..1000, 20);
    let failed = counts(&runner, "endless").errors + counts(&runner, "wrong").errors;
    assert!(records <= failed && failed < 200, "{records} records for {failed} failed calls");
    let skipped = counts(&runner, "endless").skips + counts(&runner, "wrong").skips;
    assert_eq!(failed + skipped, 2 * 20_000);
}

#[test]
fn no_record_is_made_of_flows_that_every_hook_lets_go_at_once() {
    // The flow has 60 bytes.
    let mut runner = loaded(&setup(&[
        ("large", "if flow.bytes < 1000 { return; } log(\"x\");"),
        ("dns", "if flow.l7 == \"DNS\" && flow.packets > 0 { log(\"x\"); }"),
    ]));
    assert_eq!(flows(&mut runner, 0..10, 10), 0);
    let mut runner = loaded(&setup(&[("small", "if flow.bytes > 1000 { return; } log(\"x\");")]));
    assert_eq!(flows(&mut runner, 0..10, 10), 100);
    assert_eq!(counts(&runner, "small").calls, 100);
}

#[test]
fn a_script_that_failed_once_is_trusted_again() {
    let mut runner = loaded(&setup(&[("once", "if now == 3 { throw \"no\"; }")]));
    flows(&mut runner, 0..4, 1);
    assert_eq!(runner.suspects.len(), 1);
    assert_eq!(flows(&mut runner, 4..100, 1), 96, "it is called while it is suspected");
    assert!(runner.suspects.is_empty());
    let once = counts(&runner, "once");
    assert_eq!((once.errors, once.calls, once.skips), (1, 100, 0));
}

#[test]
fn periodic_updates_are_wanted_at_the_intervals_of_scripts_alone() {
    let of = |name: &str, interval: u32| ScriptSource {
        name: name.to_owned(),
        origin: Origin::Inline,
        folder: None,
        text: format!(
            "#{{ periodic_update_seconds: {interval}, hooks: #{{ periodicUpdate: |now, config| log(\"x\") }} }}"
        ),
    };
    let setup = ScriptSetup { sources: vec![of("a", 120), of("b", 180)], ..ScriptSetup::default() };
    let mut runner = loaded(&setup);
    assert_eq!(runner.periodic_s(), 60);
    let (table, index) = table();
    let flow = table.get(index).unwrap();
    let mut wants =
        |tick| runner.wants_flow(FlowHook::PeriodicUpdate, flow, table.names(), 0, tick, Timestamp::ZERO);
    assert_eq!((1..=6).filter(|tick| wants(*tick)).collect::<Vec<_>>(), [2, 3, 4, 6]);
}

#[test]
fn ten_thousand_errors_a_second_are_a_quarantine() {
    let mut runner = loaded(&setup(&[("wrong", "throw \"no\";")]));
    flows(&mut runner, 0..1, 10_000);
    let wrong = counts(&runner, "wrong");
    assert_eq!((wrong.errors, wrong.quarantined), (20, 1));
    assert_eq!(runner.take_counts().quarantined, ["wrong"]);
}

/// A script that fails until second 700.
const FAILS_AT_FIRST: (&str, &str) = ("late", "if now < 700 { throw \"no\"; }");

#[test]
fn a_quarantined_script_is_tried_again_after_its_time() {
    let mut runner = loaded(&setup(&[FAILS_AT_FIRST]));
    flows(&mut runner, 0..1, 25);
    flows(&mut runner, 599..600, 5);
    let late = counts(&runner, "late");
    assert_eq!((late.errors, late.calls, late.quarantined), (20, 20, 1));
    flows(&mut runner, 601..602, 5);
    let late = counts(&runner, "late");
    assert_eq!(
        (late.errors, late.calls, late.quarantined),
        (21, 21, 2),
        "once, and it is left alone for longer"
    );
    assert_eq!(runner.take_counts().quarantined, ["late", "late"]);
    flows(&mut runner, 1700..1701, 5);
    assert_eq!(counts(&runner, "late").calls, 21);
    flows(&mut runner, 1900..1901, 5);
    let late = counts(&runner, "late");
    assert_eq!((late.errors, late.calls), (21, 26), "it works again");
}

#[test]
fn a_reload_does_not_end_the_retry() {
    let mut runner = loaded(&setup(&[FAILS_AT_FIRST]));
    flows(&mut runner, 0..1, 25);
    assert_eq!(counts(&runner, "late").quarantined, 1);
    let (_, errors, _) = runner.reload(&setup(&[FAILS_AT_FIRST, ("more", "log(\"x\");")]), Timestamp::ZERO);
    assert!(errors.is_empty(), "{errors:?}");
    flows(&mut runner, 500..501, 5);
    assert_eq!((counts(&runner, "late").calls, counts(&runner, "more").calls), (20, 5));
    flows(&mut runner, 800..801, 5);
    let late = counts(&runner, "late");
    assert_eq!((late.errors, late.calls), (20, 25));
}

#[test]
fn a_script_whose_setup_fails_is_left_alone_and_tried_again() {
    let mut setup = setup(&[("odd", "")]);
    setup.sources[0].text = "#{ hooks: #{ flowEnd: |now, config| log(\"x\") },
        setup: || if now() < 700 { throw \"no\" } else { true } }"
        .to_owned();
    let (mut runner, errors, _) = HookRunner::load(&setup, 120, Timestamp::ZERO);
    assert_eq!(errors.len(), 1);
    assert_eq!(runner.take_counts().quarantined, ["odd"]);
    flows(&mut runner, 0..600, 1);
    assert_eq!(counts(&runner, "odd").calls, 0);
    flows(&mut runner, 600..601, 5);
    assert_eq!((counts(&runner, "odd").calls, counts(&runner, "odd").errors), (0, 1));
    flows(&mut runner, 1801..1802, 5);
    assert_eq!((counts(&runner, "odd").calls, counts(&runner, "odd").errors), (5, 1));
}

#[test]
fn scripts_are_called_by_prio_and_only_on_interfaces_of_their_scope() {
    let of = |key: &str, more: &str| ScriptSource {
        name: key.to_owned(),
        origin: Origin::Inline,
        folder: None,
        text: format!("#{{ {more} hooks: #{{ flowEnd: |now, config| log(\"{key}\") }} }}"),
    };
    let sources = vec![
        of("late", "prio: -20,"),
        of("first", "prio: 20,"),
        of("b", ""),
        of("elsewhere", "scope: [\"wan*\"],"),
    ];
    let setup = ScriptSetup { sources, ..ScriptSetup::default() };
    let called = |interface: &str| {
        let (mut runner, ..) = HookRunner::load_on(&setup, interface, 120, Timestamp::ZERO);
        let asked = runner.call(FlowHook::FlowEnd, &record(), 0, 0, Timestamp::ZERO);
        asked.iter().map(|asked| runner.meta(asked.script).key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(called("eth0"), ["first", "b", "late"]);
    assert_eq!(called("wan1"), ["first", "b", "elsewhere", "late"]);
}

#[test]
fn one_script_that_changes_is_compiled_and_the_others_go_on() {
    let bodies: Vec<(String, String)> =
        (0..100).map(|n| (format!("s{n}"), "if flow.bytes > 0 { log(\"x\"); }".to_owned())).collect();
    let mut bodies: Vec<(&str, &str)> = bodies.iter().map(|(n, b)| (n.as_str(), b.as_str())).collect();
    let mut runner = loaded(&setup(&bodies));
    flows(&mut runner, 0..1, 1);
    let before = runner.engine.compiled();
    bodies[3].1 = "log(\"y\");";
    let (_, errors, _) = runner.reload(&setup(&bodies), Timestamp::ZERO);
    assert_eq!((errors, runner.engine.compiled() - before), (vec![], 1));
    flows(&mut runner, 1..2, 1);
    assert_eq!((counts(&runner, "s3").calls, counts(&runner, "s4").calls), (1, 2));
}

#[test]
fn flows_have_the_settings_of_the_first_override_that_fits_a_side() {
    let mut setup = setup(&[("test", "log(`${config.n}`);")]);
    setup.sources[0].text = "#{ default_value: #{ n: 1 }, hooks: #{ flowEnd: |now, config| log(`${config.n}`), protocolDetected: |now, config| log(`${config.n}`) } }".to_owned();
    let pool = serde_json::json!({ "name": "servers", "members": ["10.0.0.2"] });
    setup.pools = Arc::new(HostPools::new(vec![serde_json::from_value(pool).unwrap()]));
    let mut with = |overrides: serde_json::Value, hook: FlowHook| {
        let settings = serde_json::json!({ "enabled": false, "overrides": overrides });
        setup.settings = BTreeMap::from([("test".to_owned(), serde_json::from_value(settings).unwrap())]);
        let asked = loaded(&setup).call(hook, &record(), 0, 0, Timestamp::ZERO);
        asked.into_iter().map(|asked| asked.effect).collect::<Vec<_>>()
    };
    let log = |n: &str| vec![Effect::Log(shared::script::LogLevel::Info, n.to_owned())];
    let (end, detected) = (FlowHook::FlowEnd, FlowHook::ProtocolDetected);
    let by_pool = serde_json::json!([{ "pool": "servers", "enabled": true, "config": { "n": 2 } }]);
    assert_eq!(with(by_pool, end), log("2"));
    let by_element = serde_json::json!([
        { "element": "10.0.0.1", "hooks": ["flowEnd"], "enabled": true, "config": { "n": 3 } },
        { "pool": "servers", "enabled": true },
    ]);
    assert_eq!((with(by_element.clone(), end), with(by_element, detected)), (log("3"), log("1")));
    let elsewhere = serde_json::json!([{ "element": "192.0.2.0/24", "enabled": true }]);
    assert_eq!(with(elsewhere, end), vec![]);
}

#[test]
fn each_interval_ends_once() {
    let base = reload::common_divisor(120, 90);
    assert_eq!(base, 30);
    let at = |interval| (1..=12).filter(|t| due(*t, base, interval)).map(|t| t * 30).collect::<Vec<_>>();
    assert_eq!(at(120), [120, 240, 360]);
    assert_eq!(at(90), [90, 180, 270, 360]);
}
