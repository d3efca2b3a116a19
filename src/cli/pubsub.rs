//! `flowhook pubsub`: items on nodes, and hooks on them in few words.

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::client::{Client, Method, Where};
use super::settings::shown;
use super::{Printed, print};
use crate::config::Config;
use crate::exit::Failure;

/// `flowhook pubsub …`
#[derive(Debug, Args)]
pub struct PubsubArgs {
    #[command(flatten)]
    at: Where,
    /// The profile that a temporary hook lives as long as
    #[arg(short, long, global = true, env = "FLOWHOOK_PROFILE", default_value = "default")]
    profile: String,
    #[command(subcommand)]
    command: PubsubCommand,
}

#[derive(Debug, Subcommand)]
enum PubsubCommand {
    /// Hooks on nodes
    #[command(subcommand)]
    Hook(NodeHookCommand),
    /// Nodes; `node hook` is another way to say `hook`
    #[command(subcommand)]
    Node(NodeCommand),
    /// Items on nodes
    #[command(subcommand)]
    Item(ItemCommand),
    /// Sessions of profiles: temporary hooks live as long as theirs
    #[command(subcommand)]
    Session(SessionCommand),
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Hooks on nodes
    #[command(subcommand)]
    Hook(NodeHookCommand),
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kind {
    /// A function hook(host, client, item) of a library
    Rhai,
    /// A Rhai file that defines it
    RhaiFile,
    /// Rhai code that sees the three
    RhaiCode,
    /// A Python file that defines it
    PythonFile,
    /// A program
    Exec,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Rhai => "rhai",
            Self::RhaiFile => "rhai_file",
            Self::RhaiCode => "rhai_code",
            Self::PythonFile => "python_file",
            Self::Exec => "exec",
        }
    }
}

#[derive(Debug, Args)]
struct Node {
    /// Who keeps the node; the profile itself without it
    #[arg(short, long, default_value = "")]
    service: String,
    /// The node, or a filter of subjects that begins with event.
    #[arg(short, long)]
    node: String,
}

#[derive(Debug, Subcommand)]
enum NodeHookCommand {
    /// Make a hook; without --persistent it lives until the profile's session ends
    Create {
        #[command(flatten)]
        on: Node,
        /// What runs
        #[arg(short = 't', long = "type", value_enum, default_value_t = Kind::Rhai)]
        kind: Kind,
        /// It outlives the session
        #[arg(short = 'P', long)]
        persistent: bool,
        /// The library function, file, code or program
        arg: String,
    },
    /// Delete one hook, or with neither type nor argument every one of the node; prints how many
    Delete {
        #[command(flatten)]
        on: Node,
        /// Only of this type; an empty one means every one
        #[arg(short = 't', long = "type", default_value = "")]
        kind: String,
        /// Only with this argument; an empty one means every one
        #[arg(short, long, default_value = "")]
        arg: String,
    },
    /// List hooks
    List,
}

#[derive(Debug, Subcommand)]
enum ItemCommand {
    /// Publish an item: event.item.<service>.<node>
    Publish {
        #[command(flatten)]
        on: Node,
        /// Name of the item; one is made without it
        #[arg(short, long)]
        item: Option<String>,
        /// The item: JSON, or any text; - reads it from standard input
        payload: String,
    },
}

#[derive(Debug, Subcommand)]
enum SessionCommand {
    /// List profiles with a session
    List,
    /// Connect the profile: its session lasts until it disconnects or the node ends
    Connect,
    /// Disconnect the profile: its temporary hooks go
    Disconnect,
}

/// Does what the command says.
pub fn pubsub(args: &PubsubArgs, config: &Config, printed: Printed) -> Result<(), Failure> {
    let output = printed.output();
    let client = Client::new(&args.at, config)?;
    let profile = args.profile.as_str();
    match &args.command {
        PubsubCommand::Hook(command) | PubsubCommand::Node(NodeCommand::Hook(command)) => {
            hook(&client, command, profile, printed)
        }
        PubsubCommand::Item(ItemCommand::Publish { on, item, payload }) => {
            let payload = match payload.as_str() {
                "-" => std::io::read_to_string(std::io::stdin()).context("standard input")?,
                text => text.to_owned(),
            };
            let payload = serde_json::from_str(&payload).unwrap_or(Value::from(payload));
            let body = json!({
                "service": on.service, "node": on.node, "item_id": item, "payload": payload,
            });
            let query = [("by", profile)];
            let answer = client.send(Method::POST, &["pubsub", "items"], &query, None, Some(&body))?;
            shown(&answer, output, || format!("{}\n", answer["item_id"].as_str().unwrap_or_default()))
        }
        PubsubCommand::Session(SessionCommand::List) => {
            let answer = client.get(&["sessions"])?.unwrap_or_default();
            shown(&answer["items"], output, || fields(&answer["items"]))
        }
        PubsubCommand::Session(SessionCommand::Connect) => {
            let answer = client.send(Method::PUT, &["sessions", profile], &[], None, None)?;
            shown(&answer, output, String::new)
        }
        PubsubCommand::Session(SessionCommand::Disconnect) => {
            let answer = client.send(Method::DELETE, &["sessions", profile], &[], None, None)?;
            shown(&answer, output, String::new)
        }
    }
}

fn hook(client: &Client, command: &NodeHookCommand, profile: &str, printed: Printed) -> Result<(), Failure> {
    let output = printed.output();
    let path = ["pubsub", "hooks"];
    let by = ("by", profile);
    match command {
        NodeHookCommand::Create { on, kind, persistent, arg } => {
            let body = json!({
                "service": on.service, "node": on.node, "type": kind.name(), "arg": arg,
                "persistent": persistent, "profile": profile,
            });
            let answer = client.send(Method::POST, &path, &[by], None, Some(&body))?;
            // Silent on success, as its model is.
            shown(&answer, output, String::new)
        }
        NodeHookCommand::Delete { on, kind, arg } => {
            let query = [
                by,
                ("node", on.node.as_str()),
                ("service", on.service.as_str()),
                ("type", kind.as_str()),
                ("arg", arg.as_str()),
            ];
            let answer = client.send(Method::DELETE, &path, &query, None, None)?;
            shown(&answer, output, || format!("{} hooks have been deleted\n", answer["deleted"]))
        }
        NodeHookCommand::List => {
            let answer = client.get(&path)?.unwrap_or_default();
            let items = &answer["items"];
            match printed {
                Printed::Json => indented(items),
                Printed::Text | Printed::JsonRaw => shown(items, output, || fields(items)),
            }
        }
    }
}

/// JSON with an indent of four blanks, as the model of this command has it; an empty list is `[]`.
fn indented(items: &Value) -> Result<(), Failure> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    items.serialize(&mut serializer).map_err(anyhow::Error::from)?;
    print(&format!("{}\n", String::from_utf8_lossy(&text)));
    Ok(())
}

/// Field by field, a blank line between two entries.
fn fields(items: &Value) -> String {
    let entry = |entry: &Value| {
        let line = |(key, value): (&String, &Value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{key}: {}\n", value.escape_debug())
        };
        entry.as_object().into_iter().flatten().map(line).collect::<String>()
    };
    items.as_array().into_iter().flatten().map(entry).collect::<Vec<_>>().join("\n")
}
