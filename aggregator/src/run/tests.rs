//! Runs over elements, without a partition.

use super::*;
use shared::script::ScriptLimits;
use shared::script::element::InfoValue;
use shared::script::source::{Origin, ScriptSource};

fn registry(engine: &ScriptEngine, text: &str) -> Registry {
    let source =
        ScriptSource { name: "test".to_owned(), origin: Origin::Inline, folder: None, text: text.to_owned() };
    let (registry, errors) = Registry::load(engine, vec![source], &BTreeMap::new());
    assert!(errors.is_empty(), "{errors:?}");
    registry
}

fn elements(hosts: &[(&str, bool)]) -> Vec<RunElement> {
    let element = |(ip, local): &(&str, bool)| RunElement {
        params: ElementParams {
            granularity: Some(Granularity::Min),
            entity_value: (*ip).to_owned(),
            info: vec![("ip", InfoValue::Text((*ip).to_owned()))],
            ..ElementParams::default()
        },
        local: *local,
    };
    hosts.iter().map(element).collect()
}

fn run(text: &str, hosts: &[(&str, bool)], states: &mut ScriptStates, deadline: Duration) -> Outcome {
    let limits = ScriptLimits { max_operations: 10_000, ..ScriptLimits::default() };
    run_within(limits, text, hosts, states, deadline)
}

fn run_within(
    limits: ScriptLimits,
    text: &str,
    hosts: &[(&str, bool)],
    states: &mut ScriptStates,
    deadline: Duration,
) -> Outcome {
    let engine = ScriptEngine::new(limits);
    let registry = registry(&engine, text);
    let plan = RunPlan {
        engine: &engine,
        registry: &registry,
        kind: ScriptKind::Host,
        granularity: Granularity::Min,
        only: None,
        site: "s",
        ifid: 1,
        interface: "eth0",
        collected: false,
        when: Timestamp::from_secs(60),
        deadline,
        quarantine_after: 3,
        pools: &HostPools::default(),
    };
    let elements = elements(hosts);
    plan.run(elements.len(), |n| elements.get(n).cloned(), states)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_run_is_setup_then_every_element_then_teardown() {
    let text = "let hosts = [];
        #{ local_hosts: true, setup: || true, hooks: #{ min: |p| hosts.push(p.entity_info.ip) },
           teardown: || http_post(\"http://x\", to_json(hosts)) }";
    let mut states = ScriptStates::default();
    for _ in 0..2 {
        let outcome =
            run(text, &[("10.0.0.1", true), ("192.0.2.1", false), ("10.0.0.2", true)], &mut states, LONG);
        let posts: Vec<_> = outcome.asked.iter().map(|asked| &asked.effect).collect();
        let expected = Effect::HttpPost { url: "http://x".into(), body: r#"["10.0.0.1","10.0.0.2"]"#.into() };
        assert_eq!((posts, outcome.calls), (vec![&expected], 2));
        assert_eq!(outcome.complete, ["test"]);
    }
}

#[test]
fn a_run_past_its_deadline_is_incomplete_but_still_torn_down() {
    let text = "#{ hooks: #{ min: |p| () }, teardown: || log(\"end\") }";
    let outcome = run(text, &[("a", true), ("b", true)], &mut ScriptStates::default(), Duration::ZERO);
    assert_eq!((outcome.reached, outcome.complete.len(), outcome.asked.len()), (0, 0, 1));
}

#[test]
fn what_a_script_asks_for_in_one_run_is_bounded_in_number_and_bytes() {
    let text = "#{ hooks: #{ min: |p| http_post(\"http://x\", `${p.entity_info} 0123456789`) },
        teardown: || log(\"end\") }";
    let names: Vec<String> = (0..100).map(|n| format!("10.0.0.{n}")).collect();
    let hosts: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), true)).collect();
    let within = |limits: ScriptLimits| {
        let mut states = ScriptStates::default();
        let outcome = run_within(limits.clone(), text, &hosts, &mut states, LONG);
        assert_eq!(
            (outcome.reached, outcome.errors["test"]),
            (100, 1),
            "the other scripts reach every element"
        );
        assert!(outcome.complete.is_empty(), "nothing that it has engaged is released");
        assert_eq!(
            outcome.asked.last().unwrap().effect,
            Effect::Log(shared::script::LogLevel::Info, "end".into())
        );
        let again = run_within(limits, text, &hosts, &mut states, LONG);
        assert_eq!(again.calls, outcome.calls, "the next run begins anew");
        (outcome.calls, outcome.asked.len() - 1, outcome.last_errors["test"].clone())
    };
    let (calls, asked, error) = within(ScriptLimits { max_effects_per_run: 7, ..ScriptLimits::default() });
    assert_eq!((calls, asked), (8, 7), "what fitted stands");
    assert!(error.contains("more effects than the limit of 7 in one run"), "{error}");
    let bytes = 10 * (size_of::<Effect>() + 30);
    let (calls, asked, error) =
        within(ScriptLimits { max_effect_bytes_per_run: bytes, ..ScriptLimits::default() });
    assert!((9..=12).contains(&asked) && calls == asked as u64 + 1, "{calls} calls, {asked} effects");
    assert!(error.contains("effects of more bytes than the limit"), "{error}");
}

#[test]
fn an_error_leaves_the_run_incomplete_and_the_next_element_is_called() {
    let text = "#{ hooks: #{ min: |p| if p.entity_info == \"a\" { throw \"no\" } else { log(\"fine\") } } }";
    let outcome = run(text, &[("a", true), ("b", true)], &mut ScriptStates::default(), LONG);
    assert_eq!((outcome.calls, outcome.errors["test"], outcome.asked.len()), (2, 1, 1));
    assert!(outcome.complete.is_empty());
}

#[test]
fn a_script_that_keeps_failing_is_quarantined() {
    let text = "#{ hooks: #{ min: |p| throw \"no\" } }";
    let mut states = ScriptStates::default();
    let hosts = [("a", true), ("b", true), ("c", true), ("d", true)];
    let outcome = run(text, &hosts, &mut states, LONG);
    assert_eq!((outcome.calls, &outcome.quarantined[..]), (3, &["test".to_owned()][..]));
    let counts = outcome.counts[&0];
    assert_eq!((counts.calls, counts.errors, counts.quarantined), (3, 3, 1));
    assert_eq!(run(text, &hosts, &mut states, LONG).calls, 0);
}

#[test]
fn a_script_loaded_for_good_keeps_its_state() {
    let text = "let n = 0; #{ lifecycle: \"load\", hooks: #{ min: |p| { n += 1; log(n) } } }";
    let engine = ScriptEngine::new(ScriptLimits::default());
    let registry = registry(&engine, text);
    let mut states = ScriptStates::default();
    let mut logged = Vec::new();
    for _ in 0..3 {
        let plan = RunPlan {
            engine: &engine,
            registry: &registry,
            kind: ScriptKind::Host,
            granularity: Granularity::Min,
            only: None,
            site: "s",
            ifid: 1,
            interface: "eth0",
            collected: false,
            when: Timestamp::from_secs(60),
            deadline: LONG,
            quarantine_after: 3,
            pools: &HostPools::default(),
        };
        logged.extend(plan.run(1, |n| elements(&[("a", true)]).get(n).cloned(), &mut states).asked);
    }
    let texts: Vec<_> = logged
        .iter()
        .map(|asked| match &asked.effect {
            Effect::Log(_, text) => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(texts, ["1", "2", "3"]);
}
