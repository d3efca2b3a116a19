//! `flowhook script bench`: what a call of a script costs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aggregator::partition::{Partition, RunRequest};
use clap::Args;
use serde_json::json;
use shared::clock::Stopwatch;
use shared::model::{FlowRecord, Granularity, Timestamp};
use shared::script::engine::{Script, ScriptEngine};
use shared::script::registry::ScriptSettings;
use shared::script::source::ScriptSource;
use shared::script::{FlowHook, HookName, LogEvent, ScriptKind};

use super::trial::{self, Trial};
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
    /// Capture with whose flows, hosts, networks or interface it is called
    #[arg(long)]
    capture: Option<PathBuf>,
    /// File of syslog lines with which it is called, for scripts of kind syslog
    #[arg(long, conflicts_with = "capture")]
    log: Option<PathBuf>,
}

/// Runs it.
pub fn bench(args: &BenchArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let source = super::find(&args.file).map_err(Failure::config)?;
    let engine = ScriptEngine::new(config.scripts.limits.clone());
    let script = engine.compile(&source).map_err(Failure::config)?;
    let kind = script.meta().kind;
    let measured = match (kind, &args.capture, &args.log) {
        (ScriptKind::Syslog, _, Some(log)) => log_lines(&source, config, log)?,
        (ScriptKind::Syslog, ..) => return Err(cannot(&script, "is called for log lines: give --log FILE")),
        (ScriptKind::ActiveMonitoring, ..) => {
            return Err(cannot(&script, "is called for hosts that are probed, and none is here"));
        }
        (ScriptKind::Flow, Some(capture), _) => {
            let trial = trial_of(&source, capture, config)?;
            flows(&engine, &script, &trial.flows, capture)?
        }
        (_, Some(capture), _) => {
            let trial = trial_of(&source, capture, config)?;
            elements(&script, trial.partition, capture)?
        }
        (_, None, _) => return Err(cannot(&script, "is called for traffic: give --capture FILE")),
    };
    for (hook, Cost { calls, failed, took }) in measured {
        let nanos = took.as_nanos() as f64 / calls as f64;
        match output {
            Output::Json => {
                print_json(&json!({ "hook": hook, "calls": calls, "failed": failed, "ns_per_call": nanos }))?;
            }
            Output::Text => {
                print(&format!("{hook}: {nanos:.0} ns a call ({calls} calls, {failed} failed)\n"));
            }
        }
    }
    Ok(())
}

fn cannot(script: &Script, why: &str) -> Failure {
    Failure::config(format!("script {} {why}", script.meta().key))
}

/// What the calls of one hook cost.
#[derive(Default)]
struct Cost {
    calls: u64,
    failed: u64,
    took: Duration,
}

/// Repeats calls until they have taken long enough; each repetition says how many there were, and how many
/// failed.
fn measure(mut calls: impl FnMut() -> (u64, u64)) -> Cost {
    let (watch, mut cost) = (Stopwatch::start(), Cost::default());
    while cost.took < LONG_ENOUGH {
        let (called, failed) = calls();
        if called == 0 {
            break;
        }
        cost.calls += called;
        cost.failed += failed;
        cost.took = watch.elapsed();
    }
    cost
}

fn trial_of(source: &ScriptSource, capture: &Path, config: &Config) -> Result<Trial, Failure> {
    trial::run(source, capture, ScriptSettings::default(), config, &|| None, true)
}

/// The hooks of a flow script, with the flows of a capture.
fn flows(
    engine: &ScriptEngine,
    script: &Script,
    flows: &[FlowRecord],
    capture: &Path,
) -> Result<Vec<(&'static str, Cost)>, Failure> {
    let meta = script.meta();
    if flows.is_empty() {
        return Err(Failure::config(format!("{}: has no flows", capture.display())));
    }
    let started = engine.start(script, Timestamp::ZERO);
    if let Some(error) = started.result.error {
        return Err(Failure::config(error));
    }
    let Some(mut run) = started.run else { return Err(cannot(script, "declines in its setup")) };
    let hooks = FlowHook::ALL.into_iter().filter(|hook| meta.hooks.contains(&HookName::Flow(*hook)));
    let cost = |hook: FlowHook| {
        let cost = measure(|| {
            let failed = flows.iter().filter(|flow| {
                run.flow(engine, hook, flow, 0, flow.last_seen, &meta.default_value).error.is_some()
            });
            (flows.len() as u64, failed.count() as u64)
        });
        (hook.name(), cost)
    };
    Ok(hooks.map(cost).collect())
}

/// The hooks of a script of elements, with those that are known at the end of a capture: what each call is
/// given, what it asks for, and the run around it are part of the cost.
fn elements(
    script: &Script,
    mut partition: Partition,
    capture: &Path,
) -> Result<Vec<(&'static str, Cost)>, Failure> {
    let meta = script.meta();
    let hooks =
        Granularity::PERIODS.into_iter().filter(|period| meta.hooks.contains(&HookName::Element(*period)));
    let mut costs = Vec::new();
    for hook in hooks {
        let (key, only) = (meta.key.clone(), Vec::new());
        let request = RunRequest { key, hook, only, site: None, ifid: None };
        let cost = measure(|| {
            let (_, answer) = partition.run_on_demand(&request);
            (answer.calls, answer.errors)
        });
        if cost.calls == 0 {
            let kind = meta.kind.name();
            return Err(cannot(script, &format!("is called for no {kind} of {}", capture.display())));
        }
        costs.push((hook.name(), cost));
    }
    Ok(costs)
}

/// The hook of a script of log lines, with those of a file.
fn log_lines(
    source: &ScriptSource,
    config: &Config,
    log: &Path,
) -> Result<Vec<(&'static str, Cost)>, Failure> {
    let events: Vec<LogEvent> = trial::events(log)?.into_iter().flatten().collect();
    if events.is_empty() {
        return Err(Failure::config(format!("{}: has no lines of syslog", log.display())));
    }
    let config = trial::alone(source, ScriptSettings::default(), config)?;
    let mut partition = trial::partition(source, &config, &|| None)?;
    let mut station = partition.station(&config.node.site, "bench");
    let errors =
        |partition: &Partition| partition.report().scripts.values().map(|script| script.errors).sum();
    let mut before: u64 = 0;
    let cost = measure(|| {
        for event in &events {
            partition.log_line(&mut station, event, &mut aggregator::partition::Output::default());
        }
        let now: u64 = errors(&partition);
        let failed = now - std::mem::replace(&mut before, now);
        (events.len() as u64, failed)
    });
    Ok(vec![(HookName::Event.name(), cost)])
}
