//! Who comes from ntopng: which of its checks are here, and what is another about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use shared::model::Severity;
use shared::script::engine::ScriptEngine;
use shared::script::registry::Registry;
use shared::script::source::builtin;
use shared::script::{ScriptLimits, ScriptMeta};

/// Who comes from ntopng finds every check there under its name, under another one, or why there is none.
#[test]
fn every_check_of_ntopng_is_here_or_in_the_page() {
    let names: BTreeSet<String> = builtin().into_iter().map(|source| source.name).collect();
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md")).unwrap();
    let (_, told) = page.split_once("## Names elsewhere").unwrap();
    let mut seen = 0;
    for line in include_str!("data/checks_of_ntopng.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (kind, name) = (words.next().unwrap(), words.next().unwrap());
        let own = name.strip_prefix("ndpi_").unwrap_or(name).to_owned();
        let here = names.contains(&own) || names.contains(&format!("{kind}_{own}"));
        assert!(here || told.contains(&format!("`{name}`")), "docs/checks.md does not tell of {kind} {name}");
        seen += 1;
    }
    assert!(seen > 150, "{seen}");
}

/// What is another than ntopng's is in the page's table of differences, and nothing is there that is the same.
#[test]
fn checks_keep_the_category_weight_and_default_of_ntopng_but_for_what_the_page_tells() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let (registry, _) = Registry::load(&engine, builtin(), &BTreeMap::new());
    let metas: BTreeMap<&str, &ScriptMeta> = registry
        .scripts()
        .iter()
        .map(|entry| (entry.script.meta().key.as_str(), entry.script.meta()))
        .collect();
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md")).unwrap();
    let section = |title: &str| page.split(title).nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = |title: &str| -> Vec<Vec<String>> {
        let rows = section(title);
        let rows = rows.lines().filter(|line| line.starts_with("| "));
        rows.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
            .collect()
    };
    let mut elsewhere: BTreeMap<String, String> = BTreeMap::new();
    for row in rows("## Names elsewhere") {
        let Some(own) = quoted(&row[1]).first().cloned() else { continue };
        elsewhere.extend(quoted(&row[0]).into_iter().map(|name| (name, own.clone())));
    }
    let mut found: BTreeSet<(String, &str)> = BTreeSet::new();
    let mut compared = 0;
    for line in include_str!("data/checks_of_ntopng.txt").lines().filter(|line| !line.starts_with('#')) {
        let [kind, name, category, weight, on] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        let own = name.strip_prefix("ndpi_").unwrap_or(name);
        let of_kind = format!("{kind}_{own}");
        let names = [of_kind.as_str(), own, elsewhere.get(name).map_or("", String::as_str)];
        let known = names.iter().filter_map(|name| metas.get(name)).find(|meta| meta.kind.name() == kind);
        let Some(meta) = known else { continue };
        let (severity, score) = meta.weight(&shared::script::AlertRequest::default());
        let same = match weight.parse::<u32>() {
            Ok(weight) => weight == score,
            Err(_) => weight == "-" || weight == severity.name(),
        };
        found.extend((meta.category.name() != category).then(|| (meta.key.clone(), "category")));
        found.extend((!same).then(|| (meta.key.clone(), "weight")));
        found.extend((meta.default_enabled != (on == "on")).then(|| (meta.key.clone(), "default")));
        compared += 1;
    }
    assert!(compared >= 90, "{compared}");
    let mut told: BTreeSet<(String, &str)> = BTreeSet::new();
    for row in rows("## What differs from ntopng, and why") {
        let what = match (row[1].as_str(), row[2].as_str()) {
            ("on" | "off", "on" | "off") => "default",
            (there, _) if there.starts_with("category") => "category",
            (_, here) if Severity::parse(here).is_some() => "weight",
            _ => continue,
        };
        told.extend(quoted(&row[0]).into_iter().map(|key| (key, what)));
    }
    let silent: Vec<_> = found.difference(&told).collect();
    assert!(silent.is_empty(), "the page does not tell of {silent:?}");
    let stale: Vec<_> = told.difference(&found).filter(|(key, _)| metas.contains_key(key.as_str())).collect();
    assert!(stale.is_empty(), "the page tells of {stale:?}, which are ntopng's");
}
