//! `rhai_code`: code that sees `host`, `client` and `item`.

use async_trait::async_trait;
use shared::hook::Hook;
use shared::store::hooks::RunResult;

use super::effects;
use super::{Runner, Task, Tools};
use crate::hook::scripts::Source;

/// See the file's head.
pub struct RhaiCode;

#[async_trait]
impl Runner for RhaiCode {
    async fn check(&self, name: &str, hook: &Hook, tools: &Tools) -> Result<(), String> {
        let checked = tools.scripts.check(name, Source::Code(hook.argument.as_str().into())).await;
        checked.map_err(|cause| format!("argument: {cause}"))
    }

    async fn run(&self, task: &Task, tools: &Tools) -> RunResult {
        effects::call(Source::Code(task.hook.argument.as_str().into()), task, tools).await
    }
}
