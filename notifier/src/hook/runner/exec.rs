//! `exec`: a program of the folder, or a line for the shell.

use std::os::unix::fs::PermissionsExt;

use async_trait::async_trait;
use shared::hook::Hook;
use shared::store::hooks::RunResult;

use super::process::{self, Process};
use super::{Runner, Task, Tools, not_begun};

/// Reads lines.
const SHELL: &str = "/bin/sh";

/// See the file's head.
pub struct Exec;

#[async_trait]
impl Runner for Exec {
    async fn check(&self, _: &str, hook: &Hook, tools: &Tools) -> Result<(), String> {
        if hook.shell {
            // A line runs whatever it likes; the folder says that files may be run here at all.
            return folder(tools);
        }
        let file = tools.file(&hook.argument)?;
        let mode = file.metadata().map_err(|e| format!("argument: {}: {e}", file.display()))?;
        match mode.permissions().mode() & 0o111 {
            0 => Err(format!("argument: {} is not executable", file.display())),
            _ => Ok(()),
        }
    }

    async fn run(&self, task: &Task, tools: &Tools) -> RunResult {
        let hook = &task.hook;
        // Also where it was permitted once, or by a node that has a folder.
        if let Err(reason) = folder(tools) {
            return not_begun(&hook.argument, reason);
        }
        let (path, arguments) = match (hook.shell, tools.file(&hook.argument)) {
            (true, _) => (SHELL.into(), vec!["-c".into(), hook.argument.clone().into(), "hook".into()]),
            (false, Ok(file)) => (file, Vec::new()),
            (false, Err(reason)) => return not_begun(&hook.argument, reason),
        };
        let command = hook.argument.clone();
        process::run(Process { path, arguments, command, input: task.input.clone() }, task, tools).await
    }
}

/// Nothing may be run where no folder is named.
fn folder(tools: &Tools) -> Result<(), String> {
    let none = || "argument: notifier.hooks.dir names no folder, so nothing may be run here".to_owned();
    tools.dir.as_ref().map(drop).ok_or_else(none)
}
