//! `flowhook check`: everything that is wrong, at once.

use serde_json::json;
use shared::geo::GeoBases;
use shared::script::engine::ScriptEngine;
use shared::script::lists::Lists;
use shared::script::registry::Registry;

use super::{Output, print, print_json};
use crate::config::Config;
use crate::exit::Failure;
use crate::node::script_sources;

/// Checks the configuration and every script.
pub fn check(config: &Config, output: Output) -> Result<(), Failure> {
    let mut wrong = config.check();
    wrong.extend(Lists::load(&config.scripts.lists).err());
    wrong.extend(GeoBases::load(&config.geo.databases).err());
    let mut scripts = 0;
    let mut warnings: Vec<String> = Vec::new();
    match script_sources(config) {
        Err(error) => wrong.push(error.to_string()),
        Ok(sources) => {
            let engine = ScriptEngine::new(config.scripts.limits.clone());
            let (registry, errors) = Registry::load(&engine, sources, &config.scripts.settings);
            scripts = registry.scripts().len();
            wrong.extend(errors.iter().map(ToString::to_string));
            for entry in registry.scripts() {
                let meta = entry.script.meta();
                warnings.extend(meta.warnings.iter().map(|w| format!("script {}: {w}", meta.key)));
            }
        }
    }
    if output == Output::Json {
        print_json(
            &json!({ "ok": wrong.is_empty(), "scripts": scripts, "errors": wrong, "warnings": warnings }),
        )?;
    } else if wrong.is_empty() {
        for warning in &warnings {
            print(&format!("warning: {warning}\n"));
        }
        print(&format!("configuration is right, {scripts} scripts load\n"));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::config(wrong.join("\n"))),
    }
}
