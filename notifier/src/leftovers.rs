//! Ends what a program left running outside its process group.
//!
//! A child that made itself a session of its own (setsid(2)) hears no signal to the group. Everything that
//! a run starts inherits its mark in the environment, and is found by it. What is not found is a process
//! that threw its environment away on purpose; against that only another user or a namespace of its own
//! helps.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable that marks a run.
pub const VARIABLE: &str = "FLOWHOOK_RUN";

/// Rounds after which a program that starts processes faster than they are ended is left to its limits.
const ROUNDS: u32 = 200;

static RUNS: AtomicU64 = AtomicU64::new(0);

/// A mark that no other run of this machine has.
pub fn mark() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{}-{}-{}", boot.trim(), std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed))
}

/// Kills every process with this mark. Those found are stopped first, so that none of them starts another
/// one while its brothers are killed. Reads `/proc`; blocks for as long.
pub fn end(mark: &str) {
    let wanted = format!("{VARIABLE}={mark}");
    for _ in 0..ROUNDS {
        let found = marked(&wanted);
        if found.is_empty() {
            return;
        }
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for pid in &found {
                // One that is gone is what is wanted.
                let _ = kill(*pid, signal);
            }
        }
    }
    tracing::warn!("a program starts processes faster than they can be ended");
}

fn marked(wanted: &str) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has_mark = |pid: &i32| {
        // That of other users cannot be read, and they are none of ours.
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    pids.filter(has_mark).map(Pid::from_raw).collect()
}
