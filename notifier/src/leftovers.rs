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

/// A mark that no other run of this machine has: who starts it, and the run's number.
pub fn mark() -> String {
    format!("{}{}", Starter::own(), RUNS.fetch_add(1, Ordering::Relaxed))
}

/// Who starts programs: this process, among all of this machine since it was built.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Starter {
    /// The namespace that the process number is of: containers count anew.
    namespace: String,
    pid: u32,
    /// Clock ticks from the boot to its start: numbers are given again.
    started: String,
}

impl Starter {
    fn own() -> Self {
        let (namespace, pid) = (namespace(), std::process::id());
        Self { namespace, pid, started: started(pid).unwrap_or_default() }
    }

    /// Of a mark; `None` where it is no mark.
    fn of(mark: &str) -> Option<Self> {
        let mut parts = mark.split('-');
        let (namespace, pid, started) = (parts.next()?, parts.next()?, parts.next()?);
        let pid = pid.parse().ok()?;
        Some(Self { namespace: namespace.to_owned(), pid, started: started.to_owned() })
    }

    /// Whether it has ended. What another namespace holds is not seen from here, and none of ours.
    fn is_dead(&self, namespace: &str) -> bool {
        self.namespace == namespace && started(self.pid).as_ref() != Some(&self.started)
    }
}

impl std::fmt::Display for Starter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}-", self.namespace, self.pid, self.started)
    }
}

/// The number of this process's namespace of processes.
fn namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

/// When a process was started (proc(5), field 22 of `stat`); `None` when there is no such process, or
/// nothing of it but its exit code.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).map(str::to_owned)).flatten()
}

/// Kills what processes that have ended left running here, say because they were killed. Reads `/proc`;
/// blocks for as long.
pub fn end_of_the_dead() {
    let namespace = namespace();
    let mut ended = 0_u32;
    let of_the_dead = |mark: &str| Starter::of(mark).is_some_and(|starter| starter.is_dead(&namespace));
    for (_, mark) in marked(of_the_dead, None) {
        end(&mark, None);
        ended += 1;
    }
    if ended > 0 {
        tracing::warn!(ended, "programs that a process left running when it was killed were ended");
    }
}

/// Kills every process with this mark. Those found are stopped first, so that none of them starts another
/// one while its brothers are killed. Reads `/proc`; blocks for as long. Where it is known which of them was
/// the `first`, a moment ago, only later ones are looked at.
pub fn end(mark: &str, first: Option<Pid>) {
    for _ in 0..ROUNDS {
        // Numbers grow, unless they have begun anew since.
        let first = first.filter(|first| last_given().is_some_and(|last| last >= first.as_raw()));
        let found = marked(|other| other == mark, first);
        if found.is_empty() {
            return;
        }
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for (pid, _) in &found {
                // One that is gone is what is wanted.
                let _ = kill(*pid, signal);
            }
        }
    }
    tracing::warn!("a program starts processes faster than they can be ended");
}

/// The number that was given to a process last.
fn last_given() -> Option<i32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().last()?.parse().ok()
}

/// Processes whose mark is one of those wanted, with it; from a number on, where one is given.
fn marked(wanted: impl Fn(&str) -> bool, from: Option<Pid>) -> Vec<(Pid, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let pids = pids.filter(|pid| from.is_none_or(|from| *pid >= from.as_raw()));
    let mark = |pid: i32| {
        // That of other users cannot be read, and they are none of ours.
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut entries = environment.split(|byte| *byte == 0);
        let mark = entries
            .find_map(|entry| std::str::from_utf8(entry).ok()?.strip_prefix(VARIABLE)?.strip_prefix('='))?;
        wanted(mark).then(|| (Pid::from_raw(pid), mark.to_owned()))
    };
    pids.filter_map(mark).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A program that sleeps, with this mark.
    fn sleeper(mark: &str) -> std::process::Child {
        Command::new("/bin/sleep").arg("600").env(VARIABLE, mark).spawn().unwrap()
    }

    #[test]
    fn only_what_the_dead_left_behind_is_ended() {
        let own = Starter::own();
        assert_eq!(Starter::of(&own.to_string()), Some(own.clone()));
        let dead = Starter { started: format!("{}1", own.started), ..own.clone() };
        let abroad = Starter { namespace: format!("{}1", own.namespace), ..dead.clone() };
        let mut children =
            [format!("{dead}0"), format!("{own}x"), format!("{abroad}0")].map(|mark| sleeper(&mark));
        end_of_the_dead();
        assert!(!children[0].wait().unwrap().success(), "its starter is no more");
        for child in &mut children[1..] {
            assert!(child.try_wait().unwrap().is_none(), "its starter lives, or cannot be seen");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
