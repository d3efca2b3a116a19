//! The `[notifier.hooks]` section.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shared::wire::subject::check_filter;

/// How hooks on events run here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HooksConfig {
    /// Whether hooks run here. Of several notifiers one runs them all.
    pub enabled: bool,
    /// Absolute path of the folder whose files hooks may run; empty runs no files.
    pub dir: String,
    /// Absolute path of the Python that runs hooks of kind `python_file`.
    pub python: String,
    /// Filters of subjects that hooks may be for.
    pub subjects: Vec<String>,
    /// Executions at once, of all hooks together.
    pub concurrency: usize,
    /// Threads that run Rhai hooks and conditions.
    pub script_threads: usize,
    /// How many hooks may cause each other in a row.
    pub max_depth: u32,
    /// Hours that events are kept for replays.
    pub keep_hours: u32,
    /// Events kept for replays at most.
    pub keep_events: u64,
}

impl Default for HooksConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            dir: String::new(),
            python: "/usr/bin/python3".to_owned(),
            subjects: vec!["event.>".to_owned()],
            concurrency: 32,
            script_threads: 2,
            max_depth: 3,
            keep_hours: 24,
            keep_events: 100_000,
        }
    }
}

impl HooksConfig {
    /// The folder of files, where there is one.
    pub fn dir(&self) -> Option<PathBuf> {
        (!self.dir.is_empty()).then(|| PathBuf::from(&self.dir))
    }

    /// Everything that is wrong, each with its key.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (key, path, may_be_empty) in [("dir", &self.dir, true), ("python", &self.python, false)] {
            if !(path.starts_with('/') || (may_be_empty && path.is_empty())) {
                wrong.push(format!("notifier.hooks.{key}: must be absolute, not '{path}'"));
            }
        }
        for (place, filter) in self.subjects.iter().enumerate() {
            let odd = check_filter(filter).err();
            wrong.extend(odd.map(|cause| format!("notifier.hooks.subjects[{place}]: {cause}")));
        }
        let mut range = |key: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                wrong.push(format!("notifier.hooks.{key}: must be {least} to {most}, not {value}"));
            }
        };
        range("concurrency", self.concurrency as u64, 1, 1024);
        range("script_threads", self.script_threads as u64, 1, 64);
        range("max_depth", self.max_depth.into(), 0, 100);
        range("keep_hours", self.keep_hours.into(), 1, 24 * 365);
        range("keep_events", self.keep_events, 100, 100_000_000);
        wrong
    }
}
