//! `flowhook recipients`: who is told, why or why not, and what could not be delivered.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, Method, Where};
use super::{Output, print, print_json};
use crate::config::Config;
use crate::exit::{self, Failure};

/// `flowhook recipients …`
#[derive(Debug, Args)]
pub struct RecipientsArgs {
    #[command(flatten)]
    at: Where,
    #[command(subcommand)]
    command: RecipientsCommand,
}

#[derive(Debug, Subcommand)]
enum RecipientsCommand {
    /// List recipients with what they have received
    List,
    /// List the kinds of endpoints, or show a configuration of one to start from
    Kinds {
        /// Which kind
        kind: Option<String>,
    },
    /// Send a test message and tell what the far end said
    Test {
        /// Which recipient
        name: String,
    },
    /// Tell why a recipient gets an alert, or does not, with every try of its delivery
    Explain {
        /// The alert: its row in the history (GET /api/v1/alerts), its id, or ID/ACTION
        alert: String,
        /// Which recipient
        name: String,
    },
    /// List deliveries that were given up, newest first
    Dead {
        /// Which recipient
        name: String,
    },
    /// Show what a delivery said that was given up, and how it was tried
    Show {
        /// Which recipient
        name: String,
        /// Which event, as `dead` names it
        event: String,
    },
    /// Try deliveries again that were given up
    Replay {
        /// Which recipient
        name: String,
        /// Only that of this event
        event: Option<String>,
    },
    /// Forget deliveries that were given up
    Discard {
        /// Which recipient
        name: String,
        /// Only that of this event
        event: Option<String>,
    },
}

/// Does what the command says.
pub fn recipients(args: &RecipientsArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::new(&args.at, config)?;
    let event = |event: &Option<String>| event.iter().map(|e| ("event", e.clone())).collect::<Vec<_>>();
    let send = |method: Method, path: &[&str], query: Vec<(&str, String)>| {
        let query: Vec<(&str, &str)> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        client.send(method, path, &query, None, None)
    };
    match &args.command {
        RecipientsCommand::List => {
            let answer = send(Method::GET, &["recipients"], Vec::new())?;
            shown(&answer["items"], output, |items| lines(items, recipient_line))
        }
        RecipientsCommand::Kinds { kind: None } => {
            let answer = send(Method::GET, &["schemas", "endpoints"], Vec::new())?;
            shown(&answer["items"], output, |items| lines(items, kind_line))
        }
        RecipientsCommand::Kinds { kind: Some(kind) } => {
            let answer = send(Method::GET, &["schemas", "endpoints", kind], Vec::new())?;
            shown(&answer, output, |answer| sample(&answer["sample"]))
        }
        RecipientsCommand::Test { name } => {
            let answer = send(Method::POST, &["recipients", name, "test"], Vec::new())?;
            shown(&answer, output, |answer| format!("{}\n", text(&answer["detail"])))?;
            match answer["ok"] == true {
                true => Ok(()),
                false => Err(Failure::new(exit::FAILED, anyhow::anyhow!("the test message did not arrive"))),
            }
        }
        RecipientsCommand::Explain { alert, name } => {
            let query = vec![("alert", alert.clone())];
            let answer = send(Method::GET, &["recipients", name, "explain"], query)?;
            shown(&answer, output, explanation)
        }
        RecipientsCommand::Dead { name } => {
            let answer = send(Method::GET, &["recipients", name, "dead"], Vec::new())?;
            shown(&answer["items"], output, |items| lines(items, letter_line))
        }
        RecipientsCommand::Show { name, event } => {
            let answer = send(Method::GET, &["recipients", name, "dead", event], Vec::new())?;
            shown(&answer, output, |answer| {
                format!("{}{}\n", delivery_lines(&answer["delivery"]), text(&answer["payload"]))
            })
        }
        RecipientsCommand::Replay { name, event: one } => {
            let answer = send(Method::POST, &["recipients", name, "dead", "replay"], event(one))?;
            shown(&answer, output, |answer| format!("{} tried again\n", answer["replayed"]))
        }
        RecipientsCommand::Discard { name, event: one } => {
            let answer = send(Method::DELETE, &["recipients", name, "dead"], event(one))?;
            shown(&answer, output, |answer| format!("{} forgotten\n", answer["discarded"]))
        }
    }
}

fn shown(answer: &Value, output: Output, for_people: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
    match output {
        Output::Json => print_json(answer),
        Output::Text => {
            print(&for_people(answer));
            Ok(())
        }
    }
}

fn lines(items: &Value, line: impl Fn(&Value) -> String) -> String {
    items.as_array().into_iter().flatten().map(line).collect()
}

/// A text of an answer; it may come from the network, so control characters are shown as escapes.
fn text(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn kind_line(kind: &Value) -> String {
    let names = |part: &str| {
        let names = kind["schema"]["properties"][part]["properties"].as_object();
        names.into_iter().flatten().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ")
    };
    format!(
        "{:<14} endpoint: {}; recipient: {}\n",
        text(&kind["kind"]),
        names("endpoint"),
        names("recipient")
    )
}

/// A sample of configuration, in whose lines nothing controls a terminal.
fn sample(sample: &Value) -> String {
    sample.as_str().into_iter().flat_map(str::lines).map(|line| text(&Value::from(line)) + "\n").collect()
}

fn recipient_line(recipient: &Value) -> String {
    let stats = &recipient["stats"];
    let state = match (recipient["enabled"] == true, recipient["breaker"] == "open") {
        (false, _) => "off",
        (true, true) => "failing",
        (true, false) => "on",
    };
    format!(
        "{:<24} {:<14} {:<8} delivered {:<8} pending {:<6} given up {:<6} {}\n",
        text(&recipient["name"]),
        text(&recipient["kind"]),
        state,
        stats["delivered"],
        stats["pending"],
        stats["dead"],
        stats.get("last_error").map(text).unwrap_or_default(),
    )
}

fn letter_line(letter: &Value) -> String {
    let [at, event, reason] = ["died_at", "event_id", "reason"].map(|key| text(&letter[key]));
    format!("{at}  {event}  after {} tries: {reason}\n", letter["attempts"])
}

fn explanation(answer: &Value) -> String {
    let verdict = if answer["passes"] == true { "gets it" } else { "does not get it" };
    let mut told = format!("{verdict}\n");
    for reason in answer["reasons"].as_array().into_iter().flatten() {
        let mark = if reason["passes"] == true { "+" } else { "-" };
        told += &format!("  {mark} {:<18} {}\n", text(&reason["criterion"]), text(&reason["detail"]));
    }
    if let Some(configuration) = answer["configuration"].as_str() {
        told += &format!("{configuration}\n");
    }
    match &answer["delivery"] {
        Value::Null => told += "no delivery was made\n",
        delivery => told += &delivery_lines(delivery),
    }
    for follow_up in answer["follow_ups"].as_array().into_iter().flatten() {
        told += &format!("{}: {}", text(&follow_up["event_id"]), delivery_lines(follow_up));
    }
    told
}

/// A delivery as it stands, and a line for each try.
fn delivery_lines(delivery: &Value) -> String {
    let because = delivery.get("reason").map(|reason| format!(": {}", text(reason))).unwrap_or_default();
    let state = text(&delivery["state"]);
    let mut told = format!("accepted {}, now {state}{because}\n", text(&delivery["accepted_at"]));
    for attempt in delivery["attempts"].as_array().into_iter().flatten() {
        let said = attempt.get("reason").or(attempt.get("answer")).map(text).unwrap_or_default();
        let took = attempt["took_ms"].as_u64().map(|ms| format!(" after {ms} ms")).unwrap_or_default();
        told += &format!("  {}  {:<9}{took} {said}\n", text(&attempt["at"]), text(&attempt["outcome"]));
    }
    told
}
