//! What hooks that are processes have in common.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::store::hooks::{RunInput, RunOutcome, RunResult};

use super::{Task, Tools, not_begun};
use crate::hook::input;
use crate::program::bounded::{self, Bounds, End, Job};

/// A process to run for a hook.
pub struct Process {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments before those of the input.
    pub arguments: Vec<OsString>,
    /// What the record shows.
    pub command: String,
    /// What it is given.
    pub input: RunInput,
}

/// Runs it and makes a record of its end.
pub async fn run(process: Process, task: &Task, tools: &Tools) -> RunResult {
    let Process { path, mut arguments, command, input } = process;
    let hook = &task.hook;
    arguments.extend(input.arguments.iter().map(OsString::from));
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let environment = match input::environment(hook, &task.claimed, &tools.references) {
        Ok(environment) => environment,
        Err(reason) => return RunResult { input, ..not_begun(&command, reason) },
    };
    let (stdin, more_rights) = (input.stdin.clone(), false);
    let job = Job { path, arguments, environment, input: stdin, folder, more_rights };
    let limits = hook.limits;
    let bounds = Bounds {
        timeout: Duration::from_secs(hook.timeout_s),
        grace: Duration::from_secs(hook.grace_s),
        cpu_s: limits.cpu_s,
        memory: limits.memory_mib << 20,
        file: limits.file_mib << 20,
        processes: limits.processes,
        output: usize::try_from(limits.output_kib << 10).unwrap_or(usize::MAX),
    };
    let finished = match bounded::run(job, bounds).await {
        Ok(finished) => finished,
        Err(reason) => return RunResult { input, ..not_begun(&command, reason) },
    };
    let (outcome, exit_code, signal, reason) = match finished.end {
        End::Code(0) => (RunOutcome::Success, Some(0), None, String::new()),
        End::Code(code) => (RunOutcome::Failure, Some(code), None, format!("exit code {code}")),
        End::Signal(signal) => (RunOutcome::Killed, None, Some(signal), format!("signal {signal}")),
        End::TimedOut => {
            (RunOutcome::Timeout, None, None, format!("did not end within {} s", hook.timeout_s))
        }
    };
    RunResult {
        outcome: Some(outcome),
        exit_code,
        signal,
        stdout: finished.stdout.kept,
        stdout_bytes: finished.stdout.bytes,
        stderr: finished.stderr.kept,
        stderr_bytes: finished.stderr.bytes,
        cpu_ms: Some(finished.cpu_ms),
        max_rss_kib: Some(finished.max_rss_kib),
        reason,
        command,
        input,
    }
}
