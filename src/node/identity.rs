//! Which run of its node a process is, and what it says of itself.

use std::path::Path;

use shared::model::Timestamp;
use shared::wire::heartbeat::Heartbeat;

use super::{Node, NodeError};

/// What a notifier says of itself.
pub(super) fn notifier(node: &str, site: &str, now: Timestamp) -> Heartbeat {
    Heartbeat {
        node: node.to_owned(),
        site: site.to_owned(),
        role: "notifier".to_owned(),
        group: String::new(),
        run: u64::try_from(now.ns()).unwrap_or(0),
        partitions: 0,
        leaves: false,
        sent: now,
    }
}

impl Node {
    /// Which run of its node the collector is. Nobody remembers earlier ones where there is neither a
    /// server nor a store.
    pub(super) fn epoch(&self, state_dir: &Path, now: Timestamp) -> Result<u64, NodeError> {
        if self.nats.is_none() && self.store.is_none() {
            return Ok(collector::epoch::after(None, now));
        }
        let path = state_dir.display().to_string();
        collector::epoch::begin(state_dir, now).map_err(|cause| NodeError::Epoch { path, cause })
    }
}
