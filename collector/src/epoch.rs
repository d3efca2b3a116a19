//! Which run of its node a collector is: a number that grows with each run, whatever the clock does.
//!
//! It is the time of the start; the last one is kept in a file, for a clock that was set back since:
//! aggregators take summaries of an earlier run than they have heard for nothing.

use std::io::Write as _;
use std::path::Path;

use shared::model::Timestamp;

/// The file, in the node's state directory.
const FILE: &str = "epoch";

/// Between two runs at least: an interface that is started again within a run counts its own up by one.
const APART: u64 = 1_000_000_000;

/// The epoch of a run that starts at `now`, after one of epoch `last`; nanoseconds since 1970 where the
/// clock has not been set back.
pub fn after(last: Option<u64>, now: Timestamp) -> u64 {
    let now = u64::try_from(now.ns()).unwrap_or(0);
    last.map_or(now, |last| now.max(last.saturating_add(APART)))
}

/// The epoch of a run that starts at `now` with the state directory `dir`, and keeps it there for the next
/// one. What is in the file and is no number counts as nothing, and is told in the log.
///
/// # Errors
/// The file cannot be read or written; the text names it.
pub fn begin(dir: &Path, now: Timestamp) -> Result<u64, String> {
    let path = dir.join(FILE);
    let failed = |cause: std::io::Error| format!("{}: {cause}", path.display());
    let last = match std::fs::read_to_string(&path) {
        Ok(text) => {
            let last = text.trim().parse().ok();
            if last.is_none() {
                tracing::warn!(path = %path.display(), "holds no number; runs are told apart by the clock alone");
            }
            last
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let epoch = after(last, now);
    // Written beside and renamed: a power cut leaves the old one or the new one.
    let beside = dir.join(format!("{FILE}.new"));
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut file = std::fs::File::create(&beside).map_err(failed)?;
    writeln!(file, "{epoch}").map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&beside, &path).map_err(failed)?;
    Ok(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_grow_though_the_clock_is_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("made");
        let noon = Timestamp::from_secs(1_800_000_000);
        let first = begin(&dir, noon).unwrap();
        assert_eq!(first, noon.ns().unsigned_abs());
        let second = begin(&dir, noon.plus_secs(-7200)).unwrap();
        assert!(second > first + 1000, "and leave room for interfaces that start again: {second}");
        assert!(begin(&dir, Timestamp::ZERO).unwrap() > second);
        assert_eq!(begin(&dir, noon.plus_secs(3600)).unwrap(), noon.plus_secs(3600).ns().unsigned_abs());
    }

    #[test]
    fn a_file_without_a_number_harms_nobody_and_one_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "\0\0x").unwrap();
        assert_eq!(begin(dir.path(), Timestamp::from_secs(5)).unwrap(), 5_000_000_000);
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        std::fs::create_dir(dir.path().join(FILE)).unwrap();
        assert!(begin(dir.path(), Timestamp::from_secs(5)).unwrap_err().contains(FILE));
    }
}
