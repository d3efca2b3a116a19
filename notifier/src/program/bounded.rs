//! Runs a program within bounds: its own process group, a clean environment, limits, a bounded time and
//! bounded output. Whatever it starts ends with it.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use shared::clock::Stopwatch;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use wait4::{ResUse, Wait4};

use crate::leftovers;

/// Sets limits and then becomes the program; part of every Linux (util-linux), as is the next.
const PRLIMIT: &str = "/usr/bin/prlimit";

/// Takes away the way to more rights (set-user-id files) and then becomes the program.
const SETPRIV: &str = "/usr/bin/setpriv";

/// How long output is waited for once the program has ended; a child that it left behind may hold it.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);

/// No machine gives every number to a process within that long, and begins anew.
const LATELY: Duration = Duration::from_secs(1);

/// A program to run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments, given as they are: no shell reads them.
    pub arguments: Vec<OsString>,
    /// Environment besides `PATH` and `LANG`; nothing is inherited.
    pub environment: Vec<(String, String)>,
    /// What it reads.
    pub input: Vec<u8>,
    /// Where it runs.
    pub folder: PathBuf,
    /// It may become another user, as `sudo` has to. Nothing but what the operator chose by name may.
    pub more_rights: bool,
}

/// What it may use.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it may take.
    pub timeout: Duration,
    /// How long it may take to end after it was asked to.
    pub grace: Duration,
    /// CPU time in seconds.
    pub cpu_s: u64,
    /// Memory of its data in bytes.
    pub memory: u64,
    /// Size of a file in bytes.
    pub file: u64,
    /// Processes of its user, which holds unless it is root.
    pub processes: u64,
    /// Bytes of each output that are kept.
    pub output: usize,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// By a signal that nobody here sent.
    Signal(i32),
    /// Its time was over.
    TimedOut,
}

/// An output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Its begin.
    pub kept: Vec<u8>,
    /// Bytes of it altogether.
    pub bytes: u64,
}

/// What became of a program.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
    /// CPU time in milliseconds, with that of the children it waited for.
    pub cpu_ms: u64,
    /// Largest resident memory in KiB.
    pub max_rss_kib: u64,
}

/// A process group that is killed when this is dropped, also when a run is broken off, together with
/// what left the group. Since when it runs says how far its numbers can be relied on.
struct Group(Option<Pid>, String, Stopwatch);

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
        let lately = self.2.elapsed() < LATELY;
        leftovers::end(&self.1, self.0.filter(|_| lately));
    }
}

/// Runs it to its end: asked to stop (SIGTERM) when its time is over, killed (SIGKILL) when it does not.
///
/// # Errors
/// Says why it could not be started.
pub async fn run(job: Job, bounds: Bounds) -> Result<Finished, String> {
    let wrong = |e: std::io::Error| format!("cannot start {}: {e}", job.path.display());
    let Bounds { cpu_s, memory, file, processes, output, .. } = bounds;
    let mark = leftovers::mark();
    let mut child = Command::new(SETPRIV)
        .args((!job.more_rights).then_some("--no-new-privs"))
        // It dies with this process: the thread that starts it is one of the runtime's and lasts as long.
        .args(["--pdeathsig", "KILL", "--", PRLIMIT, "--core=0", "--nofile=256"])
        .arg(format!("--fsize={file}"))
        .arg(format!("--data={memory}"))
        .arg(format!("--nproc={processes}"))
        .arg(format!("--cpu={cpu_s}"))
        .arg("--")
        .arg(&job.path)
        .args(&job.arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .env(leftovers::VARIABLE, &mark)
        .envs(job.environment.iter().map(|(name, value)| (name, value.replace('\0', ""))))
        .current_dir(&job.folder)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(wrong)?;
    let group = Group(i32::try_from(child.id()).ok().map(Pid::from_raw), mark, Stopwatch::start());
    let stdin = child.stdin.take().map(ChildStdin::from_std).transpose().map_err(wrong)?;
    let stdout = child.stdout.take().map(ChildStdout::from_std).transpose().map_err(wrong)?;
    let stderr = child.stderr.take().map(ChildStderr::from_std).transpose().map_err(wrong)?;
    let feeding = tokio::spawn(feed(stdin, job.input));
    // Kept apart from the task, so that what came before a hang is there.
    let (out, err) = (Shared::default(), Shared::default());
    let reading =
        [tokio::spawn(keep(stdout, out.clone(), output)), tokio::spawn(keep(stderr, err.clone(), output))];
    let mut waiting = tokio::task::spawn_blocking(move || child.wait4());
    let (waited, timed_out) = match tokio::time::timeout(bounds.timeout, &mut waiting).await {
        Ok(waited) => (waited, false),
        Err(_) => {
            group.signal(Signal::SIGTERM);
            match tokio::time::timeout(bounds.grace, &mut waiting).await {
                Ok(waited) => (waited, true),
                Err(_) => {
                    group.signal(Signal::SIGKILL);
                    (waiting.await, true)
                }
            }
        }
    };
    // What it left behind would go on without bounds.
    drop(group);
    let [mut first, mut second] = reading;
    let ended = async { (&mut first).await.is_ok() && (&mut second).await.is_ok() };
    // Whether they have ended or are left alone: what was read is there.
    let _ = tokio::time::timeout(OUTPUT_WAIT, ended).await;
    for task in [&feeding, &first, &second] {
        task.abort();
    }
    let ResUse { status, rusage } = waited.map_err(|e| e.to_string())?.map_err(wrong)?;
    let end = match (timed_out, status.code(), status.signal()) {
        (true, ..) => End::TimedOut,
        (false, Some(code), _) => End::Code(code),
        (false, None, signal) => End::Signal(signal.unwrap_or(0)),
    };
    let cpu = (rusage.utime + rusage.stime).as_millis();
    Ok(Finished {
        end,
        stdout: take(&out),
        stderr: take(&err),
        cpu_ms: u64::try_from(cpu).unwrap_or(u64::MAX),
        max_rss_kib: rusage.maxrss / 1024,
    })
}

type Shared = std::sync::Arc<std::sync::Mutex<Captured>>;

fn take(shared: &Shared) -> Captured {
    std::mem::take(&mut *shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

async fn feed(stdin: Option<ChildStdin>, input: Vec<u8>) {
    if let Some(mut stdin) = stdin {
        // A program need not read what it is given.
        let _ = stdin.write_all(&input).await;
    }
}

/// Reads to the end, so that the writer never waits, and keeps the begin.
async fn keep(output: Option<impl AsyncRead + Unpin>, kept: Shared, most: usize) {
    let mut part = vec![0; 64 * 1024];
    let Some(mut output) = output else { return };
    while let Ok(size @ 1..) = output.read(&mut part).await {
        let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.bytes += size as u64;
        let room = most.saturating_sub(kept.kept.len());
        kept.kept.extend_from_slice(part.get(..size.min(room)).unwrap_or_default());
    }
}
