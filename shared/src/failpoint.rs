//! Named points at which a test may kill the process, to see what survives.
//!
//! `FLOWHOOK_FAILPOINT=<name>:<n>@<file>` kills it at the n-th pass (the first without a number), counted
//! since the file is there (from the start without one). `FLOWHOOK_FAILPOINT_VICTIM=<pid>` has that process
//! killed instead, a server that is in use, and this one goes on. A release build has no such points.

/// The environment variable.
pub const VARIABLE: &str = "FLOWHOOK_FAILPOINT";

/// The environment variable that names another process to kill.
pub const VICTIM: &str = "FLOWHOOK_FAILPOINT_VICTIM";

/// Kills the process (SIGKILL) here, when the environment says so.
#[cfg(debug_assertions)]
pub fn hit(name: &str) {
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    static WANTED: LazyLock<Option<(String, AtomicI64, Option<PathBuf>)>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (point, file) = text.split_once('@').map_or((&*text, None), |(p, file)| (p, Some(file.into())));
        let (name, passes) = point.split_once(':').unwrap_or((point, "1"));
        Some((name.to_owned(), AtomicI64::new(passes.parse().ok()?), file))
    });
    if let Some((wanted, passes, file)) = &*WANTED
        && wanted == name
        && file.as_ref().is_none_or(|file| file.exists())
        && passes.fetch_sub(1, Ordering::SeqCst) == 1
    {
        let victim = std::env::var(VICTIM).ok();
        let pid = victim.clone().unwrap_or_else(|| std::process::id().to_string());
        let _ = std::process::Command::new("kill").args(["-KILL", &pid]).status();
        if victim.is_none() {
            // No destructor runs and nothing is flushed, as with a crash.
            std::process::abort();
        }
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub fn hit(_name: &str) {}
