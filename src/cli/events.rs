//! `flowhook events`: what goes over the bus, decoded; which events there are, and what they hold.

use std::io::Write;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::bus::{Bus, Message, nats::NatsBus};
use shared::events::schema::{EVENT_TYPES, EventType, asyncapi, event_type};
use shared::wire::show::{Shown, show};
use shared::wire::subject::Subjects;

use super::run::{runtime, stop_signal};
use super::settings::shown;
use super::{Output, print, print_json};
use crate::config::{BusKind, Config};
use crate::exit::{self, Failure};

/// Characters of a message on a line for people.
const LINE: usize = 400;

/// Looks at the bus.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Print what is sent on a subject from now on, until Ctrl-C; needs NATS
    Tail(TailArgs),
    /// List kinds of events with their subjects
    List,
    /// Print the JSON Schema of a kind's data
    Schema {
        /// Which kind; the AsyncAPI document of all kinds without it
        kind: Option<String>,
    },
}

/// What is printed.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Subject below the configured prefix; `*` stands for one token, `>` for the rest:
    /// "al.v1.>" alerts, "dl.v1.>" summaries, "fr.v1.>" ended flows, ">" everything
    #[arg(default_value = ">")]
    subject: String,
    /// End after so many messages
    #[arg(long, short = 'n', value_name = "COUNT")]
    limit: Option<u64>,
    /// Print whole messages over several lines
    #[arg(long)]
    pretty: bool,
}

/// Does what the command says.
pub fn events(command: &EventsCommand, config: &Config, output: Output) -> Result<(), Failure> {
    match command {
        EventsCommand::Tail(args) => look(args, config, output),
        EventsCommand::List => list(output),
        EventsCommand::Schema { kind } => schema(kind.as_deref(), output),
    }
}

fn list(output: Output) -> Result<(), Failure> {
    let kinds = EVENT_TYPES.iter().map(|known| {
        json!({ "kind": known.kind, "subject": known.subject, "filter": known.filter,
                "summary": known.summary })
    });
    let line = |known: &EventType| format!("{:<6} {:<48} {}\n", known.kind, known.subject, known.summary);
    shown(&json!(kinds.collect::<Vec<_>>()), output, || EVENT_TYPES.iter().map(line).collect())
}

fn schema(kind: Option<&str>, output: Output) -> Result<(), Failure> {
    let schema = match kind {
        None => asyncapi(),
        Some(kind) => {
            let kinds = || EVENT_TYPES.iter().map(|known| known.kind).collect::<Vec<_>>().join(", ");
            let none = || anyhow!("there are no events '{kind}', only {}", kinds());
            (event_type(kind).ok_or_else(|| Failure::new(exit::FAILED, none()))?.schema)()
        }
    };
    // A document for programs is JSON either way; for people it has lines.
    match output {
        Output::Json => print_json(&schema),
        Output::Text => {
            print(&format!("{schema:#}\n"));
            Ok(())
        }
    }
}

fn look(args: &TailArgs, config: &Config, output: Output) -> Result<(), Failure> {
    if config.bus.kind == BusKind::Memory {
        return Err(Failure::config(
            "bus.kind: events tail needs \"nats\"; \"memory\" is inside one process",
        ));
    }
    if args.subject.split('.').any(|token| token.is_empty() || token.contains(char::is_whitespace)) {
        return Err(Failure::config(format!("'{}' is no subject", args.subject)));
    }
    // A process has one TLS provider; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime()?.block_on(tail(args, config, output))
}

async fn tail(args: &TailArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let mut nats = config.bus.nats.clone();
    nats.prefix.clone_from(&config.bus.prefix);
    // Who only looks makes nothing.
    nats.create_streams = Some(false);
    let bus = NatsBus::connect(nats).await.map_err(anyhow::Error::from)?;
    let subject = match config.bus.prefix.as_str() {
        "" => args.subject.clone(),
        prefix => format!("{prefix}.{}", args.subject),
    };
    let mut messages = bus.subscribe(&subject).await.map_err(anyhow::Error::from)?;
    // A reader that has gone is no error.
    let _ = writeln!(std::io::stderr(), "listening on {subject}");
    let subjects = Subjects::new(&config.bus.prefix);
    let mut stop = Box::pin(stop_signal()?);
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let message = tokio::select! {
            () = &mut stop => break,
            message = messages.next() => message,
        };
        let Some(message) = message else { return Err(anyhow!("the connection to NATS has ended").into()) };
        put(&subjects, &message, args.pretty, output)?;
        left -= 1;
    }
    bus.close().await;
    Ok(())
}

fn put(subjects: &Subjects, message: &Message, pretty: bool, output: Output) -> Result<(), Failure> {
    let Shown { kind, content, error } = show(subjects, &message.subject, &message.payload);
    if output == Output::Json {
        let mut line = json!({
            "subject": message.subject, "kind": kind, "bytes": message.payload.len(), "message": content,
        });
        if let Some(error) = error {
            line["error"] = error.into();
        }
        return print_json(&line);
    }
    let text = match (&content, pretty) {
        (Value::String(text), _) => text.clone(),
        (content, true) => format!("\n{content:#}"),
        (content, false) => content.to_string(),
    };
    // Whoever sends may have put control characters into it.
    let clean = |c: char| if c.is_control() && !(pretty && c == '\n') { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(if pretty { usize::MAX } else { LINE }).map(clean).collect();
    if shown.len() < text.len() && !pretty {
        shown.push('…');
    }
    let subject: String = message.subject.chars().map(clean).collect();
    let wrong = error.map(|error| format!(" [{error}]")).unwrap_or_default();
    print(&format!("{subject} {kind} {} bytes{wrong} {shown}\n", message.payload.len()));
    Ok(())
}
