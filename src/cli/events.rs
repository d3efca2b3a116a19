//! `flowhook events`: what goes over the bus, decoded; which events there are, and what they hold.

use std::io::Write;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::bus::{Bus, nats::NatsBus};
use shared::clock::{Clock, SystemClock};
use shared::events::schema::{EVENT_TYPES, EventType, asyncapi, event_type};
use shared::wire::show::{Shown, show};
use shared::wire::subject::Subjects;

use super::client::{Client, Method, Where};
use super::run::{runtime, stop_signal};
use super::settings::shown;
use super::{Output, print, print_json};
use crate::config::{BusKind, Config};
use crate::exit::{self, Failure};

/// Time between looks at what came on record.
const LOOK: std::time::Duration = std::time::Duration::from_millis(500);

/// Characters of a message on a line for people.
const LINE: usize = 400;

/// Looks at the bus.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Print what is sent on a subject from now on, until Ctrl-C. Where the bus is inside one process, only
    /// events that its API has on record
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
    #[command(flatten)]
    at: Where,
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
    if args.subject.split('.').any(|token| token.is_empty() || token.contains(char::is_whitespace)) {
        return Err(Failure::config(format!("'{}' is no subject", args.subject)));
    }
    if config.bus.kind == BusKind::Memory {
        return follow(args, config, output);
    }
    // A process has one TLS provider; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime()?.block_on(tail(args, config, output))
}

/// Prints events as they come on record, asking again and again: nobody outside of the process hears its
/// bus.
fn follow(args: &TailArgs, config: &Config, output: Output) -> Result<(), Failure> {
    // Its own questions are events too, of which nobody wants to hear here.
    let own = format!("tail-{:x}-{:x}", std::process::id(), SystemClock.now().ns());
    let client = Client::new(&args.at, config)?.known_by(own.clone());
    let since = serde_json::to_value(SystemClock.now()).map_err(anyhow::Error::from)?;
    let since = since.as_str().unwrap_or_default();
    // A reader that has gone is no error.
    let _ = writeln!(std::io::stderr(), "listening for events");
    let (mut left, mut after) = (args.limit.unwrap_or(u64::MAX), 0);
    while left > 0 {
        let place = after.to_string();
        let query = [("since", since), ("filter", &args.subject), ("after", &place), ("limit", "500")];
        let answer = client.send(Method::GET, &["events"], &query, None, None)?;
        let others = answer["items"].as_array().into_iter().flatten();
        let others = others.filter(|event| event["body"]["request_id"] != own.as_str());
        for event in others.take(usize::try_from(left).unwrap_or(usize::MAX)) {
            let subject = event["subject"].as_str().unwrap_or_default();
            let bytes = event["body"].to_string().len();
            put(
                &Line { subject, kind: "event", bytes, headers: &[], content: event.clone() },
                None,
                args.pretty,
                output,
            )?;
            left -= 1;
        }
        match answer["next"].as_u64() {
            Some(next) => after = next,
            None => std::thread::sleep(LOOK),
        }
    }
    Ok(())
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
        let Shown { kind, content, error } = show(&subjects, &message.subject, &message.payload);
        let (subject, bytes) = (message.subject.as_str(), message.payload.len());
        put(&Line { subject, kind, bytes, headers: &message.headers, content }, error, args.pretty, output)?;
        left -= 1;
    }
    bus.close().await;
    Ok(())
}

/// What is printed of a message.
struct Line<'a> {
    subject: &'a str,
    kind: &'a str,
    bytes: usize,
    headers: &'a [(String, String)],
    content: Value,
}

fn put(line: &Line<'_>, error: Option<String>, pretty: bool, output: Output) -> Result<(), Failure> {
    let Line { subject, kind, bytes, headers, content } = line;
    if output == Output::Json {
        let mut line = json!({ "subject": subject, "kind": kind, "bytes": bytes, "message": content });
        if !headers.is_empty() {
            let headers = headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            line["headers"] = Value::Object(headers.collect());
        }
        if let Some(error) = error {
            line["error"] = error.into();
        }
        return print_json(&line);
    }
    let text = match (content, pretty) {
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
    let subject: String = subject.chars().map(clean).collect();
    let wrong = error.map(|error| format!(" [{error}]")).unwrap_or_default();
    print(&format!("{subject} {kind} {bytes} bytes{wrong} {shown}\n"));
    Ok(())
}
