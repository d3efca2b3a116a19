//! Scripts that mean harm: each ends with the error of its limit, within its quota of memory, and takes
//! nothing else with it.

use std::time::Duration;

use serde_json::json;

use super::tests::{flow, source};
use super::*;
use crate::counting;
use crate::script::quarantine::Quarantine;
use crate::script::{Effect, LogLevel};

/// What a hook does, with the word that its error has at least.
const BODIES: [(&str, &str, &str); 25] = [
    ("endless loop", "loop { }", "operations"),
    ("endless loop that counts", "let n = 0; while true { n += 1; }", "operations"),
    ("endless loop that always fails and catches", "loop { try { throw 1; } catch { } }", "operations"),
    ("long range", "let n = 0; for i in 0..9223372036854775807 { n = i; }", "operations"),
    ("string bomb", "let s = \"bomb\"; loop { s += s; }", "string"),
    ("padded string", "let s = \"\"; s.pad(1000000000000, \"ab\"); log(s);", "string"),
    ("interpolated string bomb", "let s = \"bomb\"; loop { s = `${s}${s}`; }", "string"),
    ("replaced text bomb", "let s = \"a\"; s.pad(1000000, 'a'); let t = s; s.replace(\"a\", t); log(s);", "string"),
    ("split bomb", "let s = \"\"; s.pad(1000000, 'a'); let a = s.split(\"\"); log(a.len());", "array"),
    ("split by letter", "let s = \"\"; s.pad(1000000, 'a'); let a = s.split('a'); log(a.len());", "array"),
    ("array bomb", "let a = [1]; loop { a += a; }", "array"),
    ("nested array bomb", "let a = [1]; loop { a = [a, a]; }", "array"),
    ("padded array", "let a = []; a.pad(1000000000000, 0);", "array"),
    ("map bomb", "let m = #{}; let i = 0; loop { m[`key ${i}`] = i; i += 1; }", ""),
    ("nested map bomb", "let m = #{ a: 1 }; loop { m = #{ a: m, b: m }; }", ""),
    ("blob bomb", "let b = blob(1000000000000, 0);", "blob"),
    ("many large values", "let a = []; a.pad(90000, 1); let b = a; let c = a; let d = a; let e = a; let f = a;
        let g = a; let h = a; let i = a; let j = a; let k = a; let l = a; let m = a; let n = a; log(\"all\");", "memory"),
    ("captured bomb", "let a = []; a.pad(50000, 1); let f = Fn(\"f\"); f = f.curry(a); let b = [f]; loop { b += b; }", "memory"),
    ("closures that capture everything", "let a = []; a.pad(1000, 1); let all = [];
        loop { let mine = a; mine.push(all.len()); all.push(|| mine); }", ""),
    ("recursion", "dig(1);", "nested"),
    ("recursion that carries weight", "let a = []; a.pad(50000, 1); carry(a);", ""),
    ("flood of effects", "loop { log(\"x\"); }", "effects"),
    ("flood of large effects", "let s = \"\"; s.pad(1000000, 'x'); loop { http_post(\"http://x\", s); }", "memory"),
    ("deep JSON", "let s = \"\"; s.pad(100000, '['); parse_json(s);", "JSON"),
    ("wide JSON", "let s = \"[0\"; s.pad(1000000, \",[]\"); s += \"]\"; let a = parse_json(s); log(a.len());", ""),
];

fn hostile(engine: &ScriptEngine, body: &str) -> Script {
    let text = format!(
        "fn dig(n) {{ dig(n + 1) }} fn carry(a) {{ let b = a; b.push(1); carry(b) }}
         #{{ hooks: #{{ flowEnd: |now, config| {{ {body} }} }} }}"
    );
    engine.compile(&source(&text)).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn each_hostile_hook_ends_with_the_error_of_its_limit_within_its_quota() {
    let limits = ScriptLimits { max_millis: 60_000, ..ScriptLimits::default() };
    let engine = ScriptEngine::new(limits.clone());
    for (name, body, cause) in BODIES {
        let script = hostile(&engine, body);
        let mut run = engine.start(&script, Timestamp::ZERO).run.unwrap();
        for _ in 0..2 {
            let before = counting::bytes();
            counting::reset_peak();
            let result = run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, Timestamp::ZERO, &json!({}));
            let peak = counting::peak() - before;
            let error = result.error.unwrap_or_else(|| panic!("{name} came to an end"));
            assert!(error.cause.to_lowercase().contains(&cause.to_lowercase()), "{name}: {error}");
            assert!(peak <= limits.max_memory_bytes as i64, "{name} took {peak} bytes");
        }
        drop(run);
    }
    let mut run = engine.start(&hostile(&engine, "log(\"fine\");"), Timestamp::ZERO).run.unwrap();
    let result = run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, Timestamp::ZERO, &json!({}));
    assert_eq!((result.error, result.effects.len()), (None, 1));
}

#[test]
fn nothing_outside_can_be_reached() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let reaches = [
        "eval(\"1 + 1\")",
        "import \"other\" as other",
        "timestamp()",
        "sleep(3600)",
        "sleep(3600.5)",
        "open_file(\"/etc/passwd\")",
        "open(\"/etc/passwd\")",
        "read(\"/etc/passwd\")",
        "env(\"PATH\")",
        "get_env(\"PATH\")",
        "exec(\"id\")",
        "system(\"id\")",
        "http_get(\"http://x\")",
        "connect(\"192.0.2.1\")",
        "rand()",
    ];
    for call in reaches {
        let text = format!("#{{ hooks: #{{ flowEnd: |now, config| {{ {call}; log(\"reached\"); }} }} }}");
        // Some are refused when the file is read, the others when they are called.
        let Ok(script) = engine.compile(&source(&text)) else { continue };
        let mut run = engine.start(&script, Timestamp::ZERO).run.unwrap();
        let result = run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, Timestamp::ZERO, &json!({}));
        let cause = result.error.unwrap_or_else(|| panic!("{call} is there")).cause;
        assert!(result.effects.is_empty() && cause.contains("unction"), "{call}: {cause}");
    }
    // What is printed is a line of the log, as many as a call may have.
    let script = hostile(&engine, "print(\"a\"); debug(\"b\"); for i in 0..5000 { print(i); }");
    let mut run = engine.start(&script, Timestamp::ZERO).run.unwrap();
    let result = run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, Timestamp::ZERO, &json!({}));
    assert_eq!((result.error, result.effects.len()), (None, engine.limits().max_effects));
    assert_eq!(result.effects[0], Effect::Log(LogLevel::Info, "a".to_owned()));
    // Nor are they globals of the file.
    for global in ["env", "args", "process", "__dirname"] {
        let text = format!("let x = {global}; #{{ hooks: #{{ flowEnd: |now, config| () }} }}");
        assert!(engine.compile(&source(&text)).is_err(), "{global}");
    }
}

#[test]
fn what_a_script_keeps_between_calls_counts_too() {
    let limits = ScriptLimits { max_memory_bytes: 8 << 20, ..ScriptLimits::default() };
    let engine = ScriptEngine::new(limits);
    let variables: String = (0..60).map(|n| format!("let v{n} = [];")).collect();
    let grow: String = (0..60).map(|n| format!("if n == {n} {{ v{n}.pad(9000, now); }} ")).collect();
    let text =
        format!("let n = 0; {variables} #{{ hooks: #{{ flowEnd: |now, config| {{ {grow} n += 1; }} }} }}");
    let script = engine.compile(&source(&text)).unwrap();
    let mut run = engine.start(&script, Timestamp::ZERO).run.unwrap();
    let mut call = || run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, Timestamp::ZERO, &json!({})).error;
    let fine = (0..60).take_while(|_| call().is_none()).count();
    // 9,000 items take 144,000 bytes, and a quarter of the quota is 2 MiB.
    assert!((8..=16).contains(&fine), "{fine} calls kept something");
    let error = call().unwrap();
    assert!(error.cause.contains("memory than the limit of 8388608 bytes"), "{error}");
}

#[test]
fn what_a_script_asks_for_is_not_held_against_it_later() {
    let limits = ScriptLimits { max_memory_bytes: 1 << 20, ..ScriptLimits::default() };
    let engine = ScriptEngine::new(limits);
    // Catching makes it interpreted.
    let body = "let s = \"\"; s.pad(20000, 'x'); try { http_post(\"http://x\", s); } catch { }";
    let mut run = engine.start(&hostile(&engine, body), Timestamp::ZERO).run.unwrap();
    let mut kept = Vec::new();
    for _ in 0..100 {
        let result = run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, Timestamp::ZERO, &json!({}));
        assert_eq!(result.error, None);
        kept.extend(result.effects);
    }
    assert_eq!(kept.len(), 100);
}

#[test]
fn a_program_over_large_texts_ends_within_its_operations() {
    let engine = ScriptEngine::new(ScriptLimits { max_operations: 20_000, ..ScriptLimits::default() });
    let call = |body: &str| {
        let mut run = engine.start(&hostile(&engine, body), Timestamp::ZERO).run.unwrap();
        let record = flow();
        let config = json!({});
        let input = engine.input(Some(&record), None, 0, Timestamp::ZERO, &config);
        let program = run.programs.flow[FlowHook::FlowEnd as usize].as_ref().expect("it is lowered");
        let (outcome, parts) = program.run(&input, &mut Vec::new());
        assert!(parts <= input.max_steps);
        (outcome.is_ok(), run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, Timestamp::ZERO, &json!({})))
    };
    let grown = |doubled: u32, times: u32, what: &str| {
        call(&format!(
            "let s = \"x\"; for i in 0..{doubled} {{ s += s; }} let n = 0; for i in 0..{times} {{ {what} }}"
        ))
    };
    let large = [
        "let t = s.to_upper();",
        "let t = `${s}`;",
        "let t = s;",
        "n += s.len();",
        "if s.contains(\"y\") { n += 1; }",
        "if s == \"y\" { n += 1; }",
        "let t = [s, s];",
        "if in_list(\"bad\", s) { n += 1; }",
    ];
    for what in large {
        assert!(!grown(16, 300, what).0, "{what} is the interpreter's");
        let (done, result) = grown(6, 4, what);
        assert!(done && result.error.is_none() && result.cost > 0, "{what}: {:?}", result.error);
    }
    let (_, result) = grown(19, 300, large[0]);
    assert!(result.error.unwrap().cause.contains("operations"));
    // A loop costs what it does; a hook that only compares costs nothing.
    let (done, result) = call("let n = 0; for i in 0..400 { n += i; }");
    assert!(done && (100..=400).contains(&result.cost), "{}", result.cost);
    assert_eq!(call("if flow.bytes > 1000 { log(\"x\"); }").1.cost, 0);
}

#[test]
fn a_file_that_is_a_bomb_is_refused() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let times = |text: &str, n| text.repeat(n);
    let hook = |body: &str| format!("#{{ hooks: #{{ flowEnd: |now, config| {{ {body} }} }} }}");
    let bombs = [
        ("parentheses", hook(&format!("log({}1{});", times("(", 10_000), times(")", 10_000)))),
        ("arrays", hook(&format!("let a = {}{};", times("[", 10_000), times("]", 10_000)))),
        ("blocks", hook(&format!("{}{}", times("{", 10_000), times("}", 10_000)))),
        ("conditions", hook(&format!("{}{}", times("if now > 1 {", 10_000), times("}", 10_000)))),
        ("negations", hook(&format!("let a = {}true;", times("!", 50_000)))),
        ("sum", hook(&format!("let a = now{};", times(" + 1", 50_000)))),
        ("chain", hook(&format!("let a = config{};", times(".a", 50_000)))),
        ("texts in texts", hook(&format!("let a = {}1{};", times("`${", 5_000), times("}`", 5_000)))),
        (
            "functions",
            format!("{} {}", (0..5000).map(|n| format!("fn f{n}() {{}} ")).collect::<String>(), hook("")),
        ),
        ("no end", "/*".to_owned()),
        ("no end of a text", hook("\"")),
        ("loops at load", format!("loop {{ }} {}", hook(""))),
        ("bomb at load", format!("let a = [1]; loop {{ a += a; }} {}", hook(""))),
    ];
    for (name, text) in bombs {
        let watch = crate::clock::Stopwatch::start();
        counting::reset_peak();
        let before = counting::bytes();
        assert!(engine.compile(&source(&text)).is_err(), "{name} is taken");
        assert!(counting::peak() - before < 64 << 20, "{name}: {} bytes", counting::peak() - before);
        assert!(watch.elapsed() < Duration::from_secs(20), "{name}");
    }
}

#[test]
fn ten_thousand_errors_are_twenty_and_a_quarantine() {
    let limits = ScriptLimits::default();
    let engine = ScriptEngine::new(limits.clone());
    let mut run = engine.start(&hostile(&engine, "throw \"no\";"), Timestamp::ZERO).run.unwrap();
    let (mut quarantine, mut called) = (Quarantine::default(), 0);
    for call in 0..10_000_i64 {
        let now = Timestamp::from_ns(call * 100_000);
        if quarantine.holds(now) {
            continue;
        }
        called += 1;
        let result = run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, now, &json!({}));
        assert!(result.error.is_some());
        quarantine.failed(limits.quarantine_after, now);
    }
    assert_eq!(called, limits.quarantine_after);
}
