//! Hooks of elements.

use super::*;

/// Calls every element hook of a script both ways, with fresh state each.
fn compare_elements(
    engine: &ScriptEngine,
    script: &Script,
    (text, config): (&str, &Value),
    times: usize,
    chance: &mut Chance,
    counts: &mut Counts,
) {
    for granularity in Granularity::PERIODS {
        if !script.meta.hooks.contains(&HookName::Element(granularity)) {
            continue;
        }
        let mut runs =
            [false, true].map(|interpreted| (interpreted, engine.start(script, Timestamp::ZERO).run));
        for _ in 0..times {
            let params = element(chance, script.meta.kind, granularity);
            let config = match chance.below(4) {
                0 => {
                    json!({ "threshold": chance.below(5000) as f64 + 0.5, "operator": chance.one_of(&["lt", "gt", "is"]) })
                }
                _ => config.clone(),
            };
            let [lowered, interpreted] = runs.each_mut().map(|(interpreted, run)| {
                engine.interpret_all(*interpreted);
                let CallResult { effects, error, .. } =
                    run.as_mut().unwrap().element(engine, &params, &config);
                (effects, error)
            });
            assert_eq!(format!("{lowered:?}"), format!("{interpreted:?}"), "{text}\n{params:?}");
            counts.calls += 1;
            counts.failed += u64::from(interpreted.1.is_some());
        }
    }
}

#[test]
fn lowered_and_interpreted_element_hooks_do_the_same() {
    let engine = small_engine();
    let (mut chance, mut counts) = (Chance(2), Counts::default());
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/scripts");
    let known = ["examples", "templates"].map(|folder| load_dir(&examples.join(folder)).unwrap());
    for source in builtin().into_iter().chain(known.into_iter().flatten()) {
        let script = engine.compile(&source).unwrap();
        let about = (source.name.as_str(), &script.meta.default_value);
        compare_elements(&engine, &script, about, 700, &mut chance, &mut counts);
        let filled = filled(&script.meta.default_value);
        let about = (source.name.as_str(), &filled);
        compare_elements(&engine, &script, about, 500, &mut chance, &mut counts);
    }
    let config = config();
    for _ in 0..1200 {
        let body = Grammar::new(&mut chance, true).block(0);
        let text = format!(
            "#{{ hooks: #{{ min: |params| {{ let config = params.user_script_config; {body} }} }} }}"
        );
        let Ok(script) = made(&engine, &text) else { continue };
        compare_elements(&engine, &script, (&text, &config), 40, &mut chance, &mut counts);
    }
    let Counts { calls, failed, .. } = counts;
    assert!(calls >= 100_000 && failed > 100 && failed < calls / 4, "{calls} calls, {failed} failed");
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
