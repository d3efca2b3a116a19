//! A place in a kept stream of messages.

/// A place in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which stream: one that was made anew numbers from 1 again.
    pub stream: i64,
    /// Number of the message in it.
    pub sequence: u64,
}

impl Position {
    /// True when what is here had been done by the time `other` was reached. Places in two streams say
    /// nothing of each other.
    pub fn is_done_at(self, other: Self) -> bool {
        self.stream == other.stream && self.sequence <= other.sequence
    }
}
