//! `flowhook script test`: a script over a capture, call by call; or what the script expects of itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use serde::Serialize;
use shared::model::status;
use shared::script::engine::ScriptEngine;
use shared::script::observer::{Observed, Observer};
use shared::script::registry::ScriptSettings;
use shared::script::source::{Origin, ScriptSource};
use shared::script::{Effect, ScriptMeta};

use super::trial;
use crate::cli::{Output, print, print_json};
use crate::config::Config;
use crate::exit::{self, Failure};

/// `flowhook script test …`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The script's file, or the name of a built-in script
    file: PathBuf,
    /// Capture to run it over; without it, the captures of the script's attribute `expect`
    #[arg(long)]
    capture: Option<PathBuf>,
    /// File of syslog lines to run it over, for scripts of kind syslog
    #[arg(long, conflicts_with = "capture")]
    log: Option<PathBuf>,
    /// Configuration to call it with, as JSON
    #[arg(long, value_name = "JSON")]
    script_config: Option<String>,
    /// Show every call; else those that asked for something or failed
    #[arg(long)]
    all: bool,
}

/// Calls shown in one answer at most.
const MOST_SHOWN: usize = 10_000;

/// What the calls of one trial were.
#[derive(Debug, Default, Serialize)]
struct Calls {
    /// Calls by function.
    calls: BTreeMap<String, u64>,
    /// Failed calls.
    errors: u64,
    /// Operations of the interpreter, of all calls.
    operations: u64,
    /// Wall time of all calls, watched and interpreted.
    micros: u64,
    /// How each hook runs where nobody watches.
    tiers: BTreeMap<&'static str, &'static str>,
    /// Calls that asked for something or failed, or all of them; the first ten thousand.
    #[serde(rename = "each")]
    shown: Vec<Call>,
}

/// One call.
#[derive(Debug, Serialize)]
struct Call {
    function: String,
    /// What it was called for; absent of `setup` and `teardown`.
    #[serde(skip_serializing_if = "String::is_empty")]
    about: String,
    reads: Vec<String>,
    operations: u64,
    micros: u64,
    effects: Vec<Effect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Call {
    fn of(call: &Observed<'_>) -> Self {
        Self {
            function: call.function.to_owned(),
            about: call.about.to_owned(),
            reads: call.reads.clone(),
            operations: call.operations,
            micros: u64::try_from(call.took.as_micros()).unwrap_or(u64::MAX),
            effects: call.effects.to_vec(),
            error: call.error.map(ToString::to_string),
        }
    }
}

/// What calls are made for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Input {
    Capture(PathBuf),
    Log(PathBuf),
}

/// What came of one capture, or of one file of log lines.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    input: Input,
    /// Lines that are none of syslog, by what is wrong.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    malformed: BTreeMap<String, u64>,
    #[serde(flatten)]
    calls: Calls,
    alerts: BTreeMap<String, u64>,
    /// What the script expects; absent when it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<BTreeMap<String, u64>>,
}

impl Report {
    fn fails(&self) -> bool {
        self.calls.errors > 0 || self.expected.as_ref().is_some_and(|expected| *expected != self.alerts)
    }
}

/// Runs it.
pub fn test(args: &TestArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let source = super::find(&args.file).map_err(Failure::config)?;
    let engine = ScriptEngine::new(config.scripts.limits.clone());
    let script = engine.compile(&source).map_err(Failure::config)?;
    let given = args.script_config.as_deref().map(serde_json::from_str).transpose();
    let given = given.map_err(|error| Failure::config(format!("--script-config: {error}")))?;
    let tiers: BTreeMap<_, _> = engine
        .explain(&script)
        .map_err(Failure::config)?
        .into_iter()
        .map(|(hook, how)| (hook.name(), how.tier()))
        .collect();
    let mut reports = Vec::new();
    for Wanted { input, expected, config: own } in wanted(args, &source, script.meta())? {
        let settings = ScriptSettings { config: given.clone().or(own), ..ScriptSettings::default() };
        let calls = Rc::new(RefCell::new(Calls::default()));
        let observer = || Some(watch(Rc::clone(&calls), output, args.all));
        let (alerts, malformed) = match &input {
            Input::Capture(capture) => {
                let trial = trial::run(&source, capture, settings, config, &observer, false)?;
                (trial.alerts, BTreeMap::new())
            }
            Input::Log(log) => trial::lines(&source, log, settings, config, &observer)?,
        };
        let calls = Calls { tiers: tiers.clone(), ..std::mem::take(&mut *calls.borrow_mut()) };
        reports.push(Report { input, malformed, calls, alerts, expected });
        if let (Output::Text, Some(report)) = (output, reports.last()) {
            print(&summary(report));
        }
    }
    outcome(&reports, output)
}

/// Tells of what was not told yet, and fails when something did.
fn outcome(reports: &[Report], output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        print_json(&reports)?;
    }
    match reports.iter().filter(|report| report.fails()).count() {
        0 => Ok(()),
        failed => Err(Failure::new(exit::FAILED, anyhow::anyhow!("{failed} of {} failed", reports.len()))),
    }
}

/// One input to run, with what is expected and the configuration for it.
struct Wanted {
    input: Input,
    expected: Option<BTreeMap<String, u64>>,
    config: Option<serde_json::Value>,
}

fn wanted(args: &TestArgs, source: &ScriptSource, meta: &ScriptMeta) -> Result<Vec<Wanted>, Failure> {
    let capture = args.capture.clone().map(Input::Capture);
    if let Some(input) = capture.or_else(|| args.log.clone().map(Input::Log)) {
        return Ok(vec![Wanted { input, expected: None, config: None }]);
    }
    if meta.expect.is_empty() {
        let cause = "give a --capture, or the script an attribute expect: [#{ capture: \"FILE\", alerts: #{ … } }] \
                     (of log lines --log, and log: \"FILE\")";
        return Err(Failure::config(format!("script {}: {cause}", meta.key)));
    }
    let folder = match &source.origin {
        Origin::File(path) => path.parent().map(PathBuf::from).unwrap_or_default(),
        Origin::Builtin | Origin::Inline => PathBuf::new(),
    };
    let wanted = |e: &shared::script::meta::Expectation| {
        let capture = e.capture.as_ref().map(|capture| Input::Capture(folder.join(capture)));
        let input = capture.or_else(|| e.log.as_ref().map(|log| Input::Log(folder.join(log))))?;
        Some(Wanted { input, expected: Some(e.alerts.clone()), config: e.config.clone() })
    };
    Ok(meta.expect.iter().filter_map(wanted).collect())
}

/// Counts calls, and shows those of interest.
fn watch(calls: Rc<RefCell<Calls>>, output: Output, all: bool) -> Observer {
    Box::new(move |call: &Observed<'_>| {
        let mut calls = calls.borrow_mut();
        *calls.calls.entry(call.function.to_owned()).or_default() += 1;
        calls.errors += u64::from(call.error.is_some());
        calls.operations += call.operations;
        calls.micros += u64::try_from(call.took.as_micros()).unwrap_or(u64::MAX);
        if !all && call.error.is_none() && call.effects.is_empty() {
            return;
        }
        match output {
            Output::Text => print(&told(call)),
            Output::Json if calls.shown.len() < MOST_SHOWN => calls.shown.push(Call::of(call)),
            Output::Json => {}
        }
    })
}

/// One call for people.
fn told(call: &Observed<'_>) -> String {
    let reads = match call.reads.as_slice() {
        [] => String::new(),
        reads => format!("; reads {}", reads.join(", ")),
    };
    let micros = call.took.as_micros();
    let mut text =
        format!("{} {} ({} operations, {micros} µs{reads})\n", call.function, call.about, call.operations);
    for effect in call.effects {
        text.push_str("    ");
        text.push_str(&shown(effect));
        text.push('\n');
    }
    if let Some(error) = call.error {
        text.push_str(&format!("    FAILED: {error}\n"));
    }
    text
}

/// An effect for people.
fn shown(effect: &Effect) -> String {
    let alert = |what: &str, request: &shared::script::AlertRequest| {
        let kind = request.alert_type.as_deref().unwrap_or("its own type");
        let severity = request.severity.map(|severity| format!(" {severity}")).unwrap_or_default();
        let message = request.message.as_deref().unwrap_or_default();
        format!("{what} {kind}{severity}: {message}")
    };
    match effect {
        Effect::Trigger(request) => alert("trigger", request),
        Effect::Keep(request) => alert("keep", request),
        Effect::Store(request) => alert("store", request),
        Effect::Release(kind) => format!("release {}", kind.as_deref().unwrap_or("its own type")),
        Effect::SetStatus(bit) => format!("set status {}", status::names(1 << bit).concat()),
        Effect::ClearStatus(bit) => format!("clear status {}", status::names(1 << bit).concat()),
        Effect::HttpPost { url, body } => format!("post {} bytes to {url}", body.len()),
        Effect::Publish { subject, payload } => format!("publish {} bytes to {subject}", payload.len()),
        Effect::Note { name, gauge: true, value } => format!("series {name}: {value}"),
        Effect::Note { name, gauge: false, value } => format!("count {name}: {value}"),
        Effect::Remember { key, value: Some(value) } => format!("remember {key}: {value}"),
        Effect::Remember { key, value: None } => format!("forget {key}"),
        Effect::Log(level, text) => format!("log {level:?}: {text}"),
    }
}

fn summary(report: &Report) -> String {
    let counts = |counts: &BTreeMap<String, u64>| match counts.len() {
        0 => "none".to_owned(),
        _ => counts.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", "),
    };
    let Calls { calls, errors, operations, micros, .. } = &report.calls;
    let total: u64 = calls.values().sum();
    let (Input::Capture(input) | Input::Log(input)) = &report.input;
    let mut text = format!(
        "{}: calls: {}; {errors} failed; {} operations and {:.1} µs a call\n  alerts: {}\n",
        input.display(),
        counts(calls),
        operations / total.max(1),
        *micros as f64 / total.max(1) as f64,
        counts(&report.alerts)
    );
    if report.calls.tiers.values().any(|tier| *tier != "interpreted") {
        let tiers: Vec<String> =
            report.calls.tiers.iter().map(|(hook, tier)| format!("{hook} {tier}")).collect();
        text.push_str(&format!(
            "  where nobody watches: {}; a call then costs what `flowhook script bench` tells\n",
            tiers.join(", ")
        ));
    }
    for (cause, lines) in &report.malformed {
        text.push_str(&format!("  {lines} lines left out: {cause}\n"));
    }
    match &report.expected {
        Some(expected) if *expected == report.alerts => text.push_str("  as expected\n"),
        Some(expected) => text.push_str(&format!("  EXPECTED: {}\n", counts(expected))),
        None => {}
    }
    text
}
