//! Points at which the process can be made to die, to show that nothing gets lost there.
//!
//! `FLOWHOOK_FAILPOINT=after_claim:3` kills the process (SIGKILL, by its own hand) the third time that it
//! comes to that point. In builds without debug assertions there are none.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The environment variable.
pub const VARIABLE: &str = "FLOWHOOK_FAILPOINT";

/// Events are read from the bus and not in the ledger yet.
pub const BEFORE_ACCEPT: &str = "before_accept";
/// Events are in the ledger, and the bus does not know.
pub const AFTER_ACCEPT: &str = "after_accept";
/// Deliveries are claimed, and nothing was sent.
pub const AFTER_CLAIM: &str = "after_claim";
/// What has to be remembered of a message is noted, and it was not sent.
pub const AFTER_NOTES: &str = "after_notes";
/// The far end has answered, and the ledger does not know.
pub const AFTER_ANSWER: &str = "after_answer";
/// The ledger knows the answer, and the lane has not gone on.
pub const AFTER_RECORD: &str = "after_record";

/// Every point.
pub const ALL: [&str; 6] =
    [BEFORE_ACCEPT, AFTER_ACCEPT, AFTER_CLAIM, AFTER_NOTES, AFTER_ANSWER, AFTER_RECORD];

/// Which point, and how often it is passed before.
static CHOSEN: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
    let text = std::env::var(VARIABLE).ok().filter(|_| cfg!(debug_assertions))?;
    let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
    let times = times.parse::<u32>().unwrap_or(1).max(1);
    if !ALL.contains(&name) {
        tracing::error!(name, "there is no such failpoint; there are {}", ALL.join(", "));
    }
    Some((name.to_owned(), AtomicU32::new(times)))
});

/// Dies here when it is this point's turn.
pub fn hit(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some((chosen, left)) = &*CHOSEN else { return };
    if chosen != name || left.fetch_sub(1, Ordering::SeqCst) != 1 {
        return;
    }
    tracing::error!(name, "dies at a failpoint");
    let killed = std::process::Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
    tracing::error!(?killed, "did not die");
    // This thread goes no further, whatever became of that.
    loop {
        std::thread::park();
    }
}
