//! Runs a program with nothing but what it needs: its own process group, a clean environment, limits,
//! data on standard input, a bounded time. Whatever it starts ends with it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};

use crate::format::one_line;
use crate::leftovers;

/// Sets limits and then becomes the program; part of every Linux (util-linux).
const PRLIMIT: &str = "/usr/bin/prlimit";

/// Most of each output that is kept, in bytes.
const OUTPUT_BYTES: usize = 8 * 1024;

/// Most of an output that an error repeats, in bytes.
const SHOWN_BYTES: usize = 500;

/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// How long output is waited for once the program has ended; a child that it left behind may hold it.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);

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

/// A process group that is killed when this is dropped, also when a delivery is broken off, together with
/// what left the group.
struct Group(Option<Pid>, String);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // A group that is empty already is what is wanted.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        leftovers::end(&self.1);
    }
}

/// Runs it to its end: asked to stop (SIGTERM) when its time is over, killed (SIGKILL) when it does not.
///
/// # Errors
/// Says why it could not be started.
pub async fn run(program: Program) -> Result<Ended, String> {
    let wrong = |e: std::io::Error| format!("cannot start {}: {e}", program.path.display());
    let mark = leftovers::mark();
    let seconds = program.timeout.as_secs() + GRACE.as_secs() + 1;
    let mut child = Command::new(PRLIMIT)
        // No core file, CPU time, size of a file, memory, open files; processes of this user, which
        // holds unless it is root.
        .args(["--core=0", "--fsize=1073741824", "--data=1073741824", "--nofile=256", "--nproc=1024"])
        .arg(format!("--cpu={seconds}"))
        .arg("--")
        .arg(&program.path)
        .args(&program.arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .env(leftovers::VARIABLE, &mark)
        .envs(program.environment.iter().map(|(name, value)| (*name, value.replace('\0', ""))))
        .current_dir(&program.folder)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(wrong)?;
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw), mark);
    let feeding = tokio::spawn(feed(child.stdin.take(), program.input));
    let outputs = tokio::spawn(futures::future::join(keep(child.stdout.take()), keep(child.stderr.take())));
    let abort = [feeding.abort_handle(), outputs.abort_handle()];
    let end = match tokio::time::timeout(program.timeout, child.wait()).await {
        Ok(status) => status.map_err(wrong)?.code().map_or(End::Killed, End::Code),
        Err(_) => {
            group.signal(Signal::SIGTERM);
            // Whether it ended now or is killed below, its time was over.
            let _ = tokio::time::timeout(GRACE, child.wait()).await;
            End::TimedOut
        }
    };
    // What it left behind would go on without bounds.
    drop(group);
    let (out, err) = match tokio::time::timeout(OUTPUT_WAIT, outputs).await {
        Ok(Ok(both)) => both,
        _ => Default::default(),
    };
    abort.iter().for_each(tokio::task::AbortHandle::abort);
    // Takes an ended child's place in the table of processes back.
    let _ = tokio::time::timeout(GRACE, child.wait()).await;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ended { end, output: format!("{}{}", text(out), text(err)) })
}

async fn feed(stdin: Option<ChildStdin>, input: Vec<u8>) {
    if let Some(mut stdin) = stdin {
        // A program need not read what it is given.
        let _ = stdin.write_all(&input).await;
    }
}

/// Reads to the end, so that the writer never waits, and keeps the begin.
async fn keep(output: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let (mut kept, mut part) = (Vec::new(), [0; 4096]);
    let Some(mut output) = output else { return kept };
    while let Ok(size @ 1..) = output.read(&mut part).await {
        let room = OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(part.get(..size.min(room)).unwrap_or_default());
    }
    kept
}

#[cfg(test)]
mod tests;
