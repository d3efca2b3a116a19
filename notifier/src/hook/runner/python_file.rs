//! `python_file`: a function `hook(host, client, item)` of a Python file, in a process of its own.

use async_trait::async_trait;
use shared::hook::Hook;
use shared::store::hooks::{RunInput, RunResult};

use super::process::{self, Process};
use super::{Runner, Task, Tools, not_begun};

/// Reads the three from standard input and calls the function.
const CALL: &str = include_str!("python_file.py");

/// See the file's head.
pub struct PythonFile;

#[async_trait]
impl Runner for PythonFile {
    async fn check(&self, _: &str, hook: &Hook, tools: &Tools) -> Result<(), String> {
        if !tools.python.is_file() {
            return Err(format!("notifier.hooks.python: there is no {}", tools.python.display()));
        }
        tools.file(&hook.argument).map(drop)
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
        process::run(process, task).await
    }
}
