//! `flowhook script run`: a script called on demand, at a node that runs.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::Output;
use crate::cli::client::{Client, Method, Where};
use crate::cli::settings::shown;
use crate::config::Config;
use crate::exit::{self, Failure};

/// `flowhook script run …`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Key of the script: one of hosts, networks, interfaces, the system or monitored hosts
    key: String,
    /// Only for this element: an address or prefix of hosts, the name of an interface, … (may be repeated)
    #[arg(long)]
    element: Vec<String>,
    /// Only for hosts of this pool
    #[arg(long)]
    pool: Option<String>,
    /// Only at this site
    #[arg(long)]
    site: Option<String>,
    /// Only on the interface of this id
    #[arg(long, value_name = "ID")]
    ifid: Option<u32>,
    /// The hook that is called; the script's shortest period without it
    #[arg(long)]
    hook: Option<String>,
    #[command(flatten)]
    at: Where,
}

/// Calls it.
pub fn run(args: &RunArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::new(&args.at, config)?;
    let mut body = Map::new();
    body.insert("elements".to_owned(), json!(args.element));
    let given = [("pool", json!(args.pool)), ("site", json!(args.site)), ("ifid", json!(args.ifid))];
    let given = given.into_iter().chain([("hook", json!(args.hook))]);
    body.extend(given.filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)));
    let path = ["scripts", &args.key, "run"];
    let answer = client.send(Method::POST, &path, &[], None, Some(&Value::Object(body)))?;
    shown(&answer, output, || text(&answer))?;
    match answer["errors"].as_u64() {
        None | Some(0) => Ok(()),
        Some(errors) => Err(Failure::new(exit::FAILED, anyhow::anyhow!("{errors} calls failed"))),
    }
}

/// The answer for people: calls that asked for nothing are counted only.
fn text(answer: &Value) -> String {
    let mut text = String::new();
    for row in answer["rows"].as_array().into_iter().flatten() {
        let effects = row["effects"].as_array().cloned().unwrap_or_default();
        if effects.is_empty() && row["error"].is_null() {
            continue;
        }
        text.push_str(row["element"].as_str().unwrap_or("setup or teardown"));
        text.push('\n');
        for effect in effects {
            text.push_str(&format!("    {effect}\n"));
        }
        if let Some(error) = row["error"].as_str() {
            text.push_str(&format!("    FAILED: {error}\n"));
        }
    }
    let number = |key: &str| answer[key].as_u64().unwrap_or(0);
    text.push_str(&format!("{} calls, {} failed", number("calls"), number("errors")));
    match number("not_reached") {
        0 => {}
        missed => text.push_str(&format!(", {missed} elements not reached in time")),
    }
    for silent in answer["missing"].as_array().into_iter().flatten() {
        text.push_str(&format!("; no answer from {}", silent.as_str().unwrap_or_default()));
    }
    text.push('\n');
    text
}
