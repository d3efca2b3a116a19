//! Lowered and interpreted, a hook does the same: built-in checks, examples, and scripts made by
//! chance, on flows made by chance.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::model::flow::{DirectionCounters, DnsInfo, FlowSide, HttpInfo, L7Info, TlsCertificate, TlsInfo};
use crate::model::{
    AppCategory, Breed, ContactKind, Entity, HostCounters, InterfaceCounters, L4, L7Source, MonitorCounters,
    NetworkCounters, SystemCounters, TcpState,
};
use crate::script::ScriptKind;
use crate::script::element::InfoValue;
use crate::script::source::{builtin, load_dir};

/// Numbers without a pattern, the same every time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Small, large, or at the edge.
    fn count(&mut self) -> u64 {
        match self.below(5) {
            0 => 0,
            1 => self.next() % 10,
            2 => self.next() % 10_000,
            3 => self.next() % (1 << 48),
            _ => 1_000_000,
        }
    }

    fn flow(&mut self) -> FlowRecord {
        let ips = ["10.0.0.1", "192.168.1.7", "203.0.113.9", "2001:db8::1", "fe80::1", "8.8.8.8"];
        let l7 = ["TLS", "TLS.YouTube", "DNS", "HTTP", "FTP", "Unknown", "SSH", "Telnet", "POP3"];
        let names = ["", "www.example.org", "xn--80ak6aa92e.com", "ü", "10.0.0.1", "evil\"name"];
        let mut side = |port| FlowSide {
            ip: self.one_of(&ips).parse().unwrap(),
            port,
            mac: None,
            local: self.below(2) == 0,
        };
        let (client, mut server) = (side(50_000), side(0));
        server.port = [22, 53, 80, 443, 8080][self.below(5)];
        let mut counters = || DirectionCounters {
            packets: self.count(),
            bytes: self.count(),
            goodput_bytes: self.count(),
            retransmissions: self.count() as u32,
            ..DirectionCounters::default()
        };
        let (cli2srv, srv2cli) = (counters(), counters());
        let mut info = L7Info::default();
        let name = |chance: &mut Self| chance.one_of(&names).into();
        if self.below(2) == 0 {
            let certificate = (self.below(2) == 0).then(|| Arc::new(TlsCertificate::default()));
            info.tls =
                Some(TlsInfo { sni: name(self), alpn: name(self), certificate, ..TlsInfo::default() }.into());
        }
        if self.below(2) == 0 {
            info.http = Some(
                HttpInfo { host: name(self), url: "/a?b=c".into(), status: 404, ..HttpInfo::default() }
                    .into(),
            );
        }
        if self.below(2) == 0 {
            info.dns = Some(DnsInfo { query: name(self), ..DnsInfo::default() }.into());
        }
        FlowRecord {
            id: self.next() % 100,
            ifid: 1,
            vlan: (self.next() % 3) as u16,
            l4: [L4::TCP, L4::UDP, L4::ICMP][self.below(3)],
            client,
            server,
            cli2srv,
            srv2cli,
            first_seen: Timestamp::from_secs(1_700_000_000),
            last_seen: Timestamp::from_secs(1_700_000_000 + self.below(1000) as i64),
            icmp: None,
            tcp_state: TcpState::Established,
            handshake_ok: self.below(2) == 0,
            rtt_server_us: self.next() as u32 % 1000,
            rtt_client_us: 0,
            gap_min_us: 0,
            gap_max_us: 0,
            gap_deviation_us: 0,
            fragmented: false,
            l7_category: AppCategory::Web,
            l7_breed: Breed::Safe,
            l7: Arc::from(self.one_of(&l7)),
            l7_source: if self.below(4) == 0 { L7Source::PortGuess } else { L7Source::Payload },
            info,
            status: self.next() & self.next() & self.next() & ((1 << 59) - 1),
            score: 0,
            collected: false,
            export: None,
            earlier_s: 0,
            geo: None,
            end: None,
        }
    }

    /// An expression of a kind; now and then one of another kind, or one that fails.
    fn expr(&mut self, kind: u8, depth: usize) -> String {
        let deeper = depth < 3;
        let kind = if self.below(40) == 0 { self.below(3) as u8 } else { kind };
        match (kind, self.below(if deeper { 9 } else { 4 })) {
            (0, 0) => {
                self.one_of(&["true", "false", "flow.cli_local", "flow.handshake_ok", "flow.is_tcp"]).into()
            }
            (0, 1) => {
                format!("flow.is_status_set(\"{}\")", self.one_of(&["obsolete_tls", "tcp_reset", "url_xss"]))
            }
            (0, 2) => "ip_in(flow.cli, [\"10.0.0.0/8\", \"2001:db8::/32\"])".into(),
            (0, 3) => "is_private(flow.srv)".into(),
            (0, 4) => format!("!({})", self.expr(0, depth + 1)),
            (0, 5) => format!("({} && {})", self.expr(0, depth + 1), self.expr(0, depth + 1)),
            (0, 6) => format!("({} || {})", self.expr(0, depth + 1), self.expr(0, depth + 1)),
            (0, 7) => {
                let (a, b) = (self.expr(1, depth + 1), self.expr(1, depth + 1));
                format!("({a} {} {b})", self.one_of(&["==", "!=", "<", "<=", ">", ">="]))
            }
            (0, _) => {
                let (a, b) = (self.expr(2, depth + 1), self.expr(2, depth + 1));
                match self.below(5) {
                    0 => format!("({a} in {b})"),
                    1 => format!("({a} in [{b}, \"TLS\", flow.l7_master])"),
                    2 => format!("({a} in config.names)"),
                    3 => format!("{a}.{}({b})", self.one_of(&["contains", "starts_with", "ends_with"])),
                    _ => format!("({a} {} {b})", self.one_of(&["==", "!=", "<", ">"])),
                }
            }
            (1, 0) => self.one_of(&["0", "1", "443", "1000000", "9223372036854775807", "1.5"]).into(),
            (1, 1) => self
                .one_of(&["flow.bytes", "flow.srv_port", "flow.packets", "flow.duration", "flow.status"])
                .into(),
            (1, 2) => self
                .one_of(&["config.limit", "config.nested.limit", "config.gone", "config.half", "now"])
                .into(),
            (1, 3) => {
                self.one_of(&["flow.old_status", "now()", "flow.cli2srv_bytes", "flow.http_status"]).into()
            }
            (1, 4) => format!("{}.len()", self.expr(2, depth + 1)),
            (1, _) => {
                let (a, b) = (self.expr(1, depth + 1), self.expr(1, depth + 1));
                format!("({a} {} {b})", self.one_of(&["+", "-", "*", "/", "%"]))
            }
            (_, 0) => self.one_of(&["\"TLS\"", "\"\"", "\"www.\"", "\"ü\""]).into(),
            (_, 1) => self
                .one_of(&["flow.l7", "flow.l7_master", "flow.sni", "flow.http_host", "flow.dns_query"])
                .into(),
            (_, 2) => self.one_of(&["flow.cli", "flow.srv", "flow.label", "config.name", "flow.l4"]).into(),
            (_, 3) => "format_bytes(flow.bytes)".into(),
            (_, 4) => format!("({} + {})", self.expr(2, depth + 1), self.expr(2, depth + 1)),
            (_, 5) => format!("`<${{{}}}|${{{}}}>`", self.expr(1, depth + 1), self.expr(2, depth + 1)),
            (_, _) => format!("`${{{}}}: ${{{}}}`", self.expr(0, depth + 1), self.expr(2, depth + 1)),
        }
    }

    fn stmt(&mut self, depth: usize) -> String {
        match self.below(if depth < 3 { 11 } else { 7 }) {
            0 => format!("trigger_alert(#{{ message: {}, value: {} }});", self.expr(2, 1), self.expr(1, 1)),
            1 => format!(
                "store_alert(#{{ type: {}, severity: \"{}\", victim: \"{}\" }});",
                self.expr(2, 2),
                self.one_of(&["error", "notice", "no_such"]),
                self.one_of(&["client", "server", "nobody"])
            ),
            2 => format!("flow.set_status(\"{}\");", self.one_of(&["user_59", "user_60"])),
            3 => format!("flow.trigger_alert({}, {});", self.expr(1, 2), self.expr(2, 2)),
            4 => format!("log({});", self.expr(2, 1)),
            5 => format!("let v{depth} = {}; log(`${{v{depth}}}`);", self.expr(1, 1)),
            6 => format!(
                "let n{depth} = {}; n{depth} += {}; log(`${{n{depth}}}`);",
                self.expr(1, 2),
                self.expr(1, 2)
            ),
            7 => format!("if {} {{ return; }}", self.expr(0, 0)),
            8 => format!("if {} {{ {} }}", self.expr(0, 0), self.block(depth + 1)),
            _ => format!(
                "if {} {{ {} }} else {{ {} }}",
                self.expr(0, 0),
                self.block(depth + 1),
                self.block(depth + 1)
            ),
        }
    }

    fn block(&mut self, depth: usize) -> String {
        (0..=self.below(3)).map(|_| self.stmt(depth)).collect::<Vec<_>>().join(" ")
    }
}

fn made(engine: &ScriptEngine, text: &str) -> Result<Script, ScriptError> {
    let (name, text) = ("made".to_owned(), text.to_owned());
    engine.compile(&ScriptSource { name, origin: Origin::Inline, folder: None, text })
}

fn compile(engine: &ScriptEngine, text: &str) -> Script {
    made(engine, text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Calls of hooks: all, those that failed, those that the program did to the end.
#[derive(Default)]
struct Counts {
    calls: u64,
    failed: u64,
    done: u64,
}

/// Calls every flow hook of a script both ways.
fn compare(
    engine: &ScriptEngine,
    script: &Script,
    config: &Value,
    flows: &[FlowRecord],
    text: &str,
    counts: &mut Counts,
) {
    let Some(mut run) = engine.start(script, Timestamp::ZERO).run else { return };
    for hook in FlowHook::ALL.into_iter().filter(|hook| script.meta.hooks.contains(&HookName::Flow(*hook))) {
        for flow in flows {
            let mut call = |interpreted| {
                engine.interpret_all(interpreted);
                let CallResult { effects, error } = run.flow(engine, hook, flow, 5, flow.last_seen, config);
                (effects, error)
            };
            let (lowered, interpreted) = (call(false), call(true));
            // Not a number is not equal to itself, but prints the same.
            assert_eq!(format!("{lowered:?}"), format!("{interpreted:?}"), "{text}\n{flow:?}");
            counts.calls += 1;
            counts.failed += u64::from(interpreted.1.is_some());
            let Some(program) = &run.programs.flow[hook as usize] else { continue };
            let input = engine.input(Some(flow), None, 5, flow.last_seen, config);
            counts.done += u64::from(program.run(&input, &mut Vec::new()).is_ok());
        }
    }
}

#[test]
fn lowered_and_interpreted_hooks_do_the_same() {
    let engine =
        ScriptEngine::new(ScriptLimits { max_string: 300, max_effects: 8, ..ScriptLimits::default() });
    let mut chance = Chance(1);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/scripts");
    let known = ["examples", "templates"].map(|folder| load_dir(&examples.join(folder)).unwrap());
    let mut counts = Counts::default();
    for source in builtin().into_iter().chain(known.into_iter().flatten()) {
        let script = engine.compile(&source).unwrap();
        let flows: Vec<_> = (0..200).map(|_| chance.flow()).collect();
        compare(&engine, &script, &script.meta.default_value, &flows, &source.text, &mut counts);
    }
    let config = json!({
        "limit": 1000, "nested": { "limit": 53 }, "half": 0.5, "name": "TLS", "names": ["TLS", "www.example.org"],
    });
    let (mut compiled, mut lowered) = (0, 0);
    for _ in 0..2000 {
        let text = format!("#{{ hooks: #{{ flowEnd: |now, config| {{ {} }} }} }}", chance.block(0));
        // Chance also writes what Rhai sees to be wrong before it runs.
        let Ok(script) = made(&engine, &text) else { continue };
        compiled += 1;
        lowered += u64::from(engine.explain(&script).unwrap()[0].1 == How::Lowered);
        let flows: Vec<_> = (0..64).map(|_| chance.flow()).collect();
        compare(&engine, &script, &config, &flows, &text, &mut counts);
    }
    assert!(compiled >= 1000 && lowered * 10 >= compiled * 9, "{lowered} of {compiled} are lowered");
    let Counts { calls, failed, done } = counts;
    assert!(calls >= 100_000, "{calls} calls");
    // What fails is part of the comparison, and not all of it; most calls are done without help.
    assert!((1000..calls / 2).contains(&failed), "{failed} of {calls} failed");
    assert!(done > calls / 2, "{done} of {calls} were done by the program");
}

/// An element with every counter that scripts may ask for.
fn element(chance: &mut Chance, kind: ScriptKind, granularity: Granularity) -> ElementParams {
    let (entity, names): (_, &[&'static str]) = match kind {
        ScriptKind::Host => (Entity::Host, HostCounters::NAMES),
        ScriptKind::Network => (Entity::Network, NetworkCounters::NAMES),
        ScriptKind::Interface => (Entity::Interface, InterfaceCounters::NAMES),
        ScriptKind::ActiveMonitoring => (Entity::AmHost, MonitorCounters::NAMES),
        _ => (Entity::System, SystemCounters::NAMES),
    };
    let contacts = ContactKind::ALL.map(ContactKind::counter);
    let more = ["bytes", "packets", "hosts", "local_hosts", "live_flows"];
    let more = more.iter().filter(|name| !names.contains(name));
    let names: Vec<&'static str> = names.iter().chain(&contacts).chain(more).copied().collect();
    let mut counts = || names.iter().map(|name| (*name, chance.count())).collect();
    let (stats, delta) = (counts(), counts());
    ElementParams {
        granularity: Some(granularity),
        entity: Some(entity),
        entity_value: chance.one_of(&["10.0.0.1", "192.168.0.0/16", "eth0", "flowhook"]).to_owned(),
        info: vec![("ip", InfoValue::Ip([10, 0, 0, 1].into())), ("mac", InfoValue::Mac(None))],
        stats,
        delta,
        when: Timestamp::from_secs(chance.below(1 << 30) as i64),
        ifid: 3,
        ..ElementParams::default()
    }
}

/// Calls every element hook of a script both ways, with fresh state each.
fn compare_elements(engine: &ScriptEngine, script: &Script, chance: &mut Chance, counts: &mut Counts) {
    for granularity in Granularity::PERIODS {
        if !script.meta.hooks.contains(&HookName::Element(granularity)) {
            continue;
        }
        let mut runs =
            [false, true].map(|interpreted| (interpreted, engine.start(script, Timestamp::ZERO).run));
        for _ in 0..300 {
            let params = element(chance, script.meta.kind, granularity);
            let config = match chance.below(4) {
                0 => {
                    json!({ "threshold": chance.below(5000) as f64 + 0.5, "operator": chance.one_of(&["lt", "gt", "is"]) })
                }
                _ => script.meta.default_value.clone(),
            };
            let [lowered, interpreted] = runs.each_mut().map(|(interpreted, run)| {
                engine.interpret_all(*interpreted);
                let CallResult { effects, error } = run.as_mut().unwrap().element(engine, &params, &config);
                (effects, error)
            });
            assert_eq!(format!("{lowered:?}"), format!("{interpreted:?}"), "{}\n{params:?}", script.meta.key);
            counts.calls += 1;
            counts.failed += u64::from(interpreted.1.is_some());
        }
    }
}

#[test]
fn lowered_and_interpreted_element_hooks_do_the_same() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let (mut chance, mut counts) = (Chance(2), Counts::default());
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/scripts");
    let known = ["examples", "templates"].map(|folder| load_dir(&examples.join(folder)).unwrap());
    for source in builtin().into_iter().chain(known.into_iter().flatten()) {
        let script = engine.compile(&source).unwrap();
        compare_elements(&engine, &script, &mut chance, &mut counts);
    }
    let Counts { calls, failed, .. } = counts;
    assert!(calls >= 20_000 && failed > 100 && failed < calls / 4, "{calls} calls, {failed} failed");
}

#[test]
fn built_in_element_hooks_are_lowered() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let (mut all, mut interpreted) = (0, Vec::new());
    for source in builtin() {
        let script = engine.compile(&source).unwrap();
        for (hook, how) in engine.explain(&script).unwrap() {
            if matches!(hook, HookName::Element(_)) {
                all += 1;
                if how != How::Lowered {
                    interpreted.push(format!("{} {}: {how:?}", source.name, hook.name()));
                }
            }
        }
    }
    assert!(all > 60, "{all}");
    // Those that keep state between runs, and one that asks for a field by a computed name.
    assert!(interpreted.len() * 10 <= all, "{interpreted:?}");
}

#[test]
fn built_in_flow_hooks_are_lowered() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let (mut all, mut interpreted) = (0, Vec::new());
    for source in builtin() {
        let script = engine.compile(&source).unwrap();
        if script.meta.kind != ScriptKind::Flow {
            continue;
        }
        for (hook, how) in engine.explain(&script).unwrap() {
            all += 1;
            if how != How::Lowered {
                interpreted.push(format!("{} {}: {how:?}", source.name, hook.name()));
            }
        }
    }
    // Those that learn, walk through lists or ask whether there is one; all are off until somebody wants
    // them.
    assert!(all > 100 && interpreted.len() * 3 <= all, "{} of {all}: {interpreted:?}", interpreted.len());
}

#[test]
fn what_is_not_lowered_says_why() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let why = |body: &str| {
        let script =
            compile(&engine, &format!("let n = 0; #{{ hooks: #{{ flowEnd: |now, config| {{ {body} }} }} }}"));
        match engine.explain(&script).unwrap().remove(0).1 {
            How::Interpreted(why) => why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(why("n += 1;"), "keeps state in the variable 'n' of the file");
    assert_eq!(why("for i in 0..3 { log(`${i}`); }"), "has a loop");
    assert_eq!(why("throw \"no\";"), "throws");
    assert_eq!(why("http_post(\"http://x\", \"\");"), "calls 'http_post'");
    assert_eq!(why("if flow.nothing > 3 { log(\"x\"); }"), "reads flow.nothing");
    let low = ScriptEngine::new(ScriptLimits { max_operations: 100, ..ScriptLimits::default() });
    let script = compile(&low, "#{ hooks: #{ flowEnd: |now, config| { log(\"x\"); } } }");
    assert!(matches!(low.explain(&script).unwrap()[0].1, How::Interpreted(_)));
    let own = "fn now() { 7 } #{ hooks: #{ flowEnd: |n, c| { log(`${now()}`); } } }";
    assert_eq!(
        engine.explain(&compile(&engine, own)).unwrap()[0].1,
        How::Interpreted("calls the file's function 'now'".into())
    );
    let element = |body: &str| {
        let script = compile(&engine, &format!("#{{ hooks: #{{ min: |params| {{ {body} }} }} }}"));
        engine.explain(&script).unwrap().remove(0).1
    };
    assert_eq!(
        element("let d = params.delta; if d.bytes > 5 { log(`${params.entity_info}`); }"),
        How::Lowered
    );
    assert_eq!(element("let e = params.cur_alerts;"), How::Interpreted("uses params.cur_alerts".into()));
    assert_eq!(
        element("let d = params.delta; d.bytes = 3;"),
        How::Interpreted("assigns to something else than a variable".into())
    );
}

/// A script whose dear part is behind a condition that seldom holds.
const SELDOM: &str = "#{ hooks: #{ flowEnd: |now, config| {
    if flow.bytes < 1000 || flow.l7 == \"TLS\" { return; }
    for i in 0..3 { log(`${i}`); }
} } }";

#[test]
fn what_stands_before_the_dear_part_is_lifted() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let script = compile(&engine, SELDOM);
    let how = engine.explain(&script).unwrap().remove(0).1;
    assert_eq!(how, How::Lifted("has a loop".to_owned()));
    let (mut chance, mut counts) = (Chance(3), Counts::default());
    let flows: Vec<_> = (0..2000).map(|_| chance.flow()).collect();
    compare(&engine, &script, &json!({}), &flows, SELDOM, &mut counts);
    assert!(
        counts.done > 200 && counts.done < 1800,
        "{} of {} without the interpreter",
        counts.done,
        counts.calls
    );
}

#[test]
fn a_condition_is_looked_at_before_the_call() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let text =
        |when: &str| format!("#{{ when: \"{when}\", hooks: #{{ flowEnd: |now, config| log(\"x\") }} }}");
    let script = compile(&engine, &text("bytes > 1000 && (l7 == 'TLS' || l7 == 'DNS')"));
    let mut run = engine.start(&script, Timestamp::ZERO).run.unwrap();
    let mut chance = Chance(4);
    let mut called = 0;
    for _ in 0..500 {
        let flow = chance.flow();
        let wanted = flow.bytes() > 1000 && ["TLS", "DNS"].contains(&&*flow.l7);
        let result = run.flow(&engine, FlowHook::FlowEnd, &flow, 0, Timestamp::ZERO, &json!({}));
        assert_eq!((result.error, result.effects.len()), (None, usize::from(wanted)));
        called += usize::from(wanted);
    }
    assert!(called > 10 && called < 490, "{called}");
    for (when, cause) in
        [("bytes >", "when: "), ("nothing > 3", "when: "), ("flow.no_such == 1", "reads flow.no_such")]
    {
        let source = super::tests::source(&text(when));
        let error = engine.compile(&source).err().unwrap().to_string();
        assert!(error.contains(cause), "{error}");
    }
}
