//! How full the queues and the disk of a process are, for scripts of the system.

use std::path::PathBuf;
use std::sync::Arc;

use aggregator::Levels;
use nix::sys::statvfs::statvfs;
use shared::events::Emitter;
use shared::store::Store;

/// Looks anew each time it is asked.
pub(super) fn levels(dir: PathBuf, events: Emitter, store: Arc<dyn Store>) -> Levels {
    Arc::new(move || {
        let mut levels = vec![("events_waiting", events.waiting()), ("store_waiting", store.waiting())];
        levels.extend(disk(&dir));
        levels
    })
}

/// Bytes that a program without privileges may still write, and the size of the disk; nothing where the
/// folder cannot be looked at.
fn disk(dir: &std::path::Path) -> Vec<(&'static str, u64)> {
    let Ok(disk) = statvfs(dir) else { return Vec::new() };
    let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
    vec![("disk_free", bytes(disk.blocks_available())), ("disk_size", bytes(disk.blocks()))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_and_what_is_not_there_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let found = disk(dir.path());
        let [("disk_free", free), ("disk_size", size)] = found[..] else { panic!("{found:?}") };
        assert!(0 < free && free <= size);
        assert_eq!(disk(&dir.path().join("missing")), []);
    }
}
