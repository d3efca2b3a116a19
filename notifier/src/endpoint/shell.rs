//! Shell script: a script of the operator's, run for each alert (seed 002 "Shell Script").
//!
//! Scripts are files ending in `.sh` of the one folder that the notifier's own configuration names
//! (`notifier.shell_dir`); no setting that comes over the API can name another. The whole alert is on
//! standard input as JSON, and nothing of it in arguments. Exit code 0 is delivered, 75
//! (`EX_TEMPFAIL` of sysexits.h) and a time that is over are tried again, any other is for good.
//! `FLOWHOOK_IDEMPOTENCY_KEY` is the same in every try.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::model::AlertAction;
use shared::store::Delivery;
use tokio::sync::Semaphore;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Manners, Told, alert_of};
use crate::params::{Within, schema_is};
use crate::posting::TEST_TEXT;
use crate::program::{End, Ended, Program, run};

/// Exit code of a script that wants to be run again.
const TEMPORARY: i32 = 75;

/// Scripts that run at once, of all recipients together.
const AT_ONCE: usize = 4;

/// How long a script waits for its turn, before its lane looks what is the gravest now. It and the longest
/// time of a script end within the lane's claim.
const TURN_PATIENCE: Duration = Duration::from_secs(10);

/// Why something waits.
const OTHERS: &str = "as many scripts as may run at once are running";

/// The turns of all recipients. A test has its own, so that others do not take them.
static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// The kind `shell`.
pub struct ShellKind;

impl EndpointKind for ShellKind {
    const NAME: &'static str = "shell";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/shell.toml");
    type Params = ShellParams;
    type RecipientParams = ShellRecipient;

    fn build(
        params: ShellParams,
        recipient: ShellRecipient,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String> {
        match &deps.shell_dir {
            Some(folder) => {
                let turns = Arc::clone(&TURNS);
                Ok(Arc::new(Shell { folder: folder.clone(), params, recipient, turns }))
            }
            None => Err("scripts are switched off: notifier.shell_dir names no folder".to_owned()),
        }
    }
}

/// Parameters of a shell endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShellParams {
    /// Name of the script's file in the folder of scripts, ending in `.sh`.
    script: ScriptName,
    /// Seconds it may take.
    #[serde(default)]
    timeout_s: Within<1, 30, 10>,
}

/// Parameters of a shell recipient.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShellRecipient {
    /// Arguments, each given as it is.
    #[serde(default)]
    options: Vec<Argument>,
    /// For which alerts it is run.
    #[serde(default)]
    execution: Execution,
}

/// In a folder with this bit, nobody but its owner replaces a file.
const STICKY: u32 = 0o1000;

/// When a script is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Execution {
    /// For every alert.
    #[default]
    Always,
    /// When an alert engages.
    Engage,
    /// When an alert is released.
    Release,
}

impl Execution {
    fn wants(self, action: AlertAction) -> bool {
        match self {
            Self::Always => true,
            Self::Engage => action == AlertAction::Engage,
            Self::Release => action == AlertAction::Release,
        }
    }
}

/// The name of a file, without a way out of its folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct ScriptName(String);

schema_is!(ScriptName, { "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*\\.sh$" });

impl TryFrom<String> for ScriptName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        match name.ends_with(".sh") && !name.starts_with(['.', '-']) && name.chars().all(allowed) {
            true => Ok(Self(name)),
            false => Err(format!("{name:?} is not the name of a file that ends in .sh")),
        }
    }
}

/// An argument of a program.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct Argument(String);

impl TryFrom<String> for Argument {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.contains('\0') || text.len() > 4096 {
            true => Err("an option must be at most 4096 bytes, none of them 0".to_owned()),
            false => Ok(Self(text)),
        }
    }
}

#[derive(Debug)]
struct Shell {
    folder: PathBuf,
    params: ShellParams,
    recipient: ShellRecipient,
    turns: Arc<Semaphore>,
}

impl Shell {
    async fn run(&self, input: String, id: &str, key: &str) -> Result<Ended, DeliveryError> {
        let name = &self.params.script.0;
        let path = confined(&self.folder, name).map_err(DeliveryError::permanent)?;
        let program = Program {
            path,
            arguments: self.recipient.options.iter().map(|option| option.0.clone().into()).collect(),
            environment: vec![
                ("FLOWHOOK_EVENT_ID", id.to_owned()),
                ("FLOWHOOK_IDEMPOTENCY_KEY", key.to_owned()),
            ],
            input: (input + "\n").into_bytes(),
            folder: self.folder.clone(),
            timeout: Duration::from_secs(self.params.timeout_s.get() as u64),
            more_rights: false,
        };
        let Ok(Ok(_turn)) = tokio::time::timeout(TURN_PATIENCE, self.turns.acquire()).await else {
            return Err(DeliveryError::NoRoom { reason: OTHERS });
        };
        let ended = run(program).await.map_err(DeliveryError::retry)?;
        tracing::info!(script = name, event = id, result = %ended, "script executed");
        match ended.end {
            End::Code(0) => Ok(ended),
            End::Code(TEMPORARY) | End::Killed | End::TimedOut => {
                Err(DeliveryError::retry(format!("script {name} {ended}")))
            }
            End::Code(_) => Err(DeliveryError::permanent(format!("script {name} {ended}"))),
        }
    }
}

/// The path of a script that nobody but root and this process's user can have put there.
///
/// The rights of the folder, and of every folder that it is in, are looked at too, because who may write to
/// one may put something else into its place at any time. In a sticky one, such as `/tmp`, others cannot.
fn confined(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let path = folder.join(name);
    let look = |path: &Path| {
        std::fs::symlink_metadata(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
    };
    let wrong = |path: &Path, what: &str| Err(format!("{} {what}", path.display()));
    let own = look(Path::new("/proc/self"))?.uid();
    let (dir, file) = (look(folder)?, look(&path)?);
    if !dir.is_dir() {
        return wrong(folder, "is not a folder");
    }
    if !file.is_file() {
        return wrong(&path, "is not a regular file; links are not followed");
    }
    for (path, found) in [(folder, &dir), (&path, &file)] {
        if found.uid() != 0 && found.uid() != own {
            return wrong(path, "belongs to neither root nor flowhook's user");
        }
        if found.mode() & 0o022 != 0 {
            return wrong(path, "can be written by others");
        }
    }
    for above in folder.ancestors().skip(1) {
        let found = look(above)?;
        if !found.is_dir() {
            return wrong(above, "is not a folder; links are not followed");
        }
        if found.uid() != 0 && found.uid() != own {
            return wrong(above, "belongs to neither root nor flowhook's user");
        }
        if found.mode() & 0o022 != 0 && found.mode() & STICKY == 0 {
            return wrong(above, "can be written by others");
        }
    }
    match file.mode() & 0o111 {
        0 => wrong(&path, "is not executable"),
        _ => Ok(path),
    }
}

#[async_trait]
impl Endpoint for Shell {
    fn manners(&self) -> Manners {
        Manners::of_batch(1)
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        self.deliver_told(batch).await.into_iter().map(|result| result.map(drop)).collect()
    }

    async fn deliver_told(&self, batch: &[Delivery]) -> Vec<Told> {
        let mut results = Vec::with_capacity(batch.len());
        for delivery in batch {
            results.push(match alert_of(delivery) {
                Ok(alert) if self.recipient.execution.wants(alert.action) => {
                    let key = delivery.idempotency_key();
                    let ended = self.run(delivery.payload.clone(), &delivery.event_id, &key).await;
                    ended.map(|ended| Some(format!("script {} {ended}", self.params.script.0)))
                }
                other => other.map(|_| None),
            });
        }
        results
    }

    /// Runs the script with `{"test":true,"message":…}`.
    async fn test(&self) -> Result<String, DeliveryError> {
        let input = json!({ "test": true, "message": TEST_TEXT }).to_string();
        let ended = self.run(input, "test", "test").await?;
        Ok(format!("script {} {ended}", self.params.script.0))
    }
}

#[cfg(test)]
mod tests;
