//! `flowhook config dump`.

use clap::Subcommand;

use super::{Output, print, print_json};
use crate::config::Config;
use crate::exit::Failure;

/// `flowhook config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration as it is in force, defaults included and secrets hidden
    Dump,
}

/// Does it.
pub fn config(command: &ConfigCommand, config: &Config, output: Output) -> Result<(), Failure> {
    match (command, output) {
        (ConfigCommand::Dump, Output::Json) => print_json(config),
        (ConfigCommand::Dump, Output::Text) => {
            print(&toml::to_string_pretty(config).map_err(anyhow::Error::from)?);
            Ok(())
        }
    }
}
