//! `flowhook script enable`, `disable`, `config`: settings of a script at a node that runs.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::Output;
use crate::cli::client::{Client, Where};
use crate::cli::settings::{Edit, amend, line, read, shown};
use crate::config::Config;
use crate::exit::{self, Failure};

/// `flowhook script enable …`, `flowhook script disable …`
#[derive(Debug, Args)]
pub struct SwitchArgs {
    /// Key of the script
    key: String,
    /// Only this hook of it
    #[arg(long)]
    hook: Option<String>,
    #[command(flatten)]
    at: Where,
    #[command(flatten)]
    edit: Edit,
}

/// `flowhook script config …`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Key of the script
    key: String,
    /// The configuration as JSON (- reads standard input); shows what is in force without it
    json: Option<String>,
    /// Only of this hook of it
    #[arg(long)]
    hook: Option<String>,
    #[command(flatten)]
    at: Where,
    #[command(flatten)]
    edit: Edit,
}

/// Switches a script on or off.
pub fn switch(args: &SwitchArgs, on: bool, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::new(&args.at, config)?;
    let entry = amend(&client, "scripts", &args.key, &args.edit, |settings| {
        part(settings, args.hook.as_deref()).insert("enabled".to_owned(), on.into());
    })?;
    shown(&entry, output, || line(&entry))
}

/// Shows or sets the configuration of a script.
pub fn configure(args: &ConfigArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::new(&args.at, config)?;
    let Some(json) = &args.json else { return show(&client, args, output) };
    let wanted = read(json)?;
    let entry = amend(&client, "scripts", &args.key, &args.edit, |settings| {
        part(settings, args.hook.as_deref()).insert("config".to_owned(), wanted);
    })?;
    shown(&entry, output, || line(&entry))
}

fn show(client: &Client, args: &ConfigArgs, output: Output) -> Result<(), Failure> {
    let nothing = || Failure::new(exit::FAILED, anyhow::anyhow!("there is no script '{}'", args.key));
    let script = client.get(&["scripts", &args.key])?.ok_or_else(nothing)?;
    let set = client.get(&["settings", "scripts", &args.key])?.unwrap_or_default();
    let of_hook = args.hook.as_ref().map(|hook| &set["value"]["hooks"][hook]["config"]);
    let in_force = of_hook.filter(|config| !config.is_null()).unwrap_or(&script["config"]);
    let answer = json!({ "script": args.key, "config": in_force, "schema": script["config_schema"] });
    shown(&answer, output, || format!("{}\n", answer["config"]))
}

/// The settings of the script, or of one of its hooks.
fn part<'a>(settings: &'a mut Map<String, Value>, hook: Option<&str>) -> &'a mut Map<String, Value> {
    let Some(hook) = hook else { return settings };
    object(object(settings, "hooks"), hook)
}

/// The object under a key, which is made when there is none.
fn object<'a>(of: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = of.entry(key).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it was made an object"),
    }
}
