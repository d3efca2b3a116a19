//! Lowered and interpreted, a hook does the same: built-in checks, examples, and scripts made by
//! chance, on flows made by chance.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::script::ScriptKind;
use crate::script::lists::List;
use crate::script::source::{Origin, builtin, load_dir};

mod chance;
mod elements;
mod grammar;

use chance::{Chance, element};
use grammar::Grammar;

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
                let CallResult { effects, error, .. } =
                    run.flow(engine, hook, flow, 5, flow.last_seen, config);
                (effects, error)
            };
            let (lowered, interpreted) = (call(false), call(true));
            // Not a number is not equal to itself, but prints the same.
            assert_eq!(format!("{lowered:?}"), format!("{interpreted:?}"), "{text}\n{flow:?}");
            counts.calls += 1;
            counts.failed += u64::from(interpreted.1.is_some());
            let Some(program) = &run.programs.flow[hook as usize] else { continue };
            let input = engine.input(Some(flow), None, 5, flow.last_seen, config);
            counts.done += u64::from(program.run(&input, &mut Vec::new()).0.is_ok());
        }
    }
}

/// An engine with limits that chance meets, and lists that hold some of what flows made by chance have.
fn small_engine() -> ScriptEngine {
    let engine = ScriptEngine::new(ScriptLimits {
        max_string: 300,
        max_effects: 8,
        max_operations: 100_000,
        ..ScriptLimits::default()
    });
    engine.set_lists(lists());
    engine
}

/// Every list that a built-in check asks for, each with some of what chance makes.
fn lists() -> Lists {
    let entries = [
        "10.0.0.1",
        "203.0.113.0/24",
        "2001:db8::/32",
        "example.org",
        "xn--80ak6aa92e.com",
        "02:00:00:00:00:01",
    ];
    let mut names: Vec<String> = builtin()
        .iter()
        .flat_map(|source| {
            let calls = source.text.split("_list(\"").skip(1);
            calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    names.push("some".to_owned());
    names.sort();
    names.dedup();
    let mut lists = Lists::default();
    for (place, name) in names.iter().enumerate() {
        let mut list = List::default();
        let held = entries.iter().enumerate().filter(|(n, _)| (n + place) % 2 == 0);
        held.for_each(|(_, entry)| list.add(entry));
        lists.insert(name, list);
    }
    lists
}

/// What somebody may have set for a script whose default holds nothing, or what no flow of chance crosses.
fn filled(default: &Value) -> Value {
    let mut config = default.clone();
    let set = [
        ("servers", json!(["10.0.0.0/8", "8.8.8.8", "2001:db8::1"])),
        ("gateways", json!(["02:00:00:00:00:01"])),
        ("countries", json!(["NZ", "CH"])),
        ("vlans", json!([0, 2])),
        ("types", json!([1, 45])),
        ("functions", json!([1, 3])),
        ("except", json!(["TLS", "10.0.0.1"])),
        ("allowed", json!(["TLS", "DNS"])),
        ("forbidden", json!(["FTP", "HTTP"])),
        ("threshold", json!(20)),
    ];
    for (key, value) in set {
        if let Some(place) = config.get_mut(key) {
            *place = value;
        }
    }
    config
}

/// The configuration of scripts made by chance.
fn config() -> Value {
    json!({
        "limit": 1000, "nested": { "limit": 53 }, "half": 0.5, "name": "TLS", "names": ["TLS", "www.example.org"],
    })
}

#[test]
fn hooks_of_one_file_are_programs_of_their_own() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    for (first, second) in [("all", "min"), ("min", "hour"), ("hour", "5mins")] {
        let text = format!(
            "#{{ hooks: #{{ \"{first}\": |p| log(\"{first}\"), \"{second}\": |p| log(\"{second}\") }} }}"
        );
        let script = made(&engine, &text).unwrap();
        let names: Vec<_> = script.ast.iter_fn_def().map(|def| def.name.to_string()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        for program in script.programs.element.iter().flatten() {
            assert_eq!(program.body.len(), 1, "{names:?} {:?}", program.body);
        }
    }
}

#[test]
fn lowered_and_interpreted_hooks_do_the_same() {
    let engine = small_engine();
    let mut chance = Chance(1);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/scripts");
    let known = ["examples", "templates"].map(|folder| load_dir(&examples.join(folder)).unwrap());
    let mut counts = Counts::default();
    for source in builtin().into_iter().chain(known.into_iter().flatten()) {
        let script = engine.compile(&source).unwrap();
        let flows: Vec<_> = (0..200).map(|_| chance.flow()).collect();
        let default = &script.meta.default_value;
        for config in [default, &filled(default)] {
            compare(&engine, &script, config, &flows, &source.text, &mut counts);
        }
    }
    let (mut compiled, mut lowered) = (0, 0);
    for _ in 0..2000 {
        let body = Grammar::new(&mut chance, false).block(0);
        let text = format!("#{{ hooks: #{{ flowEnd: |now, config| {{ {body} }} }} }}");
        // Chance also writes what Rhai sees to be wrong before it runs.
        let Ok(script) = made(&engine, &text) else { continue };
        compiled += 1;
        lowered += u64::from(engine.explain(&script).unwrap()[0].1 == How::Lowered);
        let flows: Vec<_> = (0..64).map(|_| chance.flow()).collect();
        compare(&engine, &script, &config(), &flows, &text, &mut counts);
    }
    assert!(compiled >= 1000 && lowered * 10 >= compiled * 9, "{lowered} of {compiled} are lowered");
    let Counts { calls, failed, done } = counts;
    assert!(calls >= 100_000, "{calls} calls");
    // What fails is part of the comparison, and not all of it; most calls are done without help.
    assert!((1000..calls / 2).contains(&failed), "{failed} of {calls} failed");
    assert!(done > calls / 2, "{done} of {calls} were done by the program");
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
    // Those that learn or take texts apart; all are off until somebody wants them.
    assert!(all > 100 && interpreted.len() * 5 <= all, "{} of {all}: {interpreted:?}", interpreted.len());
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
    assert_eq!(why("try { log(\"x\"); } catch { }"), "catches errors");
    assert_eq!(why("let a = [1]; a.sort();"), "calls 'sort'");
    assert_eq!(why("let a = loop { break 5; };"), "leaves a loop with a value");
    assert_eq!(why("throw \"no\";"), "throws");
    assert_eq!(why("parse_json(flow.sni);"), "calls 'parse_json'");
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
    try { log(flow.l7); } catch { }
} } }";

#[test]
fn what_stands_before_the_dear_part_is_lifted() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let script = compile(&engine, SELDOM);
    let how = engine.explain(&script).unwrap().remove(0).1;
    assert_eq!(how, How::Lifted("catches errors".to_owned()));
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
fn what_a_hook_begins_with_is_known_before_a_record_is_made() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let needs = |hooks: &str| -> Vec<String> {
        let script = compile(&engine, &format!("#{{ hooks: #{{ {hooks} }} }}"));
        script.needs().iter().map(|need| format!("{need:?}")).collect()
    };
    let end = |body: &str| needs(&format!("flowEnd: |now, config| {{ {body} }}"));
    let (dns, bytes) = ("Text(\"l7\", \"DNS\")", "Number(\"bytes\", Ge, 100)");
    assert_eq!(end("if flow.l7 != \"DNS\" || flow.bytes < 100 { return; } log(flow.cli);"), [dns, bytes]);
    assert_eq!(
        end("if flow.l7 != \"DNS\" { return; } if flow.bytes < 100 { return; } log(\"x\");"),
        [dns, bytes]
    );
    assert_eq!(
        end("if flow.l7 == \"DNS\" && flow.bytes >= 100 && flow.sni == config.x { log(\"x\"); }"),
        [dns, bytes]
    );
    assert_eq!(end("if flow.l7 == \"DNS\" { if flow.bytes >= 100 { log(\"x\"); } }"), [dns, bytes]);
    assert_eq!(end("if flow.l7 == \"DNS\" { if flow.bytes < 100 { return; } log(\"x\"); }"), [dns, bytes]);
    assert_eq!(end("if flow.l7 == \"DNS\" { if flow.bytes >= 100 { log(\"x\"); } log(\"y\"); }"), [dns]);
    // What might fail comes first, or something else happens when it does not hold.
    let nothing: [&str; 0] = [];
    assert_eq!(end("if config.most < flow.packets || flow.bytes < 100 { return; } log(\"x\");"), nothing);
    assert_eq!(end("if flow.bytes >= 100 { log(\"x\"); } log(\"y\");"), nothing);
    assert_eq!(end("if flow.bytes >= 100 { log(\"x\"); } else { log(\"y\"); }"), nothing);
    assert_eq!(end("log(\"x\"); if flow.bytes < 100 { return; } log(\"y\");"), nothing);
    assert_eq!(end("try { log(\"x\"); } catch { }"), nothing);
    // What a dear part needs is known although the interpreter does it.
    assert_eq!(end("if flow.bytes < 100 { return; } try { log(\"x\"); } catch { }"), [bytes]);
    let two = |first: &str, second: &str| {
        needs(&format!(
            "protocolDetected: |now, config| {{ if {first} {{ log(\"x\"); }} }}, flowEnd: |now, config| {{ if {second} {{ log(\"y\"); }} }}"
        ))
    };
    assert_eq!(two("flow.bytes >= 100 && flow.l7 == \"DNS\"", "flow.l7 == \"DNS\""), [dns], "what both need");
    assert_eq!(two("flow.bytes >= 100", "flow.bytes >= 101"), nothing);
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
