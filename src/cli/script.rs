//! `flowhook script`: what is loaded, and the workbench of who writes scripts.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use shared::script::ScriptError;
use shared::script::engine::ScriptEngine;
use shared::script::lowered::How;
use shared::script::registry::{Registry, ScriptInfo};
use shared::script::source::{Origin, ScriptSource, load_file};

use super::{Output, print, print_json};
use crate::config::Config;
use crate::exit::{self, Failure};
use crate::node::script_sources;

mod bench;
mod run;
mod switch;
mod test;
mod trial;

/// `flowhook script …`
#[derive(Debug, Subcommand)]
pub enum ScriptCommand {
    /// List every script with its hooks, and whether they are on
    List,
    /// Run one script over a capture and show its calls: what each read, cost and asked for
    Test(test::TestArgs),
    /// Say how each hook runs: lowered to a program of some tens of nanoseconds a call, or interpreted,
    /// and why
    Explain {
        /// A script's file or the name of a built-in script; all scripts without it
        file: Option<PathBuf>,
    },
    /// Measure one script: nanoseconds a call of each of its hooks
    Bench(bench::BenchArgs),
    /// Call a script at once, at a node that runs, and show what each call asked for
    Run(run::RunArgs),
    /// Switch a script on, or one of its hooks, at a node that runs
    Enable(switch::SwitchArgs),
    /// Switch a script off, or one of its hooks, at a node that runs
    Disable(switch::SwitchArgs),
    /// Show or set the configuration of a script, or of one of its hooks, at a node that runs
    Config(switch::ConfigArgs),
    /// Write a new script to begin with
    New {
        /// File to write, such as scripts/my_check.rhai
        file: PathBuf,
        /// What the script is called for
        #[arg(long, value_enum, default_value_t = Template::Flow)]
        kind: Template,
    },
}

/// Scripts to begin with.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Template {
    /// Called for flows.
    Flow,
    /// Called for hosts, each minute.
    Host,
    /// Called for local networks, each minute.
    Network,
    /// Called for interfaces, each minute.
    Interface,
    /// Called for flowhook itself, as seen from each interface, each minute.
    System,
    /// Called for hosts that are probed, each minute.
    #[value(name = "active_monitoring")]
    ActiveMonitoring,
    /// Called for log lines.
    Syslog,
}

impl Template {
    const fn text(self) -> &'static str {
        match self {
            Self::Flow => include_str!("../../config/scripts/templates/flow.rhai"),
            Self::Host => include_str!("../../config/scripts/templates/host.rhai"),
            Self::Network => include_str!("../../config/scripts/templates/network.rhai"),
            Self::Interface => include_str!("../../config/scripts/templates/interface.rhai"),
            Self::System => include_str!("../../config/scripts/templates/system.rhai"),
            Self::ActiveMonitoring => include_str!("../../config/scripts/templates/active_monitoring.rhai"),
            Self::Syslog => include_str!("../../config/scripts/templates/syslog.rhai"),
        }
    }
}

/// Does what the command says.
pub fn script(command: &ScriptCommand, config: &Config, output: Output) -> Result<(), Failure> {
    match command {
        ScriptCommand::List => list(config, output),
        ScriptCommand::Test(args) => test::test(args, config, output),
        ScriptCommand::Explain { file } => explain(file.as_deref(), config, output),
        ScriptCommand::Bench(args) => bench::bench(args, config, output),
        ScriptCommand::Run(args) => run::run(args, config, output),
        ScriptCommand::Enable(args) => switch::switch(args, true, config, output),
        ScriptCommand::Disable(args) => switch::switch(args, false, config, output),
        ScriptCommand::Config(args) => switch::configure(args, config, output),
        ScriptCommand::New { file, kind } => new(file, *kind),
    }
}

fn list(config: &Config, output: Output) -> Result<(), Failure> {
    let engine = ScriptEngine::new(config.scripts.limits.clone());
    let sources = script_sources(config).map_err(Failure::config)?;
    let (registry, errors) = Registry::load(&engine, sources, &config.scripts.settings);
    let scripts = registry.infos();
    if output == Output::Json {
        print_json(&scripts)?;
    } else {
        let width = scripts.iter().map(|script| script.key.len()).max().unwrap_or_default();
        for script in &scripts {
            print(&line(script, width));
        }
    }
    match errors.as_slice() {
        [] => Ok(()),
        errors => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(Failure::config(errors.join("\n")))
        }
    }
}

fn explain(file: Option<&std::path::Path>, config: &Config, output: Output) -> Result<(), Failure> {
    let engine = ScriptEngine::new(config.scripts.limits.clone());
    let sources = match file {
        Some(file) => vec![find(file).map_err(Failure::config)?],
        None => script_sources(config).map_err(Failure::config)?,
    };
    let mut explained = Vec::new();
    for source in &sources {
        let script = engine.compile(source).map_err(Failure::config)?;
        for (hook, how) in engine.explain(&script).map_err(Failure::config)? {
            let (key, hook) = (script.meta().key.clone(), hook.name());
            let tier = how.tier();
            let reason = match how {
                How::Lowered => None,
                How::Lifted(why) | How::Interpreted(why) => Some(why),
            };
            match (output, &reason) {
                (Output::Json, _) => {}
                (Output::Text, None) => print(&format!("{key} {hook}: {tier}\n")),
                (Output::Text, Some(why)) => print(&format!("{key} {hook}: {tier}, because it {why}\n")),
            }
            explained.push(json!({ "script": key, "hook": hook, "tier": tier, "reason": reason }));
        }
    }
    match output {
        Output::Json => print_json(&explained),
        Output::Text => Ok(()),
    }
}

/// One script: a hook that is off stands in brackets.
fn line(script: &ScriptInfo, width: usize) -> String {
    let hooks = script.hooks.iter().map(|(hook, on)| if *on { hook.clone() } else { format!("({hook})") });
    let hooks = hooks.collect::<Vec<_>>().join(" ");
    let ScriptInfo { key, kind, title, origin, .. } = script;
    format!("{key:width$}  {kind:9}  {title}\n{:width$}  {:9}  {hooks}; {origin}\n", "", "")
}

fn new(file: &std::path::Path, kind: Template) -> Result<(), Failure> {
    let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let text = kind.text().replace("MY_CHECK", &name);
    let written = std::fs::File::create_new(file)
        .and_then(|mut to| std::io::Write::write_all(&mut to, text.as_bytes()));
    written.map_err(|error| Failure::new(exit::FAILED, anyhow::anyhow!("{}: {error}", file.display())))?;
    let shown = file.display();
    print(&format!("{shown} is written; try it: flowhook script test {shown} --capture FILE.pcap\n"));
    Ok(())
}

/// The script of a file, or the built-in one of that name.
fn find(file: &std::path::Path) -> Result<ScriptSource, ScriptError> {
    let named =
        |source: &ScriptSource| source.origin == Origin::Builtin && file.as_os_str() == source.name.as_str();
    match shared::script::source::builtin().into_iter().find(named) {
        Some(source) if !file.exists() => Ok(source),
        _ => load_file(file),
    }
}
