//! `flowhook events`: which events there are, and what they hold.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::events::schema::{EVENT_TYPES, asyncapi, event_type};

use super::settings::shown;
use super::{Output, print};
use crate::exit::{self, Failure};

/// `flowhook events …`
#[derive(Debug, Args)]
pub struct EventsArgs {
    #[command(subcommand)]
    command: EventsCommand,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// List kinds of events with their subjects
    List,
    /// Print the JSON Schema of a kind's data
    Schema {
        /// Which kind; the AsyncAPI document of all kinds without it
        kind: Option<String>,
    },
}

/// Does what the command says.
pub fn events(args: &EventsArgs, output: Output) -> Result<(), Failure> {
    match &args.command {
        EventsCommand::List => {
            let kinds: Vec<Value> = EVENT_TYPES
                .iter()
                .map(|known| {
                    json!({ "kind": known.kind, "subject": known.subject, "filter": known.filter,
                    "summary": known.summary })
                })
                .collect();
            let line = |known: &shared::events::schema::EventType| {
                format!("{:<6} {:<48} {}\n", known.kind, known.subject, known.summary)
            };
            shown(&json!(kinds), output, || EVENT_TYPES.iter().map(line).collect())
        }
        EventsCommand::Schema { kind } => {
            let schema = match kind {
                None => asyncapi(),
                Some(kind) => {
                    let known = event_type(kind);
                    let kinds = || EVENT_TYPES.iter().map(|known| known.kind).collect::<Vec<_>>().join(", ");
                    let none = || anyhow::anyhow!("there are no events '{kind}', only {}", kinds());
                    (known.ok_or_else(|| Failure::new(exit::FAILED, none()))?.schema)()
                }
            };
            // A document for programs is JSON either way; for people it has lines.
            match output {
                Output::Json => super::print_json(&schema),
                Output::Text => {
                    print(&format!("{schema:#}\n"));
                    Ok(())
                }
            }
        }
    }
}
