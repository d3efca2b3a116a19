//! Named points at which a test may kill the process, to see what survives.
//!
//! `FLOWHOOK_FAILPOINT=<name>:<n>@<file>` kills it at the n-th pass since the file is there. A release
//! build has no such points.

/// Kills the process (SIGKILL) here, when the environment says so.
#[cfg(debug_assertions)]
pub fn hit(name: &str) {
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: LazyLock<Option<(String, AtomicU64, PathBuf)>> = LazyLock::new(|| {
        let text = std::env::var("FLOWHOOK_FAILPOINT").ok()?;
        let (point, file) = text.split_once('@')?;
        let (name, passes) = point.split_once(':')?;
        Some((name.to_owned(), AtomicU64::new(passes.parse().ok()?), file.into()))
    });
    if let Some((wanted, passes, file)) = &*WANTED
        && wanted == name
        && file.exists()
        && passes.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // No destructor runs and nothing is flushed, as with a crash.
        let pid = std::process::id().to_string();
        let _ = std::process::Command::new("/bin/kill").args(["-KILL", &pid]).status();
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub fn hit(_name: &str) {}
