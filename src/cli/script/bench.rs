//! `flowhook script bench`: what a call of a flow script costs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use shared::clock::Stopwatch;
use shared::model::Timestamp;
use shared::script::engine::ScriptEngine;
use shared::script::registry::ScriptSettings;
use shared::script::{FlowHook, HookName, ScriptKind};

use super::trial;
use crate::cli::{Output, print, print_json};
use crate::config::Config;
use crate::exit::Failure;

/// Calls of each hook are repeated for at least this long.
const LONG_ENOUGH: Duration = Duration::from_millis(300);

/// `flowhook script bench …`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The script's file, or the name of a built-in script
    file: PathBuf,
    /// Capture whose flows it is called with
    #[arg(long)]
    capture: PathBuf,
}

/// Runs it.
pub fn bench(args: &BenchArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let source = super::find(&args.file).map_err(Failure::config)?;
    let observer = || Box::new(|_: &shared::script::observer::Observed<'_>| {}) as _;
    let trial = trial::run(&source, &args.capture, ScriptSettings::default(), config, &observer, true)?;
    let engine = ScriptEngine::new(config.scripts.limits.clone());
    let script = engine.compile(&source).map_err(Failure::config)?;
    let meta = script.meta();
    if meta.kind != ScriptKind::Flow {
        return Err(Failure::config(format!("script {}: only flow scripts can be measured", meta.key)));
    }
    if trial.flows.is_empty() {
        return Err(Failure::config(format!("{}: has no flows", args.capture.display())));
    }
    let started = engine.start(&script, Timestamp::ZERO);
    if let Some(error) = started.result.error {
        return Err(Failure::config(error));
    }
    let Some(mut run) = started.run else {
        return Err(Failure::config(format!("script {}: its setup declines", meta.key)));
    };
    for hook in FlowHook::ALL.into_iter().filter(|hook| meta.hooks.contains(&HookName::Flow(*hook))) {
        let watch = Stopwatch::start();
        let (mut calls, mut failed) = (0_u64, 0_u64);
        while watch.elapsed() < LONG_ENOUGH {
            for flow in &trial.flows {
                let result = run.flow(&engine, hook, flow, 0, flow.last_seen, &meta.default_value);
                calls += 1;
                failed += u64::from(result.error.is_some());
            }
        }
        let nanos = watch.elapsed().as_nanos() as f64 / calls as f64;
        match output {
            Output::Json => {
                print_json(
                    &json!({ "hook": hook.name(), "calls": calls, "failed": failed, "ns_per_call": nanos }),
                )?;
            }
            Output::Text => {
                print(&format!("{}: {nanos:.0} ns a call ({calls} calls, {failed} failed)\n", hook.name()));
            }
        }
    }
    Ok(())
}
