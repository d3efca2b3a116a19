//! Runs a program with nothing but what it needs: its own process group, a clean environment, limits,
//! data on standard input, a bounded time. Whatever it starts ends with it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use self::bounded::{Bounds, Captured, Job};
use crate::format::one_line;

pub mod bounded;

/// Most of each output that is kept, in bytes.
const OUTPUT_BYTES: usize = 8 * 1024;

/// Most of an output that an error repeats, in bytes.
const SHOWN_BYTES: usize = 500;

/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// A program to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments, given as they are: no shell reads them.
    pub arguments: Vec<OsString>,
    /// Environment besides `PATH`, `LANG` and the mark of the run; nothing is inherited.
    pub environment: Vec<(&'static str, String)>,
    /// What it reads.
    pub input: Vec<u8>,
    /// Where it runs.
    pub folder: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
    /// It may become another user.
    pub more_rights: bool,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// By a signal that nobody here sent.
    Killed,
    /// Its time was over.
    TimedOut,
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub end: End,
    /// Begin of what it wrote to standard output, then of standard error.
    pub output: String,
}

impl Ended {
    /// The output for people: on one line, and not much of it.
    pub fn shown(&self) -> String {
        crate::format::cut(&one_line(self.output.trim()), SHOWN_BYTES)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.end {
            End::Code(code) => write!(f, "ended with exit code {code}")?,
            End::Killed => write!(f, "was killed")?,
            End::TimedOut => write!(f, "did not end in time and was killed")?,
        }
        match self.shown() {
            shown if shown.is_empty() => Ok(()),
            shown => write!(f, ": {shown}"),
        }
    }
}

/// Runs it to its end: asked to stop (SIGTERM) when its time is over, killed (SIGKILL) when it does not.
///
/// # Errors
/// Says why it could not be started.
pub async fn run(program: Program) -> Result<Ended, String> {
    let Program { path, arguments, environment, input, folder, timeout, more_rights } = program;
    let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let bounds = Bounds {
        timeout,
        grace: GRACE,
        cpu_s: timeout.as_secs() + GRACE.as_secs() + 1,
        memory: 1 << 30,
        file: 1 << 30,
        processes: 1024,
        output: OUTPUT_BYTES,
    };
    let finished =
        bounded::run(Job { path, arguments, environment, input, folder, more_rights }, bounds).await?;
    let end = match finished.end {
        bounded::End::Code(code) => End::Code(code),
        bounded::End::Signal(_) => End::Killed,
        bounded::End::TimedOut => End::TimedOut,
    };
    let text = |output: Captured| String::from_utf8_lossy(&output.kept).into_owned();
    Ok(Ended { end, output: format!("{}{}", text(finished.stdout), text(finished.stderr)) })
}

#[cfg(test)]
mod tests;
