//! `rhai`: a function `hook(host, client, item)` of a library, by the library's name.

use async_trait::async_trait;
use shared::hook::Hook;
use shared::store::hooks::RunResult;

use super::effects;
use super::{Runner, Task, Tools, not_begun};
use crate::hook::scripts::Source;

/// See the file's head.
pub struct Library;

/// The library's file in the folder of files.
fn file(argument: &str) -> String {
    format!("{argument}.rhai")
}

#[async_trait]
impl Runner for Library {
    async fn check(&self, name: &str, hook: &Hook, tools: &Tools) -> Result<(), String> {
        let text = tools.text(&file(&hook.argument))?;
        let checked = tools.scripts.check(name, Source::Function(text)).await;
        checked.map_err(|cause| format!("argument: {cause}"))
    }

    async fn run(&self, task: &Task, tools: &Tools) -> RunResult {
        match tools.text(&file(&task.hook.argument)) {
            Ok(text) => effects::call(Source::Function(text), task, tools).await,
            Err(reason) => not_begun(&task.hook.argument, reason),
        }
    }
}
