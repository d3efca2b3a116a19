//! What a process says of itself once a second, on `hb.v1.<node>`, as JSON.

use serde::{Deserialize, Serialize};

use super::WireError;
use crate::model::Timestamp;

/// A word of one role of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Name of the node.
    pub node: String,
    /// Its site.
    pub site: String,
    /// `collector`, `aggregator` or `notifier`.
    pub role: String,
    /// Of an aggregator: who shares the partitions with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Tells this run from other ones of the same name.
    pub run: u64,
    /// Of an aggregator and of a collector: into how many partitions it divides the interfaces; 0 where
    /// nothing is said.
    #[serde(default)]
    pub partitions: u32,
    /// It gives up what it holds, and goes.
    #[serde(default)]
    pub leaves: bool,
    /// How the run before this one ended, `STOPPED` or `LOST`, where this one knows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before: String,
    /// The node's wall clock.
    pub sent: Timestamp,
}

impl Heartbeat {
    /// The message's bytes.
    pub fn encode(&self) -> bytes::Bytes {
        // Texts and numbers always become JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// It is no heartbeat.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        serde_json::from_slice(bytes).map_err(|e| WireError::malformed("heartbeat", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_fields_of_later_versions_are_skipped() {
        let beat = Heartbeat {
            node: "n".into(),
            site: "s".into(),
            role: "aggregator".into(),
            group: "all".into(),
            run: 7,
            partitions: 64,
            leaves: true,
            before: "LOST".into(),
            sent: Timestamp::from_secs(1),
        };
        assert_eq!(Heartbeat::decode(&beat.encode()).unwrap(), beat);
        let beat = Heartbeat { before: String::new(), ..beat };
        // Words of version 1: whoever reads them finds every field where it was.
        let golden = r#"{"node":"n","site":"s","role":"aggregator","group":"all","run":7,"partitions":64,"leaves":true,"sent":"1970-01-01T00:00:01Z"}"#;
        assert_eq!(beat.encode(), golden.as_bytes());
        assert_eq!(Heartbeat::decode(golden.as_bytes()).unwrap(), beat);
        let later =
            r#"{"node":"n","site":"s","role":"collector","run":1,"sent":"2026-01-01T00:00:00Z","load":3}"#;
        assert!(!Heartbeat::decode(later.as_bytes()).unwrap().leaves);
        assert!(Heartbeat::decode(b"x").unwrap_err().to_string().contains("heartbeat"));
    }
}
