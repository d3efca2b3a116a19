//! Ways to run a hook: one file a kind.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt as _;
use serde_json::{Value, json};
use shared::bus::SharedBus;
use shared::clock::SharedClock;
use shared::hook::{Hook, HookKind};
use shared::store::hooks::{ClaimedRun, RunInput, RunOutcome, RunResult};
use shared::wire::subject::Subjects;

use super::plan::event_json;
use super::scripts::{Given, Scripts};

mod effects;
mod exec;
mod process;
mod python_file;
mod rhai_code;
mod rhai_file;
mod rhai_library;

/// What runners work with.
#[derive(Clone)]
pub struct Tools {
    /// The bus.
    pub bus: SharedBus,
    /// Subjects.
    pub subjects: Subjects,
    /// Wall clock.
    pub clock: SharedClock,
    /// Name of this node.
    pub node: String,
    /// Site of this node.
    pub site: String,
    /// The folder of files that may be run.
    pub dir: Option<PathBuf>,
    /// The Python that runs Python files.
    pub python: PathBuf,
    /// Run Rhai.
    pub scripts: Scripts,
    /// Secrets of this machine that hooks may refer to.
    pub references: Vec<String>,
}

/// One execution.
pub struct Task {
    /// The hook.
    pub hook: Arc<Hook>,
    /// What was claimed; its event is there.
    pub claimed: ClaimedRun,
    /// What it is given.
    pub input: RunInput,
}

/// A way to run a hook.
#[async_trait]
pub trait Runner: Send + Sync {
    /// Makes sure that a hook of this kind can run here.
    ///
    /// # Errors
    /// Names the field that is wrong.
    async fn check(&self, name: &str, hook: &Hook, tools: &Tools) -> Result<(), String>;

    /// Runs it to its end.
    async fn run(&self, task: &Task, tools: &Tools) -> RunResult;
}

/// How hooks of a kind are run.
pub fn runner(kind: HookKind) -> &'static dyn Runner {
    match kind {
        HookKind::Rhai => &rhai_library::Library,
        HookKind::RhaiFile => &rhai_file::RhaiFile,
        HookKind::RhaiCode => &rhai_code::RhaiCode,
        HookKind::PythonFile => &python_file::PythonFile,
        HookKind::Exec => &exec::Exec,
    }
}

/// Runs an execution to its end.
pub async fn run(task: &Task, tools: &Tools) -> RunResult {
    caught(&task.hook.argument, runner(task.hook.kind).run(task, tools)).await
}

/// A panic is a failure like any other: who waits for the end of an execution has to learn of it.
async fn caught(command: &str, running: impl Future<Output = RunResult>) -> RunResult {
    // What was half done is the execution's own and goes with it.
    let ended = AssertUnwindSafe(running).catch_unwind().await;
    ended
        .unwrap_or_else(|_| not_begun(command, "panicked: a fault of the program that runs hooks".to_owned()))
}

impl Tools {
    /// The file that a hook names, which has to be in the folder of files.
    ///
    /// # Errors
    /// Says why it may not be used.
    pub fn file(&self, named: &str) -> Result<PathBuf, String> {
        let dir =
            self.dir.as_deref().ok_or("argument: notifier.hooks.dir names no folder of files to run")?;
        let shown = |path: &Path| path.display().to_string();
        let dir = dir.canonicalize().map_err(|e| format!("notifier.hooks.dir: {}: {e}", shown(dir)))?;
        let wanted = dir.join(named);
        let file = wanted.canonicalize().map_err(|e| format!("argument: {}: {e}", shown(&wanted)))?;
        if !file.starts_with(&dir) {
            return Err(format!("argument: {} is outside of {}", shown(&file), shown(&dir)));
        }
        match file.is_file() {
            true => Ok(file),
            false => Err(format!("argument: {} is no file", shown(&file))),
        }
    }

    /// The text of such a file.
    ///
    /// # Errors
    /// Says why it may not be used.
    pub fn text(&self, named: &str) -> Result<Arc<str>, String> {
        let file = self.file(named)?;
        let text =
            std::fs::read_to_string(&file).map_err(|e| format!("argument: {}: {e}", file.display()))?;
        Ok(text.into())
    }

    /// What a function `hook(host, client, item)` is given.
    pub fn given(&self, task: &Task) -> Given {
        let run = &task.claimed.run;
        let host = json!({
            "node": self.node,
            "site": self.site,
            "hook": run.hook,
            "revision": run.revision,
            "execution": task.claimed.number,
            "attempt": task.claimed.attempt,
            "trigger": run.trigger,
            "idempotency_key": run.idempotency_key,
        });
        let client = json!({ "profile": task.hook.session, "by": run.by, "labels": task.hook.labels });
        let item = task.claimed.recorded.as_ref().map_or(Value::Null, event_json);
        Given { host, client, item }
    }
}

/// An execution that did not begin.
pub fn not_begun(command: &str, reason: String) -> RunResult {
    RunResult {
        outcome: Some(RunOutcome::Failure),
        command: command.to_owned(),
        reason,
        ..RunResult::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let ended = caught("x.sh", async { panic!("a fault") }).await;
        assert_eq!((ended.outcome, ended.command.as_str()), (Some(RunOutcome::Failure), "x.sh"));
        assert!(ended.reason.contains("panicked"), "{ended:?}");
    }
}
