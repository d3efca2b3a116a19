//! The contract of scripts: seeds 000 and 001, and limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{ScriptEngine, Started};
use crate::model::flow::{DirectionCounters, DnsInfo, FlowSide, L7Info};
use crate::model::flow_field::FLOW_FIELDS;
use crate::model::status::FlowStatus;
use crate::model::{Entity, FlowRecord, Granularity, L4, L7Source, Severity, TcpState, Timestamp};
use crate::script::element::InfoValue;
use crate::script::registry::{Registry, ScriptSettings};
use crate::script::source::{Origin, ScriptSource, builtin};
use crate::script::{
    AlertRequest, CallResult, Effect, ElementParams, FlowHook, HookName, LogLevel, ScriptKind, ScriptLimits,
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_060);

pub(super) fn source(text: &str) -> ScriptSource {
    ScriptSource { name: "test".to_owned(), origin: Origin::Inline, folder: None, text: text.to_owned() }
}

fn engine() -> ScriptEngine {
    ScriptEngine::new(ScriptLimits { max_operations: 50_000, max_string: 10_000, ..ScriptLimits::default() })
}

fn started(engine: &ScriptEngine, text: &str) -> Started {
    let script = engine.compile(&source(text)).unwrap_or_else(|e| panic!("{e}"));
    engine.start(&script, NOW)
}

fn compile_error(text: &str) -> String {
    engine().compile(&source(text)).err().expect("the script is wrong").to_string()
}

pub(crate) fn flow() -> FlowRecord {
    let side = |ip: &str, port, local| FlowSide { ip: ip.parse().unwrap(), port, mac: None, local };
    let dns = DnsInfo { query: "example.org".into(), ..DnsInfo::default() };
    FlowRecord {
        id: 7,
        ifid: 0,
        vlan: 0,
        inner_vlan: 0,
        l4: L4::UDP,
        client: side("192.168.1.9", 40_000, true),
        server: side("198.51.100.53", 53, false),
        cli2srv: DirectionCounters { packets: 2, bytes: 200, ..DirectionCounters::default() },
        srv2cli: DirectionCounters { packets: 3, bytes: 900, ..DirectionCounters::default() },
        first_seen: Timestamp::from_secs(1_700_000_000),
        last_seen: Timestamp::from_secs(1_700_000_030),
        icmp: None,
        tcp_state: TcpState::None,
        handshake_ok: false,
        rtt_server_us: 0,
        rtt_client_us: 0,
        gap_min_us: 5,
        gap_max_us: 900,
        gap_deviation_us: 70,
        reply_us: 0,
        fragmented: false,
        l7_category: crate::model::AppCategory::Web,
        l7_breed: crate::model::Breed::Safe,
        l7: Arc::from("DNS"),
        l7_source: L7Source::Payload,
        info: L7Info { dns: Some(dns.into()), ..L7Info::default() },
        status: FlowStatus::ErrorCode.bit(),
        score: 0,
        collected: false,
        export: None,
        earlier_s: 0,
        top_score: 0,
        l7_payloads: 0,
        geo: None,
        end: None,
    }
}

fn call_flow(text: &str, hook: FlowHook, config: &Value) -> CallResult {
    let engine = engine();
    let mut run = started(&engine, text).run.unwrap();
    run.flow(&engine, hook, &flow(), 0, NOW, config)
}

fn flow_end(body: &str) -> CallResult {
    call_flow(
        &format!("#{{ hooks: #{{ flowEnd: |now, script_config| {{ {body} }} }} }}"),
        FlowHook::FlowEnd,
        &json!({}),
    )
}

pub(super) fn host_params(ip: &str) -> ElementParams {
    ElementParams {
        hook: None,
        granularity: Some(Granularity::Min),
        entity: Some(Entity::Host),
        entity_value: format!("{ip}@42"),
        info: vec![("ip", InfoValue::Text(ip.to_owned())), ("vlan", InfoValue::Int(42))],
        stats: vec![("bytes", 5000)],
        delta: vec![("bytes", 2048), ("syn_unanswered_sent", 300)],
        when: NOW,
        ifid: 3,
        ts_enabled: true,
        ..ElementParams::default()
    }
}

fn logged(result: &CallResult) -> Vec<&str> {
    assert_eq!(result.error, None);
    result
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::Log(LogLevel::Info, text) => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_active_hosts_example_posts_one_list_a_run() {
    let engine = engine();
    let text = include_str!("../../../../config/scripts/examples/dump_active_hosts_list.rhai");
    let script = engine.compile(&source(text)).unwrap();
    assert_eq!(
        (script.meta().key.as_str(), script.meta().kind),
        ("dump_active_hosts_list", ScriptKind::Host)
    );
    assert!(script.meta().local_hosts && script.meta().has_teardown);
    // The second run begins with an empty list again.
    for hosts in [vec!["192.0.2.1", "192.0.2.2"], vec!["192.0.2.3"]] {
        let mut run = engine.start(&script, NOW).run.unwrap();
        for host in &hosts {
            let result = run.element(&engine, &host_params(host), &json!({}));
            assert_eq!((result.effects, result.error), (vec![], None));
        }
        let result = run.teardown(&engine, NOW);
        let [Effect::HttpPost { url, body }] = &result.effects[..] else { panic!("{result:?}") };
        assert_eq!(url, "https://example.com");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, json!({ "when": 1_700_000_060, "hosts": hosts }));
    }
}

#[test]
fn the_flow_end_example_sees_its_configuration() {
    let text = include_str!("../../../../config/scripts/examples/flow_end.rhai");
    let small = call_flow(text, FlowHook::FlowEnd, &json!({ "min_bytes": 5000 }));
    assert_eq!((small.effects.len(), small.error), (0, None));
    let large = call_flow(text, FlowHook::FlowEnd, &json!({ "min_bytes": 1000 }));
    let [Effect::Store(request)] = &large.effects[..] else { panic!("{large:?}") };
    assert_eq!(request.alert_type.as_deref(), Some("large_flow"));
    assert_eq!(request.value, Some(1100.0));
    assert_eq!(
        request.message.as_deref(),
        Some("192.168.1.9:40000 198.51.100.53:53 (DNS) moved 1.07 KB in 30 s")
    );
}

#[test]
fn params_have_every_key_of_the_contract() {
    let engine = engine();
    let text = "#{ hooks: #{ min: |params| {
        let keys = params.keys(); keys.sort();
        log(to_json(keys));
        log(`${params.entity_info} ${params.entity_info.ip} ${params.entity_info.vlan}`);
        log(params.entity_info == \"192.0.2.1@42\");
        log(\"host \" + params.entity_info);
        log(to_json(#{ who: params.entity_info, entity: params.alert_entity }));
        log(`${params.granularity} ${params.user_script} ${params.when} ${params.ifid} ${params.ts_enabled}`);
        log(`${to_json(params.delta)} ${params.delta.contains(`bytes`)} ${params.delta.syn} ${params.delta.keys()}`);
        log(`${params.user_script_config.limit} ${params.stats.bytes} ${params.delta.bytes} ${params.cur_alerts.len()}`);
    } } }";
    let mut run = started(&engine, text).run.unwrap();
    let result = run.element(&engine, &host_params("192.0.2.1"), &json!({ "limit": 9 }));
    assert_eq!(
        logged(&result),
        [
            r#"["alert_entity","categories","cur_alerts","delta","entity_info","first_run","granularity","ifid","l7","seconds","stats","ts_enabled","user_script","user_script_config","when"]"#,
            "192.0.2.1@42 192.0.2.1 42",
            "true",
            "host 192.0.2.1@42",
            r#"{"entity":{"entity":"host","value":"192.0.2.1@42"},"who":"192.0.2.1@42"}"#,
            "min test 1700000060 3 true",
            r#"{"bytes":2048,"syn_unanswered_sent":300} true  ["bytes", "syn_unanswered_sent"]"#,
            "9 5000 2048 0",
        ]
    );
}

#[test]
fn a_flow_reads_by_name_and_changes_by_asking() {
    let result = flow_end(
        "log(`${flow.cli} ${flow.srv_port} ${flow.l7} ${flow.bytes} ${flow.dns_query} ${flow.duration} ${now}`);
         log(`${flow.is_status_set(\"error_code\")} ${flow.old_status} ${flow.status_names}`);",
    );
    assert_eq!(
        logged(&result),
        ["192.168.1.9 53 DNS 1100 example.org 30 1700000060", "true 0 [\"error_code\"]"]
    );
    let result = flow_end(
        "flow.set_status(\"user_60\"); flow.clear_status(\"error_code\"); flow.trigger_alert(120, \"x\");",
    );
    let alert = AlertRequest { score: Some(120), message: Some("x".to_owned()), ..AlertRequest::default() };
    let expected = [Effect::SetStatus(60), Effect::ClearStatus(7), Effect::Trigger(alert)];
    assert_eq!((&result.effects[..], result.error), (&expected[..], None));
}

#[test]
fn every_field_can_be_read() {
    for field in FLOW_FIELDS {
        let result = flow_end(&format!("log(`${{flow.{}}}`)", field.name));
        assert_eq!(result.error, None, "{}", field.name);
    }
}

#[test]
fn setup_decides_whether_a_run_takes_place() {
    let engine = engine();
    let run = |setup: &str| {
        let text = format!("#{{ hooks: #{{ min: |p| () }}, setup: {setup} }}");
        started(&engine, &text).run.is_some()
    };
    assert!(run("|| true"));
    assert!(!run("|| false"));
    assert!(!run("|| ()"));
    assert!(started(&engine, "#{ hooks: #{ min: |p| () } }").run.is_some(), "no setup enables");
}

#[test]
fn attributes_are_read_and_wrong_ones_are_told() {
    let script = engine()
        .compile(&source(
            "#{ key: \"k\", category: \"security\", severity: \"error\", prio: 5, local_only: true, l4_proto: \"tcp\",
                l7_proto: \"TLS\", three_way_handshake_ok: true, periodic_update_seconds: 30, default_enabled: false,
                default_value: #{ a: [1] }, lifecycle: \"load\", hooks: #{ periodicUpdate: |n, c| () } }",
        ))
        .unwrap();
    let meta = script.meta();
    assert_eq!((meta.key.as_str(), meta.kind, meta.prio), ("k", ScriptKind::Flow, 5));
    assert_eq!((meta.l4_proto, meta.l7_proto.as_deref()), (Some(L4::TCP), Some("TLS")));
    assert_eq!((meta.periodic_update_seconds, meta.severity), (Some(30), Some(Severity::Error)));
    assert!(meta.local_hosts && meta.three_way_handshake_ok && !meta.default_enabled);
    assert_eq!(meta.default_value, json!({ "a": [1] }));
    for (text, told) in [
        ("#{ hooks: #{ min: |p| () }, colour: 1 }", "unknown attribute 'colour'"),
        (
            "#{ kind: \"syslog\", scope: [\"eth0\"], hooks: #{ handleEvent: |e, c| () } }",
            "scope: scripts of kind syslog are called for no interface",
        ),
        ("#{ hooks: #{ minute: |p| () } }", "unknown hook 'minute'"),
        ("#{ hooks: #{ min: 7 } }", "hooks.min: must be a function"),
        ("#{ hooks: #{ min: |p| (), flowEnd: |n, c| () } }", "for flows, for elements or for log lines"),
        ("#{ hooks: #{} }", "at least one"),
        ("#{ title: \"x\" }", "has no hooks"),
        ("#{ hooks: #{ min: |p| () }, severity: \"loud\" }", "severity: unknown value 'loud'"),
        ("#{ hooks: #{ min: |p| () }, prio: \"high\" }", "prio: must be a whole number"),
        ("let x = 1; x", "must end in a map"),
        ("http_post(\"http://x\", \"\"); #{ hooks: #{ min: |p| () } }", "while it is loaded"),
    ] {
        let error = compile_error(text);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn all_means_every_hook_and_an_explicit_one_wins() {
    let engine = engine();
    let text = "#{ hooks: #{ all: |p| log(\"all\"), min: |p| log(\"min\") } }";
    let script = engine.compile(&source(text)).unwrap();
    let hooks: Vec<_> = script.meta().hooks.iter().map(|hook| hook.name()).collect();
    assert_eq!(hooks, ["min", "5mins", "hour", "day"]);
    assert_eq!(script.meta().warnings.len(), 1);
    let mut run = engine.start(&script, NOW).run.unwrap();
    let mut at = |granularity| {
        let params = ElementParams { granularity: Some(granularity), ..host_params("192.0.2.1") };
        logged(&run.element(&engine, &params, &json!({}))).join(" ").to_owned()
    };
    assert_eq!((at(Granularity::Min).as_str(), at(Granularity::Hour).as_str()), ("min", "all"));
}

#[test]
fn errors_are_told_with_line_and_column_and_harm_no_later_call() {
    let error = engine().compile(&source("let a = 1;\n#{ hooks: #{ min: |p| ) } }")).err().unwrap();
    assert_eq!((error.line, error.script.as_str()), (2, "test"));
    let engine = engine();
    let text = "#{ hooks: #{ flowEnd: |now, c| {\n    if flow.bytes > 0 { no_such_function(1); }\n} } }";
    let mut run = started(&engine, text).run.unwrap();
    let error = run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, NOW, &json!({})).error.unwrap();
    assert_eq!(error.line, 2, "{error}");
    assert!(error.cause.contains("no_such_function"), "{error}");
    assert!(logged(&flow_end("log(1)")).contains(&"1"));
}

#[test]
fn limits_stop_what_never_ends() {
    for (body, told) in [
        ("loop { }", "operations than the limit of 50000"),
        ("let s = \"bomb\"; loop { s += s; }", "string"),
        ("let a = []; loop { a.push(1); a += a; }", "array"),
        ("fn f(n) { f(n + 1) } f(1)", ""),
        ("for i in 0..2000 { log(i); }", "effects than the limit of 1000"),
    ] {
        let result = match body.strip_prefix("fn f(n) { f(n + 1) } ") {
            // Functions stand at the top of a file.
            Some(call) => {
                let text =
                    format!("fn f(n) {{ f(n + 1) }} #{{ hooks: #{{ flowEnd: |now, c| {{ {call} }} }} }}");
                call_flow(&text, FlowHook::FlowEnd, &json!({}))
            }
            None => flow_end(body),
        };
        let error = result.error.unwrap_or_else(|| panic!("{body} came to an end"));
        assert!(error.cause.contains(told), "{body}: {error}");
    }
    assert!(logged(&flow_end("log(\"still here\")")).contains(&"still here"));
}

#[test]
fn a_slow_script_is_stopped_by_the_clock() {
    let limits = ScriptLimits { max_operations: u64::MAX, max_millis: 20, ..ScriptLimits::default() };
    let engine = ScriptEngine::new(limits);
    let script = engine.compile(&source("#{ hooks: #{ flowEnd: |n, c| { loop { } } } }")).unwrap();
    let mut run = engine.start(&script, NOW).run.unwrap();
    let error = run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, NOW, &json!({})).error.unwrap();
    assert!(error.cause.contains("20 ms"), "{error}");
}

#[test]
fn what_a_script_asked_for_before_an_error_stands() {
    let result = flow_end("log(\"before\"); throw \"no\"; log(\"after\");");
    assert_eq!(result.effects.len(), 1);
    assert!(result.error.unwrap().cause.contains("no"));
}

#[test]
fn alerts_are_checked_key_by_key() {
    let result = flow_end(
        "trigger_alert(#{ type: \"t\", severity: \"critical\", category: \"network\", score: 7, message: \"m\", value: 1,
            threshold: 2.5, metric: \"bytes\", attacker: \"client\", victim: \"server\" }); release_alert(); release_alert(\"t\");",
    );
    let [Effect::Trigger(request), Effect::Release(None), Effect::Release(Some(kind))] = &result.effects[..]
    else {
        panic!("{result:?}")
    };
    assert_eq!(
        (request.severity, request.score, request.threshold),
        (Some(Severity::Critical), Some(7), Some(2.5))
    );
    assert_eq!(kind, "t");
    for (map, told) in [
        ("#{ colour: 1 }", "no key 'colour'"),
        ("#{ severity: \"loud\" }", "unknown severity 'loud'"),
        ("#{ value: \"many\" }", "value must be a number"),
        ("#{ attacker: \"nobody\" }", "none of client, server, host"),
    ] {
        let error = flow_end(&format!("store_alert({map})")).error.unwrap();
        assert!(error.cause.contains(told), "{error}");
    }
}

#[test]
fn thresholds_trigger_and_release_with_the_sentence_of_the_seed() {
    let engine = engine();
    let text = "#{ hooks: #{ min: |p| check_threshold(p, p.delta.bytes, \"bytes\") } }";
    let mut run = started(&engine, text).run.unwrap();
    let params = host_params("192.0.2.1");
    let crossed = run.element(&engine, &params, &json!({ "threshold": 2 }));
    let [Effect::Trigger(request)] = &crossed.effects[..] else { panic!("{crossed:?}") };
    assert_eq!(
        request.message.as_deref(),
        Some("Minute traffic crossed by host 192.0.2.1@42 [2.00 KB > 2 Bytes]")
    );
    assert_eq!((request.value, request.metric.as_deref()), (Some(2048.0), Some("bytes")));
    let not = run.element(&engine, &params, &json!({ "threshold": 2, "operator": "lt" }));
    assert_eq!(not.effects, [Effect::Release(Some("threshold_cross".to_owned()))]);
    let wrong = run.element(&engine, &params, &json!({ "operator": "gt" }));
    assert!(wrong.error.unwrap().cause.contains("threshold"));
}

#[test]
fn helpers_do_what_they_say() {
    let result = flow_end(
        "log(ip_in(\"10.1.2.3\", \"10.0.0.0/8\")); log(ip_in(flow.srv, [\"192.0.2.0/24\", \"198.51.100.53\"]));
         log(is_private(\"fd00::1\")); log(format_bytes(1)); log(format_bytes(1132462));
         log(parse_json(\"{\\\"a\\\": [1]}\").a[0]); log(now());",
    );
    assert_eq!(logged(&result), ["true", "true", "true", "1 Byte", "1.08 MB", "1", "1700000060"]);
    assert!(flow_end("ip_in(\"nonsense\", \"10.0.0.0/8\")").error.unwrap().cause.contains("'nonsense'"));
    assert!(flow_end("publish(\"a..b\", \"\")").error.unwrap().cause.contains("'a..b'"));
}

#[test]
fn settings_switch_hooks_and_configure_them() {
    let engine = engine();
    let text = "#{ key: \"k\", default_value: #{ n: 1 }, hooks: #{ min: |p| (), hour: |p| () } }";
    let settings: BTreeMap<String, ScriptSettings> = serde_json::from_value(json!({
        "k": { "config": { "n": 2 }, "hooks": { "hour": { "enabled": false }, "min": { "config": { "n": 3 } } } },
        "gone": { "enabled": true },
    }))
    .unwrap();
    let (registry, errors) = Registry::load(&engine, vec![source(text)], &settings);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("gone"), "{}", errors[0]);
    let entry = &registry.scripts()[0];
    let (min, hour) = (HookName::Element(Granularity::Min), HookName::Element(Granularity::Hour));
    assert!(entry.enabled(min) && !entry.enabled(hour));
    assert_eq!((entry.config(min), entry.config(hour)), (&json!({ "n": 3 }), &json!({ "n": 2 })));
    assert_eq!(registry.for_element(ScriptKind::Host, Granularity::Hour).count(), 0);
}

#[test]
fn attributes_filter_flows_before_the_script_is_called() {
    let engine = engine();
    let accepts_this = |attributes: &str, flow: &FlowRecord| {
        let text = format!("#{{ {attributes}, hooks: #{{ flowEnd: |n, c| () }} }}");
        let (registry, errors) = Registry::load(&engine, vec![source(&text)], &BTreeMap::new());
        assert!(errors.is_empty(), "{errors:?}");
        registry.scripts()[0].accepts_flow(flow, flow.status)
    };
    let accepts = |attributes: &str| accepts_this(attributes, &flow());
    assert!(accepts("l4_proto: \"udp\", l7_proto: \"dns\", local_hosts: true, packet_interface_only: true"));
    assert!(!accepts("l4_proto: \"tcp\""));
    assert!(!accepts("l7_proto: \"TLS\""));
    let collected = FlowRecord { collected: true, ..flow() };
    assert!(!accepts_this("packet_interface_only: true", &collected) && accepts_this("prio: 1", &collected));
    let mut remote = flow();
    (remote.client.local, remote.server.local) = (false, false);
    assert!(!accepts_this("local_hosts: true", &remote) && !accepts_this("local_only: true", &remote));
    remote.server.local = true;
    assert!(accepts_this("local_hosts: true", &remote), "one side is enough");
}

#[test]
fn built_in_checks_load_and_find_what_they_look_for() {
    let engine = engine();
    let all_on: BTreeMap<String, ScriptSettings> = builtin()
        .iter()
        .map(|s| (s.name.clone(), ScriptSettings { enabled: Some(true), ..ScriptSettings::default() }))
        .collect();
    let (registry, errors) = Registry::load(&engine, builtin(), &all_on);
    assert!(errors.is_empty(), "{errors:?}");
    let run_of = |key: &str| {
        let entry = registry.scripts().iter().find(|e| e.script.meta().key == key).unwrap();
        engine.start(&entry.script, NOW).run.unwrap()
    };
    let triggered = |result: &CallResult| {
        assert_eq!(result.error, None);
        result.effects.iter().filter(|e| matches!(e, Effect::Trigger(_))).count()
    };
    let config = json!({ "servers": ["192.168.1.1"] });
    let dns = run_of("unexpected_dns").flow(&engine, FlowHook::ProtocolDetected, &flow(), 0, NOW, &config);
    assert_eq!(triggered(&dns), 1);
    let config = json!({ "servers": ["198.51.100.0/24"] });
    let dns = run_of("unexpected_dns").flow(&engine, FlowHook::ProtocolDetected, &flow(), 0, NOW, &config);
    assert_eq!(triggered(&dns), 0);
    let scan = run_of("syn_scan").element(&engine, &host_params("192.0.2.1"), &json!({ "threshold": 256 }));
    assert_eq!(triggered(&scan), 1);
    let with = |status: FlowStatus| FlowRecord { l7: Arc::from("FTP"), status: status.bit(), ..flow() };
    let config = json!({ "protocols": ["FTP"] });
    let mut clear = run_of("clear_text_protocol");
    for status in [FlowStatus::UnsafeProtocol, FlowStatus::ClearTextCredentials] {
        let result = clear.flow(&engine, FlowHook::StatusChanged, &with(status), 0, NOW, &config);
        assert_eq!(triggered(&result), 1);
    }
    let mut silent = host_params("eth0");
    silent.delta.push(("packets", 0));
    assert_eq!(triggered(&run_of("no_activity").element(&engine, &silent, &json!({}))), 1);
    let tls = FlowRecord { status: FlowStatus::ObsoleteTls.bit(), ..flow() };
    assert_eq!(
        triggered(&run_of("obsolete_tls").flow(&engine, FlowHook::StatusChanged, &tls, 0, NOW, &json!({}))),
        1
    );
    for key in ["host_bytes", "network_bytes", "interface_bytes"] {
        let result = run_of(key).element(&engine, &host_params("x"), &json!({ "threshold": 10 }));
        assert_eq!(triggered(&result), 1, "{key}");
    }
}
