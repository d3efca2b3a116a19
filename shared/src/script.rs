//! Hook scripts: what they are, what they may ask for, and the engine that runs them.
//!
//! A script is a Rhai file that ends in a map (see `docs/scripts.md`). It never does I/O: a call
//! returns [`Effect`]s, and the actor that made the call carries them out. [`engine`] and [`value`]
//! alone know Rhai.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Category, Severity};

pub mod counts;
pub mod effect;
pub mod element;
pub mod engine;
mod functions;
pub mod lists;
pub mod live;
pub mod log_event;
pub mod lowered;
pub mod memory;
pub mod meta;
pub mod observer;
pub mod quarantine;
pub mod registry;
pub mod schema;
pub mod settings;
pub mod source;
mod threshold;
pub mod value;

pub use counts::ScriptCounts;
pub use effect::{AlertRequest, Effect, LogLevel};
pub use element::ElementParams;
pub use log_event::LogEvent;
pub use meta::{FlowHook, HookName, Lifecycle, ScriptKind, ScriptMeta};

/// Limits on one call of a script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptLimits {
    /// Operations of the interpreter.
    pub max_operations: u64,
    /// The same of flow hooks, which hold up the thread that reads packets.
    pub max_flow_operations: u64,
    /// Operations a second of event time of all flow scripts of an interface together, beside a part of it
    /// that each has for itself; beyond it calls are left out.
    pub operations_per_second: u64,
    /// The same of those whose last call failed or was dear.
    pub costly_operations_per_second: u64,
    /// What one flow script may ask for a second of event time.
    pub max_effects_per_second: u64,
    /// Wall time in milliseconds.
    pub max_millis: u64,
    /// Depth of calls.
    pub max_call_depth: usize,
    /// Depth of expressions.
    pub max_expression_depth: usize,
    /// Length of a string in bytes.
    pub max_string: usize,
    /// Elements of an array.
    pub max_array: usize,
    /// Keys of a map.
    pub max_map: usize,
    /// Effects of one call.
    pub max_effects: usize,
    /// Effects of one script in one run of element hooks.
    pub max_effects_per_run: usize,
    /// Bytes that these take.
    pub max_effect_bytes_per_run: usize,
    /// Bytes that one script may hold on one interface: its variables and what a call makes.
    pub max_memory_bytes: usize,
    /// Bytes that one script remembers on one interface, also over restarts.
    pub max_remembered_bytes: usize,
    /// Failed calls in a row after which a script is quarantined.
    pub quarantine_after: u32,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        Self {
            max_operations: 1_000_000,
            max_flow_operations: 20_000,
            operations_per_second: 400_000,
            costly_operations_per_second: 2_000,
            max_effects_per_second: 1_000,
            max_millis: 500,
            max_call_depth: 32,
            max_expression_depth: 64,
            max_string: 1 << 20,
            max_array: 100_000,
            max_map: 100_000,
            max_effects: 1000,
            max_effects_per_run: 1_000_000,
            max_effect_bytes_per_run: 256 << 20,
            max_memory_bytes: 64 << 20,
            max_remembered_bytes: 64 << 10,
            quarantine_after: 20,
        }
    }
}

impl ScriptLimits {
    /// Wall-time limit of one call.
    pub fn max_time(&self) -> Duration {
        Duration::from_millis(self.max_millis)
    }
}

/// What went wrong in a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("script {script}{}: {cause}", self.place())]
pub struct ScriptError {
    /// Key or file name of the script.
    pub script: String,
    /// Line, from 1; 0 when unknown.
    pub line: usize,
    /// Column, from 1; 0 when unknown.
    pub column: usize,
    /// What is wrong.
    pub cause: String,
}

impl ScriptError {
    fn place(&self) -> String {
        match (self.line, self.column) {
            (0, _) => String::new(),
            (line, 0) => format!(" line {line}"),
            (line, column) => format!(" line {line} column {column}"),
        }
    }
}

/// An engaged alert as a script sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurrentAlert {
    /// Alert type.
    #[serde(rename = "type")]
    pub alert_type: String,
    /// Key of the script that engaged it.
    pub script: String,
    /// Severity.
    pub severity: Severity,
    /// Category.
    pub category: Category,
    /// Message.
    pub message: String,
    /// Seconds since the epoch at which it engaged.
    pub engaged_at: i64,
}

/// How one call of a script ended.
#[derive(Debug, Default)]
pub struct CallResult {
    /// What it asked for, in order; also what it asked for before an error.
    pub effects: Vec<Effect>,
    /// What went wrong.
    pub error: Option<ScriptError>,
    /// What it cost, in operations of the interpreter; memory taken counts too. A lowered hook without loops
    /// and long texts counts for nothing.
    pub cost: u64,
}
