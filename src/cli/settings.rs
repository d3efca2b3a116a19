//! `flowhook settings`: scripts, exclusions, silences, host pools, probed hosts, endpoints and recipients of
//! a node that runs.

use std::io::{BufRead, IsTerminal, Write};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, Method, Where};
use super::{Output, print, print_json};
use crate::config::Config;
use crate::exit::{self, Failure};

/// `flowhook settings …`
#[derive(Debug, Args)]
pub struct SettingsArgs {
    #[command(flatten)]
    at: Where,
    #[command(subcommand)]
    command: SettingsCommand,
}

/// What is edited.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// On or off, configuration and overrides of scripts
    Scripts,
    /// Alerts that are not raised
    Exclusions,
    /// Alerts that nobody is told of
    Silences,
    /// Host pools
    Pools,
    /// Hosts that are probed
    Monitor,
    /// Ways by which notifications leave
    Endpoints,
    /// Who is notified of what
    Recipients,
    /// Hooks on events
    Hooks,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Scripts => "scripts",
            Self::Exclusions => "exclusions",
            Self::Silences => "silences",
            Self::Pools => "pools",
            Self::Monitor => "monitor",
            Self::Endpoints => "endpoints",
            Self::Recipients => "recipients",
            Self::Hooks => "hooks",
        }
    }
}

#[derive(Debug, Subcommand)]
enum SettingsCommand {
    /// List the entries of a kind
    List {
        /// Of which kind
        kind: Kind,
    },
    /// Show one entry
    Show {
        /// Of which kind
        kind: Kind,
        /// Which
        name: String,
    },
    /// Set an entry
    Set {
        /// Of which kind
        kind: Kind,
        /// Which
        name: String,
        /// Its content as JSON (- reads standard input)
        json: String,
        #[command(flatten)]
        edit: Edit,
    },
    /// Delete an edited entry; what the configuration file says is in force again
    Delete {
        /// Of which kind
        kind: Kind,
        /// Which
        name: String,
        /// Of an endpoint: delete the recipients that use it, too
        #[arg(long)]
        cascade: bool,
        /// Of a recipient: another that gets what it is still owed; that is given up without
        #[arg(long, value_name = "RECIPIENT")]
        move_to: Option<String>,
        #[command(flatten)]
        edit: Edit,
    },
    /// Print every edited entry as JSON, for import
    Export {
        /// Only of this kind
        kind: Option<Kind>,
        /// Leave secrets out; they are sealed with this node's key without
        #[arg(long)]
        without_secrets: bool,
    },
    /// Make the entries of an export the edited ones; all of them, or none when one is wrong
    Import {
        /// File of the export (- reads standard input)
        file: String,
        /// Delete edited entries that are not in it
        #[arg(long)]
        replace: bool,
        /// Who is written down as the editor
        #[arg(long, env = "USER", default_value = "command line")]
        by: String,
    },
    /// Forget edited entries; what the configuration file says is in force again
    Reset {
        /// Only of this kind
        kind: Option<Kind>,
        /// Who is written down as the editor
        #[arg(long, env = "USER", default_value = "command line")]
        by: String,
    },
    /// Show who changed an entry, when and how, newest first
    History {
        /// Of which kind
        kind: Kind,
        /// Which
        name: String,
    },
    /// Make an older version the newest
    Rollback {
        /// Of which kind
        kind: Kind,
        /// Which
        name: String,
        /// Revision of that version
        to: u64,
        #[command(flatten)]
        edit: Edit,
    },
}

/// How an edit is made.
#[derive(Debug, Args)]
pub struct Edit {
    /// Only if this revision is still the one in force (0: not edited before)
    #[arg(long)]
    revision: Option<u64>,
    /// Who is written down as the editor
    #[arg(long, env = "USER", default_value = "command line")]
    by: String,
}

/// Does what the command says.
pub fn settings(args: &SettingsArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::new(&args.at, config)?;
    match &args.command {
        SettingsCommand::List { kind } => {
            let answer = found(client.get(&["settings", kind.name()])?, kind.name())?;
            let entries = answer["items"].as_array().cloned().unwrap_or_default();
            shown(&answer["items"], output, || entries.iter().map(line).collect())
        }
        SettingsCommand::Show { kind, name } => {
            let entry = found(client.get(&["settings", kind.name(), name])?, name)?;
            shown(&entry, output, || whole(&entry))
        }
        SettingsCommand::Set { kind, name, json, edit } => {
            let entry = set(&client, kind.name(), name, &read(json)?, edit)?;
            shown(&entry, output, || line(&entry))
        }
        SettingsCommand::Delete { kind, name, cascade, move_to, edit } => {
            let path = ["settings", kind.name(), name];
            let mut query = vec![("by", edit.by.as_str())];
            let cascade = *cascade || agreed(&client, *kind, name)?;
            query.extend(cascade.then_some(("cascade", "true")));
            query.extend(move_to.iter().map(|to| ("move_to", to.as_str())));
            let entry = client.send(Method::DELETE, &path, &query, edit.revision, None)?;
            shown(&entry, output, || format!("{name} is deleted\n"))
        }
        SettingsCommand::Export { kind, without_secrets } => {
            let mut query: Vec<_> = kind.iter().map(|kind| ("kind", kind.name())).collect();
            query.extend(without_secrets.then_some(("secrets", "omit")));
            print_json(&client.send(Method::GET, &["settings", "export"], &query, None, None)?)
        }
        SettingsCommand::Import { file, replace, by } => {
            let export = match file.as_str() {
                "-" => read("-")?,
                file => read_file(file)?,
            };
            let mut query = vec![("by", by.as_str())];
            query.extend(replace.then_some(("replace", "true")));
            let done = client.send(Method::POST, &["settings", "import"], &query, None, Some(&export))?;
            shown(&done, output, || format!("{} changed, {} deleted\n", done["changed"], done["deleted"]))
        }
        SettingsCommand::Reset { kind, by } => {
            let mut query = vec![("by", by.as_str())];
            query.extend(kind.iter().map(|kind| ("kind", kind.name())));
            let done = client.send(Method::POST, &["settings", "reset"], &query, None, None)?;
            shown(&done, output, || format!("{} deleted\n", done["deleted"]))
        }
        SettingsCommand::History { kind, name } => {
            let answer = found(client.get(&["settings", kind.name(), name, "history"])?, name)?;
            let versions = answer["items"].as_array().cloned().unwrap_or_default();
            shown(&answer["items"], output, || versions.iter().map(line).collect())
        }
        SettingsCommand::Rollback { kind, name, to, edit } => {
            let path = ["settings", kind.name(), name, "rollback"];
            let body = json!({ "revision": to });
            let entry = client.send(Method::POST, &path, &[("by", &edit.by)], edit.revision, Some(&body))?;
            shown(&entry, output, || line(&entry))
        }
    }
}

/// Asks at a terminal whether the recipients of an endpoint are to be deleted with it. True when somebody says
/// so; false when there is nothing to ask, or nobody, and then the node says what is in the way.
fn agreed(client: &Client, kind: Kind, name: &str) -> Result<bool, Failure> {
    if kind.name() != "endpoints" || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let answer = client.get(&["settings", "recipients"])?.unwrap_or_default();
    let entries = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_it = entries.iter().filter(|entry| entry["value"]["endpoint"] == name);
    let users: Vec<&str> = of_it.filter_map(|entry| entry["name"].as_str()).collect();
    if users.is_empty() {
        return Ok(false);
    }
    let question = format!("Recipients use it: {}. Delete them, too? [y/N] ", users.join(", "));
    let mut line = String::new();
    let asked = std::io::stderr().write_all(question.as_bytes());
    asked.and_then(|()| std::io::stdin().lock().read_line(&mut line)).map_err(anyhow::Error::from)?;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        _ => Err(Failure::new(exit::FAILED, anyhow::anyhow!("nothing is deleted"))),
    }
}

/// Sets an entry.
pub fn set(client: &Client, kind: &str, name: &str, value: &Value, edit: &Edit) -> Result<Value, Failure> {
    client.send(Method::PUT, &["settings", kind, name], &[("by", &edit.by)], edit.revision, Some(value))
}

/// Changes a part of an entry, which is empty when there is none; nobody else's change gets lost.
pub fn amend(
    client: &Client,
    kind: &str,
    name: &str,
    edit: &Edit,
    amend: impl FnOnce(&mut serde_json::Map<String, Value>),
) -> Result<Value, Failure> {
    let entry = client.get(&["settings", kind, name])?.unwrap_or_default();
    let mut value = entry["value"].as_object().cloned().unwrap_or_default();
    amend(&mut value);
    let revision = Some(edit.revision.unwrap_or_else(|| entry["revision"].as_u64().unwrap_or(0)));
    set(client, kind, name, &Value::Object(value), &Edit { revision, by: edit.by.clone() })
}

/// JSON of an argument, or of standard input for `-`.
pub fn read(text: &str) -> Result<Value, Failure> {
    let text = match text {
        "-" => std::io::read_to_string(std::io::stdin()).map_err(anyhow::Error::from)?,
        text => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| Failure::config(format!("no JSON: {error}")))
}

fn read_file(path: &str) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::config(format!("{path}: {e}")))?;
    serde_json::from_str(&text).map_err(|e| Failure::config(format!("{path}: no JSON: {e}")))
}

fn found(value: Option<Value>, name: &str) -> Result<Value, Failure> {
    value.ok_or_else(|| Failure::new(exit::FAILED, anyhow::anyhow!("there is no '{name}'")))
}

/// Prints what was answered.
pub fn shown(value: &Value, output: Output, text: impl FnOnce() -> String) -> Result<(), Failure> {
    match output {
        Output::Json => print_json(value),
        Output::Text => {
            print(&text());
            Ok(())
        }
    }
}

/// One entry or version in a line.
pub fn line(entry: &Value) -> String {
    let field = |key: &str| entry[key].as_str().unwrap_or_default();
    let edited = match entry["revision"].as_u64() {
        None | Some(0) if entry["source"] == "builtin" => "built in".to_owned(),
        None | Some(0) => "from the configuration file".to_owned(),
        Some(revision) => format!("revision {revision} by {} at {}", field("by"), field("at")),
    };
    let hits = entry["hits"].as_u64().map(|hits| format!(", {hits} hits")).unwrap_or_default();
    let value = if entry["value"].is_null() { "deleted".to_owned() } else { entry["value"].to_string() };
    format!("{}  {value}  ({edited}{hits})\n", field("name"))
}

fn whole(entry: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(entry).unwrap_or_default())
}
