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

/// What the calls of one trial were.
#[derive(Debug, Default, Serialize)]
struct Calls {
    /// Calls by function.
    calls: BTreeMap<String, u64>,
    /// Failed calls.
    errors: u64,
    /// Operations of the interpreter, of all calls.
    operations: u64,
}

/// What came of one capture, or of one file of log lines.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<PathBuf>,
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
    let mut reports = Vec::new();
    let (shown, all) = (output == Output::Text, args.all);
    if let Some(log) = &args.log {
        let calls = Rc::new(RefCell::new(Calls::default()));
        let observer = || Some(watch(Rc::clone(&calls), shown, all));
        let settings = ScriptSettings { config: given, ..ScriptSettings::default() };
        let (alerts, malformed) = trial::lines(&source, log, settings, config, &observer)?;
        let calls = std::mem::take(&mut *calls.borrow_mut());
        let log = Some(log.clone());
        let report = Report { capture: None, log, malformed, calls, alerts, expected: None };
        if output == Output::Text {
            print(&summary(&report));
        }
        return outcome(&[report], output);
    }
    for (capture, expected, own) in captures(args, &source, script.meta())? {
        let settings = ScriptSettings { config: given.clone().or(own), ..ScriptSettings::default() };
        let calls = Rc::new(RefCell::new(Calls::default()));
        let observer = || Some(watch(Rc::clone(&calls), shown, all));
        let trial = trial::run(&source, &capture, settings, config, &observer, false)?;
        let calls = std::mem::take(&mut *calls.borrow_mut());
        let (alerts, malformed) = (trial.alerts, BTreeMap::new());
        reports.push(Report { capture: Some(capture), log: None, malformed, calls, alerts, expected });
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

type Wanted = (PathBuf, Option<BTreeMap<String, u64>>, Option<serde_json::Value>);

/// The captures to run, each with what is expected and the configuration for it.
fn captures(args: &TestArgs, source: &ScriptSource, meta: &ScriptMeta) -> Result<Vec<Wanted>, Failure> {
    if let Some(capture) = &args.capture {
        return Ok(vec![(capture.clone(), None, None)]);
    }
    if meta.expect.is_empty() {
        let cause =
            "give a --capture, or the script an attribute expect: [#{ capture: \"FILE\", alerts: #{ … } }]";
        return Err(Failure::config(format!("script {}: {cause}", meta.key)));
    }
    let folder = match &source.origin {
        Origin::File(path) => path.parent().map(PathBuf::from).unwrap_or_default(),
        Origin::Builtin | Origin::Inline => PathBuf::new(),
    };
    let wanted = |e: &shared::script::meta::Expectation| {
        (folder.join(&e.capture), Some(e.alerts.clone()), e.config.clone())
    };
    Ok(meta.expect.iter().map(wanted).collect())
}

/// Counts calls and prints those of interest.
fn watch(calls: Rc<RefCell<Calls>>, shown: bool, all: bool) -> Observer {
    Box::new(move |call: &Observed<'_>| {
        let mut calls = calls.borrow_mut();
        *calls.calls.entry(call.function.to_owned()).or_default() += 1;
        calls.errors += u64::from(call.error.is_some());
        calls.operations += call.operations;
        if shown && (all || call.error.is_some() || !call.effects.is_empty()) {
            print(&told(call));
        }
    })
}

/// One call for people.
fn told(call: &Observed<'_>) -> String {
    let reads = match call.reads.as_slice() {
        [] => String::new(),
        reads => format!("; reads {}", reads.join(", ")),
    };
    let mut text = format!("{} {} ({} operations{reads})\n", call.function, call.about, call.operations);
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
    let Calls { calls, errors, operations } = &report.calls;
    let total: u64 = calls.values().sum();
    let input = report.capture.as_ref().or(report.log.as_ref()).map(|path| path.display().to_string());
    let input = input.unwrap_or_default();
    let mut text = format!(
        "{input}: calls: {}; {errors} failed; {} operations a call\n  alerts: {}\n",
        counts(calls),
        operations / total.max(1),
        counts(&report.alerts)
    );
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
