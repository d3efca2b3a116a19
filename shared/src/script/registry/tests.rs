//! Very many scripts, and scripts with odd names.

use serde_json::json;

use super::*;
use crate::clock::Stopwatch;
use crate::counting;
use crate::model::Timestamp;
use crate::script::source::{Origin, load_dir};

fn script(text: &str) -> ScriptSource {
    let (name, text) = ("test".to_owned(), text.to_owned());
    ScriptSource { name, origin: Origin::Inline, folder: None, text }
}

#[test]
fn five_thousand_scripts_of_a_folder_load_and_run() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..5000 {
        let text = format!(
            "// Check number {number}.\n#{{ title: \"Check {number}\", default_value: #{{ most: {number} }}, prio: {},
                hooks: #{{ flowEnd: |now, config| {{
                    if flow.bytes > config.most && flow.l7 == \"DNS\" {{ trigger_alert(#{{ message: `${{flow.cli}} {number}` }}); }}
                }} }} }}",
            number % 7
        );
        std::fs::write(dir.path().join(format!("check_{number}.rhai")), text).unwrap();
    }
    let engine = ScriptEngine::new(ScriptLimits::default());
    let (watch, before) = (Stopwatch::start(), counting::bytes());
    let (registry, errors) = Registry::load(&engine, load_dir(dir.path()).unwrap(), &BTreeMap::new());
    let bytes = (counting::bytes() - before) / 5000;
    assert!(errors.is_empty() && registry.scripts().len() == 5000, "{:?}", errors.first());
    assert!(bytes < 60_000, "{bytes} bytes a script");
    let flow = crate::script::engine::a_flow();
    let mut asked = 0;
    for entry in registry.for_flow(FlowHook::FlowEnd) {
        let mut run = engine.start(&entry.script, Timestamp::ZERO).run.unwrap();
        let config = entry.config(HookName::Flow(FlowHook::FlowEnd));
        let result = run.flow(&engine, FlowHook::FlowEnd, &flow, 0, Timestamp::ZERO, config);
        assert_eq!(result.error, None);
        asked += result.effects.len();
    }
    assert_eq!(asked, 1100, "those that want more than 0 to 1099 bytes of 1100");
    // Some seconds on a slow machine without optimization; a tenth of one in the program.
    assert!(watch.elapsed().as_secs() < 60, "{:?}", watch.elapsed());
}

#[test]
fn a_change_compiles_only_what_it_changes() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let of = |number: usize, text: &str| ScriptSource {
        name: format!("check_{number}"),
        origin: Origin::File(format!("/scripts/check_{number}.rhai").into()),
        ..script(text)
    };
    // The same text under five thousand names.
    let text = "#{ hooks: #{ flowEnd: |now, config| log(\"x\") } }";
    let mut setup =
        ScriptSetup { sources: (0..5000).map(|n| of(n, text)).collect(), ..ScriptSetup::default() };
    let (before, _) = Registry::of_setup(&engine, &setup);
    assert_eq!(engine.compiled(), 5000);
    setup.sources[4321] = of(4321, "#{ hooks: #{ flowEnd: |now, config| log(\"y\") } }");
    setup.sources.push(of(5000, text));
    setup.sources.remove(0);
    let off = ScriptSettings { enabled: Some(false), ..ScriptSettings::default() };
    setup.settings.insert("check_17".to_owned(), off);
    let (after, errors) = Registry::of_setup_again(&engine, &setup, &before);
    assert_eq!((engine.compiled(), errors), (5002, vec![]), "what was changed and what is new");
    let keys = |registry: &Registry| -> Vec<String> {
        registry.scripts().iter().map(|entry| entry.script.meta().key.clone()).collect()
    };
    let fresh = Registry::of_setup(&engine, &setup).0;
    assert_eq!(keys(&after), keys(&fresh), "as if all had been compiled");
    assert_eq!(after.for_flow(FlowHook::FlowEnd).count(), 4999, "settings are applied anew");
    let entry = |registry: &Registry, key: &str| {
        let found = registry.scripts().iter().find(|entry| entry.script.meta().key == key);
        found.map(|entry| entry.script.hash().to_owned()).unwrap()
    };
    assert_ne!(entry(&before, "check_4321"), entry(&after, "check_4321"));
}

#[test]
fn overrides_by_pool_and_element_and_for_some_hooks() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let text = "#{ default_value: #{ n: 1 }, hooks: #{ min: |p| (), hour: |p| () } }";
    let settings = json!({ "test": { "enabled": false, "overrides": [
        { "pool": "guests", "enabled": true, "config": { "n": 2 } },
        { "element": "10.0.0.0/8", "hooks": ["hour"], "enabled": true, "config": { "n": 3 } },
        { "element": "192.0.2.0/24", "enabled": false },
    ] } });
    let settings: BTreeMap<String, ScriptSettings> = serde_json::from_value(settings).unwrap();
    let (registry, errors) = Registry::load(&engine, vec![script(text)], &settings);
    assert!(errors.is_empty(), "{errors:?}");
    let entry = &registry.scripts()[0];
    let pool = json!({ "name": "guests", "members": ["10.9.0.0/16"] });
    let pools = HostPools::new(vec![serde_json::from_value(pool).unwrap()]);
    let n = |ip: &str, hook: Granularity| {
        let target = || Target { value: "x", hosts: [Some((ip.parse().unwrap(), 0, None)), None] };
        entry.config_for(HookName::Element(hook), target, &pools).map(|config| config["n"].clone())
    };
    assert_eq!(n("10.9.0.1", Granularity::Min), Some(json!(2)), "the first that fits");
    assert_eq!(n("10.1.0.1", Granularity::Min), None, "that of the prefix is for the hour alone");
    assert_eq!(n("10.1.0.1", Granularity::Hour), Some(json!(3)));
    assert_eq!((n("192.0.2.1", Granularity::Hour), n("198.51.100.1", Granularity::Hour)), (None, None));
    assert!(entry.enabled(HookName::Element(Granularity::Min)), "for some");
    let only_hour = json!({ "test": { "enabled": false, "overrides": [
        { "element": "10.0.0.0/8", "hooks": ["hour"], "enabled": true }] } });
    let (registry, _) =
        Registry::load(&engine, vec![script(text)], &serde_json::from_value(only_hour).unwrap());
    let on = |hook| registry.scripts()[0].enabled(HookName::Element(hook));
    assert!(on(Granularity::Hour) && !on(Granularity::Min));
    let wrong = json!({ "test": { "overrides": [{ "element": "10.0.0.1", "hooks": ["flowEnd"] }] } });
    let (_, errors) = Registry::load(&engine, vec![script(text)], &serde_json::from_value(wrong).unwrap());
    assert!(errors[0].to_string().contains("overrides[0].hooks: it has no hook 'flowEnd'"), "{errors:?}");
}

#[test]
fn scripts_run_by_prio_and_then_by_key() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let of = |key: &str, prio: i64| {
        script(&format!("#{{ key: \"{key}\", prio: {prio}, hooks: #{{ flowEnd: |n, c| () }} }}"))
    };
    let sources = vec![of("b", 0), of("late", -20), of("a", 0), of("first", 7)];
    let (registry, _) = Registry::load(&engine, sources, &BTreeMap::new());
    let keys: Vec<_> = registry.scripts().iter().map(|entry| entry.script.meta().key.as_str()).collect();
    assert_eq!(keys, ["first", "a", "b", "late"]);
}

#[test]
fn a_script_may_have_an_odd_name() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(200);
    let names = [
        "with blank",
        "ünïcödé",
        "🙂",
        "qu\"ote'",
        "-dash",
        "semi;colon",
        "$(touch x)",
        "new\nline",
        "a.b.c",
        "%2e",
        "*",
        "[x]",
        "scripts.settings",
        "null",
        "0",
        &long,
    ];
    for name in names {
        std::fs::write(dir.path().join(format!("{name}.rhai")), "#{ hooks: #{ flowEnd: |n, c| log(1) } }")
            .unwrap();
    }
    std::fs::write(dir.path().join("bro\"ken\n.rhai"), "#{ hooks: ").unwrap();
    let engine = ScriptEngine::new(ScriptLimits::default());
    let settings =
        BTreeMap::from([("🙂".to_owned(), ScriptSettings { enabled: Some(false), ..Default::default() })]);
    let (registry, errors) = Registry::load(&engine, load_dir(dir.path()).unwrap(), &settings);
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].script.as_str(), errors[0].line), ("bro\"ken\n", 1));
    let mut keys: Vec<_> = registry.infos().into_iter().map(|info| info.key).collect();
    let mut expected = names.map(str::to_owned).to_vec();
    keys.sort();
    expected.sort();
    assert_eq!(keys, expected);
    assert_eq!(registry.for_flow(FlowHook::FlowEnd).count(), names.len() - 1);
    for info in registry.infos() {
        let text = serde_json::to_string(&info).unwrap();
        assert_eq!(serde_json::from_str::<ScriptInfo>(&text).unwrap(), info);
    }
}

#[test]
fn while_alerts_are_off_scripts_that_only_raise_alerts_are_off() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let on = |alerts_off| {
        let alerting = "#{ key: \"alerting\", is_alert: true, hooks: #{ flowEnd: |n, c| () } }";
        let other = "#{ key: \"other\", hooks: #{ flowEnd: |n, c| () } }";
        let mut sources = vec![script(alerting), script(other)];
        sources.iter_mut().zip(["a", "b"]).for_each(|(source, name)| source.name = name.to_owned());
        let setup = ScriptSetup { sources, alerts_off, ..ScriptSetup::default() };
        let (registry, errors) = Registry::of_setup(&engine, &setup);
        assert!(errors.is_empty());
        registry.for_flow(FlowHook::FlowEnd).map(|entry| entry.script.meta().key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(on(false), ["alerting", "other"]);
    assert_eq!(on(true), ["other"]);
}

#[test]
fn a_script_is_for_the_interfaces_of_its_scope() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let text = "#{ scope: [\"eth*\", \"lo\"], version: \"1.2\", gui: #{ form: \"x\" }, hooks: #{ flowEnd: |n, c| () } }";
    let (registry, errors) = Registry::load(&engine, vec![script(text)], &BTreeMap::new());
    assert!(errors.is_empty(), "{errors:?}");
    let entry = &registry.scripts()[0];
    assert!(entry.is_for("eth0") && entry.is_for("lo") && !entry.is_for("wlan0") && !entry.is_for("lo0"));
    let info = registry.infos().remove(0);
    assert_eq!((info.version.as_str(), info.scope.len(), info.gui), ("1.2", 2, json!({ "form": "x" })));
    let everywhere = "#{ hooks: #{ flowEnd: |n, c| () } }";
    let (registry, _) = Registry::load(&engine, vec![script(everywhere)], &BTreeMap::new());
    assert!(registry.scripts()[0].is_for("anything"));
}
