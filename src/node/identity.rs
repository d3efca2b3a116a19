//! Which run of its node a process is.

use std::path::Path;

use shared::model::Timestamp;

use super::{Node, NodeError};

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
