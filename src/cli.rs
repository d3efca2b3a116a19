//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Config;
use crate::exit::Failure;
use crate::node::Roles;

mod check;
mod client;
mod config;
mod events;
mod flows;
mod hook;
mod progress;
mod pubsub;
mod recipients;
mod replay;
mod run;
mod script;
mod settings;

/// Tells what happens on your wires, and lets you act on it.
#[derive(Debug, Parser)]
#[command(name = "flowhook", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0   done
  1   failed
  2   wrong command line
  3   wrong configuration or script
  4   capture file missing, unreadable or no capture file
  5   capture file damaged; everything before the damage was processed
  6   interface does not exist or may not be captured on
  7   address to listen on is taken
  70  a part failed again and again and was given up

Environment: FLOWHOOK__<SECTION>__<KEY>=VALUE overrides a key of the configuration.";

#[derive(Debug, Args)]
struct Common {
    /// Configuration file (TOML); built-in defaults without it
    #[arg(long, short, global = true, env = "FLOWHOOK_CONFIG")]
    config: Option<PathBuf>,
    /// How results are printed
    #[arg(long, short = 'O', global = true, value_enum, default_value_t = Printed::Text)]
    output: Printed,
    /// Show no progress on the terminal while capture files are read
    #[arg(long, global = true)]
    no_progress: bool,
}

/// How results are to be printed, in the words of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Printed {
    /// For people.
    #[value(alias = "simple")]
    Text,
    /// JSON.
    Json,
    /// JSON on one line, also where it would have several.
    JsonRaw,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Text,
    /// One line of JSON.
    Json,
}

impl Printed {
    /// The same where JSON is on one line anyway.
    pub const fn output(self) -> Output {
        match self {
            Self::Text => Output::Text,
            Self::Json | Self::JsonRaw => Output::Json,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play every role in this process until Ctrl-C
    Run,
    /// Play the collector's role alone; needs NATS
    Collector,
    /// Play the aggregator's role alone; needs NATS
    Aggregator,
    /// Play the notifier's role alone; needs NATS
    Notifier,
    /// Read capture files through everything and report
    Replay(replay::ReplayArgs),
    /// Turn capture files into flow records, without bus or store; or print a file of flow records
    Flows(flows::FlowsArgs),
    /// Check the configuration and every script
    Check,
    /// List, write, test, measure, switch and configure scripts
    #[command(subcommand)]
    Script(script::ScriptCommand),
    /// Show and edit settings of a node that runs: scripts, exclusions, silences, host pools, probed hosts,
    /// endpoints, recipients and hooks
    Settings(settings::SettingsArgs),
    /// Look at what goes over the bus, and at which events there are
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Show who is told, why or why not, and what could not be delivered
    Recipients(recipients::RecipientsArgs),
    /// Make, change and run hooks on events, and see what they did
    Hook(hook::HookArgs),
    /// Publish items, and attach hooks to nodes in few words
    Pubsub(pubsub::PubsubArgs),
    /// Show the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

/// Does what the command line says.
///
/// # Errors
/// [`Failure`] holds what went wrong and the exit code.
pub fn execute(cli: Cli) -> Result<(), Failure> {
    let common = &cli.common;
    let load = || Config::load(common.config.as_deref(), std::env::vars()).map_err(Failure::config);
    let output = common.output.output();
    let progress = !common.no_progress && output == Output::Text;
    match cli.command {
        Command::Run => run::run(&load()?, Roles::ALL),
        Command::Collector => run::run_alone(&load()?, Roles { collector: true, ..Roles::NONE }),
        Command::Aggregator => run::run_alone(&load()?, Roles { aggregator: true, ..Roles::NONE }),
        Command::Notifier => run::run_alone(&load()?, Roles { notifier: true, ..Roles::NONE }),
        Command::Replay(args) => replay::replay(load()?, &args, output, progress),
        Command::Flows(args) => flows::flows(&load()?, &args, progress),
        Command::Check => check::check(&load()?, output),
        Command::Script(command) => script::script(&command, &load()?, output),
        Command::Settings(args) => settings::settings(&args, &load()?, output),
        Command::Events(command) => events::events(&command, &load()?, output),
        Command::Recipients(args) => recipients::recipients(&args, &load()?, output),
        Command::Hook(args) => hook::hook(&args, &load()?, output),
        Command::Pubsub(args) => pubsub::pubsub(&args, &load()?, common.output),
        Command::Config(command) => config::config(&command, &load()?, output),
    }
}

/// Prints to standard output; a reader that has gone is no error.
fn print(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(value).map_err(anyhow::Error::from)?;
    print(&format!("{json}\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
