//! Files that users write.

use collector::l7::apps::AppTable;
use flowhook::config::Config;
use shared::model::Timestamp;
use shared::script::ScriptLimits;
use shared::script::engine::ScriptEngine;
use shared::script::source::{Origin, ScriptSource};

/// The configuration.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(config) = toml::from_str::<Config>(text) {
        let _ = config.check();
    }
}

/// The table of applications.
pub fn apps(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut table = AppTable::default();
    let _ = table.read(text);
    for line in text.lines() {
        let suffix = line.split('\t').next().unwrap_or(line);
        let app = table.find(suffix);
        let _ = table.get(app);
    }
}

/// A hook script: compiled, loaded and set up within its limits.
pub fn script(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let limits = ScriptLimits {
        max_operations: 2000,
        max_string: 4096,
        max_array: 64,
        max_map: 64,
        ..Default::default()
    };
    let engine = ScriptEngine::new(limits);
    let source =
        ScriptSource { name: "s".into(), origin: Origin::Inline, folder: None, text: text.to_owned() };
    if let Ok(script) = engine.compile(&source) {
        let started = engine.start(&script, Timestamp::ZERO);
        assert!(started.result.effects.len() <= ScriptLimits::default().max_effects);
    }
}
