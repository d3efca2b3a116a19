//! Watching calls of scripts, for the tools that show them to who writes a script.

use std::time::Duration;

use super::{Effect, ScriptError};

/// One call of a script that has ended.
#[derive(Debug)]
pub struct Observed<'a> {
    /// Key of the script.
    pub script: &'a str,
    /// `setup`, `teardown`, or the name of the hook.
    pub function: &'a str,
    /// What it was called for: a flow's ends, an element's value; empty for `setup` and `teardown`.
    pub about: &'a str,
    /// Fields of the flow that it read, in order of the manual; of an element counters and fields, such as
    /// `delta.bytes`.
    pub reads: Vec<String>,
    /// Operations of the interpreter.
    pub operations: u64,
    /// Wall time.
    pub took: Duration,
    /// What it asked for.
    pub effects: &'a [Effect],
    /// What went wrong.
    pub error: Option<&'a ScriptError>,
}

/// Is told of every call that has ended.
pub type Observer = Box<dyn FnMut(&Observed<'_>)>;
