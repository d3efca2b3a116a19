//! Named points at which a test may kill the process, to see what survives.
//!
//! `FLOWHOOK_FAILPOINT=<name>` kills it at the first pass, `<name>:<n>` at the n-th. A release build has
//! no such points.

/// Kills the process (SIGKILL) here, when the environment says so.
#[cfg(debug_assertions)]
pub fn hit(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let text = std::env::var("FLOWHOOK_FAILPOINT").ok()?;
        let (name, passes) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), AtomicU64::new(passes.parse().unwrap_or(1))))
    });
    if let Some((wanted, passes)) = &*WANTED
        && wanted == name
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
