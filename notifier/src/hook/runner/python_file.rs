//! `python_file`: a function `hook(host, client, item)` of a Python file, in a process of its own.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use shared::hook::Hook;
use shared::store::hooks::{RunInput, RunResult};

use super::process::{self, Process};
use super::{Runner, Task, Tools, not_begun};
use crate::program::bounded::{self, Bounds, End, Job};

/// Reads the three from standard input and calls the function.
const CALL: &str = include_str!("python_file.py");

/// Reads a file, without running it, and fails where it is no Python or defines no such function.
const CHECK: &str = include_str!("python_check.py");

/// What reading a file may cost.
const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(10),
    grace: Duration::from_secs(1),
    cpu_s: 10,
    memory: 512 << 20,
    file: 0,
    processes: 1024,
    output: 4096,
};

/// See the file's head.
pub struct PythonFile;

#[async_trait]
impl Runner for PythonFile {
    async fn check(&self, _: &str, hook: &Hook, tools: &Tools) -> Result<(), String> {
        if !tools.python.is_file() {
            return Err(format!("notifier.hooks.python: there is no {}", tools.python.display()));
        }
        let file = tools.file(&hook.argument)?;
        let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
        let arguments = vec!["-I".into(), "-B".into(), "-c".into(), CHECK.into(), file.into()];
        let (path, environment, input) = (tools.python.clone(), Vec::new(), Vec::new());
        let read =
            bounded::run(Job { path, arguments, environment, input, folder, more_rights: false }, BOUNDS)
                .await?;
        match read.end {
            End::Code(0) => Ok(()),
            End::TimedOut => Err("argument: Python does not end reading the file".to_owned()),
            // The last lines of Python's complaint say what is wrong and where.
            End::Code(_) | End::Signal(_) => {
                let said = String::from_utf8_lossy(&read.stderr.kept).into_owned();
                let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                let from = lines.iter().rposition(|line| line.starts_with("File ")).unwrap_or(0);
                Err(format!("argument: {}", lines.get(from..).unwrap_or_default().join(" ")))
            }
        }
    }

    async fn run(&self, task: &Task, tools: &Tools) -> RunResult {
        let file = match tools.file(&task.hook.argument) {
            Ok(file) => file,
            Err(reason) => return not_begun(&task.hook.argument, reason),
        };
        let given = tools.given(task);
        let stdin = serde_json::json!({ "host": given.host, "client": given.client, "item": given.item });
        let process = Process {
            path: tools.python.clone(),
            // Neither the folder nor the user's packages nor variables of Python's own count.
            arguments: vec!["-I".into(), "-B".into(), "-c".into(), CALL.into(), file.into()],
            command: task.hook.argument.clone(),
            input: RunInput { arguments: Vec::new(), stdin: stdin.to_string().into_bytes() },
        };
        process::run(process, task, tools).await
    }
}
