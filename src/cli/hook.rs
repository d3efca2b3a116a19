//! `flowhook hook`: hooks on events, and every execution of them.

use std::path::PathBuf;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::client::{Client, Method};
use super::settings::{read, shown};
use super::{Output, print};
use crate::config::Config;
use crate::exit::{self, Failure};

mod arguments;
mod show;

pub use arguments::HookArgs;

use arguments::{HookCommand, LogArgs};

/// Records asked for at once.
const PAGE: usize = 500;

/// How long the end of an execution is waited for.
const PATIENCE_S: u64 = 600;

/// Does what the command says.
pub fn hook(args: &HookArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::new(&args.at, config)?;
    let by = ("by", args.by.as_str());
    let post = |path: &[&str], body: &Value| client.send(Method::POST, path, &[by], None, Some(body));
    match &args.command {
        HookCommand::Create { name, file, dry_run } => {
            let body = json!({ "name": name, "hook": definition(file)? });
            if *dry_run {
                let query = [by, ("dry_run", "true")];
                let answer = client.send(Method::POST, &["hooks"], &query, None, Some(&body))?;
                return shown(&answer, output, || show::checked(&answer));
            }
            let entry = post(&["hooks"], &body)?;
            shown(&entry, output, || show::line(&entry))
        }
        HookCommand::Delete { names } => {
            let mut deleted = Vec::new();
            for name in names {
                deleted.push(client.send(Method::DELETE, &["hooks", name], &[by], None, None)?);
            }
            shown(&json!(deleted), output, || format!("{} deleted\n", deleted.len()))
        }
        HookCommand::List => list(&client, output),
        HookCommand::Show { name, execution: None } => {
            let entry = found(client.get(&["hooks", name])?, &format!("hook '{name}'"))?;
            shown(&entry, output, || show::whole(&entry))
        }
        HookCommand::Show { name, execution: Some(number) } => {
            let record = record(&client, name, *number)?;
            shown(&record, output, || show::record(&record))
        }
        HookCommand::Update { name, file, append, revision } => {
            let mut hook = definition(file)?;
            if *append {
                let entry = found(client.get(&["hooks", name])?, &format!("hook '{name}'"))?;
                let mut whole = entry["hook"].clone();
                if let (Some(whole), Some(part)) = (whole.as_object_mut(), hook.as_object()) {
                    whole.extend(part.clone());
                }
                hook = whole;
            }
            let entry = client.send(Method::PUT, &["hooks", name], &[by], *revision, Some(&hook))?;
            shown(&entry, output, || show::line(&entry))
        }
        HookCommand::Rename { name, to } => {
            let entry = post(&["hooks", name, "rename"], &json!({ "to": to }))?;
            shown(&entry, output, || show::line(&entry))
        }
        HookCommand::Enable { name } => switch(&client, name, "enable", by, output),
        HookCommand::Disable { name } => switch(&client, name, "disable", by, output),
        HookCommand::Lock { name } => switch(&client, name, "lock", by, output),
        HookCommand::Unlock { name } => switch(&client, name, "unlock", by, output),
        HookCommand::Log(asked) => {
            let items = log(&client, asked)?;
            shown(&items, output, || show::log(&items))
        }
        HookCommand::Retry { name, execution, rerender, wait } => {
            let body = json!({ "execution": execution, "render": rerender });
            let answer = post(&["hooks", name, "retry"], &body)?;
            match wait {
                false => shown(&answer, output, || format!("execution {}\n", answer["execution"])),
                true => ended(&client, name, &answer, output),
            }
        }
        HookCommand::Dead { name, execution, discard } => {
            let number = execution.map(|number| number.to_string());
            let mut query = vec![by];
            query.extend(number.as_deref().map(|number| ("execution", number)));
            let answer = match discard {
                true => client.send(Method::DELETE, &["hooks", name, "dead"], &query, None, None)?,
                false => client.send(Method::POST, &["hooks", name, "dead", "retry"], &query, None, None)?,
            };
            let word = if *discard { "forgotten" } else { "tried again" };
            shown(&answer, output, || format!("{} {word}\n", answer["changed"]))
        }
        HookCommand::Replay { name, since, until, dry_run } => {
            let mut query = vec![by, ("since", since.as_str())];
            query.extend(until.as_deref().map(|until| ("until", until)));
            query.extend(dry_run.then_some(("dry_run", "true")));
            let answer = replay(&client, name, &query)?;
            shown(&answer, output, || show::replayed(&answer))
        }
        HookCommand::Test { name, event } => {
            let event = event.as_ref().map(json_file).transpose()?;
            let answer = client.send(Method::POST, &["hooks", name, "test"], &[by], None, event.as_ref())?;
            ended(&client, name, &answer, output)
        }
        HookCommand::Top { delay, number } => {
            for round in 1.. {
                list(&client, output)?;
                if number.is_some_and(|number| round >= number) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_secs((*delay).max(1)));
                print("\n");
            }
            Ok(())
        }
    }
}

/// Replays to the end, however many answers that takes; gives one for all.
fn replay(client: &Client, name: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
    let mut whole: Option<Value> = None;
    loop {
        let after = whole.as_ref().map_or(0, |whole| whole["next"].as_u64().unwrap_or(0)).to_string();
        let page = [query, &[("after", after.as_str())]].concat();
        let mut answer = client.send(Method::POST, &["hooks", name, "replay"], &page, None, None)?;
        if let Some(before) = &whole {
            for key in ["events", "executions"] {
                let sum = before[key].as_u64().unwrap_or(0) + answer[key].as_u64().unwrap_or(0);
                answer[key] = json!(sum);
            }
            if before["first"].as_array().is_some_and(|first| !first.is_empty()) {
                answer["first"] = before["first"].clone();
            }
        }
        if answer["next"].is_null() {
            return Ok(answer);
        }
        whole = Some(answer);
    }
}

fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let answer = found(client.get(&["hooks"])?, "list of hooks")?;
    shown(&answer["items"], output, || show::lines(&answer["items"]))
}

fn switch(client: &Client, name: &str, what: &str, by: (&str, &str), output: Output) -> Result<(), Failure> {
    let entry = client.send(Method::POST, &["hooks", name, what], &[by], None, None)?;
    shown(&entry, output, || show::line(&entry))
}

fn log(client: &Client, asked: &LogArgs) -> Result<Value, Failure> {
    let mut query = Vec::new();
    for (key, value) in [
        ("hook", &asked.hook),
        ("outcome", &asked.outcome),
        ("event", &asked.event),
        ("since", &asked.since),
        ("until", &asked.until),
    ] {
        query.extend(value.as_deref().map(|value| (key, value)));
    }
    query.extend(asked.error.then_some(("failed", "true")));
    query.extend(asked.success.then_some(("failed", "false")));
    query.extend(asked.dead.then_some(("dead", "true")));
    let (mut records, mut before) = (Vec::new(), None::<String>);
    loop {
        let limit = (asked.limit as usize).saturating_sub(records.len()).min(PAGE).to_string();
        let mut page = query.clone();
        page.push(("limit", limit.as_str()));
        page.extend(before.as_deref().map(|before| ("before", before)));
        let mut answer = client.send(Method::GET, &["executions"], &page, None, None)?;
        let items = answer["items"].take();
        records.extend(items.as_array().cloned().unwrap_or_default());
        before = answer["next"].as_str().map(str::to_owned);
        if before.is_none() || records.len() >= asked.limit as usize {
            return Ok(Value::Array(records));
        }
    }
}

fn record(client: &Client, name: &str, number: u64) -> Result<Value, Failure> {
    let number = number.to_string();
    found(client.get(&["hooks", name, "executions", &number])?, &format!("execution {number} of '{name}'"))
}

/// Waits until an execution has ended, shows it, and ends as it did.
fn ended(client: &Client, name: &str, queued: &Value, output: Output) -> Result<(), Failure> {
    let number = queued["execution"].as_u64().unwrap_or_default();
    for _ in 0..PATIENCE_S * 10 {
        let found = record(client, name, number)?;
        if found["state"] == "done" {
            shown(&found, output, || show::record(&found))?;
            return match found["outcome"].as_str() {
                Some("success") => Ok(()),
                outcome => {
                    let outcome = outcome.unwrap_or("nothing").to_owned();
                    Err(Failure::new(exit::FAILED, anyhow!("execution {number} of {name}: {outcome}")))
                }
            };
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(Failure::new(exit::FAILED, anyhow!("execution {number} of {name} has not ended yet")))
}

fn found(value: Option<Value>, what: &str) -> Result<Value, Failure> {
    value.ok_or_else(|| Failure::new(exit::FAILED, anyhow!("there is no {what}")))
}

fn json_file(path: &PathBuf) -> Result<Value, Failure> {
    match path.as_os_str() == "-" {
        true => read("-"),
        false => read(&text_of(path)?),
    }
}

fn text_of(path: &PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(exit::INPUT, anyhow!("{}: {error}", path.display())))
}

/// A definition in TOML or JSON; of standard input its first character tells which.
fn definition(path: &PathBuf) -> Result<Value, Failure> {
    let (text, is_toml) = match path.as_os_str() == "-" {
        true => {
            let text = std::io::read_to_string(std::io::stdin()).map_err(anyhow::Error::from)?;
            let is_toml = !text.trim_start().starts_with('{');
            (text, is_toml)
        }
        false => (text_of(path)?, path.extension().is_some_and(|extension| extension == "toml")),
    };
    if !is_toml {
        return serde_json::from_str(&text).map_err(|error| Failure::config(format!("no JSON: {error}")));
    }
    let table: toml::Table =
        text.parse().map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
    Ok(serde_json::to_value(table).map_err(anyhow::Error::from)?)
}
