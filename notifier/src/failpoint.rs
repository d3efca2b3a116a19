//! Points at which the process can be made to die, to show that nothing gets lost there.
//!
//! `FLOWHOOK_FAILPOINT=after_claim:3` kills the process (SIGKILL, by its own hand) the third time that it
//! comes to that point.

pub use shared::failpoint::{VARIABLE, hit};

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
/// A chat has taken the message of an alert's beginning, and which message it is was not noted.
pub const BEFORE_MESSAGE_NOTE: &str = "before_message_note";
/// The ledger knows the answer, and the lane has not gone on.
pub const AFTER_RECORD: &str = "after_record";

/// Every point that each delivery passes.
pub const ALL: [&str; 6] =
    [BEFORE_ACCEPT, AFTER_ACCEPT, AFTER_CLAIM, AFTER_NOTES, AFTER_ANSWER, AFTER_RECORD];
